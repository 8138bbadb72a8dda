//! Processes that the tests start, with real connections in a network namespace of their own, stopped and let go by the
//! real kernel: by its freezer where this user may use that (root may), else by signals, and always by signals too.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

#[allow(dead_code, reason = "each file of tests needs a part of it")]
mod net;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use net::{Dice, NOW, inside, run};
use thymus_respond::{
    Cut, DecisionId, Enforcer, EnforcerError, Freezer, Mode, Policy, Port, Proposal, Rehearsal,
    Responder, State, Verb, boot, host,
};
use thymus_schema::{Confidence, EntityId, Timestamp, Transport};

const TALK: &str = "THYMUS_TEST_TALK";
const CLIENT: &str = "10.9.0.1";
const SERVER: &str = "10.9.0.2";
const PORTS: [u16; 2] = [1443, 1444];

/// Not a test: the process that is stopped. It says a byte every few milliseconds, and connects again when it has to.
#[test]
fn the_talker() {
    let Ok(port) = std::env::var(TALK) else {
        return;
    };
    let (from, to) = (CLIENT.parse().unwrap(), SERVER.parse().unwrap());
    let to = SocketAddr::new(to, port.parse().unwrap());
    loop {
        let socket = rustix::net::socket(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::STREAM,
            None,
        )
        .unwrap();
        rustix::net::bind(&socket, &SocketAddr::new(from, 0)).unwrap();
        if rustix::net::connect(&socket, &to).is_ok() {
            let mut stream = TcpStream::from(socket);
            while stream.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(5));
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Who is talked to: counts what is said at each port.
#[derive(Default)]
struct Server {
    heard: [Arc<AtomicU64>; 2],
}

impl Server {
    fn new() -> Self {
        run("ip link set lo up");
        for addr in [CLIENT, SERVER] {
            run(&format!("ip addr add {addr}/24 dev lo"));
        }
        let server = Self::default();
        for (port, heard) in PORTS.into_iter().zip(&server.heard) {
            let listener = TcpListener::bind((SERVER, port)).unwrap();
            let heard = Arc::clone(heard);
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let heard = Arc::clone(&heard);
                    thread::spawn(move || {
                        for _ in BufReader::new(stream).bytes().map_while(Result::ok) {
                            heard.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
            });
        }
        server
    }

    fn heard(&self, which: usize) -> u64 {
        self.heard[which].load(Ordering::Relaxed)
    }

    /// Until more is heard.
    fn hears(&self, which: usize) {
        let before = self.heard(which);
        eventually("it talks", || self.heard(which) > before + 3);
    }

    /// Until nothing more is heard for a while.
    fn hears_no_more(&self, which: usize) {
        eventually("it is silent", || {
            let before = self.heard(which);
            thread::sleep(Duration::from_millis(400));
            self.heard(which) == before
        });
    }
}

fn eventually(what: &str, is: impl Fn() -> bool) {
    for _ in 0..600 {
        if is() {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("not within half a minute: {what}");
}

/// The program that talks. A copy, as who does the stopping never stops its own kind.
struct Program(tempfile::TempDir);

impl Program {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(std::env::current_exe().unwrap(), dir.path().join("talker")).unwrap();
        Self(dir)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("talker")
    }
}

/// One that talks.
struct Talker {
    child: Child,
    which: usize,
}

impl Talker {
    fn new(program: &Program, which: usize) -> Self {
        let child = Command::new(program.path())
            .args(["--exact", "the_talker", "--nocapture"])
            .env(TALK, PORTS[which].to_string())
            .env_remove("THYMUS_TEST_INSIDE")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, which }
    }

    fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    fn proc(&self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.pid())).unwrap()
    }

    fn stat(&self, field: usize) -> String {
        let stat = self.proc("stat");
        let (_, fields) = stat.rsplit_once(')').unwrap();
        fields.split_whitespace().nth(field).unwrap().to_owned()
    }

    /// Whether the kernel says that it is stopped, by whatever means.
    fn is_stopped(&self) -> bool {
        self.stat(0) == "T" || self.is_in_a_group_of_ours()
    }

    fn is_in_a_group_of_ours(&self) -> bool {
        let group = self.proc("cgroup");
        let own = group.lines().find_map(|line| line.strip_prefix("0::/"));
        let Some(own) = own.filter(|own| own.ends_with(&self.group())) else {
            return false;
        };
        let events =
            groups().map(|root| std::fs::read_to_string(root.join(own).join("cgroup.events")));
        events.is_some_and(|events| events.is_ok_and(|events| events.contains("frozen 1")))
    }

    fn group(&self) -> String {
        format!("thymus-{}-{}", self.pid(), self.stat(19))
    }

    fn cut(&self) -> Cut {
        Cut::Process {
            pid: self.pid(),
            started: self.stat(19).parse().unwrap(),
            boot: boot(),
        }
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        let _is_over = self.child.kill().and_then(|()| self.child.wait()).is_ok();
    }
}

fn groups() -> Option<PathBuf> {
    let places = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let root = places.iter().map(Path::new);
    root.filter(|root| {
        root.join("cgroup.procs").exists() && root.join("cgroup.controllers").exists()
    })
    .map(Path::to_path_buf)
    .next()
}

/// Whether this user may make groups.
fn has_groups() -> bool {
    let probe = groups().map(|root| root.join(format!("thymus-probe-{}", std::process::id())));
    probe.is_some_and(|probe| {
        std::fs::create_dir(&probe).is_ok() && std::fs::remove_dir(&probe).is_ok()
    })
}

fn pattern(which: usize) -> Cut {
    Cut::Pattern {
        client: host(CLIENT.parse().unwrap()),
        server: host(SERVER.parse().unwrap()),
        port: Some(Port {
            transport: Transport::Tcp,
            port: PORTS[which],
        }),
    }
}

fn proposal(number: usize, cuts: Vec<Cut>) -> Proposal {
    Proposal {
        incident: format!("incident{number}").into(),
        confidence: Confidence::High,
        device: EntityId::device(CLIENT),
        addrs: vec![CLIENT.parse().unwrap()],
        verb: Verb::FreezeProcess,
        cuts,
        reason: "test".to_owned(),
        harms: false,
        stage: 0,
        evidence_at: NOW,
        rehearsal: Rehearsal::default(),
    }
}

fn acting() -> Policy {
    Policy {
        mode: Mode::Act,
        responders: vec!["freezer".to_owned()],
        ..Policy::default()
    }
}

/// An enforcer on the folder, as after a start.
fn enforcer(dir: &Path, by_signals: bool, now: Timestamp) -> Enforcer {
    let freezer = Freezer::new(dir, BTreeSet::new());
    let freezer = if by_signals {
        freezer.by_signals()
    } else {
        freezer
    };
    let (enforcer, remarks) = Enforcer::open(dir, acting(), Box::new(freezer), now).unwrap();
    assert!(remarks.is_empty(), "{remarks:?}");
    enforcer
}

fn later(mins: u64) -> Timestamp {
    NOW.plus(Duration::from_mins(mins))
}

/// The life of a decision about who talks, in one of the two ways.
fn is_stopped_and_goes_on(by_signals: bool) {
    let (server, program) = (Server::new(), Program::new());
    let (talker, other) = (Talker::new(&program, 0), Talker::new(&program, 1));
    server.hears(0);
    server.hears(1);
    let before = talker.proc("cgroup");
    let dir = tempfile::tempdir().unwrap();
    let mut respond = enforcer(dir.path(), by_signals, NOW);

    let rehearsed = respond.rehearse(proposal(1, vec![pattern(0)])).unwrap();
    let [named] = &rehearsed.rehearsal.held[..] else {
        panic!("{:?}", rehearsed.rehearsal.held);
    };
    assert!(
        named.contains(&talker.pid().to_string()) && named.contains("talker"),
        "{named}"
    );
    assert!(!talker.is_stopped(), "a rehearsal touches nothing");

    let made = respond
        .propose(vec![proposal(1, vec![pattern(0)])], NOW)
        .unwrap();
    assert_eq!(made, [DecisionId(1)]);
    eventually("it is stopped", || talker.is_stopped());
    assert_eq!(talker.is_in_a_group_of_ours(), !by_signals && has_groups());
    server.hears_no_more(0);
    server.hears(1);
    assert!(!other.is_stopped());
    assert_eq!(respond.standing().held[&DecisionId(1)].len(), 1);

    // Taken back.
    respond.undo(&[DecisionId(1)], "ann", "", NOW).unwrap();
    server.hears(0);
    assert_eq!(talker.proc("cgroup"), before, "it is where it was");

    // Its time is over.
    respond
        .propose(vec![proposal(2, vec![pattern(0)])], NOW)
        .unwrap();
    server.hears_no_more(0);
    respond.tick(later(59));
    assert!(talker.is_stopped());
    respond.tick(later(61));
    server.hears(0);

    // kill -9, and the next one comes while it holds, and another when it is over.
    let id = respond
        .order(
            proposal(3, vec![talker.cut()]),
            "ann",
            Duration::from_mins(10),
            later(61),
        )
        .unwrap();
    server.hears_no_more(0);
    drop(respond);
    assert!(talker.is_stopped());
    let respond = enforcer(dir.path(), by_signals, later(62));
    assert_eq!(respond.ledger().get(id).unwrap().state, State::Active);
    assert!(talker.is_stopped());
    drop(respond);
    let mut respond = enforcer(dir.path(), by_signals, later(90));
    assert_eq!(respond.ledger().get(id).unwrap().state, State::Expired);
    server.hears(0);

    // Who connects later is found at the next look, and a panic lets all go.
    drop(talker);
    respond
        .propose(vec![proposal(4, vec![pattern(0)])], later(90))
        .unwrap();
    let talker = Talker::new(&program, 0);
    server.hears(0);
    respond.tick(later(91));
    eventually("it is stopped", || talker.is_stopped());
    server.hears_no_more(0);
    respond.panic("ann", later(91)).unwrap();
    server.hears(0);
    assert_eq!(talker.proc("cgroup"), before);
    assert!(respond.standing().held.is_empty());
}

#[test]
fn a_process_that_talks_is_stopped_and_goes_on() {
    inside("a_process_that_talks_is_stopped_and_goes_on", || {
        is_stopped_and_goes_on(false);
    });
}

#[test]
fn a_process_is_stopped_by_signals_where_groups_cannot_be_had() {
    inside(
        "a_process_is_stopped_by_signals_where_groups_cannot_be_had",
        || is_stopped_and_goes_on(true),
    );
}

#[test]
fn who_is_never_stopped_is_refused_whoever_asks() {
    inside("who_is_never_stopped_is_refused_whoever_asks", || {
        let (server, program) = (Server::new(), Program::new());
        let talker = Talker::new(&program, 0);
        server.hears(0);
        let dir = tempfile::tempdir().unwrap();
        let never = BTreeSet::from([program.path()]);
        let mut freezer = Freezer::new(dir.path(), never);
        let grasp = freezer
            .rehearse(Verb::FreezeProcess, &[pattern(0)])
            .unwrap();
        assert!(
            grasp.held.is_empty() && grasp.spared.len() == 1,
            "{grasp:?}"
        );
        let open = Enforcer::open(dir.path(), acting(), Box::new(freezer), NOW);
        let mut respond = open.unwrap().0;
        let hour = Duration::from_hours(1);
        let error = respond
            .order(proposal(1, vec![talker.cut()]), "ann", hour, NOW)
            .unwrap_err();
        assert!(matches!(error, EnforcerError::Guard(_)), "{error}");
        assert!(error.to_string().contains("the policy names it"), "{error}");
        respond
            .propose(vec![proposal(2, vec![pattern(0)])], NOW)
            .unwrap();
        let states: Vec<State> = respond.ledger().decisions().map(|one| one.state).collect();
        assert_eq!(states, [State::Refused]);
        server.hears(0);
        // Nobody is asked to do what no responder does.
        let cut = Proposal {
            verb: Verb::BlockPattern,
            ..proposal(3, vec![pattern(0)])
        };
        let error = respond.order(cut, "ann", hour, NOW).unwrap_err();
        assert!(error.to_string().contains("no responder"), "{error}");
    });
}

/// Whatever happens: who is stopped is whom a decision that holds names, and nobody else is.
#[test]
fn after_any_sequence_those_are_stopped_whom_the_journal_names() {
    let name = "after_any_sequence_those_are_stopped_whom_the_journal_names";
    let sequences = std::env::var("THYMUS_SEQUENCES").ok();
    let sequences = sequences.and_then(|many| many.parse().ok()).unwrap_or(6);
    inside(name, || {
        let (server, program) = (Server::new(), Program::new());
        let talkers = [0, 1].map(|which| Talker::new(&program, which));
        for talker in &talkers {
            server.hears(talker.which);
        }
        let mut seen = BTreeMap::new();
        for sequence in 0..sequences {
            let mut dice = Dice(0x5eed_3000 + sequence * 7919);
            let dir = tempfile::tempdir().unwrap();
            let by_signals = dice.next(2) == 0;
            let (mut now, mut steps) = (NOW, Vec::new());
            let mut respond = enforcer(dir.path(), by_signals, now);
            for step in 0..12 {
                let said = match dice.next(8) {
                    0..=2 => {
                        let which = dice.next(2);
                        let cuts = match dice.next(2) {
                            0 => vec![pattern(which)],
                            _ => vec![talkers[which].cut()],
                        };
                        respond.propose(vec![proposal(step, cuts)], now).unwrap();
                        "decide"
                    }
                    3 => {
                        now = now.plus(Duration::from_mins(25));
                        respond.tick(now);
                        "expire"
                    }
                    4 => {
                        drop(respond);
                        now = now.plus(Duration::from_mins(25 * dice.next(2) as u64));
                        respond = enforcer(dir.path(), by_signals, now);
                        "crash"
                    }
                    5 => {
                        let ids: Vec<_> = respond.ledger().active().map(|one| one.id).collect();
                        if let Some(id) = ids.first() {
                            respond.undo(&[*id], "ann", "", now).unwrap();
                        }
                        "undo"
                    }
                    6 => {
                        // Somebody else lets all go behind our back.
                        Freezer::new(dir.path(), BTreeSet::new()).remove().unwrap();
                        "meddle"
                    }
                    _ => {
                        respond.panic("ann", now).unwrap();
                        assert!(talkers.iter().all(|one| !one.is_stopped()));
                        respond.resume("ann", now).unwrap();
                        "panic"
                    }
                };
                *seen.entry(said).or_insert(0) += 1;
                steps.push(said);
            }
            now = now.plus(Duration::from_secs(6));
            respond.tick(now);
            assert_eq!(respond.standing().trouble, None, "{sequence}: {steps:?}");
            for talker in &talkers {
                let names = |cut: &Cut| *cut == pattern(talker.which) || *cut == talker.cut();
                let wanted = respond
                    .ledger()
                    .active()
                    .any(|one| one.cuts.iter().any(names));
                if wanted {
                    eventually("it is stopped", || talker.is_stopped());
                    server.hears_no_more(talker.which);
                } else {
                    assert!(!talker.is_stopped(), "{sequence}: {steps:?}");
                    server.hears(talker.which);
                }
            }
            respond.leave().unwrap();
            assert!(talkers.iter().all(|one| !one.is_stopped()));
        }
        println!("{sequences} sequences: {seen:?}");
    });
}
