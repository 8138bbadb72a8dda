//! Where a program ends: the bytes behind what its own headers account for. Installers, self-extracting
//! archives and attackers put things there.

use super::{le16, le32};

/// The bytes behind the program in `bytes`; empty when there are none or it is no program.
pub fn overlay(bytes: &[u8]) -> &[u8] {
    let end = if bytes.starts_with(b"\x7fELF") {
        elf_end(bytes)
    } else if bytes.starts_with(b"MZ") {
        pe_end(bytes)
    } else {
        None
    };
    end.and_then(|end| bytes.get(end..)).unwrap_or_default()
}

/// Whether an MZ file points at the header of a Portable Executable.
pub(super) fn is_pe(bytes: &[u8]) -> bool {
    pe_header(bytes).is_some()
}

fn pe_header(bytes: &[u8]) -> Option<usize> {
    let at = le32(bytes, 60)? as usize;
    let header = bytes.get(at..)?;
    header.starts_with(b"PE\0\0").then_some(at)
}

fn pe_end(bytes: &[u8]) -> Option<usize> {
    const SECTIONS_MAX: u16 = 96;
    let at = pe_header(bytes)?;
    let sections = le16(bytes, at + 6)?.min(SECTIONS_MAX);
    let optional = usize::from(le16(bytes, at + 20)?);
    let table = at + 24 + optional;
    let mut end = table + 40 * usize::from(sections);
    for number in 0..usize::from(sections) {
        let entry = table + 40 * number;
        let size = le32(bytes, entry + 16)? as usize;
        let start = le32(bytes, entry + 20)? as usize;
        end = end.max(start.saturating_add(size));
    }
    Some(end)
}

/// The furthest of section table, program headers, segments and sections.
fn elf_end(bytes: &[u8]) -> Option<usize> {
    let is_wide = *bytes.get(4)? == 2;
    let is_big = *bytes.get(5)? == 2;
    let read = |at: usize, width: usize| -> Option<u64> {
        let field = bytes.get(at..at.checked_add(width)?)?;
        let fold = |sum: u64, byte: &u8| (sum << 8) | u64::from(*byte);
        Some(if is_big {
            field.iter().fold(0, fold)
        } else {
            field.iter().rev().fold(0, fold)
        })
    };
    let word = if is_wide { 8 } else { 4 };
    let (phoff, shoff, tail) = if is_wide { (32, 40, 52) } else { (28, 32, 40) };
    let headers = read(phoff, word)?;
    let table = read(shoff, word)?;
    let header_size = read(tail + 2, 2)?;
    let header_count = read(tail + 4, 2)?;
    let section_size = read(tail + 6, 2)?;
    let section_count = read(tail + 8, 2)?;
    let mut end = headers.saturating_add(header_size * header_count);
    end = end.max(table.saturating_add(section_size * section_count));
    let (offset, size) = if is_wide { (8, 32) } else { (4, 16) };
    for number in 0..header_count {
        let at = usize::try_from(headers.checked_add(number * header_size)?).ok()?;
        let Some(start) = read(at.checked_add(offset)?, word) else {
            break;
        };
        let length = read(at.checked_add(size)?, word).unwrap_or_default();
        end = end.max(start.saturating_add(length));
    }
    let (offset, size) = if is_wide { (24, 32) } else { (16, 20) };
    for number in 0..section_count {
        let at = usize::try_from(table.checked_add(number * section_size)?).ok()?;
        let Some(start) = read(at.checked_add(offset)?, word) else {
            break;
        };
        // A section of type 8 (`.bss`) takes no room in the file.
        let takes_room = read(at.checked_add(4)?, 4) != Some(8);
        let length = read(at.checked_add(size)?, word).unwrap_or_default();
        if takes_room {
            end = end.max(start.saturating_add(length));
        }
    }
    usize::try_from(end).ok()
}
