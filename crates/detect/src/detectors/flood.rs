//! # Flood
//!
//! ## What it flags
//! Far more connection attempts, unanswered datagrams, pings or web requests toward one target than
//! it ever gets: at the target when the sources are outside or forged, at the source when it is one
//! of ours.
//!
//! ## Why it matters
//! A flood makes a service unreachable. A local device that takes part is somebody else's tool.
//!
//! ## How it scores
//! Events are counted per minute for each pair and for each target. The score is the surprise of the
//! rate under a power law that starts at what busy machines reach, or at one and a half times what
//! this target usually gets, and grows with the number of minutes it lasts. Attempts count only
//! where nearly none succeed, datagrams only where nearly none are answered; attempts spread over
//! many ports are a scan and count for the scan detectors. Packet counters of a target (from packet
//! sources) are used beside flows, because a flood drowns flow tables.
//!
//! ## Evidence
//! What was counted, the rate, the number of sources, how long, and the first events.
//!
//! ## What would have been normal
//! The target's largest earlier rate.
//!
//! ## Known false alarms
//! Load tests, benchmarks, one-way media streams at very high rates, a popular service whose answers
//! the capture misses.
//!
//! ## ATT&CK
//! T1498.001 (direct network flood), T1499 (endpoint denial of service).
//!
//! ## Sources
//! RFC 4987 (TCP SYN flooding); Moore et al., *Inferring Internet Denial-of-Service Activity*,
//! USENIX Security 2001.

use thymus_schema::{
    ConnState, Event, EventBody, FlowRecord, PeerRole, Phase, SnapshotError, SnapshotReader,
    SnapshotWriter, Statement, Technique, TrafficWindow, Transport, Value,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::interest::Interest;
use crate::memory::Memory;
use crate::party::Party;
use crate::sweep::{Distinct, is_group};
use crate::table::Table;
use crate::tails;
use crate::trail::{Trail, key_of, read_party, write_party};

/// The registration.
pub(crate) const SPEC: DetectorSpec = DetectorSpec {
    id: "flood",
    title: "Flood",
    phase: Phase::Impact,
    techniques: &[Technique::new("T1498.001"), Technique::new("T1499")],
    source: include_str!("flood.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(Flood::default()),
};

const TARGETS_MAX: usize = 16_384;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Syn,
    Datagram,
    Ping,
    Web,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Syn, Self::Datagram, Self::Ping, Self::Web];

    /// Events a minute that a busy target may get without anything being wrong.
    const fn usual(self) -> f64 {
        match self {
            Self::Syn => 240.0,
            Self::Datagram => 60_000.0,
            Self::Ping => 1_200.0,
            Self::Web => 300.0,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Syn => "unanswered connection attempts",
            Self::Datagram => "unanswered datagrams",
            Self::Ping => "pings",
            Self::Web => "web requests",
        }
    }
}

/// Target, kind, and the source when it is one of ours (else 0).
type CountKey = (u64, Kind, u64);

struct Count {
    /// Whom it is about: our source, else the target.
    entity: Party,
    target: Party,
    minute: i64,
    hits: f64,
    good: f64,
    ports: Distinct,
    ports_seen: f64,
    sources: Distinct,
    sources_seen: f64,
    usual: f64,
    hot: u32,
    trail: Trail,
    waiting: bool,
}

impl Count {
    fn new(entity: Party, target: Party, minute: i64) -> Self {
        Self {
            entity,
            target,
            minute,
            hits: 0.0,
            good: 0.0,
            ports: Distinct::default(),
            ports_seen: 0.0,
            sources: Distinct::default(),
            sources_seen: 0.0,
            usual: 0.0,
            hot: 0,
            trail: Trail::default(),
            waiting: false,
        }
    }

    fn turn(&mut self, minute: i64, floor: f64) {
        if minute == self.minute {
            return;
        }
        let hot = self.hits > floor && minute == self.minute + 1;
        let fresh = Self::new(self.entity, self.target, minute);
        // Ten quiet minutes in a row take a tenth off what is usual.
        let quiet = (minute - self.minute).clamp(0, 10_000) as f64;
        let usual = self
            .hits
            .min(4.0 * self.usual.max(floor))
            .max(self.usual * 0.99_f64.powf(quiet));
        *self = Self {
            usual,
            hot: if hot { self.hot + 1 } else { 0 },
            trail: if hot {
                std::mem::take(&mut self.trail)
            } else {
                Trail::default()
            },
            waiting: self.waiting,
            ..fresh
        };
    }
}

/// The detector's state.
pub(crate) struct Flood {
    counts: Table<CountKey, Count>,
    waiting: Vec<CountKey>,
}

impl Default for Flood {
    fn default() -> Self {
        Self {
            counts: Table::new(TARGETS_MAX),
            waiting: Vec::new(),
        }
    }
}

impl Detector for Flood {
    fn interest(&self) -> Interest {
        Interest::FLOW
            .and(Interest::DNS_FLOW)
            .and(Interest::HTTP)
            .and(Interest::TRAFFIC)
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        match &event.body {
            EventBody::Flow(flow) => self.on_flow(event, flow, cx),
            EventBody::Http(_) => self.hit(event, cx, Kind::Web, 1.0, 0.0),
            EventBody::Traffic(window) => self.on_window(event, window, cx),
            _ => {}
        }
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.counts]
    }

    fn tick(&mut self, cx: &mut DetectCx<'_>) {
        for key in std::mem::take(&mut self.waiting) {
            if let Some(count) = self.counts.get_mut(&key) {
                count.waiting = false;
                judge(key.1, count, cx);
            }
        }
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.counts.write(
            out,
            |key, count| count.usual.max(count.hits) > key.1.usual() / 4.0,
            |out, (target, kind, source), count| {
                out.u64(target).u64(kind as u64).u64(source);
                write_party(out, count.entity);
                write_party(out, count.target);
                out.i64(count.minute)
                    .f64(count.usual.max(count.hits.min(4.0 * kind.usual())));
            },
        );
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        let counts = Table::read(TARGETS_MAX, from, 88, |from| {
            let target = from.u64()?;
            let kind = Kind::ALL
                .get(from.u64()? as usize)
                .copied()
                .unwrap_or(Kind::Syn);
            let source = from.u64()?;
            let (entity, party) = (read_party(from)?, read_party(from)?);
            let mut count = Count::new(entity, party, from.i64()?);
            count.usual = from.f64()?;
            Ok(((target, kind, source), count))
        })?;
        *self = Self {
            counts,
            ..Self::default()
        };
        Ok(())
    }
}

impl Flood {
    fn on_flow(&mut self, event: &Event, flow: &FlowRecord, cx: &mut DetectCx<'_>) {
        let Some(conn) = &event.conn else { return };
        match conn.transport {
            Transport::Tcp if flow.part == 0 => {
                // Bare segments without a beginning are ignored by who is drowning in them.
                let bare = flow.state == ConnState::Oth
                    && flow.server_packets == 0
                    && flow.client_packets <= 2
                    && flow.client_bytes == 0;
                let failed = flow.state.is_failed() || bare || is_half_open(flow);
                let (bad, good) = if failed { (1.0, 0.0) } else { (0.0, 1.0) };
                self.hit(event, cx, Kind::Syn, bad, good);
            }
            Transport::Udp => {
                let answered = flow.server_packets * 20 >= flow.client_packets;
                let packets = flow.client_packets.max(1) as f64;
                let (bad, good) = if answered {
                    (0.0, packets)
                } else {
                    (packets, 0.0)
                };
                self.hit(event, cx, Kind::Datagram, bad, good);
            }
            Transport::Icmp if matches!(conn.client.port, 8 | 128) => {
                self.hit(
                    event,
                    cx,
                    Kind::Ping,
                    flow.client_packets.max(1) as f64,
                    0.0,
                );
            }
            _ => {}
        }
    }

    /// Counts a hit on the event's server, for the pair when the source is ours, else for the target.
    fn hit(&mut self, event: &Event, cx: &DetectCx<'_>, kind: Kind, bad: f64, good: f64) {
        let (Some(src), Some(dst), Some(conn)) = (cx.client(), cx.server(), &event.conn) else {
            return;
        };
        if is_group(dst.addr) || !(src.is_local() || dst.is_local()) {
            return;
        }
        let (entity, source) = if src.is_local() {
            (src, src.key() + 1)
        } else {
            (dst, 0)
        };
        let key = (dst.key(), kind, source);
        // An answered connection opens no count: most pairs never need one.
        if bad == 0.0 && self.counts.get(&key).is_none() {
            return;
        }
        let minute = event.ts.as_secs().div_euclid(60);
        let count = self.counts.entry(key, || Count::new(entity, dst, minute));
        count.turn(minute, kind.usual());
        count.hits += bad;
        count.good += good;
        count.ports_seen += count.ports.add(u64::from(conn.server.port)).unwrap_or(0.0);
        count.sources_seen += count.sources.add(src.key()).unwrap_or(0.0);
        count.trail.push(event);
        if !count.waiting && count.hits > kind.usual() / 2.0 {
            count.waiting = true;
            self.waiting.push(key);
        }
    }

    /// Packet counters of one of our addresses: what it gets from many at once.
    fn on_window(&mut self, event: &Event, window: &TrafficWindow, cx: &DetectCx<'_>) {
        let Some(addr) = window.addr else { return };
        let target = cx.party(addr, window.scope);
        let received = window.packets_in.max(1) as f64;
        // A busy server answers its visitors; a flooded one sees hardly anything but beginnings.
        let drowned = window.syn_in as f64 > 0.6 * received && window.peers >= 8;
        if !drowned || window.secs <= 0.0 {
            return;
        }
        let minute = event.ts.as_secs().div_euclid(60);
        let key = (target.key(), Kind::Syn, 0);
        let count = self
            .counts
            .entry(key, || Count::new(target, target, minute));
        count.turn(minute, Kind::Syn.usual());
        // The window's own rate carried over a minute; flows of the same packets are not added up.
        count.hits = count.hits.max(window.syn_in as f64 / window.secs * 60.0);
        count.sources_seen = count.sources_seen.max(window.peers as f64);
        count.ports_seen = count.ports_seen.max(1.0);
        count.trail.push(event);
        if !count.waiting && count.hits > Kind::Syn.usual() {
            count.waiting = true;
            self.waiting.push(key);
        }
    }
}

/// Whether the server answered and the client never went on: a flooding tool's own system resets what
/// it did not begin (RFC 4987).
fn is_half_open(flow: &FlowRecord) -> bool {
    flow.client_bytes == 0
        && flow.server_bytes == 0
        && matches!(
            flow.state,
            ConnState::S1 | ConnState::Rsto | ConnState::Rstr
        )
}

fn judge(kind: Kind, count: &Count, cx: &mut DetectCx<'_>) {
    let usual = (1.5 * count.usual).max(kind.usual());
    let mut score = tails::pareto(count.hits, usual, 2.0);
    score += 0.5 * f64::from(1 + count.hot).log10();
    let wanted = count.hits / (count.hits + 2.0 * count.good);
    score *= wanted * wanted;
    let trail = &count.trail;
    let tries = trail.total().max(1) as f64;
    if kind != Kind::Web && count.ports_seen > 8.0 && count.ports_seen / tries > 0.2 {
        score *= 0.3;
    }
    if score < 0.3 || !cx.matters(score) {
        return;
    }
    let to_self = count.entity == count.target;
    let template = if to_self {
        "got {hits} {what} in a minute from {sources} sources, for {span}"
    } else {
        "sent {hits} {what} in a minute to {target}, for {span}"
    };
    let statement = Statement::new(
        template,
        vec![
            trail.fact("hits", Value::Count(count.hits as u64)),
            trail.fact("what", Value::Name(kind.words().into())),
            trail.fact("sources", Value::Count(count.sources_seen as u64)),
            trail.fact("target", Value::Name(count.target.addr.to_string().into())),
            trail.fact("span", Value::Seconds(60.0 * f64::from(count.hot + 1))),
        ],
    );
    let mut counterfactual = trail.normal(
        count.usual,
        "The most in an earlier minute was {usual}; a busy machine may see {busy}.",
        "A busy machine may see {busy} in a minute; there is no earlier minute of this one to \
         compare with.",
    );
    counterfactual
        .facts
        .push(trail.fact("busy", Value::Count(kind.usual() as u64)));
    let key = key_of((kind, count.target.key()));
    let mut finding = trail.finding(count.entity, key, score, statement, counterfactual);
    if !to_self {
        finding.peers = vec![cx.entities().peer(PeerRole::Target, count.target)];
    }
    cx.raise(finding);
}
