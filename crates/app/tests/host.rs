//! The response on the very machine that acts: processes that the tests start are stopped by a confined enforcer and go
//! on, whatever becomes of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;
use thymus_respond::{Cut, Proposal, Rehearsal, Verb};
use thymus_schema::{Confidence, EntityId, Timestamp};
use thymus_testing::apart;

const TALK: &str = "THYMUS_TEST_TALK";
const SERVER: &str = "10.9.0.1:1443";

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_thymus"))
}

/// Not a test: the process that is stopped.
#[test]
fn the_talker() {
    if std::env::var_os(TALK).is_none() {
        return;
    }
    loop {
        if let Ok(mut stream) = TcpStream::connect(SERVER) {
            while stream.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(5));
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
}

struct Talker(Child);

impl Talker {
    fn new() -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_talker", "--nocapture"])
            .env(TALK, "1")
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        let _is_over = self.0.kill().and_then(|()| self.0.wait()).is_ok();
    }
}

/// Counts what is said to it.
fn listens() -> Arc<AtomicU64> {
    for line in ["link set lo up", "addr add 10.9.0.1/24 dev lo"] {
        let done = Command::new("ip").args(line.split(' ')).status();
        assert!(done.expect("iproute2 is needed").success(), "{line}");
    }
    let heard = Arc::new(AtomicU64::new(0));
    let ours = Arc::clone(&heard);
    let listener = TcpListener::bind(SERVER).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let ours = Arc::clone(&ours);
            thread::spawn(move || {
                for _ in BufReader::new(stream).bytes().map_while(Result::ok) {
                    ours.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    heard
}

fn eventually(what: &str, is: impl Fn() -> bool) {
    for _ in 0..600 {
        if is() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("not within a minute: {what}");
}

fn talks(heard: &AtomicU64) {
    let before = heard.load(Ordering::Relaxed);
    eventually("it talks", || heard.load(Ordering::Relaxed) > before + 3);
}

fn is_silent(heard: &AtomicU64) {
    eventually("it is silent", || {
        let before = heard.load(Ordering::Relaxed);
        thread::sleep(Duration::from_millis(500));
        heard.load(Ordering::Relaxed) == before
    });
}

/// An enforcer, and the folder of its state.
struct Enforcer {
    child: Child,
    state: PathBuf,
}

impl Enforcer {
    fn start(state: &Path, policy: &Path) -> Self {
        let socket = state.join("response/control");
        let _left = fs::remove_file(&socket);
        let child = Command::new(program())
            .args(["enforce", "--state"])
            .arg(state)
            .arg("--policy")
            .arg(policy)
            .spawn()
            .unwrap();
        eventually("it listens", || socket.exists());
        let state = state.to_path_buf();
        Self { child, state }
    }

    /// What a command says, and whether it did it.
    fn thymus(&self, words: &[&str]) -> (bool, String) {
        let output = Command::new(program())
            .args(words)
            .arg("--state")
            .arg(&self.state)
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (output.status.success(), said)
    }

    fn done(&self, words: &[&str]) -> String {
        let (is_done, said) = self.thymus(words);
        assert!(is_done, "{words:?}: {said}");
        said
    }

    /// Ends it as the supervisor would, or as nobody should.
    fn end(mut self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.unwrap().success());
        self.child.wait().unwrap();
    }
}

impl Drop for Enforcer {
    fn drop(&mut self) {
        // What a failed test leaves: no process that outlives it.
        let _is_over = self.child.kill().and_then(|()| self.child.wait()).is_ok();
    }
}

fn freeze(state: &Enforcer, pid: &str, time: &str) -> String {
    state.done(&[
        "contain",
        "--verb",
        "freeze_process",
        "--pid",
        pid,
        "--for",
        time,
    ])
}

#[test]
fn a_process_is_stopped_by_a_confined_enforcer_and_goes_on_whatever_becomes_of_it() {
    let name = "a_process_is_stopped_by_a_confined_enforcer_and_goes_on_whatever_becomes_of_it";
    apart("-Urnm", 500, name, || {
        let heard = listens();
        let talker = Talker::new();
        talks(&heard);
        let dir = tempfile::tempdir().unwrap();
        let (policy, state) = (dir.path().join("policy.toml"), dir.path().join("state"));
        fs::write(&policy, "responders = ['freezer']\n").unwrap();
        let enforcer = Enforcer::start(&state, &policy);
        let pid = talker.0.id().to_string();

        // By whom it talks with: rehearsed, stopped, taken back.
        let by_talk = [
            "contain",
            "--verb",
            "freeze_process",
            "--to",
            "10.9.0.1",
            "--port",
            "tcp/1443",
        ];
        let rehearsed = enforcer.done(&[&by_talk[..], &["--dry-run"]].concat());
        assert!(rehearsed.contains(&format!("pid {pid}, ")), "{rehearsed}");
        talks(&heard);
        let done = enforcer.done(&by_talk);
        assert!(done.contains("d1 is active"), "{done}");
        is_silent(&heard);
        let about = enforcer.done(&["decisions", "d1"]);
        assert!(about.contains("Holds ") && about.contains(&pid), "{about}");
        enforcer.done(&["undo", "d1"]);
        talks(&heard);

        // Its own kind and the system are never stopped, and no other verb is done by the freezer.
        let own = enforcer.child.id().to_string();
        for (pid, why) in [("1", "is the system itself"), (own.as_str(), "is Thymus")] {
            let (is_done, said) =
                enforcer.thymus(&["contain", "--verb", "freeze_process", "--pid", pid]);
            assert!(!is_done && said.contains(why), "{said}");
        }
        let (is_done, said) = enforcer.thymus(&["contain", "10.9.0.5"]);
        assert!(!is_done && said.contains("no responder"), "{said}");

        // Its time is over.
        freeze(&enforcer, &pid, "2s");
        talks(&heard);

        // kill -9: who stops others stays, and lets go in time though no enforcer came back.
        freeze(&enforcer, &pid, "25s");
        enforcer.end("-KILL");
        is_silent(&heard);
        talks(&heard);

        // kill -9, and another one comes, which has another rule: whom nobody wants stopped goes on.
        let enforcer = Enforcer::start(&state, &policy);
        freeze(&enforcer, &pid, "1h");
        is_silent(&heard);
        enforcer.end("-KILL");
        let enforcer = Enforcer::start(&state, &policy);
        is_silent(&heard);
        assert!(enforcer.done(&["decisions"]).contains("Holds "));
        enforcer.end("-KILL");
        fs::write(&policy, "responders = ['bouncers']\n").unwrap();
        let enforcer = Enforcer::start(&state, &policy);
        talks(&heard);
        // An enforcer that gave its rights up does not get them back.
        fs::write(&policy, "responders = ['bouncers', 'freezer']\n").unwrap();
        eventually("it says so", || {
            enforcer.done(&["decisions"]).contains("start thymus again")
        });
        enforcer.end("-TERM");

        // An end in good order lets go, and the next one stops it again; a panic does without any.
        let enforcer = Enforcer::start(&state, &policy);
        is_silent(&heard);
        enforcer.end("-TERM");
        talks(&heard);
        let enforcer = Enforcer::start(&state, &policy);
        is_silent(&heard);
        let gone = Enforcer {
            child: Command::new("true").spawn().unwrap(),
            state: state.clone(),
        };
        enforcer.end("-KILL");
        let (_, said) = gone.thymus(&["panic"]);
        assert!(said.contains("nothing is cut any more"), "{said}");
        talks(&heard);
    });
}

/// What tells whether a file is as it was.
fn looks(path: &Path) -> (Vec<u8>, u32, i64, i64, u32) {
    let found = fs::metadata(path).unwrap();
    let content = fs::read(path).unwrap();
    (
        content,
        found.mode(),
        found.mtime(),
        found.mtime_nsec(),
        found.uid(),
    )
}

/// Says what the analysis would: a file with the content of `path` is malicious, wherever it lies.
#[allow(
    clippy::disallowed_methods,
    reason = "what is said long ago is not heard"
)]
fn says(state: &Path, incident: &str, path: &Path) {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let at = Timestamp::from_secs(since.unwrap().as_secs().cast_signed());
    let Cut::File { sha256, bytes, .. } = Cut::file(path).unwrap() else {
        panic!("a file");
    };
    let proposal = Proposal {
        incident: incident.into(),
        confidence: Confidence::High,
        device: EntityId::device("10.9.0.1"),
        addrs: Vec::new(),
        verb: Verb::QuarantineFile,
        cuts: vec![Cut::File {
            path: None,
            sha256,
            bytes,
        }],
        reason: "test".to_owned(),
        harms: false,
        stage: 0,
        evidence_at: at,
        rehearsal: Rehearsal::default(),
    };
    let line = json!({ "say": "proposals", "at": at, "proposals": [proposal] });
    let file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(state.join("response/proposals.jsonl"));
    writeln!(file.unwrap(), "{line}").unwrap();
}

#[test]
fn a_file_is_taken_away_and_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let dir = fs::canonicalize(dir.path()).unwrap();
    let (policy, state, share) = (
        dir.join("policy.toml"),
        dir.join("state"),
        dir.join("share"),
    );
    let (inner, elsewhere) = (share.join("inner"), dir.join("elsewhere"));
    fs::create_dir_all(&inner).unwrap();
    fs::create_dir_all(&elsewhere).unwrap();
    let text = format!(
        "mode = 'act'\nresponders = ['quarantine']\nfile_roots = ['{}']\n",
        share.display()
    );
    fs::write(&policy, text).unwrap();
    let bad = inner.join("invoice.exe");
    fs::write(&bad, vec![7; 3 << 20]).unwrap();
    fs::set_permissions(&bad, fs::Permissions::from_mode(0o640)).unwrap();
    let old = Command::new("touch")
        .args(["-d", "2020-02-02 02:02:02.5"])
        .arg(&bad)
        .status();
    assert!(old.unwrap().success());
    let before = looks(&bad);
    let enforcer = Enforcer::start(&state, &policy);
    let by_hand = |path: &Path, more: &[&str]| {
        let words = [
            "contain",
            "--verb",
            "quarantine_file",
            "--file",
            path.to_str().unwrap(),
        ];
        enforcer.thymus(&[&words, more].concat())
    };

    // Rehearsed, taken, given back.
    let (is_done, said) = by_hand(&bad, &["--dry-run"]);
    assert!(
        is_done && said.contains("Takes hold of") && bad.exists(),
        "{said}"
    );
    let (is_done, said) = by_hand(&bad, &[]);
    assert!(is_done && !bad.exists(), "{said}");
    assert!(enforcer.done(&["decisions", "d1"]).contains("kept as"));
    enforcer.done(&["undo", "d1"]);
    assert_eq!(looks(&bad), before);

    // Its time is over.
    let (is_done, said) = by_hand(&bad, &["--for", "3s"]);
    assert!(is_done, "{said}");
    eventually("it is back", || bad.exists());
    assert_eq!(looks(&bad), before);

    // What is not of the folders, has another name, or is reached by a link, stays.
    let outside = elsewhere.join("invoice.exe");
    fs::copy(&bad, &outside).unwrap();
    let (linked, other) = (share.join("linked"), elsewhere.join("other"));
    fs::write(&linked, "linked").unwrap();
    fs::hard_link(&linked, &other).unwrap();
    let soft = share.join("soft");
    symlink(&outside, &soft).unwrap();
    for (path, why) in [
        (&outside, "file_roots"),
        (&linked, "other names"),
        (&soft, "cannot read"),
    ] {
        let (is_done, said) = by_hand(path, &[]);
        assert!(!is_done && said.contains(why), "{said}");
    }
    assert!(outside.exists() && linked.exists() && soft.is_symlink());
    fs::remove_file(&soft).unwrap();

    // By its content, wherever it lies below: what only looks alike stays.
    let copy = share.join("copy.bin");
    fs::copy(&bad, &copy).unwrap();
    let alike = share.join("alike.bin");
    fs::write(&alike, vec![8; 3 << 20]).unwrap();
    says(&state, "incident1", &outside);
    eventually("both are taken", || !bad.exists() && !copy.exists());
    assert!(alike.exists() && outside.exists());

    // Somebody puts a link where the folder was: nothing is written through it, and nothing is lost.
    let moved = share.join("moved");
    fs::rename(&inner, &moved).unwrap();
    symlink(&elsewhere, &inner).unwrap();
    fs::remove_file(&outside).unwrap();
    let last = enforcer.done(&["decisions"]);
    let id = last.split_whitespace().next().unwrap().to_owned();
    enforcer.done(&["undo", &id]);
    eventually("the other is back", || copy.exists());
    assert!(!outside.exists() && !bad.exists());
    fs::remove_file(&inner).unwrap();
    fs::rename(&moved, &inner).unwrap();
    eventually("it is back", || bad.exists());
    assert_eq!(looks(&bad), before);

    // kill -9 while it holds: it stays away, and a panic gives it back though no enforcer is there.
    let (is_done, said) = by_hand(&bad, &[]);
    assert!(is_done && !bad.exists(), "{said}");
    enforcer.end("-KILL");
    let enforcer = Enforcer::start(&state, &policy);
    assert!(enforcer.done(&["decisions"]).contains("kept as"));
    assert!(!bad.exists());
    let gone = Enforcer {
        child: Command::new("true").spawn().unwrap(),
        state: state.clone(),
    };
    enforcer.end("-KILL");
    let _said = gone.thymus(&["panic"]);
    assert_eq!(looks(&bad), before);
}
