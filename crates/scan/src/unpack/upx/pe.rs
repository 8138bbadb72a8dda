//! Packed programs of Windows. One block holds the original from its first section on, as it lies in memory,
//! and behind it the original header with the table of sections. Imports, places to be relocated and
//! resources are written anew from what UPX keeps of them, so the bytes of sections are the original ones;
//! the debug directory, the checksum and the signature are gone for good.
//!
//! A packed program says in a header of its own how it is packed. Malware wipes that; then the loader tells
//! where the data begin, and each code is tried.

mod imports;
mod moved;
mod rebuild;
mod resources;

use super::block::{BROKEN, Method, UNSUPPORTED};
use super::filter::{self, Filter};
use super::nrv::Code;
use crate::Reason;
use crate::budget::Budget;
use crate::identify::PeFile;
use rebuild::{Image, Kept};

const MARK: &[u8] = b"UPX!";
/// Bytes of UPX's header.
const HEADER: usize = 32;
/// Marks that are looked at.
const MARKS_MAX: usize = 8;
/// How far into the file UPX's header is looked for, and how much of a loader is looked at.
const SEARCH: usize = 64 << 10;
const LOADER: usize = 4096;

/// Unpacks `file`; none when it is not packed by UPX, as far as can be told.
pub(super) fn unpack(file: &[u8], budget: &Budget<'_>) -> Option<Result<Vec<u8>, Reason>> {
    let outer = Outer::read(file)?;
    let unpacked = match outer.said() {
        Some(said) => outer.unpack(&said, budget),
        None => outer.unpack_by_loader(&outer.loader()?, budget),
    };
    Some(unpacked)
}

/// Whether `file` begins as UPX's loaders do.
pub(super) fn has_loader(file: &[u8]) -> bool {
    Outer::read(file).is_some_and(|outer| outer.loader().is_some())
}

/// How a program is packed.
struct Said {
    method: u8,
    filter: Filter,
    unpacked: usize,
    packed: usize,
    /// Where the data begin.
    at: usize,
}

/// What the loader gives away: where the data begin, where they end at the latest, and the byte that its
/// filter compares with.
struct Loader {
    at: usize,
    end: usize,
    mark: Option<u8>,
}

/// The packed file.
pub(super) struct Outer<'p> {
    pub(super) file: &'p [u8],
    pub(super) pe: PeFile<'p>,
    /// Where its header begins.
    pub(super) at: usize,
    pub(super) is_wide: bool,
}

impl<'p> Outer<'p> {
    fn read(file: &'p [u8]) -> Option<Self> {
        let pe = PeFile::read(file)?;
        let at = le32(file, 60)? as usize;
        let is_wide = match file.get(at + 24..at + 26)? {
            [0x0b, 1] => false,
            [0x0b, 2] => true,
            _ => return None,
        };
        Some(Self {
            file,
            pe,
            at,
            is_wide,
        })
    }

    /// Bytes of the header, its directories included.
    pub(super) const fn header_size(&self) -> usize {
        if self.is_wide { 264 } else { 248 }
    }

    /// Where in the file an address relative to the program's base is.
    fn place(&self, address: u32) -> Option<usize> {
        let section = self.pe.sections().find(|section| {
            address
                .checked_sub(section.address)
                .is_some_and(|within| within < section.size)
        })?;
        Some((section.offset as usize).saturating_add((address - section.address) as usize))
    }

    fn said(&self) -> Option<Said> {
        let searched = self.file.get(..SEARCH).unwrap_or(self.file);
        let mut marks = memchr::memmem::find_iter(searched, MARK).take(MARKS_MAX);
        marks.find_map(|at| {
            let header: &[u8; HEADER] = self.file.get(at..)?.first_chunk()?;
            let (told, rest) = header.split_last()?;
            let sum: u32 = rest.iter().skip(4).map(|byte| u32::from(*byte)).sum();
            let is_right = u32::from(*told) == sum % 251 && *header.get(4)? >= 10;
            is_right.then_some(Said {
                method: *header.get(6)?,
                unpacked: le32(header, 16)? as usize,
                packed: le32(header, 20)? as usize,
                filter: Filter {
                    id: *header.get(28)?,
                    mark: *header.get(29)?,
                },
                at: at + HEADER,
            })
        })
    }

    fn unpack(&self, said: &Said, budget: &Budget<'_>) -> Result<Vec<u8>, Reason> {
        let end = said.at.checked_add(said.packed).ok_or(BROKEN)?;
        let packed = self.file.get(said.at..end).ok_or(BROKEN)?;
        let method = Method::by_number(said.method).ok_or(UNSUPPORTED)?;
        let bytes = method.decode(packed, said.unpacked, budget)?;
        let at = le32(&bytes, bytes.len().saturating_sub(4)).ok_or(BROKEN)?;
        self.finish(bytes, at as usize, said.filter, budget)
    }

    /// What the loader begins with: it saves registers and loads the address of the data.
    fn loader(&self) -> Option<Loader> {
        const WIDE: &[u8] = b"\x57\x55\x48\x8d\x35";
        let entry = le32(self.file, self.at + 40)?;
        let end = self.place(entry)?;
        let code = self.file.get(end..)?;
        let code = code.get(..LOADER).unwrap_or(code);
        let head = code.get(..64)?;
        let address = if self.is_wide {
            let behind = memchr::memmem::find(head, WIDE)? + WIDE.len();
            let next = entry.wrapping_add(behind as u32 + 4);
            next.wrapping_add(le32(head, behind)?)
        } else {
            let behind = memchr::memmem::find(head, b"\x60\xbe")? + 2;
            le32(head, behind)?.wrapping_sub(le32(self.file, self.at + 52)?)
        };
        let at = self.place(address).filter(|at| *at < end)?;
        let mark = if self.is_wide {
            // mov dl, mark; push rbx; push rdi; lea rcx, [rdi + rsi - 3]
            let behind = memchr::memmem::find(code, b"\x53\x57\x48\x8d\x4c\x37\xfd");
            behind.and_then(|at| match code.get(at.checked_sub(2)?..at)? {
                [0xb2, mark] => Some(*mark),
                _ => None,
            })
        } else {
            // cmp byte [edi], mark
            let compared = memchr::memmem::find(code, b"\x80\x3f");
            compared.and_then(|at| code.get(at + 2).copied())
        };
        Some(Loader { at, end, mark })
    }

    fn unpack_by_loader(&self, loader: &Loader, budget: &Budget<'_>) -> Result<Vec<u8>, Reason> {
        let packed = self.file.get(loader.at..loader.end).ok_or(BROKEN)?;
        let room: u64 = self
            .pe
            .sections()
            .map(|section| u64::from(section.room))
            .sum();
        let room = room.min(budget.policy.member_bytes_max) as usize;
        let id = if self.is_wide { 0x49 } else { 0x26 };
        let filter = Filter {
            id: loader.mark.map_or(0, |_| id),
            mark: loader.mark.unwrap_or(0),
        };
        for method in [
            Method::Nrv(Code::E, 4),
            Method::Nrv(Code::B, 4),
            Method::Nrv(Code::D, 4),
            Method::Lzma,
        ] {
            budget.stopped().map_or(Ok(()), Err)?;
            let Ok((bytes, true)) = method.decode_up_to(packed, room, budget) else {
                continue;
            };
            let mut headers = memchr::memmem::rfind_iter(&bytes, b"PE\0\0");
            let kept = headers.find(|at| Kept::read(self, &bytes, *at).is_some());
            if let Some(at) = kept {
                return self.finish(bytes, at, filter, budget);
            }
        }
        Err(budget.stopped().unwrap_or(BROKEN))
    }

    /// Rebuilds the file from what was packed, where the original header lies at `at`.
    fn finish(
        &self,
        bytes: Vec<u8>,
        at: usize,
        filter: Filter,
        budget: &Budget<'_>,
    ) -> Result<Vec<u8>, Reason> {
        let kept = Kept::read(self, &bytes, at).ok_or(BROKEN)?;
        let mut image = Image {
            bytes,
            base: kept.base,
        };
        let code = kept.code_base.wrapping_sub(kept.base);
        let end = code.wrapping_add(kept.code_size) as usize;
        if let Some(code_bytes) = image.bytes.get_mut(code as usize..end)
            && !filter::undo(filter, code, code_bytes)
        {
            return Err(UNSUPPORTED);
        }
        rebuild::rebuild(self, kept, image, budget)
    }
}

pub(super) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
