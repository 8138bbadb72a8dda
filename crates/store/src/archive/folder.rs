//! What lies in the folder of an archive, and who may take something away.
//!
//! ```text
//! lock                     held by the one that writes
//! readers                  held in common by those that read; what is replaced or expired goes only
//!                          when nobody does
//! position.json            up to which frame of the journal parts were written that are gone since
//! 2026-11-23/10-000.parquet  a part: events of one hour
//! part.new                 a part that is being written
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::ArchiveError;
use super::part::{PartInfo, PartName};

const LOCK: &str = "lock";
const READERS: &str = "readers";

/// What was found in the folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    /// The parts that count.
    pub(crate) parts: BTreeMap<PartName, Arc<PartInfo>>,
    /// Parts whose rows are in another part too.
    pub(crate) replaced: Vec<(PartName, PathBuf)>,
    /// Parts that cannot be read, with the reason.
    pub(crate) damaged: Vec<(PathBuf, String)>,
}

/// The size of a file when it was read, and what it says of itself, or why it cannot be read.
type Reading = (u64, Result<Arc<PartInfo>, String>);

/// What is known of files that never change, so that they are opened once.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<BTreeMap<PathBuf, Reading>>);

impl Known {
    /// Lists the parts whose hour `wanted` accepts.
    pub(crate) fn list(
        &self,
        dir: &Path,
        wanted: impl Fn(i64) -> bool,
    ) -> Result<Listing, ArchiveError> {
        let mut listing = Listing::default();
        let mut replaced = BTreeSet::new();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, path) in files(dir)? {
            if !wanted(name.hour) {
                continue;
            }
            let Ok(bytes) = fs::metadata(&path).map(|known| known.len()) else {
                continue;
            };
            let stale = known.get(&path).is_none_or(|(then, _)| *then != bytes);
            if stale {
                let read = PartInfo::read(name, &path).map(Arc::new);
                known.insert(
                    path.clone(),
                    (bytes, read.map_err(|error| error.to_string())),
                );
            }
            match known.get(&path) {
                Some((_, Ok(info))) => {
                    let gone = info.meta.replaces.iter();
                    let day = name.day();
                    replaced.extend(gone.filter_map(|file| PartName::parse(&day, file)));
                    listing.parts.insert(name, Arc::clone(info));
                }
                Some((_, Err(why))) => listing.damaged.push((path, why.clone())),
                None => {}
            }
        }
        for name in replaced {
            if let Some(info) = listing.parts.remove(&name) {
                listing.replaced.push((name, info.path.clone()));
            }
        }
        Ok(listing)
    }

    /// Forgets a file that is gone.
    pub(crate) fn forget(&self, path: &Path) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(path);
    }
}

/// Every file with the name of a part, oldest first.
fn files(dir: &Path) -> Result<Vec<(PartName, PathBuf)>, ArchiveError> {
    let mut found = Vec::new();
    let days = match fs::read_dir(dir) {
        Ok(days) => days,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(ArchiveError::io("list", dir, error)),
    };
    for day in days.flatten() {
        let day_name = day.file_name();
        let Some(day_name) = day_name.to_str() else {
            continue;
        };
        if day_name.len() != 10 {
            continue;
        }
        let Ok(entries) = fs::read_dir(day.path()) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name
                .to_str()
                .and_then(|name| PartName::parse(day_name, name));
            found.extend(name.map(|name| (name, entry.path())));
        }
    }
    found.sort();
    Ok(found)
}

/// Locks the folder for the one that writes.
pub(crate) fn lock_writer(dir: &Path) -> Result<File, ArchiveError> {
    fs::create_dir_all(dir).map_err(|error| ArchiveError::io("create", dir, error))?;
    let file = lock_file(dir, LOCK)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ArchiveError::Locked {
            dir: dir.to_path_buf(),
        }),
        Err(TryLockError::Error(error)) => Err(ArchiveError::io("lock", &dir.join(LOCK), error)),
    }
}

/// Keeps parts from going away as long as the value lives; `None` where there is nothing to lock,
/// as in a copy of a folder.
pub(crate) fn lock_reader(dir: &Path) -> Option<File> {
    let file = File::open(dir.join(READERS)).ok()?;
    file.lock_shared().ok()?;
    Some(file)
}

/// The right to take parts away; `None` while somebody reads.
pub(crate) fn lock_remover(dir: &Path) -> Option<File> {
    let file = lock_file(dir, READERS).ok()?;
    file.try_lock().ok()?;
    Some(file)
}

/// Makes the file that readers lock.
pub(crate) fn prepare_readers(dir: &Path) -> Result<(), ArchiveError> {
    lock_file(dir, READERS).map(drop)
}

fn lock_file(dir: &Path, name: &str) -> Result<File, ArchiveError> {
    let path = dir.join(name);
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| ArchiveError::io("open", &path, error))
}
