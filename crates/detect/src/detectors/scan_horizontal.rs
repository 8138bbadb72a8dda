//! # Port sweep
//!
//! ## What it flags
//! One source that tries one port on many hosts, most of which refuse or do not answer.
//!
//! ## Why it matters
//! An intruder who wants to spread first looks for who offers a service he can misuse. Worms and
//! bots do so without pause.
//!
//! ## How it scores
//! Each first contact with a host is a step of a walk: up for a failure, down for a success, never
//! below zero (a one-sided sequential test). The score grows with the height reached, each further
//! failure counting a little less because failures of one cause come together, and with the number
//! of local hosts tried beyond what the source usually tries in an hour. Contacts to outside count
//! less, on the web ports least. Sources outside are the background noise of the Internet: for them
//! the score grows only with the logarithm of the hosts tried.
//!
//! ## Evidence
//! The port, how many hosts were tried and how many failed, and the first contacts' events.
//!
//! ## What would have been normal
//! Contacts with a few hosts that mostly answer; the largest number in the source's earlier hours.
//!
//! ## Known false alarms
//! Vulnerability scanners, inventory and monitoring look the same until their habit is known (a few
//! hours). A network that goes down makes many contacts fail at once. File sharing between peers
//! fails a lot, but on many ports.
//!
//! ## ATT&CK
//! T1046 (network service discovery) and T1018 (remote system discovery) from inside, T1595 (active
//! scanning) from outside.
//!
//! ## Sources
//! Jung, Paxson, Berger, Balakrishnan, *Fast Portscan Detection Using Sequential Hypothesis
//! Testing*, IEEE S&P 2004.

use thymus_schema::{
    Event, Phase, SnapshotError, SnapshotReader, SnapshotWriter, Statement, Technique, Transport,
    Value,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::interest::Interest;
use crate::memory::Memory;
use crate::sweep::{Attempt, Sweep, failures_score};
use crate::table::Table;
use crate::tails;
use crate::trail::{began, key_of};

/// The registration.
pub(crate) const SPEC: DetectorSpec = DetectorSpec {
    id: "scan_horizontal",
    title: "Port sweep",
    phase: Phase::Reconnaissance,
    techniques: &[Technique::new("T1018"), Technique::new("T1046")],
    source: include_str!("scan_horizontal.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(ScanHorizontal::default()),
};

const SWEEPS_MAX: usize = 32_768;
/// Fewest hosts worth a look.
const HOSTS_MIN: f64 = 3.0;

/// Source, port, transport.
type SweepKey = (u64, u16, Transport);

/// The detector's state.
pub(crate) struct ScanHorizontal {
    sweeps: Table<SweepKey, Sweep>,
    waiting: Vec<SweepKey>,
}

impl Default for ScanHorizontal {
    fn default() -> Self {
        Self {
            sweeps: Table::new(SWEEPS_MAX),
            waiting: Vec::new(),
        }
    }
}

impl Detector for ScanHorizontal {
    fn interest(&self) -> Interest {
        Interest::FLOW.and(Interest::DNS_FLOW)
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let Some(attempt) = Attempt::from_event(event, cx) else {
            return;
        };
        let has_ports = matches!(attempt.transport, Transport::Tcp | Transport::Udp);
        if !has_ports || attempt.ignored {
            return;
        }
        let key = (attempt.src.key(), attempt.port, attempt.transport);
        let sweep = self.sweeps.entry(key, || Sweep::new(attempt.src, event.ts));
        let success_costs = if attempt.dst.is_local() { 1.0 } else { 2.0 };
        let new = sweep.contact(
            (event.id, began(event)),
            attempt.dst.key(),
            attempt.dst,
            attempt.ending,
            success_costs,
        );
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
                judge(key, sweep, cx);
            }
        }
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        Sweep::write_all(
            &self.sweeps,
            HOSTS_MIN,
            out,
            |(source, port, transport), out| {
                out.u64(source)
                    .u64(u64::from(port))
                    .u64(u64::from(transport == Transport::Udp));
            },
        );
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        let sweeps = Sweep::read_all(SWEEPS_MAX, from, |from| {
            let (source, port) = (from.u64()?, from.u64()? as u16);
            let transport = match from.u64()? {
                0 => Transport::Tcp,
                _ => Transport::Udp,
            };
            Ok((source, port, transport))
        })?;
        *self = Self {
            sweeps,
            ..Self::default()
        };
        Ok(())
    }
}

fn judge(key: SweepKey, sweep: &Sweep, cx: &mut DetectCx<'_>) {
    let score = score(key, sweep);
    if score < 0.3 || !cx.matters(score) {
        return;
    }
    let trail = &sweep.trail;
    let statement = Statement::new(
        "tried {transport} port {port} on {hosts} hosts in {span}; {failed} of them refused or did \
         not answer",
        vec![
            trail.fact("transport", Value::Name(key.2.as_str().into())),
            trail.fact("port", Value::Name(key.1.to_string().into())),
            trail.fact("hosts", Value::Count(sweep.distinct as u64)),
            trail.fact("failed", Value::Count(sweep.failed as u64)),
            trail.fact(
                "span",
                Value::Seconds(trail.last().secs_since(trail.first())),
            ),
        ],
    );
    let counterfactual = trail.normal(
        sweep.usual_distinct,
        "Clients call a few hosts that mostly answer; the most this source tried on the port in an \
         earlier hour is {usual}.",
        "Clients call a few hosts that mostly answer; there is no earlier hour of this source on \
         the port to compare with.",
    );
    let mut finding = trail.finding(
        sweep.src,
        key_of((key.1, key.2)),
        score,
        statement,
        counterfactual,
    );
    finding.peers = sweep.targets(cx);
    if !sweep.src.is_local() {
        finding.techniques = vec![Technique::new("T1595")];
    }
    cx.raise(finding);
}

fn score(key: SweepKey, sweep: &Sweep) -> f64 {
    if !sweep.src.is_local() {
        return 0.7 * (sweep.peak.max(1.0)).log10();
    }
    let outside = 1.0 - sweep.local / sweep.distinct.max(1.0);
    let weight = match (key.2, key.1) {
        (Transport::Tcp, 80 | 443) => 1.0 - 0.8 * outside,
        // Questions to printers and neighbours that nobody answers are a habit of desktops.
        (Transport::Udp, _) => 0.5,
        _ => 1.0 - 0.5 * outside,
    };
    let failing = failures_score(weight * sweep.surprising_peak());
    let many = tails::pareto(sweep.local, (1.5 * sweep.usual_distinct).max(8.0), 1.5);
    failing.max(many) + 0.3 * failing.min(many)
}
