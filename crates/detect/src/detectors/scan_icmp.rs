//! # Ping sweep
//!
//! ## What it flags
//! One source that pings many hosts, many of which do not answer.
//!
//! ## Why it matters
//! A ping to every address is the quickest way to learn which machines there are.
//!
//! ## How it scores
//! Each first ping of a host is a step of a walk: up when no answer comes, down when one does, never
//! below zero. The score grows with the height reached, with the share of local ones that did not answer,
//! and with the number of local hosts pinged beyond what the source usually pings in an hour. From
//! outside it grows only with the logarithm: that is the background noise of the Internet.
//!
//! ## Evidence
//! How many hosts were pinged, how many did not answer, and the first pings' events.
//!
//! ## What would have been normal
//! Pings to a gateway, a server or a monitoring list that answers, the same ones every time.
//!
//! ## Known false alarms
//! Monitoring and inventory in their first hours; after that their habit is known.
//!
//! ## ATT&CK
//! T1018 (remote system discovery) from inside, T1595 (active scanning) from outside.
//!
//! ## Sources
//! RFC 792 and RFC 4443 (echo); the sequential test as in Jung et al., IEEE S&P 2004.

use thymus_schema::{
    Event, EventBody, Phase, SnapshotError, SnapshotReader, SnapshotWriter, Statement, Technique,
    Transport, Value,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::interest::Interest;
use crate::memory::Memory;
use crate::sweep::{Ending, Sweep, failures_score, is_group};
use crate::table::Table;
use crate::tails;
use crate::trail::began;

/// The registration.
pub(crate) const SPEC: DetectorSpec = DetectorSpec {
    id: "scan_icmp",
    title: "Ping sweep",
    phase: Phase::Reconnaissance,
    techniques: &[Technique::new("T1018")],
    source: include_str!("scan_icmp.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(ScanIcmp::default()),
};

const SOURCES_MAX: usize = 16_384;
/// Fewest hosts worth a look.
const HOSTS_MIN: f64 = 4.0;

/// The detector's state.
pub(crate) struct ScanIcmp {
    sweeps: Table<u64, Sweep>,
    waiting: Vec<u64>,
}

impl Default for ScanIcmp {
    fn default() -> Self {
        Self {
            sweeps: Table::new(SOURCES_MAX),
            waiting: Vec::new(),
        }
    }
}

impl Detector for ScanIcmp {
    fn interest(&self) -> Interest {
        Interest::FLOW
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let (EventBody::Flow(flow), Some(conn)) = (&event.body, &event.conn) else {
            return;
        };
        let is_echo = conn.transport == Transport::Icmp && matches!(conn.client.port, 8 | 128);
        if !is_echo || flow.part != 0 {
            return;
        }
        let (Some(src), Some(dst)) = (cx.client(), cx.server()) else {
            return;
        };
        if is_group(dst.addr) {
            return;
        }
        let key = src.key();
        let sweep = self.sweeps.entry(key, || Sweep::new(src, event.ts));
        let ending = if flow.server_packets == 0 {
            Ending::Failure
        } else {
            Ending::Success
        };
        let new = sweep.contact((event.id, began(event)), dst.key(), dst, ending, 1.0);
        if new && !sweep.waiting && sweep.distinct >= HOSTS_MIN {
            sweep.waiting = true;
            self.waiting.push(key);
        }
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.sweeps]
    }

    fn tick(&mut self, cx: &mut DetectCx<'_>) {
        for key in std::mem::take(&mut self.waiting) {
            if let Some(sweep) = self.sweeps.get_mut(&key) {
                sweep.waiting = false;
                judge(sweep, cx);
            }
        }
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        Sweep::write_all(&self.sweeps, HOSTS_MIN, out, |source, out| {
            out.u64(source);
        });
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        *self = Self {
            sweeps: Sweep::read_all(SOURCES_MAX, from, SnapshotReader::u64)?,
            ..Self::default()
        };
        Ok(())
    }
}

fn judge(sweep: &Sweep, cx: &mut DetectCx<'_>) {
    let score = score(sweep);
    if score < 0.3 || !cx.matters(score) {
        return;
    }
    let trail = &sweep.trail;
    let statement = Statement::new(
        "pinged {hosts} hosts in {span}; {failed} of them did not answer",
        vec![
            trail.fact("hosts", Value::Count(sweep.distinct as u64)),
            trail.fact(
                "span",
                Value::Seconds(trail.last().secs_since(trail.first())),
            ),
            trail.fact("failed", Value::Count(sweep.failed as u64)),
        ],
    );
    let counterfactual = trail.normal(
        sweep.usual_distinct,
        "Pings go to a few hosts that answer; the most this source pinged in an earlier hour is \
         {usual}.",
        "Pings go to a few hosts that answer; there is no earlier hour of this source to compare \
         with.",
    );
    let mut finding = trail.finding(sweep.src, 0, score, statement, counterfactual);
    finding.peers = sweep.targets(cx);
    if !sweep.src.is_local() {
        finding.techniques = vec![Technique::new("T1595")];
    }
    cx.raise(finding);
}

fn score(sweep: &Sweep) -> f64 {
    if !sweep.src.is_local() {
        return 0.6 * sweep.peak.max(1.0).log10();
    }
    let outside = 1.0 - sweep.local / sweep.distinct.max(1.0);
    let walk = failures_score((1.0 - 0.5 * outside) * 0.8 * sweep.surprising_peak());
    // In a busy network many of those pinged answer, but not nearly all, as those of a list do. Where
    // none answers, the line may be down, and the walk says all there is to say.
    let habit = 1.0 + sweep.usual_peak / 4.0;
    let answered = ((sweep.distinct - sweep.failed) / 8.0).clamp(0.0, 1.0);
    let share = answered * tails::binomial(sweep.failed, sweep.distinct, 0.1) / habit;
    let failing = walk.max(0.7 * (1.0 - outside) * share);
    let usual = (1.5 * sweep.usual_distinct).max(8.0);
    let many = tails::pareto(sweep.local, usual, 1.5);
    failing.max(many) + 0.3 * failing.min(many)
}
