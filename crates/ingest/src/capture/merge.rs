//! Many capture files as one stream. Files are taken in the order of their first packets; those that
//! overlap in time are merged packet by packet, so that flows are not cut at a file's edge.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

use thymus_schema::InputId;

use super::CaptureLimits;
use super::file::{Block, FileReader, Record};
use crate::input::Input;
use crate::ledger::Problem;

/// A capture file that has at least one packet.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) input: Input,
    pub(crate) first_ts: i64,
}

/// The next packets, all of one file.
pub(crate) struct Run<'a> {
    pub(crate) input: InputId,
    pub(crate) block: &'a Block,
    pub(crate) records: &'a [Record],
    /// Time of the packet that follows in the file, where it is in memory.
    pub(crate) next_ts: Option<i64>,
}

/// Merges files in order of time.
pub(crate) struct Merger {
    waiting: VecDeque<Waiting>,
    open: Vec<Cursor>,
    limits: CaptureLimits,
    opened: u64,
    refused: Option<InputId>,
    /// Disk bytes of files that are finished.
    finished_bytes: u64,
    problems: Vec<Problem>,
    /// Files that overlapped in time with more others than may be open, and so were not merged.
    pub(crate) unmerged_files: u64,
}

struct Cursor {
    order: u64,
    input: InputId,
    feed: Feed,
    block: Block,
    at: usize,
}

/// Where blocks come from: a thread that reads ahead, or the caller's own.
enum Feed {
    Inline(Box<FileReader>),
    Ahead {
        blocks: Receiver<Block>,
        empty: SyncSender<Block>,
        thread: Option<JoinHandle<()>>,
    },
}

/// Blocks read ahead of the caller.
const READ_AHEAD_BLOCKS: usize = 4;

impl Merger {
    /// Over files that need not be sorted.
    pub(crate) fn new(mut files: Vec<Waiting>, limits: CaptureLimits) -> Self {
        files.sort_by(|a, b| (a.first_ts, &a.input.path).cmp(&(b.first_ts, &b.input.path)));
        Self {
            waiting: files.into(),
            open: Vec::new(),
            limits,
            opened: 0,
            refused: None,
            finished_bytes: 0,
            problems: Vec::new(),
            unmerged_files: 0,
        }
    }

    pub(crate) fn take_problems(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.problems)
    }

    pub(crate) fn bytes_done(&self) -> u64 {
        self.finished_bytes
            + self
                .open
                .iter()
                .map(|cursor| cursor.block.bytes_done)
                .sum::<u64>()
    }

    /// The next run of at most `records_max` packets; `None` at the end of all files.
    pub(crate) fn next_run(&mut self, records_max: usize) -> Option<Run<'_>> {
        self.refill();
        self.open_due();
        let current = self.earliest()?;
        let cursor = self.open.get(current)?;
        let (order, at) = (cursor.order, cursor.at);
        let limit = self.limit(order);
        let cursor = self.open.get_mut(current)?;
        let ahead = cursor.block.records.get(at..)?;
        let ahead = ahead.get(..records_max).unwrap_or(ahead);
        let count = match limit {
            None => ahead.len(),
            Some(limit) => {
                let beyond = |record: &Record| record.ts > limit;
                ahead.iter().position(beyond).unwrap_or(ahead.len()).max(1)
            }
        };
        cursor.at = at + count;
        let cursor = self.open.get(current)?;
        Some(Run {
            input: cursor.input,
            block: &cursor.block,
            records: cursor.block.records.get(at..at + count)?,
            next_ts: cursor.block.records.get(at + count).map(|record| record.ts),
        })
    }

    /// Gives every cursor a packet at its front, and closes those that have no more.
    fn refill(&mut self) {
        for cursor in &mut self.open {
            if cursor.at >= cursor.block.records.len() {
                cursor.at = 0;
                cursor.feed.next(&mut cursor.block);
                self.problems.append(&mut cursor.block.problems);
            }
        }
        let finished = &mut self.finished_bytes;
        self.open.retain(|cursor| {
            let alive = !cursor.block.records.is_empty();
            if !alive {
                *finished += cursor.block.bytes_done;
            }
            alive
        });
    }

    /// Opens the files whose first packet is due before what is open.
    fn open_due(&mut self) {
        while let Some(next) = self.waiting.front() {
            let due = match self.earliest().and_then(|at| self.open.get(at)) {
                None => true,
                Some(cursor) => next.first_ts <= cursor.front_ts(),
            };
            if !due {
                return;
            }
            if self.open.len() >= self.limits.open_files_max {
                // It is opened when another ends; counted once, when it first had to wait.
                if self.refused != Some(next.input.id) {
                    self.refused = Some(next.input.id);
                    self.unmerged_files += 1;
                }
                return;
            }
            if let Some(next) = self.waiting.pop_front() {
                self.open_file(next.input);
            }
        }
    }

    fn open_file(&mut self, input: Input) {
        let id = input.id;
        let reader = match FileReader::open(input) {
            Ok(reader) => reader,
            Err(error) => {
                self.problems.push(Problem {
                    input: Some(id),
                    offset: 0,
                    reason: format!("cannot open: {error}"),
                    remedy: "check that the file is still there and may be read".to_owned(),
                });
                return;
            }
        };
        let threaded = self.limits.read_ahead && self.open.len() < 2;
        let mut cursor = Cursor {
            order: self.opened,
            input: id,
            feed: Feed::new(reader, threaded),
            block: Block::default(),
            at: 0,
        };
        self.opened += 1;
        cursor.feed.next(&mut cursor.block);
        self.problems.append(&mut cursor.block.problems);
        if cursor.block.records.is_empty() {
            self.finished_bytes += cursor.block.bytes_done;
        } else {
            self.open.push(cursor);
        }
    }

    fn earliest(&self) -> Option<usize> {
        let keys = self
            .open
            .iter()
            .enumerate()
            .map(|(at, cursor)| (cursor.front_ts(), cursor.order, at));
        keys.min().map(|(_, _, at)| at)
    }

    /// The time up to which the file of this order may run before another one is due.
    fn limit(&self, order: u64) -> Option<i64> {
        let others = self.open.iter().filter(|cursor| cursor.order != order);
        // At the same instant the file that was opened first goes first.
        let others = others.map(|cursor| cursor.front_ts() - i64::from(cursor.order < order));
        let waiting = self
            .waiting
            .front()
            .map(|next| next.first_ts.saturating_sub(1));
        others.chain(waiting).min()
    }
}

impl Cursor {
    fn front_ts(&self) -> i64 {
        self.block
            .records
            .get(self.at)
            .map_or(i64::MAX, |record| record.ts)
    }
}

impl Feed {
    fn new(mut reader: FileReader, threaded: bool) -> Self {
        if !threaded {
            return Self::Inline(Box::new(reader));
        }
        let (full_tx, blocks) = sync_channel::<Block>(READ_AHEAD_BLOCKS);
        let (empty, empty_rx) = sync_channel::<Block>(READ_AHEAD_BLOCKS);
        let work = move || {
            loop {
                let mut block = match empty_rx.try_recv() {
                    Ok(block) => block,
                    Err(TryRecvError::Empty) => Block::default(),
                    Err(TryRecvError::Disconnected) => return,
                };
                let more = reader.fill(&mut block);
                if full_tx.send(block).is_err() || !more {
                    return;
                }
            }
        };
        let thread = Some(std::thread::spawn(work));
        Self::Ahead {
            blocks,
            empty,
            thread,
        }
    }

    /// Replaces `block` by the next one, which has no records at the end of the file.
    fn next(&mut self, block: &mut Block) {
        match self {
            Self::Inline(reader) => {
                reader.fill(block);
            }
            Self::Ahead {
                blocks,
                empty,
                thread,
            } => {
                let bytes_done = block.bytes_done;
                if let Ok(next) = blocks.recv() {
                    let used = std::mem::replace(block, next);
                    // A full or closed return channel only costs an allocation.
                    drop(empty.try_send(used));
                    return;
                }
                if let Some(thread) = thread.take() {
                    drop(thread.join());
                }
                *block = Block {
                    bytes_done,
                    ..Block::default()
                };
            }
        }
    }
}
