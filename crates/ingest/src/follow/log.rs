//! One log: what was written under one name, through all rotations of it. Its reader goes on from file
//! to file, so a rotation is not seen in what it gives.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thymus_schema::{Coverage, Event, EventId, InputId, LocalNetworks, Timestamp};

use super::tail::{Piece, Place};
use super::window::{Clock, Held, Window};
use crate::input::Input;
use crate::local::Evidence;
use crate::logs::zeek::Certificates;
use crate::logs::{Decoded, Decoder, PART_SHIFT, Records, alerts, eve, syslog, zeek};
use crate::source::{Head, SourceSpec};

/// The kinds of logs that are followed, asked in this order.
const KINDS: &[&SourceSpec] = &[&zeek::SPEC, &eve::SPEC, &alerts::SPEC, &syslog::SPEC];

/// What the readers of all logs share.
pub(super) struct Shared {
    pub(super) local: LocalNetworks,
    pub(super) certificates: Arc<Mutex<Certificates>>,
}

/// Which log it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Format {
    /// Id of its source kind.
    pub(super) kind: String,
    /// As the source kind calls it.
    pub(super) name: String,
}

impl Format {
    /// Recognises a log by its first bytes, and tells the time of its first record where it can.
    pub(super) fn sniff(path: &Path, bytes: &[u8]) -> Option<(Self, Option<Timestamp>)> {
        let head = Head { path, bytes };
        KINDS.iter().find_map(|spec| {
            let sniffed = (spec.sniff)(&head)?;
            let format = Self {
                kind: spec.id.to_owned(),
                name: sniffed.format,
            };
            Some((format, sniffed.first))
        })
    }

    /// Adds what the first records say about which addresses are local.
    pub(super) fn look(&self, mut input: Input, evidence: &mut Evidence) {
        input.format.clone_from(&self.name);
        if let Some(spec) = KINDS.iter().find(|spec| spec.id == self.kind) {
            (spec.look)(&input, evidence);
        }
    }

    fn decoder(&self, path: &Path, shared: &Shared) -> Box<dyn Decoder> {
        match self.kind.as_str() {
            "zeek" => zeek::decoder(&self.name, &shared.local, &shared.certificates),
            "eve" => eve::decoder(&shared.local),
            "syslog" => syslog::decoder(path),
            _ => alerts::decoder(&self.name, path, &shared.local),
        }
    }

    /// Whether its records are certificates that other logs ask for.
    pub(super) fn is_certificates(&self) -> bool {
        self.kind == "zeek" && self.name.split(' ').next() == Some("x509")
    }

    /// The lines a reader must have seen to go on in the middle, among the first bytes of the file.
    fn preamble(&self, line: &[u8], number: usize) -> bool {
        line.starts_with(b"#") || (self.name == "table" && number == 0)
    }
}

/// What happened to one log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowCounters {
    /// Lines read, headers and blank ones among them.
    pub lines: u64,
    /// Lines that are no record.
    pub bad: u64,
    /// Bytes that were seen to be written and could not be read before they were gone; what was
    /// written and removed between two looks is not in it.
    pub lost_bytes: u64,
    /// Lines of which only a part was there when their file was cut.
    pub lost_lines: u64,
    /// Times its file was put aside and a new one begun.
    pub rotations: u64,
    /// Times its file was cut or its content replaced.
    pub cuts: u64,
}

impl FollowCounters {
    /// Adds another log's.
    pub fn add(&mut self, other: &Self) {
        self.lines += other.lines;
        self.bad += other.bad;
        self.lost_bytes += other.lost_bytes;
        self.lost_lines += other.lost_lines;
        self.rotations += other.rotations;
        self.cuts += other.cuts;
    }
}

/// What the position file keeps of a log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct KeptLog {
    pub(super) number: u32,
    name: String,
    path: PathBuf,
    format: Format,
    generations: u64,
    clock: Clock,
    coverage: Coverage,
    counters: FollowCounters,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    cut: Vec<u8>,
    decoder: Value,
}

/// One log.
pub(super) struct Log {
    pub(super) number: u32,
    /// Number of the followed path, and its name below.
    pub(super) name: String,
    /// Where it is written.
    pub(super) path: PathBuf,
    pub(super) format: Format,
    pub(super) clock: Clock,
    pub(super) coverage: Coverage,
    pub(super) counters: FollowCounters,
    /// The beginning of a line with which a copy ended, while what it goes on in is not there yet.
    pub(super) cut: Vec<u8>,
    generations: u64,
    decoder: Box<dyn Decoder>,
    records: Records,
}

impl Log {
    pub(super) fn new(
        number: u32,
        name: &str,
        path: &Path,
        format: Format,
        shared: &Shared,
    ) -> Self {
        Self {
            number,
            name: name.to_owned(),
            path: path.to_path_buf(),
            clock: Clock::default(),
            coverage: Coverage::default(),
            counters: FollowCounters::default(),
            cut: Vec::new(),
            generations: 0,
            decoder: format.decoder(path, shared),
            records: Records::default(),
            format,
        }
    }

    pub(super) fn keep(&self) -> KeptLog {
        KeptLog {
            number: self.number,
            name: self.name.clone(),
            path: self.path.clone(),
            format: self.format.clone(),
            generations: self.generations,
            clock: self.clock,
            coverage: self.coverage.clone(),
            counters: self.counters,
            cut: self.cut.clone(),
            decoder: self.decoder.keep(),
        }
    }

    pub(super) fn restore(kept: KeptLog, shared: &Shared) -> Self {
        let mut log = Self::new(kept.number, &kept.name, &kept.path, kept.format, shared);
        log.generations = kept.generations;
        log.clock = kept.clock;
        log.coverage = kept.coverage;
        log.counters = kept.counters;
        log.cut = kept.cut;
        log.decoder.restore(&kept.decoder);
        log
    }

    /// The number of its next file, and the id of the events from there.
    pub(super) fn next_file(&mut self) -> (u64, InputId) {
        let generation = self.generations;
        self.generations += 1;
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"followed");
        hasher.update(self.name.as_bytes());
        hasher.update(&generation.to_le_bytes());
        let digest = hasher.finalize();
        let first = digest.as_bytes().first_chunk::<8>().copied();
        let id = InputId(u64::from_le_bytes(first.unwrap_or_default()));
        (generation, id)
    }

    /// The log has another format from here on.
    pub(super) fn change(
        &mut self,
        format: &Format,
        id: InputId,
        window: &mut Window,
        out: &mut Vec<Event>,
        shared: &Shared,
    ) {
        if self.format == *format {
            return;
        }
        self.finish(id, window, out);
        self.format = format.clone();
        self.decoder = format.decoder(&self.path, shared);
    }

    /// Reads what stands before the place where reading begins, for what later lines mean.
    pub(super) fn preamble(&mut self, head: &[u8]) {
        let lines = head.split(|byte| *byte == b'\n').enumerate();
        for (_, line) in lines.take_while(|(number, line)| self.format.preamble(line, *number)) {
            self.decoder.line(line, &mut self.records);
        }
        self.records.take();
    }

    /// Reads a line for what it teaches, without making events of it.
    pub(super) fn relearn(&mut self, line: &[u8]) {
        self.decoder.line(line, &mut self.records);
        self.records.take();
        self.records.take_reached();
    }

    /// Reads a line.
    pub(super) fn line(
        &mut self,
        place: &Place,
        piece: Piece<'_>,
        window: &mut Window,
        out: &mut Vec<Event>,
    ) {
        let decoded = match piece {
            Piece::TooLong => Decoded::Broken("line_too_long"),
            Piece::Line(carry, line) if carry.is_empty() => {
                self.decoder.line(line, &mut self.records)
            }
            Piece::Line(carry, line) => self.joined(carry, line),
        };
        self.decoded(decoded, place.id, place.line, window, out);
    }

    /// The first line of a file that was cut: it may be the rest of the last one before, and it may be
    /// a line of its own.
    fn joined(&mut self, mut carry: Vec<u8>, line: &[u8]) -> Decoded {
        let len = carry.len();
        carry.extend_from_slice(line);
        let whole = self.decoder.line(&carry, &mut self.records);
        if !matches!(whole, Decoded::Broken(_)) {
            return whole;
        }
        let before = carry.get(..len).unwrap_or_default();
        let first = self.decoder.line(before, &mut self.records);
        if matches!(first, Decoded::Broken(_)) {
            self.counters.lost_lines += 1;
        }
        self.decoder.line(line, &mut self.records)
    }

    fn decoded(
        &mut self,
        decoded: Decoded,
        id: InputId,
        line: u64,
        window: &mut Window,
        out: &mut Vec<Event>,
    ) {
        self.counters.lines += 1;
        match decoded {
            Decoded::Nothing => {}
            Decoded::Used => {
                self.coverage.records += 1;
                self.coverage.records_judged += 1;
            }
            Decoded::Unused(reason) => {
                self.coverage.records += 1;
                self.coverage.drop_for(reason, 1);
            }
            Decoded::Broken(reason) => {
                self.coverage.records += 1;
                self.counters.bad += 1;
                self.coverage.drop_for(reason, 1);
            }
        }
        self.emit(id, line, window, out);
    }

    fn emit(&mut self, id: InputId, line: u64, window: &mut Window, out: &mut Vec<Event>) {
        if let Some(reached) = self.records.take_reached() {
            self.clock.tick(reached);
        }
        for (part, record) in self.records.take().enumerate() {
            let index = line | ((part as u64) << PART_SHIFT);
            let event = Event {
                id: EventId { input: id, index },
                ts: record.ts,
                conn: record.conn,
                body: record.body,
            };
            if self.clock.tick(event.ts) {
                let wants = record.wants;
                window.push(self.number, Held { event, wants });
            } else {
                window.pass(event, out);
            }
        }
    }

    /// A copy ended with `line`, and what it goes on in is not there yet: a record is a record, anything
    /// else waits for its rest.
    pub(super) fn last(
        &mut self,
        place: &Place,
        line: Vec<u8>,
        window: &mut Window,
        out: &mut Vec<Event>,
    ) {
        let decoded = self.decoder.line(&line, &mut self.records);
        if matches!(decoded, Decoded::Broken(_)) {
            self.cut = line;
        } else {
            self.decoded(decoded, place.id, place.line, window, out);
        }
    }

    /// Nothing goes on with what a copy ended with: it is a line.
    pub(super) fn rest(&mut self, id: InputId, window: &mut Window, out: &mut Vec<Event>) {
        let line = std::mem::take(&mut self.cut);
        if !line.is_empty() {
            let decoded = self.decoder.line(&line, &mut self.records);
            self.decoded(decoded, id, 0, window, out);
        }
    }

    /// Nothing more comes: what the reader held back becomes events.
    pub(super) fn finish(&mut self, id: InputId, window: &mut Window, out: &mut Vec<Event>) {
        self.decoder.finish(&mut self.records);
        // Behind every line a file can have.
        self.emit(id, (1 << PART_SHIFT) - 1, window, out);
    }
}
