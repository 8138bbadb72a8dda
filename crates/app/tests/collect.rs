//! `thymus run --collect` with real senders on loopback: softflowd (Debian: softflowd) and logger (bsdutils).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use thymus_store::journal::{FrameBody, FrameKind, JournalReader};

/// Records of the capture as softflowd makes them of it.
const RECORDS: u64 = 2_295;

fn free_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

/// A run that collects.
struct Run {
    child: Child,
    said: BufReader<ChildStderr>,
}

impl Run {
    fn start(folder: &Path, on: &[String]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_thymus"));
        command.arg("run").current_dir(folder);
        for on in on {
            command.args(["--collect", on]);
        }
        command.args(["--json", "--events", "events.jsonl", "--state", "state"]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert!(line.contains("watching"), "{line}");
        Self { child, said }
    }

    /// Ends it; what it printed, one object a line.
    fn end(mut self) -> Vec<Value> {
        kill(
            Pid::from_raw(self.child.id().cast_signed()),
            Signal::SIGTERM,
        )
        .unwrap();
        let mut text = String::new();
        let out = self.child.stdout.as_mut().unwrap();
        out.read_to_string(&mut text).unwrap();
        let mut trouble = String::new();
        self.said.read_to_string(&mut trouble).unwrap();
        let status = self.child.wait().unwrap();
        assert!(
            matches!(status.code(), Some(0 | 1)),
            "{status} {trouble} {text}"
        );
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

fn coverage(told: &[Value]) -> &Value {
    let summary = told.iter().rfind(|line| line["kind"] == "summary");
    &summary.unwrap()["coverage"]
}

/// How exporters stood at the end, as the console is told.
fn exporters(state: &Path) -> Value {
    let mut journal = JournalReader::open(&state.join("journal"), 0);
    let mut last = Value::Null;
    while let Some(frame) = journal.next_of(|kind| kind == FrameKind::Status).unwrap() {
        if let FrameBody::Status(status) = frame.body {
            last = status["exporters"].clone();
        }
    }
    last
}

fn story(folder: &Path) -> String {
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lab/captures/story.pcap.gz");
    let path = folder.join("story.pcap");
    let unpacked = Command::new("gzip")
        .args(["-dc"])
        .arg(packed)
        .output()
        .unwrap();
    fs::write(&path, unpacked.stdout).unwrap();
    path.display().to_string()
}

fn logger(port: u16, options: &[&str], text: &str) {
    let mut command = Command::new("logger");
    command.args(["-n", "127.0.0.1", "-P", &port.to_string(), "-t", "sshd"]);
    let status = command.args(options).arg(text).status();
    assert!(status.expect("logger (bsdutils) is needed").success());
}

/// Logger sends datagrams and forgets them: the run is given a moment to read them.
fn settle() {
    thread::sleep(Duration::from_secs(2));
}

#[test]
fn flows_of_a_real_exporter_become_incidents() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let run = Run::start(folder.path(), &[format!("netflow://127.0.0.1:{port}")]);
    let exported = Command::new("softflowd")
        .args(["-r", &story(folder.path()), "-D", "-v", "9"])
        .args(["-n", &format!("127.0.0.1:{port}")])
        .output()
        .expect("softflowd is needed: apt-get install softflowd");
    assert!(exported.status.success(), "{exported:?}");
    settle();
    let told = run.end();
    let coverage = coverage(&told);
    assert_eq!(coverage["records"], RECORDS, "{coverage}");
    assert_eq!(coverage["records_judged"], RECORDS, "{coverage}");
    assert!(
        coverage["dropped"].as_object().unwrap().is_empty(),
        "{coverage}"
    );
    let exporters = exporters(&folder.path().join("state"));
    let it = &exporters["items"][0];
    assert_eq!(exporters["total"], 1, "{exporters}");
    assert_eq!(it["kinds"], serde_json::json!(["NetFlow v9"]), "{it}");
    assert_eq!((&it["records"], &it["lost"]), (&RECORDS.into(), &0.into()));
    let titles: Vec<String> = told
        .iter()
        .filter(|line| line["kind"] == "incident")
        .map(Value::to_string)
        .collect();
    assert!(
        titles.iter().any(|title| title.contains("10.69.189.29")),
        "{told:?}"
    );
}

#[test]
fn log_ins_come_over_datagrams_and_connections() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let run = Run::start(folder.path(), &[format!("syslog://127.0.0.1:{port}")]);
    logger(
        port,
        &["-d"],
        "Failed password for root from 10.9.9.9 port 4000 ssh2",
    );
    logger(
        port,
        &["-d", "--rfc3164"],
        "Failed password for root from 10.9.9.9 port 4001 ssh2",
    );
    logger(
        port,
        &["-T"],
        "Failed password for root from 10.9.9.9 port 4002 ssh2",
    );
    let counted = ["-T", "--octet-count"];
    logger(
        port,
        &counted,
        "Accepted password for root from 10.9.9.9 port 4003 ssh2",
    );
    logger(port, &["-d"], "Server listening on 0.0.0.0 port 22.");
    settle();
    let told = run.end();
    let coverage = coverage(&told);
    assert_eq!(coverage["records"], 5, "{coverage}");
    assert_eq!(coverage["records_judged"], 4, "{coverage}");
    assert_eq!(coverage["dropped"]["syslog_not_used"], 1, "{coverage}");
    let events = fs::read_to_string(folder.path().join("events.jsonl")).unwrap();
    let outcomes: Vec<Value> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .inspect(|event| assert_eq!(event["conn"]["client"]["addr"], "10.9.9.9", "{event}"))
        .map(|event| event["outcome"].clone())
        .collect();
    assert_eq!(outcomes, ["failure", "failure", "failure", "success"]);
}

#[test]
fn what_cannot_be_listened_on_is_said_at_once() {
    let output = Command::new(env!("CARGO_BIN_EXE_thymus"))
        .args(["run", "--collect", "netflow://192.0.2.1:2055"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("cannot listen on 192.0.2.1:2055"), "{said}");
}
