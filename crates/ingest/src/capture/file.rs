//! Capture files as blocks of packet records: pcap (microseconds and nanoseconds, both byte orders,
//! also the modified kind with longer record headers) and pcapng (several sections and interfaces,
//! each with its own link type and time resolution). Formats: draft-ietf-opsawg-pcap and
//! draft-ietf-opsawg-pcapng.
//!
//! Packets are not copied: a block is one large read, and its records point into it. A file that
//! breaks is read up to the break, which is reported with its offset.

use std::io::Read;

use thymus_schema::Timestamp;

use super::pcapng::Section;
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
pub(super) const RECORD_BYTES_MAX: usize = 16 << 20;
/// The first bytes of every section of a pcapng file.
pub(super) const PCAPNG_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

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

/// What a look at the front of the unread bytes gave.
pub(super) enum Step {
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
                    let advice = self.input.reread_advice();
                    block
                        .problems
                        .push(self.problem(at, format!("read failed: {error}"), &advice));
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
                block.problems.push(self.broken(at, why.to_owned()));
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
            block.problems.push(self.broken(at, why));
        }
    }

    /// What is left when the file ends: nothing, or a record that is cut.
    fn tail(&self, left: usize, at: u64, problems: &mut Vec<Problem>) {
        let nothing_came = problems.is_empty() && self.format.is_none();
        if nothing_came && left == 0 {
            problems.push(self.broken(0, "the file is empty".to_owned()));
        } else if left > 0 && problems.is_empty() {
            let why = format!("the file ends inside a record: its last {left} bytes are not read");
            problems.push(self.broken(at, why));
        }
    }

    /// The capture itself is broken at `offset`.
    fn broken(&self, offset: u64, reason: String) -> Problem {
        if self.packets == 0 && offset < 24 {
            let remedy = "give a pcap or pcapng file, plain or compressed with gzip, zstd or bzip2";
            return Problem {
                input: Some(self.input.id),
                offset,
                reason,
                remedy: remedy.to_owned(),
            };
        }
        self.problem(offset, reason, &self.input.repair_advice())
    }

    fn problem(&self, offset: u64, reason: String, advice: &str) -> Problem {
        Problem {
            input: Some(self.input.id),
            offset,
            reason,
            remedy: format!("everything before this offset is judged; {advice}"),
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

/// A word in the file's byte order; 0 past the end.
pub(super) fn word(bytes: &[u8], at: usize, big_endian: bool) -> u32 {
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
