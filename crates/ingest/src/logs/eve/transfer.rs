//! HTTP, files, FTP and mail.

use thymus_parsers::Json;
use thymus_schema::{
    EventBody, FileSeen, HttpTransaction, Login, MailEnvelope, Operation, Outcome, Service,
};

use super::{EveRecord, text};
use crate::logs::names::{last_segment, magic_of_mime};
use crate::logs::record::service_by_name;
use crate::logs::{Decoded, Records};

pub(super) fn http(http: &Json<'_>, record: &EveRecord<'_>, records: &mut Records) -> Decoded {
    let uri = text(http.get("url"));
    let method = text(http.get("http_method"));
    let content_type = text(http.get("http_content_type"));
    let body = HttpTransaction {
        proxied: &*method == "CONNECT" || uri.starts_with("http://"),
        method,
        host: text(http.get("hostname")),
        user_agent: text(http.get("http_user_agent")),
        referrer: text(http.get("http_refer")),
        status: http.get("status").u64().unwrap_or(0) as u16,
        response_len: http.get("length").u64().unwrap_or(0),
        content_type,
        file_name: last_segment(&uri).into(),
        uri,
        ..HttpTransaction::default()
    };
    record.emit(records, EventBody::Http(Box::new(body)))
}

pub(super) fn fileinfo(file: &Json<'_>, record: &EveRecord<'_>, records: &mut Records) -> Decoded {
    let sender = record.json.get("src_ip").text();
    let upload = record
        .conn
        .is_some_and(|conn| conn.client.addr.to_string() == *sender);
    let content_type = text(file.get("mimetype"));
    let described = file.get("magic").text();
    let magic = match magic_of_mime(&content_type) {
        "" if described.contains("PE32") => "pe",
        "" if described.starts_with("ELF") => "elf",
        "" if described.starts_with("PDF") => "pdf",
        "" if described.starts_with("Zip archive") => "zip",
        known => known,
    };
    let body = FileSeen {
        sha256: text(file.get("sha256")),
        bytes: file.get("size").u64().unwrap_or(0),
        magic: magic.into(),
        content_type,
        name: text(file.get("filename")),
        service: service_by_name(record.json.get("app_proto").text(), 0),
        upload,
        complete: file.get("state").text() == "CLOSED" && file.get("gaps").bool() != Some(true),
        reason: Box::default(),
    };
    record.emit(records, EventBody::FileSeen(Box::new(body)))
}

pub(super) fn ftp(ftp: &Json<'_>, record: &EveRecord<'_>, records: &mut Records) -> Decoded {
    let code = ftp
        .get("completion_code")
        .list()
        .last()
        .and_then(Json::u64)
        .unwrap_or(0);
    let verb = ftp.get("command").text().to_ascii_lowercase();
    let object = text(ftp.get("command_data"));
    let outcome = match code {
        100..400 => Outcome::Success,
        400..600 => Outcome::Failure,
        _ => Outcome::Unknown,
    };
    if matches!(&*verb, "user" | "pass") {
        if !matches!(code, 230 | 400..600) {
            return Decoded::Unused("half_of_a_login");
        }
        let user = if verb == "user" {
            object
        } else {
            Box::default()
        };
        let body = Login {
            service: Some(Service::Ftp),
            user,
            outcome,
            method: "password".into(),
            attempts: 1,
            ..Login::default()
        };
        return record.emit(records, EventBody::Login(Box::new(body)));
    }
    let body = Operation {
        service: Some(Service::Ftp),
        verb: verb.into(),
        object,
        outcome,
        ..Operation::default()
    };
    record.emit(records, EventBody::Operation(Box::new(body)))
}

pub(super) fn smtp(smtp: &Json<'_>, record: &EveRecord<'_>, records: &mut Records) -> Decoded {
    let email = record.json.get("email");
    let to: Vec<Box<str>> = smtp
        .get("rcpt_to")
        .list()
        .iter()
        .take(32)
        .map(text)
        .collect();
    let body = MailEnvelope {
        helo: text(smtp.get("helo")),
        from: text(smtp.get("mail_from")),
        recipients: smtp.get("rcpt_to").list().len() as u32,
        to,
        subject: text(email.get("subject")),
        header_from: text(email.get("from")),
        ..MailEnvelope::default()
    };
    record.emit(records, EventBody::Mail(Box::new(body)))
}
