//! Packets as files that any reader of captures understands: pcapng (draft-ietf-opsawg-pcapng), times in
//! nanoseconds.

use std::io::{self, Write};

use crate::block::{PacketBlock, PacketRecord};

/// Length of what stands in front of the packets of a file with one interface.
pub(crate) const HEAD_LEN: usize = SECTION_LEN + INTERFACE_LEN;

const SECTION_LEN: usize = 28;
const INTERFACE_LEN: usize = 32;
const COMMENT: u16 = 1;

/// The description of a section without options, and of its only interface.
pub(crate) fn head(link_type: u16) -> Vec<u8> {
    let mut head = section("");
    head.extend_from_slice(&interface(link_type));
    head
}

/// Writes the packets of a block as of the first interface; how many bytes that took.
pub(crate) fn write_block(out: &mut impl Write, block: &PacketBlock) -> io::Result<u64> {
    let mut written = 0;
    for record in block.records() {
        written += write_packet(out, 0, record, block.packet(record))?;
    }
    Ok(written)
}

/// An enhanced packet block.
fn write_packet(
    out: &mut impl Write,
    interface: u32,
    record: &PacketRecord,
    packet: &[u8],
) -> io::Result<u64> {
    let padding = packet.len().next_multiple_of(4) - packet.len();
    let total = (32 + packet.len() + padding) as u32;
    let ts = record.ts.cast_unsigned();
    for word in [
        6,
        total,
        interface,
        (ts >> 32) as u32,
        ts as u32,
        packet.len() as u32,
        record.wire_len,
    ] {
        out.write_all(&word.to_le_bytes())?;
    }
    out.write_all(packet)?;
    out.write_all([0; 3].get(..padding).unwrap_or_default())?;
    out.write_all(&total.to_le_bytes())?;
    Ok(u64::from(total))
}

/// Version 1.0, of unknown length, with a comment where there is one to make.
fn section(comment: &str) -> Vec<u8> {
    let comment = comment.as_bytes();
    let comment = comment.get(..usize::from(u16::MAX)).unwrap_or(comment);
    let padded = comment.len().next_multiple_of(4);
    let options = if comment.is_empty() { 0 } else { 8 + padded };
    let total = ((SECTION_LEN + options) as u32).to_le_bytes();
    let mut block = vec![0x0a, 0x0d, 0x0d, 0x0a];
    block.extend_from_slice(&total);
    block.extend_from_slice(&[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0]);
    block.extend_from_slice(&[0xff; 8]);
    if !comment.is_empty() {
        block.extend_from_slice(&COMMENT.to_le_bytes());
        block.extend_from_slice(&(comment.len() as u16).to_le_bytes());
        block.extend_from_slice(comment);
        block.resize(block.len() + padded - comment.len(), 0);
        block.extend_from_slice(&[0; 4]);
    }
    block.extend_from_slice(&total);
    block
}

/// No bound on packets, times in nanoseconds.
#[rustfmt::skip]
fn interface(link_type: u16) -> [u8; INTERFACE_LEN] {
    let [a, b] = link_type.to_le_bytes();
    [
        1, 0, 0, 0, 32, 0, 0, 0, a, b, 0, 0, 0, 0, 0, 0,
        9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0, 0,
    ]
}

/// A capture that is put together in memory, of packets of any link types.
#[derive(Debug, Default)]
pub struct CaptureFile {
    links: Vec<u16>,
    packets: Vec<u8>,
    count: u64,
}

impl CaptureFile {
    /// Adds a packet: when it came in nanoseconds since the epoch, how long it was on the wire.
    pub fn add(&mut self, link_type: u16, ts: i64, wire_len: u32, packet: &[u8]) {
        let known = self.links.iter().position(|link| *link == link_type);
        let interface = known.unwrap_or_else(|| {
            self.links.push(link_type);
            self.links.len() - 1
        });
        let record = PacketRecord {
            ts,
            start: 0,
            len: packet.len() as u32,
            wire_len,
        };
        // A vector takes everything.
        let written = write_packet(&mut self.packets, interface as u32, &record, packet);
        debug_assert!(written.is_ok());
        self.count += 1;
    }

    /// Packets so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Bytes of packets so far.
    pub fn size(&self) -> usize {
        self.packets.len()
    }

    /// The file, with `comment` in front for whoever opens it.
    pub fn finish(self, comment: &str) -> Vec<u8> {
        let mut file = section(comment);
        for link in &self.links {
            file.extend_from_slice(&interface(*link));
        }
        file.extend_from_slice(&self.packets);
        file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_as_long_as_it_says() {
        assert_eq!(head(1).len(), HEAD_LEN);
        let comment = section("five!");
        assert_eq!(comment.len(), SECTION_LEN + 4 + 8 + 4);
        assert_eq!(comment.len() % 4, 0);
        assert_eq!(comment[4..8], comment[comment.len() - 4..]);
    }
}
