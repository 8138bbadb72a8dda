//! IPv4 and IPv6 headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Quirk;

/// Where a fragment belongs in its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Offset of its payload, in bytes.
    pub offset: u32,
    /// Whether more fragments follow.
    pub more: bool,
    /// Which packet it belongs to, together with addresses and protocol.
    pub ident: u32,
}

/// An IP packet.
#[derive(Clone, Copy, Debug)]
pub struct IpPacket<'a> {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Protocol number of the payload, after extension headers.
    pub protocol: u8,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// The identification field of IPv4; 0 for IPv6.
    pub ident: u16,
    /// Length of the whole packet as its header says, in bytes (as captured where it says 0, as
    /// segmentation offload leaves it).
    pub total_len: u32,
    /// Set on fragments only.
    pub fragment: Option<Fragment>,
    /// The payload, without link padding, as far as it was captured.
    pub payload: &'a [u8],
    /// Payload bytes that the header announces and the capture lacks.
    pub missing: u32,
    /// What was odd about the header.
    pub quirk: Option<Quirk>,
}

/// Most extension headers read of one packet.
const EXTENSIONS_MAX: usize = 8;

/// Reads the IP header in front of `bytes`, by its version nibble; `None` when it is cut or
/// contradicts itself.
pub fn decode_ip(bytes: &[u8]) -> Option<IpPacket<'_>> {
    match bytes.first()? >> 4 {
        4 => decode_v4(bytes),
        6 => decode_v6(bytes),
        _ => None,
    }
}

/// The payload cut to what the header announces, and how much of that is missing.
fn clip(rest: &[u8], announced: usize) -> (&[u8], u32) {
    match rest.get(..announced) {
        Some(payload) => (payload, 0),
        None => (
            rest,
            u32::try_from(announced.saturating_sub(rest.len())).unwrap_or(0),
        ),
    }
}

fn decode_v4(bytes: &[u8]) -> Option<IpPacket<'_>> {
    let h = bytes.first_chunk::<20>()?;
    let header_len = usize::from(h[0] & 0x0f).saturating_mul(4);
    let announced = usize::from(u16::from_be_bytes([h[2], h[3]]));
    let total_len = if announced == 0 {
        bytes.len()
    } else {
        announced
    };
    if header_len < 20 || total_len < header_len {
        return None;
    }
    let rest = bytes.get(header_len..)?;
    let (payload, missing) = clip(rest, total_len.saturating_sub(header_len));
    let ident = u16::from_be_bytes([h[4], h[5]]);
    let flags = u16::from_be_bytes([h[6], h[7]]);
    let fragment = (flags & 0x3fff != 0).then(|| Fragment {
        offset: u32::from(flags & 0x1fff).saturating_mul(8),
        more: flags & 0x2000 != 0,
        ident: u32::from(ident),
    });
    let mut packet = IpPacket {
        source: IpAddr::V4(Ipv4Addr::new(h[12], h[13], h[14], h[15])),
        destination: IpAddr::V4(Ipv4Addr::new(h[16], h[17], h[18], h[19])),
        protocol: h[9],
        ttl: h[8],
        ident,
        total_len: u32::try_from(total_len).unwrap_or(u32::MAX),
        fragment,
        payload,
        missing,
        quirk: None,
    };
    if fragment.is_none() && packet.protocol == 51 {
        (packet.protocol, packet.payload) = skip_extensions(51, payload);
    }
    Some(packet)
}

fn decode_v6(bytes: &[u8]) -> Option<IpPacket<'_>> {
    let (h, rest) = bytes.split_first_chunk::<40>()?;
    let address = |from: usize| -> Option<IpAddr> {
        let octets = h.get(from..)?.first_chunk::<16>()?;
        Some(IpAddr::V6(Ipv6Addr::from(*octets)))
    };
    let announced = usize::from(u16::from_be_bytes([h[4], h[5]]));
    let announced = if announced == 0 {
        rest.len()
    } else {
        announced
    };
    let (payload, missing) = clip(rest, announced);
    let mut packet = IpPacket {
        source: address(8)?,
        destination: address(24)?,
        protocol: h[6],
        ttl: h[7],
        ident: 0,
        total_len: u32::try_from(announced.saturating_add(40)).unwrap_or(u32::MAX),
        fragment: None,
        payload,
        missing,
        quirk: None,
    };
    if matches!(packet.protocol, 0 | 43 | 44 | 51 | 60 | 135 | 139 | 140) {
        packet.extensions();
    }
    Some(packet)
}

/// Steps over extension headers in front of `payload`, up to a fragment header; gives the protocol
/// and bytes after them. For the payload of a packet that was joined from fragments.
pub fn skip_extensions(mut protocol: u8, mut payload: &[u8]) -> (u8, &[u8]) {
    for _ in 0..EXTENSIONS_MAX {
        let [next, units, ..] = payload else { break };
        let len = match protocol {
            0 | 43 | 60 | 135 | 139 | 140 => {
                usize::from(*units).saturating_add(1).saturating_mul(8)
            }
            51 => usize::from(*units).saturating_add(2).saturating_mul(4),
            _ => break,
        };
        let Some(rest) = payload.get(len..) else {
            break;
        };
        (protocol, payload) = (*next, rest);
    }
    (protocol, payload)
}

impl IpPacket<'_> {
    fn extensions(&mut self) {
        (self.protocol, self.payload) = skip_extensions(self.protocol, self.payload);
        if self.protocol != 44 {
            if matches!(self.protocol, 0 | 43 | 51 | 60 | 135 | 139 | 140) {
                self.quirk = Some("ipv6_extension_chain");
            }
            return;
        }
        let Some(([next, _, o0, o1, i0, i1, i2, i3], rest)) = self.payload.split_first_chunk::<8>()
        else {
            self.quirk = Some("ipv6_fragment_header_truncated");
            return;
        };
        let offset = u16::from_be_bytes([*o0, *o1]);
        self.protocol = *next;
        self.payload = rest;
        let fragment = Fragment {
            offset: u32::from(offset & 0xfff8),
            more: offset & 1 != 0,
            ident: u32::from_be_bytes([*i0, *i1, *i2, *i3]),
        };
        // An atomic fragment (RFC 6946) is a whole packet.
        if fragment.offset == 0 && !fragment.more {
            (self.protocol, self.payload) = skip_extensions(self.protocol, self.payload);
            self.quirk = Some("ipv6_atomic_fragment");
        } else {
            self.fragment = Some(fragment);
        }
    }
}
