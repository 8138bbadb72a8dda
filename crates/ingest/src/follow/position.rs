//! Where following stands, in one file: a digest of what follows, then JSON. It is written beside the old
//! one, synced and put in its place; the one before stays as `.previous`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thymus_schema::{Certificate, Coverage, InputId, LocalNetworks, Timestamp};

use super::folder::{FileKey, Stamp};
use super::log::{FollowCounters, KeptLog};
use super::tail::{Fingerprint, Place};
use super::window::KeptWindow;

/// The layout of what this version writes and reads.
const VERSION: u32 = 1;
/// Largest position file that is read.
const BYTES_MAX: u64 = 1 << 30;

/// A file that is done with, by which a copy of it is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Past {
    pub(super) fingerprint: Fingerprint,
    pub(super) log: u32,
    pub(super) generation: u64,
    pub(super) id: InputId,
    /// So far it was read.
    pub(super) offset: u64,
    pub(super) line: u64,
    /// So many more bytes had been seen.
    pub(super) unread: u64,
}

/// Where following stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    pub(super) version: u32,
    pub(super) local: LocalNetworks,
    pub(super) next_log: u32,
    pub(super) logs: Vec<KeptLog>,
    pub(super) files: Vec<Place>,
    pub(super) past: Vec<Past>,
    /// Files that are read or left out, as they were then.
    pub(super) done: Vec<(FileKey, Stamp)>,
    pub(super) window: KeptWindow,
    /// Certificates that handshakes held back may still want.
    pub(super) certificates: Vec<(Box<str>, Certificate)>,
    pub(super) told: Option<Timestamp>,
    pub(super) closed: Coverage,
    pub(super) closed_counters: FollowCounters,
}

impl Position {
    pub(super) const VERSION: u32 = VERSION;

    /// Reads the position at `path`, or the one before it when that is damaged or missing; with it, what
    /// was wrong. `None` when there is neither.
    ///
    /// # Errors
    /// When there is something and none of it can be read.
    pub fn load(path: &Path) -> io::Result<Option<(Self, Option<String>)>> {
        let first = match read(path) {
            Ok(position) => return Ok(Some((position, None))),
            Err(error) => error,
        };
        match read(&previous(path)) {
            Ok(position) => Ok(Some((position, Some(first.to_string())))),
            Err(second)
                if first.kind() == io::ErrorKind::NotFound
                    && second.kind() == io::ErrorKind::NotFound =>
            {
                Ok(None)
            }
            Err(_) => Err(first),
        }
    }

    /// Writes it to `path`. A kill or a full disk at any moment leaves one that can be read.
    ///
    /// # Errors
    /// When it cannot be written; what was there before is then still there.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let body = serde_json::to_vec(self)?;
        let digest = blake3::hash(&body).to_hex();
        let new = beside(path, ".new");
        let mut file = File::create(&new)?;
        file.write_all(digest.as_bytes())?;
        file.write_all(b"\n")?;
        file.write_all(&body)?;
        file.sync_all()?;
        match fs::rename(path, previous(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::rename(&new, path)?;
        let folder = path.parent().filter(|path| !path.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

fn read(path: &Path) -> io::Result<Position> {
    let damaged = |why: &str| {
        let text = format!("{}: {why}", path.display());
        io::Error::new(io::ErrorKind::InvalidData, text)
    };
    if fs::metadata(path)?.len() > BYTES_MAX {
        return Err(damaged("too large for a position file"));
    }
    let bytes = fs::read(path)?;
    let (digest, rest) = bytes
        .split_at_checked(64)
        .ok_or_else(|| damaged("cut off"))?;
    let body = rest.strip_prefix(b"\n").unwrap_or_default();
    if blake3::hash(body).to_hex().as_bytes() != digest {
        return Err(damaged("damaged: its digest does not fit"));
    }
    let position: Position =
        serde_json::from_slice(body).map_err(|error| damaged(&error.to_string()))?;
    if position.version != VERSION {
        return Err(damaged("written by another version"));
    }
    Ok(position)
}

fn previous(path: &Path) -> PathBuf {
    beside(path, ".previous")
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}
