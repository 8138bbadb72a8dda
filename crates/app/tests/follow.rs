//! `thymus run --follow` on logs that grow while it runs, with deaths in between: what it finds is what a
//! replay of the same logs finds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const HEADER: &str = "#separator \\x09\n#path\tconn\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\t\
     id.resp_p\tproto\tservice\tduration\torig_bytes\tresp_bytes\tconn_state\torig_pkts\tresp_pkts\n";

/// An hour of an office, and in it one device that tries a thousand ports of a server.
#[expect(clippy::disallowed_methods, reason = "logs of today")]
fn lines() -> Vec<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let begin = now.as_secs() - 2 * 3_600;
    let mut lines = Vec::new();
    for n in 0..2_400u64 {
        let ts = begin + n * 3 / 2;
        let (host, port) = (n % 9 + 10, 40_000 + n % 20_000);
        let mut line = String::new();
        writeln!(
            line,
            "{ts}.{:06}\tC{n}\t10.0.0.{host}\t{port}\t10.0.0.2\t443\ttcp\tssl\t1.5\t900\t4000\tSF\t9\t11",
            n % 1_000_000
        )
        .unwrap();
        if n >= 1_200 && n % 2 == 0 && n < 2_000 {
            let tried = n - 1_100;
            writeln!(
                line,
                "{ts}.9\tS{n}\t10.0.0.66\t{port}\t10.0.0.2\t{tried}\ttcp\t-\t-\t-\t-\tREJ\t1\t1"
            )
            .unwrap();
        }
        lines.push(line);
    }
    lines
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn start(logs: &Path, state: &Path) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_thymus"))
        .args([
            "run",
            "--json",
            "--quiet",
            "--local",
            "10.0.0.0/8",
            "--follow",
        ])
        .arg(logs)
        .arg("--state")
        .arg(state)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    (child, stdout)
}

/// Detectors by device.
fn found(incidents: &[Value]) -> BTreeSet<String> {
    let alerts = incidents
        .iter()
        .flat_map(|one| one["alerts"].as_array().unwrap());
    alerts
        .map(|one| format!("{} {} {}", one["detector"], one["entity"], one["p_value"]))
        .collect()
}

/// Reads incidents until they say what is wanted.
fn hear(stdout: &mut impl BufRead, wanted: &BTreeSet<String>) {
    let mut line = String::new();
    while stdout.read_line(&mut line).unwrap() > 0 {
        let incident: Value = serde_json::from_str(&line).unwrap();
        if incident["kind"] == "incident" && found(&[incident]).is_superset(wanted) {
            return;
        }
        line.clear();
    }
    panic!("it ended and had not said {wanted:?}");
}

fn analysis_of(child: &Child) -> Pid {
    loop {
        let id = child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        if let Some(first) = children.unwrap_or_default().split_whitespace().next() {
            return Pid::from_raw(first.parse().unwrap());
        }
        std::thread::yield_now();
    }
}

#[test]
fn followed_logs_give_what_replayed_logs_give_whoever_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (logs, state) = (folder.path().join("logs"), folder.path().join("state"));
    std::fs::create_dir(&logs).unwrap();
    let whole = folder.path().join("whole");
    std::fs::create_dir(&whole).unwrap();
    let lines = lines();
    append(
        &whole.join("conn.log"),
        &(HEADER.to_owned() + &lines.concat()),
    );
    let replay = Command::new(env!("CARGO_BIN_EXE_thymus"))
        .args(["replay", "--json", "--local", "10.0.0.0/8"])
        .arg(&whole)
        .output()
        .unwrap();
    let replay: Value = serde_json::from_slice(&replay.stdout).unwrap();
    let wanted = found(replay["incidents"].as_array().unwrap());
    assert!(!wanted.is_empty());

    let log = logs.join("conn.log");
    append(&log, HEADER);
    let (mut run, _) = start(&logs, &state);
    let halves = lines.split_at(1_500);
    for (n, some) in halves.0.chunks(300).enumerate() {
        append(&log, &some.concat());
        if n % 2 == 1 {
            kill(analysis_of(&run), Signal::SIGKILL).unwrap();
        }
    }
    // The second half comes after a rotation, and after everything was killed.
    run.kill().unwrap();
    run.wait().unwrap();
    std::fs::rename(&log, logs.join("conn.1.log")).unwrap();
    append(&log, HEADER);
    append(&log, &halves.1.concat());

    let (mut run, mut stdout) = start(&logs, &state);
    hear(&mut stdout, &wanted);
    kill(Pid::from_raw(run.id().cast_signed()), Signal::SIGTERM).unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(1));
    let summary: Value = serde_json::from_str(rest.lines().last().unwrap()).unwrap();
    assert_eq!(found(summary["incidents"].as_array().unwrap()), wanted);
    assert_eq!(
        summary["coverage"]["records"],
        replay["coverage"]["records"]
    );
}

#[test]
fn another_folder_is_followed_from_a_reload_on_and_no_line_is_lost_or_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let (state, file) = (folder.path().join("state"), folder.path().join("a.toml"));
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    for logs in [&first, &second] {
        std::fs::create_dir(logs).unwrap();
        append(&logs.join("conn.log"), HEADER);
    }
    std::fs::write(&file, "follow = [\"first\"]\nlocal = [\"10.0.0.0/8\"]\n").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_thymus"))
        .args(["run", "--json", "--quiet", "--config"])
        .arg(&file)
        .arg("--state")
        .arg(&state)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !state.join("processes.json").exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let all = lines();
    let rows: Vec<&str> = all.iter().flat_map(|some| some.lines()).collect();
    let analysis = analysis_of(&child);
    for (n, row) in rows.iter().enumerate() {
        if n == rows.len() / 3 {
            std::fs::write(
                &file,
                "follow = [\"first\", \"second\"]\nlocal = [\"10.0.0.0/8\"]\ninterface = \"eth0\"\n",
            )
            .unwrap();
            let reload = Command::new(env!("CARGO_BIN_EXE_thymus"))
                .args(["reload", "--state"])
                .arg(&state)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&reload.stdout);
            assert!(
                said.contains("interface stays unset: it needs a restart"),
                "{said}"
            );
            assert!(said.contains("follow from "), "{said}");
        }
        let logs = if n % 2 == 0 { &first } else { &second };
        append(&logs.join("conn.log"), &format!("{row}\n"));
    }
    while analysis_of(&child) == analysis {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // Every line becomes an event, once.
    let count = || {
        let mut seen = std::collections::BTreeMap::<String, u32>::new();
        let mut reader = thymus_store::journal::JournalReader::open(&state.join("journal"), 0);
        while let Some(frame) = reader.read().unwrap() {
            if let thymus_store::journal::FrameBody::Events(events) = &frame.body {
                for event in events {
                    *seen.entry(format!("{:?}", event.id)).or_default() += 1;
                }
            }
        }
        seen
    };
    // A minute of patience: logs that nobody writes to give out what waits for its time.
    for _ in 0..600 {
        if count().len() >= rows.len() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    child.wait().unwrap();
    let seen = count();
    assert_eq!(seen.len(), rows.len());
    assert!(seen.values().all(|times| *times == 1));
}
