//! SMB 2 and 3 commands (MS-SMB2 section 2.2). Every reader takes the message from its header on,
//! because offsets in it count from there.

use super::PATH_UNITS_MAX;
use crate::reader::Reader;
use crate::words::{reader_at, utf16le};

/// Bytes of the header.
pub const HEADER_LEN: usize = 64;

/// Commands, as the header numbers them.
pub mod command {
    #![expect(missing_docs, reason = "the names are the specification's")]
    pub const NEGOTIATE: u16 = 0;
    pub const SESSION_SETUP: u16 = 1;
    pub const LOGOFF: u16 = 2;
    pub const TREE_CONNECT: u16 = 3;
    pub const TREE_DISCONNECT: u16 = 4;
    pub const CREATE: u16 = 5;
    pub const CLOSE: u16 = 6;
    pub const READ: u16 = 8;
    pub const WRITE: u16 = 9;
    pub const IOCTL: u16 = 11;
    pub const QUERY_DIRECTORY: u16 = 14;
    pub const SET_INFO: u16 = 17;
}

/// Control code of a pipe's write and read in one.
pub const FSCTL_PIPE_TRANSCEIVE: u32 = 0x0011_c017;

/// The header, synchronous or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The command.
    pub command: u16,
    /// NT status of a response; 0 in requests of old dialects, channel data in newer ones.
    pub status: u32,
    /// Whether the server sent it.
    pub response: bool,
    /// Whether it goes on with session, tree and file of the request before it.
    pub related: bool,
    /// Offset of the next command in a compound; 0 for the last.
    pub next: u32,
    /// Ties a response to its request.
    pub message_id: u64,
    /// The tree; 0 when the message is asynchronous.
    pub tree_id: u32,
    /// The session.
    pub session_id: u64,
}

/// Reads the header; `None` when it is cut or no SMB 2 header.
pub fn header(bytes: &[u8]) -> Option<Header> {
    let mut reader = Reader::new(bytes);
    if reader.take(4)? != b"\xfeSMB" || reader.u16_le()? != 64 {
        return None;
    }
    reader.skip(2)?;
    let status = reader.u32_le()?;
    let command = reader.u16_le()?;
    reader.skip(2)?;
    let flags = reader.u32_le()?;
    let next = reader.u32_le()?;
    let message_id = reader.u64_le()?;
    reader.skip(4)?;
    let tree_id = reader.u32_le()?;
    let session_id = reader.u64_le()?;
    reader.skip(16)?;
    let asynchronous = flags & 2 != 0;
    Some(Header {
        command,
        status,
        response: flags & 1 != 0,
        related: flags & 4 != 0,
        next,
        message_id,
        tree_id: if asynchronous { 0 } else { tree_id },
        session_id,
    })
}

/// A file's identity on a connection (its volatile part).
pub type FileId = u64;

/// What a request asks, as far as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// A piece of a log-in.
    SessionSetup(&'a [u8]),
    /// Enter a share; its path.
    TreeConnect(Box<str>),
    /// Open or create.
    Create(CreateRequest),
    /// Close a file.
    Close(FileId),
    /// Read from a file, from this byte on.
    Read(FileId, u64),
    /// Write to a file.
    Write(WriteRequest<'a>),
    /// A pipe's write and read in one.
    Transceive(FileId, &'a [u8]),
    /// List a folder.
    QueryDirectory(FileId),
    /// Rename to this path.
    Rename(FileId, Box<str>),
    /// Mark for deletion, or take the mark away.
    Dispose(FileId, bool),
    /// Make it so many bytes long.
    Resize(FileId, u64),
    /// Anything else.
    Other,
}

/// An open or create request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateRequest {
    /// The path inside the share.
    pub path: Box<str>,
    /// Whether the file goes when it is closed.
    pub delete_on_close: bool,
}

/// Bytes for a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteRequest<'a> {
    /// The file.
    pub file: FileId,
    /// Where in the file they go.
    pub at: u64,
    /// How many.
    pub length: u32,
    /// Where in the message they begin.
    pub offset: u16,
    /// As many of them as are here, which matters for pipes.
    pub data: &'a [u8],
}

/// Reads a request's body; `None` when it is cut where it matters.
pub fn request(message: &[u8], command: u16) -> Option<Request<'_>> {
    let mut body = reader_at(message, HEADER_LEN);
    match command {
        command::SESSION_SETUP => {
            body.skip(12)?;
            Some(Request::SessionSetup(buffer(message, &mut body)?))
        }
        command::TREE_CONNECT => {
            body.skip(4)?;
            Some(Request::TreeConnect(utf16le(
                buffer(message, &mut body)?,
                PATH_UNITS_MAX,
            )))
        }
        command::CREATE => {
            body.skip(40)?;
            let options = body.u32_le()?;
            let path = utf16le(buffer(message, &mut body)?, PATH_UNITS_MAX);
            Some(Request::Create(CreateRequest {
                path,
                delete_on_close: options & 0x1000 != 0,
            }))
        }
        command::CLOSE => {
            body.skip(8)?;
            Some(Request::Close(file_id(&mut body)?))
        }
        command::READ => {
            body.skip(8)?;
            let at = body.u64_le()?;
            Some(Request::Read(file_id(&mut body)?, at))
        }
        command::WRITE => {
            body.skip(2)?;
            let offset = body.u16_le()?;
            let length = body.u32_le()?;
            let at = body.u64_le()?;
            Some(Request::Write(WriteRequest {
                file: file_id(&mut body)?,
                at,
                length,
                offset,
                data: slice(message, offset.into(), length),
            }))
        }
        command::IOCTL => ioctl_request(message, body),
        command::QUERY_DIRECTORY => {
            body.skip(8)?;
            Some(Request::QueryDirectory(file_id(&mut body)?))
        }
        command::SET_INFO => set_info(message, body),
        _ => Some(Request::Other),
    }
}

/// Offset and length, two bytes each, of a part of the message.
fn buffer<'a>(message: &'a [u8], body: &mut Reader<'_>) -> Option<&'a [u8]> {
    let offset = body.u16_le()?;
    let length = body.u16_le()?;
    Some(slice(message, offset.into(), length.into()))
}

/// The part of the message, as much of it as there is.
fn slice(message: &[u8], offset: u32, length: u32) -> &[u8] {
    let (Ok(offset), Ok(length)) = (usize::try_from(offset), usize::try_from(length)) else {
        return &[];
    };
    reader_at(message, offset).take_up_to(length)
}

fn file_id(body: &mut Reader<'_>) -> Option<FileId> {
    body.skip(8)?;
    body.u64_le()
}

fn ioctl_request<'a>(message: &'a [u8], mut body: Reader<'a>) -> Option<Request<'a>> {
    body.skip(4)?;
    let code = body.u32_le()?;
    let file = file_id(&mut body)?;
    let offset = body.u32_le()?;
    let length = body.u32_le()?;
    if code != FSCTL_PIPE_TRANSCEIVE {
        return Some(Request::Other);
    }
    Some(Request::Transceive(file, slice(message, offset, length)))
}

fn set_info<'a>(message: &'a [u8], mut body: Reader<'a>) -> Option<Request<'a>> {
    const FILE: u8 = 1;
    body.skip(2)?;
    let kind = body.u8()?;
    let class = body.u8()?;
    let length = body.u32_le()?;
    let offset = body.u16_le()?;
    body.skip(6)?;
    let file = file_id(&mut body)?;
    let mut info = Reader::new(slice(message, offset.into(), length));
    match (kind, class) {
        // FileRenameInformation (MS-FSCC 2.4.42.2) and its extended form.
        (FILE, 10 | 65) => {
            info.skip(16)?;
            let length = usize::try_from(info.u32_le()?).ok()?;
            Some(Request::Rename(
                file,
                utf16le(info.take_up_to(length), PATH_UNITS_MAX),
            ))
        }
        // FileDispositionInformation and its extended form.
        (FILE, 13 | 64) => Some(Request::Dispose(file, info.u8()? & 1 != 0)),
        // FileEndOfFileInformation.
        (FILE, 20) => Some(Request::Resize(file, info.u64_le()?)),
        _ => Some(Request::Other),
    }
}

/// What a response says, as far as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response<'a> {
    /// The dialect that was agreed.
    Negotiate(u16),
    /// A piece of a log-in, and whether the session is a guest's or nobody's.
    SessionSetup(&'a [u8], bool),
    /// The kind of share: 1 disk, 2 pipe, 3 printer.
    TreeConnect(u8),
    /// A file was opened.
    Create(CreateResponse),
    /// So many bytes were read, which begin here in the message; the bytes, as far as they are here, matter
    /// for pipes.
    Read(u32, u8, &'a [u8]),
    /// So many bytes were written.
    Write(u32),
    /// The answer of a pipe.
    Transceive(&'a [u8]),
    /// Anything else, errors among them.
    Other,
}

/// What became of an open or create request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CreateResponse {
    /// The file's identity.
    pub file: FileId,
    /// Whether the file was made or its old content replaced.
    pub created: bool,
    /// Whether it is a folder.
    pub folder: bool,
    /// Its bytes.
    pub size: u64,
}

/// Reads a response's body; `None` when it is cut where it matters.
pub fn response(message: &[u8], command: u16) -> Option<Response<'_>> {
    let mut body = reader_at(message, HEADER_LEN);
    let size = body.u16_le()?;
    if size == 9 && !matches!(command, command::SESSION_SETUP | command::QUERY_DIRECTORY) {
        return Some(Response::Other);
    }
    match command {
        command::NEGOTIATE => {
            body.skip(2)?;
            Some(Response::Negotiate(body.u16_le()?))
        }
        command::SESSION_SETUP => {
            let flags = body.u16_le()?;
            Some(Response::SessionSetup(
                buffer(message, &mut body)?,
                flags & 3 != 0,
            ))
        }
        command::TREE_CONNECT => Some(Response::TreeConnect(body.u8()?)),
        command::CREATE => {
            body.skip(2)?;
            let action = body.u32_le()?;
            body.skip(40)?;
            let size = body.u64_le()?;
            let attributes = body.u32_le()?;
            body.skip(4)?;
            let file = file_id(&mut body)?;
            let created = matches!(action, 0 | 2 | 3);
            Some(Response::Create(CreateResponse {
                file,
                created,
                folder: attributes & 0x10 != 0,
                size,
            }))
        }
        command::READ => {
            let offset = body.u8()?;
            body.skip(1)?;
            let length = body.u32_le()?;
            Some(Response::Read(
                length,
                offset,
                slice(message, offset.into(), length),
            ))
        }
        command::WRITE => {
            body.skip(2)?;
            Some(Response::Write(body.u32_le()?))
        }
        command::IOCTL => {
            body.skip(2)?;
            let code = body.u32_le()?;
            body.skip(24)?;
            let offset = body.u32_le()?;
            let length = body.u32_le()?;
            if code != FSCTL_PIPE_TRANSCEIVE {
                return Some(Response::Other);
            }
            Some(Response::Transceive(slice(message, offset, length)))
        }
        _ => Some(Response::Other),
    }
}

/// Most bytes of a message worth having: all of it where names, blobs or pipe data are inside, the
/// fixed part where only a length counts. `pipe` says whether the message is about a pipe.
pub fn bytes_wanted(header: &Header, pipe: bool) -> usize {
    const WHOLE: usize = 48 * 1024;
    const FIXED: usize = HEADER_LEN + 64;
    match (header.command, header.response) {
        (command::SESSION_SETUP, _) => WHOLE,
        (command::NEGOTIATE | command::SET_INFO | command::CREATE | command::TREE_CONNECT, _) => {
            4 * 1024
        }
        (command::IOCTL | command::READ | command::WRITE, _) if pipe => WHOLE,
        _ => FIXED,
    }
}

/// Runs every reader over a message.
pub fn fuzz(message: &[u8]) {
    let Some(header) = header(message) else {
        return;
    };
    for command in 0..=18 {
        let asked = request(message, command);
        let answered = response(message, command);
        debug_assert!(asked.is_some() || answered.is_some() || message.len() < 512);
    }
    debug_assert!(bytes_wanted(&header, true) >= bytes_wanted(&header, false));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(command: u16, response: bool, body: &[u8]) -> Vec<u8> {
        let mut bytes = b"\xfeSMB\x40\0\0\0\0\0\0\0".to_vec();
        bytes.extend(command.to_le_bytes());
        bytes.extend([0, 0, u8::from(response), 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(7_u64.to_le_bytes());
        bytes.extend([0, 0, 0, 0, 5, 0, 0, 0]);
        bytes.extend(9_u64.to_le_bytes());
        bytes.extend([0; 16]);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn the_header_tells_who_what_and_which() {
        let header = header(&message(command::READ, true, &[])).unwrap();
        assert_eq!((header.command, header.response), (command::READ, true));
        assert_eq!(
            (header.message_id, header.tree_id, header.session_id),
            (7, 5, 9)
        );
    }

    #[test]
    fn a_rename_names_the_new_path() {
        let name: Vec<u8> = "b.txt".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut body = vec![33, 0, 1, 10];
        body.extend(30_u32.to_le_bytes());
        body.extend([96, 0, 0, 0, 0, 0, 0, 0]);
        body.extend([0; 8]);
        body.extend(3_u64.to_le_bytes());
        body.extend([0; 16]);
        body.extend(10_u32.to_le_bytes());
        body.extend(name);
        let message = message(command::SET_INFO, false, &body);
        let read = request(&message, command::SET_INFO).unwrap();
        assert_eq!(read, Request::Rename(3, "b.txt".into()));
    }

    #[test]
    fn a_cut_write_still_tells_its_length() {
        let mut body = vec![49, 0, 112, 0];
        body.extend(1_000_000_u32.to_le_bytes());
        body.extend([0; 16]);
        body.extend(4_u64.to_le_bytes());
        let message = message(command::WRITE, false, &body);
        let read = request(&message, command::WRITE).unwrap();
        let expected = WriteRequest {
            file: 4,
            length: 1_000_000,
            offset: 112,
            ..WriteRequest::default()
        };
        assert_eq!(read, Request::Write(expected));
    }

    #[test]
    fn an_error_response_says_nothing_more() {
        let error = message(command::CREATE, true, &[9, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(response(&error, command::CREATE), Some(Response::Other));
    }
}
