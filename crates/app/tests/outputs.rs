//! `thymus tell` and `thymus export`: what is told survives kills and loses nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use thymus_store::journal::{FrameKind, JournalOptions, JournalWriter};

fn thymus() -> Command {
    Command::new(env!("CARGO_BIN_EXE_thymus"))
}

fn incident(n: u64) -> Value {
    json!({"id": format!("{n:016x}"), "rank": 1, "shown": true, "title": format!("incident {n}"),
        "hypothesis": "h", "confidence": "high", "p_value": 9.0, "first_seen": "2024-05-06T09:00:00Z",
        "last_seen": "2024-05-06T10:00:00Z", "narrative": "n", "next_steps": [], "merged_from": [],
        "affected": [{"entity": "device:10.0.0.7", "name": "reception", "aliases": [], "suspected": true}],
        "techniques": ["T1046"], "alerts": [{"id": format!("a{n:015x}"), "detector": "port_scan",
            "entity": "device:10.0.0.7", "peers": [], "phase": "reconnaissance", "techniques": ["T1046"],
            "first_seen": "2024-05-06T09:00:00Z", "last_seen": "2024-05-06T10:00:00Z", "p_value": 9.0,
            "statement": "tried ports"}]})
}

fn write(journal: &mut JournalWriter, incidents: &[Value]) {
    let json = serde_json::to_vec(incidents).unwrap();
    journal.write(FrameKind::Incidents, &json).unwrap();
}

fn journal(state: &Path) -> JournalWriter {
    JournalWriter::open(&state.join("journal"), JournalOptions::default(), 0).unwrap()
}

fn tell(state: &Path, outputs: &[String]) -> Command {
    let mut command = thymus();
    command.args(["tell", "--state"]).arg(state);
    for output in outputs {
        command.args(["--output", output]);
    }
    command
}

fn ids(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .map(|line| line["id"].as_str().unwrap().to_owned())
        .collect()
}

fn distinct(path: &Path) -> BTreeSet<String> {
    ids(path).into_iter().collect()
}

fn end(mut child: Child, signal: nix::sys::signal::Signal) {
    let id = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(id, signal).unwrap();
    child.wait().unwrap();
}

#[test]
fn kills_at_any_moment_lose_nothing_and_repeat_little() {
    const ROUNDS: u64 = 12;
    const EACH: u64 = 25;
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let (told, alerts) = (
        dir.path().join("told.jsonl"),
        dir.path().join("alerts.jsonl"),
    );
    let outputs = [
        format!("file://{}", told.display()),
        format!("file://{}?tell=alerts", alerts.display()),
    ];
    let mut journal = journal(&state);
    for round in 0..ROUNDS {
        let child = tell(&state, &outputs).spawn().unwrap();
        for n in 0..EACH {
            write(&mut journal, &[incident(round * EACH + n)]);
            std::thread::sleep(Duration::from_millis(1));
        }
        // Now sooner, now later, and sometimes before it has begun.
        std::thread::sleep(Duration::from_millis(round * 37 % 200));
        end(child, nix::sys::signal::Signal::SIGKILL);
    }
    let done = tell(&state, &outputs).arg("--once").status().unwrap();
    assert!(done.success());
    let wanted: BTreeSet<String> = (0..ROUNDS * EACH).map(|n| format!("{n:016x}")).collect();
    assert_eq!(distinct(&told), wanted);
    assert_eq!(distinct(&alerts).len() as u64, ROUNDS * EACH);
    // At most one batch is sent again after each kill.
    let most = (ROUNDS * EACH + ROUNDS * 32) as usize;
    assert!(ids(&told).len() <= most, "{} records", ids(&told).len());
    // Once more there is nothing to tell.
    let before = ids(&told).len();
    assert!(
        tell(&state, &outputs)
            .arg("--once")
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(ids(&told).len(), before);
    let position: u64 = fs::read_to_string(state.join("outputs/position"))
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(position, journal.position());
}

#[test]
fn an_output_that_is_down_is_told_of_and_costs_the_others_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let told = dir.path().join("told.jsonl");
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    let outputs = [
        format!("syslog+tcp://127.0.0.1:{port}?name=siem"),
        format!("file://{}?name=file", told.display()),
    ];
    write(&mut journal(&state), &[incident(1), incident(2)]);
    let child = tell(&state, &outputs)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let health = || -> Value {
        let text = fs::read(state.join("outputs/health.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    };
    while health()["outputs"][0]["failing_since"].is_null()
        || health()["outputs"][1]["delivered"] != 2
    {
        std::thread::sleep(Duration::from_millis(20));
    }
    let found = health();
    assert_eq!(found["outputs"][0]["name"], "siem");
    assert_eq!(found["outputs"][0]["waiting"], 2);
    assert_eq!(distinct(&told).len(), 2);
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let mut bytes = [0; 64];
    let length = std::io::Read::read(&mut stream, &mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
    assert!(
        text.contains(" <130>1 2024-05-06T10:00:00.000000Z"),
        "{text}"
    );
    end(child, nix::sys::signal::Signal::SIGTERM);
}

#[test]
fn what_is_wrong_with_an_output_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let state = dir.path().join("state");
    let said = |output: Output| String::from_utf8(output.stderr).unwrap();
    let mut run = thymus();
    run.args(["run", "--quiet", "--follow"])
        .arg(&logs)
        .arg("--state")
        .arg(&state);
    let answer = run
        .args(["--output", "file:///nowhere/x.jsonl"])
        .output()
        .unwrap();
    assert_eq!(answer.status.code(), Some(2));
    assert!(said(answer).contains("/nowhere is no folder"));
    let twice = ["file:///tmp/a.jsonl?format=ecs", "file:///tmp/a.jsonl"].map(str::to_owned);
    let answer = tell(&state, &twice).output().unwrap();
    assert_eq!(answer.status.code(), Some(2));
    assert!(said(answer).contains("give one of them a name="));
    let one = [format!("file://{}", dir.path().join("a").display())];
    let first = tell(&state, &one).spawn().unwrap();
    while !state.join("outputs/health.json").exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let answer = tell(&state, &one).output().unwrap();
    assert!(said(answer).contains("another process tells"));
    end(first, nix::sys::signal::Signal::SIGTERM);
}

/// A quiet office, and one device that tries the ports of a server.
fn scan() -> String {
    let mut text = "#separator \\x09\n#path\tconn\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\t\
        proto\tservice\tduration\torig_bytes\tresp_bytes\tconn_state\torig_pkts\tresp_pkts\n"
        .to_owned();
    for n in 0..2_400_u64 {
        let ts = 1_714_986_000 + n * 3 / 2;
        writeln!(
            text,
            "{ts}.5\tC{n}\t10.0.0.{}\t{}\t10.0.0.2\t443\ttcp\tssl\t1.5\t900\t4000\tSF\t9\t11",
            n % 9 + 10,
            40_000 + n
        )
        .unwrap();
        if (1_200..2_000).contains(&n) {
            writeln!(
                text,
                "{ts}.9\tS{n}\t10.0.0.66\t{}\t10.0.0.2\t{}\ttcp\t-\t-\t-\t-\tREJ\t1\t1",
                40_000 + n,
                n - 1_100
            )
            .unwrap();
        }
    }
    text
}

#[test]
fn a_run_tells_what_it_found_before_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("logs");
    fs::create_dir(&logs).unwrap();
    fs::write(logs.join("conn.log"), scan()).unwrap();
    let told = dir.path().join("told.jsonl");
    let answer = thymus()
        .args([
            "run",
            "--quiet",
            "--json",
            "--local",
            "10.0.0.0/24",
            "--stop-after",
            "5",
            "--follow",
        ])
        .arg(&logs)
        .arg("--state")
        .arg(dir.path().join("state"))
        .args(["--output", &format!("file://{}", told.display())])
        .output()
        .unwrap();
    let text = String::from_utf8(answer.stdout).unwrap();
    let last = text.lines().next_back();
    let last = last.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&answer.stderr)));
    let last: Value = serde_json::from_str(last).unwrap();
    let shown = last["incidents"].as_array().unwrap().iter();
    let shown: BTreeSet<String> = shown
        .map(|one| one["id"].as_str().unwrap().to_owned())
        .collect();
    assert!(!shown.is_empty(), "{last}");
    assert_eq!(distinct(&told), shown);
}

#[test]
fn a_report_is_exported_in_every_format() {
    let demo = thymus().args(["demo", "--json"]).output().unwrap();
    let export = |arguments: &[&str]| {
        let mut child = thymus()
            .args(["export"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        // Who refuses its options reads nothing.
        let _is_taken = input.write_all(&demo.stdout).is_ok();
        drop(input);
        child.wait_with_output().unwrap()
    };
    for (format, lines) in [
        ("cef", 2),
        ("ecs", 2),
        ("json", 2),
        ("navigator", 1),
        ("ocsf", 2),
        ("stix", 1),
        ("syslog", 2),
    ] {
        let answer = export(&["--format", format, "-"]);
        assert!(
            answer.status.success(),
            "{format}: {}",
            String::from_utf8_lossy(&answer.stderr)
        );
        assert_eq!(
            String::from_utf8(answer.stdout.clone())
                .unwrap()
                .lines()
                .count(),
            lines,
            "{format}"
        );
        assert_eq!(
            answer.stdout,
            export(&["--format", format, "-"]).stdout,
            "the same bytes"
        );
    }
    let with_alerts = export(&["--format", "ocsf", "--alerts", "-"]);
    assert!(
        String::from_utf8(with_alerts.stdout)
            .unwrap()
            .lines()
            .count()
            > 30
    );
    for wrong in [
        &["--format", "stix", "--state", "/nowhere"][..],
        &["--format", "stix"],
        &["--format", "xml", "-"],
    ] {
        assert_eq!(export(wrong).status.code(), Some(2), "{wrong:?}");
    }
}
