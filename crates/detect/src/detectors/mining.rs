//! # Mining
//!
//! ## What it flags
//! A device that speaks Stratum, the protocol by which miners of digital coins get work.
//!
//! ## Why it matters
//! Mining with stolen computing time is what many break-ins are for, and whoever could install a
//! miner can install worse.
//!
//! ## How it scores
//! Any Stratum conversation starts at a score that no ordinary hour reaches; subscribing, logging in
//! and handing in results confirm it, and time adds a little. Pools inside the local network score
//! one and a half less. Where it goes on for days it is somebody's choice and scores less.
//!
//! ## Evidence
//! The pool, the worker's name, the methods and their number; the first messages' events.
//!
//! ## What would have been normal
//! No mining at all.
//!
//! ## Known false alarms
//! Miners that the owner runs.
//!
//! ## ATT&CK
//! T1496 Resource Hijacking.
//!
//! ## Sources
//! The Stratum mining protocol as documented by Braiins; Bijmans et al., *Inadvertently Making Cyber
//! Criminals Rich: A Comprehensive Study of Cryptojacking Campaigns at Internet Scale*, USENIX
//! Security 2019.

use thymus_schema::{
    Event, EventBody, PeerRole, Phase, Service, SnapshotError, SnapshotReader, SnapshotWriter,
    Statement, Technique, Value,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::habit::Habits;
use crate::interest::Interest;
use crate::memory::Memory;
use crate::table::Table;
use crate::trail::key_of;
use crate::window::{Distinct, Hourly};

/// The registration.
pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "mining",
    title: "Mining",
    phase: Phase::Impact,
    techniques: &[Technique::new("T1496")],
    source: include_str!("mining.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(Mining::default()),
};

const PAIRS_MAX: usize = 4_096;

/// The detector's state.
struct Mining {
    pairs: Table<u64, Hourly<Distinct>>,
    habits: Habits,
}

impl Default for Mining {
    fn default() -> Self {
        Self {
            pairs: Table::new(PAIRS_MAX),
            habits: Habits::new(PAIRS_MAX),
        }
    }
}

impl Detector for Mining {
    fn interest(&self) -> Interest {
        Interest::OPERATION.and(Interest::LOGIN).and(Interest::FLOW)
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.pairs, &mut self.habits]
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let (verb, worker) = match &event.body {
            EventBody::Operation(op) if op.service == Some(Service::Stratum) => {
                (&*op.verb, &*op.object)
            }
            EventBody::Login(login) if login.service == Some(Service::Stratum) => {
                ("login", &*login.user)
            }
            EventBody::Flow(flow) if flow.service == Some(Service::Stratum) => ("conversation", ""),
            _ => return,
        };
        let (Some(client), Some(server)) = (cx.client(), cx.server()) else {
            return;
        };
        if !client.is_local() {
            return;
        }
        let key = key_of((client.key(), server.key()));
        let days = self.habits.note(client.key(), event.ts);
        let pair = self.pairs.entry(key, Hourly::default);
        pair.turn(event.ts);
        pair.push(event);
        pair.it.add(key_of(verb));
        pair.names.add(verb);
        pair.names.add(worker);
        let messages = pair.trail.total() as f64;
        let mut score = 4.4 + 0.3 * pair.it.len().min(4) as f64 + 0.4 * messages.log10();
        if server.is_local() {
            score -= 1.5;
        }
        score = (score - Habits::relief(days)).max(0.0);
        if !cx.matters(score) || !pair.window.rises(score) {
            return;
        }
        let pool = cx.entities().peer(PeerRole::Controller, server);
        let statement = Statement::new(
            "exchanged {count} messages of the mining protocol Stratum with {server} in {span} ({names})",
            vec![
                pair.count("count", messages),
                pair.trail
                    .fact("server", Value::Entity(pool.entity.clone())),
                pair.span(),
                pair.named("names"),
            ],
        );
        let normal = Statement::new("No device of an ordinary site mines.", Vec::new());
        let mut finding = pair.trail.finding(client, key, score, statement, normal);
        finding.peers.push(pool);
        cx.raise(finding);
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.habits.snapshot(out);
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        self.habits = Habits::restore(PAIRS_MAX, from)?;
        Ok(())
    }
}
