//! Replies of three digits, as FTP (RFC 959, 4.2) and SMTP (RFC 5321, 4.2) servers give them.

/// The code of a reply line and whether it is the last of its reply; `None` when it is no reply.
pub fn reply(line: &[u8]) -> Option<(u16, bool)> {
    let digits = line.first_chunk::<3>()?;
    let mut code = 0_u16;
    for digit in digits {
        let value = digit.wrapping_sub(b'0');
        if value > 9 {
            return None;
        }
        code = code.saturating_mul(10).saturating_add(value.into());
    }
    match line.get(3) {
        None | Some(b' ' | b'\r' | b'\n') => Some((code, true)),
        Some(b'-') => Some((code, false)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_reply_is_known() {
        assert_eq!(reply(b"220-hello"), Some((220, false)));
        assert_eq!(reply(b"220 hello"), Some((220, true)));
        assert_eq!(reply(b"220"), Some((220, true)));
        assert_eq!(reply(b"22x no"), None);
        assert_eq!(reply(b"2200 no"), None);
    }
}
