//! Transport headers.

/// TCP flags, as in the header's 14th byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// FIN.
    pub const FIN: u8 = 1;
    /// SYN.
    pub const SYN: u8 = 2;
    /// RST.
    pub const RST: u8 = 4;
    /// PSH.
    pub const PSH: u8 = 8;
    /// ACK.
    pub const ACK: u8 = 16;

    /// FIN is set.
    pub const fn fin(self) -> bool {
        self.0 & Self::FIN != 0
    }

    /// SYN is set.
    pub const fn syn(self) -> bool {
        self.0 & Self::SYN != 0
    }

    /// RST is set.
    pub const fn rst(self) -> bool {
        self.0 & Self::RST != 0
    }

    /// ACK is set.
    pub const fn ack(self) -> bool {
        self.0 & Self::ACK != 0
    }
}

/// A TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct Tcp<'a> {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number; means something only with the ACK flag.
    pub ack: u32,
    /// Flags.
    pub flags: TcpFlags,
    /// Window as announced, not scaled.
    pub window: u16,
    /// The payload as far as it was captured.
    pub payload: &'a [u8],
}

/// A UDP datagram.
#[derive(Clone, Copy, Debug)]
pub struct Udp<'a> {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Checksum field.
    pub checksum: u16,
    /// The payload as far as it was captured.
    pub payload: &'a [u8],
}

/// What an IP packet carries.
#[derive(Clone, Copy, Debug)]
pub enum Segment<'a> {
    /// TCP.
    Tcp(Tcp<'a>),
    /// UDP.
    Udp(Udp<'a>),
    /// ICMP or ICMPv6; the bytes from the type on.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// The whole message.
        message: &'a [u8],
    },
    /// SCTP.
    Sctp,
    /// Another protocol; its payload is not read.
    Other,
}

/// A transport header with its ports (0 where there are none) and payload length.
#[derive(Clone, Copy, Debug)]
pub struct Transport<'a> {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Payload bytes on the wire (also those that were not captured).
    pub payload_len: u32,
    /// Payload bytes that were not captured.
    pub missing: u32,
    /// The header.
    pub segment: Segment<'a>,
}

/// Reads the transport header of IP protocol `protocol` in front of `bytes`, of which `missing` more
/// were on the wire; `None` when the header is cut or contradicts itself.
pub fn decode_transport(protocol: u8, bytes: &[u8], missing: u32) -> Option<Transport<'_>> {
    match protocol {
        6 => decode_tcp(bytes, missing),
        17 => decode_udp(bytes, missing),
        1 | 58 => decode_icmp(bytes, missing),
        132 => decode_sctp(bytes, missing),
        _ => Some(Transport {
            source_port: 0,
            destination_port: 0,
            payload_len: wire_len(bytes, missing),
            missing,
            segment: Segment::Other,
        }),
    }
}

fn wire_len(payload: &[u8], missing: u32) -> u32 {
    u32::try_from(payload.len())
        .unwrap_or(u32::MAX)
        .saturating_add(missing)
}

fn decode_tcp(bytes: &[u8], missing: u32) -> Option<Transport<'_>> {
    let h = bytes.first_chunk::<20>()?;
    let header_len = usize::from(h[12] >> 4).saturating_mul(4);
    if header_len < 20 {
        return None;
    }
    // Options cut off by a short snap length cost their own bytes, not the segment.
    let cut = u32::try_from(header_len.saturating_sub(bytes.len())).unwrap_or(0);
    if cut > missing {
        return None;
    }
    let missing = missing.saturating_sub(cut);
    let payload = bytes.get(header_len..).unwrap_or_default();
    let tcp = Tcp {
        seq: u32::from_be_bytes([h[4], h[5], h[6], h[7]]),
        ack: u32::from_be_bytes([h[8], h[9], h[10], h[11]]),
        flags: TcpFlags(h[13]),
        window: u16::from_be_bytes([h[14], h[15]]),
        payload,
    };
    Some(Transport {
        source_port: u16::from_be_bytes([h[0], h[1]]),
        destination_port: u16::from_be_bytes([h[2], h[3]]),
        payload_len: wire_len(payload, missing),
        missing,
        segment: Segment::Tcp(tcp),
    })
}

fn decode_udp(bytes: &[u8], missing: u32) -> Option<Transport<'_>> {
    let (h, rest) = bytes.split_first_chunk::<8>()?;
    let source_port = u16::from_be_bytes([h[0], h[1]]);
    let destination_port = u16::from_be_bytes([h[2], h[3]]);
    let announced = usize::from(u16::from_be_bytes([h[4], h[5]]));
    // Shorter than the IP payload: the rest is not ours. Zero or too long: trust the IP header.
    let payload = match announced.checked_sub(8) {
        Some(len) => rest.get(..len).unwrap_or(rest),
        None => rest,
    };
    let missing = if payload.len() < rest.len() {
        0
    } else {
        missing
    };
    let checksum = u16::from_be_bytes([h[6], h[7]]);
    Some(Transport {
        source_port,
        destination_port,
        payload_len: wire_len(payload, missing),
        missing,
        segment: Segment::Udp(Udp {
            source_port,
            destination_port,
            checksum,
            payload,
        }),
    })
}

fn decode_icmp(bytes: &[u8], missing: u32) -> Option<Transport<'_>> {
    let [kind, code, _, _, ..] = bytes else {
        return None;
    };
    // Zeek counts what follows the eight bytes of an echo's header.
    let payload = bytes.get(8..).unwrap_or_default();
    Some(Transport {
        source_port: 0,
        destination_port: 0,
        payload_len: wire_len(payload, missing),
        missing,
        segment: Segment::Icmp {
            kind: *kind,
            code: *code,
            message: bytes,
        },
    })
}

fn decode_sctp(bytes: &[u8], missing: u32) -> Option<Transport<'_>> {
    let (h, rest) = bytes.split_first_chunk::<12>()?;
    Some(Transport {
        source_port: u16::from_be_bytes([h[0], h[1]]),
        destination_port: u16::from_be_bytes([h[2], h[3]]),
        payload_len: wire_len(rest, missing),
        missing,
        segment: Segment::Sctp,
    })
}
