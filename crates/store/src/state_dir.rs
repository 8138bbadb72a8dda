//! The folder named by `--state`.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::StoreError;
use crate::snapshot_file::{Decoded, decode, encode};

const CURRENT: &str = "state.thymus";
const PREVIOUS: &str = "state.previous.thymus";
const FRESH: &str = "state.new.thymus";
const LINKED: &str = "state.link.thymus";
const LOCK: &str = "lock";

/// What a state folder remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sections {
    /// The sections by name, each whole.
    pub by_name: BTreeMap<String, Vec<u8>>,
    /// What was damaged and what became of it, one full sentence each.
    pub remarks: Vec<String>,
}

/// A state folder, locked for this process as long as this value lives.
#[derive(Debug)]
pub struct StateDir {
    dir: PathBuf,
    /// Held, not used: the lock goes with it, also when the process is killed. Who only looks has none.
    _lock: Option<File>,
}

impl StateDir {
    /// Opens the folder, making it where it is missing, and locks it.
    ///
    /// # Errors
    /// When it cannot be made or written to, or when another instance has it.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let folder = |source| StoreError::Folder {
            dir: dir.to_path_buf(),
            source,
        };
        fs::create_dir_all(dir).map_err(folder)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join(LOCK))
            .map_err(folder)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                dir: dir.to_path_buf(),
                _lock: Some(lock),
            }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked {
                dir: dir.to_path_buf(),
            }),
            Err(TryLockError::Error(source)) => Err(folder(source)),
        }
    }

    /// Looks into a folder that may be another process's: a snapshot is put in its place whole, so it can
    /// be read at any moment. Not to be written to.
    pub fn peek(dir: &Path) -> Self {
        Self {
            dir: dir.to_path_buf(),
            _lock: None,
        }
    }

    /// Reads the snapshot. A damaged section is taken from the snapshot before, where it is whole.
    ///
    /// # Errors
    /// When a file is there but cannot be read at all.
    pub fn load(&self) -> Result<Sections, StoreError> {
        let mut remarks = Vec::new();
        let current = self.read(CURRENT, &mut remarks)?;
        let is_whole = current
            .as_ref()
            .is_some_and(|current| current.damaged.is_empty());
        let nothing_yet = current.is_none() && remarks.is_empty();
        if is_whole || nothing_yet {
            return Ok(Sections {
                by_name: current.unwrap_or_default().sections,
                remarks,
            });
        }
        let previous = self.read(PREVIOUS, &mut remarks)?.unwrap_or_default();
        let Some(current) = current else {
            remarks.push(if previous.sections.is_empty() {
                "nothing that was learned could be read; learning starts anew".to_owned()
            } else {
                "the snapshot before it is used; what was learned since is lost".to_owned()
            });
            return Ok(Sections {
                by_name: previous.sections,
                remarks,
            });
        };
        let mut by_name = current.sections;
        for name in current.damaged {
            if let Some(data) = previous.sections.get(&name) {
                remarks.push(format!(
                    "section {name} is damaged and was taken from the snapshot before"
                ));
                by_name.insert(name, data.clone());
            } else {
                remarks.push(format!(
                    "section {name} is damaged and lost; it starts anew"
                ));
            }
        }
        Ok(Sections { by_name, remarks })
    }

    fn read(&self, name: &str, remarks: &mut Vec<String>) -> Result<Option<Decoded>, StoreError> {
        let path = self.dir.join(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::Read { path, source }),
        };
        match decode(&bytes) {
            Ok(decoded) => Ok(Some(decoded)),
            Err(why) => {
                remarks.push(format!("{} cannot be used: {why}", path.display()));
                Ok(None)
            }
        }
    }

    /// Puts a new snapshot in the place of the present one, which becomes the one before. At every
    /// moment the folder holds a whole snapshot.
    ///
    /// # Errors
    /// When it cannot be written; the present snapshot is then untouched.
    pub fn save(&self, sections: &BTreeMap<String, Vec<u8>>) -> Result<(), StoreError> {
        let bytes = encode(sections);
        let size = bytes.len() as u64;
        let [current, previous, fresh, linked] =
            [CURRENT, PREVIOUS, FRESH, LINKED].map(|name| self.dir.join(name));
        let written = File::create(&fresh).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()
        });
        if let Err(source) = written {
            // What was written of it is of no use and may be what fills the disk.
            drop(fs::remove_file(&fresh));
            return Err(StoreError::writing(fresh, size, source));
        }
        let placed = self.place(&current, &previous, &fresh, &linked);
        placed.map_err(|source| StoreError::writing(current, size, source))
    }

    /// Keeps a second name for the present snapshot, then renames the fresh one over it.
    fn place(
        &self,
        current: &Path,
        previous: &Path,
        fresh: &Path,
        linked: &Path,
    ) -> io::Result<()> {
        match fs::remove_file(linked) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match fs::hard_link(current, linked) {
            Ok(()) => fs::rename(linked, previous)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // A file system without hard links gets a copy.
            Err(_) => {
                fs::copy(current, linked)?;
                fs::rename(linked, previous)?;
            }
        }
        fs::rename(fresh, current)?;
        File::open(&self.dir)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections(value: u8) -> BTreeMap<String, Vec<u8>> {
        [
            ("one".to_owned(), vec![value; 50]),
            ("two".to_owned(), vec![value; 5_000]),
        ]
        .into()
    }

    #[test]
    fn a_new_folder_remembers_nothing_and_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(&folder.path().join("deep/er")).unwrap();
        assert_eq!(state.load().unwrap(), Sections::default());
    }

    #[test]
    fn two_instances_do_not_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = StateDir::open(folder.path()).unwrap();
        assert!(matches!(
            StateDir::open(folder.path()),
            Err(StoreError::Locked { .. })
        ));
        drop(first);
        assert!(StateDir::open(folder.path()).is_ok());
    }

    #[test]
    fn a_damaged_section_comes_from_the_snapshot_before() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        state.save(&sections(1)).unwrap();
        state.save(&sections(2)).unwrap();
        let path = folder.path().join(CURRENT);
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let loaded = state.load().unwrap();
        assert_eq!(loaded.by_name["one"], vec![2; 50]);
        assert_eq!(loaded.by_name["two"], vec![1; 5_000]);
        assert_eq!(loaded.remarks.len(), 1);
        assert!(loaded.remarks[0].contains("two"));
    }

    #[test]
    fn a_snapshot_that_is_no_snapshot_gives_way_to_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        state.save(&sections(1)).unwrap();
        state.save(&sections(2)).unwrap();
        fs::write(folder.path().join(CURRENT), b"").unwrap();
        let loaded = state.load().unwrap();
        assert_eq!(loaded.by_name, sections(1));
        assert_eq!(loaded.remarks.len(), 2);
        fs::write(folder.path().join(PREVIOUS), b"nor this").unwrap();
        assert!(state.load().unwrap().by_name.is_empty());
    }

    #[test]
    fn a_failed_write_leaves_the_old_state() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        state.save(&sections(1)).unwrap();
        fs::create_dir(folder.path().join(FRESH)).unwrap();
        let error = state.save(&sections(2)).unwrap_err();
        assert!(error.to_string().contains("as it was before"), "{error}");
        fs::remove_dir(folder.path().join(FRESH)).unwrap();
        assert_eq!(state.load().unwrap().by_name, sections(1));
    }
}
