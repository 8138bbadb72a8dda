//! Programs packed by UPX, which unpack themselves when they run. Nothing runs here: their blocks are decoded,
//! and the program that comes out is handed out as `upx`, to be judged as any other.
//!
//! There is no specification; what is known of the format are facts about what upx 3.96 and 4.2.2 write, and
//! what their own `-d` gives back. ELF (little- and big-endian, of 32 and 64 bits) and programs of Windows (i386,
//! amd64); NRV 2B, 2D, 2E, LZMA, Deflate; not the filters of PowerPC, nor blocks of the versions before 2001.

mod block;
mod elf;
mod filter;
mod nrv;
mod pe;

#[cfg(test)]
pub(crate) use block::Method;
#[cfg(test)]
pub(crate) use nrv::Code;

use super::Opening;
use crate::Reason;
use crate::identify::{ElfFile, Packer};

/// Whether `bytes`, a program, seems to be packed. Told by marks, or by what programs that are not packed have:
/// sections in ELF files, and in those of Windows a beginning that is none of UPX's loaders.
pub(super) fn is_packed(bytes: &[u8]) -> bool {
    if Packer::of(bytes).is_some() {
        return true;
    }
    if bytes.starts_with(b"MZ") {
        return pe::has_loader(bytes);
    }
    bytes.starts_with(b"\x7fELF")
        && ElfFile::read(bytes).is_some_and(|elf| elf.section_table().1 == 0)
}

/// Hands out what is packed in `bytes`.
///
/// # Errors
/// Why not all of it was handed out, where there are marks of the packer.
pub(super) fn open(bytes: &[u8], opening: &mut Opening<'_, '_>) -> Result<(), Reason> {
    let budget = opening.budget;
    let unpacked = if bytes.starts_with(b"MZ") {
        let whole = |unpacked: Result<_, _>| unpacked.map(|bytes| (bytes, None));
        pe::unpack(bytes, budget).map(whole)
    } else {
        elf::unpack(bytes, budget)
    };
    let Some(unpacked) = unpacked else {
        // Not only UPX leaves a program without sections.
        let is_marked = Packer::of(bytes).is_some();
        return if is_marked {
            Err(block::UNSUPPORTED)
        } else {
            Ok(())
        };
    };
    let (program, trouble) = unpacked?;
    budget.count()?;
    let held = budget.hold(program)?;
    opening.file("upx", held.bytes(), None);
    trouble.map_or(Ok(()), Err)
}

/// For the mutation loop and the fuzzer: `bytes` as a packed program, and behind its first byte as data of the
/// code that the byte names.
pub(crate) fn fuzz(bytes: &[u8]) {
    super::fuzz(crate::FileType::Elf, bytes);
    if let Some((number, packed)) = bytes.split_first()
        && let Some(method) = block::Method::by_number(*number)
    {
        let policy = crate::ScanPolicy::default();
        let budget = crate::budget::Budget::new(&policy, bytes.len() as u64, &|| false);
        let decoded = method.decode_up_to(packed, 1 << 16, &budget);
        assert!(decoded.is_err() || decoded.is_ok_and(|(bytes, _)| bytes.len() <= 1 << 16));
        let mut code = packed.to_vec();
        let mark = packed.first().copied().unwrap_or(0);
        // Whatever its number, the length stays.
        filter::undo(filter::Filter { id: *number, mark }, 0, &mut code);
        assert_eq!(code.len(), packed.len());
    }
}

#[cfg(test)]
mod tests;
