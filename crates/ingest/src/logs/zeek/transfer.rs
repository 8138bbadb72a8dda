//! `files.log`, `ftp.log`, `smtp.log`, `mqtt_publish.log`: things handed over.

use thymus_parsers::zeek::{ZeekField as F, ZeekRow};
use thymus_schema::{
    Conn, EventBody, FileSeen, MailEnvelope, Operation, Outcome, Scope, Service, Transport,
};

use super::{ZeekCx, conn_of, endpoint, flow_id, span, text, time};
use crate::logs::Decoded;
use crate::logs::names::magic_of_mime;
use crate::logs::record::service_by_name;

pub(super) fn files(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let source = row.text(F::Source).to_ascii_lowercase();
    if matches!(&*source, "ssl" | "x509" | "ocsp") {
        return Decoded::Unused("certificate_file");
    }
    let Some(ts) = time(row, F::Ts) else {
        return Decoded::Broken("record_without_time");
    };
    let upload = row.bool(F::IsOrig).unwrap_or(false);
    let content_type = text(row, F::MimeType);
    let seen = row.u64(F::SeenBytes).unwrap_or(0);
    let whole = row.u64(F::TotalBytes).is_none_or(|total| total == seen)
        && row.u64(F::MissingBytes).unwrap_or(0) == 0
        && row.bool(F::Timedout) != Some(true);
    let file = FileSeen {
        sha256: text(row, F::Sha256),
        bytes: seen,
        magic: magic_of_mime(&content_type).into(),
        content_type,
        name: text(row, F::FileName),
        service: service_by_name(source.strip_suffix("_data").unwrap_or(&source), 0),
        upload,
        complete: whole,
        reason: Box::default(),
    };
    let conn = conn_of(row).or_else(|| file_conn(row, upload));
    cx.records.emit(
        ts.plus(span(row, F::Duration)),
        conn,
        EventBody::FileSeen(Box::new(file)),
    );
    Decoded::Used
}

/// Older versions name senders and receivers instead of the conversation.
fn file_conn(row: &ZeekRow<'_>, upload: bool) -> Option<Conn> {
    let (sender, receiver) = (row.addr_of_list(F::TxHosts)?, row.addr_of_list(F::RxHosts)?);
    let (client, server) = if upload {
        (sender, receiver)
    } else {
        (receiver, sender)
    };
    let uids = row.list(F::ConnUids);
    Some(Conn {
        flow: uids
            .first()
            .map(|uid| flow_id(uid.as_bytes()))
            .unwrap_or_default(),
        client: endpoint(client, None),
        server: endpoint(server, None),
        transport: Transport::Tcp,
        scope: Scope::NONE,
    })
}

pub(super) fn ftp(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let code = row.u16(F::ReplyCode).unwrap_or(0);
    let outcome = outcome_of_reply(code);
    let command = row.text(F::Command).to_ascii_lowercase();
    if matches!(&*command, "user" | "pass") {
        let login = thymus_schema::Login {
            service: Some(Service::Ftp),
            user: text(row, F::User),
            outcome: if code == 230 {
                Outcome::Success
            } else {
                outcome
            },
            method: "password".into(),
            attempts: 1,
            ..thymus_schema::Login::default()
        };
        // 331 only asks for the password.
        if code == 331 {
            return Decoded::Unused("half_of_a_login");
        }
        return cx.emit(row, EventBody::Login(Box::new(login)));
    }
    let body = Operation {
        service: Some(Service::Ftp),
        object: text(row, F::Arg),
        detail: text(row, F::User),
        request_len: if matches!(&*command, "stor" | "stou" | "appe") {
            size(row)
        } else {
            0
        },
        response_len: if command == "retr" { size(row) } else { 0 },
        verb: command.into(),
        outcome,
    };
    cx.emit(row, EventBody::Operation(Box::new(body)))
}

fn size(row: &ZeekRow<'_>) -> u64 {
    row.u64(F::FileSize).unwrap_or(0)
}

/// Three-digit reply codes of FTP and SMTP (RFC 959, RFC 5321).
fn outcome_of_reply(code: u16) -> Outcome {
    match code {
        100..400 => Outcome::Success,
        400..600 => Outcome::Failure,
        _ => Outcome::Unknown,
    }
}

pub(super) fn smtp(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let to: Vec<Box<str>> = row.list(F::RcptTo).into_iter().map(Into::into).collect();
    let last_reply = row.text(F::LastReply);
    let status = last_reply
        .split([' ', '-'])
        .next()
        .and_then(|code| code.parse().ok());
    let mail = MailEnvelope {
        helo: text(row, F::Helo),
        from: text(row, F::MailFrom),
        recipients: to.len() as u32,
        to,
        subject: text(row, F::Subject),
        header_from: text(row, F::From),
        bytes: 0,
        tls: row.bool(F::Tls).unwrap_or(false),
        status: status.unwrap_or(0),
    };
    cx.emit(row, EventBody::Mail(Box::new(mail)))
}

pub(super) fn mqtt_publish(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let body = Operation {
        service: Some(Service::Mqtt),
        verb: "publish".into(),
        object: text(row, F::Topic),
        request_len: row.u64(F::Payload).unwrap_or(0),
        ..Operation::default()
    };
    cx.emit(row, EventBody::Operation(Box::new(body)))
}
