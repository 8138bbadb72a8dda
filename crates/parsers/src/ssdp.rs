//! SSDP, the search of UPnP (UPnP Device Architecture 2.0, section 1): heads like HTTP's in
//! datagrams. A search is short, the answers are many and long.

use crate::text::text;

const VALUE_BYTES_MAX: usize = 256;

/// What a datagram is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `search`, `notify` or `response`.
    pub operation: &'static str,
    /// What is searched for or announced.
    pub target: Box<str>,
    /// Software: the server's or the user agent's words.
    pub agent: Box<str>,
}

/// Reads a datagram; `None` when it is not SSDP.
pub fn parse(bytes: &[u8]) -> Option<Message> {
    let mut lines = bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let first = lines.next()?;
    let operation = match first {
        b"M-SEARCH * HTTP/1.1" => "search",
        b"NOTIFY * HTTP/1.1" => "notify",
        b"HTTP/1.1 200 OK" => "response",
        _ => return None,
    };
    let mut out = Message {
        operation,
        target: Box::default(),
        agent: Box::default(),
    };
    let mut named = false;
    for line in lines.take(64) {
        let Some(at) = line.iter().position(|&byte| byte == b':') else {
            continue;
        };
        let (name, value) = line.split_at(at);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
        if is(b"st") || is(b"nt") {
            out.target = text(value, VALUE_BYTES_MAX);
            named = true;
        } else if is(b"server") || is(b"user-agent") {
            out.agent = text(value, VALUE_BYTES_MAX);
        } else if is(b"man") || is(b"usn") {
            named = true;
        }
    }
    named.then_some(out)
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    if let Some(message) = parse(bytes) {
        debug_assert!(message.target.len() <= 3 * VALUE_BYTES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_names_its_target() {
        let search = b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nST: ssdp:all\r\n\r\n";
        let found = parse(search).unwrap();
        assert_eq!((found.operation, &*found.target), ("search", "ssdp:all"));
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), None);
    }
}
