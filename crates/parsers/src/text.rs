//! Words from the wire: decoded lossily, bounded, without control characters.

/// At most `max` bytes of `bytes` as text; what is not UTF-8 and every control character becomes
/// U+FFFD, so that no output of ours can be steered by a packet.
pub fn text(bytes: &[u8], max: usize) -> Box<str> {
    let cut = bytes.get(..max).unwrap_or(bytes);
    // The common case costs one allocation and no second look.
    if let Ok(plain) = str::from_utf8(cut)
        && !cut
            .iter()
            .any(|byte| *byte < 0x20 || *byte == 0x7f || *byte == 0xc2)
    {
        return plain.into();
    }
    String::from_utf8_lossy(cut)
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect::<String>()
        .into_boxed_str()
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> Box<str> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'?'));
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect::<String>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_and_cleaned() {
        assert_eq!(&*text(b"hello", 4), "hell");
        assert_eq!(&*text(b"a\x1b[2Jb", 99), "a\u{fffd}[2Jb");
        assert_eq!(&*text(b"\xff\xfe!", 99), "\u{fffd}\u{fffd}!");
        assert_eq!(&*text("grüß".as_bytes(), 99), "grüß");
        assert_eq!(
            &*text(b"\xc2\x85", 99),
            "\u{fffd}",
            "C1 controls are controls"
        );
    }

    #[test]
    fn hex_is_lower_case_and_padded() {
        assert_eq!(&*hex(&[0, 0xab, 7]), "00ab07");
    }
}
