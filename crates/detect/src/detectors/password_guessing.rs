//! # Password guessing
//!
//! ## What it flags
//! Many failed log-ins of one device or outsider at one server: over SSH, remote desktop, SMB, NTLM,
//! Kerberos, HTTP, FTP, mail, telnet, VNC, databases and whatever else shows its log-ins; where
//! everything is encrypted, many short connections of one size at a rate people cannot reach.
//!
//! ## Why it matters
//! Guessing is the cheapest way in. A success after many failures means that it worked.
//!
//! ## How it scores
//! Per hour, guesser, server and protocol: the number of failures beyond a forgetful person's few (two digits per factor of ten),
//! the most in one minute (one and a half digits), and how many accounts were tried. Attempts whose end cannot be seen
//! count half. A single account retried at a slow pace is what a program with an expired password
//! does, so it counts half. A success that follows many failures adds one to two and a half digits, unless the
//! account was used from there before. What is done on many days is worth less. An outsider's
//! failures count half: exposed hosts are tried all day.
//!
//! ## Evidence
//! The server, protocol, number of failures, the most in a minute, the accounts, and the account
//! that got in; the first attempts' events.
//!
//! ## What would have been normal
//! A few failures an hour, followed by success.
//!
//! ## Known false alarms
//! Scripts with a wrong password in a tight loop, password managers trying old entries, vulnerability
//! scanners, load tests of log-in pages.
//!
//! ## ATT&CK
//! T1110 Brute Force, T1110.001 Password Guessing.
//!
//! ## Sources
//! Javed and Paxson, *Detecting Stealthy, Distributed SSH Brute-Forcing*, CCS 2013, for how often
//! people fail; Hellemons et al., *SSHCure: A Flow-Based SSH Intrusion Detection System*, 2012, for
//! guessing seen in flows alone.

use thymus_schema::{
    EntityId, Event, FlowId, Outcome, Peer, PeerRole, Phase, SnapshotError, SnapshotReader,
    SnapshotWriter, Statement, Technique, Timestamp, Value,
};

use crate::attempts::Attempt;
use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::habit::Habits;
use crate::interest::Interest;
use crate::memory::Memory;
use crate::party::Party;
use crate::table::Table;
use crate::tails;
use crate::trail::{Trail, key_of};
use crate::window::{Distinct, Names, Window};

/// The registration.
pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "password_guessing",
    title: "Password guessing",
    phase: Phase::Credentials,
    techniques: &[Technique::new("T1110"), Technique::new("T1110.001")],
    source: include_str!("password_guessing.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(PasswordGuessing::default()),
};

const PAIRS_MAX: usize = 16_384;
const HABITS_MAX: usize = 65_536;
/// Failures after which a success is telling.
const FAILURES_TELLING: f64 = 8.0;

#[derive(Default)]
struct Pair {
    window: Window,
    trail: Trail,
    failures: f64,
    unclear: f64,
    users: Distinct,
    names: Names,
    /// The account that got in after many failures, and whether it had been used from there before.
    got_in: Option<(Box<str>, bool)>,
    /// Whether log-ins were seen in their own events, so that flows add nothing.
    has_logins: bool,
    answer: Option<(u16, u64)>,
    alike: f64,
    /// One authentication may be seen twice, as its carrier's and as its own.
    last: (FlowId, Timestamp),
    earlier_days: f64,
}

/// The detector's state.
struct PasswordGuessing {
    pairs: Table<u64, Pair>,
    /// Accounts that were let in, by client, server and account.
    known: Habits,
    /// Pairs that failed a lot, by day.
    failing: Habits,
}

impl Default for PasswordGuessing {
    fn default() -> Self {
        Self {
            pairs: Table::new(PAIRS_MAX),
            known: Habits::new(HABITS_MAX),
            failing: Habits::new(HABITS_MAX),
        }
    }
}

impl Detector for PasswordGuessing {
    fn interest(&self) -> Interest {
        Interest::LOGIN.and(Interest::HTTP).and(Interest::FLOW)
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.pairs, &mut self.known, &mut self.failing]
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let Some(attempt) = Attempt::of(event) else {
            return;
        };
        let (Some(client), Some(server), Some(conn)) = (cx.client(), cx.server(), &event.conn)
        else {
            return;
        };
        let key = key_of((client.key(), server.key(), attempt.service));
        let account = key_of((key, attempt.user));
        if attempt.outcome == Outcome::Success && self.pairs.get(&key).is_none() {
            // Almost all log-ins end here.
            self.known.note(account, event.ts);
            return;
        }
        let pair = self.pairs.entry(key, Pair::default);
        if pair.window.turns(event.ts) {
            *pair = Pair {
                window: pair.window,
                has_logins: pair.has_logins,
                ..Pair::default()
            };
        }
        if attempt.outcome == Outcome::Failure
            && conn.flow != FlowId::default()
            && pair.last.0 == conn.flow
            && event.ts.secs_since(pair.last.1) < 0.05
        {
            return;
        }
        pair.last = (conn.flow, event.ts);
        let was_known = self.known.knows(account);
        if attempt.outcome == Outcome::Success {
            self.known.note(account, event.ts);
        }
        if !pair.take(event, &attempt, was_known) {
            return;
        }
        if pair.failures + pair.unclear >= FAILURES_TELLING {
            pair.earlier_days = self.failing.note(key, event.ts);
        }
        let score = pair.score(client);
        if cx.matters(score) && pair.window.rises(score) {
            pair.raise(key, score, (client, server), attempt.service, cx);
        }
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.known.snapshot(out);
        self.failing.snapshot(out);
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        self.known = Habits::restore(HABITS_MAX, from)?;
        self.failing = Habits::restore(HABITS_MAX, from)?;
        Ok(())
    }
}

impl Pair {
    /// Takes in an attempt; whether anything that counts came of it.
    fn take(&mut self, event: &Event, attempt: &Attempt<'_>, was_known: bool) -> bool {
        if attempt.only_flow && self.has_logins {
            return false;
        }
        self.has_logins |= !attempt.only_flow;
        let tried = self.failures + self.unclear;
        match attempt.outcome {
            Outcome::Success => {
                if tried < FAILURES_TELLING || self.got_in.is_some() {
                    return false;
                }
                self.got_in = Some((attempt.user.into(), was_known));
                self.trail.push(event);
                return true;
            }
            Outcome::Failure => self.failures += attempt.count,
            Outcome::Unknown => {
                if self.stands_out(attempt) {
                    // A flow of another size is anything; a page that answers otherwise let
                    // somebody in.
                    if attempt.only_flow || self.alike < FAILURES_TELLING || self.got_in.is_some() {
                        return false;
                    }
                    self.got_in = Some((attempt.user.into(), was_known));
                    self.trail.push(event);
                    return true;
                }
                self.unclear += attempt.count;
            }
        }
        self.trail.push(event);
        self.window.add(attempt.count, event.ts);
        self.users.add(key_of(attempt.user));
        self.names.add(attempt.user);
        true
    }

    /// Whether the answer differs from what most attempts got.
    fn stands_out(&mut self, attempt: &Attempt<'_>) -> bool {
        let Some((status, len)) = attempt.answer else {
            return false;
        };
        let Some((usual_status, usual)) = self.answer else {
            self.answer = attempt.answer;
            return false;
        };
        let near = len.abs_diff(usual) <= (usual / 8).max(64);
        if status == usual_status && near {
            self.alike += 1.0;
            return false;
        }
        if self.alike < 3.0 {
            self.answer = attempt.answer;
        }
        // Refusals and errors are no way in, however they differ.
        status < 400 || attempt.only_flow
    }

    fn score(&self, client: Party) -> f64 {
        let tried = self.failures + 0.5 * self.unclear;
        let users = self.users.len() as f64;
        let burst = self.window.burst();
        let mut score = tails::pareto(tried, 3.0, 2.0) + tails::pareto(burst, 4.0, 1.5);
        if users <= 1.0 && burst <= 12.0 {
            // A program with an expired password looks like this.
            score *= 0.5;
        }
        score += tails::pareto(users, 2.0, 1.0);
        score = (score - Habits::relief(self.earlier_days)).max(0.0);
        if !client.is_local() {
            score *= 0.5;
        }
        if let Some((_, was_known)) = &self.got_in {
            score += match (was_known, burst > 6.0 || users > 2.0) {
                (true, _) => 0.2,
                (false, false) => 1.0,
                (false, true) => 2.5,
            };
        }
        score
    }

    fn raise(
        &self,
        key: u64,
        score: f64,
        (client, server): (Party, Party),
        service: &'static str,
        cx: &mut DetectCx<'_>,
    ) {
        let trail = &self.trail;
        let target = cx.entities().peer(PeerRole::Target, server);
        let mut facts = vec![
            trail.fact("server", Value::Entity(target.entity.clone())),
            trail.fact("service", Value::Name(service.into())),
            trail.fact("tries", Value::Count((self.failures + self.unclear) as u64)),
            trail.fact(
                "span",
                Value::Seconds(trail.last().secs_since(trail.first())),
            ),
            trail.fact("burst", Value::Count(self.window.burst() as u64)),
            trail.fact("accounts", Value::Count(self.users.len() as u64)),
        ];
        let mut peers = vec![target];
        let template = match (&self.got_in, self.failures >= self.unclear) {
            (Some((user, _)), _) => {
                let user: &str = if user.is_empty() {
                    "an account that cannot be seen"
                } else {
                    user
                };
                facts.push(trail.fact("account", Value::Name(user.into())));
                if !user.contains(' ') {
                    peers.push(Peer {
                        role: PeerRole::Account,
                        entity: EntityId::user(user),
                    });
                }
                "failed to log in to {server} over {service} {tries} times in {span}, {burst} times \
                 in one minute, with {accounts} account names, and then got in as {account}"
            }
            (None, true) => {
                "failed to log in to {server} over {service} {tries} times in {span}, {burst} times \
                 in one minute, with {accounts} account names"
            }
            (None, false) => {
                "tried to log in to {server} over {service} {tries} times in {span}, {burst} times \
                 in one minute, each time with the same answer"
            }
        };
        let counterfactual = Statement::new(
            "People fail a few times an hour and then get in; programs with an old password retry \
             one account at a steady slow pace.",
            Vec::new(),
        );
        let statement = Statement::new(template, facts);
        let mut finding = trail.finding(client, key, score, statement, counterfactual);
        finding.peers = peers;
        cx.raise(finding);
    }
}
