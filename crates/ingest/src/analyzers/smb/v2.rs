//! SMB 2 and 3 messages to the conversation.

use thymus_parsers::smb::v2::{self, Header, Request, Response};

use super::contents::{Bulk, Way};
use super::conversation::Conversation;
use super::exchange::{Answer, Asked, Place};
use crate::analyzer::{AnalyzerCx, Side};

/// The dialect that only says "negotiate again, as SMB 2".
const WILDCARD: u16 = 0x02ff;

/// Reads a message; bytes of a file in it are left to the caller.
pub(super) fn message(
    bytes: &[u8],
    header: &Header,
    talk: &mut Conversation,
    cx: &mut AnalyzerCx<'_>,
) -> Option<Bulk> {
    let place = Place {
        exchange: header.message_id,
        session: header.session_id,
        tree: header.tree_id,
    };
    if header.response {
        response(bytes, header, place, talk, cx)
    } else {
        request(bytes, header, place, talk, cx)
    }
}

fn request(
    bytes: &[u8],
    header: &Header,
    place: Place,
    talk: &mut Conversation,
    cx: &mut AnalyzerCx<'_>,
) -> Option<Bulk> {
    let Some(request) = v2::request(bytes, header.command) else {
        talk.quirk("cut_request", cx);
        return None;
    };
    let mut bulk = None;
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
        Request::Read(file, at) => Asked::Read(file, at),
        Request::Write(write) => {
            talk.pipe_bytes(write.file, Side::Client, write.data, cx);
            bulk = talk.writes(place, write.file).map(|whose| Bulk {
                whose,
                way: Way::Write,
                at: write.at,
                offset: write.offset.into(),
                left: write.length as usize,
            });
            Asked::Write(write.file)
        }
        Request::Transceive(file, data) => {
            talk.pipe_bytes(file, Side::Client, data, cx);
            Asked::Transceive(file)
        }
        Request::QueryDirectory(file) => Asked::List(file),
        Request::Rename(file, path) => Asked::Rename(file, path),
        Request::Dispose(file, delete) => Asked::Dispose(file, delete),
        Request::Resize(file, size) => Asked::Resize(file, size),
        Request::Other => return None,
    };
    talk.asked(place, asked, cx);
    bulk
}

fn response(
    bytes: &[u8],
    header: &Header,
    place: Place,
    talk: &mut Conversation,
    cx: &mut AnalyzerCx<'_>,
) -> Option<Bulk> {
    let Some(response) = v2::response(bytes, header.command) else {
        talk.quirk("cut_response", cx);
        return None;
    };
    let mut bulk = None;
    let answer = match response {
        Response::Negotiate(WILDCARD) => return None,
        Response::Negotiate(dialect) => {
            talk.negotiated(dialect, header.status, cx);
            return None;
        }
        Response::SessionSetup(blob, _) => Answer::SessionSetup(blob),
        Response::TreeConnect(kind) => Answer::TreeConnect { pipe: kind == 2 },
        Response::Create(create) => Answer::Create {
            file: create.file,
            created: create.created,
            size: create.size,
        },
        Response::Read(count, offset, data) => {
            bulk = talk.reads(place, header.status).map(|(whose, at)| Bulk {
                whose,
                way: Way::Read,
                at,
                offset: offset.into(),
                left: count as usize,
            });
            Answer::Bytes(count, data)
        }
        Response::Write(count) => Answer::Bytes(count, &[]),
        Response::Transceive(data) => Answer::Bytes(0, data),
        Response::Other => Answer::None,
    };
    talk.answered(place, header.status, &answer, cx);
    bulk
}
