//! Packed ELF programs and libraries. The blocks hold, in this order: the original header with the table
//! of segments, then the rest of each loaded segment, behind UPX's own loader what lies between and behind
//! the segments. So the original file comes out byte for byte, as far as its blocks are there.
//!
//! Where the blocks begin is told at the end of the file and by a mark in front of them. Malware wipes both;
//! then the block is looked for that gives an ELF header.

use super::block::{BROKEN, Head};
use crate::Reason;
use crate::budget::Budget;
use crate::identify::{ElfFile, ElfSegment};

/// Of a loaded segment and of the dynamic one.
const LOAD: u64 = 1;
const DYNAMIC: u64 = 2;
const WRITABLE: u64 = 2;
/// Bytes of a header with its table of segments.
const HEADER_MIN: usize = 52 + 32;
const HEADER_MAX: usize = 1 << 16;
/// How far into the file a block without a mark is looked for.
const SEARCH: usize = 16 << 10;
/// Blocks that are decoded to find the first.
const TRIES_MAX: usize = 64;
/// The mark, what UPX keeps behind it at the end of the file, and what stands between mark and blocks.
const MARK: &[u8] = b"UPX!";
const TRAILER: usize = 32;
const INFO: usize = 12;

/// What came out: the file, and why it may lack something.
type Unpacked = (Vec<u8>, Option<Reason>);

/// Unpacks `file`; none when there are no blocks in it.
pub(super) fn unpack(file: &[u8], budget: &Budget<'_>) -> Option<Result<Unpacked, Reason>> {
    let elf = ElfFile::read(file)?;
    let packed = Packed {
        file,
        is_big: elf.is_big(),
        budget,
    };
    let (at, header) = match packed.first_block(&elf) {
        Ok(found) => found?,
        Err(reason) => return Some(Err(reason)),
    };
    Some(packed.rebuild(&elf, at, &header))
}

struct Packed<'p, 'b> {
    file: &'p [u8],
    is_big: bool,
    budget: &'p Budget<'b>,
}

/// A loaded segment of the original.
struct Segment {
    offset: usize,
    size: usize,
    is_writable: bool,
}

impl Segment {
    fn end(&self) -> usize {
        self.offset.saturating_add(self.size)
    }
}

impl Packed<'_, '_> {
    /// Where the first block is, and the header in it.
    fn first_block(&self, elf: &ElfFile<'_>) -> Result<Option<(usize, Vec<u8>)>, Reason> {
        let (table, length) = elf.segment_table();
        let behind_table = usize::try_from(table.saturating_add(length)).unwrap_or(usize::MAX);
        let searched = self.file.len().min(SEARCH);
        let marked = memchr::memmem::find_iter(self.file.get(..searched).unwrap_or_default(), MARK)
            .map(|mark| mark + 8 + INFO);
        let places = self.told().into_iter().chain(marked);
        let places = places.chain([behind_table.saturating_add(2 * INFO)]);
        let places = places.chain((HEADER_MIN..searched).step_by(4));
        let mut tries = 0;
        for at in places {
            let Some(head) = Head::read(self.file, at, self.is_big) else {
                continue;
            };
            let is_size = (HEADER_MIN..=HEADER_MAX).contains(&head.unpacked);
            if !is_size || !head.is_plausible() || head.filter.id != 0 {
                continue;
            }
            tries += 1;
            if tries > TRIES_MAX {
                break;
            }
            match head.open(self.file, at, self.budget) {
                Ok((header, _)) if self.is_header(&header) => return Ok(Some((at, header))),
                _ => self.budget.stopped().map_or(Ok(()), Err)?,
            }
        }
        Ok(None)
    }

    /// Where the end of the file says that the blocks are.
    fn told(&self) -> Option<usize> {
        let trailer = self.trailer()?;
        let at = self.word(trailer + TRAILER)?;
        Some(at + INFO)
    }

    /// Where the header of the packer is, near the end of the file.
    fn trailer(&self) -> Option<usize> {
        let from = self.file.len().saturating_sub(1024);
        let at = memchr::memmem::rfind(self.file.get(from..)?, MARK)?;
        Some(from + at)
    }

    fn word(&self, at: usize) -> Option<usize> {
        let bytes = *self.file.get(at..)?.first_chunk()?;
        Some(if self.is_big {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        } as usize)
    }

    /// Whether this is the header of a file of the same kind, with segments behind it.
    fn is_header(&self, header: &[u8]) -> bool {
        header.starts_with(b"\x7fELF")
            && header.get(4..6) == self.file.get(4..6)
            && header.get(18..20) == self.file.get(18..20)
            && segments(header).is_some_and(|segments| !segments.is_empty())
    }

    fn rebuild(&self, elf: &ElfFile<'_>, first: usize, header: &[u8]) -> Result<Unpacked, Reason> {
        let original = segments(header).ok_or(BROKEN)?;
        let mut image = Image {
            bytes: Vec::new(),
            budget: self.budget,
        };
        let is_library = elf.segments().any(|segment| segment.kind == DYNAMIC);
        let walked = if is_library {
            self.library(elf, first, header, &original, &mut image)
        } else {
            self.program(first, &original, &mut image)
        };
        let trouble = walked.and_then(|at| self.gaps(first, at, header, &original, &mut image));
        if image.bytes.len() <= header.len() {
            return Err(trouble.err().unwrap_or(BROKEN));
        }
        Ok((image.bytes, trouble.err()))
    }

    /// All loaded segments, one behind the other, the header in front: where the blocks end.
    fn program(
        &self,
        first: usize,
        original: &[Segment],
        image: &mut Image<'_, '_>,
    ) -> Result<usize, Reason> {
        let mut at = first;
        for segment in original {
            at = self.extent(at, segment.offset, segment.size, image)?;
        }
        Ok(at)
    }

    /// Of a library, what the system needs before UPX's loader runs stays as it is: all before the blocks
    /// and all that is written to. Which function is called first, UPX changes, and that is not undone.
    fn library(
        &self,
        elf: &ElfFile<'_>,
        first: usize,
        header: &[u8],
        original: &[Segment],
        image: &mut Image<'_, '_>,
    ) -> Result<usize, Reason> {
        let head = Head::read(self.file, first, self.is_big).ok_or(BROKEN)?;
        let mut at = first + Head::BYTES + head.packed;
        image.put(0, header)?;
        let open = first.saturating_sub(2 * INFO);
        if let Some(bytes) = self.file.get(header.len()..open) {
            self.budget.decoded(bytes.len() as u64)?;
            image.put(header.len(), bytes)?;
        }
        let is_read = |segment: &&Segment| !segment.is_writable;
        for segment in original.iter().filter(is_read) {
            let from = segment.offset.max(image.bytes.len().min(segment.end()));
            at = self.extent(at, from, segment.end() - from, image)?;
        }
        let kept: Vec<Segment> = elf
            .segments()
            .filter_map(|segment| loaded(&segment))
            .collect();
        for (there, here) in kept.iter().zip(original) {
            if here.is_writable {
                let slid = self
                    .file
                    .get(there.offset..there.offset.saturating_add(here.size));
                let slid = slid.ok_or(BROKEN)?;
                self.budget.decoded(slid.len() as u64)?;
                image.put(here.offset, slid)?;
            }
        }
        Ok(at)
    }

    /// What lies between and behind the segments, packed behind the loader, whose length is not relied on.
    fn gaps(
        &self,
        first: usize,
        at: usize,
        header: &[u8],
        original: &[Segment],
        image: &mut Image<'_, '_>,
    ) -> Result<(), Reason> {
        let loaded = original.iter().map(Segment::end).max().unwrap_or(0);
        let told = [
            self.word(first.saturating_sub(2 * 4)),
            self.trailer().and_then(|trailer| self.word(trailer + 24)),
            ElfFile::read(header).and_then(|elf| {
                let (at, length) = elf.section_table();
                usize::try_from(at.saturating_add(length)).ok()
            }),
        ];
        // A longer gap is packed in blocks of the size that is told, or of the largest segment's.
        let largest = original.iter().map(|segment| segment.size).max();
        let blocks = [self.word(first.saturating_sub(4)), largest];
        let blocks: Vec<usize> = blocks
            .into_iter()
            .flatten()
            .filter(|size| *size > 0)
            .collect();
        let mut is_all = false;
        for length in told.into_iter().flatten() {
            if length < loaded || length as u64 > self.budget.policy.member_bytes_max {
                continue;
            }
            let gaps = gaps(original, length);
            if gaps.is_empty() {
                is_all = true;
            } else if let Some(at) = self.find(at, &gaps, &blocks)? {
                return self.fill(at, &gaps, image);
            }
        }
        if is_all { Ok(()) } else { Err(BROKEN) }
    }

    fn fill(
        &self,
        mut at: usize,
        gaps: &[(usize, usize)],
        image: &mut Image<'_, '_>,
    ) -> Result<(), Reason> {
        for (offset, size) in gaps {
            at = self.extent(at, *offset, *size, image)?;
        }
        Ok(())
    }

    /// Where the block of the first gap is, from `at` on.
    fn find(
        &self,
        at: usize,
        gaps: &[(usize, usize)],
        blocks: &[usize],
    ) -> Result<Option<usize>, Reason> {
        let Some((_, size)) = gaps.first().copied() else {
            return Ok(None);
        };
        let is_size = |told| told == size || (told < size && blocks.contains(&told));
        let mut tries = 0;
        for at in at..self.file.len() {
            let Some(head) = Head::read(self.file, at, self.is_big) else {
                break;
            };
            if !is_size(head.unpacked) || !head.is_plausible() || head.filter.id != 0 {
                continue;
            }
            tries += 1;
            if tries > TRIES_MAX {
                break;
            }
            if head.open(self.file, at, self.budget).is_ok() {
                return Ok(Some(at));
            }
            self.budget.stopped().map_or(Ok(()), Err)?;
        }
        Ok(None)
    }

    /// Blocks from `at` on that make up `size` bytes at `offset`: where the next block begins.
    fn extent(
        &self,
        mut at: usize,
        offset: usize,
        size: usize,
        image: &mut Image<'_, '_>,
    ) -> Result<usize, Reason> {
        let mut done = 0;
        while done < size {
            self.budget.stopped().map_or(Ok(()), Err)?;
            let head = Head::read(self.file, at, self.is_big).ok_or(BROKEN)?;
            if head.unpacked > size - done {
                return Err(BROKEN);
            }
            let (bytes, next) = head.open(self.file, at, self.budget)?;
            image.put(offset.checked_add(done).ok_or(BROKEN)?, &bytes)?;
            done += bytes.len();
            at = next;
        }
        Ok(at)
    }
}

fn loaded(segment: &ElfSegment) -> Option<Segment> {
    (segment.kind == LOAD).then_some(Segment {
        offset: usize::try_from(segment.offset).ok()?,
        size: usize::try_from(segment.size).ok()?,
        is_writable: segment.flags & WRITABLE > 0,
    })
}

/// The loaded segments that a header tells of; none when it is cut off.
fn segments(header: &[u8]) -> Option<Vec<Segment>> {
    let elf = ElfFile::read(header)?;
    let (at, length) = elf.segment_table();
    elf.slice(at, length)?;
    let is_load = |segment: &ElfSegment| segment.kind == LOAD;
    let loads = elf.segments().filter(is_load);
    loads.map(|segment| loaded(&segment)).collect()
}

/// Place and length of what lies behind each segment up to the next one, or to the end.
fn gaps(segments: &[Segment], length: usize) -> Vec<(usize, usize)> {
    let behind = |segment: &Segment| {
        let end = segment.end();
        let later = segments.iter().map(|other| other.offset);
        let next = later.filter(|offset| *offset >= end).min();
        let size = next.unwrap_or(length).saturating_sub(end);
        (size > 0).then_some((end, size))
    };
    segments.iter().filter_map(behind).collect()
}

/// The file as it grows.
struct Image<'i, 'b> {
    bytes: Vec<u8>,
    budget: &'i Budget<'b>,
}

impl Image<'_, '_> {
    fn put(&mut self, offset: usize, bytes: &[u8]) -> Result<(), Reason> {
        let end = offset.checked_add(bytes.len()).ok_or(BROKEN)?;
        if end as u64 > self.budget.policy.member_bytes_max {
            return Err(Reason::TooLarge);
        }
        if end > self.bytes.len() {
            self.bytes.resize(end, 0);
        }
        if let Some(place) = self.bytes.get_mut(offset..end) {
            place.copy_from_slice(bytes);
        }
        Ok(())
    }
}
