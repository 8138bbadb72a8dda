//! Base64 as authentication exchanges carry it (RFC 4648, section 4). Tolerant: blanks are skipped
//! and the padding may be missing.

/// Decodes at most `max` bytes; `None` when a byte is not of the alphabet.
pub fn decode(text: &[u8], max: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(max.min(text.len()));
    let mut bits = 0_u32;
    let mut held = 0_u32;
    for &byte in text.trim_ascii() {
        let value = match byte {
            b'A'..=b'Z' => byte.wrapping_sub(b'A'),
            b'a'..=b'z' => byte.wrapping_sub(b'a').wrapping_add(26),
            b'0'..=b'9' => byte.wrapping_sub(b'0').wrapping_add(52),
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => break,
            _ if byte.is_ascii_whitespace() => continue,
            _ => return None,
        };
        held = (held << 6) | u32::from(value);
        bits = bits.wrapping_add(6);
        if bits >= 8 {
            bits = bits.wrapping_sub(8);
            if out.len() == max {
                break;
            }
            out.push(((held >> bits) & 0xff).try_into().unwrap_or_default());
            held &= (1_u32 << bits).wrapping_sub(1);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_the_vectors_of_the_rfc() {
        for (text, plain) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(decode(text.as_bytes(), 99).unwrap(), plain.as_bytes());
        }
        assert_eq!(decode(b"Zm8", 99).unwrap(), b"fo");
        assert_eq!(decode(b"Zm9v\r\nYmFy", 4).unwrap(), b"foob");
        assert_eq!(decode(b"Zm9%", 99), None);
    }
}
