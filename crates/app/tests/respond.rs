//! The response from packets to the kernel's packet filter, in a network namespace that the test makes for itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "answers/hook.rs"]
#[allow(
    dead_code,
    clippy::disallowed_methods,
    reason = "links are tried out in answers.rs"
)]
mod hook;

use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, bind, socket};
use nix::unistd::Pid;
use serde_json::Value;
use thymus_testing::apart;

use hook::{Hook, Person, account, token};

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_thymus"))
}

fn inside(name: &str, test: impl FnOnce()) {
    apart("-Urnm", 400, name, test);
}

/// What a command prints; it has to succeed.
fn said(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {err}");
    String::from_utf8(output.stdout).unwrap()
}

fn nft(arguments: &[&str]) -> String {
    said(Path::new("nft"), arguments)
}

/// Packets of the lab's story that fit on the wire, sent again and again from a thread.
struct Attack {
    is_over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Attack {
    fn begin() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lab/captures/story.pcap.gz");
        let mut all = Vec::new();
        flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap())
            .read_to_end(&mut all)
            .unwrap();
        let mut packets = Vec::new();
        let mut rest = &all[24..];
        while rest.len() > 16 {
            let length = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
            if length <= 1514 {
                packets.push(rest[16..16 + length].to_vec());
            }
            rest = &rest[16 + length..];
        }
        let link = nix::ifaddrs::getifaddrs()
            .unwrap()
            .filter(|one| one.interface_name == "out0")
            .find_map(|one| one.address?.as_link_addr().copied())
            .unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let wire = socket(
                AddressFamily::Packet,
                SockType::Raw,
                SockFlag::empty(),
                None,
            );
            let wire = wire.unwrap();
            bind(wire.as_raw_fd(), &link).unwrap();
            for some in packets.chunks(20).cycle() {
                for packet in some {
                    nix::sys::socket::send(wire.as_raw_fd(), packet, MsgFlags::empty()).unwrap();
                }
                if theirs.load(Ordering::Relaxed) {
                    return;
                }
                thread::sleep(Duration::from_millis(10));
            }
        });
        Self {
            is_over,
            thread: Some(thread),
        }
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _is_over = self.thread.take().map(thread::JoinHandle::join);
    }
}

/// A run, and the folder of its state.
struct Run {
    child: Child,
    state: PathBuf,
}

impl Run {
    fn start(state: &Path, policy: &Path) -> Self {
        Self::with(state, policy, &[])
    }

    fn with(state: &Path, policy: &Path, more: &[&str]) -> Self {
        let child = Command::new(program())
            .args([
                "run",
                "--interface",
                "in0",
                "--local",
                "10.0.0.0/8",
                "--quiet",
            ])
            .args(["--keep-packets", "0", "--state"])
            .arg(state)
            .arg("--respond")
            .arg(policy)
            .args(more)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            state: state.to_path_buf(),
        }
    }

    fn thymus(&self, arguments: &[&str]) -> String {
        let state = self.state.to_str().unwrap();
        said(&program(), &[arguments, &["--state", state]].concat())
    }

    /// The decisions, once there is one of these states.
    fn decided(&self, state: &str) -> Vec<Value> {
        let mut seen = Vec::new();
        for _ in 0..400 {
            let lines = self.thymus(&["decisions", "--all", "--json"]);
            seen = lines
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            if seen.iter().any(|one: &Value| one["state"] == state) {
                return seen;
            }
            thread::sleep(Duration::from_millis(200));
        }
        panic!("nothing became {state}: {seen:?}");
    }

    fn pid_of(&self, name: &str) -> Option<i32> {
        let note = std::fs::read(self.state.join("processes.json")).ok()?;
        let note: Value = serde_json::from_slice(&note).ok()?;
        let mut processes = note["processes"].as_array()?.iter();
        let found = processes.find(|one| one["name"] == name)?;
        found["pid"].as_i64().map(|pid| pid as i32)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _is_asked = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).is_ok();
        let _is_over = self.child.wait().is_ok();
    }
}

fn eventually(what: &str, is: impl Fn() -> bool) {
    for _ in 0..200 {
        if is() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("not within twenty seconds: {what}");
}

/// A person is asked about whole destinations; the rest is only simulated.
const ASK: &str = "'simulate'\nrules = [{ mode = 'approve', verbs = ['block_destination'] }]";
const CAPS: &str = "confidence = \"medium\"\nminutes = 10\n[caps]\nflows_share = 1.0\nflows_of_device_share = 1.0\n";

/// Where the attack is sent, and where it is seen.
fn cable() {
    for line in [
        "link set lo up",
        "link add out0 type veth peer name in0",
        "link set out0 up",
        "link set in0 up",
    ] {
        said(Path::new("ip"), &line.split(' ').collect::<Vec<_>>());
    }
}

#[test]
fn a_policy_that_acts_contains_an_attack_by_itself() {
    inside("a_policy_that_acts_contains_an_attack_by_itself", || {
        cable();
        let dir = tempfile::tempdir().unwrap();
        let (policy, state) = (dir.path().join("policy.toml"), dir.path().join("state"));
        std::fs::write(&policy, format!("mode = 'act'\n{CAPS}")).unwrap();
        let run = Run::start(&state, &policy);
        let _attack = Attack::begin();
        let all = run.decided("active");
        let active = all.iter().find(|one| one["state"] == "active").unwrap();
        let device = active["device"].as_str().unwrap().replace("device:", "");
        let held = nft(&["list", "table", "inet", "thymus"]);
        assert!(held.contains(&device) && held.contains("timeout"), "{held}");
        let by = active["history"][0]["by"].as_str();
        assert_eq!(by, Some("thymus"), "nobody was asked");
    });
}

#[test]
fn a_link_in_a_webhook_lets_an_analyst_contain_an_attack() {
    inside(
        "a_link_in_a_webhook_lets_an_analyst_contain_an_attack",
        || {
            cable();
            let dir = tempfile::tempdir().unwrap();
            let (policy, state) = (dir.path().join("policy.toml"), dir.path().join("state"));
            std::fs::write(&policy, format!("mode = {ASK}\n{CAPS}")).unwrap();
            std::fs::create_dir(&state).unwrap();
            account(&program(), &state, "ann", "analyst");
            let hook = Hook::start();
            let (at, url) = ("127.0.0.1:8642", "http://127.0.0.1:8642");
            let output = hook.output(dir.path());
            let more = ["--console", at, "--console-url", url, "--output", &output];
            let run = Run::with(&state, &policy, &more);
            let _attack = Attack::begin();
            let asked = hook.told("a question", |one| one["state"] == "pending");
            assert_eq!(asked["verb"], "block_destination");
            assert!(asked["incident"].as_str().is_some_and(|id| id.len() == 16));
            eventually("the console listens", || {
                std::net::TcpStream::connect(at).is_ok()
            });
            let held = || nft(&["list", "table", "inet", "thymus"]);
            let ann = Person::login(url, "ann");
            let link = token(&asked);
            let (status, said) = ann.answer(&link, "approve");
            assert_eq!(status, 200, "{said}");
            let device = asked["device"].as_str().unwrap().replace("device:", "");
            assert!(held().contains(&format!("{device} . ")), "{}", held());
            let id = &asked["id"];
            let is =
                |state: &'static str| move |one: &Value| one["id"] == *id && one["state"] == state;
            let active = hook.told("its being in force", is("active"));
            assert_eq!(
                (&active["by"], &active["cuts"]),
                (&Value::from("ann"), &asked["cuts"])
            );
            assert_eq!(ann.answer(&link, "approve").0, 410, "once");
            run.thymus(&["undo", id.as_str().unwrap()]);
            assert!(!held().contains(&format!("{device} . ")), "{}", held());
            hook.told("its being over", is("cleared"));
        },
    );
}

#[test]
fn an_attack_is_contained_and_everything_can_be_taken_back() {
    inside(
        "an_attack_is_contained_and_everything_can_be_taken_back",
        || {
            cable();
            let dir = tempfile::tempdir().unwrap();
            let (policy, state) = (dir.path().join("policy.toml"), dir.path().join("state"));
            let allow = |mode: &str| {
                let fresh = dir.path().join("fresh.toml");
                std::fs::write(&fresh, format!("mode = {mode}\n{CAPS}")).unwrap();
                std::fs::rename(fresh, &policy).unwrap();
            };
            allow("'simulate'");
            let run = Run::start(&state, &policy);
            let attack = Attack::begin();
            run.decided("simulated");
            assert_eq!(
                nft(&["list", "tables"]),
                "",
                "who simulates touches nothing"
            );
            assert!(run.thymus(&["decisions"]).contains("only simulates"));

            // A person is asked, says yes, and takes it back.
            allow(ASK);
            let all = run.decided("pending");
            let pending = all.iter().find(|one| one["state"] == "pending").unwrap();
            let name = pending["name"].as_str().unwrap().to_owned();
            run.thymus(&["approve", &name]);
            let held = || nft(&["list", "table", "inet", "thymus"]);
            let device = pending["device"].as_str().unwrap().replace("device:", "");
            assert!(held().contains(&device), "{}", held());
            let about = run.thymus(&["decisions", &name]);
            assert!(about.contains("active until"), "{about}");
            run.thymus(&["undo", &name, "--why", "enough"]);
            assert!(!held().contains(&format!("{device} . ")), "{}", held());

            // Again after all. Who carries it out is killed: the kernel goes on, and so does who comes next.
            run.thymus(&["approve", &name]);
            let before = held();
            let killed = run.pid_of("enforcer").unwrap();
            kill(Pid::from_raw(killed), Signal::SIGKILL).unwrap();
            assert!(held().contains("timeout"), "{before}");
            eventually("another enforcer", || {
                run.pid_of("enforcer").is_some_and(|pid| pid != killed)
            });
            eventually("it answers", || {
                !run.thymus(&["decisions"]).contains("No enforcer")
            });
            assert!(held().contains("timeout"));

            // A policy that cannot be read changes nothing.
            std::fs::write(&policy, "mode = \"perhaps\"\n").unwrap();
            eventually("the fault is told", || {
                run.thymus(&["decisions"]).contains("perhaps")
            });
            assert!(held().contains("timeout"));
            allow(ASK);

            run.thymus(&["panic"]);
            assert_eq!(nft(&["list", "tables"]), "");
            thread::sleep(Duration::from_secs(3));
            assert_eq!(
                nft(&["list", "tables"]),
                "",
                "the attack goes on, and nothing is done"
            );
            assert!(run.thymus(&["decisions"]).contains("panic --resume"));
            run.thymus(&["panic", "--resume"]);
            drop(attack);
        },
    );
}

#[test]
fn a_person_contains_what_nobody_proposed() {
    inside("a_person_contains_what_nobody_proposed", || {
        let dir = tempfile::tempdir().unwrap();
        let (policy, state) = (dir.path().join("policy.toml"), dir.path().join("state"));
        std::fs::write(&policy, "never = ['10.0.0.1/32']\n").unwrap();
        let child = Command::new(program())
            .args(["enforce", "--state"])
            .arg(&state)
            .arg("--policy")
            .arg(&policy)
            .spawn()
            .unwrap();
        let enforcer = Run { child, state };
        let socket = enforcer.state.join("response/control");
        eventually("it listens", || socket.exists());
        let about =
            std::fs::read_to_string(format!("/proc/{}/status", enforcer.child.id())).unwrap();
        assert!(about.contains("NoNewPrivs:\t1") && about.contains("Seccomp:\t2"));
        let rehearsed = enforcer.thymus(&["contain", "10.0.0.5", "--dry-run"]);
        assert!(rehearsed.contains("all of 10.0.0.5"), "{rehearsed}");
        assert_eq!(nft(&["list", "tables"]), "", "a rehearsal touches nothing");
        let done = enforcer.thymus(&["contain", "10.0.0.5", "--for", "2h", "--why", "ticket 4711"]);
        assert!(done.contains("d1 is active"), "{done}");
        let held = || nft(&["list", "table", "inet", "thymus"]);
        assert!(
            held().contains("10.0.0.5 ") && held().contains("timeout 2h"),
            "{}",
            held()
        );
        let one = "--verb block_pattern --to 10.0.0.9 --port tcp/445";
        let words: Vec<&str> = ["contain", "10.0.0.6"]
            .into_iter()
            .chain(one.split(' '))
            .collect();
        enforcer.thymus(&words);
        let element = "10.0.0.6 . 10.0.0.9 . tcp . 445";
        assert!(held().contains(element), "{}", held());
        enforcer.thymus(&["undo", "d1", "d2"]);
        assert!(!held().contains("timeout 2h") && !held().contains(element));
        let state = enforcer.state.to_str().unwrap();
        for (words, said) in [
            ("10.0.0.1", "the policy names it"),
            ("10.0.0.7 --verb block_pattern", "--port tcp/443"),
            ("10.0.0.7 --verb enforce_life", "quarantine"),
            ("10.0.0.7 --to 10.0.0.8", "--to goes with"),
            ("10.0.0.7 --verb notify", "by hand"),
        ] {
            let output = Command::new(program())
                .args(["contain", "--state", state])
                .args(words.split(' '))
                .output()
                .unwrap();
            let err = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.code() == Some(2) && err.contains(said),
                "{words}: {err}"
            );
        }
    });
}

#[test]
fn a_policy_is_checked_before_it_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let output = Command::new(program())
            .arg("policy")
            .arg(&file)
            .output()
            .unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &err,
        )
    };
    let (code, said) = check("");
    assert!(code == Some(0) && said.contains("only simulates"), "{said}");
    let (code, said) = check(
        "mode = \"act\"\nprobes = [\"tcp://10.0.0.9:443\"]\n[[rules]]\nmode = \"approve\"\nhours = { from = 8, to = 18 }\n",
    );
    assert!(code == Some(0) && said.contains("acts"), "{said}");
    for (wrong, word) in [
        ("mod = \"act\"", "mod"),
        ("mode = \"perhaps\"", "perhaps"),
        ("minutes = 0", "minutes"),
        ("probes = [\"http://x\"]", "tcp://HOST:PORT"),
        ("[[rules]]\nhours = { from = 9, to = 9 }", "hours"),
        ("never = [\"10.0.0.300\"]", "never"),
    ] {
        let (code, said) = check(wrong);
        assert!(
            code == Some(2) && said.contains(word) && said.contains("policy.toml"),
            "{wrong}: {said}"
        );
    }
}
