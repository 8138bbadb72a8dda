//! The response on the very machine that acts: processes that the tests start are stopped by a confined enforcer and go
//! on, whatever becomes of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

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
        let _left = std::fs::remove_file(&socket);
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
        std::fs::write(&policy, "responders = ['freezer']\n").unwrap();
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
        std::fs::write(&policy, "responders = ['bouncers']\n").unwrap();
        let enforcer = Enforcer::start(&state, &policy);
        talks(&heard);
        // An enforcer that gave its rights up does not get them back.
        std::fs::write(&policy, "responders = ['bouncers', 'freezer']\n").unwrap();
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
