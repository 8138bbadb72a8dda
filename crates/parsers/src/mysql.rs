//! The start of a MySQL connection (MySQL Internals, "Connection Phase"): greeting, log-in, answer.

use crate::reader::Reader;
use crate::text::text;
use crate::words::take_until;

const USES_TLS: u32 = 0x800;
const PROTOCOL_41: u32 = 0x200;

/// What the client's first packet says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientHello {
    /// It goes over to TLS.
    Tls,
    /// It logs in as this account.
    Login(Box<str>),
}

/// Payload length and sequence of the packet at the front.
pub fn packet(bytes: &[u8]) -> Option<(usize, u8)> {
    let [a, b, c, sequence] = bytes.first_chunk::<4>()?;
    Some((
        usize::try_from(u32::from_le_bytes([*a, *b, *c, 0])).ok()?,
        *sequence,
    ))
}

/// Whether a server's first packet is a greeting of protocol 10.
pub fn looks_like_greeting(bytes: &[u8]) -> bool {
    let Some((length, 0)) = packet(bytes) else {
        return false;
    };
    let Some(payload) = bytes.get(4..) else {
        return false;
    };
    let digit = payload.get(1).is_some_and(u8::is_ascii_digit);
    (32..512).contains(&length) && payload.first() == Some(&10) && digit
}

/// Reads the client's first packet's payload.
pub fn client_hello(payload: &[u8]) -> Option<ClientHello> {
    let mut reader = Reader::new(payload);
    let low = reader.u16_le()?;
    if u32::from(low) & PROTOCOL_41 == 0 {
        reader.skip(3)?;
        return Some(ClientHello::Login(text(take_until(&mut reader, 0)?, 128)));
    }
    reader.skip(30)?;
    if u32::from(low) & USES_TLS != 0 && reader.is_empty() {
        return Some(ClientHello::Tls);
    }
    Some(ClientHello::Login(text(take_until(&mut reader, 0)?, 128)))
}

/// Whether a server's answer ends the log-in, and how.
pub fn login_result(payload: &[u8]) -> Option<bool> {
    match payload.first()? {
        0x00 => Some(true),
        0xff => Some(false),
        _ => None,
    }
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    let payload = bytes.get(4..).unwrap_or_default();
    debug_assert!(!looks_like_greeting(bytes) || bytes.len() > 4);
    debug_assert!(client_hello(payload).is_none() || payload.len() >= 6);
    debug_assert!(login_result(payload).is_none() || !payload.is_empty());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_and_the_way_over_to_tls_are_read() {
        let mut hello = vec![0, 0x02];
        hello.resize(32, 0);
        hello.extend(b"bob\0rest");
        assert_eq!(client_hello(&hello), Some(ClientHello::Login("bob".into())));
        let mut tls = vec![0, 0x0a];
        tls.resize(32, 0);
        assert_eq!(client_hello(&tls), Some(ClientHello::Tls));
    }
}
