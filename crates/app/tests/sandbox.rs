//! The workers of `thymus scan` as the kernel sees them, and what becomes of a scan when they end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail loudly"
)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use thymus_scan::{FileReport, Limits, Reason, ScanPolicy, Worker, Workers};

const SCRIPT: &[u8] = b"#!/usr/bin/perl\n";

fn command() -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("thymus"));
    command.arg("scan-worker");
    command
}

fn with_worker<T>(
    policy: &ScanPolicy,
    limits: Limits,
    test: impl FnOnce(&mut Worker<'_>) -> T,
) -> T {
    let workers = Workers::new(&command, policy, limits, &|| 0);
    test(&mut workers.worker())
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn look(worker: &mut Worker<'_>, bytes: &[u8]) -> FileReport {
    worker.look("x.pl", &file(bytes), bytes.len() as u64)
}

fn reason(report: &FileReport) -> Option<Reason> {
    report.whole.outcome.reason()
}

fn signal(process: u32, signal: Signal) {
    kill(Pid::from_raw(process.cast_signed()), signal).unwrap();
}

/// The values of a line of `/proc/…/status` for every thread of a process.
fn status(process: u32, key: &str) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let line = |text: String| -> String {
        let mut lines = text.lines();
        let found = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        found.unwrap().trim().to_owned()
    };
    threads
        .map(|thread| line(fs::read_to_string(thread.unwrap().path().join("status")).unwrap()))
        .collect()
}

#[test]
fn a_worker_can_do_nothing_but_look() {
    let policy = ScanPolicy::default();
    with_worker(&policy, Limits::of(&policy), |worker| {
        worker.start().unwrap();
        let id = worker.process_id().unwrap();
        assert!(status(id, "Seccomp").len() > 1, "it has threads");
        let all = |key: &str, value: &str| {
            let told = status(id, key);
            assert!(told.iter().all(|told| told == value), "{key}: {told:?}");
        };
        all("Seccomp", "2");
        all("Seccomp_filters", "2");
        all("NoNewPrivs", "1");
        for key in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
            all(key, "0000000000000000");
        }
        let is_root = nix::unistd::geteuid().is_root();
        if is_root {
            all("CapBnd", "0000000000000000");
            all("Uid", "65534\t65534\t65534\t65534");
            all("Groups", "");
        }
        // Who may not look into the process is told nothing here; root may.
        if let Ok(open) = fs::read_dir(format!("/proc/{id}/fd")) {
            let mut open: Vec<String> = open
                .map(|entry| fs::read_link(entry.unwrap().path()).unwrap())
                .map(|target| target.to_string_lossy().into_owned())
                .collect();
            open.retain(|target| !target.starts_with("socket:") && target != "/dev/null");
            assert_eq!(open, [""; 0]);
        } else {
            assert!(!is_root);
        }
        let limits = fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
        let limit = |name: &str| {
            let mut lines = limits.lines();
            let line = lines.find_map(|line| line.strip_prefix(name)).unwrap();
            let mut words = line.split_whitespace();
            (
                words.next().unwrap().to_owned(),
                words.next().unwrap().to_owned(),
            )
        };
        let most = |most: u64| (most.to_string(), most.to_string());
        for (name, bound) in [
            ("Max core file size", 0),
            ("Max file size", 0),
            ("Max processes", 0),
            ("Max open files", 5),
            ("Max data size", Limits::of(&policy).memory_bytes_max),
            ("Max cpu time", Limits::of(&policy).cpu_secs_max),
        ] {
            assert_eq!(limit(name), most(bound), "{name}");
        }
        // And it still does what it is for, more than once.
        for _ in 0..2 {
            let report = look(worker, SCRIPT);
            assert_eq!(report.whole.kind.as_str(), "perl");
        }
        assert_eq!(worker.process_id(), Some(id));
    });
}

#[test]
fn a_worker_that_does_not_answer_is_ended_and_the_next_file_gets_another() {
    let policy = ScanPolicy {
        millis_max: 10,
        ..ScanPolicy::default()
    };
    with_worker(&policy, Limits::of(&policy), |worker| {
        look(worker, SCRIPT);
        let id = worker.process_id().unwrap();
        signal(id, Signal::SIGSTOP);
        while !status(id, "State").iter().all(|told| told.starts_with('T')) {
            std::thread::yield_now();
        }
        let report = look(worker, SCRIPT);
        assert_eq!(reason(&report), Some(Reason::OutOfTime));
        assert_eq!(look(worker, SCRIPT).whole.kind.as_str(), "perl");
        assert_ne!(worker.process_id(), Some(id));
    });
}

#[test]
fn a_worker_that_dies_costs_the_first_file_it_had_and_no_other() {
    let policy = ScanPolicy::default();
    with_worker(&policy, Limits::of(&policy), |worker| {
        worker.start().unwrap();
        signal(worker.process_id().unwrap(), Signal::SIGKILL);
        let report = look(worker, SCRIPT);
        assert_eq!(reason(&report), Some(Reason::WorkerDied));
        assert_eq!(report.whole.bytes, SCRIPT.len() as u64);
        assert_eq!(look(worker, SCRIPT).whole.kind.as_str(), "perl");
        // That one had a file before, which may be what it died of: a fresh one is asked.
        signal(worker.process_id().unwrap(), Signal::SIGKILL);
        assert_eq!(look(worker, SCRIPT).whole.kind.as_str(), "perl");
    });
}

#[test]
fn memory_is_bounded_by_the_system() {
    let policy = ScanPolicy::default();
    let limits = Limits {
        memory_bytes_max: 72 << 20,
        ..Limits::of(&policy)
    };
    with_worker(&policy, limits, |worker| {
        let hungry = tempfile::tempfile().unwrap();
        hungry.set_len(60 << 20).unwrap();
        let report = worker.look("x", &hungry, 60 << 20);
        assert_eq!(reason(&report), Some(Reason::WorkerDied));
        assert_eq!(look(worker, SCRIPT).whole.kind.as_str(), "perl");
    });
}

#[test]
fn what_the_policy_allows_fits_into_the_bounds() {
    let policy = ScanPolicy::default();
    with_worker(&policy, Limits::of(&policy), |worker| {
        let large = tempfile::tempfile().unwrap();
        large.set_len(policy.file_bytes_max).unwrap();
        let report = worker.look("x", &large, policy.file_bytes_max);
        assert_ne!(reason(&report), Some(Reason::WorkerDied));
        assert!(report.whole.sha256.is_some());
        // More than was said: it grew meanwhile.
        large.set_len(policy.file_bytes_max + 1).unwrap();
        let report = worker.look("x", &large, 5);
        assert_eq!(reason(&report), Some(Reason::TooLarge));
    });
}

fn scan(folder: &Path, args: &[&str]) -> Child {
    Command::new(assert_cmd::cargo::cargo_bin!("thymus"))
        .arg("scan")
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The process that `parent` started, once it waits for files.
fn child_of(parent: &Child) -> u32 {
    let tasks = format!("/proc/{}/task", parent.id());
    loop {
        for task in fs::read_dir(&tasks).unwrap() {
            let children = task.unwrap().path().join("children");
            let children = fs::read_to_string(children).unwrap_or_default();
            if let Some(id) = children.split_whitespace().next() {
                let id = id.parse().unwrap();
                let waits = |told: String| told.starts_with('S');
                let filters = status(id, "Seccomp_filters");
                // One that has a file to itself has more threads.
                let is_confined = filters.len() >= 2 && filters.iter().all(|count| count == "2");
                if is_confined && status(id, "State").into_iter().all(waits) {
                    return id;
                }
            }
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_scan_outlives_its_workers_and_tells_which_file_was_lost() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("b.pl"), SCRIPT).unwrap();
    let mut process = scan(folder.path(), &["-", "b.pl", "--json", "--jobs", "1"]);
    // It waits for standard input, with a worker at hand.
    signal(child_of(&process), Signal::SIGKILL);
    let mut input = process.stdin.take().unwrap();
    input.write_all(SCRIPT).unwrap();
    drop(input);
    let output = process.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (&lines[0]["path"], &lines[0]["reason"]),
        (&"-".into(), &"worker died".into())
    );
    assert_eq!(
        (&lines[1]["path"], &lines[1]["type"]),
        (&"b.pl".into(), &"perl".into())
    );
    assert_eq!(lines[2]["summary"]["files"], 2);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_scan_leaves_no_worker_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = scan(folder.path(), &["-"]);
    let worker = child_of(&process);
    process.kill().unwrap();
    process.wait().unwrap();
    // Ended with its parent: gone, or about to be.
    while let Ok(stat) = fs::read_to_string(format!("/proc/{worker}/stat")) {
        let is_dead = stat.contains(") Z ") || stat.contains(") X ");
        if is_dead || !stat.contains("(thymus)") {
            break;
        }
        std::thread::yield_now();
    }
}

/// Thirty million zeros in thirty thousand bytes.
fn bomb() -> Vec<u8> {
    let mut zeros = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    zeros.write_all(&vec![0; 30 << 20]).unwrap();
    zeros.finish().unwrap()
}

#[test]
fn time_is_bounded_for_each_file_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.gz"), bomb()).unwrap();
    fs::write(folder.path().join("b.pl"), b"").unwrap();
    let process = scan(folder.path(), &[".", "-v", "--max-time", "0"]);
    let output = process.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("out of time"), "{text}");
    assert!(text.contains("b.pl  (unknown): empty"), "{text}");
}

#[test]
fn without_the_sandbox_the_same_is_found_and_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.pdf"), b"%PDF-1.4\n1 0 obj\n").unwrap();
    fs::write(folder.path().join("b.gz"), bomb()).unwrap();
    let run = |args: &[&str]| scan(folder.path(), args).wait_with_output().unwrap();
    let with = run(&[".", "--json"]);
    let without = run(&[".", "--json", "--no-sandbox"]);
    assert_eq!(with.stdout, without.stdout);
    let said = String::from_utf8(without.stderr).unwrap();
    assert!(said.contains("--no-sandbox"), "{said}");
}

#[test]
fn a_worker_is_nothing_to_start_by_hand() {
    let output = command().stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("thymus scan"), "{said}");
    let help = Command::new(assert_cmd::cargo::cargo_bin!("thymus"))
        .arg("--help")
        .output()
        .unwrap();
    assert!(
        !String::from_utf8(help.stdout)
            .unwrap()
            .contains("scan-worker")
    );
}

#[test]
fn the_name_of_the_user_is_no_way_back() {
    // A file that only its owner may read is read through the descriptor, not by the worker's rights.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret.pl");
    fs::write(&path, SCRIPT).unwrap();
    let mut rights = fs::metadata(&path).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut rights, 0o400);
    fs::set_permissions(&path, rights).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o400);
    let mut out = String::new();
    let mut process = scan(folder.path(), &["secret.pl", "-v"]);
    process
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut out)
        .unwrap();
    process.wait().unwrap();
    assert!(out.contains("no network for perl"), "{out}");
}
