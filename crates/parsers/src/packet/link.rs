//! Link layers: from a captured frame to the network packet in it.

use super::{Inner, TAG_VLAN, Tags, Unread};

/// A frame with its link layers taken off.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Source hardware address, where the link has one.
    pub source_mac: Option<[u8; 6]>,
    /// Destination hardware address, where the link has one.
    pub destination_mac: Option<[u8; 6]>,
    /// VLANs and tunnels entered.
    pub tags: Tags,
    /// What the frame carries.
    pub next: Next<'a>,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug)]
pub enum Next<'a> {
    /// An IP packet, version by its first nibble.
    Ip(&'a [u8]),
    /// An ARP message.
    Arp(&'a [u8]),
    /// Nothing that is read.
    Unread(Unread),
}

const VLAN_DEPTH_MAX: usize = 16;
const MPLS_DEPTH_MAX: usize = 16;

/// Takes the link layers off a frame of a link type (number of the LINKTYPE registry of tcpdump);
/// `None` when the link type is not known.
pub fn decode_frame(link_type: u32, bytes: &[u8]) -> Option<Frame<'_>> {
    let mut frame = Frame::bare(Tags::default());
    match link_type {
        1 => return Some(decode_ethernet(bytes, Tags::default())),
        0 | 108 => frame.next = bytes.get(4..).map_or(TRUNCATED, ip),
        12 | 14 | 101 | 228 | 229 => frame.next = ip(bytes),
        9 | 50 => frame.ppp(bytes),
        51 => frame.pppoe(bytes),
        113 => frame.cooked_v1(bytes),
        276 => frame.cooked_v2(bytes),
        _ => return None,
    }
    Some(frame)
}

/// Takes the link layers off an Ethernet frame met inside `tags`.
pub fn decode_ethernet(bytes: &[u8], tags: Tags) -> Frame<'_> {
    let mut frame = Frame::bare(tags);
    let Some((head, rest)) = bytes.split_first_chunk::<14>() else {
        return frame;
    };
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *head;
    frame.destination_mac = Some([d0, d1, d2, d3, d4, d5]);
    frame.source_mac = Some([s0, s1, s2, s3, s4, s5]);
    frame.ethertype(u16::from_be_bytes([t0, t1]), rest);
    frame
}

const TRUNCATED: Next<'static> = Next::Unread(Unread::LinkTruncated);

fn ip(bytes: &[u8]) -> Next<'_> {
    match bytes.first() {
        Some(first) if matches!(first >> 4, 4 | 6) => Next::Ip(bytes),
        Some(_) => Next::Unread(Unread::IpMalformed),
        None => TRUNCATED,
    }
}

impl<'a> Frame<'a> {
    const fn bare(tags: Tags) -> Self {
        Self {
            source_mac: None,
            destination_mac: None,
            tags,
            next: TRUNCATED,
        }
    }

    /// Goes on inside a tunnel. Hardware addresses become those of the inner frame, if it has any;
    /// the outer ones belong to the tunnel's ends and are forgotten.
    pub fn enter(&mut self, inner: Inner<'a>) {
        match inner {
            Inner::Ethernet(bytes) => *self = decode_ethernet(bytes, self.tags),
            Inner::EtherType(ethertype, bytes) => {
                *self = Self::bare(self.tags);
                self.ethertype(ethertype, bytes);
            }
            Inner::Ppp(bytes) => {
                *self = Self::bare(self.tags);
                self.ppp(bytes);
            }
        }
    }

    fn ethertype(&mut self, mut ethertype: u16, mut bytes: &'a [u8]) {
        for _ in 0..VLAN_DEPTH_MAX {
            if !matches!(ethertype, 0x8100 | 0x88a8 | 0x9100 | 0x9200 | 0x9300) {
                break;
            }
            let Some(([c0, c1, t0, t1], rest)) = bytes.split_first_chunk::<4>() else {
                self.next = TRUNCATED;
                return;
            };
            let id = u16::from_be_bytes([*c0, *c1]) & 0x0fff;
            if id != 0 {
                self.tags.push(TAG_VLAN, u32::from(id));
            }
            ethertype = u16::from_be_bytes([*t0, *t1]);
            bytes = rest;
        }
        self.next = match ethertype {
            0x0800 | 0x86dd => ip(bytes),
            0x0806 => Next::Arp(bytes),
            0x8847 | 0x8848 => return self.mpls(bytes),
            0x8864 => return self.pppoe(bytes),
            // Provider backbone bridging (802.1ah): a service tag, then a whole frame.
            0x88e7 => {
                *self = decode_ethernet(bytes.get(4..).unwrap_or_default(), self.tags);
                return;
            }
            0x8863 => Next::Unread(Unread::PppControl),
            0..=0x05dc => return self.llc(bytes),
            // Spanning tree and flow control, discovery, port authentication, loop tests, MACsec.
            0x8808 | 0x8809 | 0x88cc | 0x888e | 0x9000 | 0x88e5 | 0x88e1 | 0x893a | 0x2000 => {
                Next::Unread(Unread::LinkControl)
            }
            _ => Next::Unread(Unread::EtherType),
        };
    }

    fn llc(&mut self, bytes: &'a [u8]) {
        match bytes.split_first_chunk::<8>() {
            Some(([0xaa, 0xaa, 3, 0, 0, 0, t0, t1], rest)) => {
                let ethertype = u16::from_be_bytes([*t0, *t1]);
                if ethertype > 0x05dc {
                    return self.ethertype(ethertype, rest);
                }
                self.next = Next::Unread(Unread::Llc);
            }
            _ => self.next = Next::Unread(Unread::Llc),
        }
    }

    fn mpls(&mut self, mut bytes: &'a [u8]) {
        for _ in 0..MPLS_DEPTH_MAX {
            let Some(([_, _, bottom, _], rest)) = bytes.split_first_chunk::<4>() else {
                break;
            };
            bytes = rest;
            if bottom & 1 == 0 {
                continue;
            }
            match bytes.first().map(|first| first >> 4) {
                Some(4 | 6) => self.next = Next::Ip(bytes),
                // A pseudo-wire with its control word (RFC 4385), else an Ethernet frame as it is.
                Some(0) => *self = decode_ethernet(bytes.get(4..).unwrap_or_default(), self.tags),
                Some(_) => *self = decode_ethernet(bytes, self.tags),
                None => self.next = TRUNCATED,
            }
            return;
        }
        self.next = TRUNCATED;
    }

    fn pppoe(&mut self, bytes: &'a [u8]) {
        self.next = match bytes.split_first_chunk::<6>() {
            Some(([0x11, 0, ..], rest)) => return self.ppp(rest),
            Some(_) => Next::Unread(Unread::PppControl),
            None => TRUNCATED,
        };
    }

    fn ppp(&mut self, bytes: &'a [u8]) {
        let bytes = bytes.strip_prefix(&[0xff, 3]).unwrap_or(bytes);
        // The protocol field may be compressed to one byte, which is then odd (RFC 1661).
        let (protocol, rest) = match bytes {
            [low, rest @ ..] if low & 1 == 1 => (u16::from(*low), rest),
            [high, low, rest @ ..] => (u16::from_be_bytes([*high, *low]), rest),
            _ => {
                self.next = TRUNCATED;
                return;
            }
        };
        self.next = match protocol {
            0x0021 | 0x0057 => ip(rest),
            0x0281 | 0x0283 => return self.mpls(rest),
            _ => Next::Unread(Unread::PppControl),
        };
    }

    fn cooked_v1(&mut self, bytes: &'a [u8]) {
        let Some((head, rest)) = bytes.split_first_chunk::<16>() else {
            return;
        };
        let [
            _,
            _,
            _,
            _,
            _,
            address_len,
            m0,
            m1,
            m2,
            m3,
            m4,
            m5,
            _,
            _,
            t0,
            t1,
        ] = *head;
        self.cooked_address(address_len, [m0, m1, m2, m3, m4, m5]);
        self.ethertype(u16::from_be_bytes([t0, t1]), rest);
    }

    fn cooked_v2(&mut self, bytes: &'a [u8]) {
        let Some((head, rest)) = bytes.split_first_chunk::<20>() else {
            return;
        };
        let [
            t0,
            t1,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            address_len,
            m0,
            m1,
            m2,
            m3,
            m4,
            m5,
            _,
            _,
        ] = *head;
        self.cooked_address(address_len, [m0, m1, m2, m3, m4, m5]);
        self.ethertype(u16::from_be_bytes([t0, t1]), rest);
    }

    fn cooked_address(&mut self, address_len: u8, address: [u8; 6]) {
        if address_len == 6 && address != [0; 6] {
            self.source_mac = Some(address);
        }
    }
}
