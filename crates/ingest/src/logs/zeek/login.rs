//! `ssh.log`, `rdp.log`, `socks.log`, `ldap*.log`, `mqtt_connect.log`, databases: sessions begun.

use thymus_parsers::zeek::{ZeekField as F, ZeekRow};
use thymus_schema::{EventBody, LdapCall, Login, Operation, Outcome, RdpHello, Service, SshHello};

use super::{ZeekCx, text};
use crate::logs::Decoded;
use crate::logs::names::{ldap_result, ssh_software};

pub(super) fn ssh(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let hello = SshHello {
        client: ssh_software(&row.text(F::Client)).into(),
        server: ssh_software(&row.text(F::Server)).into(),
        hassh: text(row, F::Hassh),
        hassh_server: text(row, F::HasshServer),
    };
    let client = hello.client.clone();
    let decoded = cx.emit(row, EventBody::Ssh(Box::new(hello)));
    let attempts = row.u64(F::AuthAttempts).unwrap_or(0);
    let outcome = outcome(row.bool(F::AuthSuccess));
    if decoded == Decoded::Used && (attempts > 0 || outcome != Outcome::Unknown) {
        let login = Login {
            service: Some(Service::Ssh),
            outcome,
            client,
            attempts: attempts.clamp(1, u64::from(u32::MAX)) as u32,
            ..Login::default()
        };
        cx.emit(row, EventBody::Login(Box::new(login)));
    }
    decoded
}

pub(super) fn rdp(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let security = match &*row.text(F::SecurityProtocol) {
        "HYBRID" | "HYBRID_EX" => "credssp".into(),
        "SSL" => "tls".into(),
        other => other.to_ascii_lowercase(),
    };
    let hello = RdpHello {
        cookie: text(row, F::Cookie),
        client_name: text(row, F::ClientName),
        security: security.into(),
        outcome: Outcome::Unknown,
    };
    let login = Login {
        service: Some(Service::Rdp),
        user: hello.cookie.clone(),
        client: hello.client_name.clone(),
        attempts: 1,
        ..Login::default()
    };
    let decoded = cx.emit(row, EventBody::Rdp(Box::new(hello)));
    if decoded == Decoded::Used {
        cx.emit(row, EventBody::Login(Box::new(login)));
    }
    decoded
}

pub(super) fn socks(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let host = match row.text(F::RequestName) {
        name if name.is_empty() => row.text(F::RequestHost),
        name => name,
    };
    let port = row.u16(F::RequestPort).unwrap_or(0);
    let status = row.text(F::Status);
    let outcome = match &*status {
        "succeeded" => Outcome::Success,
        "" => Outcome::Unknown,
        _ => Outcome::Failure,
    };
    let user = text(row, F::User);
    let body = Operation {
        service: Some(Service::Socks),
        verb: "connect".into(),
        object: format!("{host}:{port}").into(),
        detail: status.into(),
        outcome,
        ..Operation::default()
    };
    let decoded = cx.emit(row, EventBody::Operation(Box::new(body)));
    if decoded == Decoded::Used && !user.is_empty() {
        return login(row, cx, Service::Socks, user, outcome);
    }
    decoded
}

pub(super) fn mqtt_connect(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let status = row.text(F::ConnectStatus).to_ascii_lowercase();
    let outcome = match &*status {
        "" => Outcome::Unknown,
        text if text.contains("accepted") => Outcome::Success,
        _ => Outcome::Failure,
    };
    let body = Operation {
        service: Some(Service::Mqtt),
        verb: "connect".into(),
        object: text(row, F::ClientId),
        detail: status.into(),
        outcome,
        ..Operation::default()
    };
    cx.emit(row, EventBody::Operation(Box::new(body)))
}

pub(super) fn mysql(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let outcome = outcome(row.bool(F::Success));
    let command = row.text(F::Cmd);
    if &*command == "login" {
        return login(row, cx, Service::Mysql, text(row, F::Arg), outcome);
    }
    let body = Operation {
        service: Some(Service::Mysql),
        verb: command.into(),
        object: text(row, F::Arg),
        outcome,
        ..Operation::default()
    };
    cx.emit(row, EventBody::Operation(Box::new(body)))
}

pub(super) fn postgresql(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    // One record a message; the one that ends the log-in carries the user and the result.
    let user = text(row, F::User);
    match row.bool(F::Success) {
        Some(success) if !user.is_empty() => {
            login(row, cx, Service::Postgres, user, outcome(Some(success)))
        }
        _ => Decoded::Unused("database_message"),
    }
}

pub(super) fn ldap(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let opcode = row.text(F::Opcode);
    let operation = opcode.split(' ').next().unwrap_or_default();
    let result = row.text(F::Result);
    let call = LdapCall {
        operation: operation.into(),
        name: text(row, F::Object),
        result: (!result.is_empty()).then(|| ldap_result(&result)),
        ..LdapCall::default()
    };
    let bind = (operation == "bind" && !call.name.is_empty()).then(|| call.name.clone());
    let code = call.result;
    let decoded = cx.emit(row, EventBody::Ldap(Box::new(call)));
    match (decoded, bind, code) {
        (Decoded::Used, Some(user), Some(code @ (0 | 49))) => {
            login(row, cx, Service::Ldap, user, outcome(Some(code == 0)))
        }
        _ => decoded,
    }
}

pub(super) fn ldap_search(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let result = row.text(F::Result);
    let call = LdapCall {
        operation: "search".into(),
        name: text(row, F::BaseObject),
        filter: text(row, F::Filter),
        attributes: row
            .list(F::Attributes)
            .into_iter()
            .map(Into::into)
            .collect(),
        result: (!result.is_empty()).then(|| ldap_result(&result)),
        entries: row.u64(F::ResultCount).unwrap_or(0) as u32,
    };
    cx.emit(row, EventBody::Ldap(Box::new(call)))
}

fn login(
    row: &ZeekRow<'_>,
    cx: &mut ZeekCx<'_>,
    service: Service,
    user: Box<str>,
    outcome: Outcome,
) -> Decoded {
    let login = Login {
        service: Some(service),
        user,
        outcome,
        method: "password".into(),
        attempts: 1,
        ..Login::default()
    };
    cx.emit(row, EventBody::Login(Box::new(login)))
}

fn outcome(success: Option<bool>) -> Outcome {
    match success {
        Some(true) => Outcome::Success,
        Some(false) => Outcome::Failure,
        None => Outcome::Unknown,
    }
}
