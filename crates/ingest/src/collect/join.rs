//! Records of one direction become conversations: a half waits a while for its other half, sampled packets of
//! one conversation are added up, what goes on is another part of the same flow, and what a second exporter
//! saw of it is not counted again.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use rustc_hash::FxHashMap;
use thymus_schema::{
    Conn, ConnState, Coverage, Endpoint, EventBody, FlowId, FlowRecord, Mac, Scope, Timestamp,
    Transport,
};

use super::times::stamp;
use crate::analyzers::ANALYZERS;
use crate::flow::{Directed, Key, ServicePorts, icmp_request, is_group};
use crate::logs::{ACK, FIN, RST, SYN, state_by_flags};

/// How long a half waits for its other half, and how long sampled packets are added up.
const WAIT: Duration = Duration::from_mins(1);
/// A record that begins so soon after the end of another of the same ends is a part of the same flow.
const PART_GAP_NANOS: i64 = 60 * 1_000_000_000;

/// An event without an id.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) exporter: u32,
    pub(super) conn: Option<Conn>,
    pub(super) body: EventBody,
}

/// What went in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Volume {
    pub(super) packets: u64,
    /// Bytes behind the headers of the transport.
    pub(super) payload: u64,
    /// TCP flags of all packets together, where they are told.
    pub(super) flags: Option<u8>,
}

/// Between whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) source: Endpoint,
    pub(super) destination: Endpoint,
    pub(super) protocol: u8,
    /// Type and code.
    pub(super) icmp: Option<u16>,
    pub(super) scope: Scope,
    pub(super) source_mac: Option<Mac>,
    pub(super) destination_mac: Option<Mac>,
}

impl Ends {
    fn transport(&self) -> Transport {
        match self.protocol {
            6 => Transport::Tcp,
            17 => Transport::Udp,
            1 | 58 => Transport::Icmp,
            132 => Transport::Sctp,
            _ => Transport::Other,
        }
    }

    /// The same for both directions.
    fn directed(&self) -> Directed {
        let (source, destination) = match self.icmp {
            Some(icmp) => {
                let [kind, code] = icmp.to_be_bytes();
                let pair = icmp_request(self.source.addr, kind);
                let number = pair.map_or(u16::from_be_bytes([kind, code]), |kind| {
                    u16::from(kind) << 8
                });
                (number, number)
            }
            None => (self.source.port, self.destination.port),
        };
        Directed::new(
            (self.source.addr, source),
            (self.destination.addr, destination),
            self.protocol,
            self.scope,
        )
    }
}

/// A record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Half {
    pub(super) exporter: u32,
    pub(super) ends: Ends,
    pub(super) forward: Volume,
    /// The other direction, where the record tells both.
    pub(super) reverse: Option<Volume>,
    pub(super) start: i64,
    pub(super) end: i64,
    /// Whether the source began, where the record says it.
    pub(super) source_began: Option<bool>,
    pub(super) is_sampled: bool,
    /// A firewall let none of it through.
    pub(super) is_denied: bool,
}

/// A sampled packet; it stands for many.
#[derive(Clone, Copy, Debug)]
pub(super) struct SampledPacket {
    pub(super) exporter: u32,
    pub(super) ends: Ends,
    pub(super) volume: Volume,
    pub(super) is_sampled: bool,
}

/// One direction of a conversation that waits.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    volume: Volume,
    start: i64,
    end: i64,
    icmp: Option<u16>,
}

/// What tells a record from any other of the same ends.
type Print = (i64, i64, u64, u64, Option<u16>);

/// A conversation that waits. Sides and ends are those of the direction that came first, then the other.
#[derive(Debug)]
struct Waiting {
    serial: u64,
    exporter: u32,
    ends: Ends,
    from_low: bool,
    sides: [Option<Side>; 2],
    is_sampled: bool,
    /// Whether the direction that came first began, where the record says it.
    first_began: Option<bool>,
    is_denied: bool,
}

/// A conversation that may go on.
#[derive(Clone, Copy, Debug)]
struct Recent {
    serial: u64,
    flow: FlowId,
    exporter: u32,
    start: i64,
    end: i64,
    part: u32,
    client_is_low: bool,
    /// What the last record of each direction was like: from the lower end, from the higher.
    prints: [Option<Print>; 2],
}

/// Joins records.
pub(super) struct Joiner {
    max: usize,
    serial: u64,
    waiting: FxHashMap<Key, Waiting>,
    due: VecDeque<(i64, Key, u64)>,
    recent: FxHashMap<Key, Recent>,
    order: VecDeque<(Key, u64)>,
    /// Exporters that tell both directions: only of these a lone direction means that nobody answered.
    both: BTreeSet<u32>,
    ports: ServicePorts,
}

impl Joiner {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max: max.max(1),
            serial: 0,
            waiting: FxHashMap::default(),
            due: VecDeque::new(),
            recent: FxHashMap::default(),
            order: VecDeque::new(),
            both: BTreeSet::new(),
            ports: ServicePorts::new(ANALYZERS),
        }
    }

    /// Conversations that wait.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes a record in.
    pub(super) fn half(
        &mut self,
        half: Half,
        now: Timestamp,
        coverage: &mut Coverage,
        told: &mut Vec<Told>,
    ) {
        let directed = half.ends.directed();
        if let Some(reason) = self.is_known(&half, directed) {
            coverage.drop_for(reason, 1);
            return;
        }
        coverage.records_judged += 1;
        let side = Side {
            volume: half.forward,
            start: half.start,
            end: half.end,
            icmp: half.ends.icmp,
        };
        if let Some(mut waiting) = self.waiting.remove(&directed.key) {
            let other = usize::from(waiting.from_low != directed.from_low);
            let is_free = waiting.sides.get(other).is_some_and(Option::is_none);
            if is_free && half.reverse.is_none() {
                waiting.put(other, side, &half);
                self.both.insert(half.exporter);
                self.emit(directed.key, &waiting, coverage, told);
                return;
            }
            // Another flow between the same ends, or its next part.
            self.emit(directed.key, &waiting, coverage, told);
        }
        let mut waiting = Waiting {
            serial: 0,
            exporter: half.exporter,
            ends: half.ends,
            from_low: directed.from_low,
            sides: [Some(side), None],
            is_sampled: half.is_sampled,
            first_began: half.source_began,
            is_denied: half.is_denied,
        };
        if let Some(volume) = half.reverse {
            self.both.insert(half.exporter);
            waiting.sides[1] = (volume.packets > 0).then_some(Side { volume, ..side });
            self.emit(directed.key, &waiting, coverage, told);
            return;
        }
        self.wait(directed.key, waiting, now, coverage, told);
    }

    /// Takes a sampled packet in; it was when it arrived.
    pub(super) fn packet(
        &mut self,
        packet: SampledPacket,
        now: Timestamp,
        coverage: &mut Coverage,
    ) {
        coverage.records_judged += 1;
        let directed = packet.ends.directed();
        let at = now.as_nanos();
        let side = Side {
            volume: packet.volume,
            start: at,
            end: at,
            icmp: packet.ends.icmp,
        };
        if let Some(waiting) = self.waiting.get_mut(&directed.key) {
            let other = usize::from(waiting.from_low != directed.from_low);
            if let Some(place) = waiting.sides.get_mut(other) {
                let seen = place.get_or_insert(Side {
                    volume: Volume::default(),
                    ..side
                });
                seen.add(&side);
            }
            waiting.is_sampled |= packet.is_sampled;
            if other == 1 {
                self.both.insert(packet.exporter);
            }
            return;
        }
        let waiting = Waiting {
            serial: 0,
            exporter: packet.exporter,
            ends: packet.ends,
            from_low: directed.from_low,
            sides: [Some(side), None],
            is_sampled: packet.is_sampled,
            first_began: None,
            is_denied: false,
        };
        // There is always room: what waited longest is told at the next step of time.
        self.enter(directed.key, waiting, now);
    }

    /// Whether a record tells what was told already, and which way.
    fn is_known(&self, half: &Half, directed: Directed) -> Option<&'static str> {
        let Volume {
            packets, payload, ..
        } = half.forward;
        let print = (half.start, half.end, packets, payload, half.ends.icmp);
        if let Some(waiting) = self.waiting.get(&directed.key) {
            let other = usize::from(waiting.from_low != directed.from_low);
            if let Some(Some(side)) = waiting.sides.get(other) {
                let overlaps = half.start <= side.end && half.end >= side.start;
                let same = side.print() == print;
                return known(waiting.exporter != half.exporter, overlaps, same);
            }
            return None;
        }
        let recent = self.recent.get(&directed.key)?;
        let seen = recent.prints[usize::from(!directed.from_low)]?;
        let overlaps = half.start <= recent.end && half.end >= recent.start;
        known(recent.exporter != half.exporter, overlaps, seen == print)
    }

    fn wait(
        &mut self,
        key: Key,
        waiting: Waiting,
        now: Timestamp,
        coverage: &mut Coverage,
        told: &mut Vec<Told>,
    ) {
        self.enter(key, waiting, now);
        while self.waiting.len() > self.max {
            let Some((_, key, serial)) = self.due.pop_front() else {
                break;
            };
            self.emit_due(key, serial, coverage, told);
        }
    }

    fn enter(&mut self, key: Key, mut waiting: Waiting, now: Timestamp) {
        self.serial += 1;
        waiting.serial = self.serial;
        self.due
            .push_back((now.plus(WAIT).as_nanos(), key, self.serial));
        self.waiting.insert(key, waiting);
    }

    /// Tells what need not wait any longer.
    pub(super) fn advance(
        &mut self,
        now: Timestamp,
        coverage: &mut Coverage,
        told: &mut Vec<Told>,
    ) {
        let (due, far) = (now.as_nanos(), now.plus(WAIT).as_nanos());
        while let Some((at, key, serial)) = self.due.front().copied() {
            // Beyond what can be, because the clock was set back.
            let is_due = at <= due || at > far || self.waiting.len() > self.max;
            // What is no longer there need not be waited for.
            let is_gone = self
                .waiting
                .get(&key)
                .is_none_or(|waiting| waiting.serial != serial);
            if !is_due && !is_gone {
                break;
            }
            self.due.pop_front();
            self.emit_due(key, serial, coverage, told);
        }
    }

    /// Tells everything.
    pub(super) fn finish(&mut self, coverage: &mut Coverage, told: &mut Vec<Told>) {
        while let Some((_, key, serial)) = self.due.pop_front() {
            self.emit_due(key, serial, coverage, told);
        }
    }

    fn emit_due(&mut self, key: Key, serial: u64, coverage: &mut Coverage, told: &mut Vec<Told>) {
        let is_it = self
            .waiting
            .get(&key)
            .is_some_and(|waiting| waiting.serial == serial);
        if is_it && let Some(waiting) = self.waiting.remove(&key) {
            self.emit(key, &waiting, coverage, told);
        }
    }

    fn emit(&mut self, key: Key, waiting: &Waiting, coverage: &mut Coverage, told: &mut Vec<Told>) {
        let (start, end) = waiting.span();
        let before = self
            .recent
            .get(&key)
            .copied()
            .filter(|recent| recent.goes_on(waiting, start));
        let first_is_client = match before {
            Some(recent) => recent.client_is_low == waiting.from_low,
            None => self.first_is_client(waiting),
        };
        let flow = before.map_or_else(
            || waiting.ends.directed().flow_id(start),
            |recent| recent.flow,
        );
        let part = before.map_or(0, |recent| recent.part.saturating_add(1));
        let whole_start = before.map_or(start, |recent| recent.start);
        let conn = waiting.conn(flow, first_is_client);
        let knows_both = self.both.contains(&waiting.exporter);
        let mut record = waiting.record(first_is_client, knows_both);
        record.start = stamp(whole_start);
        record.duration = stamp(end).since(record.start);
        record.part = part;
        coverage.flows += u64::from(part == 0);
        told.push(Told {
            exporter: waiting.exporter,
            conn: Some(conn),
            body: EventBody::Flow(Box::new(record)),
        });
        let client_is_low = first_is_client == waiting.from_low;
        let [first, second] = waiting.sides.map(|side| side.as_ref().map(Side::print));
        self.serial += 1;
        let recent = Recent {
            serial: self.serial,
            flow,
            exporter: waiting.exporter,
            start: whole_start,
            end: before.map_or(end, |recent| recent.end.max(end)),
            part,
            client_is_low,
            prints: if waiting.from_low {
                [first, second]
            } else {
                [second, first]
            },
        };
        self.recent.insert(key, recent);
        self.order.push_back((key, self.serial));
        while self.order.len() > self.max {
            let Some((key, serial)) = self.order.pop_front() else {
                break;
            };
            if self
                .recent
                .get(&key)
                .is_some_and(|recent| recent.serial == serial)
            {
                self.recent.remove(&key);
            }
        }
    }

    /// Whether the direction that came first is the client's.
    fn first_is_client(&self, waiting: &Waiting) -> bool {
        let ends = &waiting.ends;
        if let Some(began) = waiting.first_began {
            return began;
        }
        if is_group(ends.destination.addr) {
            return true;
        }
        if let Some(icmp) = ends.icmp {
            let [kind, _] = icmp.to_be_bytes();
            return icmp_request(ends.source.addr, kind).is_none_or(|request| request == kind);
        }
        let [first, second] = &waiting.sides;
        let flags = |side: &Option<Side>| {
            side.as_ref()
                .and_then(|side| side.volume.flags)
                .unwrap_or(0)
        };
        let earlier = match (first, second) {
            (Some(first), Some(second)) if !waiting.is_sampled && first.start != second.start => {
                Some(first.start < second.start)
            }
            _ => None,
        };
        let begins = flags(first) & SYN != 0 && flags(second) & SYN != 0;
        if let Some(earlier) = earlier.filter(|_| begins) {
            return earlier;
        }
        match (flags(first) & (SYN | ACK), second) {
            (SYN, _) => return true,
            (_, Some(second)) if second.volume.flags.unwrap_or(0) & (SYN | ACK) == SYN => {
                return false;
            }
            _ => {}
        }
        let transport = ends.transport();
        let source = self.ports.rank(transport, ends.source.port);
        let destination = self.ports.rank(transport, ends.destination.port);
        if (source >= 3) != (destination >= 3) {
            return destination >= 3;
        }
        earlier.unwrap_or(source <= destination)
    }
}

fn known(by_another: bool, overlaps: bool, is_same: bool) -> Option<&'static str> {
    match (by_another, overlaps) {
        (true, true) => Some("flow_seen_by_another_exporter"),
        (false, _) if is_same => Some("duplicate_flow_record"),
        _ => None,
    }
}

impl Recent {
    /// Whether a conversation between the same ends is a part of this one.
    fn goes_on(&self, waiting: &Waiting, start: i64) -> bool {
        let is_near = start >= self.start && start <= self.end.saturating_add(PART_GAP_NANOS);
        let begins = |side: &Side| side.volume.flags.is_some_and(|flags| flags & SYN != 0);
        is_near && !waiting.is_denied && !waiting.sides.iter().flatten().any(begins)
    }
}

impl Side {
    fn print(&self) -> Print {
        let Volume {
            packets, payload, ..
        } = self.volume;
        (self.start, self.end, packets, payload, self.icmp)
    }

    fn add(&mut self, other: &Self) {
        let volume = &mut self.volume;
        volume.packets = volume.packets.saturating_add(other.volume.packets);
        volume.payload = volume.payload.saturating_add(other.volume.payload);
        volume.flags = match (volume.flags, other.volume.flags) {
            (Some(mine), Some(theirs)) => Some(mine | theirs),
            (mine, theirs) => mine.or(theirs),
        };
        self.start = self.start.min(other.start);
        self.end = self.end.max(other.end);
    }
}

impl Waiting {
    fn put(&mut self, other: usize, side: Side, half: &Half) {
        if let Some(place) = self.sides.get_mut(other) {
            *place = Some(side);
        }
        self.is_sampled |= half.is_sampled;
        self.is_denied |= half.is_denied;
    }

    fn span(&self) -> (i64, i64) {
        let sides = || self.sides.iter().flatten();
        let start = sides().map(|side| side.start).min();
        let end = sides().map(|side| side.end).max();
        (start.unwrap_or(0), end.unwrap_or(0))
    }

    fn conn(&self, flow: FlowId, first_is_client: bool) -> Conn {
        let (mut client, mut server) = (self.ends.source, self.ends.destination);
        if !first_is_client {
            (client, server) = (server, client);
        }
        if let Some(icmp) = self.ends.icmp {
            let [kind, code] = icmp.to_be_bytes();
            let request = icmp_request(self.ends.source.addr, kind).unwrap_or(kind);
            (client.port, server.port) = (u16::from(request), u16::from(code));
        }
        Conn {
            flow,
            client: Endpoint::new(client.addr, client.port),
            server: Endpoint::new(server.addr, server.port),
            transport: self.ends.transport(),
            scope: self.ends.scope,
        }
    }

    fn record(&self, first_is_client: bool, knows_both: bool) -> FlowRecord {
        let [first, second] = self.sides;
        let (client, server) = if first_is_client {
            (first, second)
        } else {
            (second, first)
        };
        let (client_mac, server_mac) = if first_is_client {
            (self.ends.source_mac, self.ends.destination_mac)
        } else {
            (self.ends.destination_mac, self.ends.source_mac)
        };
        let volume = |side: Option<Side>| side.map(|side| side.volume).unwrap_or_default();
        let (to, back) = (volume(client), volume(server));
        FlowRecord {
            client_bytes: to.payload,
            server_bytes: back.payload,
            client_packets: to.packets,
            server_packets: back.packets,
            state: self.state(client, server, knows_both),
            client_mac,
            server_mac,
            last: true,
            ..FlowRecord::default()
        }
    }

    /// How it went, as far as it can be told: nothing of sampled packets, and nothing of a lone direction
    /// where its exporter only tells one.
    fn state(&self, client: Option<Side>, server: Option<Side>, knows_both: bool) -> ConnState {
        if self.is_denied {
            return ConnState::Rej;
        }
        if self.is_sampled {
            return ConnState::Oth;
        }
        if self.ends.transport() != Transport::Tcp {
            return match (client, server) {
                (Some(_), Some(_)) => ConnState::Sf,
                (Some(_), None) if knows_both => ConnState::S0,
                _ => ConnState::Oth,
            };
        }
        let flags = |side: Option<Side>| side.map(|side| side.volume.flags);
        match (flags(client), flags(server)) {
            (Some(Some(client)), Some(Some(server))) => state_by_flags(client, server),
            // Who was answered acknowledges it.
            (Some(Some(client)), None) if client & SYN != 0 && client & ACK == 0 => {
                state_by_flags(client, 0)
            }
            (Some(Some(client)), None) if client & SYN != 0 => match client & (FIN | RST) {
                0 => ConnState::S1,
                FIN => ConnState::S2,
                _ => ConnState::Rsto,
            },
            (Some(None), Some(None)) => ConnState::Sf,
            _ => ConnState::Oth,
        }
    }
}
