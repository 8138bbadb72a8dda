//! The start of a remote desktop connection (MS-RDPBCGR 2.2.1): X.224 request with its cookie, the
//! protocol that was chosen, and the client's name where it is in the clear.

use crate::reader::Reader;
use crate::s7::tpkt_length;
use crate::text::text;
use crate::words::{reader_at, utf16le};

/// An X.224 connection request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionRequest {
    /// The `mstshash` cookie or routing token.
    pub cookie: Box<str>,
    /// Security protocols asked for, as bits; `None` for an old client.
    pub requested: Option<u32>,
}

/// The server's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// The protocol chosen; `None` when the server is old and knows only its own.
    Chosen(Option<u32>),
    /// It refused, with this code.
    Refused(u32),
}

/// Length of the message at the front; `None` when the header is cut or it is none.
pub fn message_length(bytes: &[u8]) -> Option<usize> {
    tpkt_length(bytes)
}

/// Reads a connection request; `None` when it is none.
pub fn connection_request(bytes: &[u8]) -> Option<ConnectionRequest> {
    let variable = x224(bytes, 0xe0)?;
    let mut request = ConnectionRequest::default();
    let mut rest = variable;
    let end = variable.windows(2).position(|pair| pair == b"\r\n");
    if let (Some(end), true) = (end, variable.starts_with(b"Cookie: ")) {
        let line = variable.get(8..end).unwrap_or_default();
        let value = line.strip_prefix(b"mstshash=").unwrap_or(line);
        request.cookie = text(value, 128);
        rest = variable.get(end.saturating_add(2)..).unwrap_or_default();
    }
    request.requested = negotiation(rest, 1);
    Some(request)
}

/// Reads a connection confirm; `None` when it is none.
pub fn connection_confirm(bytes: &[u8]) -> Option<Confirm> {
    let rest = x224(bytes, 0xd0)?;
    if let Some(code) = negotiation(rest, 3) {
        return Some(Confirm::Refused(code));
    }
    Some(Confirm::Chosen(negotiation(rest, 2)))
}

/// The variable part of an X.224 message of this type.
fn x224(bytes: &[u8], code: u8) -> Option<&[u8]> {
    let length = tpkt_length(bytes)?;
    let mut reader = Reader::new(bytes.get(..length).unwrap_or(bytes));
    reader.skip(5)?;
    if reader.u8()? & 0xf0 != code {
        return None;
    }
    reader.skip(5)?;
    Some(reader.rest())
}

fn negotiation(bytes: &[u8], kind: u8) -> Option<u32> {
    let mut reader = Reader::new(bytes);
    if reader.u8()? != kind {
        return None;
    }
    reader.skip(1)?;
    if reader.u16_le()? != 8 {
        return None;
    }
    reader.u32_le()
}

/// The name of a chosen protocol.
pub const fn security_name(chosen: Option<u32>) -> &'static str {
    match chosen {
        None | Some(0) => "rdp",
        Some(1) => "tls",
        Some(2) => "credssp",
        Some(4) => "rdstls",
        Some(8) => "credssp_early_auth",
        Some(16) => "aad",
        Some(_) => "other",
    }
}

/// The client's name in the core data of an MCS connect in the clear (2.2.1.3.2).
pub fn client_name(bytes: &[u8]) -> Option<Box<str>> {
    const CORE: [u8; 2] = [0x01, 0xc0];
    // The block stands behind encodings of varying length: its type and a sane size find it.
    let at = bytes.windows(4).position(|window| {
        window.starts_with(&CORE)
            && matches!(window, [_, _, low, high]
            if (128..=512).contains(&u16::from_le_bytes([*low, *high])))
    })?;
    let name = reader_at(bytes, at.saturating_add(24)).take_up_to(32);
    let name = utf16le(name, 16);
    (!name.is_empty()).then_some(name)
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    let request = connection_request(bytes);
    let confirm = connection_confirm(bytes);
    debug_assert!(
        request.is_none() || confirm.is_none(),
        "a message is one or the other"
    );
    debug_assert!(client_name(bytes).is_none_or(|name| name.len() <= 64));
    debug_assert!(message_length(bytes).is_none_or(|length| length >= 7));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookie_and_choice_are_read() {
        let mut ask = b"\x03\x00\x00\x29\x24\xe0\0\0\0\0\0Cookie: mstshash=bob\r\n".to_vec();
        ask.extend([1, 0, 8, 0, 3, 0, 0, 0]);
        let request = connection_request(&ask).unwrap();
        assert_eq!((&*request.cookie, request.requested), ("bob", Some(3)));
        let answer = b"\x03\x00\x00\x13\x0e\xd0\0\0\x12\x34\0\x02\0\x08\0\x02\0\0\0";
        assert_eq!(connection_confirm(answer), Some(Confirm::Chosen(Some(2))));
        assert_eq!(security_name(Some(2)), "credssp");
    }
}
