//! Takes a file into the store.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{FileType, RenameFlags, Stat, fstat, renameat_with};
use rustix::io::Errno;

use super::folder::{NotRemoved, Place, is_same};
use super::seal::{self, Trouble};
use super::{FRESH, Kept, Quarantine, QuarantineError};

/// What to keep.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// Where it is.
    pub path: &'r Path,
    /// Device and inode of the file that was judged: another of the same name is left alone.
    pub id: Option<(u64, u64)>,
    /// Its SHA-256 in hexadecimal digits, where it was judged.
    pub sha256: Option<&'r str>,
    /// Why it is kept.
    pub verdict: &'r str,
    /// The time, in seconds since 1970.
    pub time: i64,
}

impl Quarantine {
    /// Keeps a file: its sealed copy is in the store for good before the original goes. Gives the id.
    ///
    /// # Errors
    /// When it cannot be read, kept or removed. Except for [`QuarantineError::Stray`], the original is
    /// where it was, and nothing is kept.
    pub fn add(&self, request: &Request<'_>) -> Result<(String, Kept), QuarantineError> {
        self.take(request, Place::named)
    }

    /// The same for a path on which nothing may be a link, neither the file nor a folder above it.
    ///
    /// # Errors
    /// As [`Quarantine::add`].
    pub fn add_exactly(&self, request: &Request<'_>) -> Result<(String, Kept), QuarantineError> {
        self.take(request, Place::exactly)
    }

    fn take(
        &self,
        request: &Request<'_>,
        place: fn(&Path) -> io::Result<Place>,
    ) -> Result<(String, Kept), QuarantineError> {
        let _lock = self.lock()?;
        let path = || request.path.to_path_buf();
        let unreadable = |source: io::Error| match source.raw_os_error() {
            // What O_NOFOLLOW says of a link.
            Some(code) if code == Errno::LOOP.raw_os_error() => {
                QuarantineError::NotAFile { path: path() }
            }
            _ => QuarantineError::Read {
                path: path(),
                source,
            },
        };
        let place = place(request.path).map_err(unreadable)?;
        let mut original = place.read().map_err(unreadable)?;
        let stat = fstat(&original).map_err(|e| unreadable(e.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(QuarantineError::NotAFile { path: path() });
        }
        let changed = || QuarantineError::Changed { path: path() };
        if request
            .id
            .is_some_and(|id| id != (stat.st_dev, stat.st_ino))
        {
            return Err(changed());
        }
        let kept = self.copy(&mut original, &place, &stat, request)?;
        let is_judged = request.sha256.is_none_or(|sha256| sha256 == kept.sha256);
        let now = fstat(&original).map_err(|e| unreadable(e.into()))?;
        if !is_judged || !is_same(&stat, &now) {
            self.drop_fresh();
            return Err(changed());
        }
        let copying = |source| QuarantineError::Copy {
            path: path(),
            source,
        };
        let id = self.name(&kept).map_err(|error| {
            self.drop_fresh();
            copying(error)
        })?;
        let trouble = match place.remove(&stat, &id) {
            Ok(()) => return Ok((id, kept)),
            Err(NotRemoved::Stray(path, source)) => {
                return Err(QuarantineError::Stray { id, path, source });
            }
            Err(NotRemoved::Changed) => changed(),
            Err(NotRemoved::Refused(source)) => QuarantineError::Remove {
                path: path(),
                source,
            },
        };
        self.forget(&id).map_err(|e| self.failed(e))?;
        Err(trouble)
    }

    /// Seals a copy under a name that means nothing yet, and reads it back.
    fn copy(
        &self,
        original: &mut File,
        place: &Place,
        stat: &Stat,
        request: &Request<'_>,
    ) -> Result<Kept, QuarantineError> {
        let copying = |source| QuarantineError::Copy {
            path: request.path.to_path_buf(),
            source,
        };
        let links = original.metadata().map_err(copying)?.nlink();
        let key = self.key(true)?;
        let mut fresh = self.fresh().map_err(copying)?;
        let told = |bytes, sha256| Kept {
            path: place.path.as_os_str().as_encoded_bytes().to_vec(),
            mode: stat.st_mode & 0o7777,
            user: stat.st_uid,
            group: stat.st_gid,
            modified: (stat.st_mtime, stat.st_mtime_nsec as u32),
            accessed: (stat.st_atime, stat.st_atime_nsec as u32),
            bytes,
            sha256,
            other_names: links.saturating_sub(1),
            verdict: request.verdict.to_owned(),
            time: request.time,
        };
        let sealed = seal::seal(&key, original, &mut fresh, told)
            .map_err(|trouble| match trouble {
                Trouble::Write(source) => copying(source),
                Trouble::Read(source) => QuarantineError::Read {
                    path: request.path.to_path_buf(),
                    source,
                },
            })
            .and_then(|kept| {
                fresh.sync_all().map_err(copying)?;
                let mut opened = seal::Opened::new(&mut fresh, &key, FRESH)?;
                opened.write(&mut io::sink(), copying)?;
                Ok(kept)
            });
        sealed.inspect_err(|_| self.drop_fresh())
    }

    fn drop_fresh(&self) {
        // What is left of it is removed before the next is written.
        let _is_gone = fs::remove_file(self.dir.join(FRESH)).is_ok();
    }

    /// Gives the copy its id, which is the beginning of its digest and a number.
    fn name(&self, kept: &Kept) -> io::Result<String> {
        let digest: String = kept.sha256.chars().take(12).collect();
        let folder = File::open(&self.dir)?;
        for number in 1_u32.. {
            let id = format!("{digest}-{number}");
            let name = format!("{id}.{}", super::ENDING);
            match renameat_with(&folder, FRESH, &folder, name, RenameFlags::NOREPLACE) {
                Ok(()) => {
                    folder.sync_all()?;
                    return Ok(id);
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::ErrorKind::StorageFull.into())
    }
}
