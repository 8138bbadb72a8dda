//! Writes the original program anew from its image in memory and what UPX kept of it.

use super::super::block::BROKEN;
use super::{Outer, imports, le16, le32, moved, resources};
use crate::Reason;
use crate::budget::Budget;

/// Sections a program may have.
const SECTIONS_MAX: usize = 96;
/// Numbers of directories.
pub(super) const EXPORT: usize = 0;
pub(super) const IMPORT: usize = 1;
pub(super) const RESOURCE: usize = 2;
pub(super) const RELOCATION: usize = 5;
const DEBUG: usize = 6;
const BOUND_IMPORT: usize = 11;
const IMPORT_TABLE: usize = 12;
/// Flag of the header: nothing to relocate is kept.
const IS_FIXED: u16 = 1;
/// Relocations, names and imports written, each.
pub(super) const ENTRIES_MAX: usize = 1 << 20;

/// The image from the first section on.
pub(super) struct Image {
    pub(super) bytes: Vec<u8>,
    /// Address of the first section.
    pub(super) base: u32,
}

impl Image {
    fn place(&self, address: u32) -> Option<usize> {
        Some(address.checked_sub(self.base)? as usize)
    }

    pub(super) fn word(&self, address: u32) -> Option<u32> {
        le32(&self.bytes, self.place(address)?)
    }

    pub(super) fn put(&mut self, address: u32, bytes: &[u8]) -> Option<()> {
        let at = self.place(address)?;
        self.bytes
            .get_mut(at..at.checked_add(bytes.len())?)?
            .copy_from_slice(bytes);
        Some(())
    }
}

/// The original header.
pub(super) struct Kept {
    pub(super) header: Vec<u8>,
    sections: Vec<Section>,
    /// What follows them: where imports and relocations are.
    extra: usize,
    pub(super) base: u32,
    pub(super) code_base: u32,
    pub(super) code_size: u32,
    directories: usize,
    pub(super) is_wide: bool,
}

struct Section {
    header: [u8; 40],
    address: u32,
    size: u32,
    offset: u32,
}

impl Kept {
    /// None when there is no header that makes sense at `at`.
    pub(super) fn read(outer: &Outer<'_>, bytes: &[u8], at: usize) -> Option<Self> {
        let size = outer.header_size();
        let header = bytes.get(at..at.checked_add(size)?)?;
        let machine = outer.file.get(outer.at + 4..outer.at + 6);
        let is_same = header.get(24..26) == outer.file.get(outer.at + 24..outer.at + 26);
        if !header.starts_with(b"PE\0\0") || header.get(4..6) != machine || !is_same {
            return None;
        }
        let count: usize = le16(header, 6)?.into();
        let table = at + size;
        let entry = |number: usize| {
            let header: [u8; 40] = *bytes.get(table + 40 * number..)?.first_chunk()?;
            Some(Section {
                address: le32(&header, 12)?,
                size: le32(&header, 16)?,
                offset: le32(&header, 20)?,
                header,
            })
        };
        if !(1..=SECTIONS_MAX).contains(&count) {
            return None;
        }
        let sections: Vec<Section> = (0..count).map(entry).collect::<Option<_>>()?;
        let base = sections.first()?.address;
        // The image was packed from its first section up to this header.
        let is_in_order = sections.iter().all(|section| section.address >= base);
        is_in_order.then_some(())?;
        Some(Self {
            header: header.to_vec(),
            extra: table + 40 * count,
            base,
            code_base: le32(header, 44)?,
            code_size: le32(header, 28)?,
            directories: size - 128,
            is_wide: outer.is_wide,
            sections,
        })
    }

    pub(super) fn directory(&self, number: usize) -> (u32, u32) {
        let at = self.directories + 8 * number;
        let word = |at| le32(&self.header, at).unwrap_or(0);
        (word(at), word(at + 4))
    }

    pub(super) fn set_directory(&mut self, number: usize, address: u32, size: u32) {
        let at = self.directories + 8 * number;
        if let Some(place) = self.header.get_mut(at..at + 8) {
            let (first, second) = place.split_at_mut(4);
            first.copy_from_slice(&address.to_le_bytes());
            second.copy_from_slice(&size.to_le_bytes());
        }
    }

    pub(super) fn is_fixed(&self) -> bool {
        le16(&self.header, 22).is_some_and(|flags| flags & IS_FIXED > 0)
    }

    pub(super) const fn word_bytes(&self) -> usize {
        if self.is_wide { 8 } else { 4 }
    }
}

/// A directory of the packed file.
pub(super) fn outer_directory(outer: &Outer<'_>, number: usize) -> (u32, u32) {
    let at = outer.at + outer.header_size() - 128 + 8 * number;
    let word = |at| le32(outer.file, at).unwrap_or(0);
    (word(at), word(at + 4))
}

/// The file; what cannot be rebuilt (imports, relocations, resources that make no sense) stays as packed.
pub(super) fn rebuild(
    outer: &Outer<'_>,
    mut kept: Kept,
    mut image: Image,
    budget: &Budget<'_>,
) -> Result<Vec<u8>, Reason> {
    if le16(outer.file, outer.at + 22).is_some_and(|flags| flags & IS_FIXED > 0) {
        let flags = le16(&kept.header, 22).unwrap_or(0) | IS_FIXED;
        if let Some(place) = kept.header.get_mut(22..24) {
            place.copy_from_slice(&flags.to_le_bytes());
        }
        kept.set_directory(RELOCATION, 0, 0);
    }
    let mut extra = kept.extra;
    // A program without the parts that follow in `extra` is whole without them.
    let _rebuilt = imports::restore(outer, &kept, &mut image, &mut extra)
        .and_then(|()| moved::relocations(&mut kept, &mut image, &mut extra))
        .and_then(|()| moved::exports(outer, &kept, &mut image))
        .and_then(|()| resources::restore(outer, &kept, &mut image, extra));
    for number in [DEBUG, IMPORT_TABLE, BOUND_IMPORT] {
        kept.set_directory(number, 0, 0);
    }
    if let Some(checksum) = kept.header.get_mut(88..92) {
        checksum.fill(0);
    }
    write(outer, &kept, &image, budget)
}

fn write(
    outer: &Outer<'_>,
    kept: &Kept,
    image: &Image,
    budget: &Budget<'_>,
) -> Result<Vec<u8>, Reason> {
    let most = budget.policy.member_bytes_max;
    let mut out = outer.file.get(..outer.at).ok_or(BROKEN)?.to_vec();
    out.extend_from_slice(&kept.header);
    for section in &kept.sections {
        out.extend_from_slice(&section.header);
    }
    for section in kept.sections.iter().filter(|section| section.offset > 0) {
        let (offset, size) = (section.offset as usize, section.size as usize);
        let from = image.place(section.address).ok_or(BROKEN)?;
        let from = from.min(image.bytes.len());
        let end = from.saturating_add(size).min(image.bytes.len());
        let content = image.bytes.get(from..end).unwrap_or_default();
        let file_end = offset.saturating_add(size);
        if file_end as u64 > most {
            return Err(Reason::TooLarge);
        }
        if out.len() < file_end {
            budget.decoded((file_end - out.len()) as u64)?;
            out.resize(file_end, 0);
        }
        if let Some(place) = out.get_mut(offset..offset + content.len()) {
            place.copy_from_slice(content);
        }
    }
    let behind = outer.file.get(outer.pe.end()..).unwrap_or_default();
    if (out.len() + behind.len()) as u64 > most {
        return Err(Reason::TooLarge);
    }
    budget.decoded(behind.len() as u64)?;
    out.extend_from_slice(behind);
    Ok(out)
}

/// The bytes of the packed file at an address.
pub(super) fn outer_bytes<'p>(outer: &Outer<'p>, address: u32) -> Option<&'p [u8]> {
    outer.file.get(outer.place(address)?..)
}

pub(super) fn until_zero(bytes: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr(0, bytes)?;
    bytes.get(..end)
}
