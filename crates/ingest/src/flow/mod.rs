//! Packets become flows, streams and events. One engine serves all packet sources, replayed or live.
//!
//! The engine's clock is the packets' own: it never runs back but for a jump (a capture that starts
//! again in the past), which ends all flows and is counted. Nothing here reads a file or a clock, and
//! nothing judges. Every table has a bound and a counter: flows, kept segments, fragments, addresses.

mod clock;
mod dispatch;
mod fragments;
mod key;
mod layers;
mod orient;
mod packet;
mod reassembly;
mod state;
mod table;
mod tcp;
mod traffic;
mod wheel;

#[cfg(test)]
mod tests;

use rustc_hash::FxHashMap;
use thymus_parsers::packet::{Unread, decode_frame};
use thymus_schema::{
    Conn, Coverage, Event, EventBody, EventId, FlowRecord, InputId, LocalNetworks, Service,
    Timestamp,
};

use crate::analyzer::AnalyzerSpec;
use crate::carve::{Carver, SharedJudge};
use clock::Clock;
use dispatch::{Dispatcher, Feed};
use fragments::Fragments;
pub(crate) use key::{Directed, Key};
pub(crate) use orient::{ServicePorts, icmp_request, is_group};
use table::{Counts, Flow, Table};
use traffic::{Traffic, WINDOW_SECS};

const SECOND: i64 = 1_000_000_000;

/// Bounds of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowLimits {
    /// Most flows that live at a time; beyond it the stalest end early.
    pub flows_max: usize,
    /// Most bytes kept over all flows because they came before others.
    pub early_bytes_max: usize,
}

impl Default for FlowLimits {
    fn default() -> Self {
        Self {
            flows_max: 131_072,
            early_bytes_max: 64 << 20,
        }
    }
}

/// What was counted and not turned into events.
#[derive(Clone, Debug, Default)]
struct Counters {
    packets: u64,
    judged: u64,
    bytes: u64,
    flows: u64,
    events: u64,
    unread: [u64; Unread::ALL.len()],
    arp_malformed: u64,
    copies: u64,
    flows_evicted: u64,
    early_flushed: u64,
    unbelievable: u64,
    panics: u64,
    early_bytes: usize,
}

/// What the engine lends to a flow for one call.
struct Hands<'a> {
    dispatcher: &'a Dispatcher,
    now: Timestamp,
    out: &'a mut Vec<EventBody>,
    panics: &'a mut u64,
    carver: &'a mut Carver,
}

impl Hands<'_> {
    fn feed<'f>(&'f mut self, conn: &'f Conn, service: &'f mut Option<Service>) -> Feed<'f> {
        Feed {
            dispatcher: self.dispatcher,
            now: self.now,
            conn,
            out: self.out,
            service,
            panics: self.panics,
            carver: self.carver,
            ended: [false; 2],
        }
    }
}

/// Turns packets into events.
pub struct FlowEngine {
    limits: FlowLimits,
    local: LocalNetworks,
    dispatcher: Dispatcher,
    ports: ServicePorts,
    clock: Clock,
    table: Table,
    fragments: Fragments,
    traffic: Traffic,
    counters: Counters,
    carver: Carver,
    bodies: Vec<EventBody>,
    events: Vec<Event>,
    input: InputId,
    index: u64,
    indexes: FxHashMap<InputId, u64>,
}

impl FlowEngine {
    /// An engine that reads protocols with `specs`.
    pub fn new(local: LocalNetworks, limits: FlowLimits, specs: &'static [AnalyzerSpec]) -> Self {
        Self {
            limits,
            local,
            dispatcher: Dispatcher::new(specs),
            ports: ServicePorts::new(specs),
            clock: Clock::default(),
            table: Table::new(),
            fragments: Fragments::default(),
            traffic: Traffic::default(),
            counters: Counters::default(),
            carver: Carver::default(),
            bodies: Vec::new(),
            events: Vec::new(),
            input: InputId::default(),
            index: 0,
            indexes: FxHashMap::default(),
        }
    }

    /// Has files that pass judged.
    #[must_use]
    pub fn with_judge(mut self, judge: Option<SharedJudge>) -> Self {
        self.carver = Carver::new(judge);
        self
    }

    /// The local networks of conversations that begin from here on.
    pub fn set_local(&mut self, local: LocalNetworks) {
        self.local = local;
    }

    /// From here on packets are of this input, and so are the ids of events.
    pub fn set_input(&mut self, input: InputId) {
        if input != self.input {
            self.indexes.insert(self.input, self.index);
            self.input = input;
            self.index = self.indexes.get(&input).copied().unwrap_or(0);
        }
    }

    /// Events that are ready, in order of time.
    pub fn events(&mut self) -> &mut Vec<Event> {
        &mut self.events
    }

    /// Takes a packet captured at `ts` (nanoseconds since the epoch); `next_ts` is the time of the
    /// packet after it where that is known.
    pub fn packet(&mut self, ts: i64, next_ts: Option<i64>, link_type: u32, bytes: &[u8]) {
        self.counters.packets += 1;
        self.counters.bytes += bytes.len() as u64;
        self.advance(ts, next_ts);
        match decode_frame(link_type, bytes) {
            Some(frame) => self.frame(frame, 0),
            None => self.unread(Unread::LinkType),
        }
    }

    /// Ends all flows: there are no more packets.
    pub fn finish(&mut self) {
        let now = self.clock.now();
        for index in self.table.indexes() {
            self.end_flow(index, now);
        }
        self.table.clear();
        self.fragments.clear();
        self.close_windows(now);
    }

    /// What was read and what was not.
    pub fn coverage(&self) -> Coverage {
        let counters = &self.counters;
        let mut coverage = Coverage {
            packets: counters.packets,
            packets_judged: counters.judged,
            bytes: counters.bytes,
            flows: counters.flows,
            events: counters.events,
            ..Coverage::default()
        };
        for (reason, count) in Unread::ALL.iter().zip(counters.unread) {
            coverage.drop_for(reason.as_str(), count);
        }
        coverage.drop_for("arp_malformed", counters.arp_malformed);
        coverage.drop_for("packet_copies", counters.copies);
        coverage.drop_for("flows_evicted", counters.flows_evicted);
        coverage.drop_for("early_segments_flushed", counters.early_flushed);
        coverage.drop_for("segments_unbelievable", counters.unbelievable);
        coverage.drop_for("analyzers_panicked", counters.panics);
        coverage.drop_for("fragments_given_up", self.fragments.given_up);
        coverage.drop_for("traffic_addresses_refused", self.traffic.refused);
        coverage.drop_for("time_jumps_back", self.clock.jumps_back);
        coverage.drop_for("time_outliers", self.clock.outliers);
        self.carver.tell(&mut coverage);
        coverage
    }

    /// Gives the bodies that analyzers made their places among the events.
    fn deliver(&mut self, index: u32, now: i64) {
        let Some(conn) = self.table.get_mut(index).map(|flow| flow.conn) else {
            return;
        };
        self.deliver_for(conn, now);
    }

    fn deliver_for(&mut self, conn: Conn, now: i64) {
        let mut bodies = std::mem::take(&mut self.bodies);
        for body in bodies.drain(..) {
            self.emit_at(Some(conn), body, now);
        }
        self.bodies = bodies;
    }

    fn emit(&mut self, conn: Option<Conn>, body: EventBody) {
        let now = self.clock.now();
        self.emit_at(conn, body, now);
    }

    fn emit_at(&mut self, conn: Option<Conn>, body: EventBody, now: i64) {
        let id = EventId {
            input: self.input,
            index: self.index,
        };
        self.index += 1;
        self.counters.events += 1;
        self.events.push(Event {
            id,
            ts: Timestamp::from_nanos(now),
            conn,
            body,
        });
    }

    /// Ends a flow: what is kept is given out, and its record written.
    fn end_flow(&mut self, index: u32, at: i64) {
        let Some(mut flow) = self.table.remove(index) else {
            return;
        };
        let mut hands = Hands {
            dispatcher: &self.dispatcher,
            now: Timestamp::from_nanos(at),
            out: &mut self.bodies,
            panics: &mut self.counters.panics,
            carver: &mut self.carver,
        };
        let flushed = flow.flush(true, &mut hands);
        flow.close(&mut hands);
        self.counters.early_bytes = self.counters.early_bytes.saturating_sub(flushed);
        let conn = flow.conn;
        self.deliver_for(conn, at);
        let record = flow.record(true);
        self.emit_at(Some(conn), EventBody::Flow(Box::new(record)), at);
    }

    fn close_windows(&mut self, now: i64) {
        let mut bodies = std::mem::take(&mut self.bodies);
        self.traffic.close(&mut |body| bodies.push(body));
        for body in bodies.drain(..) {
            self.emit_at(None, body, now);
        }
        self.bodies = bodies;
    }
}

impl Flow {
    /// The flow's record since its last part.
    fn record(&mut self, last: bool) -> FlowRecord {
        let record = FlowRecord {
            start: Timestamp::from_nanos(self.start),
            duration: Timestamp::from_nanos(self.last).since(Timestamp::from_nanos(self.start)),
            client_bytes: self.counts[0].bytes,
            server_bytes: self.counts[1].bytes,
            client_packets: self.counts[0].packets,
            server_packets: self.counts[1].packets,
            state: self.state(),
            history: self.history.as_str().into(),
            service: self.service,
            missed_bytes: self.missed,
            client_mac: self.macs[0],
            server_mac: self.macs[1],
            part: self.part,
            last,
        };
        self.part += 1;
        self.counts = [Counts::default(); 2];
        self.missed = 0;
        record
    }
}
