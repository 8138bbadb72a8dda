//! What a file is by its first bytes, coarsely. Signatures as in the formats' own specifications.

/// A short name of the type: `pe`, `elf`, `zip`, `pdf`, …; empty when not recognised.
pub fn magic(bytes: &[u8]) -> &'static str {
    const EXACT: [(&[u8], &str); 27] = [
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
    MARKUP
        .iter()
        .find(|(start, _)| starts(start))
        .map_or("", |(_, name)| name)
}

/// For the mutation loop and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    let _ = magic(bytes);
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
}
