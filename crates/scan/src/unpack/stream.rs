//! Compressed streams: gzip (RFC 1952), xz, Zstandard (RFC 8878), bzip2. A tar or cpio archive in one is
//! read as it comes out, so that it may be larger than any one member.

use std::io::{BufRead, BufReader, Read};

use thymus_parsers::{Compression, decompress};

use super::{Opening, cpio, tar};
use crate::{FileType, Reason, identify};

/// Dictionary an xz stream may ask for.
const XZ_MEMORY_KIB_MAX: u32 = 96 << 10;

/// Hands out what a stream holds.
pub(super) fn open(
    kind: FileType,
    bytes: &[u8],
    opening: &mut Opening<'_, '_>,
) -> Result<(), Reason> {
    let broken = Reason::Broken(kind);
    let budget = opening.budget;
    let decoder: Box<dyn Read> = match kind {
        FileType::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(
            bytes,
            true,
            XZ_MEMORY_KIB_MAX,
        )),
        _ => decompress(Compression::sniff(bytes), bytes).map_err(|_| broken)?,
    };
    let mut reader = BufReader::with_capacity(1 << 16, budget.meter(decoder));
    let head = match reader.fill_buf() {
        Ok(head) => identify(head, ""),
        Err(_) => return Err(budget.stopped().unwrap_or(broken)),
    };
    match head.first() {
        Some(FileType::Tar) => tar::open(&mut reader, opening),
        Some(FileType::Cpio) => cpio::open(&mut reader, opening),
        _ => {
            let name = plain_name(opening.name).to_owned();
            opening.read(kind, &name, &mut reader);
            Ok(())
        }
    }
}

/// The name without the ending that compressing gave it.
fn plain_name(name: &str) -> &str {
    const ENDINGS: [&str; 5] = [".gz", ".xz", ".zst", ".bz2", ".z"];
    let dot = name.rfind('.').unwrap_or(name.len());
    let ending = name.get(dot..).unwrap_or_default();
    let is_known = ENDINGS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(ending));
    match name.get(..dot) {
        Some(stem) if is_known && !stem.is_empty() => stem,
        _ => "content",
    }
}
