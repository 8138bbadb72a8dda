//! The decisions, for processes that do not carry them out: the console, the bouncers' API, commands.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use thymus_respond::{Change, Journal, JournalError, Ledger};
use thymus_schema::Timestamp;

use super::folder;

/// Reads the journal of decisions while the enforcer writes it, and again only when it has changed.
#[derive(Debug)]
pub(crate) struct Reader {
    folder: PathBuf,
    kept: Mutex<Option<(Stamp, Arc<Ledger>)>>,
}

/// What tells one state of the folder from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    /// Device, inode, length, and seconds and nanoseconds of the last change; none while there is no journal.
    journal: Option<(u64, u64, u64, i64, i64)>,
    /// `thymus panic` was here, and no enforcer has written that down yet.
    panicked: bool,
}

impl Reader {
    /// Of the state folder.
    pub(crate) fn new(state: &Path) -> Self {
        Self {
            folder: folder(state),
            kept: Mutex::new(None),
        }
    }

    /// All decisions as they stand at `now`. An enforcer that is not there ends nothing; what is over by the clock is
    /// over all the same, and after `thymus panic` everything is.
    ///
    /// # Errors
    /// When there is a journal and it cannot be read.
    pub(crate) fn ledger(&self, now: Timestamp) -> Result<Arc<Ledger>, JournalError> {
        let journal = self.folder.join("decisions.jnl");
        // Looked at before it is read: what is written meanwhile makes it differ the next time.
        let stamp = Stamp {
            journal: metadata(&journal)?.map(|found| {
                let (dev, ino) = (found.dev(), found.ino());
                (dev, ino, found.len(), found.mtime(), found.mtime_nsec())
            }),
            panicked: self.folder.join("panic").exists(),
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.take().filter(|(of, _)| *of == stamp);
        let (_, mut ledger) = match known {
            Some(known) => known,
            None => (stamp, Arc::new(read(&journal)?)),
        };
        // A clock that was set back makes nothing hold longer.
        let now = now.max(ledger.now());
        let mut over = ledger.due(now);
        if stamp.panicked && !ledger.is_halted() {
            let by = "thymus panic".into();
            over.push(Change::Panicked { at: now, by });
        }
        if !over.is_empty() {
            let ledger = Arc::make_mut(&mut ledger);
            for change in &over {
                // What is due is of the ledger itself, so it fits.
                let _fits = ledger.apply(change).is_ok();
            }
        }
        *kept = Some((stamp, Arc::clone(&ledger)));
        Ok(ledger)
    }
}

fn read(journal: &Path) -> Result<Ledger, JournalError> {
    Ok(Ledger::replay(Journal::read(journal)?.changes).0)
}

fn metadata(journal: &Path) -> Result<Option<Metadata>, JournalError> {
    match std::fs::metadata(journal) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(JournalError::Io {
            doing: "look at",
            path: journal.to_path_buf(),
            source,
        }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::time::Duration;

    use super::*;
    use thymus_respond::{Decision, DecisionId, Mode, Rehearsal, State, Verb};
    use thymus_schema::EntityId;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(1_800_000_000 + secs)
    }

    fn active(id: u64, until: Timestamp) -> Change {
        let decision = Decision {
            id: DecisionId(id),
            incident: "incident".into(),
            device: EntityId::device("10.0.0.5"),
            verb: Verb::Quarantine,
            cuts: Vec::new(),
            reason: String::new(),
            mode: Mode::Act,
            rehearsal: Rehearsal::default(),
            proposed_at: at(0),
            duration: Duration::from_hours(1),
            stage: 0,
            state: State::Active,
            began_at: Some(at(0)),
            until: Some(until),
            confirm_by: None,
            history: Vec::new(),
        };
        Change::Made {
            decision: Box::new(decision),
        }
    }

    fn holding(reader: &Reader, now: Timestamp) -> Vec<u64> {
        let ledger = reader.ledger(now).unwrap();
        ledger.active().map(|one| one.id.0).collect()
    }

    #[test]
    fn what_is_written_is_seen_and_what_is_over_is_over() {
        let state = tempfile::tempdir().unwrap();
        let reader = Reader::new(state.path());
        assert!(holding(&reader, at(1)).is_empty(), "no journal yet");
        std::fs::create_dir(folder(state.path())).unwrap();
        let path = folder(state.path()).join("decisions.jnl");
        let (mut journal, _) = Journal::open(&path).unwrap();
        journal
            .append(&[active(1, at(10)), active(2, at(3600))])
            .unwrap();
        assert_eq!(holding(&reader, at(1)), [1, 2]);
        let (first, again) = (reader.ledger(at(2)).unwrap(), reader.ledger(at(3)).unwrap());
        assert!(Arc::ptr_eq(&first, &again), "read once");
        assert_eq!(holding(&reader, at(11)), [2]);
        assert_eq!(holding(&reader, at(1)), [2], "the clock was set back");
        journal.append(&[active(3, at(3600))]).unwrap();
        assert_eq!(holding(&reader, at(12)), [2, 3]);
        journal.rewrite(&[active(3, at(3600))]).unwrap();
        assert_eq!(holding(&reader, at(13)), [3]);
    }

    #[test]
    fn after_a_panic_nothing_holds_though_no_enforcer_is_there() {
        let state = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder(state.path())).unwrap();
        let path = folder(state.path()).join("decisions.jnl");
        let (mut journal, _) = Journal::open(&path).unwrap();
        journal.append(&[active(1, at(3600))]).unwrap();
        let reader = Reader::new(state.path());
        assert_eq!(holding(&reader, at(1)), [1]);
        let mark = folder(state.path()).join("panic");
        std::fs::write(&mark, "somebody").unwrap();
        assert!(holding(&reader, at(2)).is_empty());
        assert!(reader.ledger(at(2)).unwrap().is_halted());
        std::fs::remove_file(&mark).unwrap();
        assert_eq!(holding(&reader, at(3)), [1]);
    }

    #[test]
    fn a_foreign_file_is_an_error_and_not_an_empty_ledger() {
        let state = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder(state.path())).unwrap();
        std::fs::write(folder(state.path()).join("decisions.jnl"), "something else").unwrap();
        assert!(Reader::new(state.path()).ledger(at(1)).is_err());
    }
}
