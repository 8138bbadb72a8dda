//! `smb_*.log`, `dce_rpc.log`, `kerberos.log`, `ntlm.log`: a Windows domain at work.

use thymus_parsers::zeek::{ZeekField as F, ZeekRow};
use thymus_schema::{
    DceRpcCall, EventBody, KerberosExchange, KerberosRequest, Login, NtlmAuth, Outcome, Service,
    SmbAction, SmbOperation,
};

use super::{ZeekCx, text};
use crate::logs::Decoded;
use crate::logs::names::{encryption_type, kerberos_error, nt_status, smb_dialect};

pub(super) fn smb_files(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let name = row.text(F::Action);
    let action = match name.rsplit(':').next().unwrap_or_default() {
        "FILE_OPEN" | "PIPE_OPEN" | "PRINT_OPEN" => SmbAction::Open,
        "FILE_READ" | "PIPE_READ" => SmbAction::Read,
        "FILE_WRITE" | "PIPE_WRITE" | "PRINT_WRITE" => SmbAction::Write,
        "FILE_RENAME" => SmbAction::Rename,
        "FILE_DELETE" => SmbAction::Delete,
        _ => return Decoded::Unused("smb_close"),
    };
    let moves_bytes = matches!(action, SmbAction::Read | SmbAction::Write);
    let (path, new_path) = match action {
        SmbAction::Rename => (text(row, F::PrevName), text(row, F::Name)),
        _ => (text(row, F::Name), Box::default()),
    };
    let operation = SmbOperation {
        action,
        share: text(row, F::PathName),
        path,
        new_path,
        bytes: if moves_bytes {
            row.u64(F::Size).unwrap_or(0)
        } else {
            0
        },
        ..SmbOperation::default()
    };
    cx.emit(row, EventBody::Smb(Box::new(operation)))
}

pub(super) fn smb_mapping(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let operation = SmbOperation {
        action: SmbAction::TreeConnect,
        share: text(row, F::PathName),
        ..SmbOperation::default()
    };
    cx.emit(row, EventBody::Smb(Box::new(operation)))
}

/// Only what the other two logs do not have: agreed dialects, refusals, failed log-ins.
pub(super) fn smb_cmd(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let status = nt_status(&row.text(F::Status));
    let command = row.text(F::Command);
    let user = text(row, F::Username);
    let action = match &*command {
        "NEGOTIATE" | "NEGOTIATE_PROTOCOL" => SmbAction::Negotiate,
        "SESSION_SETUP" | "SESSION_SETUP_ANDX" if is_login_failure(status) => {
            let login = Login {
                service: Some(Service::Smb),
                user,
                outcome: Outcome::Failure,
                attempts: 1,
                ..Login::default()
            };
            return cx.emit(row, EventBody::Login(Box::new(login)));
        }
        "TREE_CONNECT" | "TREE_CONNECT_ANDX" if status != 0 => SmbAction::TreeConnect,
        "CREATE" | "NT_CREATE_ANDX" if status != 0 => SmbAction::Open,
        _ => return Decoded::Unused("smb_command_seen_elsewhere"),
    };
    let is_tree = action == SmbAction::TreeConnect;
    let operation = SmbOperation {
        action,
        dialect: smb_dialect(&row.text(F::Version)),
        share: if is_tree {
            text(row, F::Arg)
        } else {
            text(row, F::Tree)
        },
        path: if action == SmbAction::Open {
            text(row, F::Argument)
        } else {
            Box::default()
        },
        status,
        user,
        ..SmbOperation::default()
    };
    cx.emit(row, EventBody::Smb(Box::new(operation)))
}

fn is_login_failure(status: u32) -> bool {
    const MORE_PROCESSING: u32 = 0xC000_0016;
    status != 0 && status != MORE_PROCESSING
}

pub(super) fn dce_rpc(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let operation = row.text(F::Operation);
    let number = operation
        .strip_prefix("unknown-")
        .and_then(|n| n.parse::<u16>().ok());
    let pipe = text(row, F::NamedPipe);
    let call = DceRpcCall {
        interface: text(row, F::Endpoint),
        operation: match number {
            Some(number) => format!("op {number}").into(),
            None => operation.into(),
        },
        opnum: number.unwrap_or(0),
        // Over TCP Zeek writes the port here.
        pipe: if pipe.bytes().all(|byte| byte.is_ascii_digit()) {
            Box::default()
        } else {
            pipe
        },
        outcome: if row.has(F::Rtt) {
            Outcome::Success
        } else {
            Outcome::Unknown
        },
    };
    cx.emit(row, EventBody::DceRpc(Box::new(call)))
}

pub(super) fn kerberos(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let request = match row.raw(F::RequestType) {
        Some(b"AS") => KerberosRequest::As,
        Some(b"TGS") => KerberosRequest::Tgs,
        Some(b"AP") => KerberosRequest::Ap,
        _ => return Decoded::Unused("kerberos_ticket_inside_another_protocol"),
    };
    let principal = row.text(F::Client);
    let (client, realm) = principal.rsplit_once('/').unwrap_or((&principal, ""));
    let error_text = row.text(F::ErrorMsg);
    let error = (!error_text.is_empty()).then(|| kerberos_error(&error_text));
    let outcome = match (row.bool(F::Success), error) {
        (Some(true), _) => Outcome::Success,
        (Some(false), _) | (None, Some(_)) => Outcome::Failure,
        (None, None) => Outcome::Unknown,
    };
    let exchange = KerberosExchange {
        request,
        client: client.into(),
        realm: realm.into(),
        service: text(row, F::Service),
        error,
        outcome,
        ticket_etype: encryption_type(&row.text(F::Cipher)),
        offered_etypes: Vec::new(),
        // The log does not say; a request without it that succeeds is too rare to be assumed.
        preauth: outcome == Outcome::Success,
    };
    let login = login_of(&exchange);
    let decoded = cx.emit(row, EventBody::Kerberos(Box::new(exchange)));
    if let (Decoded::Used, Some(login)) = (decoded, login) {
        cx.emit(row, EventBody::Login(Box::new(login)));
    }
    decoded
}

/// An AS exchange is an attempt to log in, except where the reply only asks for pre-authentication
/// or speaks of something else than the account.
fn login_of(exchange: &KerberosExchange) -> Option<Login> {
    let about_the_account = matches!(exchange.error, None | Some(6 | 18 | 23 | 24));
    let counts = exchange.request == KerberosRequest::As
        && about_the_account
        && exchange.outcome != Outcome::Unknown;
    counts.then(|| Login {
        service: Some(Service::Kerberos),
        user: exchange.client.clone(),
        domain: exchange.realm.clone(),
        outcome: exchange.outcome,
        method: "kerberos".into(),
        attempts: 1,
        ..Login::default()
    })
}

pub(super) fn ntlm(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let outcome = match row.bool(F::Success) {
        Some(true) => Outcome::Success,
        Some(false) => Outcome::Failure,
        None => Outcome::Unknown,
    };
    let server_name = match text(row, F::ServerNbName) {
        name if name.is_empty() => text(row, F::ServerDnsName),
        name => name,
    };
    // The log does not name the carrier; NTLM has no port of its own, so these ports tell.
    let carrier = match row.u16(F::RespP) {
        Some(445 | 139) => Some(Service::Smb),
        Some(80 | 8080) => Some(Service::Http),
        Some(5985) => Some(Service::Winrm),
        Some(3389) => Some(Service::Rdp),
        Some(389 | 3268) => Some(Service::Ldap),
        Some(135) => Some(Service::DceRpc),
        Some(port) if port >= 49152 => Some(Service::DceRpc),
        _ => None,
    };
    let auth = NtlmAuth {
        user: text(row, F::Username),
        domain: text(row, F::DomainName),
        workstation: text(row, F::Hostname),
        server_name,
        outcome,
        carrier,
        version1: false,
    };
    let login = Login {
        service: carrier,
        user: auth.user.clone(),
        domain: auth.domain.clone(),
        outcome,
        method: "ntlm".into(),
        client: auth.workstation.clone(),
        attempts: 1,
    };
    let decoded = cx.emit(row, EventBody::Ntlm(Box::new(auth)));
    if decoded == Decoded::Used {
        cx.emit(row, EventBody::Login(Box::new(login)));
    }
    decoded
}
