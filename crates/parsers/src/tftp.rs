//! TFTP (RFC 1350, options RFC 2347). What follows a request usually goes between other ports.

use crate::Reader;
use crate::text::text;
use crate::words::take_until;

const NAME_BYTES_MAX: usize = 512;

/// What a datagram is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A file is asked for or offered.
    Request {
        /// Whether it is offered.
        write: bool,
        /// The file.
        file: Box<str>,
        /// `netascii`, `octet` or `mail`.
        mode: &'static str,
    },
    /// A block of the file: so many bytes.
    Data(usize),
    /// A block or the options were accepted.
    Accept,
    /// The server or client refuses.
    Error,
}

/// Reads a datagram; only a request can be told from anything else.
pub fn parse(bytes: &[u8]) -> Option<Message> {
    let mut reader = Reader::new(bytes);
    match reader.u16()? {
        code @ (1 | 2) => {
            let file = take_until(&mut reader, 0)?;
            let named = take_until(&mut reader, 0)?;
            let mode = ["netascii", "octet", "mail"]
                .into_iter()
                .find(|mode| named.eq_ignore_ascii_case(mode.as_bytes()))?;
            let printable = !file.is_empty()
                && file.len() <= NAME_BYTES_MAX
                && !file.iter().any(u8::is_ascii_control);
            // Options are pairs of words, each with its zero.
            let options = reader.is_empty() || reader.rest().ends_with(&[0]);
            (printable && options).then(|| Message::Request {
                write: code == 2,
                file: text(file, NAME_BYTES_MAX),
                mode,
            })
        }
        3 => reader.skip(2).map(|()| Message::Data(reader.len())),
        4 | 6 => Some(Message::Accept),
        5 => Some(Message::Error),
        _ => None,
    }
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    if let Some(Message::Request { file, .. }) = parse(bytes) {
        debug_assert!(!file.is_empty() && file.len() <= 3 * NAME_BYTES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_file_and_mode() {
        let Some(Message::Request { write, file, mode }) =
            parse(b"\0\x02run.cfg\0OCTET\0blksize\x001400\0")
        else {
            panic!("no request")
        };
        assert_eq!((write, &*file, mode), (true, "run.cfg", "octet"));
        assert_eq!(parse(b"\0\x01\x01\x02\0octet\0"), None, "no file's name");
        assert_eq!(parse(b"\0\x01a\0binary\0"), None, "no mode");
    }
}
