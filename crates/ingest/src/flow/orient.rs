//! Who is the client when the first packet does not say so.

use std::net::IpAddr;

use rustc_hash::FxHashSet;
use thymus_parsers::packet::{Segment, Transport as Header};
use thymus_schema::Transport;

use crate::analyzer::AnalyzerSpec;

/// Ports that services usually have.
pub(crate) struct ServicePorts {
    usual: FxHashSet<(Transport, u16)>,
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
        Self {
            usual: usual.collect(),
        }
    }

    /// How much a port looks like a service's: 3 a known one, 2 a privileged one, 1 one outside the
    /// ephemeral ranges, 0 any other.
    fn rank(&self, transport: Transport, port: u16) -> u8 {
        match port {
            _ if self.usual.contains(&(transport, port)) => 3,
            1..1024 => 2,
            1024..32_768 => 1,
            0 | 32_768.. => 0,
        }
    }

    /// Whether the first packet seen of a flow came from its server.
    pub(crate) fn first_is_from_server(&self, header: &Header<'_>, destination: IpAddr) -> bool {
        let (source_port, destination_port) = (header.source_port, header.destination_port);
        match header.segment {
            Segment::Tcp(tcp) if tcp.flags.syn() => tcp.flags.ack(),
            Segment::Tcp(_) => {
                let source = self.rank(Transport::Tcp, source_port);
                source > self.rank(Transport::Tcp, destination_port)
            }
            Segment::Udp(_) => {
                // A lone datagram says little: only one from a known service to an ephemeral port
                // is taken for an answer, and never one to a group.
                let answer = self.rank(Transport::Udp, source_port) == 3
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
