//! SMB 1 commands (MS-CIFS section 2.2.4, MS-SMB section 2.2.4), as far as they name accounts,
//! shares and files.

use super::PATH_UNITS_MAX;
use crate::reader::Reader;
use crate::words::{c_text, reader_at, utf16le};

/// Bytes of the header.
pub const HEADER_LEN: usize = 32;

/// Commands, as the header numbers them.
pub mod command {
    #![expect(missing_docs, reason = "the names are the specification's")]
    pub const CLOSE: u8 = 0x04;
    pub const DELETE: u8 = 0x06;
    pub const RENAME: u8 = 0x07;
    pub const TRANSACTION: u8 = 0x25;
    pub const OPEN_ANDX: u8 = 0x2d;
    pub const READ_ANDX: u8 = 0x2e;
    pub const WRITE_ANDX: u8 = 0x2f;
    pub const TRANSACTION2: u8 = 0x32;
    pub const NEGOTIATE: u8 = 0x72;
    pub const SESSION_SETUP_ANDX: u8 = 0x73;
    pub const LOGOFF_ANDX: u8 = 0x74;
    pub const TREE_CONNECT_ANDX: u8 = 0x75;
    pub const NT_TRANSACT: u8 = 0xa0;
    pub const NT_CREATE_ANDX: u8 = 0xa2;
    pub const NONE: u8 = 0xff;
}

/// The header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The first command.
    pub command: u8,
    /// NT status; a DOS error is shifted into an unlike range (`0xE000_0000`).
    pub status: u32,
    /// Whether the server sent it.
    pub response: bool,
    /// Whether text is UTF-16.
    pub unicode: bool,
    /// Whether log-ins carry security blobs.
    pub extended: bool,
    /// The tree.
    pub tree: u16,
    /// The session's user id.
    pub user: u16,
    /// Ties a response to its request: process and multiplex id.
    pub exchange: u32,
}

/// Reads the header; `None` when it is cut or no SMB 1 header.
pub fn header(bytes: &[u8]) -> Option<Header> {
    let mut reader = Reader::new(bytes);
    if reader.take(4)? != b"\xffSMB" {
        return None;
    }
    let command = reader.u8()?;
    let status = reader.u32_le()?;
    let flags = reader.u8()?;
    let flags2 = reader.u16_le()?;
    reader.skip(12)?;
    let tree = reader.u16_le()?;
    let process = reader.u16_le()?;
    let user = reader.u16_le()?;
    let multiplex = reader.u16_le()?;
    let nt_status = flags2 & 0x4000 != 0 || status == 0;
    Some(Header {
        command,
        status: if nt_status {
            status
        } else {
            0xe000_0000 | (status & 0x0fff_ffff)
        },
        response: flags & 0x80 != 0,
        unicode: flags2 & 0x8000 != 0,
        extended: flags2 & 0x0800 != 0,
        tree,
        user,
        exchange: (u32::from(process) << 16) | u32::from(multiplex),
    })
}

/// One command of a message: parameter words, data, and what is chained behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// The command.
    pub command: u8,
    /// Parameter words as bytes.
    pub words: &'a [u8],
    /// Data bytes, as many as there are.
    pub data: &'a [u8],
    /// Offset of the data in the message, to align UTF-16.
    pub data_offset: usize,
    /// Command and offset of the next block of an AndX chain.
    pub next: Option<(u8, usize)>,
}

/// The block of `command` at `offset` of the message.
pub fn block(message: &[u8], command: u8, offset: usize) -> Option<Block<'_>> {
    let mut reader = reader_at(message, offset);
    let count = usize::from(reader.u8()?);
    let words = reader.take(count.saturating_mul(2))?;
    let length = usize::from(reader.u16_le().unwrap_or_default());
    let data_offset = message.len().saturating_sub(reader.len());
    let data = reader.take_up_to(length);
    let next = if is_andx(command) && count >= 2 {
        let mut andx = Reader::new(words);
        let then = andx.u8()?;
        andx.skip(1)?;
        let at = usize::from(andx.u16_le()?);
        // Only forward, so that a chain cannot be a circle.
        (then != command::NONE && at > offset).then_some((then, at))
    } else {
        None
    };
    Some(Block {
        command,
        words,
        data,
        data_offset,
        next,
    })
}

const fn is_andx(command: u8) -> bool {
    matches!(
        command,
        command::OPEN_ANDX
            | command::READ_ANDX
            | command::WRITE_ANDX
            | command::SESSION_SETUP_ANDX
            | command::LOGOFF_ANDX
            | command::TREE_CONNECT_ANDX
            | command::NT_CREATE_ANDX
            | 0x24
    )
}

/// What a request asks, as far as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// A security blob.
    SessionSetup(&'a [u8]),
    /// An old log-in: account, domain, and whether any answer was given.
    PlainSetup {
        /// The account.
        user: Box<str>,
        /// Its domain.
        domain: Box<str>,
        /// Whether no account is claimed.
        anonymous: bool,
    },
    /// Enter a share; its path.
    TreeConnect(Box<str>),
    /// Open or create a path; whether it goes when it is closed.
    Create(Box<str>, bool),
    /// Close a file.
    Close(u16),
    /// Read from a file.
    Read(u16),
    /// Write so many bytes; the bytes, as far as they are here, matter for pipes.
    Write(u16, u32, &'a [u8]),
    /// A pipe's write and read in one.
    Transceive(u16, &'a [u8]),
    /// Delete a path.
    Delete(Box<str>),
    /// Rename a path.
    Rename(Box<str>, Box<str>),
    /// List a folder.
    List(Box<str>),
    /// Mark an open file for deletion.
    Dispose(u16),
    /// Rename an open file.
    RenameOpen(u16, Box<str>),
    /// What no client of this protocol sends, by its name.
    Odd(&'static str),
    /// Anything else.
    Other,
}

struct Texts<'a> {
    message: &'a [u8],
    at: usize,
    unicode: bool,
}

impl Texts<'_> {
    /// The next NUL-terminated string, aligned when it is UTF-16.
    fn next(&mut self) -> Box<str> {
        if !self.unicode {
            let rest = reader_at(self.message, self.at).rest();
            let length = rest
                .iter()
                .position(|&byte| byte == 0)
                .unwrap_or(rest.len());
            self.at = self.at.saturating_add(length).saturating_add(1);
            return c_text(rest, PATH_UNITS_MAX);
        }
        self.at = self.at.saturating_add(self.at & 1);
        let rest = reader_at(self.message, self.at).rest();
        let units = rest.chunks_exact(2).position(|pair| pair == [0, 0]);
        let length = units.map_or(rest.len(), |units| units.saturating_mul(2));
        self.at = self.at.saturating_add(length).saturating_add(2);
        utf16le(rest, PATH_UNITS_MAX)
    }

    /// Skips the buffer format byte before a string of old commands.
    const fn skip(&mut self, count: usize) {
        self.at = self.at.saturating_add(count);
    }
}

/// Reads one block of a request.
pub fn request<'a>(message: &'a [u8], header: &Header, block: &Block<'a>) -> Option<Request<'a>> {
    let mut words = Reader::new(block.words);
    let mut texts = Texts {
        message,
        at: block.data_offset,
        unicode: header.unicode,
    };
    match block.command {
        command::SESSION_SETUP_ANDX => session_setup(block, words, texts),
        command::TREE_CONNECT_ANDX => {
            words.skip(6)?;
            texts.skip(words.u16_le()?.into());
            Some(Request::TreeConnect(texts.next()))
        }
        command::NT_CREATE_ANDX => {
            words.skip(39)?;
            let options = words.u32_le()?;
            Some(Request::Create(texts.next(), options & 0x1000 != 0))
        }
        command::OPEN_ANDX => Some(Request::Create(texts.next(), false)),
        command::CLOSE => Some(Request::Close(words.u16_le()?)),
        command::READ_ANDX => {
            words.skip(4)?;
            Some(Request::Read(words.u16_le()?))
        }
        command::WRITE_ANDX => {
            words.skip(4)?;
            let file = words.u16_le()?;
            words.skip(12)?;
            let high = words.u16_le()?;
            let low = words.u16_le()?;
            let offset = words.u16_le()?;
            let length = (u32::from(high) << 16) | u32::from(low);
            let count = usize::try_from(length).ok()?;
            let data = reader_at(message, offset.into()).take_up_to(count);
            Some(Request::Write(file, length, data))
        }
        command::DELETE => {
            texts.skip(1);
            Some(Request::Delete(texts.next()))
        }
        command::RENAME => {
            texts.skip(1);
            let old = texts.next();
            texts.skip(1);
            Some(Request::Rename(old, texts.next()))
        }
        command::TRANSACTION => transaction(message, words),
        command::TRANSACTION2 => transaction2(message, header, words),
        command::NT_TRANSACT => {
            words.skip(7)?;
            // A client keeps within the server's buffer of at most 64 KiB; more is written to files.
            Some(if words.u32_le()? > 0xffff {
                Request::Odd("oversized_transaction")
            } else {
                Request::Other
            })
        }
        _ => Some(Request::Other),
    }
}

fn session_setup<'a>(
    block: &Block<'a>,
    mut words: Reader<'_>,
    mut texts: Texts<'_>,
) -> Option<Request<'a>> {
    words.skip(14)?;
    let first = usize::from(words.u16_le()?);
    if block.words.len() == 24 {
        return Some(Request::SessionSetup(
            Reader::new(block.data).take_up_to(first),
        ));
    }
    let second = if block.words.len() >= 26 {
        usize::from(words.u16_le()?)
    } else {
        0
    };
    texts.skip(first.saturating_add(second));
    let user = texts.next();
    let domain = texts.next();
    let anonymous = user.is_empty() && first <= 1 && second == 0;
    Some(Request::PlainSetup {
        user,
        domain,
        anonymous,
    })
}

/// Counts and offsets that transactions share: parameters, then data (MS-CIFS 2.2.4.33.1).
struct Parts<'a> {
    parameters_at: usize,
    parameters: &'a [u8],
    data: &'a [u8],
    setup: [Option<u16>; 2],
}

fn parts<'a>(message: &'a [u8], mut words: Reader<'_>) -> Option<Parts<'a>> {
    words.skip(18)?;
    let parameter_count = usize::from(words.u16_le()?);
    let parameter_offset = usize::from(words.u16_le()?);
    let data_count = usize::from(words.u16_le()?);
    let data_offset = usize::from(words.u16_le()?);
    let setup_count = words.u8()?;
    words.skip(1)?;
    let first = (setup_count > 0).then(|| words.u16_le()).flatten();
    let second = (setup_count > 1).then(|| words.u16_le()).flatten();
    Some(Parts {
        parameters_at: parameter_offset,
        parameters: reader_at(message, parameter_offset).take_up_to(parameter_count),
        data: reader_at(message, data_offset).take_up_to(data_count),
        setup: [first, second],
    })
}

fn transaction<'a>(message: &'a [u8], words: Reader<'_>) -> Option<Request<'a>> {
    const TRANSACT_NAMED_PIPE: u16 = 0x26;
    let parts = parts(message, words)?;
    match parts.setup {
        [Some(TRANSACT_NAMED_PIPE), Some(file)] => Some(Request::Transceive(file, parts.data)),
        _ => Some(Request::Other),
    }
}

fn transaction2<'a>(message: &'a [u8], header: &Header, words: Reader<'_>) -> Option<Request<'a>> {
    const FIND_FIRST: u16 = 1;
    const SET_FILE_INFO: u16 = 8;
    // Reserved and never implemented (MS-CIFS 2.2.6.15).
    const SESSION_SETUP: u16 = 14;
    let parts = parts(message, words)?;
    let mut parameters = Reader::new(parts.parameters);
    match parts.setup[0] {
        Some(FIND_FIRST) => {
            let at = parts.parameters_at.saturating_add(12);
            Some(Request::List(
                Texts {
                    message,
                    at,
                    unicode: header.unicode,
                }
                .next(),
            ))
        }
        Some(SESSION_SETUP) => Some(Request::Odd("session_setup_transaction")),
        Some(SET_FILE_INFO) => {
            let file = parameters.u16_le()?;
            let level = parameters.u16_le()?;
            let mut info = Reader::new(parts.data);
            match level {
                // SMB_SET_FILE_DISPOSITION_INFO and its pass-through form.
                0x102 | 1013 if info.u8()? & 1 != 0 => Some(Request::Dispose(file)),
                1010 => {
                    info.skip(8)?;
                    let length = usize::try_from(info.u32_le()?).ok()?;
                    let name = utf16le(info.take_up_to(length), PATH_UNITS_MAX);
                    Some(Request::RenameOpen(file, name))
                }
                _ => Some(Request::Other),
            }
        }
        _ => Some(Request::Other),
    }
}

/// What a response says, as far as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response<'a> {
    /// A security blob, and whether the session is a guest's.
    SessionSetup(&'a [u8], bool),
    /// A share was entered; whether it is the pipe share.
    TreeConnect(bool),
    /// A file was opened: its id and whether it was made or its content replaced.
    Create(u16, bool),
    /// So many bytes were read; the bytes, as far as they are here, matter for pipes.
    Read(u32, &'a [u8]),
    /// So many bytes were written.
    Write(u32),
    /// The answer of a pipe.
    Transceive(&'a [u8]),
    /// Anything else, errors among them.
    Other,
}

/// Reads one block of a response.
pub fn response<'a>(message: &'a [u8], block: &Block<'a>) -> Option<Response<'a>> {
    let mut words = Reader::new(block.words);
    if words.is_empty() {
        return Some(Response::Other);
    }
    match block.command {
        command::SESSION_SETUP_ANDX => {
            words.skip(4)?;
            let guest = words.u16_le()? & 1 != 0;
            let length = words.u16_le().unwrap_or_default();
            Some(Response::SessionSetup(
                Reader::new(block.data).take_up_to(length.into()),
                guest,
            ))
        }
        command::TREE_CONNECT_ANDX => Some(Response::TreeConnect(block.data.starts_with(b"IPC"))),
        command::NT_CREATE_ANDX => {
            words.skip(5)?;
            let file = words.u16_le()?;
            let action = words.u32_le()?;
            Some(Response::Create(file, matches!(action, 0 | 2 | 3)))
        }
        command::OPEN_ANDX => {
            words.skip(4)?;
            let file = words.u16_le()?;
            words.skip(16)?;
            let action = words.u16_le()? & 0x7fff;
            Some(Response::Create(file, matches!(action, 2 | 3)))
        }
        command::READ_ANDX => {
            words.skip(10)?;
            let low = words.u16_le()?;
            let offset = words.u16_le()?;
            let high = words.u16_le().unwrap_or_default();
            let length = (u32::from(high) << 16) | u32::from(low);
            let count = usize::try_from(length).ok()?;
            Some(Response::Read(
                length,
                reader_at(message, offset.into()).take_up_to(count),
            ))
        }
        command::WRITE_ANDX => {
            words.skip(4)?;
            let low = words.u16_le()?;
            words.skip(2)?;
            let high = words.u16_le().unwrap_or_default();
            Some(Response::Write((u32::from(high) << 16) | u32::from(low)))
        }
        command::TRANSACTION => {
            words.skip(12)?;
            let count = usize::from(words.u16_le()?);
            let offset = usize::from(words.u16_le()?);
            Some(Response::Transceive(
                reader_at(message, offset).take_up_to(count),
            ))
        }
        _ => Some(Response::Other),
    }
}

/// Most bytes of a message worth having, as in [`super::v2::bytes_wanted`].
pub fn bytes_wanted(header: &Header, pipe: bool) -> usize {
    match (header.command, header.response) {
        (command::READ_ANDX, true) | (command::WRITE_ANDX, false) if !pipe => HEADER_LEN + 64,
        (command::TRANSACTION2, true) => HEADER_LEN,
        _ => 48 * 1024,
    }
}

/// Runs every reader over a message.
pub fn fuzz(message: &[u8]) {
    let Some(header) = header(message) else {
        return;
    };
    let mut at = Some((header.command, HEADER_LEN));
    let mut blocks = 0_usize;
    while let Some((command, offset)) = at {
        let Some(block) = block(message, command, offset) else {
            return;
        };
        let asked = request(message, &header, &block);
        let answered = response(message, &block);
        debug_assert!(asked.is_some() || answered.is_some() || !block.words.is_empty());
        at = block.next;
        blocks = blocks.saturating_add(1);
        debug_assert!(blocks <= 65_536, "a chain only goes forward");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(command: u8, words: &[u8], data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\xffSMB".to_vec();
        bytes.extend([command, 0, 0, 0, 0, 0x18, 0x01, 0x40]);
        bytes.extend([0; 20]);
        bytes.push(u8::try_from(words.len() / 2).unwrap());
        bytes.extend(words);
        bytes.extend(u16::try_from(data.len()).unwrap().to_le_bytes());
        bytes.extend(data);
        bytes
    }

    fn read(bytes: &[u8]) -> Request<'_> {
        let header = header(bytes).unwrap();
        let block = block(bytes, header.command, HEADER_LEN).unwrap();
        request(bytes, &header, &block).unwrap()
    }

    #[test]
    fn a_rename_names_both_paths() {
        let bytes = message(command::RENAME, &[6, 0], b"\x04\\a.txt\0\x04\\b.txt\0");
        assert_eq!(
            read(&bytes),
            Request::Rename("\\a.txt".into(), "\\b.txt".into())
        );
    }

    #[test]
    fn an_old_log_in_names_the_account() {
        let mut words = vec![0xff, 0, 0, 0];
        words.extend([0; 10]);
        words.extend([3, 0, 2, 0]);
        words.extend([0; 8]);
        let bytes = message(
            command::SESSION_SETUP_ANDX,
            &words,
            b"LLLNNbob\0WORK\0Unix\0",
        );
        let expected = Request::PlainSetup {
            user: "bob".into(),
            domain: "WORK".into(),
            anonymous: false,
        };
        assert_eq!(read(&bytes), expected);
    }

    #[test]
    fn transactions_that_no_client_sends_are_odd() {
        let large = |total: u32| {
            let mut words = vec![0, 0, 0, 30, 0, 0, 0];
            words.extend(total.to_le_bytes());
            words.extend([0; 27]);
            message(command::NT_TRANSACT, &words, b"")
        };
        assert_eq!(
            read(&large(0x1_03d0)),
            Request::Odd("oversized_transaction")
        );
        assert_eq!(read(&large(0x1000)), Request::Other);
        let mut words = vec![0; 26];
        words.extend([1, 0, 14, 0]);
        let bytes = message(command::TRANSACTION2, &words, b"");
        assert_eq!(read(&bytes), Request::Odd("session_setup_transaction"));
    }

    #[test]
    fn a_chain_that_points_back_ends() {
        let bytes = message(
            command::TREE_CONNECT_ANDX,
            &[0x75, 0, 32, 0, 0, 0, 1, 0],
            b"\0\\\\s\\c\0",
        );
        let block = block(&bytes, command::TREE_CONNECT_ANDX, HEADER_LEN).unwrap();
        assert_eq!(block.next, None);
        assert_eq!(read(&bytes), Request::TreeConnect("\\\\s\\c".into()));
    }
}
