//! The import ledger: for every file that was named or found, whether it was read, and if not (or
//! not wholly), where it broke, why, and what can be done.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thymus_schema::InputId;

/// What became of an input.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum InputStatus {
    /// Recognised, not yet read to its end.
    #[default]
    Waiting,
    /// Read to its end.
    Read,
    /// Read as far as it could be.
    Partial,
    /// The same content is already part of this import.
    Duplicate,
    /// The same content was imported before, says the state.
    Known,
    /// Not read.
    Refused,
}

/// Something wrong with an input: where, what, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Which input; absent for folders and files that could not be opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<InputId>,
    /// Where in the decompressed file it was met, in bytes.
    pub offset: u64,
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
}

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// The file or folder.
    pub path: PathBuf,
    /// Digest of its content; absent when it could not be opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<InputId>,
    /// Size on disk in bytes.
    pub bytes: u64,
    /// Id of the source kind that reads it; empty when none does.
    pub source: String,
    /// The format or log it is.
    pub format: String,
    /// What became of it.
    pub status: InputStatus,
    /// What was wrong, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

/// Totals over a ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerTotals {
    /// Files and folders listed.
    pub inputs: u64,
    /// Read to the end.
    pub read: u64,
    /// Read as far as possible.
    pub partial: u64,
    /// Same content twice in this import.
    pub duplicate: u64,
    /// Imported before.
    pub known: u64,
    /// Not read.
    pub refused: u64,
    /// Bytes on disk of what was read, wholly or partly.
    pub bytes_read: u64,
}

/// Every input of one import, in the order in which they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// One entry per input.
    pub entries: Vec<LedgerEntry>,
    /// Inputs beyond the most that are listed, and problems beyond the most kept per input.
    pub not_listed: u64,
}

/// Most problems kept for one input.
pub const PROBLEMS_PER_INPUT_MAX: usize = 16;

impl Ledger {
    /// Totals.
    pub fn totals(&self) -> LedgerTotals {
        let mut totals = LedgerTotals {
            inputs: self.entries.len() as u64,
            ..Default::default()
        };
        for entry in &self.entries {
            match entry.status {
                InputStatus::Waiting => {}
                InputStatus::Read => totals.read += 1,
                InputStatus::Partial => totals.partial += 1,
                InputStatus::Duplicate => totals.duplicate += 1,
                InputStatus::Known => totals.known += 1,
                InputStatus::Refused => totals.refused += 1,
            }
            if matches!(entry.status, InputStatus::Read | InputStatus::Partial) {
                totals.bytes_read += entry.bytes;
            }
        }
        totals
    }

    /// Ids of all inputs read by this import, to be remembered in the state.
    pub fn read_ids(&self) -> impl Iterator<Item = InputId> {
        let read =
            |entry: &&LedgerEntry| matches!(entry.status, InputStatus::Read | InputStatus::Partial);
        self.entries
            .iter()
            .filter(read)
            .filter_map(|entry| entry.id)
    }

    pub(crate) fn add_problem(&mut self, problem: Problem) {
        let of_input = |entry: &&mut LedgerEntry| {
            entry.id == problem.input && entry.status != InputStatus::Duplicate
        };
        let Some(entry) = self.entries.iter_mut().find(of_input) else {
            self.not_listed += 1;
            return;
        };
        entry.status = InputStatus::Partial;
        if entry.problems.len() < PROBLEMS_PER_INPUT_MAX {
            entry.problems.push(problem);
        } else {
            self.not_listed += 1;
        }
    }
}
