//! # Password spraying
//!
//! ## What it flags
//! One source that fails to log in as many different accounts with few tries each, or with one
//! account at many servers.
//!
//! ## Why it matters
//! A few common passwords tried on everybody stay below every lock-out limit, and one account in a
//! company usually has one of them.
//!
//! ## How it scores
//! Per hour and source: the number of different accounts that failed and were not let in soon after,
//! beyond two and beyond a fifth of the accounts that do log in from there (a mail gateway, a web
//! front end and a terminal server speak for many people), three digits per factor of ten; and
//! likewise the number of servers one account failed at, two digits. An account that gets in for the
//! first time in between adds one. What is done on many days is worth less; outsiders count half.
//!
//! ## Evidence
//! The number of accounts and servers, some account names, the number of tries; the first tries'
//! events.
//!
//! ## What would have been normal
//! Failures of one or two accounts that belong to the device.
//!
//! ## Known false alarms
//! Front ends that log in for others and are new, migrations of mailboxes, audits of passwords.
//!
//! ## ATT&CK
//! T1110.003 Password Spraying.
//!
//! ## Sources
//! Ho et al., *Hopper: modeling and detecting lateral movement*, 2021, for separating people from
//! machines that log in for many.

use rustc_hash::FxHashMap;
use thymus_schema::{
    Event, Outcome, PeerRole, Phase, SnapshotError, SnapshotReader, SnapshotWriter, Statement,
    Technique, Value,
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
    id: "password_spraying",
    title: "Password spraying",
    phase: Phase::Credentials,
    techniques: &[Technique::new("T1110.003")],
    source: include_str!("password_spraying.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(PasswordSpraying::default()),
};

const SOURCES_MAX: usize = 8_192;
const HABITS_MAX: usize = 65_536;
/// Accounts of one source followed by their servers.
const ACCOUNTS_MAX: usize = 512;
const SERVERS_MAX: usize = 64;

#[derive(Default)]
struct Source {
    window: Window,
    trail: Trail,
    failed: Distinct,
    let_in: Distinct,
    /// Accounts that failed and later got in: people who mistyped.
    forgiven: f64,
    servers: FxHashMap<u64, Vec<u64>>,
    widest: usize,
    names: Names,
    target: Option<Party>,
    tries: f64,
    new_success: bool,
    earlier_days: f64,
}

/// The detector's state.
struct PasswordSpraying {
    sources: Table<u64, Source>,
    /// Accounts that were let in, by source.
    known: Habits,
    spraying: Habits,
}

impl Default for PasswordSpraying {
    fn default() -> Self {
        Self {
            sources: Table::new(SOURCES_MAX),
            known: Habits::new(HABITS_MAX),
            spraying: Habits::new(HABITS_MAX),
        }
    }
}

impl Detector for PasswordSpraying {
    fn interest(&self) -> Interest {
        Interest::LOGIN.and(Interest::HTTP).and(Interest::FLOW)
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.sources, &mut self.known, &mut self.spraying]
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let Some(attempt) = Attempt::of(event) else {
            return;
        };
        let (Some(client), Some(server)) = (cx.client(), cx.server()) else {
            return;
        };
        if attempt.user.is_empty() || attempt.outcome == Outcome::Unknown {
            return;
        }
        let user = key_of(attempt.user.to_ascii_lowercase());
        let account = key_of((client.key(), user));
        let source = self.sources.entry(client.key(), Source::default);
        if source.window.turns(event.ts) {
            *source = Source {
                window: source.window,
                ..Source::default()
            };
        }
        if attempt.outcome == Outcome::Success {
            if source.failed.has(user) && !source.let_in.has(user) {
                source.forgiven += 1.0;
            }
            source.let_in.add(user);
            source.new_success |= source.failed.len() >= 5 && !self.known.knows(account);
            self.known.note(account, event.ts);
            return;
        }
        source.fail(event, &attempt, user, server);
        if source.failed.len() >= 5 {
            source.earlier_days = self.spraying.note(client.key(), event.ts);
        }
        let score = source.score(client);
        if cx.matters(score) && source.window.rises(score) {
            source.raise(client, score, cx);
        }
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.known.snapshot(out);
        self.spraying.snapshot(out);
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        self.known = Habits::restore(HABITS_MAX, from)?;
        self.spraying = Habits::restore(HABITS_MAX, from)?;
        Ok(())
    }
}

impl Source {
    fn fail(&mut self, event: &Event, attempt: &Attempt<'_>, user: u64, server: Party) {
        self.trail.push(event);
        self.tries += attempt.count;
        self.names.add(attempt.user);
        self.target = Some(server);
        if !self.let_in.has(user) {
            self.failed.add(user);
        }
        if self.servers.len() >= ACCOUNTS_MAX && !self.servers.contains_key(&user) {
            return;
        }
        let servers = self.servers.entry(user).or_default();
        if servers.len() < SERVERS_MAX && !servers.contains(&server.key()) {
            servers.push(server.key());
            self.widest = self.widest.max(servers.len());
        }
    }

    fn score(&self, client: Party) -> f64 {
        let failed = self.failed.len() as f64 - self.forgiven;
        let usual = 2.0 + 0.2 * self.let_in.len() as f64;
        // Many tries for each account are guessing, not spraying.
        let depth = (self.tries / (self.failed.len() as f64).max(1.0)).max(1.0);
        let shallow = if depth > 10.0 { 0.5 } else { 1.0 };
        let accounts = tails::pareto(failed, usual, 3.0) * shallow;
        let servers = tails::pareto(self.widest as f64, 2.0, 2.0);
        let mut score = accounts.max(servers) + 0.3 * accounts.min(servers);
        if self.new_success && score > 0.0 {
            score += 1.0;
        }
        score = (score - Habits::relief(self.earlier_days)).max(0.0);
        if client.is_local() {
            score
        } else {
            score * 0.5
        }
    }

    fn raise(&self, client: Party, score: f64, cx: &mut DetectCx<'_>) {
        let trail = &self.trail;
        let statement = Statement::new(
            "failed to log in as {accounts} different accounts ({names}), with {tries} tries in \
             {span}, one account at up to {servers} servers",
            vec![
                trail.fact("accounts", Value::Count(self.failed.len() as u64)),
                trail.fact("names", Value::Names(self.names.list())),
                trail.fact("tries", Value::Count(self.tries as u64)),
                trail.fact(
                    "span",
                    Value::Seconds(trail.last().secs_since(trail.first())),
                ),
                trail.fact("servers", Value::Count(self.widest as u64)),
            ],
        );
        let normal = Statement::new(
            "{let_in} accounts logged in from there in that hour; a device's failures belong to \
             the one or two people who use it.",
            vec![trail.fact("let_in", Value::Count(self.let_in.len() as u64))],
        );
        let mut finding = trail.finding(client, 0, score, statement, normal);
        finding
            .peers
            .extend(self.target.map(|t| cx.entities().peer(PeerRole::Target, t)));
        cx.raise(finding);
    }
}
