//! Zip archives and Office documents (PKWARE APPNOTE 6.3), with ZipCrypto and AES. The directory at the
//! end is what counts. Members that share bytes are what only bombs have, and are not opened.

use std::io::Cursor;

use ::zip::ZipArchive;
use ::zip::read::read_zipfile_from_stream;
use ::zip::result::ZipError;

use super::Opening;
use crate::{FileType, Reason};

type Archive<'z> = ZipArchive<Cursor<&'z [u8]>>;

/// What is told of a member before it is opened.
struct Head {
    name: String,
    is_file: bool,
    is_locked: bool,
    size: u64,
}

/// Hands out the members.
pub(super) fn open(
    kind: FileType,
    bytes: &[u8],
    opening: &mut Opening<'_, '_>,
) -> Result<(), Reason> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|_| Reason::Broken(kind))?;
    if archive.has_overlapping_files().unwrap_or(false) {
        return Err(Reason::Overlapping);
    }
    if archive.has_duplicate_names() {
        // Which of them an unzipper takes is its choice; the directory gives the last, so the members
        // are taken as they lie.
        if in_sequence(kind, bytes, opening)? {
            return Ok(());
        }
        opening.missing("(hidden)", Reason::SameName);
    }
    for index in 0..archive.len() {
        opening.go_on()?;
        match head(&mut archive, index) {
            Err(reason) => {
                opening.budget.count()?;
                opening.missing(&format!("#{index}"), reason);
            }
            Ok(head) if head.is_file => member(kind, &mut archive, index, &head, opening)?,
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Hands out the members as their own headers stand one behind the other; false when that breaks off.
fn in_sequence(
    kind: FileType,
    bytes: &[u8],
    opening: &mut Opening<'_, '_>,
) -> Result<bool, Reason> {
    let mut rest = Cursor::new(bytes);
    loop {
        opening.go_on()?;
        match read_zipfile_from_stream(&mut rest) {
            Ok(Some(member)) => {
                let name = String::from_utf8_lossy(member.name_raw()).into_owned();
                if !name.ends_with('/') {
                    let mut member = opening.budget.meter(member);
                    opening.read(kind, &name, &mut member);
                }
            }
            Ok(None) => return Ok(true),
            Err(_) => return Ok(false),
        }
    }
}

fn head(archive: &mut Archive<'_>, index: usize) -> Result<Head, Reason> {
    let member = archive
        .by_index_raw(index)
        .map_err(|_| Reason::Broken(FileType::Zip))?;
    Ok(Head {
        name: String::from_utf8_lossy(member.name_raw()).into_owned(),
        is_file: !member.is_dir() || member.size() > 0,
        is_locked: member.encrypted(),
        size: member.size(),
    })
}

fn member(
    kind: FileType,
    archive: &mut Archive<'_>,
    index: usize,
    head: &Head,
    opening: &mut Opening<'_, '_>,
) -> Result<(), Reason> {
    let name = head.name.as_str();
    if head.size > opening.budget.policy.member_bytes_max {
        opening.budget.count()?;
        opening.missing(name, Reason::TooLarge);
        return Ok(());
    }
    if !head.is_locked {
        match archive.by_index(index) {
            Ok(member) => {
                let mut member = opening.budget.meter(member);
                opening.read(kind, name, &mut member);
            }
            Err(error) => {
                opening.budget.count()?;
                opening.missing(name, why(&error, kind));
            }
        }
        return Ok(());
    }
    opening.budget.count()?;
    let budget = opening.budget;
    for password in &budget.policy.passwords {
        let Ok(member) = archive.by_index_decrypt(index, password.as_bytes()) else {
            continue;
        };
        // A wrong password passes ZipCrypto's one check byte now and then; the checksum tells.
        let (held, trouble) = budget.take(kind, &mut budget.meter(member));
        match trouble {
            None => {
                opening.file(name, held.bytes(), None);
                return Ok(());
            }
            Some(Reason::Broken(_)) => {}
            Some(reason) => {
                opening.missing(name, reason);
                return Ok(());
            }
        }
    }
    opening.missing(name, Reason::Encrypted);
    Ok(())
}

fn why(error: &ZipError, kind: FileType) -> Reason {
    match error {
        ZipError::UnsupportedArchive(_) | ZipError::CompressionMethodNotSupported(_) => {
            Reason::Unsupported(kind)
        }
        ZipError::InvalidPassword => Reason::Encrypted,
        _ => Reason::Broken(kind),
    }
}
