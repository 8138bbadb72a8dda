//! What was received, with a header in front as on the wire (RFC 791, RFC 8200, RFC 768, RFC 9293), so that
//! all behind the socket, recording among it, deals with packets only. Checksums are left empty, as they are
//! where a card fills them in.

use std::net::{IpAddr, SocketAddr};

const UDP: u8 = 17;
const TCP: u8 = 6;
const FIN_ACK: u8 = 0x11;
const PSH_ACK: u8 = 0x18;
/// Longest payload that the headers can announce.
pub(crate) const PAYLOAD_MAX: usize = 65_535 - 40;

/// A datagram.
pub(crate) fn datagram(from: SocketAddr, to: SocketAddr, payload: &[u8], out: &mut Vec<u8>) {
    let payload = payload.get(..PAYLOAD_MAX).unwrap_or(payload);
    let length = 8 + payload.len();
    ip(from, to, UDP, length, out);
    ports(from, to, out);
    out.extend((length as u16).to_be_bytes());
    out.extend([0, 0]);
    out.extend(payload);
}

/// A piece of a stream, at this place in it; the last when there is nothing in it.
pub(crate) fn segment(
    from: SocketAddr,
    to: SocketAddr,
    at: u32,
    payload: &[u8],
    out: &mut Vec<u8>,
) {
    let payload = payload.get(..PAYLOAD_MAX).unwrap_or(payload);
    ip(from, to, TCP, 20 + payload.len(), out);
    ports(from, to, out);
    out.extend(at.to_be_bytes());
    out.extend([0; 4]);
    let flags = if payload.is_empty() { FIN_ACK } else { PSH_ACK };
    out.extend([5 << 4, flags]);
    // Window, checksum and urgent pointer.
    out.extend([0xff, 0xff, 0, 0, 0, 0]);
    out.extend(payload);
}

fn ports(from: SocketAddr, to: SocketAddr, out: &mut Vec<u8>) {
    out.extend(from.port().to_be_bytes());
    out.extend(to.port().to_be_bytes());
}

fn ip(from: SocketAddr, to: SocketAddr, protocol: u8, length: usize, out: &mut Vec<u8>) {
    out.clear();
    if let (IpAddr::V4(from), IpAddr::V4(to)) = (from.ip(), to.ip()) {
        let total = (20 + length) as u16;
        out.extend([0x45, 0]);
        out.extend(total.to_be_bytes());
        out.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
        out.extend(from.octets());
        out.extend(to.octets());
        return;
    }
    let wide = |addr: IpAddr| match addr {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    out.extend([0x60, 0, 0, 0]);
    out.extend((length as u16).to_be_bytes());
    out.extend([protocol, 64]);
    out.extend(wide(from.ip()).octets());
    out.extend(wide(to.ip()).octets());
}
