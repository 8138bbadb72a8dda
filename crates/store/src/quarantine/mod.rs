//! Where what was found malicious is kept, so that it can do no harm and can be had back.
//!
//! A folder that only its owner may enter holds a key and one sealed file for each kept one
//! ([`seal`]: XChaCha20-Poly1305 in chunks, draft-irtf-cfrg-xchacha, in the STREAM construction of
//! Hoang, Reyhanitabar, Rogaway and Vizár, 2015). A file is copied into the store, flushed, read back and
//! put in its place by renaming before the original goes, so a kill or a full disk at any moment leaves
//! the original, the copy, or both. What goes is the very file that was read, whatever its name leads to
//! by then ([`folder`]); a file is put back only where nothing is.
//!
//! The key lies beside what it seals: it keeps scanners and thumbs off, not whoever may read the folder.

mod error;
mod folder;
mod give;
mod seal;
mod take;

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use error::QuarantineError;
pub use give::Restored;
pub use take::Request;

const KEY: &str = "key";
const LOCK: &str = "lock";
const FRESH: &str = "new";
const ENDING: &str = "kept";
const KEY_BYTES: usize = 32;
/// Kept files that are listed.
const KEPT_MAX: usize = 1_000_000;

/// What is known of a kept file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Where it was, as bytes: a path need not be text.
    path: Vec<u8>,
    /// Its rights (inode(7)).
    pub mode: u32,
    /// Its owner's number.
    pub user: u32,
    /// Its group's number.
    pub group: u32,
    /// When it was changed last: seconds since 1970 and nanoseconds.
    pub modified: (i64, u32),
    /// When it was read last.
    pub accessed: (i64, u32),
    /// Its bytes.
    pub bytes: u64,
    /// SHA-256 of them, in hexadecimal digits.
    pub sha256: String,
    /// Other names of the same file, which were left where they are.
    pub other_names: u64,
    /// Why it is kept, in the words of who asked for it.
    pub verdict: String,
    /// When it was kept: seconds since 1970.
    pub time: i64,
}

impl Kept {
    /// Where it was.
    pub fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }
}

/// One entry of the store.
#[derive(Debug)]
pub struct Entry {
    /// What it is called there.
    pub id: String,
    /// What is known of it, or why that cannot be told.
    pub kept: Result<Kept, QuarantineError>,
}

/// The store.
#[derive(Clone, Debug)]
pub struct Quarantine {
    dir: PathBuf,
}

impl Quarantine {
    /// The store in `dir`, which is made where it is missing.
    ///
    /// # Errors
    /// When it cannot be made, or others may enter it.
    pub fn open(dir: &Path) -> Result<Self, QuarantineError> {
        let failed = |source| QuarantineError::Store {
            dir: dir.to_path_buf(),
            source,
        };
        let mut builder = DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(failed)?;
        let dir = fs::canonicalize(dir).map_err(failed)?;
        let metadata = fs::symlink_metadata(&dir).map_err(failed)?;
        let is_mine = metadata.uid() == rustix::process::geteuid().as_raw();
        if !is_mine || metadata.mode() & 0o077 != 0 {
            return Err(QuarantineError::NotPrivate { dir });
        }
        Ok(Self { dir })
    }

    /// What is in the store, by id.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self) -> Result<Vec<Entry>, QuarantineError> {
        let mut ids = Vec::new();
        let names = fs::read_dir(&self.dir).map_err(|e| self.failed(e))?;
        for entry in names.take(KEPT_MAX) {
            let path = entry.map_err(|e| self.failed(e))?.path();
            let stem = path.file_stem().and_then(OsStr::to_str);
            if let Some(id) = stem
                && path.extension().is_some_and(|ending| ending == ENDING)
            {
                ids.push(id.to_owned());
            }
        }
        ids.sort_unstable();
        let entry = |id: String| Entry {
            kept: self.kept(&id),
            id,
        };
        Ok(ids.into_iter().map(entry).collect())
    }

    /// What is known of one entry.
    ///
    /// # Errors
    /// When there is none of that id, or it cannot be opened.
    pub fn kept(&self, id: &str) -> Result<Kept, QuarantineError> {
        let mut file = self.entry(id)?;
        Ok(seal::Opened::new(&mut file, &self.key(false)?, id)?.kept)
    }

    /// Deletes an entry for good.
    ///
    /// # Errors
    /// When there is none of that id, or it cannot be removed.
    pub fn delete(&self, id: &str) -> Result<(), QuarantineError> {
        let _lock = self.lock()?;
        self.entry(id)?;
        self.forget(id).map_err(|e| self.failed(e))
    }

    fn forget(&self, id: &str) -> io::Result<()> {
        fs::remove_file(self.file(id))?;
        self.flush()
    }

    fn failed(&self, source: io::Error) -> QuarantineError {
        QuarantineError::Store {
            dir: self.dir.clone(),
            source,
        }
    }

    fn file(&self, id: &str) -> PathBuf {
        self.dir.join(format!("{id}.{ENDING}"))
    }

    fn entry(&self, id: &str) -> Result<File, QuarantineError> {
        let is_id = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let unknown = || QuarantineError::Unknown { id: id.to_owned() };
        if !is_id {
            return Err(unknown());
        }
        File::open(self.file(id)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => unknown(),
            _ => self.failed(error),
        })
    }

    /// Makes what was renamed or removed in the folder last.
    fn flush(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }

    /// Held while something is changed.
    fn lock(&self) -> Result<File, QuarantineError> {
        let path = self.dir.join(LOCK);
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let lock = options.open(path).map_err(|e| self.failed(e))?;
        lock.lock().map_err(|e| self.failed(e))?;
        Ok(lock)
    }

    /// The key, which is made when the first file is kept.
    fn key(&self, may_make: bool) -> Result<[u8; KEY_BYTES], QuarantineError> {
        let path = self.dir.join(KEY);
        let mut key = [0; KEY_BYTES];
        match File::open(&path) {
            Ok(mut file) => {
                let is_whole =
                    file.read_exact(&mut key).is_ok() && file.read(&mut [0]).ok() == Some(0);
                return is_whole.then_some(key).ok_or(QuarantineError::Key { path });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && may_make => {}
            Err(_) => return Err(QuarantineError::Key { path }),
        }
        seal::random(&mut key).map_err(|e| self.failed(e))?;
        let mut file = self.fresh().map_err(|e| self.failed(e))?;
        file.write_all(&key)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(self.dir.join(FRESH), &path))
            .and_then(|()| self.flush())
            .map_err(|e| self.failed(e))?;
        Ok(key)
    }

    /// An empty file that is nothing yet; one that a killed process left goes.
    fn fresh(&self) -> io::Result<File> {
        let path = self.dir.join(FRESH);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut options = OpenOptions::new();
        options.create_new(true).read(true).write(true).mode(0o600);
        options.open(path)
    }
}

#[cfg(test)]
mod tests;
