//! Compares what a new model makes of files with what the one in use does, and whether it calls more of
//! them bad than it promises.
//!
//! The files are taken to be harmless. A model promises of each type that it judges which share of harmless
//! files it calls suspicious or worse, and malicious. For each promise the chance is worked out that so many
//! findings or more come up though it is kept (the upper tail of the binomial distribution); the run fails
//! when one of them is below [`ALPHA`] divided by the number of promises that were tried (Bonferroni), so a
//! model that keeps its promises fails one run in twenty at most.
//!
//! Passing says that the files speak not against the promise, not that it holds: [`Tried::at_most`] gives the
//! share that they leave possible (the one-sided 95 % bound of Clopper and Pearson, Biometrika 1934).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::{FileReport, FileType, Leaning, Verdict};

/// How often a run may fail though every promise is kept.
pub const ALPHA: f64 = 0.05;
/// Different contents that are told apart; more are not counted.
const CONTENTS_MAX: usize = 4_000_000;
/// Changes that are kept with their paths.
const CHANGES_MAX: usize = 10_000;

/// A type of file with the shares of harmless ones that are called suspicious or worse, and malicious, if
/// any are.
pub type Promise = (String, f64, Option<f64>);

/// What both models make of files.
#[derive(Debug)]
pub struct Shadow {
    old: Option<String>,
    new: String,
    promises: BTreeMap<String, (f64, Option<f64>)>,
    known: BTreeSet<[u8; 32]>,
    types: BTreeMap<FileType, Counts>,
    changes: Vec<Change>,
    changes_left_out: u64,
    not_counted: u64,
    unlike: u64,
}

/// How many different contents of a type were judged how: by the model in use and by the new one, from not
/// judged to malicious.
type Counts = [[u64; 4]; 4];

/// Something that the two models judge differently.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The file.
    pub path: PathBuf,
    /// Path inside it.
    pub member: Option<String>,
    /// Its type.
    pub kind: FileType,
    /// What the model in use says, none where it does not judge it, and of which share of harmless files it
    /// does.
    pub old: Option<(Leaning, f32)>,
    /// The same of the new one.
    pub new: Option<(Leaning, f32)>,
}

/// What became of one promise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tried {
    /// Share of harmless files that may be found.
    pub promised: f64,
    /// How many that would be.
    pub expected: f64,
    /// How many were.
    pub seen: u64,
    /// The chance of so many or more where the promise is kept.
    pub chance: f64,
    /// The share that may be found after all, for all that these files show.
    pub at_most: f64,
    /// Whether the files do not speak against it.
    pub is_kept: bool,
}

/// What became of a type.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeResult {
    /// The type.
    pub kind: FileType,
    /// Different contents that the new model judged.
    pub judged: u64,
    /// Of those that either judged, how many the one in use judged.
    pub judged_before: u64,
    /// Suspicious or worse.
    pub found: Option<Tried>,
    /// Malicious.
    pub malicious: Option<Tried>,
    /// How many of what either judged are judged how before and now, from not judged to malicious.
    pub counts: [[u64; 4]; 4],
}

/// What came out.
#[derive(Clone, Debug, PartialEq)]
pub struct ShadowResult {
    /// By type.
    pub types: Vec<TypeResult>,
    /// What changes, in the order of the walk.
    pub changes: Vec<Change>,
    /// More changes than are kept.
    pub changes_left_out: u64,
    /// More contents than can be told apart.
    pub not_counted: u64,
    /// Files that changed between one look and the other.
    pub unlike: u64,
    /// Different contents that the new model judged.
    pub judged: u64,
    /// Of them suspicious, and malicious.
    pub found: (u64, u64),
    /// Why it did not pass, if it did not.
    pub failed: Option<String>,
}

impl Shadow {
    /// Compares the model with the id `new` with the one in use of the id `old`, if there is one.
    pub fn new(old: Option<String>, new: String, promises: Vec<Promise>) -> Self {
        let promises = promises
            .into_iter()
            .map(|(kind, found, worse)| (kind, (found, worse)));
        Self {
            old,
            new,
            promises: promises.collect(),
            known: BTreeSet::new(),
            types: BTreeMap::new(),
            changes: Vec::new(),
            changes_left_out: 0,
            not_counted: 0,
            unlike: 0,
        }
    }

    /// Takes in a file that was looked at with the models in use, and with the new one in its place.
    pub fn add(&mut self, path: &Path, before: &FileReport, now: &FileReport) {
        let key = |verdict: &Verdict| (verdict.member.clone(), verdict.sha256);
        if !before.verdicts().map(key).eq(now.verdicts().map(key)) {
            self.unlike += 1;
            return;
        }
        for (before, now) in before.verdicts().zip(now.verdicts()) {
            self.compare(path, before, now);
        }
    }

    fn compare(&mut self, path: &Path, before: &Verdict, now: &Verdict) {
        let said = |verdict: &Verdict, id: &str| {
            let judgement = verdict
                .judgement
                .as_ref()
                .filter(|judged| judged.model == id)?;
            Some((judgement.leaning, judgement.benign_share))
        };
        let old = self.old.as_deref().and_then(|id| said(before, id));
        let new = said(now, &self.new);
        let (Some(digest), true) = (now.sha256, old.is_some() || new.is_some()) else {
            return;
        };
        if self.known.contains(&digest) {
            return;
        }
        if self.known.len() >= CONTENTS_MAX {
            self.not_counted += 1;
            return;
        }
        self.known.insert(digest);
        let kind = if new.is_some() { now.kind } else { before.kind };
        let place = |said: Option<(Leaning, f32)>| match said {
            None => 0,
            Some((Leaning::Clean, _)) => 1,
            Some((Leaning::Suspicious, _)) => 2,
            Some((Leaning::Malicious, _)) => 3,
        };
        let (from, to) = (place(old), place(new));
        if let Some(count) = self.types.entry(kind).or_default().get_mut(from)
            && let Some(count) = count.get_mut(to)
        {
            *count += 1;
        }
        // What is judged for the first time, and clean, is no news for anyone.
        if from == to || (from, to) == (0, 1) {
            return;
        }
        if self.changes.len() >= CHANGES_MAX {
            self.changes_left_out += 1;
            return;
        }
        self.changes.push(Change {
            path: path.to_path_buf(),
            member: now.member.clone(),
            kind,
            old,
            new,
        });
    }

    /// What came out.
    pub fn finish(self) -> ShadowResult {
        let mut types: Vec<TypeResult> = Vec::new();
        for (kind, counts) in &self.types {
            let column = |to: usize| counts.iter().map(|row| row[to]).sum::<u64>();
            let judged = column(1) + column(2) + column(3);
            let promised = self.promises.get(kind.as_str()).filter(|_| judged > 0);
            types.push(TypeResult {
                kind: *kind,
                judged,
                judged_before: counts[1..].iter().flatten().sum(),
                found: promised.map(|(found, _)| Tried::new(*found, column(2) + column(3), judged)),
                malicious: promised
                    .and_then(|(_, malicious)| *malicious)
                    .map(|share| Tried::new(share, column(3), judged)),
                counts: *counts,
            });
        }
        let failed = decide(&mut types);
        let of = |to: usize| types.iter().flat_map(|t| t.counts.map(|row| row[to])).sum();
        ShadowResult {
            judged: types.iter().map(|of_type| of_type.judged).sum(),
            found: (of(2), of(3)),
            types,
            changes: self.changes,
            changes_left_out: self.changes_left_out,
            not_counted: self.not_counted,
            unlike: self.unlike,
            failed,
        }
    }
}

/// Says of each promise whether it is kept, and why the run fails, if it does.
fn decide(types: &mut [TypeResult]) -> Option<String> {
    let tried =
        |of_type: &TypeResult| of_type.found.iter().count() + of_type.malicious.iter().count();
    let count: usize = types.iter().map(tried).sum();
    if count == 0 {
        return Some("it judged none of the files".to_owned());
    }
    let limit = ALPHA / count as f64;
    let mut broken = Vec::new();
    for of_type in types {
        let words = ["suspicious or worse", "malicious"];
        for (word, tried) in words
            .iter()
            .zip([&mut of_type.found, &mut of_type.malicious])
        {
            let Some(tried) = tried else { continue };
            tried.is_kept = tried.chance >= limit;
            if !tried.is_kept {
                let (kind, seen, expected) = (of_type.kind.as_str(), tried.seen, tried.expected);
                let judged = of_type.judged;
                broken.push(format!(
                    "{seen} of {judged} {kind} files are {word}, {expected:.2} were promised"
                ));
            }
        }
    }
    (!broken.is_empty()).then(|| broken.join("; "))
}

impl Tried {
    fn new(promised: f64, seen: u64, judged: u64) -> Self {
        Self {
            promised,
            expected: promised * judged as f64,
            seen,
            chance: or_more(seen, judged, promised),
            at_most: upper_bound(seen, judged),
            is_kept: true,
        }
    }
}

/// The chance of `seen` or more of `count` where each has the chance `share`. Summed up away from the middle,
/// where terms only get smaller, so that no sum is of what is too small to be told.
fn or_more(seen: u64, count: u64, share: f64) -> f64 {
    if seen as f64 <= count as f64 * share {
        return if seen == 0 {
            1.0
        } else {
            1.0 - or_fewer(seen - 1, count, share)
        };
    }
    let mut term = log_chance(seen, count, share).exp();
    let mut sum = 0.0;
    for at in seen..=count {
        sum += term;
        if term <= sum * 1e-15 {
            break;
        }
        term *= (count - at) as f64 / (at + 1) as f64 * share / (1.0 - share);
    }
    sum.min(1.0)
}

/// The chance of `seen` or fewer.
fn or_fewer(seen: u64, count: u64, share: f64) -> f64 {
    if seen >= count {
        return 1.0;
    }
    if seen as f64 > count as f64 * share {
        return 1.0 - or_more(seen + 1, count, share);
    }
    let mut term = log_chance(seen, count, share).exp();
    let mut sum = 0.0;
    for at in (0..=seen).rev() {
        sum += term;
        if at == 0 || term <= sum * 1e-15 {
            break;
        }
        term *= at as f64 / (count - at + 1) as f64 * (1.0 - share) / share;
    }
    sum.min(1.0)
}

/// Logarithm of the chance of exactly `seen`.
fn log_chance(seen: u64, count: u64, share: f64) -> f64 {
    let rest = count - seen;
    let choices: f64 = (1..=seen.min(rest))
        .map(|at| (((count - seen.min(rest)) + at) as f64 / at as f64).ln())
        .sum();
    choices + seen as f64 * share.ln() + rest as f64 * (-share).ln_1p()
}

/// The largest share of which `seen` or fewer of `count` come up in one of twenty runs.
fn upper_bound(seen: u64, count: u64) -> f64 {
    if seen >= count {
        return 1.0;
    }
    let (mut low, mut high) = (seen as f64 / count as f64, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if or_fewer(seen, count, middle) > ALPHA {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Judgement, Reason};

    fn near(found: f64, wanted: f64) {
        assert!(
            (found / wanted - 1.0).abs() < 1e-6,
            "{found} instead of {wanted}"
        );
    }

    #[test]
    fn chances_are_those_of_the_binomial_distribution() {
        // By hand: 1 - 0.9^10, and 45 * 0.01 * 0.9^8 and more.
        near(or_more(1, 10, 0.1), 0.651_321_559_9);
        near(or_more(2, 10, 0.1), 0.263_901_070_9);
        near(or_more(10, 10, 0.1), 1e-10);
        near(or_fewer(0, 10, 0.1), 0.348_678_440_1);
        // Poisson's limit: 5 or more where 0.3 are expected.
        assert!((or_more(5, 1_000_000, 3e-7) / 1.578_5e-5 - 1.0).abs() < 1e-2);
        assert_eq!(or_more(0, 5, 0.1), 1.0);
        assert!((or_more(400, 1_000, 0.5) - 1.0).abs() < 1e-6);
        // Too rare for a number to tell.
        assert_eq!(or_more(1_000, 1_000, 3e-4), 0.0);
        assert_eq!(or_fewer(999, 1_000, 3e-4), 1.0);
        assert_eq!(or_fewer(0, 1_000_000, 0.5), 0.0);
        // Of nothing found: one less the twentieth root, by count ("rule of three").
        near(upper_bound(0, 1_000), 1.0 - 0.05_f64.powf(1e-3));
        near(upper_bound(1, 10), 0.394_163_3);
        assert_eq!(upper_bound(3, 3), 1.0);
    }

    fn report(number: u32, model: &str, leaning: Option<Leaning>) -> FileReport {
        let mut report = FileReport::not_judged(1, Reason::Empty);
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&number.to_le_bytes());
        report.whole.sha256 = Some(digest);
        report.whole.kind = FileType::Php;
        report.whole.judgement = leaning.map(|leaning| Judgement {
            leaning,
            model: model.to_owned(),
            ..Judgement::default()
        });
        report
    }

    fn run(count: u32, found: u32) -> ShadowResult {
        let promise = ("php".to_owned(), 3e-4, Some(1e-4));
        let mut shadow = Shadow::new(Some("a".to_owned()), "b".to_owned(), vec![promise]);
        for number in 0..count {
            let now = if number < found {
                Leaning::Suspicious
            } else {
                Leaning::Clean
            };
            let before = report(number, "a", Some(Leaning::Clean));
            shadow.add(Path::new("x"), &before, &report(number, "b", Some(now)));
        }
        shadow.finish()
    }

    #[test]
    fn a_run_fails_when_the_promise_can_hardly_be_kept() {
        let result = run(2_000, 0);
        assert_eq!(
            (result.judged, result.found, &result.failed),
            (2_000, (0, 0), &None)
        );
        assert!(result.types[0].found.unwrap().at_most < 0.0016);
        // 0.6 are expected; three or more come up in one of 43 such runs, four in 300.
        assert!(run(2_000, 3).failed.is_some());
        assert_eq!(run(2_000, 2).failed, None);
        let failed = run(2_000, 5);
        let told = failed.failed.unwrap();
        assert!(
            told.contains("5 of 2000 php files are suspicious or worse, 0.60 were"),
            "{told}"
        );
        assert!(!failed.types[0].found.unwrap().is_kept);
        assert!(failed.types[0].malicious.unwrap().is_kept);
        assert!(run(0, 0).failed.unwrap().contains("none of the files"));
    }

    #[test]
    fn changes_are_told_once_and_what_neither_judges_is_not() {
        let mut shadow = Shadow::new(Some("a".to_owned()), "b".to_owned(), Vec::new());
        let mut add = |path: &str, number, old, new| {
            let (old, new) = (report(number, "a", old), report(number, "b", new));
            shadow.add(Path::new(path), &old, &new);
        };
        let (clean, bad) = (Some(Leaning::Clean), Some(Leaning::Malicious));
        add("same", 1, clean, clean);
        add("worse", 2, clean, bad);
        add("worse again", 2, clean, bad);
        add("milder", 3, bad, clean);
        add("first time", 4, None, clean);
        add("first time, bad", 5, None, bad);
        add("no more", 6, clean, None);
        add("never", 7, None, None);
        let other = report(9, "b", clean);
        shadow.add(Path::new("changed"), &report(8, "a", clean), &other);
        let result = shadow.finish();
        let paths: Vec<_> = result
            .changes
            .iter()
            .map(|c| c.path.to_str().unwrap())
            .collect();
        assert_eq!(paths, ["worse", "milder", "first time, bad", "no more"]);
        assert_eq!((result.judged, result.unlike), (5, 1));
        assert_eq!(result.types[0].judged_before, 4);
        assert_eq!(result.types[0].counts[1], [1, 1, 0, 1]);
    }
}
