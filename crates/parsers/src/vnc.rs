//! The start of a VNC connection (RFC 6143, section 7.1).

/// The version in a protocol announcement, minor number; `None` when it is none.
pub fn version(bytes: &[u8]) -> Option<u16> {
    let line = bytes.get(..12)?;
    let numbers = line.strip_prefix(b"RFB ")?.strip_suffix(b"\n")?;
    let (major, minor) = numbers.split_at_checked(3)?;
    let minor = minor.strip_prefix(b".")?;
    if !major.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(minor).ok()?.parse().ok()
}

/// The name of a security type.
pub const fn security_name(kind: u8) -> &'static str {
    match kind {
        1 => "none",
        2 => "password",
        5 | 6 => "ra2",
        16 => "tight",
        18 => "tls",
        19 => "vencrypt",
        20 => "sasl",
        30 => "apple",
        _ => "other",
    }
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    debug_assert!(version(bytes).is_none() || bytes.len() >= 12);
    debug_assert!(
        bytes
            .first()
            .is_none_or(|kind| !security_name(*kind).is_empty())
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read() {
        assert_eq!(version(b"RFB 003.008\n"), Some(8));
        assert_eq!(version(b"RFB 003.xyz\n"), None);
        assert_eq!(version(b"RFB 003"), None);
    }
}
