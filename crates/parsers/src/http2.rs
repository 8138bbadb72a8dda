//! HTTP/2 with prior knowledge (RFC 9113, section 3.4): the client's connection preface.

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether a client's stream begins with the preface; `None` when more is needed.
pub fn preface(bytes: &[u8]) -> Option<bool> {
    if bytes.starts_with(PREFACE) {
        return Some(true);
    }
    (!PREFACE.starts_with(bytes)).then_some(false)
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    let found = preface(bytes);
    debug_assert!(found != Some(true) || bytes.len() >= PREFACE.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_preface_is_needed() {
        assert_eq!(
            preface(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04"),
            Some(true)
        );
        assert_eq!(preface(b"PRI * HTT"), None);
        assert_eq!(preface(b"PRI * HTTP/1.1\r\n"), Some(false));
    }
}
