//! The journal of decisions: what is in it was decided, what is not was not, whenever the power went.
//!
//! ```text
//! "THYDEC01" · per change: length u32 · first four bytes of BLAKE3 of what follows · JSON
//! ```
//! Each change is on the disk before anything is done about it. A change that was cut by a crash is the last one,
//! and is taken off; a damaged one in the middle is left out and told.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::decision::Change;

const MAGIC: &[u8; 8] = b"THYDEC01";
const HEAD: usize = 8;
/// Longer is no change of ours.
const CHANGE_MAX: usize = 4 << 20;
/// A journal of this size is written anew from what it amounts to, when that is much less.
const COMPACT_AT: u64 = 16 << 20;

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be read or written.
    #[error("cannot {doing} the journal of decisions {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("{path} is no journal of decisions; move it away")]
    Foreign {
        /// Where.
        path: PathBuf,
    },
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    length: u64,
}

/// What a journal held.
#[derive(Debug, Default)]
pub struct Held {
    /// The changes, oldest first.
    pub changes: Vec<Change>,
    /// Places that were damaged, each at least one change.
    pub damaged: usize,
    /// Bytes at the end that a crash cut.
    pub cut: u64,
}

impl Journal {
    /// Opens or makes the journal at `path`.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open(path: &Path) -> Result<(Self, Held), JournalError> {
        let failed = |doing| {
            let path = path.to_path_buf();
            move |source| JournalError::Io {
                doing,
                path,
                source,
            }
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed("open"))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed("read"))?;
        if bytes.len() < HEAD && MAGIC.starts_with(&bytes) {
            file.seek(SeekFrom::Start(0)).map_err(failed("write"))?;
            file.write_all(MAGIC).map_err(failed("write"))?;
            file.sync_all().map_err(failed("write"))?;
            let journal = Self {
                file,
                path: path.to_path_buf(),
                length: HEAD as u64,
            };
            return Ok((journal, Held::default()));
        }
        if !bytes.starts_with(MAGIC) {
            return Err(JournalError::Foreign {
                path: path.to_path_buf(),
            });
        }
        let (held, end) = held(&bytes);
        if let Some(tail) = bytes.get(end..).filter(|tail| !tail.is_empty()) {
            // Nearly always a change that a crash cut; it is kept for whoever wants to look.
            std::fs::write(path.with_extension("cut"), tail).map_err(failed("mend"))?;
        }
        file.set_len(end as u64).map_err(failed("mend"))?;
        file.seek(SeekFrom::End(0)).map_err(failed("read"))?;
        let journal = Self {
            file,
            path: path.to_path_buf(),
            length: end as u64,
        };
        Ok((journal, held))
    }

    /// What a journal holds, for who only reads.
    ///
    /// # Errors
    /// When it cannot be read; a missing one holds nothing.
    pub fn read(path: &Path) -> Result<Held, JournalError> {
        match std::fs::read(path) {
            Ok(bytes) if bytes.starts_with(MAGIC) => Ok(held(&bytes).0),
            Ok(bytes) if MAGIC.starts_with(&bytes) => Ok(Held::default()),
            Ok(_) => Err(JournalError::Foreign {
                path: path.to_path_buf(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Held::default()),
            Err(source) => Err(JournalError::Io {
                doing: "read",
                path: path.to_path_buf(),
                source,
            }),
        }
    }

    /// Writes changes, all or none, and sees them on the disk.
    ///
    /// # Errors
    /// When they cannot be written, as on a full disk; the journal is as it was then.
    pub fn append(&mut self, changes: &[Change]) -> Result<(), JournalError> {
        let mut bytes = Vec::new();
        for change in changes {
            frame(change, &mut bytes);
        }
        let written = self
            .file
            .write_all(&bytes)
            .and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // What came through in part must not stand before what is written next.
            let _is_mended = self
                .file
                .set_len(self.length)
                .and_then(|()| self.file.seek(SeekFrom::End(0)))
                .is_ok();
            return Err(JournalError::Io {
                doing: "write",
                path: self.path.clone(),
                source,
            });
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Whether the journal should be written anew from what it amounts to.
    pub fn is_long(&self) -> bool {
        self.length >= COMPACT_AT
    }

    /// Puts a journal of these changes in the place of this one.
    ///
    /// # Errors
    /// When it cannot be written; the old one stays then.
    pub fn rewrite(&mut self, changes: &[Change]) -> Result<(), JournalError> {
        let failed = |source| JournalError::Io {
            doing: "rewrite",
            path: self.path.clone(),
            source,
        };
        let fresh = self.path.with_extension("new");
        let mut bytes = MAGIC.to_vec();
        for change in changes {
            frame(change, &mut bytes);
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&fresh)
            .map_err(failed)?;
        file.write_all(&bytes).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        std::fs::rename(&fresh, &self.path).map_err(failed)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(failed)?;
        }
        self.file = file;
        self.length = bytes.len() as u64;
        Ok(())
    }
}

fn frame(change: &Change, into: &mut Vec<u8>) {
    // Nothing in a change can fail to be JSON.
    let json = serde_json::to_vec(change).unwrap_or_default();
    into.extend((json.len() as u32).to_le_bytes());
    into.extend(check(&json));
    into.extend(json);
}

fn check(json: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = *blake3::hash(json).as_bytes();
    [a, b, c, d]
}

/// What bytes hold, and where the last whole change ends.
/// Reads what follows the head of a journal, and plays it; for the fuzzer.
pub fn fuzz_journal(bytes: &[u8]) {
    let (held, _) = held(bytes);
    let _ledger = crate::ledger::Ledger::replay(held.changes);
}

fn held(bytes: &[u8]) -> (Held, usize) {
    let mut held = Held::default();
    let mut at = HEAD;
    while let Some((length, sum)) = head(bytes, at) {
        let Some(json) = bytes.get(at + HEAD..at + HEAD + length) else {
            break;
        };
        let change = (check(json) == sum).then(|| serde_json::from_slice(json).ok());
        match change.flatten() {
            Some(change) => held.changes.push(change),
            None => held.damaged += 1,
        }
        at += HEAD + length;
    }
    held.cut = (bytes.len() - at.min(bytes.len())) as u64;
    (held, at)
}

fn head(bytes: &[u8], at: usize) -> Option<(usize, [u8; 4])> {
    let (length, rest) = bytes.get(at..)?.split_first_chunk::<4>()?;
    let sum = rest.first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    (length <= CHANGE_MAX).then_some((length, *sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use thymus_schema::Timestamp;

    fn change(secs: i64) -> Change {
        Change::Resumed {
            at: Timestamp::from_secs(secs),
            by: "ann".into(),
        }
    }

    #[test]
    fn what_was_appended_is_there_and_what_was_cut_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("decisions.jnl");
        let (mut journal, held) = Journal::open(&path).unwrap();
        assert!(held.changes.is_empty());
        journal.append(&[change(1), change(2)]).unwrap();
        journal.append(&[change(3)]).unwrap();
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (mut journal, held) = Journal::open(&path).unwrap();
            assert!(held.changes.len() < 3, "cut at {cut}");
            assert_eq!(held.damaged, 0);
            let known = held.changes.len();
            journal.append(&[change(9)]).unwrap();
            let again = Journal::read(&path).unwrap();
            assert_eq!(again.changes.len(), known + 1, "cut at {cut}");
            assert_eq!(again.changes.last(), Some(&change(9)));
        }
    }

    #[test]
    fn a_damaged_change_is_left_out_and_a_foreign_file_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("decisions.jnl");
        let (mut journal, _) = Journal::open(&path).unwrap();
        journal.append(&[change(1), change(2), change(3)]).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x55;
        std::fs::write(&path, bytes).unwrap();
        let held = Journal::read(&path).unwrap();
        assert_eq!((held.changes.len(), held.damaged), (2, 1));
        std::fs::write(&path, "something else").unwrap();
        assert!(matches!(
            Journal::open(&path),
            Err(JournalError::Foreign { .. })
        ));
    }

    #[test]
    fn a_journal_that_is_written_anew_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("decisions.jnl");
        let (mut journal, _) = Journal::open(&path).unwrap();
        journal.append(&[change(1), change(2), change(3)]).unwrap();
        journal.rewrite(&[change(3)]).unwrap();
        journal.append(&[change(4)]).unwrap();
        let held = Journal::read(&path).unwrap();
        assert_eq!(held.changes, [change(3), change(4)]);
    }
}
