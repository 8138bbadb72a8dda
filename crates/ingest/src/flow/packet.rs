//! A packet in its flow: found or made, counted, and handed on.

use std::net::IpAddr;

use thymus_parsers::packet::{Segment, Tcp, Transport as Header};
use thymus_schema::{Conn, Endpoint, Mac, Timestamp, Transport};

use super::dispatch::{App, Feed};
use super::key::{Directed, mix};
use super::layers::Net;
use super::orient::{icmp_request, is_group};
use super::reassembly::Piece;
use super::state::{History, Once};
use super::table::{Counts, Flow, Print, TcpFlow};
use super::tcp::{Effect, View};
use super::traffic::{Handle, Sample, SampleKind, Traffic};
use super::{FlowEngine, Hands};
use crate::analyzer::Side;

/// Two packets that agree in every number and are not further apart are one packet, seen twice.
const COPY_NANOS: i64 = 1_000_000;

impl FlowEngine {
    pub(super) fn flow_packet(&mut self, net: &Net, header: &Header<'_>) {
        let (source, destination) = key_ports(net, header);
        let directed = Directed::new(
            (net.source, source),
            (net.destination, destination),
            net.protocol,
            net.scope,
        );
        let mut found = self.table.find(&directed.key);
        if let (Some(index), Segment::Tcp(tcp)) = (found, &header.segment)
            && let Some(flow) = self.table.get_mut(index)
            && flow.is_reused_by(directed.from_low, tcp)
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
        let now = self.clock.now();
        if self.table.len() >= self.limits.flows_max
            && let Some(stalest) = self.table.stalest()
        {
            self.counters.flows_evicted += 1;
            self.end_flow(stalest, now);
        }
        self.counters.flows += 1;
        let ends = (address_digest(net.source), address_digest(net.destination));
        let flipped = self
            .ports
            .first_is_from_server(header, net.destination, ends);
        self.ports.note(header, ends.0, ends.1);
        let mut flow = Flow::new(net, header, directed, flipped, now);
        flow.local = [flow.conn.client.addr, flow.conn.server.addr]
            .map(|address| self.local.contains(address));
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
            flow.macs[side as usize] = usable(net.source_mac);
        }
        count_traffic(&mut self.traffic, flow, side, now, net, header);
        let mut hands = Hands {
            dispatcher: &self.dispatcher,
            now: Timestamp::from_nanos(now),
            out: &mut self.bodies,
            panics: &mut self.counters.panics,
            carver: &mut self.carver,
        };
        let mut ended = false;
        if let Segment::Tcp(tcp) = &header.segment {
            let effect = flow.segment(side, tcp, header, &mut hands);
            ended = effect.ended;
            let counters = &mut self.counters;
            counters.unbelievable += u64::from(effect.unbelievable);
            counters.early_bytes += effect.early_after;
            counters.early_bytes = counters.early_bytes.saturating_sub(effect.early_before);
            if counters.early_bytes > self.limits.early_bytes_max && effect.early_after > 0 {
                let mut hands = Hands {
                    dispatcher: &self.dispatcher,
                    now: Timestamp::from_nanos(now),
                    out: &mut self.bodies,
                    panics: &mut counters.panics,
                    carver: &mut self.carver,
                };
                let flushed = flow.flush(false, &mut hands);
                counters.early_flushed += 1;
                counters.early_bytes = counters.early_bytes.saturating_sub(flushed);
            }
        } else {
            flow.datagram(side, header, &mut hands);
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
}

fn usable(mac: Option<Mac>) -> Option<Mac> {
    mac.filter(|mac| !mac.is_zero() && !mac.is_multicast())
}

impl Flow {
    /// A flow that its first packet begins; `flipped` when that came from the server.
    fn new(net: &Net, header: &Header<'_>, directed: Directed, flipped: bool, now: i64) -> Self {
        let (mut client, mut server) = endpoints(net, header);
        let (mut client_mac, mut server_mac) = (net.source_mac, net.destination_mac);
        let mut history = History::default();
        let tcp = matches!(header.segment, Segment::Tcp(_));
        if flipped {
            std::mem::swap(&mut client, &mut server);
            std::mem::swap(&mut client_mac, &mut server_mac);
            if tcp {
                history.flipped();
            }
        }
        // The client's port is the type of the request, the server's the code.
        if let Segment::Icmp { kind, code, .. } = header.segment {
            client.port = u16::from(icmp_request(net.source, kind).unwrap_or(kind));
            server.port = u16::from(code);
        }
        // Protocols without ports are told by their number.
        if matches!(header.segment, Segment::Other) {
            server.port = u16::from(net.protocol);
        }
        let transport = transport_of(header);
        Self {
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
            local: [false; 2],
            traffic: [Handle::NONE; 2],
            peers: [address_digest(client.addr), address_digest(server.addr)],
            prints: [Print::default(); 2],
            history,
            service: None,
            app: App::default(),
            tcp: tcp.then(Box::<TcpFlow>::default),
            quirks: 0,
            due: 0,
        }
    }

    /// The parts that a TCP segment works on, and what an analyzer is given.
    fn tcp_parts<'f>(&'f mut self, hands: &'f mut Hands<'_>) -> Option<(View<'f>, Feed<'f>)> {
        let view = View {
            state: self.tcp.as_deref_mut()?,
            history: &mut self.history,
            app: &mut self.app,
            counts: &mut self.counts,
            missed: &mut self.missed,
            payload_seen: &mut self.payload_seen,
            quirks: &mut self.quirks,
        };
        Some((view, hands.feed(&self.conn, &mut self.service)))
    }

    fn segment(
        &mut self,
        side: Side,
        tcp: &Tcp<'_>,
        header: &Header<'_>,
        hands: &mut Hands<'_>,
    ) -> Effect {
        let now = hands.now.as_nanos();
        let Some((mut view, mut feed)) = self.tcp_parts(hands) else {
            return Effect::default();
        };
        view.segment(side, tcp, header, now, &mut feed)
    }

    /// Gives out what is kept of both streams; how many bytes that were.
    pub(super) fn flush(&mut self, end: bool, hands: &mut Hands<'_>) -> usize {
        self.tcp_parts(hands)
            .map_or(0, |(mut view, mut feed)| view.flush(end, &mut feed))
    }

    /// Ends the reading of the conversation.
    pub(super) fn close(&mut self, hands: &mut Hands<'_>) {
        self.app
            .close(&mut hands.feed(&self.conn, &mut self.service));
    }

    fn datagram(&mut self, side: Side, header: &Header<'_>, hands: &mut Hands<'_>) {
        let bytes = match header.segment {
            Segment::Udp(udp) => udp.payload,
            Segment::Icmp { message, .. } => message,
            _ => &[],
        };
        self.counts[side as usize].bytes += u64::from(header.payload_len);
        self.missed += u64::from(header.missing);
        self.history.once(side, Once::Data);
        self.payload_seen |= header.payload_len > 0;
        if self.app.is_listening() && !bytes.is_empty() {
            let mut feed = hands.feed(&self.conn, &mut self.service);
            self.app.piece(side, Piece::Data(bytes), &mut feed);
        }
    }

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
