//! The packet filter of a real kernel, in a network namespace that each test makes for itself, with real connections to
//! a second one.

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

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::Command;
use std::thread;
use std::time::Duration;

use net::{Dice, Far, NOW, PORTS, decided, inside, nft, run, table, talk, talks};
use thymus_respond::{
    Cut, DecisionId, Enforcer, Ledger, Mode, NeverAct, Nftables, Policy, Port, Proposal, Rehearsal,
    Responder, Side, State, Table, Verb, host,
};
use thymus_schema::{Confidence, EntityId, Timestamp, Transport};

/// Not a test: the process in the far namespace.
#[test]
fn the_far_end() {
    net::far_end();
}

#[test]
fn the_kernel_cuts_what_was_rehearsed_and_nothing_else() {
    inside(
        "the_kernel_cuts_what_was_rehearsed_and_nothing_else",
        || {
            let mut far = Far::new();
            let mut dice = Dice(0x5eed_0001);
            let mut responder = Nftables::default();
            let nobody = NeverAct::default();
            let (mut cut, mut left) = (0, 0);
            for round in 0..40 {
                let cuts: Vec<Cut> = (0..=dice.next(3)).map(|_| dice.cut()).collect();
                let wanted = table(cuts.clone(), &nobody);
                responder
                    .apply(&wanted, NOW)
                    .unwrap_or_else(|error| panic!("{round} {cuts:?}: {error}"));
                for talk in talks() {
                    let is_cut = cuts.iter().any(|cut| cut.cuts(&talk));
                    assert_eq!(
                        !far.connects(&talk),
                        is_cut,
                        "round {round}: {talk:?} with {cuts:?}\n{}",
                        nft(&["list", "table", "inet", "thymus"])
                    );
                    *(if is_cut { &mut cut } else { &mut left }) += 1;
                }
            }
            assert!(cut > 100 && left > 100, "{cut} cut, {left} left");
            responder.remove().unwrap();
            assert_eq!(nft(&["list", "tables"]), "");
        },
    );
}

#[test]
fn what_is_never_acted_upon_passes_whatever_was_decided() {
    inside(
        "what_is_never_acted_upon_passes_whatever_was_decided",
        || {
            let mut far = Far::new();
            let mut never = NeverAct::default();
            let safe = "10.9.0.11".parse().unwrap();
            never.address(safe, "it is the gateway");
            let relied_on = Port {
                transport: Transport::Tcp,
                port: PORTS[0],
            };
            never.service("10.9.0.12".parse().unwrap(), relied_on, "all rely on it");
            let own = Cut::Address {
                of: host("10.9.0.1".parse().unwrap()),
                side: Side::Both,
            };
            let its = Cut::Address {
                of: host(safe),
                side: Side::Both,
            };
            let mut responder = Nftables::default();
            responder
                .apply(&table(vec![own, its], &never), NOW)
                .unwrap();
            assert!(far.connects(&talk("10.9.0.1", "10.9.0.11", PORTS[0])));
            assert!(far.connects(&talk("10.9.0.11", "10.9.0.2", PORTS[1])));
            assert!(far.connects(&talk("10.9.0.1", "10.9.0.12", PORTS[0])));
            assert!(!far.connects(&talk("10.9.0.1", "10.9.0.12", PORTS[1])));
            assert!(!far.connects(&talk("10.9.0.12", "10.9.0.1", PORTS[0])));
        },
    );
}

#[test]
fn a_cut_ends_by_itself_when_nobody_is_left_to_end_it() {
    inside("a_cut_ends_by_itself_when_nobody_is_left_to_end_it", || {
        let mut far = Far::new();
        let of = host("10.9.0.1".parse().unwrap());
        let cut = Cut::Address {
            of,
            side: Side::Both,
        };
        let mut ledger = Ledger::default();
        let until = NOW.plus(Duration::from_millis(1_500));
        ledger.apply(&decided(1, vec![cut], until)).unwrap();
        let mut responder = Nftables::default();
        responder
            .apply(&Table::of(&ledger, &NeverAct::default()), NOW)
            .unwrap();
        let talk = talk("10.9.0.1", "10.9.0.11", PORTS[0]);
        assert!(!far.connects(&talk));
        drop(responder);
        for _ in 0..100 {
            if far.connects(&talk) {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("it did not end");
    });
}

#[test]
fn what_others_do_to_the_table_is_put_right_and_told() {
    inside("what_others_do_to_the_table_is_put_right_and_told", || {
        let mut far = Far::new();
        let cut = |addr: &str| Cut::Address {
            of: host(addr.parse().unwrap()),
            side: Side::Both,
        };
        let wanted = table(
            vec![cut("10.9.0.1"), cut("fd00:9::1")],
            &NeverAct::default(),
        );
        let mut responder = Nftables::default();
        responder.apply(&wanted, NOW).unwrap();
        nft(&["add", "table", "inet", "theirs"]);
        let (held, free) = (
            talk("10.9.0.1", "10.9.0.11", PORTS[0]),
            talk("10.9.0.2", "10.9.0.11", PORTS[0]),
        );
        for (harm, word) in [
            (&["flush", "ruleset"][..], "gone"),
            (&["delete", "table", "inet", "thymus"], "gone"),
            (&["flush", "table", "inet", "thymus"], "changed"),
            (
                &["insert", "rule", "inet", "thymus", "judge", "accept"],
                "changed",
            ),
            (
                &[
                    "add",
                    "set",
                    "inet",
                    "thymus",
                    "more",
                    "{ type ipv4_addr; }",
                ],
                "changed",
            ),
            (&["flush", "set", "inet", "thymus", "both4"], "missing"),
            (
                &["add", "element", "inet", "thymus", "both4", "{ 10.9.0.2 }"],
                "too many",
            ),
        ] {
            nft(harm);
            let receipt = responder.reconcile(&wanted, NOW).unwrap();
            let told = receipt.repaired.join("; ");
            assert!(told.contains(word), "{harm:?}: {told:?}");
            assert!(!far.connects(&held), "{harm:?}");
            assert!(far.connects(&free), "{harm:?}");
            let again = responder.reconcile(&wanted, NOW).unwrap();
            assert!(again.repaired.is_empty(), "{harm:?}: {:?}", again.repaired);
            assert!(again.cut[&DecisionId(1)].0 > 0, "what is cut is counted");
        }
        // Another process goes on with the table that it finds.
        let mut other = Nftables::default();
        let receipt = other.apply(&wanted, NOW).unwrap();
        assert_eq!((receipt.added, receipt.removed), (0, 0));
    });
}

fn proposal(number: usize, cuts: Vec<Cut>) -> Proposal {
    Proposal {
        incident: format!("incident{number}").into(),
        confidence: Confidence::High,
        device: EntityId::device(format!("10.9.{}.{}", number >> 8, number & 255)),
        addrs: Vec::new(),
        verb: Verb::BlockPattern,
        cuts,
        reason: "test".to_owned(),
        harms: false,
        stage: 0,
        evidence_at: NOW,
        rehearsal: Rehearsal::default(),
    }
}

fn acting() -> Policy {
    let mut policy = Policy {
        mode: Mode::Act,
        never: vec![
            "10.9.0.66/32".parse().unwrap(),
            "fd00:9:0:66::/64".parse().unwrap(),
        ],
        ..Policy::default()
    };
    policy.caps.devices_min = 20_000;
    policy
}

/// What the kernel holds in sets that cut, as text: set and key.
fn kernel() -> Vec<String> {
    let output = Command::new("nft")
        .args(["-j", "list", "table", "inet", "thymus"])
        .output()
        .unwrap();
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(&output.stdout) else {
        return Vec::new();
    };
    let mut held = Vec::new();
    for object in json["nftables"].as_array().unwrap() {
        let set = &object["set"];
        let name = set["name"].as_str().unwrap_or_default();
        if name.starts_with("never") {
            continue;
        }
        for element in set["elem"].as_array().into_iter().flatten() {
            let value = element.get("elem").map_or(element, |inner| &inner["val"]);
            held.push(format!("{name} {value}"));
        }
    }
    held.sort();
    held
}

/// What the journal in `dir` says should hold, put into an empty kernel table by a fresh process.
fn journaled(dir: &std::path::Path, now: Timestamp) -> Vec<String> {
    let held = thymus_respond::Journal::read(&dir.join("decisions.jnl")).unwrap();
    assert_eq!(held.damaged, 0);
    let (mut ledger, unfit) = Ledger::replay(held.changes);
    assert_eq!(unfit, 0);
    for change in ledger.due(now.max(ledger.now())) {
        ledger.apply(&change).unwrap();
    }
    let now = now.max(ledger.now());
    let mut fresh = Nftables::default();
    fresh.remove().unwrap();
    fresh
        .apply(&Table::of(&ledger, &NeverAct::of(&acting())), now)
        .unwrap();
    kernel()
}

/// A life of decisions.
struct Life {
    dir: tempfile::TempDir,
    dice: Dice,
    now: Timestamp,
    /// None while it is dead.
    enforcer: Option<Enforcer>,
    decided: usize,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut life = Self {
            dir: tempfile::tempdir().unwrap(),
            dice: Dice(seed),
            now: NOW,
            enforcer: None,
            decided: 0,
        };
        life.start();
        life
    }

    fn start(&mut self) {
        let responder = Box::<Nftables>::default();
        let open = Enforcer::open(self.dir.path(), acting(), responder, self.now);
        self.enforcer = Some(open.unwrap().0);
    }

    fn alive(&mut self) -> &mut Enforcer {
        self.enforcer.as_mut().unwrap()
    }

    /// One of the decisions there are, or one there is not.
    fn pick(&mut self) -> DecisionId {
        let decisions = self.alive().ledger().decisions();
        let mut ids: Vec<DecisionId> = decisions.map(|one| one.id).collect();
        ids.push(DecisionId(999));
        *self.dice.of(&ids)
    }

    fn decide(&mut self) {
        let mut proposals = Vec::new();
        for _ in 0..=self.dice.next(3) {
            let mut cuts = vec![self.dice.cut()];
            if self.dice.next(4) == 0 {
                let safe = ["10.9.0.66/32", "fd00:9:0:66::/64", "::ffff:10.9.0.66/128"];
                let of = self.dice.of(&safe).parse().unwrap();
                let side = Side::Both;
                cuts.push(Cut::Address { of, side }.canonical());
            }
            self.decided += 1;
            proposals.push(proposal(self.decided, cuts));
        }
        let now = self.now;
        if self.dice.next(3) == 0 {
            let duration = Duration::from_secs(60 + 600 * self.dice.next(3) as u64);
            let one = proposals.pop().unwrap();
            // A guardrail, or a halt, may say no.
            let _is_done = self.alive().order(one, "test", duration, now).is_ok();
        }
        self.alive().propose(proposals, now).unwrap();
    }

    /// kill -9: nothing is said to anybody, and the last write may be cut.
    fn crash(&mut self) {
        self.enforcer = None;
        let path = self.dir.path().join("decisions.jnl");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend(&[7, 0, 0, 0, 1, 2, 3][..self.dice.next(8)]);
        std::fs::write(&path, bytes).unwrap();
        self.start();
    }

    /// What happens next, and its name.
    fn step(&mut self) -> &'static str {
        let (now, kind) = (self.now, self.dice.next(12));
        match kind {
            0..=3 => {
                self.decide();
                "decide"
            }
            4 => {
                self.now = now.plus(Duration::from_secs(700 * self.dice.next(3) as u64));
                let now = self.now;
                self.alive().tick(now);
                "expire"
            }
            5 => {
                self.crash();
                "crash"
            }
            6 => {
                // A reboot: the kernel has forgotten everything.
                self.enforcer = None;
                nft(&["flush", "ruleset"]);
                self.start();
                "reboot"
            }
            7 => {
                let id = self.pick();
                let _may_be_over = self.alive().undo(&[id], "ann", "enough", now).is_ok();
                "undo"
            }
            8 => {
                let (id, more) = (self.pick(), Duration::from_hours(2));
                let _may_be_over = self.alive().extend(id, "ann", more, now).is_ok();
                "extend"
            }
            9 => {
                let id = self.pick();
                let _may_hold = self.alive().approve(id, "ann", now).is_ok();
                "again"
            }
            10 => {
                self.now = now.minus(Duration::from_hours(5));
                let now = self.now;
                self.alive().tick(now);
                "clock"
            }
            _ => {
                self.alive().panic("ann", now).unwrap();
                assert!(kernel().is_empty());
                self.alive().resume("ann", now).unwrap();
                "panic"
            }
        }
    }
}

/// `THYMUS_SEQUENCES` sequences of `THYMUS_STEPS` random steps (default 20 of 12): whatever happens, the kernel
/// holds what the journal says, and nothing that is never acted upon.
#[test]
fn after_any_sequence_the_kernel_holds_what_the_journal_says() {
    let many = |name: &str, default: usize| {
        let value = std::env::var(name).ok();
        value
            .and_then(|value| value.parse().ok())
            .unwrap_or(default)
    };
    let (sequences, steps) = (many("THYMUS_SEQUENCES", 20), many("THYMUS_STEPS", 12));
    inside(
        "after_any_sequence_the_kernel_holds_what_the_journal_says",
        || {
            let mut seen = BTreeMap::new();
            for sequence in 0..sequences {
                let mut life = Life::new(0x5eed_1000 + sequence as u64 * 7919);
                let said: Vec<&str> = (0..steps).map(|_| life.step()).collect();
                for what in &said {
                    *seen.entry(*what).or_insert(0) += 1;
                }
                let now = life.now.plus(Duration::from_secs(6));
                life.alive().tick(now);
                let trouble = life.alive().standing().trouble.clone();
                assert_eq!(trouble, None, "sequence {sequence}: {said:?}");
                let held = kernel();
                let is_never = |element: &String| {
                    let safe = ["10.9.0.66", "fd00:9:0:66"];
                    element.starts_with("both") && safe.iter().any(|addr| element.contains(addr))
                };
                assert!(
                    !held.iter().any(is_never),
                    "sequence {sequence}: {said:?}: {held:?}"
                );
                life.enforcer = None;
                let journaled = journaled(life.dir.path(), now);
                assert_eq!(held, journaled, "sequence {sequence}: {said:?}");
                nft(&["flush", "ruleset"]);
            }
            println!("{sequences} sequences: {seen:?}");
        },
    );
}

#[test]
fn ten_thousand_decisions_come_and_go_together() {
    inside("ten_thousand_decisions_come_and_go_together", || {
        let dir = tempfile::tempdir().unwrap();
        let open = Enforcer::open(dir.path(), acting(), Box::<Nftables>::default(), NOW);
        let mut enforcer = open.unwrap().0;
        let proposals = (0..10_000).map(|number| {
            let client: IpAddr = format!("10.10.{}.{}", number >> 8, number & 255)
                .parse()
                .unwrap();
            let cut = Cut::Pattern {
                client: host(client),
                server: host("198.51.100.7".parse().unwrap()),
                port: Some(Port {
                    transport: Transport::Tcp,
                    port: 443,
                }),
            };
            proposal(number, vec![cut])
        });
        let made = enforcer.propose(proposals.collect(), NOW).unwrap();
        assert_eq!((made.len(), kernel().len()), (10_000, 10_000));
        enforcer.undo(&made, "ann", "test", NOW).unwrap();
        assert!(kernel().is_empty());
        assert_eq!(enforcer.standing().trouble, None);
    });
}

#[test]
fn after_a_panic_what_is_proposed_lays_no_table() {
    inside("after_a_panic_what_is_proposed_lays_no_table", || {
        let dir = tempfile::tempdir().unwrap();
        let open = Enforcer::open(dir.path(), acting(), Box::<Nftables>::default(), NOW);
        let mut enforcer = open.unwrap().0;
        let cut = |addr: &str| Cut::Address {
            of: host(addr.parse().unwrap()),
            side: Side::Both,
        };
        let one = proposal(1, vec![cut("10.9.0.1")]);
        enforcer.propose(vec![one], NOW).unwrap();
        assert_eq!(kernel().len(), 1);
        enforcer.panic("ann", NOW).unwrap();
        for mode in [Mode::Act, Mode::Approve, Mode::Simulate] {
            let policy = Policy { mode, ..acting() };
            enforcer.policy_changed(policy, NOW);
            let other = proposal(2 + mode as usize, vec![cut("10.9.0.2")]);
            enforcer.propose(vec![other], NOW).unwrap();
            assert_eq!(nft(&["list", "tables"]), "", "{mode:?}");
        }
        enforcer.resume("ann", NOW).unwrap();
        assert!(kernel().is_empty(), "what was taken back stays so");
    });
}

#[test]
fn without_nft_nothing_is_half_done_and_the_remedy_is_named() {
    // The responder looks in fixed places only; in a mount namespace they can be empty.
    inside(
        "without_nft_nothing_is_half_done_and_the_remedy_is_named",
        || {
            let dir = tempfile::tempdir().unwrap();
            let file = std::fs::canonicalize("/usr/sbin/nft").expect("nft is where Debian has it");
            let nothing = dir.path().join("nothing");
            std::fs::write(&nothing, "").unwrap();
            run(&format!(
                "mount --bind {} {}",
                nothing.display(),
                file.display()
            ));
            let open = Enforcer::open(dir.path(), acting(), Box::<Nftables>::default(), NOW);
            let mut enforcer = open.unwrap().0;
            let error = enforcer
                .propose(vec![proposal(1, vec![Dice(7).cut()])], NOW)
                .unwrap_err();
            assert!(error.to_string().contains("install nftables"), "{error}");
            let states: Vec<State> = enforcer.ledger().decisions().map(|one| one.state).collect();
            assert_eq!(states, [State::Undone]);
            assert!(enforcer.standing().trouble.is_some());
            // When it is there again, nothing of what was taken back comes.
            run(&format!("umount {}", file.display()));
            enforcer.tick(NOW.plus(Duration::from_secs(6)));
            assert_eq!(enforcer.standing().trouble, None);
            assert!(kernel().is_empty());
        },
    );
}
