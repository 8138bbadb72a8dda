//! SOCKS 4, 4a (the NEC and Ying-Da Lee notes) and 5 (RFC 1928, RFC 1929).

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::reader::Reader;
use crate::text::text;
use crate::words::take_until;

/// What a client asks a proxy to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `connect`, `bind` or `udp_associate`.
    pub verb: &'static str,
    /// The destination, address or name, with its port.
    pub target: Box<str>,
    /// The user id of version 4; empty in version 5.
    pub user: Box<str>,
}

/// The version and offered methods of a SOCKS 5 greeting, with its length; `None` when it is cut or
/// none.
pub fn greeting(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let mut reader = Reader::new(bytes);
    if reader.u8()? != 5 {
        return None;
    }
    let count = usize::from(reader.u8()?);
    let methods = reader.take(count)?;
    Some((methods, count.saturating_add(2)))
}

/// A SOCKS 4 request with its length; `None` when it is cut or none.
pub fn request4(bytes: &[u8]) -> Option<(Request, usize)> {
    let mut reader = Reader::new(bytes);
    let version = reader.u8()?;
    let verb = verb(reader.u8()?)?;
    if version != 4 || verb == "udp_associate" {
        return None;
    }
    let port = reader.u16()?;
    let address = reader.array::<4>()?;
    let user = text(take_until(&mut reader, 0)?, 256);
    let named = matches!(address, [0, 0, 0, last] if last != 0);
    let host = if named {
        text(take_until(&mut reader, 0)?, 256)
    } else {
        Ipv4Addr::from(address).to_string().into()
    };
    let target = format!("{host}:{port}").into();
    Some((
        Request { verb, target, user },
        bytes.len().saturating_sub(reader.len()),
    ))
}

/// A SOCKS 5 request, or an answer of the same shape, with its first value (command or reply code)
/// and length; `None` when it is cut or none.
pub fn message5(bytes: &[u8]) -> Option<(u8, Box<str>, usize)> {
    let mut reader = Reader::new(bytes);
    if reader.u8()? != 5 {
        return None;
    }
    let code = reader.u8()?;
    reader.skip(1)?;
    let host: Box<str> = match reader.u8()? {
        1 => Ipv4Addr::from(reader.array::<4>()?).to_string().into(),
        3 => text(reader.sub8()?.rest(), 256),
        4 => format!("[{}]", Ipv6Addr::from(reader.array::<16>()?)).into(),
        _ => return None,
    };
    let port = reader.u16()?;
    let length = bytes.len().saturating_sub(reader.len());
    Some((code, format!("{host}:{port}").into(), length))
}

/// The user name of an RFC 1929 log-in with its length; `None` when it is cut or none.
pub fn user_auth(bytes: &[u8]) -> Option<(Box<str>, usize)> {
    let mut reader = Reader::new(bytes);
    if reader.u8()? != 1 {
        return None;
    }
    let user = text(reader.sub8()?.rest(), 256);
    reader.sub8()?;
    Some((user, bytes.len().saturating_sub(reader.len())))
}

/// The name of a command.
pub const fn verb(command: u8) -> Option<&'static str> {
    match command {
        1 => Some("connect"),
        2 => Some("bind"),
        3 => Some("udp_associate"),
        _ => None,
    }
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    let lengths = [
        greeting(bytes).map(|(_, length)| length),
        request4(bytes).map(|(_, length)| length),
        message5(bytes).map(|(_, _, length)| length),
        user_auth(bytes).map(|(_, length)| length),
    ];
    debug_assert!(
        lengths
            .iter()
            .flatten()
            .all(|length| *length <= bytes.len())
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_by_address_and_by_name() {
        let (request, length) = request4(b"\x04\x01\x00\x50\x00\x00\x00\x01bob\0a.org\0x").unwrap();
        assert_eq!(
            (&*request.target, &*request.user, length),
            ("a.org:80", "bob", 18)
        );
        let (command, target, _) = message5(b"\x05\x01\x00\x03\x05a.org\x01\xbb").unwrap();
        assert_eq!((command, &*target), (1, "a.org:443"));
        assert_eq!(message5(b"\x05\x01\x00\x03\x05a.or"), None);
    }
}
