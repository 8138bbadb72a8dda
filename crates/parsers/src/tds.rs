//! The log-in of Microsoft SQL Server (MS-TDS 2.2.6.4, 2.2.7).

use crate::reader::Reader;
use crate::words::{reader_at, utf16le};

/// The packet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Type: 1 batch, 4 answer, 16 log-in, 17 SSPI, 18 pre-log-in.
    pub kind: u8,
    /// Bytes with the header.
    pub length: usize,
}

/// Reads the header; `None` when it is cut or none.
pub fn header(bytes: &[u8]) -> Option<Header> {
    let mut reader = Reader::new(bytes);
    let kind = reader.u8()?;
    let status = reader.u8()?;
    let length = usize::from(reader.u16()?);
    reader.skip(4)?;
    let known = matches!(kind, 1 | 3 | 4 | 6 | 7 | 8 | 14 | 16 | 17 | 18);
    (known && status <= 0x1f && length >= 8).then_some(Header { kind, length })
}

/// A log-in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login<'a> {
    /// The client's host name.
    pub host: Box<str>,
    /// The account; empty with integrated security.
    pub user: Box<str>,
    /// The program.
    pub app: Box<str>,
    /// The SSPI blob of integrated security.
    pub sspi: &'a [u8],
}

/// Reads a LOGIN7 payload.
pub fn login7(payload: &[u8]) -> Option<Login<'_>> {
    let mut reader = reader_at(payload, 36);
    let mut field = || -> Option<&[u8]> {
        let offset = usize::from(reader.u16_le()?);
        let count = usize::from(reader.u16_le()?);
        Some(reader_at(payload, offset).take_up_to(count.saturating_mul(2)))
    };
    let host = utf16le(field()?, 128);
    let user = utf16le(field()?, 128);
    let _password = field()?;
    let app = utf16le(field()?, 128);
    let mut tail = reader_at(payload, 78);
    let offset = usize::from(tail.u16_le().unwrap_or_default());
    let count = usize::from(tail.u16_le().unwrap_or_default());
    let sspi = reader_at(payload, offset).take_up_to(count);
    Some(Login {
        host,
        user,
        app,
        sspi,
    })
}

/// How a log-in ended, in the tokens of an answer; `None` when they do not say.
pub fn login_result(payload: &[u8]) -> Option<bool> {
    let mut reader = Reader::new(payload);
    for _ in 0..64 {
        match reader.u8()? {
            0xad => return Some(true),
            0xaa => return Some(false),
            0xe3 | 0xab | 0xed => {
                let length = usize::from(reader.u16_le()?);
                reader.skip(length)?;
            }
            _ => return None,
        }
    }
    None
}

/// The SSPI message of an answer.
pub fn sspi(payload: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(payload);
    if reader.u8()? != 0xed {
        return None;
    }
    let length = usize::from(reader.u16_le()?);
    Some(reader.take_up_to(length))
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    let payload = bytes.get(8..).unwrap_or_default();
    debug_assert!(header(bytes).is_none_or(|header| header.length >= 8));
    debug_assert!(login7(payload).is_none_or(|login| login.sspi.len() <= payload.len()));
    debug_assert!(login_result(payload).is_none() || !payload.is_empty());
    debug_assert!(sspi(payload).is_none_or(|blob| blob.len() < payload.len()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_and_result_are_read() {
        let mut payload = vec![0; 94];
        payload[40] = 94;
        payload[42] = 2;
        payload.extend(b"s\0a\0");
        assert_eq!(&*login7(&payload).unwrap().user, "sa");
        assert_eq!(login_result(b"\xe3\x02\x00ab\xad"), Some(true));
        assert_eq!(login_result(b"\xaa\x01\x00"), Some(false));
        assert_eq!(header(b"GET / HTTP"), None);
    }
}
