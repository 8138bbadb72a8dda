//! What SASL exchanges show of an account (RFC 4616 PLAIN, RFC 7628 OAUTHBEARER, the LOGIN and
//! XOAUTH2 customs). Passwords are never kept.

use crate::base64;
use crate::text::text;

const BYTES_MAX: usize = 16 * 1024;
const USER_BYTES_MAX: usize = 256;

/// The account in the client's answer to `mechanism`; `None` when it does not show.
pub fn user(mechanism: &[u8], answer: &[u8]) -> Option<Box<str>> {
    let plain = base64::decode(answer, BYTES_MAX)?;
    if mechanism.eq_ignore_ascii_case(b"PLAIN") {
        let mut parts = plain.split(|&byte| byte == 0);
        let behalf = parts.next()?;
        let user = parts
            .next()
            .filter(|user| !user.is_empty())
            .unwrap_or(behalf);
        return Some(text(user, USER_BYTES_MAX));
    }
    if mechanism.eq_ignore_ascii_case(b"LOGIN") {
        return Some(text(&plain, USER_BYTES_MAX));
    }
    if mechanism.eq_ignore_ascii_case(b"CRAM-MD5") {
        let user = plain.split(|&byte| byte == b' ').next()?;
        return Some(text(user, USER_BYTES_MAX));
    }
    // XOAUTH2 has "user=name", OAUTHBEARER and SCRAM have "a=name" or "n=name" between marks.
    plain
        .split(|&byte| byte == 1 || byte == b',')
        .find_map(|part| {
            let name = [&b"user="[..], b"a=", b"n="]
                .iter()
                .find_map(|key| part.strip_prefix(*key))?;
            Some(text(name, USER_BYTES_MAX))
        })
}

/// The NTLM message in an answer or challenge, when there is one.
pub fn ntlm(answer: &[u8]) -> Option<Vec<u8>> {
    base64::decode(answer, BYTES_MAX).filter(|bytes| bytes.starts_with(crate::ntlm::SIGNATURE))
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    for mechanism in [&b"PLAIN"[..], b"LOGIN", b"CRAM-MD5", b"XOAUTH2"] {
        let found = user(mechanism, bytes);
        debug_assert!(found.is_none_or(|user| user.len() <= 3 * USER_BYTES_MAX));
    }
    debug_assert!(ntlm(bytes).is_none_or(|message| message.len() <= BYTES_MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_shows_and_the_password_does_not() {
        // "\0bob\0secret"
        assert_eq!(user(b"plain", b"AGJvYgBzZWNyZXQ="), Some("bob".into()));
        assert_eq!(user(b"LOGIN", b"Ym9i"), Some("bob".into()));
        // "user=bob\x01auth=Bearer x\x01\x01"
        let oauth = b"dXNlcj1ib2IBYXV0aD1CZWFyZXIgeAEB";
        assert_eq!(user(b"XOAUTH2", oauth), Some("bob".into()));
        assert_eq!(user(b"GSSAPI", b"YIIB"), None);
    }
}
