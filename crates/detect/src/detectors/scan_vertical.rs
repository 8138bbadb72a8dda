//! # Port scan
//!
//! ## What it flags
//! One source that tries many ports of one host, or many protocols above IP.
//!
//! ## Why it matters
//! Before a machine is attacked it is asked what it offers.
//!
//! ## How it scores
//! Each first try of a port is a step of a walk: up for a failure, down for a success, never below
//! zero. From inside, the score grows with the height of the walk, each further failure counting a
//! little less. From outside it grows with the logarithm of the ports tried: a few tries are the
//! background noise of the Internet, thousands on one host are meant. Bare segments without a
//! beginning (FIN, Xmas, null, ACK and window scans) count as failures when they are reset or
//! ignored, and so do packets of other IP protocols that nobody answers.
//!
//! ## Evidence
//! The host, how many ports were tried, how many failed, and the first tries' events.
//!
//! ## What would have been normal
//! A client knows which ports it wants: a handful, most of which answer.
//!
//! ## Known false alarms
//! Vulnerability scanners and some inventory tools. Route tracing by UDP (ports from 33434) and
//! answers whose question was not captured are left out.
//!
//! ## ATT&CK
//! T1046 (network service discovery) from inside, T1595 (active scanning) from outside.
//!
//! ## Sources
//! Jung, Paxson, Berger, Balakrishnan, *Fast Portscan Detection Using Sequential Hypothesis
//! Testing*, IEEE S&P 2004; Staniford, Hoagland, McAlerney, *Practical Automated Detection of
//! Stealthy Portscans*, Journal of Computer Security 2002.

use thymus_schema::{
    Event, PeerRole, Phase, SnapshotError, SnapshotReader, SnapshotWriter, Statement, Technique,
    Transport, Value,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::interest::Interest;
use crate::memory::Memory;
use crate::party::Party;
use crate::sweep::{Attempt, Ending, Sweep, failures_score};
use crate::table::Table;
use crate::tails;
use crate::trail::{began, key_of, read_party, write_party};

/// The registration.
pub(crate) const SPEC: DetectorSpec = DetectorSpec {
    id: "scan_vertical",
    title: "Port scan",
    phase: Phase::Reconnaissance,
    techniques: &[Technique::new("T1046")],
    source: include_str!("scan_vertical.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(ScanVertical::default()),
};

const PAIRS_MAX: usize = 32_768;
/// Fewest ports worth a look.
const PORTS_MIN: f64 = 4.0;

/// Source and destination.
type PairKey = (u64, u64);

/// The detector's state.
pub(crate) struct ScanVertical {
    pairs: Table<PairKey, (Party, Sweep)>,
    waiting: Vec<PairKey>,
}

impl Default for ScanVertical {
    fn default() -> Self {
        Self {
            pairs: Table::new(PAIRS_MAX),
            waiting: Vec::new(),
        }
    }
}

impl Detector for ScanVertical {
    fn interest(&self) -> Interest {
        Interest::FLOW.and(Interest::DNS_FLOW)
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let Some(attempt) = Attempt::from_event(event, cx) else {
            return;
        };
        let traced =
            attempt.transport == Transport::Udp && (33_434..33_700).contains(&attempt.port);
        if traced || attempt.transport == Transport::Icmp {
            return;
        }
        let key = (attempt.src.key(), attempt.dst.key());
        let known = self.pairs.get(&key).is_some();
        if !known && attempt.ending == Ending::Success && attempt.src.is_local() {
            // Most conversations are answered and never lead to a second port: no entry for them.
            return;
        }
        let (_, sweep) = self
            .pairs
            .entry(key, || (attempt.dst, Sweep::new(attempt.src, event.ts)));
        let target = u64::from(attempt.port) << 3 | attempt.transport as u64;
        let new = sweep.contact(
            (event.id, began(event)),
            target,
            attempt.dst,
            attempt.ending,
            1.0,
        );
        if new && !sweep.waiting && sweep.distinct >= PORTS_MIN {
            sweep.waiting = true;
            self.waiting.push(key);
        }
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.pairs]
    }

    fn tick(&mut self, cx: &mut DetectCx<'_>) {
        for key in std::mem::take(&mut self.waiting) {
            if let Some((dst, sweep)) = self.pairs.get_mut(&key) {
                sweep.waiting = false;
                judge(*dst, sweep, cx);
            }
        }
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.pairs.write(
            out,
            |_, (_, sweep)| sweep.usual_distinct.max(sweep.distinct) >= PORTS_MIN,
            |out, (source, destination), (dst, sweep)| {
                out.u64(source).u64(destination);
                write_party(out, *dst);
                sweep.write(out);
            },
        );
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        let pairs = Table::read(PAIRS_MAX, from, 88, |from| {
            let key = (from.u64()?, from.u64()?);
            let dst = read_party(from)?;
            let sweep = Sweep::read(from)?;
            Ok((key, (dst, sweep)))
        })?;
        *self = Self {
            pairs,
            ..Self::default()
        };
        Ok(())
    }
}

fn judge(dst: Party, sweep: &Sweep, cx: &mut DetectCx<'_>) {
    let score = score(dst, sweep);
    if score < 0.3 || !cx.matters(score) {
        return;
    }
    let trail = &sweep.trail;
    let statement = Statement::new(
        "tried {ports} ports or protocols of {host} in {span}; {failed} of them refused or did not answer",
        vec![
            trail.fact("ports", Value::Count(sweep.distinct as u64)),
            trail.fact("host", Value::Name(dst.addr.to_string().into())),
            trail.fact(
                "span",
                Value::Seconds(trail.last().secs_since(trail.first())),
            ),
            trail.fact("failed", Value::Count(sweep.failed as u64)),
        ],
    );
    let counterfactual = trail.normal(
        sweep.usual_distinct,
        "A client asks a host for a handful of ports, most of which answer; the most this pair had \
         in an earlier hour is {usual}.",
        "A client asks a host for a handful of ports, most of which answer; there is no earlier \
         hour of this pair to compare with.",
    );
    let mut finding = trail.finding(
        sweep.src,
        key_of(dst.key()),
        score,
        statement,
        counterfactual,
    );
    finding.peers = vec![cx.entities().peer(PeerRole::Target, dst)];
    if !sweep.src.is_local() {
        finding.techniques = vec![Technique::new("T1595")];
    }
    cx.raise(finding);
}

fn score(dst: Party, sweep: &Sweep) -> f64 {
    let peak = sweep.surprising_peak();
    if !sweep.src.is_local() {
        return 1.1 * (peak / 4.0).max(1.0).log10();
    }
    let weight = if dst.is_local() { 1.0 } else { 0.6 };
    let failing = failures_score(weight * (peak - 1.0));
    // A scan with the host's firewall open meets few failures; nobody uses dozens of ports.
    let usual = (2.0 * sweep.usual_distinct).max(12.0);
    failing.max(weight * tails::pareto(sweep.distinct, usual, 2.0))
}
