//! The packets of a capture as a stream of events, through the flow engine that capture files go through.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use thymus_ingest::{ExporterCounters, FlowEngine, SharedJudge};
use thymus_schema::{Coverage, Event, InputId};
use thymus_sensor::{PacketBlock, Recorder, RingReport, Waited};

use super::now_nanos;
use super::orders::Orders;
use super::wire::Wire;
use crate::carved::Verdicts;
use crate::pipeline::Stream;
use crate::replay::declared;

/// How long to wait for packets before the judging thread hears that there are none.
const WAIT: Duration = Duration::from_millis(100);
/// Packets after which a batch of events is handed over.
const RUN_PACKETS_MAX: usize = 512;

/// A live capture on its way to the engine.
pub(super) struct Live {
    wire: Wire,
    engine: FlowEngine,
    judge: SharedJudge,
    verdicts: Verdicts,
    first: VecDeque<PacketBlock>,
    recorder: Option<Recorder>,
    heeded: Option<Arc<Orders>>,
    block: PacketBlock,
    /// Whether the block had to wait for the first look to end.
    is_first: bool,
    at: usize,
    newest: Option<i64>,
    trouble: Option<anyhow::Error>,
}

/// How a live run stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    /// What was captured and what was not.
    pub(super) coverage: Coverage,
    /// When the newest packet of this batch was captured, in nanoseconds since the epoch; none when
    /// there was no packet, or when it had to wait for the first look to end.
    pub(super) newest: Option<i64>,
    /// Whether the interface is switched off.
    pub(super) is_down: bool,
    /// How the keeping of packets stands, where they are kept.
    pub(super) ring: Option<RingReport>,
    /// What was made of files, where they are judged.
    pub(super) verdicts: Option<Verdicts>,
    /// How exporters stand, where they are listened to.
    pub(super) exporters: Option<Arc<[ExporterCounters]>>,
    /// Where reading stands behind this batch, when somebody wanted to know.
    pub(super) position: Option<Vec<u8>>,
    /// Which packets are captured, where not all are.
    pub(super) filter: Option<String>,
    /// What the supervisor said last.
    pub(super) orders: Option<Arc<Orders>>,
}

impl Live {
    /// Over a capture that runs, after the packets `first` that it gave already. Events of this run are
    /// told from those of others by when it began.
    pub(super) fn new(
        wire: Wire,
        mut engine: FlowEngine,
        (judge, verdicts): (SharedJudge, Verdicts),
        first: VecDeque<PacketBlock>,
        recorder: Option<Recorder>,
    ) -> Self {
        engine.set_input(InputId(now_nanos().cast_unsigned()));
        Self {
            wire,
            engine,
            judge,
            verdicts,
            first,
            is_first: false,
            recorder,
            heeded: None,
            block: PacketBlock::default(),
            at: 0,
            newest: None,
            trouble: None,
        }
    }

    /// Why the capture or its recording ended, when nobody asked them to.
    pub(super) fn take_trouble(&mut self) -> Option<anyhow::Error> {
        let of_wire = self.wire.take_trouble();
        let finished = self.recorder.take().map(Recorder::finish);
        let of_record = finished.and_then(Result::err).map(anyhow::Error::from);
        of_wire.or_else(|| self.trouble.take()).or(of_record)
    }

    /// Goes by other local networks, where the supervisor names others.
    fn heed(&mut self) {
        let orders = self.wire.orders();
        let is_same = match (&orders, &self.heeded) {
            (Some(orders), Some(heeded)) => Arc::ptr_eq(orders, heeded),
            (orders, _) => orders.is_none(),
        };
        if is_same {
            return;
        }
        if let Some(local) = orders.as_ref().and_then(|orders| declared(&orders.local)) {
            self.engine.set_local(local);
        }
        self.heeded = orders;
    }

    /// Replaces the block by the next one, or by none; `false` when there will be no more.
    fn next_block(&mut self) -> bool {
        let used = std::mem::take(&mut self.block);
        self.wire.give_back(used);
        self.at = 0;
        let first = self.first.pop_front();
        self.is_first = first.is_some();
        match first.map_or_else(|| self.wire.next(WAIT), Waited::Block) {
            Waited::Block(block) => self.block = block,
            Waited::Nothing => return true,
            Waited::Ended => return false,
        }
        let written = self.recorder.as_mut().map(|out| out.write(&self.block));
        if let Some(Err(error)) = written {
            // Watching goes on; that the recording does not is told at once, and again at the end.
            eprintln!("thymus: {error}; it ends here");
            self.trouble = Some(error.into());
            self.recorder = None;
        }
        true
    }
}

impl Stream for Live {
    type Progress = Standing;
    const IS_LIVE: bool = true;

    fn next_batch(&mut self, out: &mut Vec<Event>) -> Result<bool> {
        self.newest = None;
        let more = self.at < self.block.records().len() || self.next_block();
        self.heed();
        let records = self.block.records();
        let link_type = self.wire.interface().link_type;
        let end = records.len().min(self.at + RUN_PACKETS_MAX);
        for at in self.at..end {
            let Some(record) = records.get(at) else {
                break;
            };
            let next_ts = records.get(at + 1).map(|next| next.ts);
            let packet = self.block.packet(record);
            self.engine.packet(record.ts, next_ts, link_type, packet);
            self.newest = Some(record.ts);
        }
        self.at = end;
        if !more {
            self.engine.finish();
        }
        out.append(self.engine.events());
        Ok(more)
    }

    fn progress(&self) -> Standing {
        let mut coverage = self.engine.coverage();
        self.wire.add_to(&mut coverage);
        self.judge.tell(&mut coverage);
        Standing {
            coverage,
            newest: self.newest.filter(|_| !self.is_first),
            is_down: self.wire.is_down(),
            ring: self.wire.ring(),
            verdicts: Some(self.verdicts.clone()),
            exporters: None,
            position: None,
            filter: self.wire.filter(),
            orders: self.wire.orders(),
        }
    }
}
