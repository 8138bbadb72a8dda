//! MongoDB's wire protocol (MongoDB specifications, OP_MSG, OP_QUERY, OP_REPLY), as far as log-ins
//! with SASL show.

use crate::reader::Reader;
use crate::text::text;
use crate::words::take_until;

/// The header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the message with the header.
    pub length: usize,
    /// Operation: 1 reply, 2004 query, 2012 compressed, 2013 message.
    pub code: u32,
    /// Whether it answers another message.
    pub reply: bool,
}

/// Reads the header; `None` when it is cut or none.
pub fn header(bytes: &[u8]) -> Option<Header> {
    let mut reader = Reader::new(bytes);
    let length = usize::try_from(reader.u32_le()?).ok()?;
    reader.skip(4)?;
    let answers = reader.u32_le()?;
    let code = reader.u32_le()?;
    let sane = (21..=48 * 1024 * 1024).contains(&length) && matches!(code, 1 | 2004 | 2012 | 2013);
    sane.then_some(Header {
        length,
        code,
        reply: answers != 0,
    })
}

/// What a document says of a log-in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// The command: the first field's name.
    pub command: Box<str>,
    /// The SASL mechanism of a start.
    pub mechanism: Box<str>,
    /// The account in a SCRAM start.
    pub user: Box<str>,
    /// Whether the command worked, as an answer says.
    pub ok: Option<bool>,
    /// Whether a SASL exchange is complete.
    pub done: bool,
}

/// Reads the first document of a message.
pub fn document(message: &[u8], header: &Header) -> Option<Document> {
    let mut reader = Reader::new(message);
    reader.skip(16)?;
    match header.code {
        2013 => reader.skip(5)?,
        2004 => {
            reader.skip(4)?;
            take_until(&mut reader, 0)?;
            reader.skip(8)?;
        }
        1 => reader.skip(20)?,
        _ => return None,
    }
    let mut found = Document::default();
    fields(reader.rest(), 2, &mut found);
    Some(found)
}

fn fields(bytes: &[u8], depth: usize, found: &mut Document) -> Option<()> {
    let mut reader = Reader::new(bytes);
    reader.skip(4)?;
    loop {
        let kind = reader.u8().filter(|kind| *kind != 0)?;
        let name = take_until(&mut reader, 0)?;
        if found.command.is_empty() {
            found.command = text(name, 64);
        }
        match kind {
            0x01 => {
                let value = f64::from_le_bytes(reader.array()?);
                if name == b"ok" {
                    found.ok = Some(value != 0.0);
                }
            }
            0x02 => {
                let length = usize::try_from(reader.u32_le()?).ok()?;
                let value = reader.take(length)?;
                if name == b"mechanism" {
                    found.mechanism = crate::words::c_text(value, 64);
                }
            }
            0x03 | 0x04 => {
                let whole = reader.rest();
                let length = usize::try_from(reader.u32_le()?).ok()?;
                if name == b"speculativeAuthenticate" && depth > 0 {
                    fields(whole, depth.saturating_sub(1), found);
                }
                reader.skip(length.checked_sub(4)?)?;
            }
            0x05 => {
                let length = usize::try_from(reader.u32_le()?).ok()?;
                reader.skip(1)?;
                let value = reader.take(length)?;
                if name == b"payload" {
                    found.user = scram_user(value).unwrap_or_default();
                }
            }
            0x08 => {
                let value = reader.u8()? != 0;
                found.done |= name == b"done" && value;
            }
            0x07 => reader.skip(12)?,
            0x09 | 0x11 | 0x12 => reader.skip(8)?,
            0x0a => {}
            0x10 => {
                let value = reader.u32_le()?;
                if name == b"ok" {
                    found.ok = Some(value != 0);
                }
            }
            0x13 => reader.skip(16)?,
            _ => return None,
        }
    }
}

/// The name in a SCRAM client's first message (RFC 5802): `n,,n=user,r=…`.
fn scram_user(payload: &[u8]) -> Option<Box<str>> {
    let part = payload.split(|&byte| byte == b',').nth(2)?;
    Some(text(part.strip_prefix(b"n=")?, 128))
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    if let Some(header) = header(bytes) {
        let found = document(bytes, &header);
        debug_assert!(found.is_none_or(|found| found.command.len() <= 192));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_in_names_its_account() {
        let mut body = b"\0\0\0\0\0\x40\0\0\0\x10saslStart\0\x01\0\0\0".to_vec();
        body.extend(b"\x02mechanism\0\x0c\0\0\0SCRAM-SHA-1\0");
        body.extend(b"\x05payload\0\x0b\0\0\0\0n,,n=bob,r=");
        body.push(0);
        let mut bytes = u32::try_from(16 + body.len())
            .unwrap()
            .to_le_bytes()
            .to_vec();
        bytes.extend(b"\x01\0\0\0\0\0\0\0\xdd\x07\0\0");
        bytes.extend(body);
        let read = document(&bytes, &header(&bytes).unwrap()).unwrap();
        assert_eq!((&*read.command, &*read.user), ("saslStart", "bob"));
    }
}
