//! Packets read, and the answers to them: TCP resets (RFC 9293, section 3.5.3; what a receiver accepts: RFC 5961,
//! section 3.2) and ICMP errors (RFC 792, RFC 1812 section 5.2.7.1, RFC 4443 section 3.1), towards both ends, each in
//! the other's name.

use std::net::IpAddr;

use etherparse::{
    Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpNumber, Ipv4Header, Ipv6FlowLabel,
    Ipv6Header, LaxNetSlice, LaxSlicedPacket, TcpHeader, TransportSlice, icmpv4, icmpv6,
};
use thymus_schema::Transport;

/// What is cited of a packet in an error about it.
const CITED_V4: usize = 548;
const CITED_V6: usize = 1_232;
const HOPS: u8 = 64;
/// Two addresses of Ethernet.
const ADDRESSES: usize = 12;

/// A packet that was read.
#[derive(Debug)]
pub(super) struct Packet<'a> {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) transport: Transport,
    pub(super) src_port: u16,
    pub(super) dst_port: u16,
    pub(super) tcp: Option<Tcp>,
    /// From the first byte of Ethernet to the last before IP: addresses, tags, type.
    link: &'a [u8],
    /// From the first byte of IP on.
    ip: &'a [u8],
}

/// What matters of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tcp {
    pub(super) syn: bool,
    pub(super) ack: bool,
    pub(super) rst: bool,
    seq: u32,
    acked: u32,
    /// How far the sender's numbers go on with it.
    len: u32,
}

impl<'a> Packet<'a> {
    /// Reads a frame of Ethernet; nothing for what nobody would answer: fragments but the first, errors, broadcasts.
    pub(super) fn read(frame: &'a [u8]) -> Option<Self> {
        let sliced = LaxSlicedPacket::from_ethernet(frame).ok()?;
        let net = sliced.net.as_ref()?;
        let (src, dst, header, payload_len) = match net {
            LaxNetSlice::Ipv4(v4) => {
                let header = v4.header();
                if header.fragments_offset().value() != 0 {
                    return None;
                }
                let payload = usize::from(header.total_len()).checked_sub(header.slice().len())?;
                let (src, dst) = (header.source_addr(), header.destination_addr());
                (src.into(), dst.into(), header.slice(), payload)
            }
            LaxNetSlice::Ipv6(v6) => {
                let header = v6.header();
                // Where headers lie between, the length of a segment is not known from here.
                if header.next_header() != v6.payload().ip_number {
                    return None;
                }
                let (src, dst) = (header.source_addr(), header.destination_addr());
                let payload = usize::from(header.payload_length());
                (src.into(), dst.into(), header.slice(), payload)
            }
            LaxNetSlice::Arp(_) => return None,
        };
        let (src, dst): (IpAddr, IpAddr) = (src, dst);
        let is_to_many = |addr: &IpAddr| match addr {
            IpAddr::V4(v4) => v4.is_broadcast() || v4.is_multicast() || v4.is_unspecified(),
            IpAddr::V6(v6) => v6.is_multicast() || v6.is_unspecified(),
        };
        // Bit 0 of the first byte: a frame to many (IEEE 802).
        if is_to_many(&src) || is_to_many(&dst) || frame.first()? & 1 == 1 {
            return None;
        }
        let at = (header.as_ptr() as usize).checked_sub(frame.as_ptr() as usize)?;
        let (link, ip) = frame.split_at_checked(at)?;
        let mut packet = Self {
            src,
            dst,
            transport: Transport::Other,
            src_port: 0,
            dst_port: 0,
            tcp: None,
            link,
            ip,
        };
        match sliced.transport? {
            TransportSlice::Tcp(tcp) => {
                let data = payload_len.checked_sub(usize::from(tcp.data_offset()) * 4)?;
                let len = u32::try_from(data).ok()? + u32::from(tcp.syn()) + u32::from(tcp.fin());
                packet.transport = Transport::Tcp;
                (packet.src_port, packet.dst_port) = (tcp.source_port(), tcp.destination_port());
                packet.tcp = Some(Tcp {
                    syn: tcp.syn(),
                    ack: tcp.ack(),
                    rst: tcp.rst(),
                    seq: tcp.sequence_number(),
                    acked: tcp.acknowledgment_number(),
                    len,
                });
            }
            TransportSlice::Udp(udp) => {
                packet.transport = Transport::Udp;
                (packet.src_port, packet.dst_port) = (udp.source_port(), udp.destination_port());
            }
            TransportSlice::Igmp(_) => return None,
            // Only questions are answered, so that errors never beget errors.
            TransportSlice::Icmpv4(icmp) => {
                matches!(
                    icmp.icmp_type(),
                    Icmpv4Type::EchoRequest(_) | Icmpv4Type::TimestampRequest(_)
                )
                .then_some(())?;
                packet.transport = Transport::Icmp;
            }
            TransportSlice::Icmpv6(icmp) => {
                matches!(icmp.icmp_type(), Icmpv6Type::EchoRequest(_)).then_some(())?;
                packet.transport = Transport::Icmp;
            }
        }
        Some(packet)
    }

    /// Frames that end the conversation for both ends, or tell who asked that nobody answers.
    pub(super) fn answers(&self) -> Vec<Vec<u8>> {
        match self.tcp {
            // Nobody answers a reset.
            Some(tcp) if tcp.rst => Vec::new(),
            Some(tcp) => {
                let to_receiver = self.reset(false, tcp.seq.wrapping_add(tcp.len), tcp);
                let to_sender = self.reset(true, if tcp.ack { tcp.acked } else { 0 }, tcp);
                [to_receiver, to_sender].into_iter().flatten().collect()
            }
            None => self.unreachable().into_iter().collect(),
        }
    }

    /// A reset: to the sender in the receiver's name, or to the receiver in the sender's.
    fn reset(&self, is_back: bool, seq: u32, tcp: Tcp) -> Option<Vec<u8>> {
        let (from, to) = if is_back {
            (self.dst_port, self.src_port)
        } else {
            (self.src_port, self.dst_port)
        };
        let mut header = TcpHeader::new(from, to, seq, 0);
        header.rst = true;
        // Who has said nothing yet is known by what the other acknowledges.
        header.ack = is_back || tcp.ack;
        header.acknowledgment_number = if is_back {
            tcp.seq.wrapping_add(tcp.len)
        } else {
            tcp.acked
        };
        let (src, dst) = self.ends(is_back);
        let mut frame = self.link(is_back);
        match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                header.checksum = header
                    .calc_checksum_ipv4_raw(src.octets(), dst.octets(), &[])
                    .ok()?;
                ipv4(&mut frame, src, dst, IpNumber::TCP, header.header_len())?;
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                header.checksum = header
                    .calc_checksum_ipv6_raw(src.octets(), dst.octets(), &[])
                    .ok()?;
                ipv6(&mut frame, src, dst, IpNumber::TCP, header.header_len())?;
            }
            _ => return None,
        }
        frame.extend_from_slice(&header.to_bytes());
        Some(frame)
    }

    /// "Communication administratively prohibited", to the sender in the receiver's name.
    fn unreachable(&self) -> Option<Vec<u8>> {
        let mut frame = self.link(true);
        match self.ends(true) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let cited = self.ip.get(..self.ip.len().min(CITED_V4))?;
                let kind = icmpv4::DestUnreachableHeader::FilterProhibited;
                let header =
                    Icmpv4Header::with_checksum(Icmpv4Type::DestinationUnreachable(kind), cited);
                let len = header.header_len() + cited.len();
                ipv4(&mut frame, src, dst, IpNumber::ICMP, len)?;
                frame.extend_from_slice(&header.to_bytes());
                frame.extend_from_slice(cited);
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let cited = self.ip.get(..self.ip.len().min(CITED_V6))?;
                let code = icmpv6::DestUnreachableCode::Prohibited;
                let header = Icmpv6Header::with_checksum(
                    Icmpv6Type::DestinationUnreachable(code),
                    src.octets(),
                    dst.octets(),
                    cited,
                )
                .ok()?;
                let len = header.header_len() + cited.len();
                ipv6(&mut frame, src, dst, IpNumber::IPV6_ICMP, len)?;
                frame.extend_from_slice(&header.to_bytes());
                frame.extend_from_slice(cited);
            }
            _ => return None,
        }
        Some(frame)
    }

    fn ends(&self, is_back: bool) -> (IpAddr, IpAddr) {
        if is_back {
            (self.dst, self.src)
        } else {
            (self.src, self.dst)
        }
    }

    /// What stands before IP, on the way back with the addresses changed over.
    fn link(&self, is_back: bool) -> Vec<u8> {
        let mut link = self.link.to_vec();
        if is_back && let Some(addresses) = link.get_mut(..ADDRESSES) {
            addresses.rotate_left(ADDRESSES / 2);
        }
        link
    }
}

fn ipv4(
    frame: &mut Vec<u8>,
    src: std::net::Ipv4Addr,
    dst: std::net::Ipv4Addr,
    what: IpNumber,
    len: usize,
) -> Option<()> {
    let len = u16::try_from(len).ok()?;
    let mut header = Ipv4Header::new(len, HOPS, what, src.octets(), dst.octets()).ok()?;
    header.dont_fragment = true;
    header.header_checksum = header.calc_header_checksum();
    frame.extend_from_slice(&header.to_bytes());
    Some(())
}

fn ipv6(
    frame: &mut Vec<u8>,
    src: std::net::Ipv6Addr,
    dst: std::net::Ipv6Addr,
    what: IpNumber,
    len: usize,
) -> Option<()> {
    let header = Ipv6Header {
        traffic_class: 0,
        flow_label: Ipv6FlowLabel::ZERO,
        payload_length: u16::try_from(len).ok()?,
        next_header: what,
        hop_limit: HOPS,
        source: src.octets(),
        destination: dst.octets(),
    };
    frame.extend_from_slice(&header.to_bytes());
    Some(())
}

/// Reads a frame and answers it; for the fuzzer.
///
/// # Panics
/// When an answer is much longer than what it answers.
pub fn fuzz_frame(frame: &[u8]) {
    if let Some(packet) = Packet::read(frame) {
        for answer in packet.answers() {
            assert!(answer.len() <= frame.len() + 128, "an answer amplifies");
        }
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{PacketBuilder, SlicedPacket};

    use super::*;

    fn tcp(answer: &[u8]) -> (IpAddr, TcpHeader, [u8; 6]) {
        let sliced = SlicedPacket::from_ethernet(answer).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else {
            panic!("no TCP");
        };
        let dst = match sliced.net.as_ref().unwrap() {
            etherparse::NetSlice::Ipv4(v4) => {
                assert_eq!(
                    v4.header().header_checksum(),
                    v4.header().to_header().calc_header_checksum()
                );
                IpAddr::from(v4.header().destination_addr())
            }
            etherparse::NetSlice::Ipv6(v6) => v6.header().destination_addr().into(),
            etherparse::NetSlice::Arp(_) => panic!("ARP"),
        };
        (dst, tcp.to_header(), answer[..6].try_into().unwrap())
    }

    #[test]
    fn both_ends_get_a_reset_they_accept() {
        let (near, far) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(near, far)
            .ipv4([10, 0, 0, 5], [10, 0, 0, 9], 64)
            .tcp(50_000, 445, 1_000, 64_000)
            .ack(7_000)
            .write(&mut frame, b"hello")
            .unwrap();
        // Padding of short frames is no data.
        frame.resize(70, 0);
        let packet = Packet::read(&frame).unwrap();
        let answers = packet.answers();
        let (dst, header, mac) = tcp(&answers[0]);
        assert_eq!((dst, mac), ("10.0.0.9".parse().unwrap(), far));
        assert!(header.rst && header.sequence_number == 1_005);
        let (dst, header, mac) = tcp(&answers[1]);
        assert_eq!((dst, mac), ("10.0.0.5".parse().unwrap(), near));
        assert!(header.rst && header.ack);
        assert_eq!(
            (header.sequence_number, header.acknowledgment_number),
            (7_000, 1_005)
        );
        let own = Packet::read(&answers[0]).unwrap();
        assert!(own.answers().is_empty(), "a reset is not answered");
    }

    #[test]
    fn who_asks_by_udp_is_told_and_nobody_is_told_of_errors() {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .single_vlan(9.try_into().unwrap())
            .ipv6([0xfd; 16], [0xfc; 16], 64)
            .udp(50_000, 53)
            .write(&mut frame, &[7; 2_000])
            .unwrap();
        let answers = Packet::read(&frame).unwrap().answers();
        let sliced = SlicedPacket::from_ethernet(&answers[0]).unwrap();
        assert_eq!(sliced.vlan_ids().len(), 1);
        let Some(TransportSlice::Icmpv6(icmp)) = &sliced.transport else {
            panic!("no ICMPv6");
        };
        assert!(icmp.is_checksum_valid([0xfc; 16], [0xfd; 16]));
        assert!(answers[0].len() <= 1_298);
        assert!(Packet::read(&answers[0]).is_none());
        frame[0] = 1;
        assert!(Packet::read(&frame).is_none(), "to many");
    }
}
