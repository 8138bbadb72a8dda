//! Records that wait for an output, on the disk, within a bound.
//!
//! A folder of segments, files named by the number of their first record. A record is whole or not there: its digest is
//! checked before it is believed. Nothing is written into a segment of an earlier start, so a torn end stays where it
//! is. `cursor` says up to which number all is done; it is replaced whole. Who is killed between a delivery and the
//! cursor delivers again, under the same id; nothing is lost that was once written. When the folder is full the oldest
//! segment goes, and is counted.

mod segment;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use segment::{Place, Segment};

const CURSOR: &str = "cursor";
/// A longer record is not kept.
pub const RECORD_BYTES_MAX: usize = 8 << 20;

/// Where in the journal a record came from: the number of the frame, and which of its records. A record that is not
/// behind the last one was kept before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mark {
    /// The frame.
    pub frame: u64,
    /// The record of it.
    pub index: u32,
}

/// How much a spool may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolLimits {
    /// Bytes of the folder.
    pub bytes_max: u64,
    /// Bytes of a segment, give or take one record.
    pub segment_bytes_max: u64,
}

impl SpoolLimits {
    /// So many bytes, in 16 segments.
    pub fn of(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            segment_bytes_max: (bytes_max / 16).max(1),
        }
    }
}

impl Default for SpoolLimits {
    /// 64 MiB.
    fn default() -> Self {
        Self::of(64 << 20)
    }
}

/// What became of records, over all starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Delivered.
    pub delivered: u64,
    /// Taken away to stay within the bound.
    pub dropped: u64,
    /// Will never be taken, or too large.
    pub refused: u64,
    /// Damaged on the disk.
    pub damaged: u64,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Cursor {
    done: u64,
    mark: Mark,
    totals: Totals,
}

/// The waiting records of one output.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    limits: SpoolLimits,
    segments: VecDeque<Segment>,
    /// The last segment, open for writing.
    writer: Option<File>,
    waiting: VecDeque<Place>,
    cursor: Cursor,
    next: u64,
}

impl Spool {
    /// Goes on with the spool in `dir`, or begins one.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(dir: &Path, limits: SpoolLimits) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        // One that cannot be read is as none: what is there is delivered again.
        let text = fs::read(dir.join(CURSOR)).unwrap_or_default();
        let mut cursor: Cursor = serde_json::from_slice(&text).unwrap_or_default();
        let mut segments = VecDeque::new();
        let mut waiting = VecDeque::new();
        let mut next = cursor.done + 1;
        for found in segment::list(dir)? {
            let scan = segment::scan(dir, found)?;
            cursor.totals.damaged += scan.damaged;
            for (place, mark) in scan.places {
                cursor.mark = cursor.mark.max(mark);
                next = next.max(place.number + 1);
                if place.number > cursor.done {
                    waiting.push_back(place);
                }
            }
            segments.push_back(scan.segment);
        }
        let mut spool = Self {
            dir: dir.to_path_buf(),
            limits,
            segments,
            writer: None,
            waiting,
            cursor,
            next,
        };
        spool.take_away_done()?;
        Ok(spool)
    }

    /// Keeps a record; `false` when it was kept before. In the hands of the system then; [`Self::sync`] puts it on
    /// the disk.
    ///
    /// # Errors
    /// When it cannot be written; nothing of it is left then.
    pub fn append(&mut self, mark: Mark, payload: &[u8]) -> io::Result<bool> {
        if mark <= self.cursor.mark {
            return Ok(false);
        }
        let frame = segment::encode(self.next, mark, payload);
        if payload.len() > RECORD_BYTES_MAX || frame.len() as u64 > self.limits.bytes_max {
            self.cursor.totals.refused += 1;
            self.cursor.mark = mark;
            self.save()?;
            return Ok(true);
        }
        self.make_room(frame.len() as u64)?;
        let is_full = self
            .segments
            .back()
            .is_none_or(|last| last.bytes >= self.limits.segment_bytes_max);
        if self.writer.is_none() || is_full {
            self.begin()?;
        }
        let (Some(file), Some(last)) = (&mut self.writer, self.segments.back_mut()) else {
            return Ok(false);
        };
        if let Err(error) = file.write_all(&frame) {
            // What is half there must not hide what comes behind it.
            if file.set_len(last.bytes).is_err() {
                self.writer = None;
            }
            return Err(error);
        }
        self.waiting.push_back(Place {
            number: self.next,
            segment: last.first,
            at: last.bytes,
            len: frame.len() as u64,
        });
        last.bytes += frame.len() as u64;
        self.next += 1;
        self.cursor.mark = mark;
        Ok(true)
    }

    /// Waits until what was written is on the disk.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn sync(&mut self) -> io::Result<()> {
        self.writer.as_ref().map_or(Ok(()), File::sync_data)
    }

    /// The oldest waiting records with their numbers: at most `count`, of about `bytes_max` in all, and at least one.
    /// What cannot be read is counted and passed over.
    ///
    /// # Errors
    /// When the cursor cannot be written.
    pub fn peek(&mut self, count: usize, bytes_max: usize) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let mut found = Vec::new();
        let mut bytes = 0;
        let mut at = 0;
        while let Some(place) = self.waiting.get(at) {
            if found.len() >= count || (bytes > 0 && bytes + place.len as usize > bytes_max) {
                break;
            }
            let Ok(payload) = segment::read(&self.dir, place) else {
                self.waiting.remove(at);
                self.cursor.totals.damaged += 1;
                continue;
            };
            bytes += payload.len();
            found.push((place.number, payload));
            at += 1;
        }
        if found.is_empty() && self.cursor.done + 1 < self.next && self.waiting.is_empty() {
            self.cursor.done = self.next - 1;
            self.save()?;
            self.take_away_done()?;
        }
        Ok(found)
    }

    /// Everything up to this number is done: the last of it delivered, or refused.
    ///
    /// # Errors
    /// When that cannot be written: it is delivered again after the next start.
    pub fn done(&mut self, number: u64, was_refused: bool) -> io::Result<()> {
        let mut count = 0;
        while self
            .waiting
            .front()
            .is_some_and(|place| place.number <= number)
        {
            self.waiting.pop_front();
            count += 1;
        }
        if was_refused && count > 0 {
            self.cursor.totals.refused += 1;
            count -= 1;
        }
        self.cursor.totals.delivered += count;
        self.cursor.done = self.cursor.done.max(number);
        self.save()?;
        self.take_away_done()
    }

    /// The last record that was kept.
    pub fn mark(&self) -> Mark {
        self.cursor.mark
    }

    /// What became of records.
    pub fn totals(&self) -> Totals {
        self.cursor.totals
    }

    /// Records that wait, and their bytes.
    pub fn waiting(&self) -> (u64, u64) {
        let bytes = self.waiting.iter().map(|place| place.len).sum();
        (self.waiting.len() as u64, bytes)
    }

    fn begin(&mut self) -> io::Result<()> {
        let fresh = Segment {
            first: self.next,
            bytes: 0,
        };
        let path = segment::path(&self.dir, fresh.first);
        let file = File::options().append(true).create(true).open(path)?;
        // What lies there has no whole record: a segment is named by its first.
        file.set_len(0)?;
        if self
            .segments
            .back()
            .is_some_and(|last| last.first == fresh.first)
        {
            self.segments.pop_back();
        }
        self.segments.push_back(fresh);
        self.writer = Some(file);
        Ok(())
    }

    /// Takes the oldest segments away until `bytes` more have room.
    fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        loop {
            let held: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
            if held + bytes <= self.limits.bytes_max {
                return Ok(());
            }
            let Some(oldest) = self.segments.pop_front() else {
                return Ok(());
            };
            let before = self.waiting.len();
            self.waiting.retain(|place| place.segment != oldest.first);
            self.cursor.totals.dropped += (before - self.waiting.len()) as u64;
            if self.segments.is_empty() {
                self.writer = None;
            }
            let first = self.waiting.front().map_or(self.next, |place| place.number);
            self.cursor.done = self.cursor.done.max(first - 1);
            self.save()?;
            segment::remove(&self.dir, oldest.first)?;
        }
    }

    /// Takes away the segments of which nothing waits, but for the one that is written.
    fn take_away_done(&mut self) -> io::Result<()> {
        let needed = self.waiting.front().map(|place| place.segment);
        while let Some(oldest) = self.segments.front() {
            let is_written = self.segments.len() == 1 && self.writer.is_some();
            if is_written || needed == Some(oldest.first) {
                return Ok(());
            }
            segment::remove(&self.dir, oldest.first)?;
            self.segments.pop_front();
        }
        Ok(())
    }

    fn save(&self) -> io::Result<()> {
        let fresh = self.dir.join("cursor.new");
        fs::write(&fresh, serde_json::to_vec(&self.cursor)?)?;
        fs::rename(fresh, self.dir.join(CURSOR))
    }
}

#[cfg(test)]
mod tests;
