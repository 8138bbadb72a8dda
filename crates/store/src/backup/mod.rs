//! A whole state folder in one file, and back.
//!
//! ```text
//! FILE = zstd(tar):  thymus-backup.json   format, version, when
//!                    state.thymus, journal/…, store/thymus.db, store/events/…
//!                    manifest.json        every file with its size and BLAKE3 digest
//! ```
//! It may be taken while everything runs. Parts of events never change and are kept from going away;
//! snapshots are replaced by renaming, so an open one stays whole; the database copies itself. The
//! journal comes last and its segments are held open from the beginning, so it reaches at least as far
//! as what was copied before it.
//!
//! A backup is put back beside its place, checked against its manifest, and only then renamed into it.

mod error;
mod give;
mod take;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

pub use error::BackupError;
pub use give::{restore, verify};
pub use take::backup;

/// The format this build writes, and the latest it reads.
const FORMAT: u32 = 1;
/// The first entry.
const HEAD: &str = "thymus-backup.json";
/// The last entry.
const MANIFEST: &str = "manifest.json";
/// Where the raw packets lie, which are left out unless asked for.
const PACKETS: &str = "packets";
/// The database, which is copied by itself.
const DATABASE: &str = "store/thymus.db";
/// What a file in the making is called at most: nothing longer is a file of ours.
const COPY_BYTES: usize = 64 << 10;

/// What the first entry says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupHead {
    /// The format.
    pub format: u32,
    /// The version that made it.
    pub thymus: String,
    /// When, RFC 3339.
    pub made_at: String,
}

/// What the last entry says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    /// Every file, by its path in the state folder.
    files: BTreeMap<String, FileEntry>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FileEntry {
    bytes: u64,
    blake3: String,
}

/// What was backed up or put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackupReport {
    /// What it says of itself.
    #[serde(flatten)]
    pub head: BackupHead,
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What was left out, one sentence each.
    pub left_out: Vec<String>,
}

impl BackupReport {
    fn new(head: BackupHead, manifest: &Manifest, left_out: Vec<String>) -> Self {
        Self {
            head,
            files: manifest.files.len() as u64,
            bytes: manifest.files.values().map(|file| file.bytes).sum(),
            left_out,
        }
    }
}

/// Copies everything and tells how much it was and its digest.
fn copy_hashed(from: &mut impl Read, to: &mut impl Write) -> io::Result<FileEntry> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; COPY_BYTES];
    let mut bytes = 0;
    loop {
        let some = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(some) => some,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let piece = buffer.get(..some).unwrap_or_default();
        hasher.update(piece);
        to.write_all(piece)?;
        bytes += some as u64;
    }
    Ok(FileEntry {
        bytes,
        blake3: hasher.finalize().to_hex().to_string(),
    })
}
