//! Packets inside packets. A tunnel is taken for one only when its own header is consistent; what is
//! not stays an ordinary flow.

use super::{TAG_GRE, TAG_VXLAN, Tags, Udp};

/// What a tunnel carries.
#[derive(Clone, Copy, Debug)]
pub enum Inner<'a> {
    /// An Ethernet frame.
    Ethernet(&'a [u8]),
    /// A packet of an Ethernet type.
    EtherType(u16, &'a [u8]),
    /// A PPP frame.
    Ppp(&'a [u8]),
}

const VXLAN_PORTS: [u16; 2] = [4789, 8472];
const GENEVE_PORT: u16 = 6081;
const GTP_PORT: u16 = 2152;
const TEREDO_PORT: u16 = 3544;

/// What is inside the payload of IP protocol `protocol`, when that is a tunnel. Identifiers go to
/// `tags`.
pub fn decode_tunnel<'a>(protocol: u8, bytes: &'a [u8], tags: &mut Tags) -> Option<Inner<'a>> {
    let version = bytes.first()? >> 4;
    match protocol {
        4 if version == 4 => Some(Inner::EtherType(0x0800, bytes)),
        41 if version == 6 => Some(Inner::EtherType(0x86dd, bytes)),
        47 => decode_gre(bytes, tags),
        137 => Some(Inner::EtherType(0x8847, bytes)),
        _ => None,
    }
}

fn decode_gre<'a>(bytes: &'a [u8], tags: &mut Tags) -> Option<Inner<'a>> {
    let ([flags, version, t0, t1], mut rest) = bytes.split_first_chunk::<4>()?;
    let version = version & 7;
    let mut take4 = |wanted: bool| -> Option<u32> {
        if !wanted {
            return Some(0);
        }
        let (word, tail) = rest.split_first_chunk::<4>()?;
        rest = tail;
        Some(u32::from_be_bytes(*word))
    };
    let (has_checksum, has_key, has_sequence) =
        (flags & 0xc0 != 0, flags & 0x20 != 0, flags & 0x10 != 0);
    let ethertype = u16::from_be_bytes([*t0, *t1]);
    if version == 1 && ethertype == 0x880b {
        // PPTP (RFC 2637): the key is length and call, the second byte's top bit announces an ack.
        take4(has_key)?;
        take4(has_sequence)?;
        take4(bytes.get(1)? & 0x80 != 0)?;
        return has_sequence.then_some(Inner::Ppp(rest));
    }
    if version != 0 || flags & 0x40 != 0 {
        return None;
    }
    take4(has_checksum)?;
    let key = take4(has_key)?;
    take4(has_sequence)?;
    let inner = match ethertype {
        0x0800 | 0x86dd | 0x8847 | 0x8848 => Inner::EtherType(ethertype, rest),
        0x6558 => Inner::Ethernet(rest),
        // ERSPAN type I has no header, type II eight bytes (told apart by the sequence number).
        0x88be => Inner::Ethernet(if has_sequence { rest.get(8..)? } else { rest }),
        0x22eb => {
            let optional = rest.get(11)? & 1 != 0;
            return rest
                .get(if optional { 20 } else { 12 }..)
                .map(Inner::Ethernet);
        }
        0x880b => Inner::Ppp(rest),
        _ => return None,
    };
    if has_key {
        // NVGRE (RFC 7637) keeps a flow hash in the low byte, which differs by flow.
        tags.push(TAG_GRE, if ethertype == 0x6558 { key >> 8 } else { key });
    }
    Some(inner)
}

/// What is inside a UDP datagram, when it is VXLAN, Geneve, GTP-U or Teredo on a usual port and
/// consistent. Tunnel endpoint numbers of GTP differ by direction and so are no tags.
pub fn decode_udp_tunnel<'a>(udp: &Udp<'a>, tags: &mut Tags) -> Option<Inner<'a>> {
    match udp.destination_port {
        GTP_PORT => return decode_gtp(udp.payload),
        TEREDO_PORT => return decode_teredo(udp.payload),
        _ if udp.source_port == TEREDO_PORT => return decode_teredo(udp.payload),
        4789 | 8472 | GENEVE_PORT => {}
        _ => return None,
    }
    let (head, rest) = udp.payload.split_first_chunk::<8>()?;
    let [flags, _, p0, p1, v0, v1, v2, reserved] = *head;
    if reserved != 0 {
        return None;
    }
    let network = u32::from_be_bytes([0, v0, v1, v2]);
    if VXLAN_PORTS.contains(&udp.destination_port) {
        if flags != 0x08 || rest.len() < 14 {
            return None;
        }
        tags.push(TAG_VXLAN, network);
        return Some(Inner::Ethernet(rest));
    }
    if udp.destination_port != GENEVE_PORT || flags >> 6 != 0 {
        return None;
    }
    let rest = rest.get(usize::from(flags & 0x3f).saturating_mul(4)..)?;
    let inner = match u16::from_be_bytes([p0, p1]) {
        0x6558 => Inner::Ethernet(rest),
        ethertype @ (0x0800 | 0x86dd) => Inner::EtherType(ethertype, rest),
        _ => return None,
    };
    tags.push(TAG_VXLAN, network);
    Some(inner)
}

/// User data of GTP version 1 (3GPP TS 29.281).
fn decode_gtp(payload: &[u8]) -> Option<Inner<'_>> {
    let ([flags, kind, l0, l1, ..], mut rest) = payload.split_first_chunk::<8>()?;
    if flags >> 4 != 3 || *kind != 0xff || usize::from(u16::from_be_bytes([*l0, *l1])) != rest.len()
    {
        return None;
    }
    if flags & 7 != 0 {
        let (optional, mut after) = rest.split_first_chunk::<4>()?;
        let mut next = optional[3];
        for _ in 0..8 {
            if next == 0 {
                break;
            }
            let len = usize::from(*after.first()?).saturating_mul(4);
            next = *after.get(len.checked_sub(1)?)?;
            after = after.get(len..)?;
        }
        rest = after;
    }
    inner_ip(rest)
}

/// IPv6 behind a NAT (RFC 4380), with its optional authentication and origin headers.
fn decode_teredo(payload: &[u8]) -> Option<Inner<'_>> {
    let mut rest = payload;
    if let [0, 1, id_len, auth_len, ..] = rest {
        let len = usize::from(*id_len)
            .saturating_add(usize::from(*auth_len))
            .saturating_add(13);
        rest = rest.get(len..)?;
    }
    if let [0, 0, ..] = rest {
        rest = rest.get(8..)?;
    }
    let announced = usize::from(u16::from_be_bytes([*rest.get(4)?, *rest.get(5)?]));
    let is_v6 = rest.first()? >> 4 == 6 && announced.saturating_add(40) == rest.len();
    is_v6.then_some(Inner::EtherType(0x86dd, rest))
}

fn inner_ip(bytes: &[u8]) -> Option<Inner<'_>> {
    match bytes.first()? >> 4 {
        4 => Some(Inner::EtherType(0x0800, bytes)),
        6 => Some(Inner::EtherType(0x86dd, bytes)),
        _ => None,
    }
}
