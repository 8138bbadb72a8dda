//! Packets become flows, streams and events. One engine serves all packet sources, replayed or live.
//!
//! The engine's clock is the packets' own: it never runs back but for a jump (a capture that starts
//! again in the past), which ends all flows and is counted. Nothing here reads a file or a clock, and
//! nothing judges. Every table has a bound and a counter: flows, kept segments, fragments, addresses.

mod clock;
mod dispatch;
mod fragments;
mod key;
mod orient;
mod reassembly;
mod state;
mod table;
mod tcp;
mod traffic;
mod wheel;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use rustc_hash::FxHashMap;
use thymus_parsers::ParseBudget;
use thymus_parsers::packet::{
    Frame, Inner, IpPacket, Next, Segment, Tags, Transport as Header, Unread, decode_frame,
    decode_ip, decode_transport, decode_tunnel, decode_udp_tunnel,
};
use thymus_schema::{
    ArpMessage, Conn, Coverage, Endpoint, Event, EventBody, EventId, FlowRecord, InputId,
    LocalNetworks, Mac, NdpMessage, QuirkSeen, Scope, Timestamp, Transport,
};

use crate::analyzer::{AnalyzerSpec, Side};
use clock::Clock;
use dispatch::{App, Dispatcher, Feed};
use fragments::Fragments;
use key::{Directed, mix};
use orient::{ServicePorts, icmp_request, is_group};
use reassembly::Piece;
use state::{History, Once};
use table::{Counts, Flow, Print, Table, TcpFlow};
use traffic::{Handle, Sample, SampleKind, Traffic, WINDOW_SECS};

const SECOND: i64 = 1_000_000_000;
/// Tunnels followed into one another.
const TUNNEL_DEPTH_MAX: usize = 8;
/// Two packets that agree in every number and are not further apart are one packet, seen twice.
const COPY_NANOS: i64 = 1_000_000;

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

/// The network layer of the packet at hand.
#[derive(Clone, Copy)]
struct Net {
    source: IpAddr,
    destination: IpAddr,
    scope: Scope,
    protocol: u8,
    ip_len: u32,
    ident: u16,
    source_mac: Option<Mac>,
    destination_mac: Option<Mac>,
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
            bodies: Vec::new(),
            events: Vec::new(),
            input: InputId::default(),
            index: 0,
            indexes: FxHashMap::default(),
        }
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
            Some(frame) => self.frame(frame),
            None => self.unread(Unread::LinkType),
        }
    }

    /// Ends all flows: there are no more packets.
    pub fn finish(&mut self) {
        let now = self.clock.now();
        for index in self.table.indexes() {
            self.end_flow(index, now);
        }
        self.table.wheel.clear();
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
        coverage
    }

    fn unread(&mut self, reason: Unread) {
        if let Some(count) = self.counters.unread.get_mut(reason as usize) {
            *count += 1;
        }
    }

    /// Follows the layers of a frame.
    fn frame(&mut self, mut frame: Frame<'_>) {
        for _ in 0..TUNNEL_DEPTH_MAX {
            let packet = match frame.next {
                Next::Ip(packet) => packet,
                Next::Arp(message) => return self.arp(&frame, message),
                Next::Unread(reason) => return self.unread(reason),
            };
            let Some(ip) = decode_ip(packet) else {
                return self.unread(Unread::IpMalformed);
            };
            if ip.fragment.is_some() {
                return self.fragment(&frame, &ip);
            }
            match self.ip(&mut frame, &ip) {
                Some(inner) => frame.enter(inner),
                None => return,
            }
        }
        self.unread(Unread::TunnelDepth);
    }

    fn fragment(&mut self, frame: &Frame<'_>, ip: &IpPacket<'_>) {
        let scope = scope_of(&frame.tags);
        let conflicts = self.fragments.conflicts;
        let joined = self.fragments.take(ip, scope, self.clock.now());
        self.counters.judged += 1;
        if self.fragments.conflicts > conflicts {
            let quirk = QuirkSeen {
                parser: "ip".into(),
                quirk: "fragments_overlap".into(),
            };
            self.emit(None, EventBody::Quirk(quirk));
        }
        let Some(joined) = joined else { return };
        let mut whole = *frame;
        let ip = IpPacket {
            source: ip.source,
            destination: ip.destination,
            protocol: joined.protocol,
            ttl: ip.ttl,
            ident: ip.ident,
            total_len: joined.total_len,
            fragment: None,
            payload: &joined.payload,
            missing: 0,
            quirk: None,
        };
        // The last fragment was counted above; the packet it completes is no further one.
        self.counters.judged -= 1;
        let tags = whole.tags;
        let mut inner_frame = Frame { tags, ..whole };
        if let Some(inner) = self.ip(&mut inner_frame, &ip) {
            whole.tags = inner_frame.tags;
            let mut inside = Frame {
                source_mac: None,
                destination_mac: None,
                tags: whole.tags,
                next: Next::Ip(&[]),
            };
            inside.enter(inner);
            self.frame(inside);
        }
    }

    /// One IP packet: a tunnel to go into, or a flow's.
    fn ip<'a>(&mut self, frame: &mut Frame<'_>, ip: &IpPacket<'a>) -> Option<Inner<'a>> {
        let header = decode_transport(ip.protocol, ip.payload, ip.missing);
        let tunnel = match &header {
            Some(Header {
                segment: Segment::Udp(udp),
                ..
            }) => decode_udp_tunnel(udp, &mut frame.tags),
            Some(Header {
                segment: Segment::Other,
                ..
            }) => decode_tunnel(ip.protocol, ip.payload, &mut frame.tags),
            _ => None,
        };
        if tunnel.is_some() {
            return tunnel;
        }
        let Some(header) = header else {
            self.unread(Unread::TransportMalformed);
            return None;
        };
        let net = Net {
            source: ip.source.to_canonical(),
            destination: ip.destination.to_canonical(),
            scope: scope_of(&frame.tags),
            protocol: ip.protocol,
            ip_len: ip.total_len,
            ident: ip.ident,
            source_mac: frame.source_mac.map(Mac),
            destination_mac: frame.destination_mac.map(Mac),
        };
        self.counters.judged += 1;
        self.flow_packet(&net, &header);
        None
    }

    fn flow_packet(&mut self, net: &Net, header: &Header<'_>) {
        let ports = key_ports(net, header);
        let source = (net.source, ports.0);
        let directed = Directed::new(source, (net.destination, ports.1), net.protocol, net.scope);
        let mut found = self.table.find(&directed.key);
        if let (Some(index), Segment::Tcp(tcp)) = (found, &header.segment)
            && self
                .table
                .get_mut(index)
                .is_some_and(|flow| flow.is_reused_by(directed.from_low, tcp))
        {
            let now = self.clock.now();
            self.end_flow(index, now);
            found = None;
        }
        let index = match found {
            Some(index) => index,
            None => self.new_flow(net, header, directed),
        };
        self.count_packet(index, directed.from_low, net, header);
    }

    fn new_flow(&mut self, net: &Net, header: &Header<'_>, directed: Directed) -> u32 {
        if self.table.len() >= self.limits.flows_max
            && let Some(stalest) = self.table.stalest()
        {
            self.counters.flows_evicted += 1;
            let now = self.clock.now();
            self.end_flow(stalest, now);
        }
        self.counters.flows += 1;
        let now = self.clock.now();
        let flipped = self.ports.first_is_from_server(header, net.destination);
        let (source, destination) = endpoints(net, header);
        let (client, server) = if flipped {
            (destination, source)
        } else {
            (source, destination)
        };
        let (client, server) = match header.segment {
            // The client's port is the type of the request, the server's the code.
            Segment::Icmp { kind, code, .. } => {
                let request = icmp_request(net.source, kind).unwrap_or(kind);
                (
                    Endpoint {
                        port: u16::from(request),
                        ..client
                    },
                    Endpoint {
                        port: u16::from(code),
                        ..server
                    },
                )
            }
            _ => (client, server),
        };
        let mut history = History::default();
        let tcp = matches!(header.segment, Segment::Tcp(_));
        if flipped && tcp {
            history.flipped();
        }
        let transport = transport_of(header);
        let (client_mac, server_mac) = if flipped {
            (net.destination_mac, net.source_mac)
        } else {
            (net.source_mac, net.destination_mac)
        };
        let usable = |mac: Option<Mac>| mac.filter(|mac| !mac.is_zero() && !mac.is_multicast());
        let local = [
            self.local.contains(client.addr),
            self.local.contains(server.addr),
        ];
        let flow = Flow {
            key: directed.key,
            client_is_low: directed.from_low != flipped,
            conn: Conn {
                flow: directed.flow_id(now),
                client,
                server,
                transport,
                scope: net.scope,
            },
            start: now,
            last: now,
            part_start: now,
            part: 0,
            counts: [Counts::default(); 2],
            spoke: [false; 2],
            payload_seen: false,
            missed: 0,
            macs: [usable(client_mac), usable(server_mac)],
            local,
            traffic: [Handle::NONE; 2],
            peers: [address_digest(client.addr), address_digest(server.addr)],
            prints: [Print::default(); 2],
            history,
            service: None,
            app: App::default(),
            tcp: tcp.then(Box::<TcpFlow>::default),
            quirks: 0,
            due: 0,
        };
        self.table.insert(Box::new(flow))
    }

    /// Counts a packet in its flow and hands its payload on.
    fn count_packet(&mut self, index: u32, from_low: bool, net: &Net, header: &Header<'_>) {
        let now = self.clock.now();
        let Some(flow) = self.table.get_mut(index) else {
            return;
        };
        let side = flow.side(from_low);
        if flow.is_copy(side, net, header, now) {
            self.counters.copies += 1;
            return;
        }
        flow.last = now;
        flow.spoke[side as usize] = true;
        flow.counts[side as usize].packets += 1;
        if flow.macs[side as usize].is_none() {
            let usable = |mac: &Mac| !mac.is_zero() && !mac.is_multicast();
            flow.macs[side as usize] = net.source_mac.filter(usable);
        }
        count_traffic(&mut self.traffic, flow, side, now, net, header);
        let mut feed = Feed {
            dispatcher: &self.dispatcher,
            now: Timestamp::from_nanos(now),
            conn: &flow.conn,
            out: &mut self.bodies,
            service: &mut flow.service,
            panics: &mut self.counters.panics,
        };
        let mut ended = false;
        match &header.segment {
            Segment::Tcp(tcp) => {
                let Some(state) = flow.tcp.as_deref_mut() else {
                    return;
                };
                let mut view = tcp::View {
                    state,
                    history: &mut flow.history,
                    app: &mut flow.app,
                    counts: &mut flow.counts,
                    missed: &mut flow.missed,
                    payload_seen: &mut flow.payload_seen,
                    quirks: &mut flow.quirks,
                };
                let effect = view.segment(side, tcp, header, now, &mut feed);
                ended = effect.ended;
                self.counters.unbelievable += u64::from(effect.unbelievable);
                self.counters.early_bytes =
                    (self.counters.early_bytes + effect.early_after) - effect.early_before;
                if self.counters.early_bytes > self.limits.early_bytes_max && effect.early_after > 0
                {
                    self.counters.early_flushed += 1;
                    self.counters.early_bytes -= view.flush(false, &mut feed);
                }
            }
            other => {
                let bytes = match other {
                    Segment::Udp(udp) => udp.payload,
                    Segment::Icmp { message, .. } => message,
                    _ => &[],
                };
                flow.counts[side as usize].bytes += u64::from(header.payload_len);
                flow.missed += u64::from(header.missing);
                flow.history.once(side, Once::Data);
                flow.payload_seen |= header.payload_len > 0;
                if flow.app.is_listening() && !bytes.is_empty() {
                    flow.app.piece(side, Piece::Data(bytes), &mut feed);
                }
            }
        }
        if let Segment::Icmp {
            message,
            kind: 133..=137,
            ..
        } = header.segment
            && net.protocol == 58
        {
            self.neighbour(index, net, message);
        }
        if !self.bodies.is_empty() {
            self.deliver(index, now);
        }
        if ended {
            self.table.hurry(index);
        }
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
        let mut feed = Feed {
            dispatcher: &self.dispatcher,
            now: Timestamp::from_nanos(at),
            conn: &flow.conn,
            out: &mut self.bodies,
            service: &mut flow.service,
            panics: &mut self.counters.panics,
        };
        if let Some(state) = flow.tcp.as_deref_mut() {
            let mut view = tcp::View {
                state,
                history: &mut flow.history,
                app: &mut flow.app,
                counts: &mut flow.counts,
                missed: &mut flow.missed,
                payload_seen: &mut flow.payload_seen,
                quirks: &mut flow.quirks,
            };
            self.counters.early_bytes -= view.flush(true, &mut feed);
        }
        flow.app.close(&mut feed);
        let conn = flow.conn;
        self.deliver_for(conn, at);
        let record = flow.record(true);
        self.emit_at(Some(conn), EventBody::Flow(Box::new(record)), at);
    }

    fn arp(&mut self, frame: &Frame<'_>, message: &[u8]) {
        let Some(arp) = thymus_parsers::arp::parse(message) else {
            self.counters.arp_malformed += 1;
            return;
        };
        self.counters.judged += 1;
        let message = ArpMessage {
            reply: arp.is_reply(),
            sender_mac: Mac(arp.sender_mac),
            sender: IpAddr::V4(arp.sender),
            target_mac: Mac(arp.target_mac),
            target: IpAddr::V4(arp.target),
            frame_mac: Mac(frame.source_mac.unwrap_or(arp.sender_mac)),
        };
        self.emit(None, EventBody::Arp(message));
    }

    fn neighbour(&mut self, index: u32, net: &Net, message: &[u8]) {
        let Some(parsed) = thymus_parsers::ndp::parse(message, &ParseBudget::default()) else {
            return;
        };
        let mac = parsed
            .value
            .mac
            .map(Mac)
            .or(net.source_mac)
            .unwrap_or_default();
        let conn = self.table.get_mut(index).map(|flow| flow.conn);
        let message = NdpMessage {
            message: parsed.value.message,
            sender: net.source,
            target: parsed.value.target.map(IpAddr::V6),
            mac,
        };
        self.emit(conn, EventBody::Ndp(message));
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
    /// Whether a packet is the copy of the one before it, as mirror ports make them. Of several
    /// equal packets every second one counts as a copy, so that a flood is never hidden.
    fn is_copy(&mut self, side: Side, net: &Net, header: &Header<'_>, now: i64) -> bool {
        let digest = print_of(net, header);
        let print = &mut self.prints[side as usize];
        if digest != 0 && print.digest == digest && now.saturating_sub(print.ts) <= COPY_NANOS {
            print.digest = 0;
            return true;
        }
        *print = Print { digest, ts: now };
        false
    }

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

/// A digest of every number that a copy of a packet repeats; 0 when copies cannot be told from
/// honest repeats.
fn print_of(net: &Net, header: &Header<'_>) -> u64 {
    let numbers = match &header.segment {
        Segment::Tcp(tcp) => {
            let known_copy = net.ident != 0 || header.payload_len > 0;
            if !known_copy {
                return 0;
            }
            u64::from(tcp.seq) << 32 ^ u64::from(tcp.ack) ^ u64::from(tcp.flags.0) << 24
        }
        Segment::Udp(udp) if net.ident != 0 => u64::from(udp.checksum),
        Segment::Icmp { message, .. } if net.ident != 0 => message
            .first_chunk::<8>()
            .map_or(0, |head| u64::from_be_bytes(*head)),
        _ => return 0,
    };
    let words = u64::from(net.ident) << 32 | u64::from(net.ip_len);
    (numbers ^ words.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1
}

fn scope_of(tags: &Tags) -> Scope {
    if tags.is_empty() {
        return Scope::NONE;
    }
    tags.iter()
        .fold(Scope::NONE, |scope, (kind, id)| scope.enter(kind, id))
}

fn transport_of(header: &Header<'_>) -> Transport {
    match header.segment {
        Segment::Tcp(_) => Transport::Tcp,
        Segment::Udp(_) => Transport::Udp,
        Segment::Icmp { .. } => Transport::Icmp,
        Segment::Sctp => Transport::Sctp,
        Segment::Other => Transport::Other,
    }
}

/// The ports by which a flow is found. For ICMP the request's type stands for both.
fn key_ports(net: &Net, header: &Header<'_>) -> (u16, u16) {
    match header.segment {
        Segment::Icmp { kind, code, .. } => {
            let pair = icmp_request(net.source, kind);
            let code = if pair.is_some() { 0 } else { u16::from(code) };
            let number = u16::from(pair.unwrap_or(kind)) << 8 | code;
            (number, number)
        }
        _ => (header.source_port, header.destination_port),
    }
}

fn endpoints(net: &Net, header: &Header<'_>) -> (Endpoint, Endpoint) {
    (
        Endpoint {
            addr: net.source,
            port: header.source_port,
        },
        Endpoint {
            addr: net.destination,
            port: header.destination_port,
        },
    )
}

fn address_digest(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => mix(u64::from(v4.to_bits())),
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            mix(mix(bits as u64) ^ (bits >> 64) as u64)
        }
    }
}

fn count_traffic(
    traffic: &mut Traffic,
    flow: &mut Flow,
    side: Side,
    now: i64,
    net: &Net,
    header: &Header<'_>,
) {
    let kind = match &header.segment {
        Segment::Tcp(tcp) if tcp.flags.rst() => SampleKind::Rst,
        Segment::Tcp(tcp) if tcp.flags.syn() && !tcp.flags.ack() => SampleKind::Syn,
        Segment::Tcp(_) => SampleKind::Tcp,
        Segment::Udp(_) => SampleKind::Udp,
        Segment::Icmp { .. } => SampleKind::Icmp,
        Segment::Sctp | Segment::Other => SampleKind::Other,
    };
    let (from, to) = (side as usize, side.other() as usize);
    let mut sample = Sample {
        now,
        ip_len: net.ip_len,
        peer: flow.peers[to],
        port: header.destination_port,
        kind,
        to_group: false,
    };
    if flow.local[from] {
        sample.to_group = is_group(net.destination);
        if !traffic.count(flow.traffic[from], true, &sample) {
            flow.traffic[from] = traffic.sender(net.source, net.scope);
            traffic.count(flow.traffic[from], true, &sample);
        }
    }
    if flow.local[to] {
        sample.peer = flow.peers[from];
        if !traffic.count(flow.traffic[to], false, &sample)
            && let Some(handle) = traffic.known(net.destination, net.scope)
        {
            flow.traffic[to] = handle;
            traffic.count(handle, false, &sample);
        }
    }
}
