//! The blocks of a pcapng file: draft-ietf-opsawg-pcapng.

use super::file::{PCAPNG_MAGIC, RECORD_BYTES_MAX, Record, Step, word};

/// Most interfaces of one section that are remembered.
const INTERFACES_MAX: usize = 4096;

/// One section: its byte order and its interfaces.
#[derive(Default)]
pub(super) struct Section {
    big_endian: bool,
    interfaces: Vec<Interface>,
    last_ts: i64,
    /// Packets that name an interface which was never described.
    pub(super) orphans: u64,
}

#[derive(Clone, Copy)]
struct Interface {
    link_type: u32,
    snap_len: u32,
    resolution: Resolution,
    offset_secs: i64,
}

#[derive(Clone, Copy)]
enum Resolution {
    /// Nanoseconds per tick.
    Multiply(i64),
    /// Ticks per nanosecond.
    Divide(i64),
    /// Ticks per second as a power of two.
    Binary(u32),
}

impl Section {
    fn u32(&self, bytes: &[u8], at: usize) -> u32 {
        word(bytes, at, self.big_endian)
    }

    fn u16(&self, bytes: &[u8], at: usize) -> u16 {
        let Some(half) = bytes.get(at..).and_then(|rest| rest.first_chunk::<2>()) else {
            return 0;
        };
        if self.big_endian {
            u16::from_be_bytes(*half)
        } else {
            u16::from_le_bytes(*half)
        }
    }

    /// Reads the block in front of `rest`, which begins at `base` of the read.
    pub(super) fn block(&mut self, rest: &[u8], base: usize, records: &mut Vec<Record>) -> Step {
        if rest.len() < 12 {
            return Step::Need;
        }
        if rest.starts_with(&PCAPNG_MAGIC) {
            self.big_endian = match rest.get(8..12) {
                Some([0x1a, 0x2b, 0x3c, 0x4d]) => true,
                Some([0x4d, 0x3c, 0x2b, 0x1a]) => false,
                _ => return Step::Broken("a section header without its byte-order mark"),
            };
        }
        let len = self.u32(rest, 4) as usize;
        if len < 12 || !len.is_multiple_of(4) || len > RECORD_BYTES_MAX {
            return Step::Broken("a block with an impossible length");
        }
        let Some(block) = rest.get(..len) else {
            return Step::Need;
        };
        if self.u32(block, len - 4) as usize != len {
            return Step::Broken("a block whose two lengths differ");
        }
        let body = block.get(8..len - 4).unwrap_or_default();
        match self.u32(block, 0) {
            0x0a0d_0d0a => self.interfaces.clear(),
            1 => self.interface(body),
            6 => self.enhanced(body, base + 8, records),
            3 => self.simple(body, base + 8, records),
            2 => self.obsolete(body, base + 8, records),
            _ => {}
        }
        Step::Used(len)
    }

    fn interface(&mut self, body: &[u8]) {
        if self.interfaces.len() >= INTERFACES_MAX {
            return;
        }
        let mut interface = Interface {
            link_type: u32::from(self.u16(body, 0)),
            snap_len: self.u32(body, 4),
            resolution: Resolution::Multiply(1_000),
            offset_secs: 0,
        };
        let mut options = body.get(8..).unwrap_or_default();
        while options.len() >= 4 {
            let (code, len) = (self.u16(options, 0), usize::from(self.u16(options, 2)));
            let value = options.get(4..4 + len).unwrap_or_default();
            match (code, value) {
                (0, _) => break,
                (9, [resolution]) => interface.resolution = Resolution::of(*resolution),
                (14, value) if value.len() == 8 => {
                    let (a, b) = (u64::from(self.u32(value, 0)), u64::from(self.u32(value, 4)));
                    let secs = if self.big_endian {
                        a << 32 | b
                    } else {
                        b << 32 | a
                    };
                    interface.offset_secs = secs as i64;
                }
                _ => {}
            }
            options = options
                .get(4 + len.next_multiple_of(4)..)
                .unwrap_or_default();
        }
        self.interfaces.push(interface);
    }

    fn enhanced(&mut self, body: &[u8], base: usize, records: &mut Vec<Record>) {
        let number = self.u32(body, 0) as usize;
        self.packet(number, body, base, records);
    }

    /// The packet block of early drafts: interface and drop count are two half words.
    fn obsolete(&mut self, body: &[u8], base: usize, records: &mut Vec<Record>) {
        let number = usize::from(self.u16(body, 0));
        self.packet(number, body, base, records);
    }

    fn packet(&mut self, number: usize, body: &[u8], base: usize, records: &mut Vec<Record>) {
        let Some(interface) = self.interfaces.get(number) else {
            self.orphans += 1;
            return;
        };
        let ticks = u64::from(self.u32(body, 4)) << 32 | u64::from(self.u32(body, 8));
        let ts = interface.resolution.nanos(ticks);
        let ts = ts.saturating_add(interface.offset_secs.saturating_mul(1_000_000_000));
        let len = self.u32(body, 12).min(body.len().saturating_sub(20) as u32);
        let record = Record {
            ts,
            start: (base + 20) as u32,
            len,
            wire_len: self.u32(body, 16).max(len),
            link_type: interface.link_type,
        };
        self.last_ts = ts;
        records.push(record);
    }

    /// A packet without a time: it gets that of the packet before.
    fn simple(&mut self, body: &[u8], base: usize, records: &mut Vec<Record>) {
        let Some(interface) = self.interfaces.first() else {
            self.orphans += 1;
            return;
        };
        let wire_len = self.u32(body, 0);
        let snap_len = if interface.snap_len == 0 {
            u32::MAX
        } else {
            interface.snap_len
        };
        let len = wire_len
            .min(snap_len)
            .min(body.len().saturating_sub(4) as u32);
        records.push(Record {
            ts: self.last_ts,
            start: (base + 4) as u32,
            len,
            wire_len,
            link_type: interface.link_type,
        });
    }
}

impl Resolution {
    fn of(code: u8) -> Self {
        let exponent = u32::from(code & 0x7f);
        if code & 0x80 != 0 {
            return Self::Binary(exponent.min(63));
        }
        match exponent {
            0..=9 => Self::Multiply(10_i64.pow(9 - exponent)),
            _ => Self::Divide(10_i64.pow((exponent - 9).min(18))),
        }
    }

    fn nanos(self, ticks: u64) -> i64 {
        let ticks = i64::try_from(ticks).unwrap_or(i64::MAX);
        match self {
            Self::Multiply(nanos) => ticks.saturating_mul(nanos),
            Self::Divide(per_nano) => ticks / per_nano,
            Self::Binary(bits) => {
                let nanos = (i128::from(ticks) * 1_000_000_000) >> bits;
                i64::try_from(nanos).unwrap_or(i64::MAX)
            }
        }
    }
}
