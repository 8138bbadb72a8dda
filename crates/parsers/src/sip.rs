//! SIP (RFC 3261): start lines and the few headers that name who and with what.
//!
//! Must not: read bodies.

use crate::text::text;

const VALUE_BYTES_MAX: usize = 256;

/// The first line of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// A request.
    Request {
        /// The method, lower case.
        method: Box<str>,
        /// Whom or what it is for.
        uri: Box<str>,
    },
    /// A response's code.
    Response(u16),
}

/// A header that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Header {
    /// The software.
    Agent(Box<str>),
    /// The account and realm of digest credentials.
    Credentials(Box<str>, Box<str>),
}

/// Reads a first line; `None` when it is none.
pub fn start(line: &[u8]) -> Option<Start> {
    let line = line.trim_ascii_end();
    let mut words = line.split(|&byte| byte == b' ');
    let (first, second) = (words.next()?, words.next()?);
    if first == b"SIP/2.0" {
        let code: u16 = str::from_utf8(second).ok()?.parse().ok()?;
        return (100..700).contains(&code).then_some(Start::Response(code));
    }
    let method = (2..=16).contains(&first.len()) && first.iter().all(u8::is_ascii_uppercase);
    let scheme = [&b"sip:"[..], b"sips:", b"tel:"].iter().any(|scheme| {
        second
            .get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    let version = words.next() == Some(b"SIP/2.0") && words.next().is_none();
    (method && scheme && version).then(|| Start::Request {
        method: text(first, 16).to_ascii_lowercase().into(),
        uri: text(second, VALUE_BYTES_MAX),
    })
}

/// Reads a header line; `None` when it does not matter.
pub fn header(line: &[u8]) -> Option<Header> {
    let (name, value) = line.split_at(line.iter().position(|&byte| byte == b':')?);
    let (name, value) = (name.trim_ascii(), value.get(1..)?.trim_ascii());
    if name.eq_ignore_ascii_case(b"user-agent") || name.eq_ignore_ascii_case(b"server") {
        return Some(Header::Agent(text(value, VALUE_BYTES_MAX)));
    }
    if name.eq_ignore_ascii_case(b"authorization")
        || name.eq_ignore_ascii_case(b"proxy-authorization")
    {
        let user = parameter(value, b"username")?;
        return Some(Header::Credentials(
            text(user, VALUE_BYTES_MAX),
            text(
                parameter(value, b"realm").unwrap_or_default(),
                VALUE_BYTES_MAX,
            ),
        ));
    }
    None
}

fn parameter<'a>(list: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let list = list.strip_prefix(b"Digest ").unwrap_or(list);
    list.split(|&byte| byte == b',').find_map(|part| {
        let part = part.trim_ascii();
        let (key, value) = part.split_at(part.iter().position(|&byte| byte == b'=')?);
        let value = value.get(1..)?.trim_ascii();
        key.eq_ignore_ascii_case(name).then(|| {
            value
                .strip_prefix(b"\"")
                .and_then(|value| value.strip_suffix(b"\""))
                .unwrap_or(value)
        })
    })
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    for line in bytes.split(|&byte| byte == b'\n') {
        if let Some(Start::Request { method, .. }) = start(line) {
            debug_assert!((2..=16).contains(&method.len()));
        }
        if let Some(Header::Agent(agent)) = header(line) {
            debug_assert!(agent.len() <= 3 * VALUE_BYTES_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines_and_credentials() {
        let request = start(b"REGISTER sip:pbx.example SIP/2.0\r");
        assert!(matches!(request, Some(Start::Request { method, .. }) if &*method == "register"));
        assert_eq!(
            start(b"SIP/2.0 401 Unauthorized"),
            Some(Start::Response(401))
        );
        assert_eq!(start(b"OPTIONS / HTTP/1.1"), None);
        let digest = b"Authorization: Digest username=\"100\", realm=\"pbx\", nonce=\"x\"";
        assert_eq!(
            header(digest),
            Some(Header::Credentials("100".into(), "pbx".into()))
        );
    }
}
