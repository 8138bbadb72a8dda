//! Frames to transport headers, without allocation or copying: link layers (Ethernet II, 802.3 with
//! SNAP, 802.1Q/802.1ad, MPLS, `PPPoE`, PPP, Linux cooked v1 and v2, BSD loopback, raw IP), IPv4 (RFC
//! 791), IPv6 with extension headers (RFC 8200), TCP, UDP, ICMP, SCTP ports, and tunnels (GRE RFC
//! 2784/2890, ERSPAN, NVGRE, VXLAN RFC 7348, Geneve RFC 8926, IP in IP, MPLS in IP).
//!
//! Each layer is one pure function; who follows the layers (and bounds the depth) is the caller,
//! because fragments must be joined in between. Checksums are not verified: offloading leaves them
//! empty in most captures.

mod link;
mod network;
mod transport;
mod tunnel;

pub use link::{Frame, Next, decode_ethernet, decode_frame};
pub use network::{Fragment, IpPacket, decode_ip, skip_extensions};
pub use transport::{Segment, Tcp, TcpFlags, Transport, Udp, decode_transport};
pub use tunnel::{Inner, decode_tunnel, decode_udp_tunnel};

use crate::Quirk;

/// Kind of an 802.1Q or 802.1ad tag in [`Tags`].
pub const TAG_VLAN: u8 = 0;
/// Kind of a VXLAN or Geneve network identifier in [`Tags`].
pub const TAG_VXLAN: u8 = 1;
/// Kind of a GRE key in [`Tags`].
pub const TAG_GRE: u8 = 2;

/// Most tags and tunnel identifiers kept; deeper ones are read over.
pub const TAGS_MAX: usize = 8;

/// VLAN tags and tunnel identifiers, outermost first. MPLS labels are not among them: they differ by
/// direction and by hop, so they name no network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    kinds: [u8; TAGS_MAX],
    ids: [u32; TAGS_MAX],
    count: u8,
}

impl Tags {
    /// Enters a tag; beyond [`TAGS_MAX`] nothing happens.
    pub fn push(&mut self, kind: u8, id: u32) {
        let at = usize::from(self.count);
        if let (Some(kind_slot), Some(id_slot)) = (self.kinds.get_mut(at), self.ids.get_mut(at)) {
            *kind_slot = kind;
            *id_slot = id;
            self.count = self.count.saturating_add(1);
        }
    }

    /// Whether nothing was tagged.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Kinds and identifiers, outermost first.
    pub fn iter(&self) -> impl Iterator<Item = (u8, u32)> {
        let pairs = self.kinds.iter().copied().zip(self.ids.iter().copied());
        pairs.take(usize::from(self.count))
    }
}

/// Why a packet (or the rest of it) was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unread {
    /// A link type that is not known.
    LinkType,
    /// The frame ends inside its link-layer header.
    LinkTruncated,
    /// An 802.2 frame that carries no IP (spanning tree, IS-IS, …).
    Llc,
    /// Link-layer discovery, port authentication, flow control and the like.
    LinkControl,
    /// An Ethernet type that is not known.
    EtherType,
    /// A PPP or `PPPoE` control message.
    PppControl,
    /// The packet ends inside its IP header, or the header contradicts itself.
    IpMalformed,
    /// The packet ends inside its transport header, or the header contradicts itself.
    TransportMalformed,
    /// Tunnels inside tunnels beyond the bound.
    TunnelDepth,
}

impl Unread {
    /// All reasons.
    pub const ALL: [Self; 9] = [
        Self::LinkType,
        Self::LinkTruncated,
        Self::Llc,
        Self::LinkControl,
        Self::EtherType,
        Self::PppControl,
        Self::IpMalformed,
        Self::TransportMalformed,
        Self::TunnelDepth,
    ];

    /// Stable snake-case name.
    pub const fn as_str(self) -> Quirk {
        match self {
            Self::LinkType => "link_type_unknown",
            Self::LinkTruncated => "link_header_truncated",
            Self::Llc => "llc_not_ip",
            Self::LinkControl => "link_control",
            Self::EtherType => "ethertype_unknown",
            Self::PppControl => "ppp_control",
            Self::IpMalformed => "ip_malformed",
            Self::TransportMalformed => "transport_malformed",
            Self::TunnelDepth => "tunnel_too_deep",
        }
    }
}

/// Reads a frame through all layers it has. For the mutation loop and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    let Some((link, bytes)) = bytes.split_first() else {
        return;
    };
    let Some(mut frame) = decode_frame(u32::from(*link), bytes) else {
        return;
    };
    for _ in 0..8 {
        let Next::Ip(packet) = frame.next else { return };
        let Some(ip) = decode_ip(packet) else { return };
        let tunnel = match decode_transport(ip.protocol, ip.payload, ip.missing) {
            Some(Transport {
                segment: Segment::Udp(udp),
                ..
            }) => decode_udp_tunnel(&udp, &mut frame.tags),
            _ => decode_tunnel(ip.protocol, ip.payload, &mut frame.tags),
        };
        let Some(inner) = tunnel else { return };
        frame.enter(inner);
    }
}

#[cfg(test)]
mod tests;
