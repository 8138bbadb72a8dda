//! 7z archives, also locked ones, by the sevenz-rust2 crate. The memory that the archive's coders ask
//! for is read from its directory and refused before anything is decoded.

use std::io::Cursor;

use sevenz_rust2::{Archive, ArchiveReader, Error, Password};

use super::{Opening, skip};
use crate::{FileType, Reason};

const KIND: FileType = FileType::SevenZip;
/// Dictionary a coder may ask for.
const DICTIONARY_BYTES_MAX: u64 = 96 << 20;

/// Hands out the files.
pub(super) fn open(bytes: &[u8], opening: &mut Opening<'_, '_>) -> Result<(), Reason> {
    let budget = opening.budget;
    let mut why = Reason::Broken(KIND);
    let given = &budget.policy.passwords;
    let passwords = std::iter::once(Password::empty())
        .chain(given.iter().map(|word| Password::from(word.as_str())));
    for password in passwords {
        let archive = match Archive::read(&mut Cursor::new(bytes), &password) {
            Ok(archive) => archive,
            Err(error) => {
                why = worth(why, reason(&error));
                continue;
            }
        };
        if dictionary(&archive) > DICTIONARY_BYTES_MAX {
            return Err(Reason::TooLarge);
        }
        match walk(bytes, archive, password, opening) {
            Walked::All => return Ok(()),
            Walked::Stopped(reason) => return Err(reason),
            Walked::Locked(reason) => why = worth(why, reason),
        }
    }
    Err(why)
}

enum Walked {
    All,
    Stopped(Reason),
    /// Nothing came out; another password may do.
    Locked(Reason),
}

fn walk(
    bytes: &[u8],
    archive: Archive,
    password: Password,
    opening: &mut Opening<'_, '_>,
) -> Walked {
    let budget = opening.budget;
    let mut reader = ArchiveReader::from_archive(archive, Cursor::new(bytes), password);
    reader.set_thread_count(1);
    let mut given = 0_u32;
    let mut is_cut = false;
    let walked = reader.for_each_entries(|entry, reader| {
        if entry.is_directory() || !entry.has_stream() {
            return Ok(true);
        }
        let mut reader = budget.meter(reader);
        if entry.size() > budget.policy.member_bytes_max {
            opening.missing(entry.name(), Reason::TooLarge);
            given += 1;
            return Ok(skip(&mut reader, entry.size()));
        }
        let (held, trouble) = budget.take(KIND, &mut reader);
        match trouble {
            // Wrong passwords show as broken data.
            Some(Reason::Broken(_)) if given == 0 => return Ok(false),
            Some(reason) => {
                opening.missing(entry.name(), reason);
                is_cut = true;
            }
            None => match budget.count() {
                Ok(()) => opening.file(entry.name(), held.bytes(), None),
                Err(reason) => opening.missing(entry.name(), reason),
            },
        }
        given += 1;
        Ok(trouble.is_none() && std::io::copy(&mut reader, &mut std::io::sink()).is_ok())
    });
    if let Some(reason) = budget.stopped() {
        return Walked::Stopped(reason);
    }
    match walked {
        Ok(()) if given > 0 || is_cut => Walked::All,
        Ok(()) => Walked::Locked(Reason::Broken(KIND)),
        Err(error) if given > 0 => Walked::Stopped(reason(&error)),
        Err(error) => Walked::Locked(reason(&error)),
    }
}

/// The largest dictionary that a coder of the archive asks for (7zFormat.txt; LZMA and LZMA2).
fn dictionary(archive: &Archive) -> u64 {
    let coders = archive.blocks.iter().flat_map(|block| block.coders.iter());
    let sizes = coders.map(|coder| {
        let properties = coder.properties();
        match coder.encoder_method_id() {
            [3, 1, 1] => properties
                .get(1..5)
                .and_then(|field| field.try_into().ok())
                .map_or(0, |field| u64::from(u32::from_le_bytes(field))),
            [0x21] => match properties.first() {
                Some(40) => u64::from(u32::MAX),
                Some(bits @ 0..40) => u64::from(2 | (bits & 1)) << (bits / 2 + 11),
                _ => 0,
            },
            _ => 0,
        }
    });
    sizes.max().unwrap_or(0)
}

fn reason(error: &Error) -> Reason {
    match error {
        Error::PasswordRequired | Error::MaybeBadPassword(_) => Reason::Encrypted,
        Error::Unsupported(_) | Error::UnsupportedCompressionMethod(_) => Reason::Unsupported(KIND),
        _ => Reason::Broken(KIND),
    }
}

/// That it is locked says more than that it is broken, which a wrong password looks like.
fn worth(old: Reason, new: Reason) -> Reason {
    if old == Reason::Encrypted { old } else { new }
}
