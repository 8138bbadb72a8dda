//! Syslog (RFC 3164, RFC 5424): known by its front, read as a message ([`message`]), cut out of a stream
//! ([`frame()`]), and what services say about log-ins ([`account`]) and leases ([`lease`]).

mod accounts;
mod frame;
mod leases;
mod message;

pub use accounts::{Account, Verdict, account};
pub use frame::{FRAME_BYTES_MAX, Framing, frame};
pub use leases::{Lease, lease};
pub use message::{Message, Stamp, message};

const MONTHS: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// How sure the front of a message makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// A priority and a time or version as the RFCs have them.
    Certain,
    /// A priority and printable words.
    Likely,
}

/// Looks at the front of a message; `None` when it is not syslog's.
pub fn front(bytes: &[u8]) -> Option<Front> {
    let rest = bytes.strip_prefix(b"<")?;
    let end = rest.iter().take(4).position(|&byte| byte == b'>')?;
    let (digits, rest) = rest.split_at(end);
    let priority: u16 = str::from_utf8(digits).ok()?.parse().ok()?;
    let message = rest.get(1..)?;
    if priority > 191 {
        return None;
    }
    let dated = message.strip_prefix(b"1 ").is_some_and(|time| match time {
        [b'-', b' ', ..] => true,
        [a, b, c, d, b'-', ..] => [a, b, c, d].iter().all(|digit| digit.is_ascii_digit()),
        _ => false,
    });
    let old =
        MONTHS.iter().any(|month| message.starts_with(month)) && message.get(3) == Some(&b' ');
    if dated || old {
        return Some(Front::Certain);
    }
    let words = message.get(..message.len().min(32)).unwrap_or(message);
    let plain = words.len() >= 4
        && words
            .iter()
            .all(|byte| (b' '..=b'~').contains(byte) || *byte == b'\t');
    plain.then_some(Front::Likely)
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    debug_assert!(front(bytes).is_none() || bytes.first() == Some(&b'<'));
    if let Some(message) = message(bytes) {
        let _account = account(message.program, message.text);
        let _lease = lease(message.program, message.text);
    }
    let mut rest = bytes;
    while let Framing::Whole { used, .. } = frame(rest) {
        debug_assert!(used > 0);
        rest = rest.get(used..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_certain() {
        assert_eq!(
            front(b"<34>Oct 11 22:14:15 host su: failed"),
            Some(Front::Certain)
        );
        assert_eq!(
            front(b"<165>1 2003-10-11T22:14:15.003Z host app"),
            Some(Front::Certain)
        );
        assert_eq!(front(b"<13>something else"), Some(Front::Likely));
        assert_eq!(front(b"<192>Oct 11"), None, "no such priority");
        assert_eq!(front(b"<html><body>"), None);
    }
}
