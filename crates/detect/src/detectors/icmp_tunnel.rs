//! # Tunnel in pings
//!
//! ## What it flags
//! Pings whose answers are not their echo: other sizes, or more answers than questions; and pings
//! that carry far more than a test of the line needs.
//!
//! ## Why it matters
//! Pings pass many firewalls unread. A tunnel in them carries commands in and data out.
//!
//! ## How it scores
//! An echo reply repeats the data of its request, so both directions of a conversation of pings have
//! the same number of bytes per packet, and never more answers than questions. The score grows with
//! the logarithm of the bytes that are no echo (the difference of the mean sizes times the packets,
//! and the surplus of answers), and slowly with the volume and rate of all pings of the pair. A pair
//! that did so on earlier days scores less.
//!
//! ## Evidence
//! The partner, packets and bytes each way, the span, the first conversations' events.
//!
//! ## What would have been normal
//! A few small pings, each answered once by its own copy.
//!
//! ## Known false alarms
//! Answers of several machines to one ping, and copies of packets that a capture takes at two
//! places, give a surplus of answers; tests of the line with large pings give volume.
//!
//! ## ATT&CK
//! T1095 Non-Application Layer Protocol, T1572 Protocol Tunneling, T1048 Exfiltration Over Alternative
//! Protocol.
//!
//! ## Sources
//! RFC 792 and RFC 4443 (the data of an echo is returned); Daemon9, *Project Loki*, Phrack 49, 1996;
//! Stødle, *ptunnel*, 2004.

use thymus_schema::{
    Event, EventBody, FlowRecord, PeerRole, Phase, SnapshotError, SnapshotReader, SnapshotWriter,
    Statement, Technique, Transport, Value,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::habit::Habits;
use crate::interest::Interest;
use crate::memory::Memory;
use crate::party::Party;
use crate::sweep::is_group;
use crate::table::Table;
use crate::tails;
use crate::trail::key_of;
use crate::window::Hourly;

/// The registration.
pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "icmp_tunnel",
    title: "Tunnel in pings",
    phase: Phase::Control,
    techniques: &[
        Technique::new("T1048"),
        Technique::new("T1095"),
        Technique::new("T1572"),
    ],
    source: include_str!("icmp_tunnel.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(IcmpTunnel::default()),
};

const PAIRS_MAX: usize = 8_192;
const HABITS_MAX: usize = 16_384;
/// Bytes that are no echo which a lost answer or a change of size may leave.
const FOREIGN_USUAL: f64 = 300.0;
/// Bytes of pings between two that an hour of watching a line may have.
const VOLUME_USUAL: f64 = 1_000_000.0;

#[derive(Debug, Default)]
struct Pings {
    asked: f64,
    answered: f64,
    up: f64,
    down: f64,
    /// Bytes that are no echo.
    foreign: f64,
}

/// The detector's state.
struct IcmpTunnel {
    pairs: Table<u64, Hourly<Pings>>,
    habits: Habits,
}

impl Default for IcmpTunnel {
    fn default() -> Self {
        Self {
            pairs: Table::new(PAIRS_MAX),
            habits: Habits::new(HABITS_MAX),
        }
    }
}

impl Pings {
    fn add(&mut self, flow: &FlowRecord) {
        let (asked, answered) = (flow.client_packets as f64, flow.server_packets as f64);
        let (up, down) = (flow.client_bytes as f64, flow.server_bytes as f64);
        self.asked += asked;
        self.answered += answered;
        self.up += up;
        self.down += down;
        if asked < 1.0 || answered < 1.0 {
            return;
        }
        // Answers that were lost or fall into the next part leave the mean size as it is.
        let echo = up / asked * answered.min(asked);
        let surplus = (answered - asked).max(0.0);
        let unlike = if surplus > 0.0 {
            down - echo
        } else {
            (down - echo).abs()
        };
        // Two answers more may be copies or belong to the part before.
        self.foreign += if surplus <= 2.0 && unlike <= surplus * up / asked + 1.0 {
            0.0
        } else {
            unlike.max(0.0)
        };
    }

    fn score(&self) -> f64 {
        let foreign = tails::pareto(self.foreign, FOREIGN_USUAL, 2.0);
        let volume = tails::pareto(self.up.min(self.down), VOLUME_USUAL, 1.2);
        let foreign = if foreign > 0.0 { 1.0 + foreign } else { 0.0 };
        foreign + 0.5 * volume
    }
}

impl Detector for IcmpTunnel {
    fn interest(&self) -> Interest {
        Interest::FLOW
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let (EventBody::Flow(flow), Some(conn)) = (&event.body, &event.conn) else {
            return;
        };
        let is_echo = conn.transport == Transport::Icmp && matches!(conn.client.port, 8 | 128);
        let (Some(client), Some(server)) = (cx.client(), cx.server()) else {
            return;
        };
        let ours = client.is_local() || server.is_local();
        if !is_echo || !ours || is_group(server.addr) || flow.missed_bytes > 0 {
            return;
        }
        let key = key_of((client.key(), server.key()));
        let pair = self.pairs.entry(key, Hourly::default);
        pair.turn(event.ts);
        pair.it.add(flow);
        pair.push(event);
        let raw = pair.it.score();
        if raw < 0.3 {
            return;
        }
        let score = raw - Habits::relief(self.habits.note(key, event.ts));
        if cx.matters(score) && pair.window.rises(score) {
            pair.raise(key, score, client, server, cx);
        }
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.pairs, &mut self.habits]
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.habits.snapshot(out);
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        self.habits = Habits::restore(HABITS_MAX, from)?;
        Ok(())
    }
}

impl Hourly<Pings> {
    fn raise(&self, key: u64, score: f64, client: Party, server: Party, cx: &mut DetectCx<'_>) {
        let peer = cx.entities().peer(PeerRole::Controller, server);
        let pings = &self.it;
        let statement = Statement::new(
            "exchanged {asked} pings and {answered} answers with {server} in {span}, {up} out and \
             {down} back; {foreign} of the answers are no echo of what was sent",
            vec![
                self.count("asked", pings.asked),
                self.count("answered", pings.answered),
                self.trail
                    .fact("server", Value::Entity(peer.entity.clone())),
                self.span(),
                self.trail.fact("up", Value::Bytes(pings.up as u64)),
                self.trail.fact("down", Value::Bytes(pings.down as u64)),
                self.trail
                    .fact("foreign", Value::Bytes(pings.foreign as u64)),
            ],
        );
        let normal = Statement::new(
            "A ping is answered once, by a copy of its own data.",
            Vec::new(),
        );
        let mut finding = self.trail.finding(client, key, score, statement, normal);
        finding.peers.push(peer);
        cx.raise(finding);
    }
}
