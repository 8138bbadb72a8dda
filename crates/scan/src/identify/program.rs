//! What programs say of their own parts, and where they end: installers, self-extracting archives and
//! attackers put things behind that.

use serde::{Deserialize, Serialize};

use super::{le16, le32};

/// Sections the loader of Windows takes.
const SECTIONS_MAX: u16 = 96;

/// The bytes behind the program in `bytes`; empty when there are none or it is no program.
pub fn overlay(bytes: &[u8]) -> &[u8] {
    let end = if bytes.starts_with(b"\x7fELF") {
        ElfFile::read(bytes)
            .and_then(|elf| elf.end())
            .and_then(|end| usize::try_from(end).ok())
    } else if bytes.starts_with(b"MZ") {
        PeFile::read(bytes).map(|pe| pe.end())
    } else {
        None
    };
    end.and_then(|end| bytes.get(end..)).unwrap_or_default()
}

/// What packs programs: the bytes of a packed one say little of what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Packer {
    /// The Ultimate Packer for eXecutables.
    Upx,
}

impl Packer {
    /// What has packed the program in `bytes`. UPX is told by its mark near the beginning, or by the
    /// names it gives to sections.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        const HEAD: usize = 4096;
        let head = bytes.get(..HEAD).unwrap_or(bytes);
        let has_mark = || memchr::memmem::find(head, b"UPX!").is_some();
        let is_upx = match bytes {
            [b'M', b'Z', ..] => {
                let pe = PeFile::read(bytes)?;
                let is_named = |section: PeSection| section.name.starts_with(b"UPX");
                pe.sections().any(is_named) || has_mark()
            }
            [0x7f, b'E', b'L', b'F', ..] => has_mark(),
            _ => false,
        };
        is_upx.then_some(Self::Upx)
    }

    /// Stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upx => "upx",
        }
    }
}

/// A Portable Executable (Microsoft PE Format).
pub(crate) struct PeFile<'f> {
    bytes: &'f [u8],
    /// Where its table of sections is.
    table: usize,
    count: usize,
}

/// A section of a Portable Executable.
pub(crate) struct PeSection {
    pub(crate) name: [u8; 8],
    /// Bytes of it in memory.
    pub(crate) room: u32,
    /// Where it lies in memory, from the program's base on.
    pub(crate) address: u32,
    /// Where it lies in the file.
    pub(crate) offset: u32,
    /// Bytes of it in the file.
    pub(crate) size: u32,
}

impl<'f> PeFile<'f> {
    /// None when the header of an MZ file points at no Portable Executable.
    pub(crate) fn read(bytes: &'f [u8]) -> Option<Self> {
        let at = le32(bytes, 60)? as usize;
        if !bytes.get(at..)?.starts_with(b"PE\0\0") {
            return None;
        }
        let count = le16(bytes, at + 6).unwrap_or(0).min(SECTIONS_MAX);
        let optional = le16(bytes, at + 20).unwrap_or(0);
        Some(Self {
            bytes,
            table: at + 24 + usize::from(optional),
            count: count.into(),
        })
    }

    /// Where the table of sections ends.
    pub(crate) fn headers_end(&self) -> usize {
        self.table + 40 * self.count
    }

    /// Its sections, as far as the file goes.
    pub(crate) fn sections(&self) -> impl Iterator<Item = PeSection> {
        (0..self.count).map_while(|number| {
            let entry = self.table + 40 * number;
            Some(PeSection {
                name: *self.bytes.get(entry..)?.first_chunk()?,
                room: le32(self.bytes, entry + 8)?,
                address: le32(self.bytes, entry + 12)?,
                size: le32(self.bytes, entry + 16)?,
                offset: le32(self.bytes, entry + 20)?,
            })
        })
    }

    /// Where the program ends.
    pub(crate) fn end(&self) -> usize {
        let ends = self.sections().map(|section| {
            let start = section.offset as usize;
            start.saturating_add(section.size as usize)
        });
        ends.max().unwrap_or(0).max(self.headers_end())
    }
}

/// An ELF file (gABI 4.1), of either width and order of bytes.
pub(crate) struct ElfFile<'f> {
    bytes: &'f [u8],
    is_wide: bool,
    is_big: bool,
    segments_at: u64,
    segment_size: u64,
    segment_count: u64,
    sections_at: u64,
    section_size: u64,
    section_count: u64,
    /// Bytes of its header.
    pub(crate) header_size: u64,
    /// Number of the section that holds the names of sections.
    pub(crate) names_section: u64,
}

/// A section of an ELF file.
pub(crate) struct ElfSection {
    /// Where its name stands in the section of names.
    pub(crate) name: u64,
    pub(crate) kind: u64,
    /// Where it lies in the file.
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

/// A segment of an ELF file.
pub(crate) struct ElfSegment {
    pub(crate) kind: u64,
    pub(crate) flags: u64,
    /// Where it lies in the file.
    pub(crate) offset: u64,
    /// Bytes of it in the file.
    pub(crate) size: u64,
}

impl<'f> ElfFile<'f> {
    /// None when there is no whole header.
    pub(crate) fn read(bytes: &'f [u8]) -> Option<Self> {
        let is_wide = *bytes.get(4)? == 2;
        let mut elf = Self {
            bytes,
            is_wide,
            is_big: *bytes.get(5)? == 2,
            segments_at: 0,
            segment_size: 0,
            segment_count: 0,
            sections_at: 0,
            section_size: 0,
            section_count: 0,
            header_size: 0,
            names_section: 0,
        };
        let (segments, sections, tail) = if is_wide { (32, 40, 52) } else { (28, 32, 40) };
        elf.segments_at = elf.word(segments)?;
        elf.sections_at = elf.word(sections)?;
        elf.header_size = elf.number(tail, 2)?;
        elf.segment_size = elf.number(tail + 2, 2)?;
        elf.segment_count = elf.number(tail + 4, 2)?;
        elf.section_size = elf.number(tail + 6, 2)?;
        elf.section_count = elf.number(tail + 8, 2)?;
        elf.names_section = elf.number(tail + 10, 2).unwrap_or(0);
        Some(elf)
    }

    /// Whether the highest byte of a number comes first.
    pub(crate) const fn is_big(&self) -> bool {
        self.is_big
    }

    fn number(&self, at: u64, width: u64) -> Option<u64> {
        let field = self.slice(at, width)?;
        let fold = |sum: u64, byte: &u8| (sum << 8) | u64::from(*byte);
        Some(if self.is_big {
            field.iter().fold(0, fold)
        } else {
            field.iter().rev().fold(0, fold)
        })
    }

    fn word(&self, at: u64) -> Option<u64> {
        self.number(at, if self.is_wide { 8 } else { 4 })
    }

    /// So many bytes from `at` on.
    pub(crate) fn slice(&self, at: u64, length: u64) -> Option<&'f [u8]> {
        let start = usize::try_from(at).ok()?;
        let end = usize::try_from(at.checked_add(length)?).ok()?;
        self.bytes.get(start..end)
    }

    /// Where the table of segments begins, and its bytes.
    pub(crate) fn segment_table(&self) -> (u64, u64) {
        (self.segments_at, self.segment_size * self.segment_count)
    }

    /// Where the table of sections begins, and its bytes.
    pub(crate) fn section_table(&self) -> (u64, u64) {
        (self.sections_at, self.section_size * self.section_count)
    }

    /// Its segments, as far as the file goes.
    pub(crate) fn segments(&self) -> impl Iterator<Item = ElfSegment> {
        let (flags, offset, size) = if self.is_wide {
            (4, 8, 32)
        } else {
            (24, 4, 16)
        };
        (0..self.segment_count).map_while(move |number| {
            let at = self.segments_at.checked_add(number * self.segment_size)?;
            Some(ElfSegment {
                kind: self.number(at, 4)?,
                flags: self.number(at.checked_add(flags)?, 4)?,
                offset: self.word(at.checked_add(offset)?)?,
                size: self.word(at.checked_add(size)?)?,
            })
        })
    }

    /// Its sections, as far as the file goes.
    pub(crate) fn sections(&self) -> impl Iterator<Item = ElfSection> {
        let (offset, size) = if self.is_wide { (24, 32) } else { (16, 20) };
        (0..self.section_count).map_while(move |number| {
            let at = self.sections_at.checked_add(number * self.section_size)?;
            Some(ElfSection {
                name: self.number(at, 4)?,
                kind: self.number(at.checked_add(4)?, 4)?,
                offset: self.word(at.checked_add(offset)?)?,
                size: self.word(at.checked_add(size)?)?,
            })
        })
    }

    /// Where the program ends: the furthest of tables, segments and sections.
    pub(crate) fn end(&self) -> Option<u64> {
        let tables = [self.segment_table(), self.section_table()].into_iter();
        let segments = self
            .segments()
            .map(|segment| (segment.offset, segment.size));
        let sections = self.sections().filter(|section| section.kind != NO_BITS);
        let sections = sections.map(|section| (section.offset, section.size));
        let parts = tables.chain(segments).chain(sections);
        parts
            .map(|(start, length)| start.saturating_add(length))
            .max()
    }
}

/// A section that takes no room in the file (`.bss`).
pub(crate) const NO_BITS: u64 = 8;
