//! What a file is, by its bytes: magic and structure first, then what only that kind of script says.
//!
//! Bytes that fit several types get all of them, because a reader will take the one that suits it: a
//! PDF reader looks for its header in the first 1,024 bytes, an unzipper for the directory at the end,
//! PHP for `<?php` anywhere. So bytes put before or behind a file add types, they never take one away.
//! The name is asked last, adds a type to text only, and never takes one away either.
//!
//! Specifications: ELF gABI 4.1, Microsoft PE Format, ISO 32000-1 (annex H.3.4.1), MS-CFB, RTF 1.9.1,
//! ECMA-376, PKWARE APPNOTE 6.3, POSIX pax, ISO 9660, RFC 5322, MS-SHLLINK.

mod binary;
mod program;
mod text;

use crate::FileType;

pub(crate) use program::{ElfFile, ElfSegment, NO_BITS, PeFile};
pub use program::{Packer, overlay};

/// All types that `bytes` plausibly are, the likeliest first; never empty. `name` may help with text.
pub fn identify(bytes: &[u8], name: &str) -> Vec<FileType> {
    let mut found = Vec::new();
    binary::find(bytes, &mut found);
    let is_program = matches!(
        found.first(),
        Some(FileType::Elf | FileType::ElfObject | FileType::Pe | FileType::MachO)
    );
    // Programs print PHP for good reasons; only what stands behind one could be meant for PHP.
    let open = if is_program { overlay(bytes) } else { bytes };
    let is_packed = found.first().is_some_and(|kind| kind.is_archive());
    if !is_packed && text::has_php(open) {
        add(&mut found, FileType::Php);
    }
    let is_text_like = found.iter().all(|kind| matches!(kind, FileType::Php));
    if is_text_like {
        text::find(bytes, name, &mut found);
    }
    if found.is_empty() {
        found.push(FileType::Unknown);
    }
    found
}

fn add(found: &mut Vec<FileType>, kind: FileType) {
    if !found.contains(&kind) {
        found.push(kind);
    }
}

/// Little-endian number at `at`.
pub(crate) fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    let end = at.checked_add(2)?;
    Some(u16::from_le_bytes(bytes.get(at..end)?.try_into().ok()?))
}

/// Little-endian number at `at`.
pub(crate) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    let end = at.checked_add(4)?;
    Some(u32::from_le_bytes(bytes.get(at..end)?.try_into().ok()?))
}

/// For the mutation loop and the fuzzer.
pub(crate) fn fuzz(bytes: &[u8]) {
    let found = identify(bytes, "name.js");
    assert!(!found.is_empty(), "something is always said");
}

#[cfg(test)]
mod tests;
