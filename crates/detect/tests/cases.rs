//! Every detector against its case folder: `cases/<detector>/<case>/events.jsonl` goes through that
//! detector alone, and what it finds is compared with `expect.txt`.
//!
//! An expectation is a line `ENTITY score>=X PHASE`. A case passes when each line is met by a
//! finding and when no finding that speaks up (score of [`SPEAKS_UP`] or more) goes unmentioned. A
//! quiet case has an empty `expect.txt`. `#` begins a comment. `local NETWORK` lines declare the
//! local networks.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::string_slice,
    reason = "all of this file is a test"
)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use thymus_detect::{DETECTORS, DetectorSpec, Seen, Solo};
use thymus_schema::{Event, Fact, LocalNetworks, SnapshotReader, SnapshotWriter, Statement, Value};

/// The score from which a finding must be expected: once in some hundreds of device-hours.
const SPEAKS_UP: f64 = 2.5;

const HEADINGS: [&str; 8] = [
    "## What it flags",
    "## Why it matters",
    "## How it scores",
    "## Evidence",
    "## What would have been normal",
    "## Known false alarms",
    "## ATT&CK",
    "## Sources",
];

struct Expected {
    entity: String,
    score: f64,
    phase: String,
}

#[test]
fn every_case_gives_what_it_expects() {
    let mut complaints = String::new();
    for spec in DETECTORS {
        for case in folders(&cases().join(spec.id)) {
            for complaint in check(spec, &case) {
                writeln!(complaints, "{}: {complaint}", case.display()).unwrap();
            }
        }
    }
    assert!(complaints.is_empty(), "\n{complaints}");
}

#[test]
fn a_case_run_twice_gives_the_same_findings() {
    for spec in DETECTORS {
        for case in folders(&cases().join(spec.id)) {
            let (events, local, _) = read(&case);
            let once = format!("{:?}", run(spec, &events, local.clone()));
            assert_eq!(
                once,
                format!("{:?}", run(spec, &events, local)),
                "{}",
                case.display()
            );
        }
    }
}

#[test]
fn events_outside_a_detectors_interest_would_change_nothing() {
    for spec in DETECTORS {
        for case in folders(&cases().join(spec.id)) {
            let (events, local, _) = read(&case);
            let mut heeding = Solo::new(spec, local.clone());
            let mut asked_for_all = Solo::new(spec, local).ignoring_interest();
            for event in &events {
                heeding.observe(event);
                asked_for_all.observe(event);
            }
            let state = saved(spec, &mut heeding) == saved(spec, &mut asked_for_all);
            let findings =
                format!("{:?}", heeding.finish()) == format!("{:?}", asked_for_all.finish());
            assert!(
                state && findings,
                "{}: Detector::interest lacks a kind",
                case.display()
            );
        }
    }
}

#[test]
fn state_that_is_saved_restored_and_saved_again_is_the_same() {
    for spec in DETECTORS {
        for case in folders(&cases().join(spec.id)) {
            let (events, local, _) = read(&case);
            let mut solo = Solo::new(spec, local.clone());
            for event in &events {
                solo.observe(event);
            }
            let saved = saved(spec, &mut solo);
            let mut again = Solo::new(spec, local);
            let mut reader = SnapshotReader::open("unit", &saved, spec.snapshot_version).unwrap();
            again.detector().restore(&mut reader).unwrap();
            assert!(reader.is_at_end(), "{} left bytes unread", spec.id);
            assert!(self::saved(spec, &mut again) == saved, "{}", case.display());
            for len in (4..saved.len()).step_by(saved.len() / 50 + 1) {
                let cut = &saved[..len];
                let mut reader = SnapshotReader::open("unit", cut, spec.snapshot_version).unwrap();
                assert!(
                    again.detector().restore(&mut reader).is_err(),
                    "{} at {len}",
                    spec.id
                );
            }
        }
    }
}

fn saved(spec: &DetectorSpec, solo: &mut Solo) -> Vec<u8> {
    let mut writer = SnapshotWriter::new();
    solo.detector()
        .snapshot(writer.section("unit", spec.snapshot_version));
    writer.finish().remove("unit").unwrap()
}

#[test]
fn every_detector_has_loud_cases_and_at_least_as_many_quiet_ones() {
    for spec in DETECTORS {
        let cases = folders(&cases().join(spec.id));
        let loud = cases.iter().filter(|case| !read(case).2.is_empty()).count();
        assert!(loud > 0, "{} has no loud case", spec.id);
        assert!(
            cases.len() >= 2 * loud,
            "{}: {loud} loud of {} cases",
            spec.id,
            cases.len()
        );
    }
}

#[test]
fn folder_list_and_files_agree() {
    let listed: Vec<String> = DETECTORS.iter().map(|spec| spec.id.to_owned()).collect();
    assert!(
        listed.windows(2).all(|pair| pair[0] < pair[1]),
        "DETECTORS is not in order"
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<String> = fs::read_dir(root.join("src/detectors"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "rs"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|stem| stem != "mod")
        .collect();
    files.sort();
    assert_eq!(files, listed, "one file for each line of DETECTORS");
    let folders: Vec<String> = folders(&cases())
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(folders, listed, "one case folder for each detector");
}

#[test]
fn every_page_has_its_headings_in_order() {
    for spec in DETECTORS {
        let page = spec.page();
        let title = format!("# {}\n", spec.title);
        assert!(
            page.starts_with(&title),
            "the page of {} begins with {title:?}",
            spec.id
        );
        let mut at = 0;
        for heading in HEADINGS {
            let found = page[at..].find(&format!("\n{heading}\n"));
            at += found.unwrap_or_else(|| panic!("{} lacks {heading} in its place", spec.id));
        }
        for technique in spec.techniques {
            assert!(
                page.contains(technique.id()),
                "{} does not explain {technique}",
                spec.id
            );
        }
    }
}

fn check(spec: &'static DetectorSpec, case: &Path) -> Vec<String> {
    let (events, local, expected) = read(case);
    let seen = run(spec, &events, local);
    let mut complaints = Vec::new();
    for want in &expected {
        let met = seen
            .iter()
            .any(|seen| is_about(seen, want) && seen.finding.score >= want.score);
        if !met {
            let best = best_scores(&seen);
            complaints.push(format!(
                "no {} score>={} {}; seen {best:?}",
                want.entity, want.score, want.phase
            ));
        }
    }
    for found in &seen {
        let text = found.finding.statement.text();
        if text.is_none() || found.finding.counterfactual.text().is_none() {
            complaints.push(format!("unsayable: {:?}", found.finding.statement));
        }
        if compares_with_nothing(&found.finding.counterfactual) {
            let normal = found.finding.counterfactual.text();
            complaints.push(format!("compares with nothing: {normal:?}"));
        }
        let mentioned = expected.iter().any(|want| is_about(found, want));
        if found.finding.score >= SPEAKS_UP && !mentioned {
            let score = found.finding.score;
            complaints.push(format!("unexpected {} {score:.2}: {text:?}", found.entity));
        }
    }
    complaints
}

/// Whether a sentence about the past gives a zero for a past that is not there.
fn compares_with_nothing(normal: &Statement) -> bool {
    let past = ["earlier", "before", "watched"];
    let is_zero = |value: &Value| match value {
        Value::Count(n) | Value::Bytes(n) => *n == 0,
        Value::Seconds(secs) => *secs == 0.0,
        _ => false,
    };
    let says = |fact: &Fact| normal.template.contains(&format!("{{{}}}", fact.key));
    past.iter().any(|word| normal.template.contains(word))
        && normal
            .facts
            .iter()
            .any(|fact| is_zero(&fact.value) && says(fact))
}

fn is_about(seen: &Seen, want: &Expected) -> bool {
    let phase = format!("{:?}", seen.phase).to_lowercase();
    seen.entity.to_string() == want.entity && phase == want.phase
}

fn best_scores(seen: &[Seen]) -> BTreeMap<String, f64> {
    let mut best = BTreeMap::new();
    for one in seen {
        let score = best.entry(one.entity.to_string()).or_insert(0.0_f64);
        *score = score.max(one.finding.score);
    }
    best
}

fn run(spec: &'static DetectorSpec, events: &[Event], local: LocalNetworks) -> Vec<Seen> {
    let mut solo = Solo::new(spec, local);
    for event in events {
        solo.observe(event);
    }
    solo.finish()
}

fn read(case: &Path) -> (Vec<Event>, LocalNetworks, Vec<Expected>) {
    let lines = fs::read_to_string(case.join("events.jsonl")).unwrap();
    let events = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|err| panic!("{line}: {err}")))
        .collect();
    let mut networks = Vec::new();
    let mut expected = Vec::new();
    for line in fs::read_to_string(case.join("expect.txt")).unwrap().lines() {
        let line = line.split('#').next().unwrap_or("").trim();
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            ["local", network] => networks.push(network.parse().unwrap()),
            [entity, score, phase] => expected.push(Expected {
                entity: (*entity).to_owned(),
                score: score.strip_prefix("score>=").unwrap().parse().unwrap(),
                phase: (*phase).to_owned(),
            }),
            _ => panic!("{}: not an expectation: {line}", case.display()),
        }
    }
    let local = if networks.is_empty() {
        LocalNetworks::default()
    } else {
        LocalNetworks::declared(networks)
    };
    (events, local, expected)
}

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")
}

fn folders(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    paths.sort();
    paths
}
