//! The packets that the capturing process sends, and how it stands, across its deaths.

use std::collections::VecDeque;
use std::io::{Stdin, stdin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use thymus_schema::Coverage;
use thymus_sensor::{
    CaptureReport, Interface, PacketBlock, RelayReceiver, Relayed, RingReport, Waited,
};

use super::orders::Orders;
use super::stop::Stop;
use crate::replay::now;

/// Blocks kept for their room.
const SPARE_MAX: usize = 16;
/// Packets that come before the first report are held so far.
const HELD_BYTES_MAX: usize = 256 << 20;
/// Filters that were, and are told.
const FILTERS_MAX: usize = 8;
/// A capture that says nothing for so long, when all is to end, is not there.
const SILENCE: Duration = Duration::from_secs(3);

/// Packets on their way in.
pub(super) struct Wire {
    receiver: RelayReceiver<Stdin>,
    stop: Stop,
    report: CaptureReport,
    /// Missed by captures that are no more.
    missed_before: (u64, u64),
    /// Packets that captures that are no more did not keep.
    unkept_before: u64,
    restarted: u64,
    /// How often the capture was started again.
    restarts: u64,
    away: Duration,
    heard: Instant,
    held: VecDeque<PacketBlock>,
    spare: Vec<PacketBlock>,
    orders: Option<Arc<Orders>>,
    /// Which packets were captured before, the last first; nothing is all of them.
    filters_before: Vec<Option<String>>,
    trouble: Option<anyhow::Error>,
}

impl Wire {
    /// Waits for the capture to say what it captures; nothing when the run is to end before.
    /// This analysis was started again `restarted` times.
    pub(super) fn open(stop: Stop, restarted: u64) -> Result<Option<Self>> {
        let mut receiver = RelayReceiver::new(stdin());
        let mut held = VecDeque::new();
        let mut bytes = 0;
        let mut orders = None;
        loop {
            let mut block = PacketBlock::default();
            match receiver.read(&mut block, Duration::from_millis(100))? {
                Relayed::Packets => {
                    bytes += block.size();
                    if bytes > HELD_BYTES_MAX {
                        bail!("the capturing process sends packets and does not say of what");
                    }
                    held.push_back(block);
                }
                Relayed::Report(report) => {
                    return Ok(Some(Self {
                        receiver,
                        stop,
                        report: *report,
                        missed_before: (0, 0),
                        unkept_before: 0,
                        restarted,
                        restarts: 0,
                        away: Duration::ZERO,
                        heard: now(),
                        held,
                        spare: Vec::new(),
                        orders,
                        filters_before: Vec::new(),
                        trouble: None,
                    }));
                }
                Relayed::Nothing if stop.is_due() => return Ok(None),
                Relayed::Nothing => {}
                Relayed::Told(message) => orders = Some(Arc::new(Orders::read(&message)?)),
                Relayed::Closed => return Ok(None),
            }
        }
    }

    pub(super) fn interface(&self) -> &Interface {
        &self.report.interface
    }

    pub(super) fn is_down(&self) -> bool {
        self.report.is_down
    }

    /// Whether the run was asked to end.
    pub(super) fn is_stopping(&self) -> bool {
        self.stop.is_due()
    }

    /// Takes the next packets, waiting for them at most `wait`.
    pub(super) fn next(&mut self, wait: Duration) -> Waited {
        if let Some(block) = self.held.pop_front() {
            return Waited::Block(block);
        }
        if self.report.ended || self.is_handing_over() {
            return Waited::Ended;
        }
        let mut block = self.spare.pop().unwrap_or_default();
        let relayed = self.receiver.read(&mut block, wait);
        match relayed {
            Ok(Relayed::Packets) => {
                self.heard = now();
                return Waited::Block(block);
            }
            Ok(Relayed::Report(report)) => self.take(*report),
            Ok(Relayed::Told(message)) => match Orders::read(&message) {
                Ok(orders) => self.orders = Some(Arc::new(orders)),
                Err(error) => eprintln!("thymus: {error:#}"),
            },
            Ok(Relayed::Nothing) => {
                if self.stop.is_due() && self.heard.elapsed() >= SILENCE {
                    return Waited::Ended;
                }
            }
            Ok(Relayed::Closed) => return Waited::Ended,
            Err(error) => {
                self.trouble = Some(error.into());
                return Waited::Ended;
            }
        }
        self.give_back(block);
        Waited::Nothing
    }

    fn take(&mut self, report: CaptureReport) {
        if report.started != self.report.started {
            let missed = self.report.shortfall;
            self.missed_before.0 += missed.kernel;
            self.missed_before.1 += missed.queue;
            let ring = self.report.ring.as_ref();
            self.unkept_before += ring.map_or(0, |ring| ring.packets_not_kept);
            self.restarts += 1;
            self.away += self.heard.elapsed();
            eprintln!("thymus: capturing on {} again", report.interface.name);
        }
        self.heard = now();
        let trouble = |report: &CaptureReport| report.ring.as_ref()?.trouble.clone();
        if let Some(what) = trouble(&report)
            && trouble(&self.report).is_none()
        {
            eprintln!("thymus: {what}; what is captured is judged all the same");
        }
        if report.filter != self.report.filter {
            self.filters_before.insert(0, self.report.filter.clone());
            self.filters_before.truncate(FILTERS_MAX);
        }
        self.report = report;
    }

    /// The last orders there were.
    pub(super) fn orders(&self) -> Option<Arc<Orders>> {
        self.orders.clone()
    }

    fn is_handing_over(&self) -> bool {
        let orders = self.orders.as_ref();
        orders.is_some_and(|orders| orders.is_to_leave(self.restarted))
    }

    /// Which packets are captured, and which were, where not all are or were.
    pub(super) fn filter(&self) -> Option<String> {
        let words = |filter: &Option<String>| filter.clone().unwrap_or("everything".to_owned());
        if self.filters_before.is_empty() {
            return self.report.filter.clone();
        }
        let before: Vec<String> = self.filters_before.iter().map(words).collect();
        let (is, was) = (words(&self.report.filter), before.join(", before that "));
        Some(format!("{is} (before: {was})"))
    }

    /// How the keeping of packets stands since the start, where they are kept.
    pub(super) fn ring(&self) -> Option<RingReport> {
        let mut ring = self.report.ring.clone()?;
        ring.packets_not_kept += self.unkept_before;
        Some(ring)
    }

    /// Gives a used block back, for its room.
    pub(super) fn give_back(&mut self, mut block: PacketBlock) {
        block.clear();
        if self.spare.len() < SPARE_MAX {
            self.spare.push(block);
        }
    }

    /// What was missed since the start: the kernel had no room for it, or the queue here.
    pub(super) fn missed(&self) -> [u64; 2] {
        let (kernel, queue) = self.missed_before;
        let missed = self.report.shortfall;
        [kernel + missed.kernel, queue + missed.queue]
    }

    /// What was missed, by reason.
    pub(super) fn add_to(&self, coverage: &mut Coverage) {
        let [kernel, queue] = self.missed();
        coverage.packets += kernel + queue;
        coverage.drop_for("kernel_ring_full", kernel);
        coverage.drop_for("analysis_queue_full", queue);
        self.add_absence_to(coverage);
    }

    /// How often and how long nobody captured.
    pub(super) fn add_absence_to(&self, coverage: &mut Coverage) {
        coverage.drop_for("capture_restarts", self.restarts);
        let away = u64::try_from(self.away.as_millis()).unwrap_or(u64::MAX);
        coverage.drop_for("capture_away_ms", away);
    }

    /// Why nothing comes any more, when nobody asked for that.
    pub(super) fn take_trouble(&mut self) -> Option<anyhow::Error> {
        self.trouble.take()
    }
}
