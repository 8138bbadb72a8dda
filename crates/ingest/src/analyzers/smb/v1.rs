//! SMB 1 messages to the conversation.

use thymus_parsers::smb::v1::{self, Block, Header, Request, Response, command};

use super::conversation::Conversation;
use super::exchange::{Answer, Asked, Place};
use crate::analyzer::{AnalyzerCx, Side};

const DIALECT: u16 = 0x0100;
/// Most commands followed in one message.
const BLOCKS_MAX: usize = 8;

pub(super) fn message(
    bytes: &[u8],
    header: &Header,
    talk: &mut Conversation,
    cx: &mut AnalyzerCx<'_>,
) {
    let mut next = Some((header.command, v1::HEADER_LEN));
    for _ in 0..BLOCKS_MAX {
        let Some((command, offset)) = next else {
            return;
        };
        let Some(block) = v1::block(bytes, command, offset) else {
            return talk.quirk("cut_block", cx);
        };
        let place = Place {
            exchange: (u64::from(header.exchange) << 8) | u64::from(command),
            session: header.user.into(),
            tree: header.tree.into(),
        };
        if header.response {
            response(bytes, header, &block, place, talk, cx);
        } else {
            request(bytes, header, &block, place, talk, cx);
        }
        next = block.next;
    }
}

fn request(
    bytes: &[u8],
    header: &Header,
    block: &Block<'_>,
    place: Place,
    talk: &mut Conversation,
    cx: &mut AnalyzerCx<'_>,
) {
    let Some(request) = v1::request(bytes, header, block) else {
        return talk.quirk("cut_request", cx);
    };
    let asked = match request {
        Request::SessionSetup(blob) => {
            talk.client_blob(place.session, blob);
            Asked::SessionSetup
        }
        Request::PlainSetup {
            user,
            domain,
            anonymous,
        } => {
            talk.plain_log_in(user, domain, anonymous);
            let place = Place {
                session: 0,
                ..place
            };
            return talk.asked(place, Asked::SessionSetup, cx);
        }
        Request::TreeConnect(share) => Asked::TreeConnect(share),
        Request::Create(path, delete) => Asked::Create {
            tree: place.tree,
            path,
            delete,
        },
        Request::Close(file) => Asked::Close(file.into()),
        Request::Read(file) => Asked::Read(file.into(), 0),
        Request::Write(file, _, data) => {
            talk.pipe_bytes(file.into(), Side::Client, data, cx);
            Asked::Write(file.into())
        }
        Request::Transceive(file, data) => {
            talk.pipe_bytes(file.into(), Side::Client, data, cx);
            Asked::Transceive(file.into())
        }
        Request::Delete(path) => Asked::DeletePath(path),
        Request::Rename(old, new) => Asked::RenamePath(old, new),
        Request::List(path) => Asked::ListPath(path),
        Request::Dispose(file) => Asked::Dispose(file.into(), true),
        Request::RenameOpen(file, path) => Asked::Rename(file.into(), path),
        Request::Odd(quirk) => return talk.quirk(quirk, cx),
        Request::Other => return,
    };
    talk.asked(place, asked, cx);
}

fn response(
    bytes: &[u8],
    header: &Header,
    block: &Block<'_>,
    place: Place,
    talk: &mut Conversation,
    cx: &mut AnalyzerCx<'_>,
) {
    if block.command == command::NEGOTIATE {
        return talk.negotiated(DIALECT, header.status, cx);
    }
    let Some(response) = v1::response(bytes, block) else {
        return talk.quirk("cut_response", cx);
    };
    if talk.dialect == 0 {
        talk.dialect = DIALECT;
    }
    let answer = match response {
        Response::SessionSetup(blob, _) => Answer::SessionSetup(blob),
        Response::TreeConnect(pipe) => Answer::TreeConnect { pipe },
        Response::Create(file, created) => Answer::Create {
            file: file.into(),
            created,
            size: 0,
        },
        Response::Read(count, data) => Answer::Bytes(count, data),
        Response::Write(count) => Answer::Bytes(count, &[]),
        Response::Transceive(data) => Answer::Bytes(0, data),
        Response::Other => Answer::None,
    };
    talk.answered(place, header.status, &answer, cx);
}
