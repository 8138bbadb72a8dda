//! ISO 9660 images (ECMA-119), with Joliet names where there are such. Folders are walked once each, so
//! a folder that holds itself ends.

use std::collections::BTreeSet;

use super::Opening;
use crate::{FileType, Reason};

const SECTOR: usize = 2048;
const FOLDERS_MAX: usize = 4096;
const BROKEN: Reason = Reason::Broken(FileType::Iso);

/// A file or folder as a record of its folder names it.
struct Extent {
    name: String,
    start: usize,
    length: usize,
    is_folder: bool,
}

/// Hands out the files.
pub(super) fn open(bytes: &[u8], opening: &mut Opening<'_, '_>) -> Result<(), Reason> {
    let (root, is_wide) = root(bytes).ok_or(BROKEN)?;
    let mut seen = BTreeSet::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        opening.go_on()?;
        if seen.len() >= FOLDERS_MAX {
            return Err(Reason::TooManyMembers);
        }
        if !seen.insert(folder.start) {
            continue;
        }
        let end = folder.start.saturating_add(folder.length).min(bytes.len());
        let records = bytes.get(folder.start..end).ok_or(BROKEN)?;
        for sector in records.chunks(SECTOR) {
            let mut rest = sector;
            while let Some(length) = rest.first().copied().map(usize::from)
                && length >= 34
            {
                opening.go_on()?;
                if let Some(extent) = rest.get(..length).and_then(|r| record(r, is_wide)) {
                    entry(bytes, &folder.name, extent, &mut folders, opening);
                }
                rest = rest.get(length..).unwrap_or_default();
            }
        }
    }
    Ok(())
}

fn entry(
    bytes: &[u8],
    folder: &str,
    extent: Extent,
    folders: &mut Vec<Extent>,
    opening: &mut Opening<'_, '_>,
) {
    if extent.name.is_empty() {
        return;
    }
    let name = if folder.is_empty() {
        extent.name
    } else {
        format!("{folder}/{}", extent.name)
    };
    if extent.is_folder {
        if folders.len() < FOLDERS_MAX {
            folders.push(Extent { name, ..extent });
        }
        return;
    }
    let end = extent.start.saturating_add(extent.length);
    match bytes.get(extent.start..end) {
        Some(body) => opening.lend(&name, body, None),
        None => opening.missing(&name, BROKEN),
    }
}

/// The root folder: of the Joliet descriptor (`%/@`, `%/C`, `%/E`) where there is one, whose names are wide.
fn root(bytes: &[u8]) -> Option<(Extent, bool)> {
    let mut plain = None;
    for number in 16..64 {
        let sector = bytes.get(number * SECTOR..(number + 1) * SECTOR)?;
        if sector.get(1..6) != Some(b"CD001") {
            break;
        }
        let root = || record(sector.get(156..190)?, false);
        match sector.first() {
            Some(1) if plain.is_none() => plain = root(),
            Some(2) if sector.get(88..90) == Some(b"%/") => {
                if let Some(root) = root() {
                    return Some((root, true));
                }
            }
            Some(255) => break,
            _ => {}
        }
    }
    plain.map(|root| (root, false))
}

fn record(record: &[u8], is_wide: bool) -> Option<Extent> {
    let number = |at: usize| {
        let field = record.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(field)).ok()
    };
    let length = usize::from(*record.get(32)?);
    let name = record.get(33..33 + length)?;
    let name = match name {
        // The folder itself and the one above.
        [0 | 1] => String::new(),
        wide if is_wide => {
            let pairs = wide.as_chunks::<2>().0;
            let units: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
            String::from_utf16_lossy(&units)
        }
        plain => String::from_utf8_lossy(plain).into_owned(),
    };
    let name = name.split(';').next().unwrap_or_default().to_owned();
    Some(Extent {
        name,
        start: number(2)?.checked_mul(SECTOR)?,
        length: number(10)?,
        is_folder: record.get(25)? & 2 != 0,
    })
}
