#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use super::*;
use crate::table::Hold;

/// A process that waits.
struct Sleeper(Child);

impl Sleeper {
    fn new() -> Self {
        Self(Command::new("sleep").arg("600").spawn().unwrap())
    }

    fn pid(&self) -> i32 {
        self.0.id().cast_signed()
    }

    /// Once it is stopped, or goes on.
    fn becomes(&self, is_stopped: bool) {
        for _ in 0..500 {
            if Stat::of(self.pid()).unwrap().is_stopped() == is_stopped {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("not within ten seconds");
    }

    fn cut(&self, later: u64) -> Cut {
        Cut::Process {
            pid: self.pid(),
            started: Stat::of(self.pid()).unwrap().started + later,
            boot: boot(),
        }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _is_over = self.0.kill().and_then(|()| self.0.wait()).is_ok();
    }
}

fn holds_of(cuts: Vec<Cut>) -> Holds {
    Holds::from([(DecisionId(1), Hold { cuts, until: None })])
}

fn freezer(dir: &Path, never: &[&str]) -> Freezer {
    Freezer::new(dir, never.iter().map(PathBuf::from).collect()).by_signals()
}

#[test]
fn who_has_the_number_of_another_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let sleeper = Sleeper::new();
    let freezer = freezer(dir.path(), &[]);
    let receipt = freezer.hold(&holds_of(vec![sleeper.cut(1)])).unwrap();
    assert_eq!((receipt.added, receipt.held.len()), (0, 0));
    // A book that names it, from before its number was given anew: nobody is signalled.
    let receipt = freezer.hold(&holds_of(vec![sleeper.cut(0)])).unwrap();
    assert_eq!(receipt.added, 1);
    sleeper.becomes(true);
    let path = dir.path().join("frozen.json");
    let mut book: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    book["frozen"][0]["process"]["started"] = 1.into();
    fs::write(&path, book.to_string()).unwrap();
    assert_eq!(freezer.keep_only(&BTreeSet::new()).unwrap(), 1);
    assert!(Stat::of(sleeper.pid()).unwrap().is_stopped());
}

#[test]
fn who_is_held_by_two_decisions_goes_on_after_both() {
    let dir = tempfile::tempdir().unwrap();
    let sleeper = Sleeper::new();
    let freezer = freezer(dir.path(), &[]);
    let hold = Hold {
        cuts: vec![sleeper.cut(0)],
        until: Some(Timestamp::from_secs(1_000)),
    };
    let both = Holds::from([(DecisionId(1), hold.clone()), (DecisionId(2), hold.clone())]);
    let receipt = freezer.hold(&both).unwrap();
    assert_eq!((receipt.added, receipt.held.len()), (1, 2));
    sleeper.becomes(true);
    let one = Holds::from([(DecisionId(2), hold)]);
    assert_eq!(freezer.hold(&one).unwrap().removed, 0);
    sleeper.becomes(true);
    // Let go by somebody else.
    let raw = Pid::from_raw(sleeper.pid()).unwrap();
    rustix::process::kill_process(raw, Signal::CONT).unwrap();
    sleeper.becomes(false);
    let repaired = freezer.hold(&one).unwrap().repaired;
    assert_eq!(repaired.len(), 1, "{repaired:?}");
    sleeper.becomes(true);
    assert_eq!(freezer.expire(Timestamp::from_secs(999)).unwrap(), 0);
    assert_eq!(freezer.expire(Timestamp::from_secs(1_000)).unwrap(), 1);
    sleeper.becomes(false);
}

#[test]
fn who_is_never_stopped_is_named_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let sleeper = Sleeper::new();
    let exe = fs::read_link(format!("/proc/{}/exe", sleeper.pid())).unwrap();
    let mut named = freezer(dir.path(), &[exe.to_str().unwrap()]);
    let init = Cut::Process {
        pid: 1,
        started: Stat::of(1).unwrap().started,
        boot: boot(),
    };
    let own = std::process::id().cast_signed();
    let own = Cut::Process {
        pid: own,
        started: Stat::of(own).unwrap().started,
        boot: boot(),
    };
    let cuts = vec![sleeper.cut(0), init, own];
    let grasp = named.rehearse(Verb::FreezeProcess, &cuts).unwrap();
    assert!(grasp.held.is_empty(), "{grasp:?}");
    let why: BTreeSet<&str> = grasp.spared.iter().map(|(_, why)| why.as_str()).collect();
    let all = [
        "it is Thymus",
        "it is the system itself",
        "the policy names it",
    ];
    assert_eq!(why, BTreeSet::from(all));
    let receipt = named.hold(&holds_of(cuts)).unwrap();
    assert_eq!(receipt.added, 0);
    assert!(receipt.trouble.unwrap().contains("is not frozen"));
    sleeper.becomes(false);
}

#[test]
fn who_was_stopped_by_somebody_else_stays_so() {
    let dir = tempfile::tempdir().unwrap();
    let sleeper = Sleeper::new();
    let raw = Pid::from_raw(sleeper.pid()).unwrap();
    rustix::process::kill_process(raw, Signal::STOP).unwrap();
    sleeper.becomes(true);
    let freezer = freezer(dir.path(), &[]);
    assert_eq!(
        freezer.hold(&holds_of(vec![sleeper.cut(0)])).unwrap().added,
        0
    );
    freezer.keep_only(&BTreeSet::new()).unwrap();
    assert!(Stat::of(sleeper.pid()).unwrap().is_stopped());
}

#[test]
fn what_cannot_be_written_down_is_not_done() {
    let dir = tempfile::tempdir().unwrap();
    let sleeper = Sleeper::new();
    fs::create_dir(dir.path().join("frozen.new")).unwrap();
    let error = freezer(dir.path(), &[])
        .hold(&holds_of(vec![sleeper.cut(0)]))
        .unwrap_err();
    assert!(error.to_string().contains("frozen.json"), "{error}");
    assert!(!Stat::of(sleeper.pid()).unwrap().is_stopped());
}
