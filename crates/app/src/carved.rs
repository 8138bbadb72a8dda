//! Files that pass on the network, judged by the file engine: its verdict becomes an observation of the
//! conversation that carried the file, which the detectors weigh like that of any other tool.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};

use thymus_ingest::{FileJudge, SharedJudge};
use thymus_scan::{FileReport, Networks, Outcome, ScanPolicy, Scanner, Verdict};
use thymus_schema::{Coverage, FileSeen, Observation, Service};

/// Verdicts remembered by digest.
const KNOWN_MAX: usize = 10_000;

/// Judges files with the networks that ship.
#[derive(Default)]
struct Carved {
    /// Opened at the first file.
    networks: Networks,
    is_open: bool,
    policy: ScanPolicy,
    known: BTreeMap<Box<str>, Option<Observation>>,
    order: VecDeque<Box<str>>,
    judged: u64,
    not_judged: u64,
}

/// A judge for one run.
pub(crate) fn judge() -> SharedJudge {
    SharedJudge::new(Carved {
        policy: policy(),
        ..Carved::default()
    })
}

/// Bounds in bytes and members, none in time: the same file gets the same verdict on any machine.
fn policy() -> ScanPolicy {
    ScanPolicy {
        file_bytes_max: 16 << 20,
        member_bytes_max: 8 << 20,
        unpacked_bytes_max: 32 << 20,
        open_bytes_max: 32 << 20,
        ratio_free_bytes: 16 << 20,
        members_max: 500,
        depth_max: 4,
        ..ScanPolicy::default()
    }
}

impl FileJudge for Carved {
    fn judge(&mut self, file: &FileSeen, bytes: &[u8]) -> Option<Observation> {
        if let Some(known) = self.known.get(&file.sha256) {
            return known.clone();
        }
        if !self.is_open {
            // Those that do not fit this build judge nothing, which is counted.
            self.networks = Networks::shipped().unwrap_or_default();
            self.is_open = true;
        }
        let (policy, networks) = (&self.policy, &self.networks);
        let scan = || {
            let scanner = Scanner::new(policy, Some(networks));
            scanner.scan(&file.name, bytes, &|| false)
        };
        let report = catch_unwind(AssertUnwindSafe(scan)).ok();
        let is_judged = report.as_ref().is_some_and(|report| {
            let mut verdicts = report.verdicts();
            verdicts.any(|verdict| verdict.outcome.reason().is_none())
        });
        *if is_judged {
            &mut self.judged
        } else {
            &mut self.not_judged
        } += 1;
        let said = report.and_then(|report| observation(file, &report));
        if self.order.len() >= KNOWN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(file.sha256.clone());
        self.known.insert(file.sha256.clone(), said.clone());
        said
    }

    fn tell(&self, coverage: &mut Coverage) {
        coverage.drop_for("files_not_judged", self.not_judged);
    }
}

/// What a verdict says, when it is one to tell.
fn observation(file: &FileSeen, report: &FileReport) -> Option<Observation> {
    let worst = report
        .verdicts()
        .filter(|verdict| verdict.outcome.is_found())
        .max_by_key(|verdict| verdict.outcome == Outcome::Malicious)?;
    let is_mail = file.service == Some(Service::Smtp);
    Some(Observation {
        source: Observation::FILE_ENGINE.into(),
        name: format!("{} {} file", worst.outcome.as_str(), worst.kind.as_str()).into(),
        category: "file verdict".into(),
        severity: if worst.outcome == Outcome::Malicious {
            1
        } else {
            2
        },
        detail: detail(file, worst).into(),
        about: Vec::new(),
        techniques: vec![if is_mail { "T1566.001" } else { "T1105" }.into()],
    })
}

fn detail(file: &FileSeen, verdict: &Verdict) -> String {
    let place = verdict.member.as_deref();
    let place = place.map_or_else(String::new, |member| format!(", in it {member}"));
    let judgement = verdict.judgement.as_ref();
    let label = judgement.and_then(|judgement| judgement.label.as_deref());
    let label = label.map_or_else(String::new, |label| format!(", looks like {label}"));
    let share = judgement.map_or_else(String::new, |judgement| {
        let one_in = (1.0 / f64::from(judgement.benign_share.max(1e-6))).round();
        format!(", one in {one_in} harmless files looks as bad")
    });
    format!(
        "{} (SHA-256 {}{place}{label}{share})",
        file.name, file.sha256
    )
}
