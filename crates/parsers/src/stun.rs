//! STUN and TURN (RFC 8489, RFC 8656), known by the magic cookie.

use crate::Reader;

const COOKIE: u32 = 0x2112_a442;
const HEADER_LEN: usize = 20;

/// Whether this begins with a STUN message. A datagram holds exactly one; of a stream this is the
/// front.
pub fn looks_like(bytes: &[u8], datagram: bool) -> bool {
    let mut reader = Reader::new(bytes);
    let (Some(kind), Some(length), Some(cookie)) = (reader.u16(), reader.u16(), reader.u32())
    else {
        return false;
    };
    let whole = HEADER_LEN.saturating_add(usize::from(length));
    // The class is spread over two bits of the type; methods are few.
    let method = (kind & 0xf) | ((kind & 0xe0) >> 1) | ((kind & 0x3e00) >> 2);
    cookie == COOKIE
        && kind & 0xc000 == 0
        && (1..=0x80).contains(&method)
        && length.is_multiple_of(4)
        && bytes.len() >= HEADER_LEN
        && (!datagram || bytes.len() == whole)
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    let datagram = looks_like(bytes, true);
    debug_assert!(
        !datagram || looks_like(bytes, false),
        "a datagram is also a front"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_alone_does_not_do() {
        let request = b"\0\x01\0\0\x21\x12\xa4\x42abcdefghijkl";
        assert!(looks_like(request, true));
        assert!(
            !looks_like(b"\0\x01\0\x08\x21\x12\xa4\x42abcdefghijkl", true),
            "too short"
        );
        assert!(
            !looks_like(b"\x80\x01\0\0\x21\x12\xa4\x42abcdefghijkl", true),
            "not a type"
        );
    }
}
