//! The program as a person meets it: exit codes, messages, files.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod suspect;

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use suspect::suspect;

fn thymus(args: &[&str]) -> std::process::Output {
    Command::cargo_bin("thymus")
        .unwrap()
        .args(args)
        .output()
        .unwrap()
}

fn capture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../lab/captures")
        .join(name)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Exit code 2 and every one of `parts` in the message, nothing on standard output.
fn refused(args: &[&str], parts: &[&str]) {
    let output = thymus(args);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert_eq!(text(&output.stdout), "");
    for part in parts {
        assert!(message.contains(part), "{part} not in: {message}");
    }
}

#[test]
fn what_cannot_be_read_is_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pcap");
    std::fs::write(&empty, b"").unwrap();
    refused(
        &["replay", empty.to_str().unwrap()],
        &["empty.pcap", "file is empty"],
    );
    refused(&["replay", "no/such/file.pcap"], &["no/such/file.pcap"]);
    let word = folder.path().join("letter.doc");
    std::fs::write(&word, b"Dear all, this is no capture at all.\n").unwrap();
    refused(
        &["replay", word.to_str().unwrap()],
        &["letter.doc", "not a capture or log"],
    );
    refused(&["eval", "no/such.toml"], &["no/such.toml"]);
    refused(&["explain", "becon"], &["becon", "nearest"]);
    refused(&["replay"], &["PATH"]);
    refused(&["replay", "x", "--budget", "0"], &["--budget"]);
}

#[test]
fn the_same_capture_gives_the_same_bytes_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let input = capture("story.pcap.gz");
    let input = input.to_str().unwrap();
    let run = |n: u8| {
        let (html, events, alerts) = (
            path(&format!("{n}.html")),
            path(&format!("{n}.events")),
            path(&format!("{n}.alerts")),
        );
        let output = thymus(&[
            "replay", input, "--json", "--html", &html, "--events", &events, "--alerts", &alerts,
        ]);
        assert!(
            matches!(output.status.code(), Some(0 | 1)),
            "{}",
            text(&output.stderr)
        );
        let files = [html, events, alerts].map(|file| std::fs::read(file).unwrap());
        (output.status.code(), output.stdout, files)
    };
    let first = run(1);
    assert!(first == run(2), "two runs over the same capture differ");
    let report: serde_json::Value = serde_json::from_slice(&first.1).unwrap();
    let shown = report["incidents"].as_array().unwrap().len();
    assert_eq!(
        first.0,
        Some(i32::from(shown > 0)),
        "the exit code says whether there is something"
    );
    let written = text(&first.2[1]).lines().count();
    assert_eq!(report["coverage"]["events"].as_u64(), Some(written as u64));
    for line in text(&first.2[1]).lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(event["kind"].is_string() && event["ts"].is_string());
    }
}

#[test]
fn learning_goes_on_from_run_to_run_and_no_input_is_learned_twice() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let state = state.to_str().unwrap();
    let input = capture("dns-tunnel.pcap.gz");
    let run = || {
        let output = thymus(&[
            "replay",
            input.to_str().unwrap(),
            "--state",
            state,
            "--json",
        ]);
        assert!(
            matches!(output.status.code(), Some(0 | 1)),
            "{}",
            text(&output.stderr)
        );
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let (first, second) = (run(), run());
    assert_eq!(first["inputs"]["read"], 1);
    assert_eq!(second["inputs"]["known"], 1);
    assert_eq!(second["coverage"]["packets"], 0);
    assert_eq!(
        second["coverage"]["entities"], first["coverage"]["entities"],
        "devices are remembered"
    );
    let third = thymus(&["replay", input.to_str().unwrap(), "--state", state]);
    let said = text(&third.stdout);
    assert!(said.starts_with("Nothing new: "), "{said}");
    let file = Path::new(state).join("state.thymus");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&file, bytes).unwrap();
    let output = thymus(&["replay", input.to_str().unwrap(), "--state", state]);
    assert!(
        text(&output.stderr).contains("snapshot before"),
        "{}",
        text(&output.stderr)
    );
}

/// The packets of a pcap before `secs` and those after, as two captures.
fn split(capture: &[u8], secs: u32) -> (Vec<u8>, Vec<u8>) {
    let word = |at: usize| u32::from_le_bytes(capture[at..at + 4].try_into().unwrap());
    let (mut before, mut after) = (capture[..24].to_vec(), capture[..24].to_vec());
    let mut at = 24;
    while at < capture.len() {
        let end = at + 16 + word(at + 8) as usize;
        let half = if word(at) < secs {
            &mut before
        } else {
            &mut after
        };
        half.extend(&capture[at..end]);
        at = end;
    }
    (before, after)
}

#[test]
fn an_incident_goes_on_from_run_to_run() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let file = std::fs::File::open(capture("story.pcap.gz")).unwrap();
    let mut whole = Vec::new();
    let mut plain = thymus_parsers::decompress(thymus_parsers::Compression::Gzip, file).unwrap();
    plain.read_to_end(&mut whole).unwrap();
    // 14:00 on the day of the attack.
    let (morning, afternoon) = split(&whole, 1_747_144_800);
    let run = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let (path, state) = (path.to_str().unwrap(), state.to_str().unwrap());
        let output = thymus(&["replay", path, "--state", state, "--json"]);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let (first, second) = (run("1.pcap", &morning), run("2.pcap", &afternoon));
    let (first, second) = (&first["incidents"][0], &second["incidents"][0]);
    assert_eq!(first["id"], second["id"]);
    assert_eq!(first["first_seen"], second["first_seen"]);
    assert!(first["last_seen"].as_str() < second["last_seen"].as_str());
}

#[test]
fn a_capture_of_which_nothing_can_be_judged_is_not_called_clean() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own-link-type.pcap");
    // A classic pcap header with link type 147, which is for private use, and one packet.
    let mut bytes = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0];
    bytes.extend([0; 8]);
    bytes.extend(65_535_u32.to_le_bytes());
    bytes.extend(147_u32.to_le_bytes());
    for field in [1_700_000_000_u32, 0, 4, 4] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend([1, 2, 3, 4]);
    std::fs::write(&path, &bytes).unwrap();
    let output = thymus(&["replay", path.to_str().unwrap()]);
    let without = folder.path().join("no-packet.pcap");
    std::fs::write(&without, &bytes[..24]).unwrap();
    let said = text(&thymus(&["replay", without.to_str().unwrap()]).stdout);
    assert!(said.starts_with("Nothing was read: "), "{said}");
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stdout);
    assert!(said.starts_with("Not judged: "), "{said}");
    assert!(said.contains("link type"), "{said}");
}

#[test]
fn the_registries_can_be_listed_and_explained() {
    for kind in ["detectors", "sources", "protocols"] {
        let output = thymus(&["list", kind, "--json"]);
        let entries: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
        assert!(entries.len() >= 3, "{kind}");
    }
    let output = thymus(&["explain", "beacon"]);
    assert!(text(&output.stdout).contains("# "));
    assert!(text(&thymus(&["completions", "bash"]).stdout).contains("_thymus"));
    assert!(text(&thymus(&["--help"]).stdout).contains("thymus demo"));
}

#[test]
fn cases_are_judged_against_their_labels() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("set.toml");
    let cases = format!(
        "[[case]]\nname = 'tunnel'\nkind = 'attack'\ninput = ['{input}']\nentities = ['192.0.2.77']\n\
         [[case]]\nname = 'quiet'\nkind = 'benign'\ninput = ['{input}']\n\
         [[case]]\nname = 'gone'\nkind = 'benign'\ninput = ['gone.pcap']\n",
        input = capture("dns-tunnel.pcap.gz")
            .canonicalize()
            .unwrap()
            .display()
    );
    std::fs::write(&manifest, cases).unwrap();
    let details = folder.path().join("details");
    let calibration = folder.path().join("calibration.json");
    let run = |jobs: &str| {
        thymus(&[
            "eval",
            manifest.to_str().unwrap(),
            "--json",
            "--jobs",
            jobs,
            "--details",
            details.to_str().unwrap(),
            "--calibration",
            calibration.to_str().unwrap(),
        ])
    };
    let output = run("1");
    assert_eq!(
        output.status.code(),
        Some(1),
        "a case that cannot be run is said by the exit code"
    );
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["behaviour"]["attack_cases"], 1);
    assert_eq!(
        answer["behaviour"]["found"], 0,
        "no incident names an address that is not there"
    );
    assert_eq!(answer["cases"][0]["shown"], answer["cases"][1]["shown"]);
    assert_eq!(
        answer["cases"][1]["shown"],
        answer["behaviour"]["false_incidents"]
    );
    assert!(answer["cases"][1]["entity_days"].as_f64().unwrap() > 0.0);
    assert!(
        answer["cases"][2]["error"]
            .as_str()
            .unwrap()
            .contains("gone.pcap")
    );
    assert!(details.join("tunnel.alerts.jsonl").is_file());
    assert!(details.join("quiet.incidents.json").is_file());
    let maxima: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&calibration).unwrap()).unwrap();
    assert!(maxima["beacon"]["device_hours"].as_u64().unwrap() > 0);
    assert_eq!(
        run("3").stdout,
        output.stdout,
        "the number of jobs changes nothing"
    );
}

/// Runs `thymus scan` in `folder` and gives exit code, standard output and standard error.
fn scan(folder: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::cargo_bin("thymus")
        .unwrap()
        .arg("scan")
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn json_lines(text: &str) -> Vec<serde_json::Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn what_no_network_knows_is_not_judged_and_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("sub")).unwrap();
    std::fs::write(at("sub/run.pl"), b"#!/usr/bin/perl\nprint 1;\n").unwrap();
    std::fs::write(at("empty"), b"").unwrap();
    std::os::unix::fs::symlink("..", at("sub/loop")).unwrap();
    let (code, out, err) = scan(folder.path(), &["."]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(
        out.contains("2 files: 0 malicious, 0 suspicious, 0 clean, 2 not judged"),
        "{out}"
    );
    assert!(out.contains("no network for perl"), "{out}");
    assert!(out.contains("1  links"), "{out}");
    let (code, _, _) = scan(folder.path(), &[".", "--fail-on", "not-judged"]);
    assert_eq!(code, Some(1));
    let (code, out, _) = scan(folder.path(), &["--json", "."]);
    assert_eq!(code, Some(0));
    let lines = json_lines(&out);
    let expected = serde_json::json!({
        "path": "./sub/run.pl", "member": null, "type": "perl", "outcome": "not_judged",
        "sha256": "",
        "reason": "no network for perl", "probability": null, "label": null, "model": null,
        "certified_bytes": null, "ranges": [], "masking": null, "packer": null,
        "benign_share": null, "outlives_additions": null,
    });
    let keys = |value: &serde_json::Value| -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(keys(&lines[1]), keys(&expected));
    assert_eq!(lines[1]["path"], expected["path"]);
    assert_eq!(lines[1]["reason"], expected["reason"]);
    assert_eq!(lines[1]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(lines[2]["summary"]["files"], 2);
    assert_eq!(lines[2]["summary"]["coverage"]["objects_judged"], 0);
    assert_eq!(lines[2]["summary"]["left_out"]["links"], 1);
}

#[test]
fn a_scan_is_the_same_at_any_number_of_threads_and_no_name_steers_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..60 {
        let name = format!("{number}\n\u{1b}[2J\u{202e}x.js");
        std::fs::write(folder.path().join(name), vec![b'a'; number * 997]).unwrap();
    }
    for form in ["--json", "--verbose"] {
        let runs: Vec<_> = ["1", "2", "7"]
            .iter()
            .map(|jobs| scan(folder.path(), &[".", form, "--jobs", jobs]))
            .collect();
        assert_eq!(runs[0], runs[1]);
        assert_eq!(runs[0], runs[2]);
        let shown = runs[0].1.chars();
        assert!(shown.clone().filter(|c| *c == '\n').count() < 70);
        assert!(!shown.into_iter().any(|c| c == '\u{1b}' || c == '\u{202e}'));
    }
    let (_, out, _) = scan(folder.path(), &[".", "--json"]);
    let path = json_lines(&out)[0]["path"].as_str().unwrap().to_owned();
    assert!(
        folder.path().join(path).exists(),
        "the path in JSON is the path"
    );
}

#[test]
fn a_scan_reads_standard_input_and_writes_sarif() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::cargo_bin("thymus")
        .unwrap()
        .args(["scan", "-", "--json", "--sarif", "out.sarif"])
        .current_dir(folder.path())
        .write_stdin("#!/usr/bin/perl\n")
        .output()
        .unwrap();
    let lines = json_lines(&text(&output.stdout));
    assert_eq!(
        (&lines[0]["path"], &lines[0]["type"]),
        (&"-".into(), &"perl".into())
    );
    let log = std::fs::read_to_string(folder.path().join("out.sarif")).unwrap();
    let log: serde_json::Value = serde_json::from_str(&log).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    assert_eq!(run["results"], serde_json::json!([]));
    let told = &run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"];
    assert_eq!(told, "not judged: no network for perl");
}

#[test]
fn a_finding_is_explained_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.php"), suspect()).unwrap();
    let (code, short, _) = scan(folder.path(), &["a.php"]);
    assert_eq!(code, Some(1), "{short}");
    assert!(short.contains(" %  at 0x"), "{short}");
    assert!(short.contains("harmless files looks as bad"), "{short}");
    let args = ["a.php", "--explain", "--sarif", "out.sarif"];
    let (_, long, _) = scan(folder.path(), &args);
    assert!(long.contains("overwritten with zeros:"), "{long}");
    let (_, json, _) = scan(folder.path(), &["a.php", "--explain", "--json"]);
    let line = &json_lines(&json)[0];
    let digits = line["ranges"][0]["hex"].as_str().unwrap();
    let (pairs, _) = digits.as_bytes().as_chunks::<2>();
    let pairs: Vec<_> = pairs.iter().take(8).map(|pair| text(pair)).collect();
    assert!(
        long.contains(&pairs.join(" ")),
        "the dump begins with {pairs:?}"
    );
    let masked = line["masking"]["ranges"].as_array().unwrap();
    let lengths = masked.iter().map(|range| range["length"].as_u64().unwrap());
    assert_eq!(line["masking"]["bytes"], lengths.sum::<u64>());
    let mut bytes = suspect().into_bytes();
    for range in masked {
        let at = |name: &str| range[name].as_u64().unwrap() as usize;
        bytes[at("offset")..at("offset") + at("length")].fill(0);
    }
    std::fs::write(folder.path().join("b.php"), &bytes).unwrap();
    let (_, masked, _) = scan(folder.path(), &["b.php", "--json"]);
    assert_eq!(line["outcome"], "malicious");
    assert_ne!(
        json_lines(&masked)[0]["outcome"],
        "malicious",
        "it is milder"
    );
    let log = std::fs::read_to_string(folder.path().join("out.sarif")).unwrap();
    let log: serde_json::Value = serde_json::from_str(&log).unwrap();
    let result = &log["runs"][0]["results"][0];
    assert_eq!(result["properties"]["ranges"], line["ranges"]);
    let region = &result["relatedLocations"][0]["physicalLocation"]["region"];
    assert_eq!(region["byteOffset"], line["ranges"][0]["shown_offset"]);
}

#[test]
fn nothing_put_behind_a_file_hides_what_is_proof_against_it() {
    let folder = tempfile::tempdir().unwrap();
    let twice = suspect().replace("?>", "") + &suspect().replace("<?php", "");
    let padding = "// The report of the year, as it was printed.\n".repeat(5_000);
    std::fs::write(folder.path().join("a.php"), &twice).unwrap();
    std::fs::write(folder.path().join("b.php"), twice + &padding).unwrap();
    let (_, json, _) = scan(folder.path(), &["--json", "a.php", "b.php"]);
    let lines = json_lines(&json);
    assert_eq!(lines[0]["outlives_additions"], true, "{json}");
    assert_eq!(lines[0]["outcome"], "malicious");
    assert_eq!(lines[1]["outcome"], "malicious");
    assert!(lines[0]["benign_share"].as_f64().unwrap() <= 1e-4);
}

#[test]
fn harmless_files_of_your_own_raise_what_a_verdict_needs() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("mine")).unwrap();
    for number in 0..150 {
        let text = format!("{}// {number}\n", suspect());
        std::fs::write(folder.path().join(format!("mine/{number}.php")), text).unwrap();
    }
    std::fs::write(folder.path().join("a.php"), suspect()).unwrap();
    assert_eq!(scan(folder.path(), &["a.php"]).0, Some(1));
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (mine, out) = (path("mine"), path("mine.toml"));
    let told = thymus(&["model", "calibrate", &mine, "--out", &out]);
    assert_eq!(told.status.code(), Some(0), "{}", text(&told.stderr));
    assert!(text(&told.stdout).contains("150 different files"));
    let args = ["a.php", "--calibration", "mine.toml"];
    assert_eq!(
        scan(folder.path(), &args).0,
        Some(0),
        "no longer out of the ordinary"
    );
    std::fs::write(folder.path().join("no.toml"), "[[calibration]]\nx = 1\n").unwrap();
    refused(
        &["scan", ".", "--calibration", "no/such.toml"],
        &["no/such.toml"],
    );
}

#[test]
fn a_scan_refuses_what_makes_no_sense() {
    refused(&["scan"], &["PATH"]);
    refused(&["scan", "no/such/file"], &["no/such/file"]);
    refused(
        &["scan", ".", "--since", "yesterday"],
        &["--since", "yesterday"],
    );
    refused(&["scan", ".", "--exclude", "a{b"], &["--exclude"]);
    refused(&["scan", ".", "--max-size", "9G"], &["--max-size"]);
    refused(&["scan", ".", "--jobs", "0"], &["--jobs"]);
}

#[test]
fn unreadable_and_huge_and_special_files_are_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let sparse = std::fs::File::create(at("sparse")).unwrap();
    sparse.set_len(4 << 30).unwrap();
    nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    let (code, out, _) = scan(folder.path(), &[".", "-v"]);
    assert_eq!(code, Some(0));
    assert!(
        out.contains("./pipe  (unknown): not a regular file (fifo)"),
        "{out}"
    );
    assert!(out.contains("./sparse  (unknown): too large"), "{out}");
}
