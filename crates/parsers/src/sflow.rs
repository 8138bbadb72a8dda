//! sFlow version 5 (sflow.org, "sFlow Version 5"): packets chosen at random, with their headers, and counters
//! of interfaces. Counters are told from packets and not read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Reader;

/// Most samples of a datagram that are read.
const SAMPLES_MAX: u32 = 1024;
/// Most records of a sample that are read.
const RECORDS_MAX: u32 = 64;

/// A datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Who sampled, as it says itself.
    pub agent: Option<IpAddr>,
    /// Which part of it.
    pub sub_agent: u32,
    /// Datagrams sent before.
    pub sequence: u32,
    count: u32,
    body: &'a [u8],
}

/// A sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample<'a> {
    /// A packet.
    Packet(PacketSample<'a>),
    /// Counters of an interface.
    Counters,
    /// Of a kind that is not known.
    Other,
    /// It ends too early.
    Broken,
}

/// A packet that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketSample<'a> {
    /// Which port or switch sampled.
    pub source: u32,
    /// One packet in so many was chosen.
    pub rate: u32,
    /// Samples that the agent had to drop until now.
    pub drops: u32,
    /// What is told of it.
    pub packet: Packet<'a>,
}

/// What is told of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Its first bytes.
    Header {
        /// What they begin with: 1 Ethernet, 11 IPv4, 12 IPv6.
        protocol: u32,
        /// Its length on the wire, with the link layer.
        frame_len: u32,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// What its headers said.
    Ip {
        /// Bytes from the IP header on.
        length: u32,
        /// The IP protocol.
        protocol: u8,
        /// Address and port of the sender.
        source: (IpAddr, u16),
        /// Address and port of the receiver.
        destination: (IpAddr, u16),
        /// TCP flags.
        flags: u8,
    },
    /// Nothing that names who talked.
    Nothing,
}

/// Looks at a datagram; `None` when it is none of version 5.
pub fn read(bytes: &[u8]) -> Option<Datagram<'_>> {
    let mut reader = Reader::new(bytes);
    if reader.u32()? != 5 {
        return None;
    }
    let agent = match reader.u32()? {
        1 => Some(IpAddr::V4(Ipv4Addr::from(reader.array::<4>()?))),
        2 => Some(IpAddr::V6(Ipv6Addr::from(reader.array::<16>()?))),
        _ => return None,
    };
    let (sub_agent, sequence) = (reader.u32()?, reader.u32()?);
    reader.skip(4)?;
    Some(Datagram {
        agent,
        sub_agent,
        sequence,
        count: reader.u32()?,
        body: reader.rest(),
    })
}

impl<'a> Datagram<'a> {
    /// Its samples, as far as they are there.
    pub fn samples(&self) -> impl Iterator<Item = Sample<'a>> + use<'a> {
        let mut reader = Reader::new(self.body);
        let mut left = self.count.min(SAMPLES_MAX);
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let sample = sample(&mut reader);
            if sample.is_none() {
                left = 0;
            }
            Some(sample.unwrap_or(Sample::Broken))
        })
    }
}

fn sample<'a>(reader: &mut Reader<'a>) -> Option<Sample<'a>> {
    let kind = reader.u32()?;
    let length = usize::try_from(reader.u32()?).ok()?;
    let body = Reader::new(reader.take(length)?);
    Some(match kind {
        1 => packet_sample(body, false).map_or(Sample::Broken, Sample::Packet),
        3 => packet_sample(body, true).map_or(Sample::Broken, Sample::Packet),
        2 | 4 => Sample::Counters,
        _ => Sample::Other,
    })
}

fn packet_sample(mut reader: Reader<'_>, is_expanded: bool) -> Option<PacketSample<'_>> {
    reader.skip(4)?;
    let source = if is_expanded {
        reader.u32()?;
        reader.u32()?
    } else {
        reader.u32()?
    };
    let rate = reader.u32()?;
    reader.skip(4)?;
    let drops = reader.u32()?;
    reader.skip(if is_expanded { 16 } else { 8 })?;
    let records = reader.u32()?.min(RECORDS_MAX);
    let mut packet = Packet::Nothing;
    for _ in 0..records {
        let kind = reader.u32()?;
        let length = usize::try_from(reader.u32()?).ok()?;
        let body = Reader::new(reader.take(length)?);
        let read = match kind {
            1 => header(body)?,
            3 => ip(body, |reader| {
                Some(IpAddr::V4(Ipv4Addr::from(reader.array::<4>()?)))
            })?,
            4 => ip(body, |reader| {
                Some(IpAddr::V6(Ipv6Addr::from(reader.array::<16>()?)))
            })?,
            _ => continue,
        };
        // The bytes themselves tell most.
        if !matches!(packet, Packet::Header { .. }) {
            packet = read;
        }
    }
    Some(PacketSample {
        source,
        rate,
        drops,
        packet,
    })
}

fn header(mut reader: Reader<'_>) -> Option<Packet<'_>> {
    let (protocol, frame_len) = (reader.u32()?, reader.u32()?);
    reader.skip(4)?;
    let length = usize::try_from(reader.u32()?).ok()?;
    Some(Packet::Header {
        protocol,
        frame_len,
        bytes: reader.take_up_to(length),
    })
}

fn ip<'a>(
    mut reader: Reader<'a>,
    address: impl Fn(&mut Reader<'a>) -> Option<IpAddr>,
) -> Option<Packet<'a>> {
    let length = reader.u32()?;
    let protocol = u8::try_from(reader.u32()?).ok()?;
    let (source, destination) = (address(&mut reader)?, address(&mut reader)?);
    let mut port = || Some(u16::try_from(reader.u32()? & 0xffff).unwrap_or(0));
    let (source_port, destination_port) = (port()?, port()?);
    let flags = u8::try_from(reader.u32()? & 0xff).unwrap_or(0);
    Some(Packet::Ip {
        length,
        protocol,
        source: (source, source_port),
        destination: (destination, destination_port),
        flags,
    })
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    let Some(datagram) = read(bytes) else { return };
    debug_assert!(datagram.samples().count() <= 1024);
    for sample in datagram.samples() {
        if let Sample::Packet(PacketSample {
            packet: Packet::Header { bytes: header, .. },
            ..
        }) = sample
        {
            debug_assert!(header.len() <= bytes.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// A datagram of one packet sample with the given records.
    fn datagram(records: &[u8], count: u32) -> Vec<u8> {
        let mut sample = words(&[7, 3, 512, 0, 4, 1, 2, count]);
        sample.extend(records);
        let mut bytes = words(&[5, 1, 0x0a00_0001, 0, 9, 1000, 1, 1]);
        bytes.extend(words(&[sample.len() as u32]));
        bytes.extend(sample);
        bytes
    }

    #[test]
    fn a_packet_comes_with_its_rate_and_its_bytes() {
        let mut records = words(&[1, 20, 1, 1514, 4, 3]);
        records.extend([0xaa, 0xbb, 0xcc, 0]);
        let bytes = datagram(&records, 1);
        let read = read(&bytes).unwrap();
        assert_eq!(read.sequence, 9);
        let samples: Vec<_> = read.samples().collect();
        let [Sample::Packet(sample)] = samples.as_slice() else {
            panic!("{samples:?}");
        };
        assert_eq!((sample.source, sample.rate, sample.drops), (3, 512, 4));
        let wanted = Packet::Header {
            protocol: 1,
            frame_len: 1514,
            bytes: &[0xaa, 0xbb, 0xcc],
        };
        assert_eq!(sample.packet, wanted);
    }

    #[test]
    fn what_headers_said_is_taken_where_there_are_no_bytes() {
        let ip = words(&[3, 32, 60, 6, 0x0a00_0001, 0x0a00_0002, 4000, 22, 2, 0]);
        let bytes = datagram(&ip, 1);
        let samples: Vec<_> = read(&bytes).unwrap().samples().collect();
        let [Sample::Packet(sample)] = samples.as_slice() else {
            panic!("{samples:?}");
        };
        assert!(matches!(
            sample.packet,
            Packet::Ip {
                protocol: 6,
                flags: 2,
                ..
            }
        ));
    }

    #[test]
    fn a_cut_sample_is_told() {
        let bytes = datagram(&words(&[1, 4000]), 1);
        let samples: Vec<_> = read(&bytes).unwrap().samples().collect();
        assert_eq!(samples, [Sample::Broken]);
        assert_eq!(read(&words(&[4, 1, 0])), None, "another version");
    }
}
