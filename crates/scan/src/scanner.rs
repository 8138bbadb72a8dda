//! Judges one file and everything in it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sha2::{Digest, Sha256};

use crate::budget::Budget;
use crate::cache::Cache;
use crate::explain::Questions;
use crate::layout::Layout;
use crate::rules::{RULES_MAX, RULES_OF_FILE_MAX};
use crate::unpack::{self, Opening, Part};
use crate::{
    ByteRange, Excerpt, FileReport, FileType, Judge, Judgement, Leaning, Masking, Outcome, Packer,
    Reason, Refusal, RuleMatcher, RuleMatches, RuleTarget, ScanPolicy, Signature, Verdict,
    identify, signature,
};

/// Longest path inside a file that is kept, in bytes.
const PLACE_BYTES_MAX: usize = 4096;

/// Judges files; one serves all threads.
pub struct Scanner<'a> {
    policy: &'a ScanPolicy,
    judge: Option<&'a dyn Judge>,
    rules: Option<&'a dyn RuleMatcher>,
    cache: Cache,
}

impl<'a> Scanner<'a> {
    /// A scanner under `policy`. Without a judge, nothing is judged.
    pub fn new(policy: &'a ScanPolicy, judge: Option<&'a dyn Judge>) -> Self {
        Self {
            policy,
            judge,
            rules: None,
            cache: Cache::default(),
        }
    }

    /// Looks for these rules, too.
    #[must_use]
    pub fn with_rules(mut self, rules: Option<&'a dyn RuleMatcher>) -> Self {
        self.rules = rules;
        self
    }

    /// The policy.
    pub const fn policy(&self) -> &ScanPolicy {
        self.policy
    }

    /// Judges the file at `path`, of which only the last step is heeded but by rules; `is_over` tells when
    /// its time is up.
    pub fn scan(&self, path: &str, bytes: &[u8], is_over: &dyn Fn() -> bool) -> FileReport {
        let name = path.rsplit('/').next().unwrap_or(path);
        let budget = Budget::new(self.policy, bytes.len() as u64, is_over);
        let mut visit = Visit {
            scanner: self,
            budget: &budget,
            path,
            members: Vec::new(),
            rules_left: RULES_OF_FILE_MAX,
            rules_ran_out: false,
        };
        let whole = visit.examine(
            &Place {
                path: "",
                name,
                depth: 0,
            },
            bytes,
            None,
        );
        FileReport {
            whole,
            members: visit.members,
        }
    }
}

/// Where something stands.
struct Place<'p> {
    /// Path inside the file, empty for the file itself.
    path: &'p str,
    /// Its name.
    name: &'p str,
    /// Files around it.
    depth: u32,
}

/// What came out of a file's members.
#[derive(Default)]
struct Inside {
    worst: Option<Outcome>,
    /// What rules find in parts that have no verdict of their own.
    rules: RuleMatches,
}

impl Inside {
    fn add(&mut self, outcome: Outcome) {
        self.worst = Some(self.worst.map_or(outcome, |worst| worst.worse(outcome)));
    }
}

struct Visit<'v, 'a> {
    scanner: &'v Scanner<'a>,
    budget: &'v Budget<'v>,
    /// Path of the file.
    path: &'v str,
    members: Vec<Verdict>,
    /// Rules that may still be told of.
    rules_left: usize,
    /// Whether rules took all their time once already.
    rules_ran_out: bool,
}

impl Visit<'_, '_> {
    fn examine(&mut self, place: &Place<'_>, bytes: &[u8], known_as: Option<FileType>) -> Verdict {
        let kinds = types(bytes, place.name, known_as);
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        let first = kinds.first().copied().unwrap_or(FileType::Unknown);
        let mut verdict = Verdict::not_judged(first, bytes.len() as u64, Reason::Empty);
        verdict.sha256 = Some(digest);
        verdict.packer = Packer::of(bytes);
        let signed = || signature::signatures(bytes);
        let signed = catch_unwind(AssertUnwindSafe(signed));
        verdict.signatures =
            signed.unwrap_or_else(|_| vec![Signature::refused(Refusal::NotUnderstood)]);
        verdict.rules = self.rules(place, first, bytes);
        if bytes.is_empty() {
            return verdict;
        }
        let own = kinds.iter().copied().filter(|kind| !kind.is_archive());
        let own: Vec<FileType> = own.collect();
        let mut outcome: Option<Outcome> = None;
        for kind in &own {
            let Some(judged) = self.judge(*kind, digest, bytes) else {
                continue;
            };
            let next = judged
                .as_ref()
                .map_or_else(|reason| Outcome::NotJudged(*reason), |j| j.leaning.into());
            let is_worse = outcome.is_none_or(|old| old.worse(next) != old);
            if is_worse {
                outcome = Some(next);
                verdict.kind = *kind;
                verdict.judgement = judged.ok();
            }
        }
        // Clean as another type says nothing of what it is.
        let is_told = outcome.is_some_and(|told| told != Outcome::Clean || verdict.kind == first);
        if let Some(kind) = own.first()
            && !is_told
        {
            outcome = Some(Outcome::NotJudged(Reason::NoNetwork(*kind)));
            verdict.kind = *kind;
            verdict.judgement = None;
        }
        let mut is_sum = outcome.is_none();
        for kind in openable(&kinds).filter(|kind| unpack::has_parts(*kind, bytes)) {
            let (inside, trouble) = self.look_inside(kind, place, bytes);
            verdict.rules.add(inside.rules);
            let told = summed(kind, inside.worst, trouble);
            if let Some(told) = told {
                let is_worse = outcome.is_none_or(|old| old.worse(told) != old);
                if is_worse {
                    outcome = Some(told);
                    verdict.judgement = None;
                    verdict.kind = kind;
                }
            }
            // Its own trouble is no sum of what the members have been counted for.
            is_sum &= trouble.is_none() && inside.worst.is_some();
        }
        verdict.outcome = outcome.unwrap_or(Outcome::NotJudged(Reason::NoNetwork(first)));
        verdict.is_sum = is_sum;
        if let Some(judgement) = &verdict.judgement {
            let explain = || self.explain(verdict.kind, bytes, judgement);
            // To explain means to ask the judge again, which may fail then too.
            let told = catch_unwind(AssertUnwindSafe(explain)).unwrap_or_default();
            (verdict.excerpts, verdict.masking) = told;
        }
        verdict
    }

    /// What rules find. Nothing of it is kept for the next file: a rule may ask for the name.
    fn rules(&mut self, place: &Place<'_>, kind: FileType, bytes: &[u8]) -> RuleMatches {
        let Some(rules) = self.scanner.rules else {
            return RuleMatches::default();
        };
        if self.rules_ran_out || self.budget.stopped().is_some() {
            return RuleMatches::unfinished();
        }
        let path = match place.path {
            "" => self.path.to_owned(),
            inner => format!("{}!{inner}", self.path),
        };
        let target = RuleTarget {
            name: place.name.rsplit('/').next().unwrap_or(place.name),
            path: &path,
        };
        let secs_max = self.budget.policy.rule_secs_max();
        let most = RULES_MAX.min(self.rules_left);
        let find = || {
            let mut found = rules.find(&target, bytes, secs_max);
            found.cut(most);
            if found.found.iter().any(|rule| !rule.strings.is_empty()) {
                found.show(bytes, &Layout::of(kind, bytes));
            }
            found
        };
        let found = catch_unwind(AssertUnwindSafe(find));
        let found = found.unwrap_or_else(|_| RuleMatches::unfinished());
        self.rules_ran_out |= found.is_unfinished;
        self.rules_left -= found.found.len();
        found
    }

    /// What the network says, none when there is none for the type.
    fn judge(
        &self,
        kind: FileType,
        digest: [u8; 32],
        bytes: &[u8],
    ) -> Option<Result<Judgement, Reason>> {
        let judge = self.scanner.judge?;
        let ask = || {
            self.scanner
                .cache
                .get((digest, kind), || judge.judge(kind, bytes))
        };
        let told = catch_unwind(AssertUnwindSafe(ask)).map_err(|_| Reason::DecoderPanicked);
        told.transpose()
    }

    /// What stands where a judgement points at, and what would turn it around where that is asked for.
    fn explain(
        &self,
        kind: FileType,
        bytes: &[u8],
        judgement: &Judgement,
    ) -> (Vec<Excerpt>, Option<(Masking, Vec<Excerpt>)>) {
        let is_found = judgement.leaning != Leaning::Clean;
        let Some(judge) = self.scanner.judge.filter(|_| is_found) else {
            return Default::default();
        };
        let layout = Layout::of(kind, bytes);
        let questions = Questions { judge, kind };
        let range = |range: &ByteRange| {
            let peak = questions.peak(bytes, range);
            Excerpt::around(bytes, &layout, (range.offset, range.length), peak)
        };
        let excerpts = judgement.ranges.iter().map(range).collect();
        if !self.budget.policy.explains {
            return (excerpts, None);
        }
        let is_over = || self.budget.stopped() == Some(Reason::OutOfTime);
        let masking = questions.masking(bytes, judgement.leaning, &is_over);
        let masking = masking.map(|masking| {
            let spans = masking.spans.iter();
            let masked = spans.map(|span| Excerpt::of(bytes, &layout, *span));
            let masked = masked.collect();
            (masking, masked)
        });
        (excerpts, masking)
    }

    /// The worst of what is inside, and why not all of it could be looked at.
    fn look_inside(
        &mut self,
        kind: FileType,
        place: &Place<'_>,
        bytes: &[u8],
    ) -> (Inside, Option<Reason>) {
        let mut inside = Inside::default();
        if place.depth >= self.budget.policy.depth_max {
            return (inside, Some(Reason::TooDeep));
        }
        let budget = self.budget;
        let mut give = |part: Part<'_>| self.part(kind, place, &part, &mut inside);
        let mut opening = Opening {
            name: place.name,
            budget,
            give: &mut give,
        };
        // The decoders are other people's and the bytes hostile: a panic costs what is being opened.
        let opened = catch_unwind(AssertUnwindSafe(|| unpack::open(kind, bytes, &mut opening)));
        let trouble = match opened {
            Ok(done) => done.err(),
            Err(_) => Some(Reason::DecoderPanicked),
        };
        (inside, trouble)
    }

    fn part(&mut self, within: FileType, place: &Place<'_>, part: &Part<'_>, inside: &mut Inside) {
        let name = match part {
            Part::File { name, .. } | Part::Missing { name, .. } => *name,
        };
        let path = joined(place.path, name);
        let verdict = match part {
            Part::Missing { reason, .. } => Verdict::not_judged(FileType::Unknown, 0, *reason),
            Part::File {
                bytes, known_as, ..
            } => {
                let is_part_of_document = within.is_document()
                    && known_as.is_none()
                    && types(bytes, name, None)
                        .iter()
                        .all(|kind| kind.is_passive());
                if is_part_of_document {
                    let place = Place {
                        path: &path,
                        name,
                        depth: place.depth + 1,
                    };
                    let found = self.rules(&place, FileType::Unknown, bytes);
                    inside.rules.add(found.of_part(&path));
                    return;
                }
                let slot = self.members.len();
                self.members.push(Verdict::not_judged(
                    FileType::Unknown,
                    0,
                    Reason::MembersNotJudged,
                ));
                let inner = Place {
                    path: &path,
                    name,
                    depth: place.depth + 1,
                };
                let mut verdict = self.examine(&inner, bytes, *known_as);
                inside.add(verdict.outcome);
                verdict.member = Some(path);
                if let Some(kept) = self.members.get_mut(slot) {
                    *kept = verdict;
                }
                return;
            }
        };
        inside.add(verdict.outcome);
        self.members.push(Verdict {
            member: Some(path),
            ..verdict
        });
    }
}

/// What the members say about the file: for an archive everything, for others only bad news.
fn summed(kind: FileType, inside: Option<Outcome>, trouble: Option<Reason>) -> Option<Outcome> {
    let inside = inside.map(|outcome| match outcome {
        Outcome::NotJudged(_) => Outcome::NotJudged(Reason::MembersNotJudged),
        other => other,
    });
    let inside = match inside {
        Some(Outcome::Clean) if !kind.is_archive() => None,
        None if kind.is_archive() && trouble.is_none() => Some(Outcome::NotJudged(Reason::Empty)),
        other => other,
    };
    match (inside, trouble) {
        (Some(outcome), Some(reason)) => Some(Outcome::NotJudged(reason).worse(outcome)),
        (None, Some(reason)) => Some(Outcome::NotJudged(reason)),
        (outcome, None) => outcome,
    }
}

fn types(bytes: &[u8], name: &str, known_as: Option<FileType>) -> Vec<FileType> {
    let mut kinds = identify(bytes, name);
    if let Some(known) = known_as {
        kinds.retain(|kind| *kind != known && !kind.is_passive());
        kinds.insert(0, known);
    }
    kinds
}

/// The types to open a file as: of two that are one format, the first.
fn openable(kinds: &[FileType]) -> impl Iterator<Item = FileType> {
    let has = |kind| kinds.contains(&kind);
    let (is_package, is_installer) = (has(FileType::Deb), has(FileType::Msi));
    kinds.iter().copied().filter(move |kind| {
        let is_twice =
            (*kind == FileType::Ar && is_package) || (*kind == FileType::Ole && is_installer);
        unpack::opens(*kind) && !is_twice
    })
}

fn joined(path: &str, name: &str) -> String {
    let mut joined = if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}!{name}")
    };
    if joined.len() > PLACE_BYTES_MAX {
        let cut = (0..=PLACE_BYTES_MAX)
            .rev()
            .find(|at| joined.is_char_boundary(*at));
        joined.truncate(cut.unwrap_or(0));
    }
    joined
}

#[cfg(test)]
mod tests;
