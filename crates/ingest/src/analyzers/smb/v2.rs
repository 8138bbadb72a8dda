//! SMB 2 and 3 messages to the conversation.

use thymus_parsers::smb::v2::{self, Header, Request, Response};

use super::conversation::Conversation;
use super::exchange::{Answer, Asked, Place};
use crate::analyzer::{AnalyzerCx, Side};

/// The dialect that only says "negotiate again, as SMB 2".
const WILDCARD: u16 = 0x02ff;

pub(super) fn message(
    bytes: &[u8],
    header: &Header,
    talk: &mut Conversation,
    cx: &mut AnalyzerCx<'_>,
) {
    let place = Place {
        exchange: header.message_id,
        session: header.session_id,
        tree: header.tree_id,
    };
    if header.response {
        response(bytes, header, place, talk, cx);
    } else {
        request(bytes, header, place, talk, cx);
    }
}

fn request(
    bytes: &[u8],
    header: &Header,
    place: Place,
    talk: &mut Conversation,
    cx: &mut AnalyzerCx<'_>,
) {
    let Some(request) = v2::request(bytes, header.command) else {
        return talk.quirk("cut_request", cx);
    };
    let asked = match request {
        Request::SessionSetup(blob) => {
            talk.client_blob(header.session_id, blob);
            Asked::SessionSetup
        }
        Request::TreeConnect(share) => Asked::TreeConnect(share),
        Request::Create(create) => Asked::Create {
            tree: header.tree_id,
            path: create.path,
            delete: create.delete_on_close,
        },
        Request::Close(file) => Asked::Close(file),
        Request::Read(file) => Asked::Read(file),
        Request::Write(file, _, data) => {
            talk.pipe_bytes(file, Side::Client, data, cx);
            Asked::Write(file)
        }
        Request::Transceive(file, data) => {
            talk.pipe_bytes(file, Side::Client, data, cx);
            Asked::Transceive(file)
        }
        Request::QueryDirectory(file) => Asked::List(file),
        Request::Rename(file, path) => Asked::Rename(file, path),
        Request::Dispose(file, delete) => Asked::Dispose(file, delete),
        Request::Other => return,
    };
    talk.asked(place, asked, cx);
}

fn response(
    bytes: &[u8],
    header: &Header,
    place: Place,
    talk: &mut Conversation,
    cx: &mut AnalyzerCx<'_>,
) {
    let Some(response) = v2::response(bytes, header.command) else {
        return talk.quirk("cut_response", cx);
    };
    let answer = match response {
        Response::Negotiate(WILDCARD) => return,
        Response::Negotiate(dialect) => return talk.negotiated(dialect, header.status, cx),
        Response::SessionSetup(blob, _) => Answer::SessionSetup(blob),
        Response::TreeConnect(kind) => Answer::TreeConnect { pipe: kind == 2 },
        Response::Create(create) => Answer::Create {
            file: create.file,
            created: create.created,
        },
        Response::Read(count, data) => Answer::Bytes(count, data),
        Response::Write(count) => Answer::Bytes(count, &[]),
        Response::Transceive(data) => Answer::Bytes(0, data),
        Response::Other => Answer::None,
    };
    talk.answered(place, header.status, &answer, cx);
}
