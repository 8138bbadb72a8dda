//! What programs carry besides themselves: archives behind their last section or among their resources,
//! as self-extracting archives and installers have, and the program itself where it is packed. Installers whose format is not read (Inno Setup, some of
//! NSIS) are recognised, so that what is in them is told as not judged.

use memchr::memmem;

use super::{Opening, nsis, upx};
use crate::identify::{identify, overlay};
use crate::{FileType, Reason};

/// Archives looked for in one program.
const ARCHIVES_MAX: usize = 16;
/// NSIS looks for its own header in steps of this.
const NSIS_STEP: usize = 512;
const NSIS: &[u8] = b"\xef\xbe\xad\xdeNullsoftInst";
const INNO: &[u8] = b"Inno Setup Setup Data (";

/// Something that a program carries.
pub(super) enum Carried<'p> {
    Archive(String, &'p [u8]),
    /// From its header on.
    Nsis(&'p [u8]),
    Inno,
    /// Itself, packed.
    Upx,
}

/// Hands out the archives in a program, and tells of installers.
pub(super) fn open(bytes: &[u8], opening: &mut Opening<'_, '_>) -> Result<(), Reason> {
    let carried = carried(bytes);
    let is_all = carried.len() <= ARCHIVES_MAX;
    for carried in carried.into_iter().take(ARCHIVES_MAX) {
        opening.go_on()?;
        let trouble = match carried {
            Carried::Archive(name, archive) => {
                opening.lend(&name, archive, None);
                None
            }
            Carried::Nsis(installer) => told("installer", nsis::open(installer, opening)),
            Carried::Inno => told("installer", Err(Reason::Unsupported(FileType::Inno))),
            Carried::Upx => told("upx", upx::open(bytes, opening)),
        };
        if let Some((name, reason)) = trouble {
            opening.budget.count()?;
            opening.missing(name, reason);
        }
    }
    if is_all {
        Ok(())
    } else {
        Err(Reason::TooManyMembers)
    }
}

fn told(name: &str, opened: Result<(), Reason>) -> Option<(&str, Reason)> {
    opened.err().map(|reason| (name, reason))
}

/// What is carried, in the order it lies in: more than are taken, where there are too many.
pub(super) fn carried(bytes: &[u8]) -> Vec<Carried<'_>> {
    let behind = overlay(bytes);
    let behind_at = bytes.len() - behind.len();
    let mut found = Vec::new();
    if upx::is_packed(bytes) {
        found.push(Carried::Upx);
    }
    let is_header = |at: &usize| (behind_at + at).wrapping_sub(4).is_multiple_of(NSIS_STEP);
    let header = memmem::find_iter(behind, NSIS).find(is_header);
    if let Some(header) = header.and_then(|at| bytes.get(behind_at + at - 4..)) {
        found.push(Carried::Nsis(header));
    }
    if memmem::find(behind, INNO).is_some() {
        found.push(Carried::Inno);
    }
    // A zip archive is recognised by its end, so the whole file has been told to be one already.
    let first = identify(behind, "").first().copied();
    if let Some(kind) = first.filter(|kind| kind.is_archive() && *kind != FileType::Zip) {
        found.push(Carried::Archive(
            format!("behind.{}", kind.as_str()),
            behind,
        ));
        return found;
    }
    // Resources of Windows programs are inside them; elsewhere nothing but what lies behind is looked at.
    let from = if bytes.starts_with(b"MZ") {
        0
    } else {
        behind_at
    };
    let mut archives = Vec::new();
    for (magic, ending) in [
        (&b"MSCF\0\0\0\0"[..], "cab"),
        (b"7z\xbc\xaf\x27\x1c\0", "7z"),
        (b"Rar!\x1a\x07", "rar"),
    ] {
        let rest = bytes.get(from..).unwrap_or_default();
        let archive = |at: usize| {
            let archive = rest.get(at..)?;
            let name = format!("at-{:#x}.{ending}", from + at);
            Some((at, name, archive.get(..length(archive)?)?))
        };
        let found = memmem::find_iter(rest, magic).filter_map(archive);
        archives.extend(found.take(ARCHIVES_MAX + 1));
    }
    archives.sort_by_key(|(at, ..)| *at);
    found.extend(
        archives
            .into_iter()
            .map(|(_, name, archive)| Carried::Archive(name, archive)),
    );
    found
}

/// How long an archive that seems to begin here says that it is; none where its header makes no sense,
/// as where a program only knows the magic bytes.
fn length(archive: &[u8]) -> Option<usize> {
    let le32 = |at: usize| Some(u32::from_le_bytes(*archive.get(at..)?.first_chunk()?) as usize);
    let le64 = |at: usize| Some(u64::from_le_bytes(*archive.get(at..)?.first_chunk()?));
    match archive.first()? {
        b'M' => {
            let (size, files) = (le32(8)?, le32(16)?);
            let is_version = archive.get(24..26)? == [3, 1];
            (is_version && files < size && size <= archive.len()).then_some(size)
        }
        b'7' => {
            let (offset, size) = (le64(12)?, le64(20)?);
            let end = offset.checked_add(size)?.checked_add(32)?;
            let end = usize::try_from(end).ok()?;
            (size > 0 && end <= archive.len()).then_some(end)
        }
        // The fourth version has a main header behind the mark, the fifth a checksum and a size.
        _ => match archive.get(6..)? {
            [0, _, _, 0x73, ..] | [1, 0, _, _, _, _, 1..=255, ..] => Some(archive.len()),
            _ => None,
        },
    }
}
