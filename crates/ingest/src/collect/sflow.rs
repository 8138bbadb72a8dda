//! Datagrams of sFlow: each sampled packet stands for as many as its rate says.

use std::net::IpAddr;

use thymus_parsers::packet::{
    Next, Segment, Tags, Transport as Header, Unread, decode_frame, decode_ip, decode_transport,
};
use thymus_parsers::sflow::{Packet, PacketSample, Sample, read};
use thymus_schema::{Coverage, Endpoint, Mac, Scope, Timestamp};

use super::exporter::{Exporters, StreamKey};
use super::join::{Ends, SampledPacket, Volume};

/// What a header begins with, in sFlow's numbers, and the link type of tcpdump's registry for it.
const LINKS: [(u32, u32); 3] = [(1, 1), (11, 101), (12, 101)];
/// Version in the key of a stream.
const VERSION: u8 = 105;

/// Reads a datagram of the exporter with that number; `each` is told every packet.
pub(super) fn datagram(
    exporters: &mut Exporters,
    coverage: &mut Coverage,
    (exporter, received): (u32, Timestamp),
    bytes: &[u8],
    mut each: impl FnMut(SampledPacket, &mut Coverage),
) {
    let Some(datagram) = read(bytes) else {
        coverage.records += 1;
        coverage.drop_for("export_datagram_malformed", 1);
        exporters.heard(exporter, None, received);
        exporters.count(exporter, |it| it.unreadable += 1);
        return;
    };
    exporters.heard(exporter, Some("sFlow"), received);
    // One address may speak for many agents.
    let agent = datagram.agent.unwrap_or_else(|| exporters.addr(exporter));
    let key = StreamKey {
        addr: exporters.addr(exporter),
        version: VERSION,
        domain: datagram.sub_agent ^ digest(agent),
        port: 0,
    };
    if let Some(stream) = exporters.stream(key) {
        stream.sequence.take(datagram.sequence, Some(1), 1);
    }
    let (mut packets, mut counters) = (0, 0);
    for sample in datagram.samples() {
        let sample = match sample {
            Sample::Packet(sample) => sample,
            Sample::Counters => {
                counters += 1;
                continue;
            }
            Sample::Other => {
                coverage.records += 1;
                coverage.drop_for("sample_kind_not_read", 1);
                continue;
            }
            Sample::Broken => {
                coverage.records += 1;
                coverage.drop_for("export_datagram_cut", 1);
                exporters.count(exporter, |it| it.unreadable += 1);
                continue;
            }
        };
        packets += 1;
        coverage.records += 1;
        exporters.sample_drops(exporter, (key.domain, sample.source), sample.drops);
        match packet(exporter, &sample) {
            Ok(packet) => {
                coverage.drop_for("packets_not_sampled", u64::from(sample.rate.max(1)) - 1);
                let rate = u64::from(sample.rate.max(1));
                exporters.count(exporter, |it| it.sampling = rate);
                each(packet, coverage);
            }
            Err(reason) => coverage.drop_for(reason, 1),
        }
    }
    exporters.count(exporter, |it| {
        it.datagrams += 1;
        it.records += packets;
        it.counter_samples += counters;
    });
}

fn digest(agent: IpAddr) -> u32 {
    match agent {
        IpAddr::V4(v4) => v4.to_bits(),
        IpAddr::V6(v6) => v6.to_bits().to_be_bytes().chunks(4).fold(0, |sum, four| {
            sum ^ four.try_into().map_or(0, u32::from_be_bytes)
        }),
    }
}

fn packet(exporter: u32, sample: &PacketSample<'_>) -> Result<SampledPacket, &'static str> {
    let rate = u64::from(sample.rate.max(1));
    let (ends, payload, flags) = match sample.packet {
        Packet::Header {
            protocol, bytes, ..
        } => from_header(protocol, bytes)?,
        Packet::Ip {
            length,
            protocol,
            source,
            destination,
            flags,
        } => {
            let header =
                if source.0.is_ipv4() { 28 } else { 48 } + if protocol == 6 { 12 } else { 0 };
            let ends = Ends {
                source: Endpoint::new(source.0, source.1),
                destination: Endpoint::new(destination.0, destination.1),
                protocol,
                icmp: matches!(protocol, 1 | 58).then_some(source.1 << 8 | destination.1 & 0xff),
                scope: Scope::NONE,
                source_mac: None,
                destination_mac: None,
            };
            let flags = (protocol == 6).then_some(flags);
            (ends, u64::from(length).saturating_sub(header), flags)
        }
        Packet::Nothing => return Err("sample_without_addresses"),
    };
    let volume = Volume {
        packets: rate,
        payload: payload.saturating_mul(rate),
        flags,
    };
    Ok(SampledPacket {
        exporter,
        ends,
        volume,
        is_sampled: rate > 1,
    })
}

/// Whose packet it is, its payload's length, and its TCP flags.
fn from_header(protocol: u32, bytes: &[u8]) -> Result<(Ends, u64, Option<u8>), &'static str> {
    let link = LINKS.iter().find(|(number, _)| *number == protocol);
    let frame = link.and_then(|(_, link)| decode_frame(*link, bytes));
    let frame = frame.ok_or(Unread::LinkType.as_str())?;
    let ip = match frame.next {
        Next::Ip(ip) => decode_ip(ip).ok_or(Unread::IpMalformed.as_str())?,
        Next::Arp(_) => return Err("sample_of_no_conversation"),
        Next::Unread(why) => return Err(why.as_str()),
    };
    let is_later_fragment = ip.fragment.is_some_and(|fragment| fragment.offset > 0);
    if is_later_fragment {
        return Err("sample_of_a_fragment");
    }
    let header: Header<'_> = decode_transport(ip.protocol, ip.payload, ip.missing)
        .ok_or(Unread::TransportMalformed.as_str())?;
    let (icmp, flags) = match header.segment {
        Segment::Icmp { kind, code, .. } => (Some(u16::from_be_bytes([kind, code])), None),
        Segment::Tcp(tcp) => (None, Some(tcp.flags.0)),
        _ => (None, None),
    };
    let mac = |mac: Option<[u8; 6]>| mac.map(Mac).filter(|mac| !mac.is_zero());
    let port = |port| if icmp.is_some() { 0 } else { port };
    let ends = Ends {
        source: Endpoint::new(ip.source, port(header.source_port)),
        destination: Endpoint::new(ip.destination, port(header.destination_port)),
        protocol: ip.protocol,
        icmp,
        scope: scope_of(&frame.tags),
        source_mac: mac(frame.source_mac),
        destination_mac: mac(frame.destination_mac),
    };
    Ok((ends, u64::from(header.payload_len), flags))
}

fn scope_of(tags: &Tags) -> Scope {
    tags.iter()
        .fold(Scope::NONE, |scope, (kind, id)| scope.enter(kind, id))
}
