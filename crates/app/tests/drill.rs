//! `thymus drill` on what a day of the lab's office taught.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn thymus(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_thymus"))
        .args(args)
        .output()
        .unwrap()
}

fn office_day() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lab/captures/office-day.pcap.gz")
}

/// Files of a folder with their content, but for what drills said.
fn content(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.is_file() && !path.ends_with("drill.json"));
    let mut files: Vec<_> = files
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn a_drill_tells_what_would_be_found_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    let day = office_day();
    let day = day.to_str().unwrap();
    assert_eq!(
        thymus(&["replay", "--quiet", "--state", state, day])
            .status
            .code(),
        Some(0)
    );
    let before = content(folder.path());
    let args = [
        "drill",
        "--json",
        "--devices",
        "2",
        "--background",
        day,
        "--state",
        state,
    ];
    let first = thymus(&args);
    assert_eq!(
        first.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&first.stderr)
    );
    assert_eq!(
        thymus(&args).stdout,
        first.stdout,
        "the same drill says the same"
    );
    assert_eq!(content(folder.path()), before, "nothing is learned");
    let summary: Value = serde_json::from_slice(&first.stdout).unwrap();
    let found = &summary["tried"][0];
    assert_eq!(found["detector"], "scan_vertical", "{found}");
    let kept = || -> Value {
        let text = std::fs::read(folder.path().join("drill.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    };
    let all = kept();
    let of = |kept: &Value, id: &str| {
        let scenarios = kept["scenarios"].as_array().unwrap().iter();
        scenarios
            .clone()
            .find(|one| one["id"] == id)
            .unwrap()
            .clone()
    };
    assert_eq!(all["scenarios"].as_array().unwrap().len(), 6);
    assert_eq!(
        of(&all, "port_scan")["sizes"],
        summary["scenarios"][0]["sizes"]
    );
    // One attack tried again takes the place of what was said of it, and of nothing else.
    thymus(&[
        "drill",
        "--quiet",
        "--devices",
        "1",
        "--scenario",
        "beacon",
        "--state",
        state,
    ]);
    let again = kept();
    assert_eq!(of(&again, "upload"), of(&all, "upload"));
    assert_eq!(of(&again, "beacon")["devices_tried"], 1);
    let before = again;
    thymus(&[
        "drill",
        "--quiet",
        "--no-keep",
        "--scenario",
        "beacon",
        "--state",
        state,
    ]);
    assert_eq!(kept(), before);
    assert!(summary["background_events"].as_u64().unwrap() > 100);
    for scenario in summary["scenarios"].as_array().unwrap() {
        let sizes = scenario["sizes"].as_array().unwrap();
        let found: Vec<u64> = sizes
            .iter()
            .map(|size| size["found"].as_u64().unwrap())
            .collect();
        assert!(found.is_sorted(), "{scenario}");
        // Beacons of a quiet office are the hardest; the others are found at their largest.
        if scenario["id"] != "beacon" {
            assert_eq!(found.last(), Some(&2), "{scenario}");
            assert_eq!(
                found.first() == Some(&2),
                scenario["id"] == "dns_tunnel",
                "{scenario}"
            );
        }
    }
}

#[test]
fn what_cannot_be_drilled_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    let refused = |args: &[&str], part: &str| {
        let output = thymus(&[&["drill", "--state", state], args].concat());
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(part), "{message}");
    };
    refused(&[], "knows no device yet");
    refused(&["--scenario", "worm"], "port_scan");
    thymus(&[
        "replay",
        "--quiet",
        "--state",
        state,
        office_day().to_str().unwrap(),
    ]);
    refused(&["--device", "192.0.2.1"], "192.0.2.1");
}
