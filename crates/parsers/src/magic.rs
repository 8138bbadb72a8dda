//! What a file is by its first bytes, coarsely. Signatures as in the formats' own specifications.

/// A short name of the type: `pe`, `elf`, `zip`, `pdf`, …; empty when not recognised.
pub fn magic(bytes: &[u8]) -> &'static str {
    const EXACT: [(&[u8], &str); 34] = [
        (b"MZ", "pe"),
        (b"\x7fELF", "elf"),
        (b"\xfe\xed\xfa\xce", "macho"),
        (b"\xfe\xed\xfa\xcf", "macho"),
        (b"\xce\xfa\xed\xfe", "macho"),
        (b"\xcf\xfa\xed\xfe", "macho"),
        (b"PK\x03\x04", "zip"),
        (b"Rar!\x1a\x07", "rar"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"\x1f\x8b", "gzip"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"MSCF", "cab"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole"),
        (b"{\\rtf", "rtf"),
        (b"%PDF-", "pdf"),
        (b"\xca\xfe\xba\xbe", "class"),
        (b"dex\n", "dex"),
        (b"L\0\0\0\x01\x14\x02\0", "lnk"),
        (b"#!", "script"),
        (b"FWS", "swf"),
        (b"CWS", "swf"),
        (b"ZWS", "swf"),
        // A Windows program's first bytes, as base64 and as digits.
        (b"TVqQAAMAAAAEAAAA", "pe_text"),
        (b"TVpQAAIAAAAEAA8A", "pe_text"),
        (b"4D5A9000", "pe_text"),
        (b"4d5a9000", "pe_text"),
        (b"GIF8", "image"),
        (b"\x89PNG", "image"),
        (b"\xff\xd8\xff", "image"),
        (b"RIFF", "media"),
        (b"OggS", "media"),
        (b"ID3", "media"),
    ];
    const MARKUP: [(&[u8], &str); 8] = [
        (b"<!doctype html", "html"),
        (b"<html", "html"),
        (b"<head", "html"),
        (b"<script", "html"),
        (b"<body", "html"),
        (b"<?xml", "xml"),
        (b"<?php", "script"),
        (b"<svg", "image"),
    ];
    if let Some((_, name)) = EXACT.iter().find(|(start, _)| bytes.starts_with(start)) {
        return name;
    }
    if bytes.get(4..8) == Some(b"ftyp") {
        return "media";
    }
    let text = bytes
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(bytes)
        .trim_ascii_start();
    let starts = |start: &[u8]| {
        text.get(..start.len())
            .is_some_and(|front| front.eq_ignore_ascii_case(start))
    };
    if let Some((_, name)) = MARKUP.iter().find(|(start, _)| starts(start)) {
        return name;
    }
    if is_masked_program(bytes) {
        "pe_masked"
    } else {
        ""
    }
}

/// Whether the bytes are a Windows program under a repeated key. The header of such a program has 32
/// zero bytes from offset 28 (Microsoft, *PE Format*: the reserved words of the MS-DOS header), which
/// show the key; it then has to uncover the signature and the text of the stub.
fn is_masked_program(bytes: &[u8]) -> bool {
    const ZEROS: usize = 28;
    const KEY_MAX: usize = 32;
    const STUB: &[u8] = b"This program ";
    let Some(shown) = bytes.get(ZEROS..ZEROS + KEY_MAX) else {
        return false;
    };
    let front = bytes.get(..bytes.len().min(256)).unwrap_or(bytes);
    (1..=KEY_MAX).any(|length| {
        let plain = |at: usize| {
            let turned = at.saturating_add(KEY_MAX.saturating_mul(length));
            let key = shown.get(turned.saturating_sub(ZEROS).checked_rem(length)?);
            front.get(at).zip(key).map(|(byte, key)| byte ^ key)
        };
        let is_signed = plain(0) == Some(b'M') && plain(1) == Some(b'Z');
        let says = |from: usize| {
            STUB.iter()
                .enumerate()
                .all(|(at, byte)| plain(from.saturating_add(at)) == Some(*byte))
        };
        is_signed && (64..front.len()).any(says)
    })
}

/// What bytes are made of: `text`, `base64`, `binary`, or `random` when they look encrypted or packed;
/// empty for too few bytes to tell.
pub fn shape(bytes: &[u8]) -> &'static str {
    if bytes.len() < 8 {
        return "";
    }
    let count = |is: fn(&u8) -> bool| bytes.iter().filter(|byte| is(byte)).count();
    let controls = count(|byte| (*byte < 32 && !matches!(byte, 8..=13 | 27)) || *byte == 127);
    let high = count(|byte| *byte >= 128);
    if controls.saturating_mul(50) <= bytes.len()
        && (is_utf8(bytes) || high.saturating_mul(2) < bytes.len())
    {
        let coded = count(
            |byte| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'+' | b'/' | b'=' | b'-' | b'_' | b'\r' | b'\n'),
        );
        let spread = count(u8::is_ascii_uppercase).saturating_mul(8) > bytes.len();
        let is_coded = bytes.len() >= 64 && coded == bytes.len() && spread;
        return if is_coded { "base64" } else { "text" };
    }
    // What the plug-in estimate of the entropy of evenly drawn bytes falls short of eight bits
    // (Miller 1955), and a margin.
    let short = 255.0 / (2.0 * bytes.len() as f64 * std::f64::consts::LN_2);
    if bytes.len() >= 128 && entropy(bytes) > 8.0 - short - 0.25 {
        "random"
    } else {
        "binary"
    }
}

/// Whether the bytes are UTF-8, except that the last character may be cut.
fn is_utf8(bytes: &[u8]) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    }
}

/// Shannon entropy in bits per byte.
fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count = count.saturating_add(1);
        }
    }
    let total = bytes.len() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = f64::from(*count) / total;
            -share * share.log2()
        })
        .sum()
}

/// For the mutation loop and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    let _ = magic(bytes);
    let _ = shape(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_archives_and_pages_are_told_apart() {
        assert_eq!(magic(b"MZ\x90\0"), "pe");
        assert_eq!(magic(b"PK\x03\x04rest"), "zip");
        assert_eq!(magic(b"\xef\xbb\xbf \n<!DOCTYPE HTML>"), "html");
        assert_eq!(magic(b"\0\0\0\x20ftypisom"), "media");
        assert_eq!(magic(b"plain words"), "");
        assert_eq!(magic(b""), "");
    }

    /// The front of a program as linkers write it, under a key.
    fn program(key: &[u8]) -> Vec<u8> {
        let mut front = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0\xb8\0\0\0\0\0\0\0@".to_vec();
        front.resize(60, 0);
        front.extend(b"\xe8\0\0\0\x0e\x1f\xba\x0e\0\xb4\x09\xcd!\xb8\x01L\xcd!");
        front.extend(b"This program cannot be run in DOS mode.\r\r\n$");
        front.resize(512, 0);
        front
            .iter()
            .zip(key.iter().cycle())
            .map(|(byte, key)| byte ^ key)
            .collect()
    }

    #[test]
    fn a_program_is_known_behind_a_repeated_key() {
        assert_eq!(magic(&program(&[0])), "pe");
        assert_eq!(magic(&program(&[0x5a])), "pe_masked");
        assert_eq!(magic(&program(b"secret!")), "pe_masked");
        let long: Vec<u8> = (0..32_u8).map(|n| n.wrapping_mul(37) ^ 0x99).collect();
        assert_eq!(magic(&program(&long)), "pe_masked");
        assert_eq!(magic(&program(b"secret!")[1..]), "");
        assert_eq!(magic(b"TVqQAAMAAAAEAAAA//8AALgAAAA"), "pe_text");
    }

    #[test]
    fn text_code_structure_and_chance_have_different_shapes() {
        assert_eq!(shape(b"short"), "");
        assert_eq!(
            shape("Grüße und plain words, again and again".as_bytes()),
            "text"
        );
        assert_eq!(
            shape(&b"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo0OTk4Mg==".repeat(3)),
            "base64"
        );
        assert_eq!(shape(&program(b"secret!")), "binary");
        let mut state = 7_u64;
        let drawn: Vec<u8> = (0..512)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        assert_eq!(shape(&drawn), "random");
        assert_eq!(shape(&drawn[..160]), "random");
    }
}
