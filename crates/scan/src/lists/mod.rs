//! What people decided about files: lists of what is allowed and what is blocked.
//!
//! A list never touches a judgement. It says what counts instead, and the report says so: an allowed
//! file was judged malicious and counts as clean, a blocked one counts as malicious whatever was judged.
//! Every entry has an owner, a reason, a scope and a day after which it does not act. A block outweighs
//! an allow; of several, the first in the file is named.
//!
//! What holds something blocked counts as malicious. What was found only for its members counts as
//! clean when all of those are allowed; allowing an archive allows what is in it.

mod parse;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use globset::GlobSet;

use crate::{FileReport, Outcome, Verdict};

pub use parse::ListError;

/// A day of the calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day {
    /// Year.
    pub year: i16,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day of the month, 1 to 31.
    pub day: u8,
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// Which of the two lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum List {
    /// What it names counts as malicious.
    Block,
    /// What it names counts as clean.
    Allow,
}

impl List {
    /// Its name in files and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Allow => "allow",
        }
    }
}

/// What an entry names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// Bytes, by their SHA-256.
    Sha256([u8; 32]),
    /// Files, by a pattern for their whole path; `*` stays in a folder, `**` does not.
    Path(String),
    /// Members of files, by a pattern for their path in there; `*` goes everywhere.
    Member(String),
}

impl Named {
    /// The key it is written under.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha256",
            Self::Path(_) => "path",
            Self::Member(_) => "member",
        }
    }

    /// What is written there.
    pub fn value(&self) -> String {
        match self {
            Self::Sha256(digest) => thymus_parsers::hex(digest).into(),
            Self::Path(pattern) | Self::Member(pattern) => pattern.clone(),
        }
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListEntry {
    /// The list it is in.
    pub list: List,
    /// Its number there, from 1.
    pub number: usize,
    /// What it names.
    pub named: Named,
    /// The folder in which it acts; `/` is everywhere.
    pub scope: PathBuf,
    /// Who answers for it.
    pub owner: String,
    /// Why it is there.
    pub reason: String,
    /// The last day on which it acts.
    pub expires: Day,
}

/// What counts instead of what was judged, and by which entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'l> {
    /// What counts.
    pub outcome: Outcome,
    /// The entry that says so, of this verdict or of something in it or around it.
    pub entry: &'l ListEntry,
}

/// Both lists, as they act on one day.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    entries: Vec<ListEntry>,
    expired: Vec<ListEntry>,
    digests: BTreeMap<[u8; 32], Vec<usize>>,
    paths: (GlobSet, Vec<usize>),
    members: (GlobSet, Vec<usize>),
}

impl Lists {
    /// The entries that act, blocks first.
    pub fn entries(&self) -> &[ListEntry] {
        &self.entries
    }

    /// Those that do not act any more.
    pub fn expired(&self) -> &[ListEntry] {
        &self.expired
    }

    /// Whether nothing acts.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry for what a verdict is about, whether or not it changes what counts. `path` is absolute
    /// and without links; what comes over standard input has none.
    pub fn matching(&self, path: Option<&Path>, verdict: &Verdict) -> Option<&ListEntry> {
        let by_digest = verdict.sha256.and_then(|digest| self.digests.get(&digest));
        let mut candidates: Vec<usize> = by_digest.cloned().unwrap_or_default();
        let (globs, text) = match (&verdict.member, path) {
            (Some(member), _) => (&self.members, Some(Path::new(member))),
            (None, path) => (&self.paths, path),
        };
        if let Some(text) = text {
            let hits = globs.0.matches(text);
            candidates.extend(hits.iter().filter_map(|hit| globs.1.get(*hit)));
        }
        candidates.sort_unstable();
        let entries = candidates.iter().filter_map(|at| self.entries.get(*at));
        let acts = |entry: &&ListEntry| match path {
            Some(path) => path.starts_with(&entry.scope),
            None => entry.scope == Path::new("/"),
        };
        entries.into_iter().find(acts)
    }

    /// What counts of a file and each of its members, in the order of its verdicts; none where what was
    /// judged counts.
    pub fn decide(&self, path: Option<&Path>, report: &FileReport) -> Vec<Option<Decision<'_>>> {
        let verdicts: Vec<&Verdict> = report.verdicts().collect();
        let entries: Vec<Option<&ListEntry>> = verdicts
            .iter()
            .map(|verdict| self.matching(path, verdict))
            .collect();
        if entries.iter().all(Option::is_none) {
            return vec![None; verdicts.len()];
        }
        let of = |list| move |entry: &&ListEntry| entry.list == list;
        let inside = |outer: usize| {
            let (verdicts, outer) = (&verdicts, verdicts.get(outer).copied());
            (0..verdicts.len()).filter(move |inner| {
                let inner = verdicts.get(*inner).copied();
                outer.zip(inner).is_some_and(|(o, i)| is_inside(o, i))
            })
        };
        let mut decided: Vec<Option<Decision<'_>>> = vec![None; verdicts.len()];
        for (at, entry) in entries.iter().enumerate() {
            let Some(entry) = entry.filter(of(List::Allow)) else {
                continue;
            };
            for covered in inside(at).chain([at]) {
                let is_found = verdicts.get(covered).is_some_and(|v| v.outcome.is_found());
                if let (Some(slot @ None), true) = (decided.get_mut(covered), is_found) {
                    *slot = Some(Decision {
                        outcome: Outcome::Clean,
                        entry,
                    });
                }
            }
        }
        sum_allowed(&verdicts, &inside, &mut decided);
        for (at, entry) in entries.iter().enumerate() {
            let Some(entry) = entry.filter(of(List::Block)) else {
                continue;
            };
            let around = (0..verdicts.len()).filter(|outer| inside(*outer).any(|i| i == at));
            for blocked in around.chain([at]) {
                if let Some(slot) = decided.get_mut(blocked) {
                    *slot = Some(Decision {
                        outcome: Outcome::Malicious,
                        entry,
                    });
                }
            }
        }
        decided
    }
}

/// What was found for its members alone counts as clean once every one that was found is allowed.
fn sum_allowed<I: Iterator<Item = usize>>(
    verdicts: &[&Verdict],
    inside: &impl Fn(usize) -> I,
    decided: &mut [Option<Decision<'_>>],
) {
    // From the inside out: members come after what holds them.
    for at in (0..verdicts.len()).rev() {
        let is_sum = verdicts
            .get(at)
            .is_some_and(|v| v.outcome.is_found() && v.judgement.is_none());
        if !is_sum || decided.get(at).is_some_and(Option::is_some) {
            continue;
        }
        let mut entry = None;
        let mut is_allowed = true;
        for inner in inside(at) {
            let decision = decided.get(inner).copied().flatten();
            let is_found = verdicts.get(inner).is_some_and(|v| v.outcome.is_found());
            is_allowed &= !is_found || decision.is_some();
            entry = entry.or(decision);
        }
        if let (Some(slot), true) = (decided.get_mut(at), is_allowed) {
            *slot = entry;
        }
    }
}

/// Whether the second is about something inside what the first is about.
fn is_inside(outer: &Verdict, inner: &Verdict) -> bool {
    match (&outer.member, &inner.member) {
        (None, Some(_)) => true,
        (Some(outer), Some(inner)) => inner
            .strip_prefix(outer.as_str())
            .is_some_and(|rest| rest.starts_with('!')),
        (_, None) => false,
    }
}

#[cfg(test)]
mod tests;
