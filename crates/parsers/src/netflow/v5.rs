//! NetFlow v5: a fixed layout, IPv4 only.

use std::net::{IpAddr, Ipv4Addr};

use super::fields::{Counts, FlowFields, Stamp};
use crate::Reader;

const RECORD_LEN: usize = 48;
/// Low bits of the field of sampling; the two above say how packets were chosen.
const INTERVAL_MASK: u16 = 0x3fff;

/// A datagram of NetFlow v5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct V5<'a> {
    count: u16,
    /// How long the exporter has been up, in milliseconds.
    pub uptime_ms: u32,
    /// When it was sent, in seconds since 1970.
    pub export_secs: u32,
    /// And the nanoseconds of that second.
    pub export_nanos: u32,
    /// Flows exported before.
    pub sequence: u32,
    /// Which engine of the exporter observed: its type and number.
    pub engine: u16,
    /// One packet in so many was looked at; 0 when nothing is said.
    pub sampling: u16,
    body: &'a [u8],
}

impl<'a> V5<'a> {
    /// Behind the version.
    pub(super) fn read(mut reader: Reader<'a>) -> Option<Self> {
        Some(Self {
            count: reader.u16()?,
            uptime_ms: reader.u32()?,
            export_secs: reader.u32()?,
            export_nanos: reader.u32()?,
            sequence: reader.u32()?,
            engine: reader.u16()?,
            sampling: reader.u16()? & INTERVAL_MASK,
            body: reader.rest(),
        })
    }

    /// How many records it says it holds.
    pub const fn announced(&self) -> usize {
        self.count as usize
    }

    /// Its records, as far as they are there.
    pub fn records(&self) -> impl Iterator<Item = FlowFields> + use<'a> {
        let records = self.body.chunks_exact(RECORD_LEN);
        records.take(usize::from(self.count)).filter_map(record)
    }
}

fn record(bytes: &[u8]) -> Option<FlowFields> {
    let mut reader = Reader::new(bytes);
    let mut address = || Some(IpAddr::V4(Ipv4Addr::from_bits(reader.u32()?)));
    let (source, destination) = (address()?, address()?);
    // The next hop and the interfaces.
    reader.skip(8)?;
    let (packets, octets) = (reader.u32()?, reader.u32()?);
    let (start, end) = (reader.u32()?, reader.u32()?);
    let (source_port, destination_port) = (reader.u16()?, reader.u16()?);
    reader.skip(1)?;
    let (flags, protocol) = (reader.u8()?, reader.u8()?);
    Some(FlowFields {
        source: Some(source),
        destination: Some(destination),
        source_port,
        destination_port,
        protocol: Some(protocol),
        // Type and code stand where the port would be.
        icmp: (protocol == 1).then_some(destination_port),
        forward: Counts {
            packets: Some(u64::from(packets)),
            octets: Some(u64::from(octets)),
            flags: Some(flags),
        },
        start: Stamp::Uptime(start),
        end: Stamp::Uptime(end),
        ..FlowFields::default()
    })
}
