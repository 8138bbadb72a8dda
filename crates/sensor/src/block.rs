//! Packets on their way from the socket to the analysis.

/// One packet of a [`PacketBlock`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketRecord {
    /// When the kernel had it, in nanoseconds since the epoch.
    pub ts: i64,
    /// Where it begins in the block's bytes.
    pub start: u32,
    /// Captured bytes.
    pub len: u32,
    /// Bytes on the wire.
    pub wire_len: u32,
}

/// Packets as they came, one after another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PacketBlock {
    bytes: Vec<u8>,
    records: Vec<PacketRecord>,
}

/// Length of two Ethernet addresses, behind which a VLAN tag stands (IEEE 802.1Q).
const ADDRESSES_LEN: usize = 12;

impl PacketBlock {
    /// The packets, in the order of their capture.
    pub fn records(&self) -> &[PacketRecord] {
        &self.records
    }

    /// The captured bytes of a record of this block.
    pub fn packet(&self, record: &PacketRecord) -> &[u8] {
        let start = record.start as usize;
        self.bytes
            .get(start..start + record.len as usize)
            .unwrap_or_default()
    }

    /// Memory that its packets take, in bytes.
    pub fn size(&self) -> usize {
        self.bytes.len() + self.records.len() * size_of::<PacketRecord>()
    }

    /// Whether it holds no packet.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Forgets the packets and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
    }

    /// Makes it hold what `other` holds, in the room it has.
    pub fn copy_from(&mut self, other: &Self) {
        self.clear();
        self.bytes.extend_from_slice(&other.bytes);
        self.records.extend_from_slice(&other.records);
    }

    /// Adds a packet; `tag` is the VLAN tag that the network card or the kernel took out of it: it is put
    /// back, as it was on the wire.
    pub fn push(&mut self, ts: i64, wire_len: u32, bytes: &[u8], tag: Option<[u8; 4]>) {
        let start = self.bytes.len() as u32;
        let mut wire_len = wire_len;
        match (tag, bytes.split_at_checked(ADDRESSES_LEN)) {
            (Some(tag), Some((addresses, rest))) => {
                self.bytes.extend_from_slice(addresses);
                self.bytes.extend_from_slice(&tag);
                self.bytes.extend_from_slice(rest);
                wire_len = wire_len.saturating_add(tag.len() as u32);
            }
            _ => self.bytes.extend_from_slice(bytes),
        }
        let len = self.bytes.len() as u32 - start;
        self.records.push(PacketRecord {
            ts,
            start,
            len,
            wire_len: wire_len.max(len),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_taken_out_is_put_back_where_it_was() {
        let mut block = PacketBlock::default();
        let frame: Vec<u8> = (0..20).collect();
        block.push(1, 60, &frame, None);
        block.push(2, 60, &frame, Some([0x81, 0, 0, 7]));
        block.push(3, 60, &frame[..5], Some([0x81, 0, 0, 7]));
        let [plain, tagged, stub] = block.records() else {
            panic!("three packets");
        };
        assert_eq!(block.packet(plain), frame);
        let whole = [&frame[..12], &[0x81, 0, 0, 7], &frame[12..]].concat();
        assert_eq!(block.packet(tagged), whole);
        assert_eq!((tagged.wire_len, tagged.ts), (64, 2));
        assert_eq!(block.packet(stub), &frame[..5], "too short to have one");
    }
}
