//! SMB, DCE/RPC and Kerberos.

use thymus_parsers::Json;
use thymus_schema::{
    DceRpcCall, EventBody, KerberosExchange, KerberosRequest, Login, NtlmAuth, Outcome, Service,
    SmbAction, SmbOperation,
};

use super::{EveRecord, text};
use crate::logs::names::{encryption_type, kerberos_error, nt_status, smb_dialect};
use crate::logs::{Decoded, Records};

pub(super) fn smb(smb: &Json<'_>, record: &EveRecord<'_>, records: &mut Records) -> Decoded {
    let code = smb.get("status_code").text().trim_start_matches("0x");
    let status =
        u32::from_str_radix(code, 16).unwrap_or_else(|_| nt_status(smb.get("status").text()));
    let command = smb.get("command").text();
    let command = command.rsplit("COMMAND_").next().unwrap_or_default();
    if command.starts_with("SESSION_SETUP") {
        return session_setup(smb, status, record, records);
    }
    let action = match command {
        "TREE_CONNECT" | "TREE_CONNECT_ANDX" => SmbAction::TreeConnect,
        "CREATE" | "NT_CREATE_ANDX" => match smb.get("disposition").text() {
            "FILE_CREATE" | "FILE_OVERWRITE" | "FILE_OVERWRITE_IF" | "FILE_SUPERSEDE" => {
                SmbAction::Create
            }
            _ => SmbAction::Open,
        },
        "READ" | "READ_ANDX" => SmbAction::Read,
        "WRITE" | "WRITE_ANDX" => SmbAction::Write,
        "RENAME" => SmbAction::Rename,
        "DELETE" => SmbAction::Delete,
        "SET_INFO" if !smb.get("rename").is_null() => SmbAction::Rename,
        "QUERY_DIRECTORY" | "FIND" => SmbAction::List,
        "NEGOTIATE" | "NEGOTIATE_PROTOCOL" => SmbAction::Negotiate,
        _ => return Decoded::Unused("smb_command_not_used"),
    };
    let renamed = smb.get("rename");
    let path = if renamed.is_null() {
        smb.get("filename")
    } else {
        renamed.get("from")
    };
    let body = SmbOperation {
        action,
        dialect: smb_dialect(smb.get("dialect").text()),
        share: text(smb.get("share")),
        path: text(path),
        new_path: text(renamed.get("to")),
        bytes: smb.get("size").u64().unwrap_or(0),
        status,
        user: text(smb.at(&["ntlmssp", "user"])),
    };
    record.emit(records, EventBody::Smb(Box::new(body)))
}

fn session_setup(
    smb: &Json<'_>,
    status: u32,
    record: &EveRecord<'_>,
    records: &mut Records,
) -> Decoded {
    const MORE_PROCESSING: u32 = 0xC000_0016;
    let ntlm = smb.get("ntlmssp");
    if status == MORE_PROCESSING || (ntlm.is_null() && status == 0) {
        return Decoded::Unused("half_of_a_login");
    }
    let outcome = if status == 0 {
        Outcome::Success
    } else {
        Outcome::Failure
    };
    let auth = NtlmAuth {
        user: text(ntlm.get("user")),
        domain: text(ntlm.get("domain")),
        workstation: text(ntlm.get("host")),
        server_name: text(smb.get("server_name")),
        outcome,
        carrier: Some(Service::Smb),
        version1: false,
    };
    let login = Login {
        service: Some(Service::Smb),
        user: auth.user.clone(),
        domain: auth.domain.clone(),
        outcome,
        method: if ntlm.is_null() {
            Box::default()
        } else {
            "ntlm".into()
        },
        client: auth.workstation.clone(),
        attempts: 1,
    };
    if !ntlm.is_null() {
        record.emit(records, EventBody::Ntlm(Box::new(auth)));
    }
    record.emit(records, EventBody::Login(Box::new(login)))
}

pub(super) fn dcerpc(rpc: &Json<'_>, record: &EveRecord<'_>, records: &mut Records) -> Decoded {
    if rpc.get("request").text() != "REQUEST" {
        return Decoded::Unused("rpc_binding");
    }
    let interface = rpc.get("interfaces").list().first().unwrap_or(&Json::Null);
    let opnum = rpc
        .at(&["req", "opnum"])
        .u64()
        .or_else(|| rpc.get("opnum").u64())
        .unwrap_or(0);
    let answered = rpc.get("response").text();
    let body = DceRpcCall {
        interface: text(interface.get("uuid")),
        operation: format!("op {opnum}").into(),
        opnum: opnum as u16,
        pipe: Box::default(),
        outcome: match answered {
            "RESPONSE" => Outcome::Success,
            "FAULT" => Outcome::Failure,
            _ => Outcome::Unknown,
        },
    };
    record.emit(records, EventBody::DceRpc(Box::new(body)))
}

pub(super) fn krb5(krb: &Json<'_>, record: &EveRecord<'_>, records: &mut Records) -> Decoded {
    let kind = krb.get("msg_type").text();
    let about = if kind == "KRB_ERROR" {
        krb.get("failed_request").text()
    } else {
        kind
    };
    let request = match about {
        "KRB_AS_REQ" | "KRB_AS_REP" => KerberosRequest::As,
        "KRB_TGS_REQ" | "KRB_TGS_REP" => KerberosRequest::Tgs,
        "KRB_AP_REQ" | "KRB_AP_REP" => KerberosRequest::Ap,
        _ => return Decoded::Unused("log_not_used"),
    };
    let error = krb.get("error_code").text();
    let error = (!error.is_empty() && kind == "KRB_ERROR").then(|| kerberos_error(error));
    let outcome = if error.is_some() {
        Outcome::Failure
    } else {
        Outcome::Success
    };
    let known = |name| Some(text(krb.get(name))).filter(|value| &**value != "<empty>");
    let body = KerberosExchange {
        request,
        client: known("cname").unwrap_or_default(),
        realm: known("realm").unwrap_or_default(),
        service: known("sname").unwrap_or_default(),
        error,
        outcome,
        ticket_etype: encryption_type(krb.get("encryption").text()),
        offered_etypes: Vec::new(),
        // The log does not say.
        preauth: outcome == Outcome::Success,
    };
    let about_the_account = matches!(error, None | Some(6 | 18 | 23 | 24));
    let login = (request == KerberosRequest::As && about_the_account).then(|| Login {
        service: Some(Service::Kerberos),
        user: body.client.clone(),
        domain: body.realm.clone(),
        outcome,
        method: "kerberos".into(),
        attempts: 1,
        ..Login::default()
    });
    record.emit(records, EventBody::Kerberos(Box::new(body)));
    match login {
        Some(login) => record.emit(records, EventBody::Login(Box::new(login))),
        None => Decoded::Used,
    }
}
