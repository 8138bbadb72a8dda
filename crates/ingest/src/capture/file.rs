//! Capture files as blocks of packet records: pcap (microseconds and nanoseconds, both byte orders,
//! also the modified kind with longer record headers) and pcapng (several sections and interfaces,
//! each with its own link type and time resolution). Formats: draft-ietf-opsawg-pcap and
//! draft-ietf-opsawg-pcapng.
//!
//! Packets are not copied: a block is one large read, and its records point into it. A file that
//! breaks is read up to the break, which is reported with its offset.

use std::io::Read;

use thymus_schema::Timestamp;

use crate::input::{Input, InputReader};
use crate::ledger::Problem;

/// One packet of a [`Block`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// Nanoseconds since the epoch.
    pub(crate) ts: i64,
    /// Where it begins in the block's bytes.
    pub(crate) start: u32,
    /// Captured bytes.
    pub(crate) len: u32,
    /// Bytes on the wire.
    pub(crate) wire_len: u32,
    /// Number of its link type.
    pub(crate) link_type: u32,
}

/// Many packets, as they came in one read.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// The read's bytes; grows to [`BLOCK_BYTES`] once and is then reused.
    pub(crate) bytes: Vec<u8>,
    /// The packets that are whole in it.
    pub(crate) records: Vec<Record>,
    /// Bytes read from disk so far.
    pub(crate) bytes_done: u64,
    /// What broke while it was read.
    pub(crate) problems: Vec<Problem>,
}

impl Block {
    /// The captured bytes of a record of this block.
    pub(crate) fn packet(&self, record: &Record) -> &[u8] {
        let start = record.start as usize;
        self.bytes
            .get(start..start + record.len as usize)
            .unwrap_or_default()
    }
}

/// Bytes of one read.
const BLOCK_BYTES: usize = 1 << 20;
/// Largest record accepted; what announces more is broken.
const RECORD_BYTES_MAX: usize = 16 << 20;
/// Most interfaces of one section that are remembered.
const INTERFACES_MAX: usize = 4096;

const PCAPNG_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// The kind of capture that begins with these bytes, if any.
pub(crate) fn sniff(head: &[u8]) -> Option<&'static str> {
    let magic = head.first_chunk::<4>()?;
    if *magic == PCAPNG_MAGIC {
        return Some("pcapng");
    }
    PcapKind::of(*magic).map(|_| "pcap")
}

/// Reads one capture file, block by block.
pub(crate) struct FileReader {
    input: Input,
    reader: InputReader,
    format: Option<Format>,
    leftover: Vec<u8>,
    /// Offset in the plain file of the next block's first byte.
    offset: u64,
    ended: bool,
    packets: u64,
}

enum Format {
    Pcap(PcapKind),
    PcapNg(Section),
}

#[derive(Clone, Copy)]
struct PcapKind {
    big_endian: bool,
    nanos: bool,
    header_len: usize,
    link_type: u32,
    record_bytes_max: usize,
}

#[derive(Default)]
struct Section {
    big_endian: bool,
    interfaces: Vec<Interface>,
    last_ts: i64,
    /// Packets that name an interface which was never described.
    orphans: u64,
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

/// What a look at the front of the unread bytes gave.
enum Step {
    /// So many bytes are used up.
    Used(usize),
    /// More bytes are needed.
    Need,
    /// The file is broken here.
    Broken(&'static str),
}

impl FileReader {
    pub(crate) fn open(input: Input) -> std::io::Result<Self> {
        let reader = input.open()?;
        Ok(Self {
            input,
            reader,
            format: None,
            leftover: Vec::new(),
            offset: 0,
            ended: false,
            packets: 0,
        })
    }

    /// Fills `block` with the next packets; `false` when there are no more.
    pub(crate) fn fill(&mut self, block: &mut Block) -> bool {
        block.records.clear();
        block.problems.clear();
        while block.records.is_empty() && !self.ended {
            self.read_block(block);
        }
        self.packets += block.records.len() as u64;
        block.bytes_done = self.reader.bytes_done();
        !block.records.is_empty()
    }

    fn read_block(&mut self, block: &mut Block) {
        let want = self.leftover.len().max(BLOCK_BYTES / 2) + BLOCK_BYTES / 2;
        if block.bytes.len() < want {
            block.bytes.resize(want, 0);
        }
        let mut filled = self.leftover.len();
        if let Some(front) = block.bytes.get_mut(..filled) {
            front.copy_from_slice(&self.leftover);
        }
        self.leftover.clear();
        while let Some(space) = block
            .bytes
            .get_mut(filled..)
            .filter(|space| !space.is_empty())
        {
            match self.reader.read(space) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(n) => filled += n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.ended = true;
                    let at = self.offset + filled as u64;
                    block
                        .problems
                        .push(self.problem(at, format!("read failed: {error}")));
                    break;
                }
            }
        }
        self.parse(block, filled);
    }

    fn parse(&mut self, block: &mut Block, filled: usize) {
        let mut used = 0;
        let step = loop {
            let rest = block.bytes.get(used..filled).unwrap_or_default();
            let step = match &mut self.format {
                None => self.header(rest),
                Some(Format::Pcap(kind)) => {
                    used += kind.records(rest, used, &mut block.records);
                    kind.diagnose(block.bytes.get(used..filled).unwrap_or_default())
                }
                Some(Format::PcapNg(section)) => section.block(rest, used, &mut block.records),
            };
            match step {
                Step::Used(n) => used += n,
                other => break other,
            }
        };
        let rest = block.bytes.get(used..filled).unwrap_or_default();
        let at = self.offset + used as u64;
        match step {
            Step::Broken(why) => {
                self.ended = true;
                block.problems.push(self.problem(at, why.to_owned()));
            }
            Step::Need if self.ended => self.tail(rest.len(), at, &mut block.problems),
            _ => {
                self.leftover.extend_from_slice(rest);
                self.offset = at;
            }
        }
        if let (true, Some(Format::PcapNg(section))) = (self.ended, &self.format)
            && section.orphans > 0
        {
            let why = format!(
                "{} packets name an interface never described",
                section.orphans
            );
            block.problems.push(self.problem(at, why));
        }
    }

    /// What is left when the file ends: nothing, or a record that is cut.
    fn tail(&self, left: usize, at: u64, problems: &mut Vec<Problem>) {
        let nothing_came = problems.is_empty() && self.format.is_none();
        if nothing_came && left == 0 {
            problems.push(self.problem(0, "the file is empty".to_owned()));
        } else if left > 0 && problems.is_empty() {
            let why = format!("the file ends inside a record: its last {left} bytes are not read");
            problems.push(self.problem(at, why));
        }
    }

    fn problem(&self, offset: u64, reason: String) -> Problem {
        let remedy = if self.packets == 0 && offset < 24 {
            "give a pcap or pcapng file, plain or compressed with gzip, zstd or bzip2"
        } else {
            "everything before this offset is judged; copy the file again, or repair it with pcapfix"
        };
        Problem {
            input: Some(self.input.id),
            offset,
            reason,
            remedy: remedy.to_owned(),
        }
    }

    fn header(&mut self, rest: &[u8]) -> Step {
        let Some(magic) = rest.first_chunk::<4>() else {
            return Step::Need;
        };
        if *magic == PCAPNG_MAGIC {
            self.format = Some(Format::PcapNg(Section::default()));
            return Step::Used(0);
        }
        let Some(mut kind) = PcapKind::of(*magic) else {
            return Step::Broken("not a capture: the first bytes are of no known format");
        };
        let Some(header) = rest.first_chunk::<24>() else {
            return Step::Need;
        };
        let snap_len = kind.u32(header, 16) as usize;
        kind.link_type = kind.u32(header, 20) & 0xffff;
        kind.record_bytes_max = snap_len.clamp(262_144, RECORD_BYTES_MAX);
        self.format = Some(Format::Pcap(kind));
        Step::Used(24)
    }
}

fn word(bytes: &[u8], at: usize, big_endian: bool) -> u32 {
    let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) else {
        return 0;
    };
    if big_endian {
        u32::from_be_bytes(*word)
    } else {
        u32::from_le_bytes(*word)
    }
}

impl PcapKind {
    fn of(magic: [u8; 4]) -> Option<Self> {
        let (big_endian, nanos, header_len) = match magic {
            [0xd4, 0xc3, 0xb2, 0xa1] => (false, false, 16),
            [0xa1, 0xb2, 0xc3, 0xd4] => (true, false, 16),
            [0x4d, 0x3c, 0xb2, 0xa1] => (false, true, 16),
            [0xa1, 0xb2, 0x3c, 0x4d] => (true, true, 16),
            [0x34, 0xcd, 0xb2, 0xa1] => (false, false, 24),
            [0xa1, 0xb2, 0xcd, 0x34] => (true, false, 24),
            _ => return None,
        };
        Some(Self {
            big_endian,
            nanos,
            header_len,
            link_type: 0,
            record_bytes_max: 0,
        })
    }

    fn u32(&self, bytes: &[u8], at: usize) -> u32 {
        word(bytes, at, self.big_endian)
    }

    /// Takes all whole records off `rest`, which begins at `base` of the block; gives their length.
    fn records(&self, rest: &[u8], base: usize, records: &mut Vec<Record>) -> usize {
        let fraction_nanos = if self.nanos { 1 } else { 1_000 };
        let mut used = 0;
        while let Some(header) = rest.get(used..).and_then(|rest| rest.first_chunk::<16>()) {
            let len = self.u32(header, 8) as usize;
            let end = used + self.header_len + len;
            if len > self.record_bytes_max || end > rest.len() {
                break;
            }
            let secs = i64::from(self.u32(header, 0));
            let fraction = i64::from(self.u32(header, 4));
            records.push(Record {
                ts: secs * 1_000_000_000 + fraction * fraction_nanos,
                start: (base + used + self.header_len) as u32,
                len: len as u32,
                wire_len: self.u32(header, 12).max(len as u32),
                link_type: self.link_type,
            });
            used = end;
        }
        used
    }

    /// Why no more records could be taken.
    fn diagnose(&self, rest: &[u8]) -> Step {
        if rest.len() < self.header_len {
            return Step::Need;
        }
        let len = self.u32(rest, 8) as usize;
        if len > self.record_bytes_max {
            return Step::Broken("a packet record announces more bytes than a packet can have");
        }
        Step::Need
    }
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
    fn block(&mut self, rest: &[u8], base: usize, records: &mut Vec<Record>) -> Step {
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

/// The first packet's time; `None` when the file holds no packet.
pub(crate) fn first_time(input: &Input) -> std::io::Result<(Option<Timestamp>, Vec<Problem>)> {
    let mut block = Block::default();
    let mut reader = FileReader::open(input.clone())?;
    reader.fill(&mut block);
    let first = block
        .records
        .first()
        .map(|record| Timestamp::from_nanos(record.ts));
    Ok((first, std::mem::take(&mut block.problems)))
}
