//! `http.log`.

use thymus_parsers::zeek::{ZeekField as F, ZeekRow};
use thymus_schema::{EventBody, HttpTransaction, Login, Outcome, Service};

use super::{ZeekCx, text};
use crate::logs::Decoded;
use crate::logs::names::{last_segment, magic_of_mime};

pub(super) fn http(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let method = text(row, F::Method);
    let uri = text(row, F::Uri);
    let status = row.u16(F::StatusCode).unwrap_or(0);
    let content_type = text(row, F::RespMimeTypes);
    let file_name = match text(row, F::RespFilenames) {
        name if name.is_empty() => last_segment(&uri).into(),
        name => name,
    };
    let user = text(row, F::Username);
    let transaction = HttpTransaction {
        proxied: &*method == "CONNECT" || uri.starts_with("http://"),
        method,
        host: text(row, F::Host),
        user_agent: text(row, F::UserAgent),
        referrer: text(row, F::Referrer),
        status,
        request_len: row.u64(F::RequestBodyLen).unwrap_or(0),
        response_len: row.u64(F::ResponseBodyLen).unwrap_or(0),
        magic: magic_of_mime(&content_type).into(),
        request_magic: magic_of_mime(&row.text(F::OrigMimeTypes)).into(),
        content_type,
        file_name,
        user: user.clone(),
        uri,
        ..HttpTransaction::default()
    };
    let decoded = cx.emit(row, EventBody::Http(Box::new(transaction)));
    if decoded == Decoded::Used && !user.is_empty() {
        let outcome = match status {
            401 | 407 => Outcome::Failure,
            0 => Outcome::Unknown,
            _ => Outcome::Success,
        };
        let login = Login {
            service: Some(Service::Http),
            user,
            outcome,
            method: "basic".into(),
            attempts: 1,
            ..Login::default()
        };
        cx.emit(row, EventBody::Login(Box::new(login)));
    }
    decoded
}
