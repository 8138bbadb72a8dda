//! Layer by layer down to the transport: tunnels are entered, fragments joined, and what belongs to
//! the link itself becomes an event at once.

use std::net::IpAddr;

use thymus_parsers::ParseBudget;
use thymus_parsers::packet::{
    Frame, Inner, IpPacket, Next, Segment, Tags, Transport as Header, Unread, decode_ip,
    decode_transport, decode_tunnel, decode_udp_tunnel,
};
use thymus_schema::{ArpMessage, EventBody, Mac, NdpMessage, QuirkSeen, Scope};

use super::FlowEngine;

/// Tunnels followed into one another.
const TUNNEL_DEPTH_MAX: usize = 8;

/// The network layer of the packet at hand.
#[derive(Clone, Copy)]
pub(super) struct Net {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) scope: Scope,
    pub(super) protocol: u8,
    pub(super) ip_len: u32,
    pub(super) ident: u16,
    pub(super) source_mac: Option<Mac>,
    pub(super) destination_mac: Option<Mac>,
}

impl FlowEngine {
    pub(super) fn unread(&mut self, reason: Unread) {
        if let Some(count) = self.counters.unread.get_mut(reason as usize) {
            *count += 1;
        }
    }

    /// Follows the layers of a frame.
    pub(super) fn frame(&mut self, mut frame: Frame<'_>, depth: usize) {
        for depth in depth..TUNNEL_DEPTH_MAX {
            let packet = match frame.next {
                Next::Ip(packet) => packet,
                Next::Arp(message) => return self.arp(&frame, message),
                Next::Unread(reason) => return self.unread(reason),
            };
            let Some(ip) = decode_ip(packet) else {
                return self.unread(Unread::IpMalformed);
            };
            if ip.fragment.is_some() {
                return self.fragment(&frame, &ip, depth);
            }
            match self.ip(&mut frame, &ip) {
                Some(inner) => frame.enter(inner),
                None => return,
            }
        }
        self.unread(Unread::TunnelDepth);
    }

    fn fragment(&mut self, frame: &Frame<'_>, ip: &IpPacket<'_>, depth: usize) {
        let conflicts = self.fragments.conflicts;
        let joined = self
            .fragments
            .take(ip, scope_of(&frame.tags), self.clock.now());
        if self.fragments.conflicts > conflicts {
            let quirk = QuirkSeen {
                parser: "ip".into(),
                quirk: "fragments_overlap".into(),
            };
            self.emit(None, EventBody::Quirk(quirk));
        }
        let Some(joined) = joined else {
            self.counters.judged += 1;
            return;
        };
        let whole = IpPacket {
            protocol: joined.protocol,
            total_len: joined.total_len,
            fragment: None,
            payload: &joined.payload,
            missing: 0,
            ..*ip
        };
        // The packet lives shorter than the frame it came in, so the frame is made anew.
        let mut frame = Frame {
            next: Next::Ip(&[]),
            ..*frame
        };
        if let Some(inner) = self.ip(&mut frame, &whole) {
            frame.enter(inner);
            self.frame(frame, depth + 1);
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

    pub(super) fn neighbour(&mut self, index: u32, net: &Net, message: &[u8]) {
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
}

fn scope_of(tags: &Tags) -> Scope {
    if tags.is_empty() {
        return Scope::NONE;
    }
    tags.iter()
        .fold(Scope::NONE, |scope, (kind, id)| scope.enter(kind, id))
}
