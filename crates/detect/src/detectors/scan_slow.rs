//! # Slow scan
//!
//! ## What it flags
//! A device that over many hours tries local hosts and ports that refuse or do not answer, a few at
//! a time.
//!
//! ## Why it matters
//! Who knows that sweeps are noticed spreads them over the day.
//!
//! ## How it scores
//! Every first contact with a local host and port in a day is a step of a walk: up for a failure,
//! down for a success, never below zero. Steps up count at most six an hour, so that only patience
//! adds up here (fast sweeps have detectors of their own), and at least three hours must have some.
//! UDP counts a third. What the device reached on earlier days is taken off.
//!
//! ## Evidence
//! How many host-port pairs failed, in how many hours, and the first tries' events.
//!
//! ## What would have been normal
//! A device uses a stable set of local services that answer.
//!
//! ## Known false alarms
//! Software with a list of machines that no longer exist, the first day; a laptop that was moved to
//! another network.
//!
//! ## ATT&CK
//! T1046 (network service discovery), T1018 (remote system discovery).
//!
//! ## Sources
//! Staniford, Hoagland, McAlerney, *Practical Automated Detection of Stealthy Portscans*, Journal of
//! Computer Security 2002; the sequential test as in Jung et al., IEEE S&P 2004.

use thymus_schema::{
    Event, PeerRole, Phase, SnapshotError, SnapshotReader, SnapshotWriter, Statement, Technique,
    Timestamp, Transport, Value,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::interest::Interest;
use crate::memory::Memory;
use crate::party::Party;
use crate::sweep::{Attempt, Distinct, Ending, failures_score};
use crate::table::Table;
use crate::trail::{Trail, key_of, read_party, write_party};

/// The registration.
pub(crate) const SPEC: DetectorSpec = DetectorSpec {
    id: "scan_slow",
    title: "Slow scan",
    phase: Phase::Reconnaissance,
    techniques: &[Technique::new("T1018"), Technique::new("T1046")],
    source: include_str!("scan_slow.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(ScanSlow::default()),
};

const DEVICES_MAX: usize = 16_384;
/// Steps up that count in one hour.
const HOURLY_MAX: f64 = 6.0;
const HOURS_MIN: u32 = 3;
const DAY_SECS: f64 = 86_400.0;

struct Day {
    src: Party,
    since: Timestamp,
    pairs: Distinct,
    walk: f64,
    failed: f64,
    hour: i64,
    in_hour: f64,
    hours: u32,
    usual: f64,
    sample: Vec<Party>,
    trail: Trail,
    waiting: bool,
}

impl Day {
    fn new(src: Party, since: Timestamp, usual: f64) -> Self {
        Self {
            src,
            since,
            pairs: Distinct::default(),
            walk: 0.0,
            failed: 0.0,
            hour: i64::MIN,
            in_hour: 0.0,
            hours: 0,
            usual,
            sample: Vec::new(),
            trail: Trail::default(),
            waiting: false,
        }
    }

    /// Takes in a contact; returns whether the walk went up.
    fn contact(&mut self, event: &Event, attempt: &Attempt) -> bool {
        if event.ts.secs_since(self.since) > DAY_SECS {
            let usual = self.walk.max(0.8 * self.usual);
            *self = Self {
                waiting: self.waiting,
                ..Self::new(self.src, event.ts, usual)
            };
        }
        let pair = key_of((attempt.dst.key(), attempt.port, attempt.transport));
        let Some(new) = self.pairs.add(pair) else {
            return false;
        };
        match attempt.ending {
            Ending::Unclear => return false,
            Ending::Success => {
                self.walk = (self.walk - new).max(0.0);
                return false;
            }
            Ending::Failure => {}
        }
        let hour = event.ts.as_secs().div_euclid(3600);
        if hour != self.hour {
            self.hour = hour;
            self.in_hour = 0.0;
            self.hours += 1;
        }
        let weight = if attempt.transport == Transport::Udp {
            0.33
        } else {
            1.0
        };
        let step = (new * weight).min(HOURLY_MAX - self.in_hour);
        self.failed += new;
        self.in_hour += step;
        self.walk += step;
        self.trail.push(event);
        if self.sample.len() < 8 && !self.sample.contains(&attempt.dst) {
            self.sample.push(attempt.dst);
        }
        step > 0.0
    }
}

/// The detector's state.
pub(crate) struct ScanSlow {
    days: Table<u64, Day>,
    waiting: Vec<u64>,
}

impl Default for ScanSlow {
    fn default() -> Self {
        Self {
            days: Table::new(DEVICES_MAX),
            waiting: Vec::new(),
        }
    }
}

impl Detector for ScanSlow {
    fn interest(&self) -> Interest {
        Interest::FLOW.and(Interest::DNS_FLOW)
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let between_ours = matches!((cx.client(), cx.server()), (Some(src), Some(dst)) if src.is_local() && dst.is_local());
        if !between_ours {
            return;
        }
        let Some(attempt) = Attempt::from_event(event, cx).filter(|it| !it.ignored) else {
            return;
        };
        if !matches!(attempt.transport, Transport::Tcp | Transport::Udp) {
            return;
        }
        let key = attempt.src.key();
        let day = self
            .days
            .entry(key, || Day::new(attempt.src, event.ts, 0.0));
        if day.contact(event, &attempt) && !day.waiting && day.hours >= HOURS_MIN {
            day.waiting = true;
            self.waiting.push(key);
        }
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.days]
    }

    fn tick(&mut self, cx: &mut DetectCx<'_>) {
        for key in std::mem::take(&mut self.waiting) {
            if let Some(day) = self.days.get_mut(&key) {
                day.waiting = false;
                judge(day, cx);
            }
        }
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.days.write(
            out,
            |_, _| true,
            |out, device, day| {
                out.u64(device);
                write_party(out, day.src);
                out.i64(day.since.as_nanos()).f64(day.usual.max(day.walk));
            },
        );
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        let days = Table::read(DEVICES_MAX, from, 48, |from| {
            let device = from.u64()?;
            let src = read_party(from)?;
            let since = Timestamp::from_nanos(from.i64()?);
            let usual = from.f64()?;
            Ok((device, Day::new(src, since, usual)))
        })?;
        *self = Self {
            days,
            ..Self::default()
        };
        Ok(())
    }
}

fn judge(day: &Day, cx: &mut DetectCx<'_>) {
    let score = failures_score(0.8 * day.walk - 4.0 - day.usual);
    if score < 0.3 || !cx.matters(score) {
        return;
    }
    let trail = &day.trail;
    let statement = Statement::new(
        "tried {pairs} local host and port pairs in vain, a few at a time, in {hours} hours of \
         the day",
        vec![
            trail.fact("pairs", Value::Count(day.failed as u64)),
            trail.fact("hours", Value::Count(u64::from(day.hours))),
        ],
    );
    let counterfactual = trail.normal(
        day.usual,
        "A device uses local services that answer; on its worst earlier day this one failed {usual} \
         times more often than it succeeded.",
        "A device uses local services that answer; no earlier day is known on which this one failed \
         more often than it succeeded.",
    );
    let mut finding = trail.finding(day.src, 0, score, statement, counterfactual);
    finding.peers = day
        .sample
        .iter()
        .map(|dst| cx.entities().peer(PeerRole::Target, *dst))
        .collect();
    cx.raise(finding);
}
