//! What people decided about files: lists of what is allowed and what is blocked.
//!
//! A list never touches a judgement. It says what counts instead, and the report says so: an allowed
//! file was judged malicious and counts as clean, a blocked one counts as malicious whatever was judged.
//! Every entry has an owner, a reason, a scope and a day after which it does not act. A block outweighs
//! an allow; of several, the first in the file is named.
//!
//! What holds something blocked counts as malicious. What was found only for its members counts as
//! clean when all of those are allowed and the rest was judged; allowing an archive allows what is in it.

mod parse;
mod signer;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use globset::GlobSet;

use crate::{FileReport, Outcome, Reason, Verdict};

pub use parse::ListError;
pub use signer::Unsigned;

/// Steps of a member's path that are looked up: archives nest less deep, so more are of a name's making.
const STEPS_MAX: usize = 64;

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
    /// Windows programs, by who signed them: nothing else has a signature that is read.
    Signer {
        /// SHA-256 of the signer's certificate in DER, or of one that vouches for it.
        certificate: [u8; 32],
        /// What the signer's common name or organisation must be.
        subject: Option<String>,
    },
}

impl Named {
    /// The key it is written under.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha256",
            Self::Path(_) => "path",
            Self::Member(_) => "member",
            Self::Signer { .. } => "signer",
        }
    }

    /// What is written there.
    pub fn value(&self) -> String {
        match self {
            Self::Sha256(digest) => thymus_parsers::hex(digest).into(),
            Self::Signer { certificate, .. } => thymus_parsers::hex(certificate).into(),
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

impl ListEntry {
    /// Whether its scope holds a file; what has no path is everywhere only.
    fn acts_on(&self, path: Option<&Path>) -> bool {
        match path {
            Some(path) => path.starts_with(&self.scope),
            None => self.scope == Path::new("/"),
        }
    }
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
    signers: BTreeMap<[u8; 32], Vec<usize>>,
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
        let links = verdict.signatures.iter().flat_map(|signed| &signed.chain);
        let by_signer = links.filter_map(|link| self.signers.get(&link.sha256));
        candidates.extend(by_signer.flatten().copied().filter(|at| {
            let entry = self.entries.get(*at);
            entry.is_some_and(|entry| signer::names(&entry.named, verdict) == Some(Ok(())))
        }));
        candidates.sort_unstable();
        let entries = candidates.iter().filter_map(|at| self.entries.get(*at));
        entries.into_iter().find(|entry| entry.acts_on(path))
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
        let above = above(&verdicts);
        let listed = |at: usize, list| {
            let entry = entries.get(at).copied().flatten();
            entry.filter(|entry| entry.list == list)
        };
        let mut decided: Vec<Option<Decision<'_>>> = Vec::with_capacity(verdicts.len());
        for (at, (verdict, above)) in verdicts.iter().zip(&above).enumerate() {
            let around = above.iter().rev().copied();
            let mut allows = std::iter::once(at).chain(around);
            let entry = allows.find_map(|at| listed(at, List::Allow));
            let outcome = Outcome::Clean;
            let decision = entry.map(|entry| Decision { outcome, entry });
            decided.push(decision.filter(|_| verdict.outcome.is_found()));
        }
        sum_allowed(&verdicts, &above, &mut decided);
        for (at, above) in above.iter().enumerate() {
            let Some(entry) = listed(at, List::Block) else {
                continue;
            };
            let outcome = Outcome::Malicious;
            for blocked in above.iter().chain([&at]) {
                if let Some(slot) = decided.get_mut(*blocked)
                    && slot.is_none_or(|old| old.entry.list == List::Allow || *blocked == at)
                {
                    *slot = Some(Decision { outcome, entry });
                }
            }
        }
        decided
    }
}

/// What was found for its members alone counts as those do once every one that was found is allowed: as
/// not judged where one in an archive is not, else as clean.
fn sum_allowed(verdicts: &[&Verdict], above: &[Vec<usize>], decided: &mut [Option<Decision<'_>>]) {
    #[derive(Clone, Default)]
    struct Inside<'l> {
        allowed: Option<Decision<'l>>,
        is_found: bool,
        is_not_judged: bool,
    }
    let mut inside = vec![Inside::default(); verdicts.len()];
    for ((verdict, above), decision) in verdicts.iter().zip(above).zip(decided.iter()) {
        for outer in above {
            let Some(inside) = inside.get_mut(*outer) else {
                continue;
            };
            match (verdict.outcome, decision) {
                // Not all that was found is told of then.
                (Outcome::NotJudged(Reason::TooManyMembers), _) => inside.is_found = true,
                (Outcome::NotJudged(_), _) => inside.is_not_judged = true,
                (Outcome::Clean, _) => {}
                (_, Some(decision)) => inside.allowed = inside.allowed.or(Some(*decision)),
                (_, None) => inside.is_found |= verdict.judgement.is_some(),
            }
        }
    }
    for ((verdict, inside), slot) in verdicts.iter().zip(inside).zip(decided) {
        let is_sum = verdict.outcome.is_found() && verdict.judgement.is_none();
        if !is_sum || slot.is_some() || inside.is_found {
            continue;
        }
        let outcome = if inside.is_not_judged && verdict.kind.is_archive() {
            Outcome::NotJudged(Reason::MembersNotJudged)
        } else {
            Outcome::Clean
        };
        *slot = inside
            .allowed
            .map(|allowed| Decision { outcome, ..allowed });
    }
}

/// For each verdict the numbers of those about what holds it, from the outside in.
fn above(verdicts: &[&Verdict]) -> Vec<Vec<usize>> {
    // The last of a name so far: what is in it comes behind it.
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    let mut all = Vec::with_capacity(verdicts.len());
    for (at, verdict) in verdicts.iter().enumerate() {
        let Some(member) = verdict.member.as_deref() else {
            all.push(Vec::new());
            continue;
        };
        let steps = member.match_indices('!').take(STEPS_MAX);
        let outer = steps.filter_map(|(end, _)| numbers.get(member.get(..end)?));
        all.push(std::iter::once(0).chain(outer.copied()).collect());
        numbers.insert(member, at);
    }
    all
}

#[cfg(test)]
mod tests;
