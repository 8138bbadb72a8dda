//! Files that pass on the network, judged by the file engine: its verdict becomes an observation of the
//! conversation that carried the file, which the detectors weigh like that of any other tool, and part of
//! what the console shows of files.

mod verdicts;

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;
use thymus_ingest::{FileJudge, SharedJudge};
use thymus_scan::{FileReport, Networks, Outcome, Reason, ScanPolicy, Scanner, Verdict};
use thymus_schema::{Coverage, FileSeen, FileVerdict, Observation, Service};

use self::verdicts::Known;
pub(crate) use self::verdicts::Verdicts;
use crate::scan;

/// Members told beside the file they were found in.
const MEMBERS_TOLD: usize = 8;
/// Ranges of bytes that are named in a sentence.
const RANGES_NAMED: usize = 3;

/// Judges files with the networks that ship.
#[derive(Default)]
struct Carved {
    /// Opened at the first file.
    networks: Networks,
    is_open: bool,
    policy: ScanPolicy,
    verdicts: Verdicts,
    not_judged: u64,
}

/// A judge for one run.
pub(crate) fn judge() -> SharedJudge {
    judge_and_verdicts().0
}

/// A judge, and where its verdicts are looked up.
pub(crate) fn judge_and_verdicts() -> (SharedJudge, Verdicts) {
    let verdicts = Verdicts::default();
    let judge = SharedJudge::new(Carved {
        policy: policy(),
        verdicts: verdicts.clone(),
        ..Carved::default()
    });
    (judge, verdicts)
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
        if let Some(known) = self.verdicts.of(&file.sha256) {
            self.count(file, &known.lines);
            return known.said.map(|said| about(said, file));
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
        let report = catch_unwind(AssertUnwindSafe(scan)).unwrap_or_else(|_| {
            FileReport::not_judged(bytes.len() as u64, Reason::DecoderPanicked)
        });
        let is_judged = report
            .verdicts()
            .any(|verdict| verdict.outcome.reason().is_none());
        self.not_judged += u64::from(!is_judged);
        let lines = lines(file, &report);
        self.count(file, &lines);
        let said = observation(file, &report);
        let known = Known::new(said.clone(), lines);
        self.verdicts.add(&file.sha256, known);
        said
    }

    fn passed(&mut self, magic: &'static str) {
        self.verdicts.count(magic, Some("no network for its type"));
    }

    fn tell(&self, coverage: &mut Coverage) {
        coverage.drop_for("files_not_judged", self.not_judged);
    }
}

impl Carved {
    fn count(&self, file: &FileSeen, lines: &[Value]) {
        let line = lines.first();
        let text = |key: &str| line.and_then(|line| line.get(key)).and_then(Value::as_str);
        let kind = text("type").filter(|kind| *kind != "unknown");
        self.verdicts
            .count(kind.unwrap_or(&file.magic), text("reason"));
    }
}

/// The file, and what was found in it.
fn lines(file: &FileSeen, report: &FileReport) -> Vec<Value> {
    let found = report.members.iter();
    let found = found.filter(|member| member.outcome.is_found());
    let shown = std::iter::once(&report.whole).chain(found.take(MEMBERS_TOLD));
    let mut lines: Vec<Value> = shown
        .filter_map(|verdict| scan::line(&file.name, verdict).ok())
        .collect();
    if let Some(whole) = lines.first_mut().and_then(Value::as_object_mut) {
        whole.insert("members".to_owned(), report.members.len().into());
        if whole.get("sha256").is_none_or(Value::is_null) {
            whole.insert("sha256".to_owned(), Value::from(&*file.sha256));
        }
    }
    lines
}

/// The same content, said of another file.
fn about(said: Observation, file: &FileSeen) -> Observation {
    let mut said = said;
    if let Some(verdict) = &mut said.file
        && verdict.name != file.name
    {
        said.detail = said.detail.replacen(&*verdict.name, &file.name, 1).into();
        verdict.name.clone_from(&file.name);
    }
    if let Some(verdict) = &mut said.file {
        (verdict.service, verdict.upload) = (file.service, file.upload);
    }
    said
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
        file: Some(Box::new(FileVerdict {
            name: file.name.clone(),
            sha256: file.sha256.clone(),
            bytes: file.bytes,
            outcome: worst.outcome.as_str().into(),
            kind: worst.kind.as_str().into(),
            member: worst.member.as_deref().unwrap_or_default().into(),
            decided: decided(worst).into(),
            one_in: one_in(worst).unwrap_or(0),
            service: file.service,
            upload: file.upload,
        })),
    })
}

/// The bytes that decided, heaviest first.
fn decided(verdict: &Verdict) -> String {
    let ranges = verdict.judgement.iter().flat_map(|it| &it.ranges);
    let named = ranges.filter(|range| range.length > 0).map(|range| {
        let last = range.offset.saturating_add(range.length - 1);
        format!("{:#x} to {last:#x}", range.offset)
    });
    let named: Vec<String> = named.take(RANGES_NAMED).collect();
    if named.is_empty() {
        return String::new();
    }
    format!("bytes {}", named.join(", "))
}

/// One in so many harmless files looks as bad.
fn one_in(verdict: &Verdict) -> Option<u64> {
    let judgement = verdict.judgement.as_ref()?;
    Some((1.0 / f64::from(judgement.benign_share.max(1e-6))).round() as u64)
}

fn detail(file: &FileSeen, verdict: &Verdict) -> String {
    let place = verdict.member.as_deref();
    let place = place.map_or_else(String::new, |member| format!(", in it {member}"));
    let judgement = verdict.judgement.as_ref();
    let label = judgement.and_then(|judgement| judgement.label.as_deref());
    let label = label.map_or_else(String::new, |label| format!(", looks like {label}"));
    let share = one_in(verdict).map_or_else(String::new, |one_in| {
        format!(", one in {one_in} harmless files looks as bad")
    });
    format!(
        "{} (SHA-256 {}{place}{label}{share})",
        file.name, file.sha256
    )
}
