//! One packed block: its code by UPX's numbers, decoded under the budget.

use std::io::Read;

use super::filter::{self, Filter};
use super::nrv::{self, Code};
use crate::budget::Budget;
use crate::{FileType, Reason};

const KIND: FileType = FileType::Upx;
pub(super) const BROKEN: Reason = Reason::Broken(KIND);
pub(super) const UNSUPPORTED: Reason = Reason::Unsupported(KIND);

/// How a block is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// With bits in units of so many bytes.
    Nrv(Code, usize),
    Lzma,
    Deflate,
}

impl Method {
    pub(super) const fn by_number(number: u8) -> Option<Self> {
        Some(match number {
            2 => Self::Nrv(Code::B, 4),
            3 => Self::Nrv(Code::B, 1),
            4 => Self::Nrv(Code::B, 2),
            5 => Self::Nrv(Code::D, 4),
            6 => Self::Nrv(Code::D, 1),
            7 => Self::Nrv(Code::D, 2),
            8 => Self::Nrv(Code::E, 4),
            9 => Self::Nrv(Code::E, 1),
            10 => Self::Nrv(Code::E, 2),
            14 => Self::Lzma,
            15 => Self::Deflate,
            _ => return None,
        })
    }

    /// Decodes to exactly `length` bytes.
    pub(super) fn decode(
        self,
        packed: &[u8],
        length: usize,
        budget: &Budget<'_>,
    ) -> Result<Vec<u8>, Reason> {
        let (bytes, is_whole) = self.run(packed, length, true, budget)?;
        if is_whole && bytes.len() == length {
            Ok(bytes)
        } else {
            Err(BROKEN)
        }
    }

    /// Decodes at most `length_max` bytes, and tells whether they end where the data say so; LZMA has no
    /// such mark and gives what comes before it breaks off.
    pub(super) fn decode_up_to(
        self,
        packed: &[u8],
        length_max: usize,
        budget: &Budget<'_>,
    ) -> Result<(Vec<u8>, bool), Reason> {
        self.run(packed, length_max, false, budget)
    }

    fn run(
        self,
        packed: &[u8],
        length_max: usize,
        is_length: bool,
        budget: &Budget<'_>,
    ) -> Result<(Vec<u8>, bool), Reason> {
        if length_max as u64 > budget.policy.member_bytes_max {
            return Err(Reason::TooLarge);
        }
        let (bytes, is_whole) = match self {
            Self::Nrv(code, unit) => {
                let decoded = nrv::decode(packed, code, unit, length_max);
                (Some(decoded.bytes), decoded.is_whole)
            }
            Self::Lzma => (lzma(packed, length_max, is_length), true),
            Self::Deflate => {
                let limited = miniz_oxide::inflate::decompress_to_vec_with_limit;
                (limited(packed, length_max).ok(), true)
            }
        };
        let Some(bytes) = bytes else {
            // How far it came is not known.
            budget.decoded(length_max as u64)?;
            return Err(BROKEN);
        };
        budget.decoded(bytes.len() as u64)?;
        Ok((bytes, is_whole))
    }
}

/// LZMA with two bytes of properties in front and no mark at the end: bits of the place in the low three
/// bits of the first, with the sum of the others above; bits of literals in the second.
fn lzma(packed: &[u8], length_max: usize, is_length: bool) -> Option<Vec<u8>> {
    let [first, second, rest @ ..] = packed else {
        return None;
    };
    let (pb, lp, lc) = (first & 7, second >> 4, second & 15);
    if pb > 4 || lp > 4 || lc > 8 || first >> 3 != lp + lc {
        return None;
    }
    let dictionary = u32::try_from(length_max).ok()?.max(1 << 12);
    let (lc, lp, pb) = (lc.into(), lp.into(), pb.into());
    let reader = lzma_rust2::LzmaReader::new(rest, length_max as u64, lc, lp, pb, dictionary, None);
    let mut bytes = Vec::new();
    let mut reader = reader.ok()?;
    if is_length {
        reader.read_to_end(&mut bytes).ok()?;
        return Some(bytes);
    }
    // A longer read would take what came before with it where the data break off.
    let mut byte = [0];
    while reader.read(&mut byte).is_ok_and(|read| read > 0) {
        bytes.extend_from_slice(&byte);
    }
    Some(bytes)
}

/// What stands in front of each block of a packed ELF file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) unpacked: usize,
    pub(super) packed: usize,
    pub(super) method: u8,
    pub(super) filter: Filter,
}

impl Head {
    pub(super) const BYTES: usize = 12;

    /// None where the file ends.
    pub(super) fn read(file: &[u8], at: usize, is_big: bool) -> Option<Self> {
        let head: &[u8; Self::BYTES] = file.get(at..)?.first_chunk()?;
        let word = |bytes: &[u8; 4]| {
            if is_big {
                u32::from_be_bytes(*bytes)
            } else {
                u32::from_le_bytes(*bytes)
            }
        };
        let (lengths, how) = head.split_first_chunk::<8>()?;
        let &[method, id, mark, _] = how.first_chunk()?;
        Some(Self {
            unpacked: word(lengths.first_chunk()?) as usize,
            packed: word(lengths.last_chunk()?) as usize,
            method,
            filter: Filter { id, mark },
        })
    }

    /// Whether the numbers can be true: what does not shrink is stored as it is.
    pub(super) fn is_plausible(&self) -> bool {
        let is_stored = self.packed == self.unpacked;
        self.packed > 0
            && self.packed <= self.unpacked
            && (is_stored || Method::by_number(self.method).is_some())
    }

    /// The block behind the head at `at`, and where the next one begins.
    pub(super) fn open(
        &self,
        file: &[u8],
        at: usize,
        budget: &Budget<'_>,
    ) -> Result<(Vec<u8>, usize), Reason> {
        let from = at + Self::BYTES;
        let end = from.checked_add(self.packed).ok_or(BROKEN)?;
        let packed = file.get(from..end).ok_or(BROKEN)?;
        if !self.is_plausible() {
            return Err(BROKEN);
        }
        if self.packed == self.unpacked {
            budget.decoded(packed.len() as u64)?;
            return Ok((packed.to_vec(), end));
        }
        let method = Method::by_number(self.method).ok_or(UNSUPPORTED)?;
        let mut bytes = method.decode(packed, self.unpacked, budget)?;
        if !filter::undo(self.filter, 0, &mut bytes) {
            return Err(UNSUPPORTED);
        }
        Ok((bytes, end))
    }
}
