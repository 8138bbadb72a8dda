//! Cabinets (MS-CAB), stored, MSZIP (MS-MCI) and LZX (MS-PATCH), by our own reader of the container:
//! members of one folder are one stream, so they are taken in the order they lie in and none costs a
//! second pass. What begins or ends in another cabinet, and what is packed by Quantum, is told.

use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use lzxd::{Lzxd, WindowSize};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use super::{Opening, skip};
use crate::{FileType, Reason};

const KIND: FileType = FileType::Cab;
const BROKEN: Reason = Reason::Broken(KIND);
/// Bytes that a block of data unpacks to at most, and that the next one may refer to.
const BLOCK: usize = 32 << 10;
/// Folder numbers from here on mean another cabinet.
const ELSEWHERE: u16 = 0xfffd;
/// Attribute: the name is UTF-8.
const UTF8: u16 = 0x80;

/// A member as the directory gives it.
struct Member {
    name: String,
    folder: u16,
    /// Where it begins in the folder's stream.
    offset: u32,
    size: u32,
}

/// A stream of members.
struct Folder {
    /// Where its blocks begin in the file.
    at: usize,
    blocks: u16,
    packing: u16,
}

struct Cabinet<'c> {
    bytes: &'c [u8],
    folders: Vec<Folder>,
    members: Vec<Member>,
    /// Bytes of each block that belong to whoever made the cabinet.
    reserved: usize,
    /// Whether the directory is all there.
    is_whole: bool,
}

/// Hands out the members.
pub(super) fn open(bytes: &[u8], opening: &mut Opening<'_, '_>) -> Result<(), Reason> {
    let mut cabinet = Cabinet::read(bytes).ok_or(BROKEN)?;
    let mut members = std::mem::take(&mut cabinet.members);
    members.sort_by_key(|member| (member.folder, member.offset));
    let mut members = members.iter().peekable();
    while let Some(first) = members.peek() {
        let number = first.folder;
        let mut stream = cabinet.folders.get(usize::from(number)).map(|folder| {
            let stream = Stream::new(&cabinet, folder);
            (opening.budget.meter(stream), 0_u64)
        });
        while let Some(member) = members.next_if(|member| member.folder == number) {
            opening.go_on()?;
            if let Some((stream, at)) = &mut stream {
                take(member, stream, at, opening)?;
                continue;
            }
            opening.budget.count()?;
            let reason = match number {
                ELSEWHERE.. => Reason::Unsupported(KIND),
                _ => BROKEN,
            };
            opening.missing(&member.name, reason);
        }
    }
    if cabinet.is_whole {
        Ok(())
    } else {
        Err(BROKEN)
    }
}

/// Hands out one member of a folder's stream that has been read up to `at`.
fn take(
    member: &Member,
    stream: &mut impl Read,
    at: &mut u64,
    opening: &mut Opening<'_, '_>,
) -> Result<(), Reason> {
    let (name, start) = (member.name.as_str(), u64::from(member.offset));
    let Some(gap) = start.checked_sub(*at) else {
        opening.budget.count()?;
        opening.missing(name, Reason::Overlapping);
        return Ok(());
    };
    if !skip(stream, gap) {
        opening.budget.count()?;
        opening.missing(name, opening.budget.stopped().unwrap_or(BROKEN));
        return Ok(());
    }
    let mut content = stream.take(member.size.into());
    opening.read(KIND, name, &mut content);
    let left = content.limit();
    // What was too large to keep lies before the next one all the same.
    *at = start + u64::from(member.size) - left;
    Ok(())
}

impl<'c> Cabinet<'c> {
    fn read(bytes: &'c [u8]) -> Option<Self> {
        let le16 = |at: usize| Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let le32 = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let (folder_count, file_count, flags) = (le16(26)?, le16(28)?, le16(30)?);
        let mut at = 36;
        let (mut of_folder, mut of_block) = (0, 0);
        if flags & 4 > 0 {
            let of_header = usize::from(le16(at)?);
            (of_folder, of_block) = (*bytes.get(at + 2)?, *bytes.get(at + 3)?);
            at += 4 + of_header;
        }
        // Cabinet and disk before this one, then those after it.
        for _ in 0..2 * ((flags & 1) + ((flags >> 1) & 1)) {
            at += memchr::memchr(0, bytes.get(at..)?)? + 1;
        }
        let mut cabinet = Self {
            bytes,
            folders: Vec::new(),
            members: Vec::new(),
            reserved: of_block.into(),
            is_whole: true,
        };
        for _ in 0..folder_count {
            let start = usize::try_from(le32(at)?).ok()?;
            cabinet.folders.push(Folder {
                at: start,
                blocks: le16(at + 4)?,
                packing: le16(at + 6)?,
            });
            at += 8 + usize::from(of_folder);
        }
        at = usize::try_from(le32(16)?).ok()?;
        for _ in 0..file_count {
            let member = || {
                let name = bytes.get(at.checked_add(16)?..)?;
                let name = name.get(..memchr::memchr(0, name)?)?;
                let next = at + 17 + name.len();
                let name = match le16(at + 14)? & UTF8 {
                    0 => name.iter().map(|byte| char::from(*byte)).collect(),
                    _ => String::from_utf8_lossy(name).into_owned(),
                };
                let member = Member {
                    name: name.replace('\\', "/"),
                    folder: le16(at + 8)?,
                    offset: le32(at + 4)?,
                    size: le32(at)?,
                };
                Some((member, next))
            };
            let Some((member, next)) = member() else {
                cabinet.is_whole = false;
                break;
            };
            cabinet.members.push(member);
            at = next;
        }
        Some(cabinet)
    }
}

/// What packs a folder, with what it remembers.
enum Packing {
    Stored,
    MsZip(Box<DecompressorOxide>),
    Lzx(Box<Lzxd>),
    Unknown,
}

/// A folder's blocks, unpacked one behind the other.
struct Stream<'c> {
    bytes: &'c [u8],
    /// Where the next block begins.
    at: usize,
    blocks_left: u16,
    reserved: usize,
    packing: Packing,
    /// The block before this one, then this one.
    window: Vec<u8>,
    /// Bytes of the window that have been read.
    read: usize,
}

impl<'c> Stream<'c> {
    fn new(cabinet: &Cabinet<'c>, folder: &Folder) -> Self {
        let packing = match (folder.packing & 15, folder.packing >> 8) {
            (0, _) => Packing::Stored,
            (1, _) => Packing::MsZip(Box::default()),
            (3, bits) => window_size(bits).map_or(Packing::Unknown, |size| {
                Packing::Lzx(Box::new(Lzxd::new(size)))
            }),
            _ => Packing::Unknown,
        };
        Self {
            bytes: cabinet.bytes,
            at: folder.at,
            blocks_left: folder.blocks,
            reserved: cabinet.reserved,
            packing,
            window: Vec::new(),
            read: 0,
        }
    }

    /// Unpacks the next block behind what is remembered; none when there is none, or it is broken.
    fn block(&mut self) -> Option<()> {
        self.blocks_left = self.blocks_left.checked_sub(1)?;
        let header = self.bytes.get(self.at..)?;
        let packed = usize::from(u16::from_le_bytes([*header.get(4)?, *header.get(5)?]));
        let length = usize::from(u16::from_le_bytes([*header.get(6)?, *header.get(7)?]));
        let data = header.get(8 + self.reserved..)?.get(..packed)?;
        self.at += 8 + self.reserved + packed;
        if length > BLOCK {
            return None;
        }
        let forgotten = self.window.len().saturating_sub(BLOCK);
        self.window.drain(..forgotten);
        let begin = self.window.len();
        self.read = begin;
        match &mut self.packing {
            Packing::Stored => self.window.extend_from_slice(data.get(..length)?),
            Packing::MsZip(decoder) => {
                let data = data.strip_prefix(b"CK")?;
                self.window.resize(begin + length, 0);
                **decoder = DecompressorOxide::new();
                let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
                let (status, _, written) =
                    decompress(decoder, data, &mut self.window, begin, flags);
                self.window.truncate(begin + written);
                // What does not fit is not asked for; what is missing will be.
                let is_fine = matches!(status, TINFLStatus::Done | TINFLStatus::HasMoreOutput);
                is_fine.then_some(())?;
            }
            Packing::Lzx(decoder) => {
                // The decoder asserts what hostile data may say.
                let unpack = || {
                    decoder
                        .decompress_next(data, length)
                        .ok()
                        .map(<[u8]>::to_vec)
                };
                let block = catch_unwind(AssertUnwindSafe(unpack)).ok().flatten();
                let block = block.or_else(|| {
                    self.packing = Packing::Unknown;
                    None
                })?;
                self.window.extend_from_slice(&block);
            }
            Packing::Unknown => return None,
        }
        Some(())
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read >= self.window.len() {
            // Read to the end of a member only, so there is always more to come.
            if self.block().is_none() {
                self.blocks_left = 0;
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let rest = self.window.get(self.read..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        if let (Some(target), Some(source)) = (buffer.get_mut(..length), rest.get(..length)) {
            target.copy_from_slice(source);
        }
        self.read += length;
        Ok(length)
    }
}

fn window_size(bits: u16) -> Option<WindowSize> {
    Some(match bits & 31 {
        15 => WindowSize::KB32,
        16 => WindowSize::KB64,
        17 => WindowSize::KB128,
        18 => WindowSize::KB256,
        19 => WindowSize::KB512,
        20 => WindowSize::MB1,
        21 => WindowSize::MB2,
        _ => return None,
    })
}

/// For the mutation loop and the fuzzer, which end at a panic even where it is caught: folders packed by
/// LZX, whose decoder asserts, are left out.
pub(crate) fn fuzz(bytes: &[u8]) {
    let is_lzx = |folder: &Folder| folder.packing & 15 == 3;
    let cabinet = Cabinet::read(bytes);
    if cabinet.is_none_or(|cabinet| !cabinet.folders.iter().any(is_lzx)) {
        super::fuzz(KIND, bytes);
    }
}
