//! Events on disk: Parquet parts by hour, which any tool reads, and SQL over them.
//!
//! [`Archive`] is the one writer. It takes the frames of the journal in order and writes a part when
//! enough events wait or they waited long enough; until then the journal still has them, and a frame
//! that is fed again is recognised by its number. Small parts of an hour are merged. The oldest parts
//! go when there are too many bytes, when they are too old, or when the disk is nearly full; when not
//! even that gives room, events are shed and counted, and everything else goes on.
//!
//! [`ArchiveReader`] reads what lies there, also while it is written, and answers SQL
//! ([`ArchiveReader::query`]).

mod buffer;
mod cells;
mod error;
mod folder;
mod merge;
mod part;
pub mod query;
mod retain;
mod rows;
mod tables;
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thymus_schema::{Event, Timestamp};

pub use error::ArchiveError;
pub use query::{ArchiveReader, QueryError, QueryLimits, QueryResult};
pub use tables::{COMMON, Column, ColumnType, TABLES, Table};

use buffer::Buffer;
use folder::Known;
use part::{FORMAT, PartInfo, PartMeta, PartName};

/// How much is kept, and when what waits is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// Bytes of all parts; the oldest go first.
    pub bytes_max: u64,
    /// How old a part may become; `None` for no bound.
    pub age_max: Option<Duration>,
    /// Bytes to leave free on the disk; the oldest parts go first.
    pub free_min: u64,
    /// Events that may wait for a part.
    pub buffered_max: usize,
    /// About how many bytes they may take.
    pub buffered_bytes_max: usize,
    /// How long an event waits at most.
    pub flush_after: Duration,
    /// Rows of the largest part that a merge makes.
    pub part_rows_max: u64,
}

impl Default for ArchiveLimits {
    fn default() -> Self {
        Self {
            bytes_max: 20 << 30,
            age_max: Some(Duration::from_hours(90 * 24)),
            free_min: 512 << 20,
            buffered_max: 100_000,
            buffered_bytes_max: 64 << 20,
            flush_after: Duration::from_secs(10),
            part_rows_max: 500_000,
        }
    }
}

/// How an archive stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ArchiveStatus {
    /// Parts that can be read.
    pub parts: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their events.
    pub events: u64,
    /// The earliest event.
    pub oldest: Option<Timestamp>,
    /// The latest event.
    pub newest: Option<Timestamp>,
    /// Events that wait for a part.
    pub buffered: u64,
    /// Events that were not kept because there was no room.
    pub shed_events: u64,
    /// Why the last part was not written; `None` when it was.
    pub shedding: Option<String>,
    /// Events that went because of the bounds on bytes, age and free room.
    pub expired_events: u64,
    /// Parts that cannot be read, with the reason.
    pub damaged: Vec<(PathBuf, String)>,
    /// All events up to this frame of the journal are in parts.
    pub last_seq: u64,
}

/// Keeps every part of the archive in `dir` from going away as long as the value lives.
pub(crate) fn hold(dir: &Path) -> Option<File> {
    folder::lock_reader(dir)
}

/// The one that writes events.
#[derive(Debug)]
pub struct Archive {
    dir: PathBuf,
    limits: ArchiveLimits,
    /// Held, not used: the lock goes with it, also when the process is killed.
    _lock: File,
    known: Arc<Known>,
    parts: BTreeMap<PartName, Arc<PartInfo>>,
    /// Files whose rows are in another part, and those that could not be removed yet.
    doomed: Vec<PathBuf>,
    damaged: Vec<(PathBuf, String)>,
    waiting: BTreeMap<i64, Buffer>,
    waiting_bytes: usize,
    waiting_since: Option<Timestamp>,
    /// The first frame that waits, and the last that was taken.
    seq_from: Option<u64>,
    seq_seen: u64,
    seq_done: u64,
    /// The last frame of which something lay in a part when the archive was opened.
    seq_found: u64,
    shed_events: u64,
    shedding: Option<String>,
    expired_events: u64,
}

impl Archive {
    /// Where the events of a state folder lie.
    pub fn folder(state: &Path) -> PathBuf {
        state.join("store").join("events")
    }

    /// Opens the archive in `dir`, making it where it is missing, and locks it.
    ///
    /// # Errors
    /// When the folder cannot be made or read, or another instance writes to it. A part that cannot
    /// be read is no error: it is in the status.
    pub fn open(dir: &Path, limits: ArchiveLimits) -> Result<Self, ArchiveError> {
        let lock = folder::lock_writer(dir)?;
        folder::prepare_readers(dir)?;
        drop(std::fs::remove_file(dir.join(write::UNFINISHED)));
        let known = Arc::new(Known::default());
        let listing = known.list(dir, |_| true)?;
        let from_parts = listing.parts.values().map(|info| info.meta.seq_done).max();
        let seq_done = from_parts.unwrap_or(0).max(retain::read_position(dir));
        let seq_found = listing.parts.values().map(|info| info.meta.seq_last).max();
        let mut archive = Self {
            dir: dir.to_path_buf(),
            limits,
            _lock: lock,
            known,
            parts: listing.parts,
            doomed: listing.replaced.into_iter().map(|(_, path)| path).collect(),
            damaged: listing.damaged,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            waiting_since: None,
            seq_from: None,
            seq_seen: seq_done,
            seq_done,
            seq_found: seq_found.unwrap_or(0),
            shed_events: 0,
            shedding: None,
            expired_events: 0,
        };
        archive.remove_doomed();
        Ok(archive)
    }

    /// All events up to this frame are in parts: the journal is to be fed from the next one on.
    pub fn last_seq(&self) -> u64 {
        self.seq_done
    }

    /// Takes the events of the frame `seq`. A frame that was taken before is passed over, also when
    /// that was before a crash. Frames come in order; those without events may be left out.
    ///
    /// # Errors
    /// When a part was due and could not be written for another reason than a full disk. The events
    /// are then counted as shed, and the next frame may be taken.
    pub fn append(&mut self, seq: u64, events: &[Event]) -> Result<(), ArchiveError> {
        if seq <= self.seq_seen {
            return Ok(());
        }
        self.seq_seen = seq;
        self.seq_from.get_or_insert(seq);
        for event in events {
            let hour = event.ts.as_secs().div_euclid(3_600);
            if seq > self.seq_found || !self.has(hour, seq) {
                self.waiting_bytes += self.waiting.entry(hour).or_default().push(event);
            }
        }
        let is_due = self.waiting_rows() >= self.limits.buffered_max
            || self.waiting_bytes >= self.limits.buffered_bytes_max;
        if is_due { self.flush() } else { Ok(()) }
    }

    /// Whether the events of the frame `seq` in `hour` are in a part. Only frames after a crash in
    /// the middle of several parts can be.
    fn has(&self, hour: i64, seq: u64) -> bool {
        let from = PartName { hour, number: 0 };
        let to = PartName {
            hour,
            number: u32::MAX,
        };
        self.parts
            .range(from..=to)
            .any(|(_, info)| (info.meta.seq_first..=info.meta.seq_last).contains(&seq))
    }

    fn waiting_rows(&self) -> usize {
        self.waiting.values().map(Buffer::rows).sum()
    }

    /// Does what is due at the time `now`: writes what waited long enough, merges, removes.
    ///
    /// # Errors
    /// As for [`Self::append`].
    pub fn tick(&mut self, now: Timestamp) -> Result<(), ArchiveError> {
        let mut result = Ok(());
        if self.waiting.is_empty() {
            self.waiting_since = None;
        } else {
            let since = *self.waiting_since.get_or_insert(now);
            // A clock that goes back must not hold events back.
            if now < since || now.since(since) >= self.limits.flush_after {
                result = self.flush();
            }
        }
        let merged = self.merge_some(now);
        self.retain(now);
        result.and(merged)
    }

    /// Writes what waits, one part an hour.
    ///
    /// # Errors
    /// As for [`Self::append`].
    pub fn flush(&mut self) -> Result<(), ArchiveError> {
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        self.waiting_since = None;
        let Some(seq_first) = self.seq_from.take() else {
            return Ok(());
        };
        let hours = waiting.len();
        let mut result = Ok(());
        self.shedding = None;
        for (at, (hour, buffer)) in waiting.into_iter().enumerate() {
            let is_last = at + 1 == hours;
            let meta = PartMeta {
                format: FORMAT,
                seq_first,
                seq_last: self.seq_seen,
                seq_done: if is_last {
                    self.seq_seen
                } else {
                    self.seq_done
                },
                kinds: buffer.layout(),
                replaces: Vec::new(),
                digests: Vec::new(),
            };
            if let Err(error) = self.publish(hour, &meta, &buffer) {
                self.shed_events += buffer.rows() as u64;
                self.shedding = Some(error.to_string());
                if !error.is_full() {
                    result = Err(error);
                }
            }
        }
        self.seq_done = self.seq_seen;
        result
    }

    /// Writes a part; when the disk is full, the oldest parts give way to it.
    fn publish(&mut self, hour: i64, meta: &PartMeta, buffer: &Buffer) -> Result<(), ArchiveError> {
        const TRIES: usize = 4;
        for _ in 1..TRIES {
            let name = self.next_name(hour);
            match write::write(&self.dir, name, meta, &mut buffer.rows_source()) {
                Ok(_) => return self.admit(name),
                Err(error) if error.is_full() && self.make_room(hour) => {}
                Err(error) => return Err(error),
            }
        }
        let name = self.next_name(hour);
        write::write(&self.dir, name, meta, &mut buffer.rows_source())?;
        self.admit(name)
    }

    fn next_name(&self, hour: i64) -> PartName {
        let last = PartName {
            hour,
            number: u32::MAX,
        };
        let latest = self.parts.range(..=last).next_back().map(|(name, _)| *name);
        let mut number = latest
            .filter(|name| name.hour == hour)
            .map_or(0, |name| name.number + 1);
        // A damaged or replaced part keeps its name.
        while (PartName { hour, number }).path(&self.dir).exists() {
            number += 1;
        }
        PartName { hour, number }
    }

    fn admit(&mut self, name: PartName) -> Result<(), ArchiveError> {
        let info = PartInfo::read(name, &name.path(&self.dir))?;
        self.parts.insert(name, Arc::new(info));
        Ok(())
    }

    /// Merges the parts that are most worth it, at most so many that it takes a few seconds.
    fn merge_some(&mut self, now: Timestamp) -> Result<(), ArchiveError> {
        let hour_now = now.as_secs().div_euclid(3_600);
        let newest = self
            .parts
            .keys()
            .next_back()
            .map_or(hour_now, |name| name.hour);
        let is_over = |hour: i64| hour < newest && hour < hour_now;
        let Some(run) = merge::choose(self.parts.values(), is_over, self.limits.part_rows_max)
        else {
            return Ok(());
        };
        let Some(first) = run.first() else {
            return Ok(());
        };
        let name = self.next_name(first.name.hour);
        match merge::merge(&self.dir, name, &run) {
            Ok(()) => {}
            // Merging is only tidiness.
            Err(error) if error.is_full() => return Ok(()),
            Err(error @ (ArchiveError::Damaged { .. } | ArchiveError::Newer { .. })) => {
                self.set_damaged_apart(&run, &error);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        self.admit(name)?;
        for info in run {
            self.parts.remove(&info.name);
            self.doomed.push(info.path.clone());
        }
        self.remove_doomed();
        Ok(())
    }

    /// Takes the part that an error names out of what counts, so that it is not met again and again.
    fn set_damaged_apart(&mut self, run: &merge::Run, error: &ArchiveError) {
        let (ArchiveError::Damaged { path, .. } | ArchiveError::Newer { path, .. }) = error else {
            return;
        };
        if let Some(info) = run.iter().find(|info| info.path == *path) {
            self.parts.remove(&info.name);
            self.damaged.push((path.clone(), error.to_string()));
        }
    }

    /// How it stands.
    pub fn status(&self) -> ArchiveStatus {
        let kinds = || self.parts.values().flat_map(|info| &info.meta.kinds);
        ArchiveStatus {
            parts: self.parts.len() as u64,
            bytes: self.parts.values().map(|info| info.bytes).sum(),
            events: kinds().map(|kind| kind.rows).sum(),
            oldest: kinds().map(|kind| kind.ts_min).min().map(from_micros),
            newest: kinds().map(|kind| kind.ts_max).max().map(from_micros),
            buffered: self.waiting_rows() as u64,
            shed_events: self.shed_events,
            shedding: self.shedding.clone(),
            expired_events: self.expired_events,
            damaged: self.damaged.clone(),
            last_seq: self.seq_done,
        }
    }
}

/// Parts keep microseconds, as most that read Parquet know no finer ones; the JSON keeps all.
fn from_micros(micros: i64) -> Timestamp {
    Timestamp::from_nanos(micros.saturating_mul(1_000))
}

impl Drop for Archive {
    /// What waits is written; where that fails, the journal still has it.
    fn drop(&mut self) {
        drop(self.flush());
    }
}
