//! # Address sweep on the segment
//!
//! ## What it flags
//! A device that asks by ARP (or IPv6 neighbour discovery) for many addresses that nobody has.
//!
//! ## Why it matters
//! Asking the segment for every address in turn finds all neighbours, also those that a firewall
//! hides from pings. It is the first thing many intruders' tools do, and a trace that every sweep of
//! the own network leaves, whatever the tool.
//!
//! ## How it scores
//! A question is judged a moment later: answered, or for an address that has spoken before, it is a
//! success, else a failure. The one-sided walk over first questions gives the score, each further
//! failure counting a little less. Routers and servers that many devices ask for themselves count
//! for less: they must ask for whatever address strangers try. What the device did in earlier hours
//! is taken off.
//!
//! ## Evidence
//! How many addresses were asked for, how many of them nobody has, and the first questions' events.
//!
//! ## What would have been normal
//! Questions for the gateway and a few servers and neighbours that exist.
//!
//! ## Known false alarms
//! Network maps of inventory tools, some anti-virus "Wi-Fi checks", a router when someone outside
//! sweeps the network. Where the capture point sees no unicast answers, more questions look
//! unanswered, but ordinary devices ask for few addresses.
//!
//! ## ATT&CK
//! T1018 (remote system discovery).
//!
//! ## Sources
//! RFC 826 (ARP), RFC 4861 (neighbour discovery), RFC 5227 (address probes, which are left out); the
//! sequential test as in Jung et al., IEEE S&P 2004.

use std::net::IpAddr;

use thymus_schema::{
    Event, EventBody, EventId, Mac, Phase, Scope, SnapshotError, SnapshotReader, SnapshotWriter,
    Statement, Technique, Timestamp, Value,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::habit::Popularity;
use crate::interest::Interest;
use crate::memory::Memory;
use crate::party::Party;
use crate::sweep::{Ending, Sweep, failures_score, is_group};
use crate::table::Table;

/// The registration.
pub(crate) const SPEC: DetectorSpec = DetectorSpec {
    id: "scan_arp",
    title: "Address sweep on the segment",
    phase: Phase::Reconnaissance,
    techniques: &[Technique::new("T1018")],
    source: include_str!("scan_arp.rs"),
    snapshot_version: 2,
    build: |_: &Settings| Box::new(ScanArp::default()),
};

const SOURCES_MAX: usize = 16_384;
const ALIVE_MAX: usize = 65_536;
const PENDING_MAX: usize = 16_384;
/// How long a question may wait for its answer.
const ANSWER_SECS: f64 = 3.0;
/// Fewest addresses worth a look.
const ADDRESSES_MIN: f64 = 4.0;
/// Devices that ask for an address before it counts as a hub.
const ASKERS_HUB: usize = 4;

struct Question {
    id: EventId,
    ts: Timestamp,
    src: Party,
    target: Party,
    mac: Mac,
}

/// The detector's state.
pub(crate) struct ScanArp {
    sweeps: Table<u64, Sweep>,
    /// Addresses that have spoken, and when last.
    alive: Table<u64, Timestamp>,
    /// Who asks for an address: of many askers it is a hub.
    askers: Popularity,
    pending: Pending,
}

/// Questions that wait for their answer.
#[derive(Default)]
struct Pending {
    questions: Vec<Question>,
    dropped: u64,
}

impl Pending {
    /// Whether one more can wait; one that cannot is counted.
    fn has_room(&mut self) -> bool {
        let room = self.questions.len() < PENDING_MAX;
        self.dropped += u64::from(!room);
        room
    }
}

impl Memory for Pending {
    /// They wait for seconds.
    fn mark(&mut self) {}

    fn pass(&mut self, _days: i64) {}

    fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl Default for ScanArp {
    fn default() -> Self {
        Self {
            sweeps: Table::new(SOURCES_MAX),
            alive: Table::new(ALIVE_MAX),
            askers: Popularity::new(ALIVE_MAX),
            pending: Pending::default(),
        }
    }
}

impl Detector for ScanArp {
    fn interest(&self) -> Interest {
        Interest::ARP.and(Interest::NDP)
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let scope = event.conn.as_ref().map_or(Scope::NONE, |conn| conn.scope);
        let (sender, target, mac) = match &event.body {
            EventBody::Arp(arp) => {
                let asks = !arp.reply && arp.sender != arp.target;
                (arp.sender, asks.then_some(arp.target), arp.sender_mac)
            }
            EventBody::Ndp(ndp) => {
                let asks = ndp.message == 135;
                (ndp.sender, ndp.target.filter(|_| asks), ndp.mac)
            }
            _ => return,
        };
        if is_group(sender) {
            return;
        }
        let src = cx.party(sender, scope);
        *self.alive.entry(src.key(), || event.ts) = event.ts;
        let Some(target) = target.filter(|target| is_neighbour(*target)) else {
            return;
        };
        if !self.pending.has_room() {
            return;
        }
        let target = cx.party(target, scope);
        self.askers.note(target.key(), src.key());
        self.pending.questions.push(Question {
            id: event.id,
            ts: event.ts,
            src,
            target,
            mac,
        });
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![
            &mut self.sweeps,
            &mut self.alive,
            &mut self.askers,
            &mut self.pending,
        ]
    }

    fn tick(&mut self, cx: &mut DetectCx<'_>) {
        let now = cx.now();
        let ripe = |question: &Question| now.secs_since(question.ts) >= ANSWER_SECS;
        let (due, later) = std::mem::take(&mut self.pending.questions)
            .into_iter()
            .partition(ripe);
        self.pending.questions = later;
        let mut waiting = Vec::new();
        for question in due {
            let answered = self.alive.get(&question.target.key()).is_some();
            let ending = if answered {
                Ending::Success
            } else {
                Ending::Failure
            };
            let key = question.src.key();
            let sweep = self
                .sweeps
                .entry(key, || Sweep::new(question.src, question.ts));
            let target = question.target;
            let new = sweep.contact(
                (question.id, question.ts),
                target.key(),
                target,
                ending,
                1.0,
            );
            if new && !sweep.waiting && sweep.distinct >= ADDRESSES_MIN {
                sweep.waiting = true;
                waiting.push((key, question.mac));
            }
        }
        for (key, mac) in waiting {
            let hub = self.askers.users(key) >= ASKERS_HUB || cx.entities().is_router(mac);
            if let Some(sweep) = self.sweeps.get_mut(&key) {
                sweep.waiting = false;
                judge(sweep, hub, cx);
            }
        }
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        Sweep::write_all(&self.sweeps, ADDRESSES_MIN, out, |source, out| {
            out.u64(source);
        });
        self.alive.write(
            out,
            |_, _| true,
            |out, address, ts| {
                out.u64(address).i64(ts.as_nanos());
            },
        );
        self.askers.snapshot(out);
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        *self = Self {
            sweeps: Sweep::read_all(SOURCES_MAX, from, SnapshotReader::u64)?,
            alive: Table::read(ALIVE_MAX, from, 16, |from| {
                Ok((from.u64()?, Timestamp::from_nanos(from.i64()?)))
            })?,
            askers: Popularity::restore(ALIVE_MAX, from)?,
            ..Self::default()
        };
        Ok(())
    }
}

/// Link-local IPv4 addresses are asked for by devices that were given none.
fn is_neighbour(addr: IpAddr) -> bool {
    !is_group(addr) && !matches!(addr, IpAddr::V4(v4) if v4.is_link_local())
}

fn judge(sweep: &Sweep, hub: bool, cx: &mut DetectCx<'_>) {
    // The first few unknown addresses are a printer that is off and last week's laptop.
    let weight = if hub { 0.15 } else { 0.7 };
    let score = failures_score(weight * sweep.surprising_peak() - 2.0);
    if score < 0.3 || !cx.matters(score) {
        return;
    }
    let trail = &sweep.trail;
    let statement = Statement::new(
        "asked the segment for {addresses} addresses in {span}; {failed} of them belong to nobody",
        vec![
            trail.fact("addresses", Value::Count(sweep.distinct as u64)),
            trail.fact(
                "span",
                Value::Seconds(trail.last().secs_since(trail.first())),
            ),
            trail.fact("failed", Value::Count(sweep.failed as u64)),
        ],
    );
    let counterfactual = trail.normal(
        sweep.usual_distinct,
        "A device asks for its gateway and a few neighbours that exist; the most this one asked for \
         in an earlier hour is {usual}.",
        "A device asks for its gateway and a few neighbours that exist; there is no earlier hour of \
         this one to compare with.",
    );
    let mut finding = trail.finding(sweep.src, 0, score, statement, counterfactual);
    finding.peers = sweep.targets(cx);
    cx.raise(finding);
}
