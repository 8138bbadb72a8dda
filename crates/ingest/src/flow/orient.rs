//! Who is the client when the first packet does not say so.

use std::net::IpAddr;

use rustc_hash::FxHashSet;
use thymus_parsers::packet::{Segment, Transport as Header};
use thymus_schema::Transport;

use super::key::mix;
use crate::analyzer::AnalyzerSpec;

/// TCP ports of services whose protocol has no analyzer or no content to know it by, outside the
/// privileged range (IANA registry).
const REGISTERED: &[u16] = &[
    1080, 1099, 1194, 1352, 1433, 1494, 1521, 1723, 1911, 1962, 2049, 2082, 2083, 2181, 2222, 2375,
    2376, 2404, 2455, 2483, 2484, 3000, 3128, 3260, 3268, 3269, 3306, 3389, 4000, 4370, 4443, 4786,
    4840, 4899, 4911, 5000, 5007, 5060, 5061, 5094, 5222, 5223, 5228, 5269, 5357, 5432, 5450, 5555,
    5601, 5671, 5672, 5800, 5900, 5901, 5938, 5984, 5985, 5986, 6000, 6379, 6443, 6514, 6667, 6881,
    7001, 7547, 7680, 8000, 8008, 8009, 8080, 8081, 8086, 8088, 8089, 8140, 8291, 8333, 8443, 8530,
    8531, 8883, 8888, 9000, 9001, 9042, 9092, 9100, 9200, 9300, 9389, 9418, 9443, 9600, 9998, 9999,
    10000, 10050, 10051, 10250, 11211, 18245, 20000, 20547, 25565, 27017,
];

/// Places of the memory of endpoints; each later one takes the place of an earlier.
const ENDPOINTS: usize = 4096;

/// How often an address and port took part in conversations, and more often where it answered. Who
/// talks with many from one and the same port is a server: a client takes a new port each time.
pub(crate) struct Endpoints {
    places: Box<[(u32, u16)]>,
}

impl Default for Endpoints {
    fn default() -> Self {
        Self {
            places: vec![(0, 0); ENDPOINTS].into_boxed_slice(),
        }
    }
}

impl Endpoints {
    /// Notes that an endpoint took part in one more conversation.
    fn note(&mut self, address: u64, port: u16, weight: u16) {
        let digest = mix(address ^ u64::from(port));
        let (place, tag) = ((digest as usize) % ENDPOINTS, (digest >> 32) as u32);
        if let Some(seen) = self.places.get_mut(place) {
            if seen.0 != tag {
                *seen = (tag, 0);
            }
            seen.1 = seen.1.saturating_add(weight);
        }
    }

    fn times(&self, address: u64, port: u16) -> u16 {
        let digest = mix(address ^ u64::from(port));
        let (place, tag) = ((digest as usize) % ENDPOINTS, (digest >> 32) as u32);
        let seen = self.places.get(place).copied().unwrap_or_default();
        if seen.0 == tag { seen.1 } else { 0 }
    }
}

/// Ports that services usually have.
pub(crate) struct ServicePorts {
    usual: FxHashSet<(Transport, u16)>,
    seen: Endpoints,
}

impl ServicePorts {
    pub(crate) fn new(specs: &[AnalyzerSpec]) -> Self {
        let usual = specs.iter().flat_map(|spec| {
            let ports = move |transport: &Transport| {
                let transport = *transport;
                spec.usual_ports.iter().map(move |port| (transport, *port))
            };
            spec.transports.iter().flat_map(ports)
        });
        let registered = REGISTERED.iter().map(|port| (Transport::Tcp, *port));
        Self {
            usual: usual.chain(registered).collect(),
            seen: Endpoints::default(),
        }
    }

    /// Notes the ends of a conversation that begins; what the ends of TCP ones did before tells them
    /// apart when a later one is joined in the middle.
    pub(crate) fn note(&mut self, header: &Header<'_>, from: u64, to: u64) {
        if let Segment::Tcp(tcp) = header.segment {
            let (source, destination) = match (tcp.flags.syn(), tcp.flags.ack()) {
                (true, false) => (0, 3),
                (true, true) => (3, 0),
                // A scanner's bare segments leave from one port too.
                _ if header.payload_len > 0 => (1, 1),
                _ => return,
            };
            self.seen.note(from, header.source_port, source);
            self.seen.note(to, header.destination_port, destination);
        }
    }

    /// How much a port looks like a service's: 3 a known or registered one (4 when it is also privileged), 2 a privileged one, 1 one outside the
    /// ephemeral ranges, 0 any other.
    pub(crate) fn rank(&self, transport: Transport, port: u16) -> u8 {
        match port {
            _ if self.usual.contains(&(transport, port)) => 3 + u8::from(port < 1024),
            1..1024 => 2,
            1024..32_768 => 1,
            0 | 32_768.. => 0,
        }
    }

    /// Whether the first packet seen of a flow came from its server.
    pub(crate) fn first_is_from_server(
        &self,
        header: &Header<'_>,
        destination: IpAddr,
        (from, to): (u64, u64),
    ) -> bool {
        let (source_port, destination_port) = (header.source_port, header.destination_port);
        match header.segment {
            Segment::Tcp(tcp) if tcp.flags.syn() => tcp.flags.ack(),
            Segment::Tcp(_) => {
                let source = self.rank(Transport::Tcp, source_port);
                let target = self.rank(Transport::Tcp, destination_port);
                // A registered port tells more than numbers of conversations; those tell more than
                // where in the range of ports one is.
                if (source >= 3) != (target >= 3) {
                    return source >= 3;
                }
                let source_times = self.seen.times(from, source_port);
                let target_times = self.seen.times(to, destination_port);
                if header.payload_len > 0 && source_times.abs_diff(target_times) >= 2 {
                    return source_times > target_times;
                }
                source > target
            }
            Segment::Udp(_) => {
                // A lone datagram says little: only one from a known service to an ephemeral port
                // is taken for an answer, and never one to a group.
                let answer = self.rank(Transport::Udp, source_port) >= 3
                    && destination_port >= 1024
                    && self.rank(Transport::Udp, destination_port) < 3;
                // DHCP has a port for the client too.
                let dhcp = matches!((source_port, destination_port), (67, 68) | (547, 546));
                (answer || dhcp) && !is_group(destination)
            }
            Segment::Icmp { kind, .. } => {
                let answer = icmp_request(destination, kind).is_some_and(|request| request != kind);
                answer && !is_group(destination)
            }
            _ => false,
        }
    }
}

/// Whether an address is a group's: multicast or broadcast.
pub(crate) fn is_group(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_multicast(),
    }
}

/// The request type that an ICMP message of a pair belongs to; `None` for messages that stand alone.
pub(crate) fn icmp_request(address: IpAddr, kind: u8) -> Option<u8> {
    match (address, kind) {
        (IpAddr::V4(_), 0 | 8) => Some(8),
        (IpAddr::V4(_), 9 | 10) => Some(10),
        (IpAddr::V4(_), 13 | 14) => Some(13),
        (IpAddr::V4(_), 15 | 16) => Some(15),
        (IpAddr::V4(_), 17 | 18) => Some(17),
        (IpAddr::V6(_), 128 | 129) => Some(128),
        (IpAddr::V6(_), 133 | 134) => Some(133),
        (IpAddr::V6(_), 135 | 136) => Some(135),
        (IpAddr::V6(_), 139 | 140) => Some(139),
        (IpAddr::V6(_), 144 | 145) => Some(144),
        _ => None,
    }
}
