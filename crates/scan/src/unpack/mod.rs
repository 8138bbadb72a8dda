//! Opens archives and documents and hands out what is in them, one part at a time, in memory.
//!
//! Each format gives what it can: a member that is locked or broken is handed out as a reason, and the
//! others go on. Everything that is read goes through the [`Budget`].

mod ar;
pub(crate) mod cab;
mod cpio;
mod html;
mod iso;
mod mail;
mod msg;
mod nsis;
mod ole;
mod pdf;
mod program;
mod rpm;
mod seven_zip;
mod stream;
mod tar;
pub(crate) mod upx;
pub(crate) mod vba;
mod zip;

pub(crate) use ole::places as ole_places;

use crate::budget::Budget;
use crate::{FileType, Reason};

/// Something inside a file.
pub(crate) enum Part<'p> {
    /// Its name, its bytes, and what it is known to be from where it stood.
    File {
        name: &'p str,
        bytes: &'p [u8],
        known_as: Option<FileType>,
    },
    /// What could not be read.
    Missing { name: &'p str, reason: Reason },
}

/// What opening needs.
pub(crate) struct Opening<'o, 'a> {
    /// Name of what is opened, without folders.
    pub(crate) name: &'o str,
    /// What it may cost.
    pub(crate) budget: &'o Budget<'a>,
    /// Takes what is found.
    pub(crate) give: &'o mut dyn FnMut(Part<'_>),
}

impl Opening<'_, '_> {
    fn file(&mut self, name: &str, bytes: &[u8], known_as: Option<FileType>) {
        (self.give)(Part::File {
            name,
            bytes,
            known_as,
        });
    }

    fn missing(&mut self, name: &str, reason: Reason) {
        (self.give)(Part::Missing { name, reason });
    }

    /// Reads a member to its end and hands out what could be read.
    fn read(&mut self, within: FileType, name: &str, reader: &mut dyn std::io::Read) {
        if let Err(reason) = self.budget.count() {
            return self.missing(name, reason);
        }
        let (held, why) = self.budget.take(within, reader);
        if !held.bytes().is_empty() || why.is_none() {
            self.file(name, held.bytes(), None);
        }
        if let Some(reason) = why {
            self.missing(name, reason);
        }
    }

    /// Hands out a member that lies open in the bytes.
    fn lend(&mut self, name: &str, bytes: &[u8], known_as: Option<FileType>) {
        match self.budget.count() {
            Err(reason) => self.missing(name, reason),
            Ok(()) if bytes.len() as u64 > self.budget.policy.member_bytes_max => {
                self.missing(name, Reason::TooLarge);
            }
            Ok(()) => self.file(name, bytes, known_as),
        }
    }

    fn go_on(&self) -> Result<(), Reason> {
        self.budget.stopped().map_or(Ok(()), Err)
    }
}

/// Whether there is something to open in files of this type.
pub(crate) const fn opens(kind: FileType) -> bool {
    kind.is_archive() || kind.is_document() || kind.is_program()
}

/// Whether there is something to open in this file of this type. Of most types only opening tells.
pub(crate) fn has_parts(kind: FileType, bytes: &[u8]) -> bool {
    !kind.is_program() || !program::carried(bytes).is_empty()
}

/// Opens `bytes` as a file of type `kind`.
///
/// # Errors
/// Why what is in it was not handed out completely, where that is not one member's trouble.
pub(crate) fn open(
    kind: FileType,
    bytes: &[u8],
    opening: &mut Opening<'_, '_>,
) -> Result<(), Reason> {
    match kind {
        FileType::Zip | FileType::Ooxml => zip::open(kind, bytes, opening),
        FileType::SevenZip => seven_zip::open(bytes, opening),
        FileType::Tar => tar::open(&mut &*bytes, opening),
        FileType::Gzip | FileType::Xz | FileType::Zstd | FileType::Bzip2 => {
            stream::open(kind, bytes, opening)
        }
        FileType::Ar | FileType::Deb => ar::open(bytes, opening),
        FileType::Cab => cab::open(bytes, opening),
        FileType::Cpio => cpio::open(&mut &*bytes, opening),
        FileType::Rpm => rpm::open(bytes, opening),
        FileType::Iso => iso::open(bytes, opening),
        FileType::Eml => mail::open(bytes, opening),
        FileType::Ole | FileType::Msi => ole::open(bytes, opening),
        FileType::Pdf => pdf::open(bytes, opening),
        FileType::Html => html::open(bytes, opening),
        kind if kind.is_program() => program::open(bytes, opening),
        kind => Err(Reason::Unsupported(kind)),
    }
}

/// Reads until `buffer` is full or the end: how much was read.
fn fill(reader: &mut dyn std::io::Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..)
        && !rest.is_empty()
    {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Reads and drops `length` bytes; false when there were fewer.
fn skip(reader: &mut dyn std::io::Read, length: u64) -> bool {
    std::io::copy(
        &mut std::io::Read::take(reader, length),
        &mut std::io::sink(),
    )
    .is_ok_and(|skipped| skipped == length)
}

/// For the mutation loop and the fuzzer: opens `bytes` as `kind` under small bounds.
pub(crate) fn fuzz(kind: FileType, bytes: &[u8]) {
    let policy = crate::ScanPolicy {
        member_bytes_max: 1 << 20,
        unpacked_bytes_max: 4 << 20,
        members_max: 200,
        passwords: vec!["infected".to_owned()],
        ..crate::ScanPolicy::default()
    };
    let budget = Budget::new(&policy, bytes.len() as u64, &|| false);
    let mut give = |_: Part<'_>| ();
    let mut opening = Opening {
        name: "name.bin",
        budget: &budget,
        give: &mut give,
    };
    // Whatever comes, it returns; what it says is of no interest here.
    let _opened = open(kind, bytes, &mut opening).is_ok();
}

#[cfg(test)]
mod tests;
