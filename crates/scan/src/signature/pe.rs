//! Where a Portable Executable keeps its signatures, and which of its bytes they are about ("Windows
//! Authenticode Portable Executable Signature Format", Microsoft, 2008): all but the checksum, the
//! directory entry that names the table of signatures, and that table, which must be the end of the file.

use super::Refusal;
use crate::identify::{PeFile, le16, le32};

/// Entries of the table that are looked at.
const ENTRIES_MAX: usize = 4;
/// Bytes of the table that are looked at.
const TABLE_BYTES_MAX: usize = 4 << 20;
/// Number of the directory entry.
const SECURITY: usize = 4;

/// The signatures of a program.
#[derive(Debug)]
pub(super) struct Table<'f> {
    /// What they are about, to be put together.
    pub(super) signed: [&'f [u8]; 3],
    /// Each in DER.
    pub(super) entries: Vec<&'f [u8]>,
}

/// The table of signatures; none where there is none, or no program.
pub(super) fn table(bytes: &[u8]) -> Result<Option<Table<'_>>, Refusal> {
    let Some((checksum, entry)) = places(bytes) else {
        return Ok(None);
    };
    let number = |at| le32(bytes, at).map_or(0, |number| number as usize);
    let (start, size) = (number(entry), number(entry + 4));
    if start == 0 || size == 0 {
        return Ok(None);
    }
    if start.checked_add(size) != Some(bytes.len()) {
        return Err(Refusal::UncoveredBytes);
    }
    // Nothing that the system loads may lie in the table.
    let loaded = PeFile::read(bytes).map_or(usize::MAX, |pe| pe.end());
    if start < loaded || start < entry + 8 {
        return Err(Refusal::UncoveredBytes);
    }
    if size > TABLE_BYTES_MAX {
        return Err(Refusal::TooMuch);
    }
    let part = |from, to| bytes.get(from..to).unwrap_or_default();
    Ok(Some(Table {
        signed: [
            part(0, checksum),
            part(checksum + 4, entry),
            part(entry + 8, start),
        ],
        entries: entries(part(start, bytes.len()))?,
    }))
}

/// Where the checksum and the directory entry are; none where there is no room for them.
fn places(bytes: &[u8]) -> Option<(usize, usize)> {
    if !bytes.starts_with(b"MZ") {
        return None;
    }
    let at = le32(bytes, 60)? as usize;
    if !bytes.get(at..)?.starts_with(b"PE\0\0") {
        return None;
    }
    let optional = at + 24;
    let directories = match le16(bytes, optional)? {
        0x10b => optional + 96,
        0x20b => optional + 112,
        _ => return None,
    };
    let entry = directories + 8 * SECURITY;
    let has_it = le32(bytes, directories - 4)? as usize > SECURITY
        && usize::from(le16(bytes, at + 20)?) >= entry + 8 - optional
        && entry + 8 <= bytes.len();
    has_it.then_some((optional + 64, entry))
}

fn entries(mut table: &[u8]) -> Result<Vec<&[u8]>, Refusal> {
    let mut entries = Vec::new();
    while !table.is_empty() {
        if entries.len() >= ENTRIES_MAX {
            return Err(Refusal::TooMuch);
        }
        let length = le32(table, 0).ok_or(Refusal::UncoveredBytes)? as usize;
        // Revision 2, PKCS #7.
        if table.get(4..8) != Some(&[0, 2, 2, 0]) {
            return Err(Refusal::UncoveredBytes);
        }
        let body = table.get(8..length).ok_or(Refusal::UncoveredBytes)?;
        entries.push(unpadded(body)?);
        let next = length.next_multiple_of(8).min(table.len());
        let (entry, rest) = table
            .split_at_checked(next)
            .ok_or(Refusal::UncoveredBytes)?;
        let padding = entry.get(length..).unwrap_or_default();
        if padding.iter().any(|byte| *byte != 0) {
            return Err(Refusal::UncoveredBytes);
        }
        table = rest;
    }
    Ok(entries)
}

/// A value in DER without the zeros that make its length a multiple of eight.
fn unpadded(body: &[u8]) -> Result<&[u8], Refusal> {
    let mut rest = super::der::Der(body);
    let value = rest.next().ok_or(Refusal::NotUnderstood)?;
    if rest.0.len() >= 8 || rest.0.iter().any(|byte| *byte != 0) {
        return Err(Refusal::UncoveredBytes);
    }
    Ok(value.whole)
}
