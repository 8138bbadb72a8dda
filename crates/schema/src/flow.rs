//! Conversations between two endpoints and what they amounted to.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::{FlowId, Mac, Scope, Service, Timestamp};

/// An address and a port (0 where the transport has none; the type for ICMP).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// The address; IPv4-mapped IPv6 is stored as IPv4.
    pub addr: IpAddr,
    /// The port.
    pub port: u16,
}

impl Endpoint {
    /// An endpoint in canonical form.
    pub fn new(addr: IpAddr, port: u16) -> Self {
        Self {
            addr: addr.to_canonical(),
            port,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.addr {
            IpAddr::V4(v4) => write!(f, "{v4}:{}", self.port),
            IpAddr::V6(v6) => write!(f, "[{v6}]:{}", self.port),
        }
    }
}

/// The transport protocol.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// ICMP or ICMPv6; the client port is the type, the server port the code.
    Icmp,
    /// SCTP.
    Sctp,
    /// Any other IP protocol.
    Other,
}

impl Transport {
    /// Lower-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::Sctp => "sctp",
            Self::Other => "other",
        }
    }
}

/// Who talked to whom. The client is the side that sent the first packet (of a mid-stream TCP flow:
/// the side with the less service-like port).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Conn {
    /// The flow's identity; 0 where a log gave none.
    #[serde(default)]
    pub flow: FlowId,
    /// The side that began.
    pub client: Endpoint,
    /// The side that answered.
    pub server: Endpoint,
    /// The transport.
    #[serde(default)]
    pub transport: Transport,
    /// VLANs and tunnels.
    #[serde(default, skip_serializing_if = "Scope::is_none")]
    pub scope: Scope,
}

/// How a connection went, in Zeek's terms (documentation of `conn.log`, field `conn_state`).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum ConnState {
    /// Attempt seen, no reply.
    S0,
    /// Established, not ended.
    S1,
    /// Established, close attempted by the client only.
    S2,
    /// Established, close attempted by the server only.
    S3,
    /// Normal establishment and end.
    Sf,
    /// Attempt rejected.
    Rej,
    /// Established, client aborted.
    Rsto,
    /// Established, server aborted.
    Rstr,
    /// Client sent SYN then RST, no reply seen.
    Rstos0,
    /// Server sent RST though no SYN was seen.
    Rstrh,
    /// Client sent SYN then FIN, no reply seen (half-open).
    Sh,
    /// Server sent SYN-ACK then FIN, no SYN seen.
    Shr,
    /// No SYN seen, mid-stream traffic.
    #[default]
    Oth,
}

impl ConnState {
    /// Whether an attempt came to nothing: no answer, or refused.
    pub const fn is_failed(self) -> bool {
        matches!(
            self,
            Self::S0 | Self::Rej | Self::Rstos0 | Self::Sh | Self::Rstrh
        )
    }

    /// Zeek's name for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::S0 => "S0",
            Self::S1 => "S1",
            Self::S2 => "S2",
            Self::S3 => "S3",
            Self::Sf => "SF",
            Self::Rej => "REJ",
            Self::Rsto => "RSTO",
            Self::Rstr => "RSTR",
            Self::Rstos0 => "RSTOS0",
            Self::Rstrh => "RSTRH",
            Self::Sh => "SH",
            Self::Shr => "SHR",
            Self::Oth => "OTH",
        }
    }
}

/// What a flow amounted to. A flow that lasts is reported in parts: every count is *since the part
/// before*, so volumes add up over parts, and `part == 0` marks the one record that counts as the
/// connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FlowRecord {
    /// The first packet's time (of the whole flow).
    #[serde(default)]
    pub start: Timestamp,
    /// From the first packet of the flow to the last one seen so far.
    #[serde(default)]
    pub duration: Duration,
    /// Payload bytes from the client, since the part before.
    #[serde(default)]
    pub client_bytes: u64,
    /// Payload bytes from the server, since the part before.
    #[serde(default)]
    pub server_bytes: u64,
    /// Packets from the client, since the part before.
    #[serde(default)]
    pub client_packets: u64,
    /// Packets from the server, since the part before.
    #[serde(default)]
    pub server_packets: u64,
    /// How it went.
    #[serde(default)]
    pub state: ConnState,
    /// Zeek-like history letters (`ShADadFf`); empty when the source has none.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub history: CompactString,
    /// The application protocol by content, never by port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// Payload bytes that were lost or not captured.
    #[serde(default)]
    pub missed_bytes: u64,
    /// The client's hardware address on this segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_mac: Option<Mac>,
    /// The server's hardware address on this segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_mac: Option<Mac>,
    /// 0 for the first record of the flow, then 1, 2, …
    #[serde(default)]
    pub part: u32,
    /// Whether the flow is over (false for an interim record).
    #[serde(default = "yes")]
    pub last: bool,
}

fn yes() -> bool {
    true
}

/// Packet statistics of one local address over a fixed window; only packet sources make them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrafficWindow {
    /// The address, absent only in hand-written cases.
    pub addr: Option<IpAddr>,
    /// Its network.
    #[serde(default, skip_serializing_if = "Scope::is_none")]
    pub scope: Scope,
    /// Length of the window in seconds.
    pub secs: f64,
    /// Packets sent.
    pub packets_out: u64,
    /// Packets received.
    pub packets_in: u64,
    /// IP bytes sent.
    pub bytes_out: u64,
    /// IP bytes received.
    pub bytes_in: u64,
    /// Mean packet size in bytes, both ways.
    pub size_mean: f64,
    /// Standard deviation of the packet size in bytes.
    pub size_std: f64,
    /// Mean gap between packets in seconds.
    pub gap_mean: f64,
    /// Standard deviation of the gap in seconds.
    pub gap_std: f64,
    /// Distinct peers, by a bounded estimate.
    pub peers: u64,
    /// Distinct destination ports of packets sent, by a bounded estimate.
    pub ports_out: u64,
    /// TCP SYN without ACK sent.
    pub syn_out: u64,
    /// TCP SYN without ACK received.
    pub syn_in: u64,
    /// TCP RST, both ways.
    pub rst: u64,
    /// UDP packets, both ways.
    pub udp: u64,
    /// ICMP packets, both ways.
    pub icmp: u64,
    /// Broadcast and multicast packets sent.
    pub group_out: u64,
}
