//! Folders and files of logs, followed while they are written.
//!
//! A file is known by its inode and by its first bytes, not by its name. So one that is put aside is read
//! to its end before the next one is begun; one that is cut in place (`copytruncate`) is read from its
//! start again, and what was not read before the cut is taken from the copy, where one lies in the
//! followed folders; a copy or a compressed one of what was read is not read again. A line is read when
//! its end is there.
//!
//! [`Follow::poll`] never waits; [`Follow::wait`] waits without turning round, with inotify where the
//! kernel tells and by looking again where it does not. Events come in order of time: they are held back
//! for a bounded span of event time, as by the replay. Nothing here reads a clock; who has one may say
//! what time it is with [`Follow::advance`], so that the last events of a quiet hour do not wait for the
//! next ones.
//!
//! [`Follow::position`] is all that is needed to go on in another process without losing or doubling a
//! line: the places in the files, the events held back, and what the readers have in hand. Who keeps
//! state of their own must keep it together with the position, because the events handed out since then
//! come again.

mod folder;
mod log;
mod newcomer;
mod position;
mod scan;
mod tail;
mod wake;
mod window;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thymus_schema::{Coverage, Event, LocalNetworks, Timestamp};

use crate::error::IngestError;
use crate::local::Evidence;
use crate::logs::zeek::Certificates;
use folder::FileKey;
pub use log::FollowCounters;
use log::{Log, Shared};
use position::Past;
pub use position::Position;
use scan::Other;
use tail::{Packed, Tail};
use wake::Wake;
use window::Window;

/// Bytes read of one file before another has its turn.
const CHUNK_BYTES: usize = 256 * 1024;
/// Looks that must find a file unchanged before it counts as put aside for good.
const QUIET_LOOKS: u32 = 3;
/// Most files remembered by their first bytes after they were read or have gone.
const PAST_MAX: usize = 4_096;
/// Logs kept whose file has gone, because it may come back.
const IDLE_LOGS_MAX: usize = 1_024;
/// Certificates in the position file; older ones are read again from their logs.
const CERTIFICATES_KEPT: usize = 2_048;
/// Bytes of a certificate log that are read again after a restart.
const RELEARN_BYTES_MAX: u64 = 64 << 20;

/// Where to begin in files that are there when following begins for the first time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FollowFrom {
    /// At their beginning: what they hold is read first.
    #[default]
    Beginning,
    /// At their end: only what is written from now on is read.
    End,
}

/// How to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowOptions {
    /// The local networks as the user declared them; otherwise they are found in what is there.
    pub local: Option<LocalNetworks>,
    /// Where to begin.
    pub from: FollowFrom,
    /// Span of event time for which events are held back, so that late lines are put in order.
    pub window: Duration,
    /// How much.
    pub limits: FollowLimits,
}

impl Default for FollowOptions {
    fn default() -> Self {
        Self {
            local: None,
            from: FollowFrom::default(),
            // As the replay: sensors report an idle connection after five minutes.
            window: Duration::from_mins(5),
            limits: FollowLimits::default(),
        }
    }
}

/// How much is followed and held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowLimits {
    /// Most files in all folders.
    pub files_max: usize,
    /// Deepest folder below a named one.
    pub depth_max: usize,
    /// Most files kept open.
    pub open_max: usize,
    /// Most events held back.
    pub held_max: usize,
    /// Most bytes read in one [`Follow::poll`].
    pub poll_bytes_max: usize,
}

impl Default for FollowLimits {
    fn default() -> Self {
        Self {
            files_max: 20_000,
            depth_max: 16,
            open_max: 256,
            held_max: 131_072,
            poll_bytes_max: 4 << 20,
        }
    }
}

/// How one log is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowedLog {
    /// Where it is written.
    pub path: PathBuf,
    /// The log it is: `conn`, `eve`, …
    pub format: String,
    /// What happened to it.
    pub counters: FollowCounters,
    /// Time of its newest record.
    pub newest: Option<Timestamp>,
    /// Bytes that are there and not read yet.
    pub unread_bytes: u64,
}

impl FollowedLog {
    /// How many seconds reading lies behind `now`: 0 when all that is there was read.
    pub fn lag_secs(&self, now: Timestamp) -> f64 {
        match self.newest {
            Some(newest) if self.unread_bytes > 0 => now.secs_since(newest).max(0.0),
            _ => 0.0,
        }
    }
}

/// Logs that are followed.
pub struct Follow {
    roots: Vec<PathBuf>,
    options: FollowOptions,
    shared: Shared,
    logs: BTreeMap<u32, Log>,
    next_log: u32,
    tails: BTreeMap<FileKey, Tail>,
    others: BTreeMap<FileKey, Other>,
    past: VecDeque<Past>,
    window: Window,
    /// What time it is, as far as somebody said so.
    told: Option<Timestamp>,
    wake: Wake,
    rescan: bool,
    /// Files are there from before following began.
    first_scan: bool,
    /// What logs that are done with amounted to.
    closed: Coverage,
    closed_counters: FollowCounters,
    events: u64,
    problems: BTreeMap<PathBuf, String>,
    not_listed: u64,
    buffer: Vec<u8>,
}

impl Follow {
    /// Makes ready to follow everything behind `paths`, which need not be there yet, from `position` on
    /// or, without one, from where the options say.
    ///
    /// # Errors
    /// When no path is given.
    pub fn open(
        paths: &[PathBuf],
        options: FollowOptions,
        position: Option<Position>,
    ) -> Result<Self, IngestError> {
        if paths.is_empty() {
            return Err(IngestError::NoPaths);
        }
        let declared = options.local.clone();
        let known = position.as_ref().map(|position| position.local.clone());
        let local = declared
            .or(known)
            .unwrap_or_else(|| scan::find_local(paths, options.limits));
        let mut follow = Self {
            roots: paths.to_vec(),
            shared: Shared {
                local,
                certificates: Arc::new(Mutex::new(Certificates::followed())),
            },
            logs: BTreeMap::new(),
            next_log: 0,
            tails: BTreeMap::new(),
            others: BTreeMap::new(),
            past: VecDeque::new(),
            window: Window::new(options.limits.held_max),
            told: None,
            wake: Wake::new(),
            rescan: true,
            first_scan: position.is_none(),
            closed: Coverage::default(),
            closed_counters: FollowCounters::default(),
            events: 0,
            problems: BTreeMap::new(),
            not_listed: 0,
            buffer: vec![0; CHUNK_BYTES],
            options,
        };
        if let Some(position) = position {
            follow.restore(position);
        }
        Ok(follow)
    }

    /// The local networks, declared or found.
    pub fn local(&self) -> &LocalNetworks {
        &self.shared.local
    }

    /// Looks what has happened, reads, and appends the events whose time has come; whether there is more
    /// to read at once.
    pub fn poll(&mut self, out: &mut Vec<Event>) -> bool {
        let before = out.len();
        if self.rescan || self.restat(out) {
            self.scan(out);
        }

        // What a copy ends with may be the beginning of what comes next, which waits for it.
        let mut more = self.read(out);
        while self.settle(out) && !more {
            more = self.read(out);
        }

        let horizon = self.horizon();
        self.window.release(horizon, &self.shared.certificates, out);
        self.events += (out.len() - before) as u64;
        // Who polls without waiting looks at the folders each time.
        self.rescan = true;
        more
    }

    /// Waits at most `timeout` for something to happen. A second is a sensible timeout: where the kernel
    /// does not tell of changes, that is how often the folders are looked at.
    pub fn wait(&mut self, timeout: Duration) {
        self.rescan = self.wake.wait(timeout);
    }

    /// Whether the kernel tells of changes; otherwise they are found when a wait ends.
    pub const fn is_told_of_changes(&self) -> bool {
        self.wake.is_told()
    }

    /// Says what time it is: events older than the window need not wait for newer ones any longer.
    pub fn advance(&mut self, now: Timestamp) {
        self.told = self.told.max(Some(now));
    }

    /// Nothing more is written: appends all that was held back. What is there of last lines counts as
    /// whole.
    pub fn finish(&mut self, out: &mut Vec<Event>) {
        while self.poll(out) {}
        let before = out.len();
        let keys: Vec<FileKey> = self.tails.keys().copied().collect();
        for key in keys {
            self.end_tail(key, out);
        }
        for log in self.logs.values_mut() {
            let (_, id) = log.next_file();
            log.rest(id, &mut self.window, out);
            log.finish(id, &mut self.window, out);
        }
        let all = Some(Timestamp::MAX);
        self.window.release(all, &self.shared.certificates, out);
        self.events += (out.len() - before) as u64;
    }

    /// What was read so far and what was dropped.
    pub fn coverage(&self) -> Coverage {
        let mut coverage = self.closed.clone();
        for log in self.logs.values() {
            coverage.add(&log.coverage);
        }
        coverage.events = self.events;
        coverage.drop_for("late_record", self.window.late);
        coverage.drop_for("record_far_ahead", self.window.ahead);
        coverage.drop_for("window_full", self.window.crowded);
        coverage.drop_for("files_not_followed", self.not_listed);
        coverage.drop_for("bytes_lost", self.counters().lost_bytes);
        coverage.drop_for("lines_lost", self.counters().lost_lines);
        coverage
    }

    /// What happened to all logs together, those included that have gone.
    pub fn counters(&self) -> FollowCounters {
        let mut counters = self.closed_counters;
        for log in self.logs.values() {
            counters.add(&log.counters);
        }
        counters
    }

    /// How each log is doing that is followed now, in the order in which they were found.
    pub fn logs(&self) -> Vec<FollowedLog> {
        let mut logs: BTreeMap<u32, FollowedLog> = BTreeMap::new();
        for (number, log) in &self.logs {
            let followed = FollowedLog {
                path: log.path.clone(),
                format: log.format.name.clone(),
                counters: log.counters,
                newest: log.clock.newest(),
                unread_bytes: 0,
            };
            logs.insert(*number, followed);
        }
        for tail in self.tails.values().filter(|tail| tail.unread) {
            if let Some(log) = logs.get_mut(&tail.place.log) {
                // Of a compressed file only the size of what is left of the whole is known.
                log.unread_bytes += tail.place.size.saturating_sub(tail.place.read).max(1);
            }
        }
        logs.into_values().collect()
    }

    /// What cannot be read just now, and why.
    pub fn problems(&self) -> impl Iterator<Item = (&PathBuf, &str)> {
        self.problems.iter().map(|(path, why)| (path, why.as_str()))
    }

    /// Events held back.
    pub fn held(&self) -> usize {
        self.window.len()
    }

    /// All that is needed to go on in another process.
    pub fn position(&self) -> Position {
        Position {
            version: Position::VERSION,
            local: self.shared.local.clone(),
            next_log: self.next_log,
            logs: self.logs.values().map(Log::keep).collect(),
            files: self.tails.values().map(Tail::keep).collect(),
            past: self.past.iter().cloned().collect(),
            done: self.done(),
            window: self.window.keep(),

            certificates: self.certificates().last(CERTIFICATES_KEPT),
            told: self.told,
            closed: self.closed.clone(),
            closed_counters: self.closed_counters,
        }
    }

    fn restore(&mut self, position: Position) {
        self.next_log = position.next_log;
        for kept in position.logs {
            let log = Log::restore(kept, &self.shared);
            self.logs.insert(log.number, log);
        }

        // What nothing was read of has nothing to be known by: it is found anew.
        let begun = |place: &tail::Place| place.read > 0 || !place.carry.is_empty();
        for place in position.files.into_iter().filter(begun) {
            self.tails.insert(place.key, Tail::new(place));
        }
        self.past = position.past.into();
        let done = position.done.into_iter();
        self.others
            .extend(done.map(|(key, stamp)| (key, Other::done(stamp))));
        self.window.restore(position.window);
        self.told = position.told;
        self.closed = position.closed;
        self.closed_counters = position.closed_counters;

        self.relearn();
        self.certificates().restore(position.certificates);
    }

    fn certificates(&self) -> MutexGuard<'_, Certificates> {
        let certificates = self.shared.certificates.lock();
        certificates.unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads on, always in the log that lies furthest behind, until nothing is left or it is enough for
    /// one turn; whether something is left.
    fn read(&mut self, out: &mut Vec<Event>) -> bool {
        let mut left = self.options.limits.poll_bytes_max;
        while let Some(key) = self.next_to_read() {
            if left == 0 {
                return true;
            }
            left = left.saturating_sub(CHUNK_BYTES);
            let Some(tail) = self.tails.get_mut(&key) else {
                return false;
            };
            let Some(log) = self.logs.get_mut(&tail.place.log) else {
                tail.unread = false;
                continue;
            };
            let window = &mut self.window;
            let mut each = |place: &tail::Place, piece: tail::Piece<'_>| {
                log.line(place, piece, window, out);
            };
            match tail.read(&mut self.buffer, &mut each) {
                Ok(n) => {
                    log.coverage.bytes += n as u64;
                    let recovered = tail.place.recovers.min(n as u64);
                    tail.place.recovers -= recovered;
                    log.counters.lost_bytes = log.counters.lost_bytes.saturating_sub(recovered);
                }
                Err(error) => {
                    tail.unread = false;
                    let path = tail.place.path.clone();
                    self.problems.insert(path, error.to_string());
                }
            }
        }
        false
    }

    /// Of the logs with something to read the one furthest behind, and of its files the oldest.
    fn next_to_read(&self) -> Option<FileKey> {
        let mut copies: BTreeMap<u32, u64> = BTreeMap::new();
        for tail in self.tails.values().filter(|tail| tail.place.finite) {
            let first = copies.entry(tail.place.log).or_insert(u64::MAX);
            *first = tail.place.generation.min(*first);
        }
        let waits = |tail: &Tail| {
            let copy = copies.get(&tail.place.log);
            copy.is_some_and(|generation| *generation < tail.place.generation)
        };
        let unread = self.tails.iter().filter(|(_, tail)| tail.unread);
        unread
            .filter(|(_, tail)| !waits(tail))
            .min_by_key(|(_, tail)| {
                let log = self.logs.get(&tail.place.log);
                let newest = log.and_then(|log| log.clock.newest());
                (newest, tail.place.log, tail.place.generation)
            })
            .map(|(key, _)| *key)
    }

    /// Up to what time events are handed out: the window behind the newest record, or behind the log
    /// that is not read to its end yet and has come least far.
    fn horizon(&self) -> Option<Timestamp> {
        let newest = self
            .logs
            .values()
            .filter_map(|log| log.clock.newest())
            .max();
        let mut reached = newest.max(self.told)?;
        for tail in self.tails.values().filter(|tail| tail.unread) {
            let log = self.logs.get(&tail.place.log)?;
            reached = reached.min(log.clock.newest()?);
        }
        Some(reached.minus(self.options.window))
    }

    /// Reads certificate logs again, which are needed long after they were written.
    fn relearn(&mut self) {
        for tail in self.tails.values() {
            let place = &tail.place;
            let log = self.logs.get_mut(&place.log);
            let Some(log) = log.filter(|log| log.format.is_certificates()) else {
                continue;
            };
            if place.packed == Packed::Not {
                scan::relearn(&place.path, place.read.min(RELEARN_BYTES_MAX), log);
            }
        }
    }
}
