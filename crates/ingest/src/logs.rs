//! Logs: one record a line. A [`LogSource`] reads lines, has a decoder make events of them, and puts
//! the events in order of time. What decoders must not do: keep anything unbounded, or fail a file
//! for a line.

pub(crate) mod alerts;
pub(crate) mod eve;
pub(crate) mod lines;
mod names;
mod record;
pub(crate) mod syslog;
pub(crate) mod zeek;

use serde_json::Value;
use thymus_schema::{Coverage, Event, EventId, InputId};

use crate::error::IngestError;
use crate::input::Input;
use crate::ledger::Problem;
use crate::reorder::Reorder;
use crate::source::{Lane, Source};
use lines::{Line, Lines};
pub(crate) use record::{ACK, FIN, RST, Records, SYN, Wanted, state_by_flags};

/// Lines read before control goes back to the merge.
const BATCH_LINES: usize = 1024;
/// Where the number of a record's second event begins: ids stay unique and the lower part is the
/// line's number, counted from 0.
pub(crate) const PART_SHIFT: u32 = 48;

/// What a line was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// Header, footer or blank.
    Nothing,
    /// A record that became events.
    Used,
    /// A record of a kind that is not used, by reason.
    Unused(&'static str),
    /// Not a record, by reason.
    Broken(&'static str),
}

/// Makes events of lines.
pub(crate) trait Decoder: Send {
    /// Reads one line and puts what it says into `records`.
    fn line(&mut self, line: &[u8], records: &mut Records) -> Decoded;

    /// The file has ended: what was held back goes into `records`.
    fn finish(&mut self, _records: &mut Records) {}

    /// What it needs to go on in the middle of the file in another process; null when nothing.
    fn keep(&self) -> Value {
        Value::Null
    }

    /// Takes back what [`Self::keep`] gave. What does not fit is left out.
    fn restore(&mut self, _kept: &Value) {}
}

/// One log file.
pub(crate) struct LogSource {
    id: InputId,
    reread_advice: String,
    lines: Lines,
    decoder: Box<dyn Decoder>,
    records: Records,
    reorder: Reorder,
    coverage: Coverage,
    problems: Vec<Problem>,
    line: u64,
    broken_seen: bool,
    ended: bool,
}

impl LogSource {
    /// Opens `input`; a file that has vanished since it was identified gives no events and a problem.
    pub(crate) fn open(input: &Input, decoder: Box<dyn Decoder>) -> Self {
        let mut problems = Vec::new();
        let lines = match input.open() {
            Ok(reader) => Lines::new(reader),
            Err(error) => {
                problems.push(Problem {
                    input: Some(input.id),
                    offset: 0,
                    reason: format!("cannot open file: {error}"),
                    remedy: "check that it is still there and may be read".to_owned(),
                });
                Lines::empty()
            }
        };
        Self {
            id: input.id,
            reread_advice: input.reread_advice(),
            lines,
            decoder,
            records: Records::default(),
            reorder: Reorder::default(),
            coverage: Coverage::default(),
            problems,
            line: 0,
            broken_seen: false,
            ended: false,
        }
    }

    /// A lane per input, each opened when the replay comes to its first record.
    pub(crate) fn lanes(
        inputs: Vec<Input>,
        decoder: impl Fn(&Input) -> Box<dyn Decoder>,
    ) -> Vec<Lane> {
        let lane = |input: Input| {
            let decoder = decoder(&input);
            Lane {
                first: input.first.unwrap_or(thymus_schema::Timestamp::MIN),
                open: Box::new(
                    move || Ok(Box::new(Self::open(&input, decoder)) as Box<dyn Source>),
                ),
            }
        };
        inputs.into_iter().map(lane).collect()
    }

    fn decoded(&mut self, decoded: Decoded, offset: u64) {
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
                self.coverage.drop_for(reason, 1);
                if !self.broken_seen {
                    self.broken_seen = true;
                    self.problems.push(Problem {
                        input: Some(self.id),
                        offset,
                        reason: format!("line {}: {}", self.line + 1, reason.replace('_', " ")),
                        remedy: "the line was left out; check how the log was written or copied"
                            .to_owned(),
                    });
                }
            }
        }
        let records = self.records.take();
        for (part, record) in records.enumerate() {
            let index = self.line | ((part as u64) << PART_SHIFT);
            let id = EventId {
                input: self.id,
                index,
            };
            self.reorder.push(Event {
                id,
                ts: record.ts,
                conn: record.conn,
                body: record.body,
            });
        }
    }
}

impl Source for LogSource {
    fn next_batch(&mut self, out: &mut Vec<Event>) -> Result<bool, IngestError> {
        if self.ended {
            return Ok(false);
        }
        for _ in 0..BATCH_LINES {
            let offset = self.lines.offset();
            match self.lines.next() {
                Line::Text(line) => {
                    let decoded = self.decoder.line(line, &mut self.records);
                    self.decoded(decoded, offset);
                }
                Line::TooLong => self.decoded(Decoded::Broken("line_too_long"), offset),
                Line::Error(error) => {
                    self.problems.push(Problem {
                        input: Some(self.id),
                        offset,
                        reason: format!("cannot read on: {error}"),
                        remedy: format!(
                            "everything before this offset was read; {}",
                            self.reread_advice
                        ),
                    });
                    self.coverage.drop_for("truncated_input", 1);
                    self.ended = true;
                }
                Line::End => self.ended = true,
            }
            if self.ended {
                break;
            }
            self.line += 1;
        }
        if self.ended {
            self.decoder.finish(&mut self.records);
            self.decoded(Decoded::Nothing, self.lines.offset());
        }
        self.reorder.release(self.ended, out);
        Ok(!self.ended)
    }

    fn coverage(&self) -> Coverage {
        let mut coverage = self.coverage.clone();
        coverage.bytes = self.lines.offset();
        coverage.drop_for("late_record", self.reorder.late);
        coverage
    }

    fn bytes_done(&self) -> u64 {
        self.lines.bytes_done()
    }

    fn take_problems(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.problems)
    }
}
