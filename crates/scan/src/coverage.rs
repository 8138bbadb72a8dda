//! How much was judged, and why the rest was not.

use std::collections::BTreeMap;

use crate::{FileReport, Outcome};

/// How much was judged. Files are what the walk named; objects are everything with content of its own,
/// so a judged archive is not one, but each of its members is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Files seen.
    pub files: u64,
    /// Of them clean.
    pub clean: u64,
    /// Of them suspicious.
    pub suspicious: u64,
    /// Of them malicious.
    pub malicious: u64,
    /// Of them not judged.
    pub not_judged: u64,
    /// Those that were found, and count as clean by a list, or as not judged where not all of it was.
    pub allowed: u64,
    /// Of the malicious ones those that are so by a list.
    pub blocked: u64,
    /// Members found in files.
    pub members: u64,
    /// Files and members with content of their own.
    pub objects: u64,
    /// Of them judged.
    pub objects_judged: u64,
    /// Bytes of objects.
    pub bytes: u64,
    /// Of them in judged objects.
    pub bytes_judged: u64,
    /// Objects not judged, by reason.
    pub reasons: BTreeMap<String, u64>,
    /// Rules that match a file or member.
    pub rule_matches: u64,
    /// Files and members that rules match.
    pub objects_with_rules: u64,
    /// Files and members for which not every rule had its turn.
    pub rules_unfinished: u64,
    /// What the walk passed over, by reason: links, and what it was told to leave out.
    pub left_out: BTreeMap<&'static str, u64>,
}

impl Coverage {
    /// Counts one file.
    pub fn add(&mut self, report: &FileReport) {
        self.files += 1;
        *self.of(report.whole.outcome) += 1;
        self.members += report.members.len() as u64;
        for rules in report.verdicts().map(|verdict| &verdict.rules) {
            let matches = rules.found.len() as u64 + rules.left_out;
            self.rule_matches += matches;
            self.objects_with_rules += u64::from(matches > 0);
            self.rules_unfinished += u64::from(rules.is_unfinished);
        }
        for verdict in report.verdicts().filter(|verdict| !verdict.is_sum) {
            self.objects += 1;
            self.bytes += verdict.bytes;
            if let Some(reason) = verdict.outcome.reason() {
                *self.reasons.entry(reason.to_string()).or_default() += 1;
                continue;
            }
            self.objects_judged += 1;
            self.bytes_judged += verdict.bytes;
        }
    }

    /// Counts a file that was counted as `judged` as something else.
    pub fn recount(&mut self, judged: Outcome, counts: Outcome) {
        *self.of(judged) -= 1;
        *self.of(counts) += 1;
    }

    const fn of(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Clean => &mut self.clean,
            Outcome::Suspicious => &mut self.suspicious,
            Outcome::Malicious => &mut self.malicious,
            Outcome::NotJudged(_) => &mut self.not_judged,
        }
    }

    /// Whether something malicious or suspicious was found.
    pub const fn is_found(&self) -> bool {
        self.malicious + self.suspicious > 0
    }
}
