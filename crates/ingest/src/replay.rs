//! Any mixture of captures and logs as one stream of events in order of time.
//!
//! Inputs are found, identified and assigned to lanes first; lanes are then opened when the stream
//! reaches their first record and merged by event time. Ties are broken by the order of the lanes,
//! so the same inputs give the same stream.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::path::PathBuf;

use thymus_schema::{Coverage, Event, InputId, LocalNetworks, Timestamp};

use crate::carve::SharedJudge;
use crate::error::IngestError;
use crate::inventory::{self, ReplayLimits};
use crate::ledger::{InputStatus, Ledger, Problem};
use crate::local::Evidence;
use crate::source::{Lane, SOURCES, Source, SourceCx};

/// Events handed over at a time.
const BATCH_EVENTS: usize = 256;

/// How to import.
#[derive(Clone, Debug, Default)]
pub struct ReplayOptions {
    /// The local networks as the user declared them; otherwise they are found.
    pub local: Option<LocalNetworks>,
    /// Inputs imported before, as the state remembers them: they are skipped.
    pub known: BTreeSet<InputId>,
    /// How far to look.
    pub limits: ReplayLimits,
    /// Who judges files that pass.
    pub judge: Option<SharedJudge>,
}

/// One import.
pub struct Replay {
    local: LocalNetworks,
    ledger: Ledger,
    /// Not yet opened, latest first.
    waiting: Vec<Lane>,
    /// Opened, by lane number; `None` once it has ended.
    active: Vec<Option<Active>>,
    /// Earliest next event of each lane that has one.
    next: BinaryHeap<Reverse<(Timestamp, usize)>>,
    open_lanes_max: usize,
    coverage: Coverage,
    done_bytes: u64,
    total_bytes: u64,
    finished: bool,
    /// An empty vector of events handed back, to be filled again.
    room: Vec<Event>,
}

struct Active {
    source: Box<dyn Source>,
    ready: VecDeque<Event>,
    more: bool,
}

impl Replay {
    /// Finds and identifies everything behind `paths`, finds the local networks, and makes ready to
    /// read from the start.
    ///
    /// # Errors
    /// When no path is given, a given path cannot be opened, or nothing behind them can be read.
    pub fn open(paths: &[PathBuf], options: ReplayOptions) -> Result<Self, IngestError> {
        if paths.is_empty() {
            return Err(IngestError::NoPaths);
        }
        let inventory = inventory::take(paths, &options.known, options.limits, SOURCES)?;
        let ledger = inventory.ledger;
        let nothing_to_read = ledger
            .entries
            .iter()
            .all(|e| e.status == InputStatus::Refused);
        if nothing_to_read {
            let first = ledger.entries.first().and_then(|entry| {
                let problem = entry.problems.first()?;
                let path = entry.path.display();
                Some(format!("{path}: {} ({})", problem.reason, problem.remedy))
            });
            return Err(IngestError::NothingReadable {
                inputs: ledger.entries.len(),
                first,
            });
        }
        let total_bytes = inventory
            .inputs
            .iter()
            .flatten()
            .map(|input| input.bytes)
            .sum();
        let local = options.local.unwrap_or_else(|| {
            let mut evidence = Evidence::default();
            for (spec, inputs) in SOURCES.iter().zip(&inventory.inputs) {
                for input in inputs {
                    (spec.look)(input, &mut evidence);
                }
            }
            evidence.decide()
        });
        let cx = SourceCx {
            local: local.clone(),
            judge: options.judge.clone(),
        };
        let mut waiting: Vec<Lane> = SOURCES
            .iter()
            .zip(inventory.inputs)
            .filter(|(_, inputs)| !inputs.is_empty())
            .flat_map(|(spec, inputs)| (spec.open)(inputs, &cx))
            .collect();
        waiting.sort_by_key(|lane| lane.first);
        waiting.reverse();
        Ok(Self {
            local,
            ledger,
            waiting,
            active: Vec::new(),
            next: BinaryHeap::new(),
            open_lanes_max: options.limits.open_lanes_max.max(1),
            coverage: Coverage::default(),
            done_bytes: 0,
            total_bytes,
            finished: false,
            room: Vec::new(),
        })
    }

    /// The local networks, declared or found.
    pub fn local(&self) -> &LocalNetworks {
        &self.local
    }

    /// What became of every input; complete once [`Self::next_batch`] has returned `false`.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What was read so far and what was dropped.
    pub fn coverage(&self) -> Coverage {
        let mut coverage = self.coverage.clone();
        for active in self.active.iter().flatten() {
            coverage.add(&active.source.coverage());
        }
        coverage.events = self.coverage.events;
        coverage
    }

    /// Bytes read so far and in all, on disk.
    pub fn progress(&self) -> (u64, u64) {
        let active = self
            .active
            .iter()
            .flatten()
            .map(|active| active.source.bytes_done());
        (
            (self.done_bytes + active.sum::<u64>()).min(self.total_bytes),
            self.total_bytes,
        )
    }

    /// Appends the next events, in order of time; `false` when all inputs are read.
    ///
    /// # Errors
    /// When a source cannot go on in a way that concerns the whole import; what only concerns one
    /// input is noted in the ledger.
    pub fn next_batch(&mut self, out: &mut Vec<Event>) -> Result<bool, IngestError> {
        if self.finished {
            return Ok(false);
        }
        let goal = out.len() + BATCH_EVENTS;
        let before = out.len();
        while out.len() < goal {
            self.open_lanes_up_to_next()?;
            let Some(Reverse((_, lane))) = self.next.pop() else {
                self.finish();
                break;
            };
            self.drain(lane, goal, out)?;
        }
        self.coverage.events += (out.len() - before) as u64;
        Ok(!self.finished)
    }

    /// Opens every lane that may hold an event earlier than the next one.
    fn open_lanes_up_to_next(&mut self) -> Result<(), IngestError> {
        loop {
            let Some(lane) = self.waiting.last() else {
                return Ok(());
            };
            let frontier = self.next.peek().map(|Reverse((ts, _))| *ts);
            let needed = frontier.is_none_or(|frontier| lane.first <= frontier);
            if !needed || (frontier.is_some() && self.next.len() >= self.open_lanes_max) {
                return Ok(());
            }
            let Some(lane) = self.waiting.pop() else {
                return Ok(());
            };
            let source = (lane.open)()?;
            let number = self.active.len();
            self.active.push(Some(Active {
                source,
                ready: VecDeque::new(),
                more: true,
            }));
            self.refill(number)?;
        }
    }

    /// Moves events of `lane` to `out` until another lane has an earlier one or the goal is reached.
    fn drain(&mut self, lane: usize, goal: usize, out: &mut Vec<Event>) -> Result<(), IngestError> {
        let other = self.next.peek().map(|Reverse(key)| *key);
        let waiting = self.waiting.last().map(|lane| lane.first);
        // Lanes that may hold something before the lane's first event were opened before the call.
        let mut first = true;
        loop {
            let Some(active) = self.active.get_mut(lane).and_then(Option::as_mut) else {
                return Ok(());
            };
            if other.is_none() && waiting.is_none() && out.is_empty() {
                // The only lane: what is ready is the batch, handed over instead of copied.
                self.room = std::mem::replace(out, std::mem::take(&mut active.ready).into());
            }
            let Some(event) = active.ready.front() else {
                return self.refill(lane);
            };
            let key = (event.ts, lane);
            let other_is_earlier = other.is_some_and(|other| other < key);
            let lane_to_open = !first && waiting.is_some_and(|first| first <= event.ts);
            if out.len() >= goal || other_is_earlier || lane_to_open {
                self.next.push(Reverse(key));
                return Ok(());
            }
            first = false;
            if let Some(event) = active.ready.pop_front() {
                out.push(event);
            }
        }
    }

    /// Reads on in a lane without ready events; closes it when it has ended.
    fn refill(&mut self, lane: usize) -> Result<(), IngestError> {
        let Some(active) = self.active.get_mut(lane).and_then(Option::as_mut) else {
            return Ok(());
        };
        let mut batch = std::mem::take(&mut self.room);
        while batch.is_empty() && active.more {
            active.more = active.source.next_batch(&mut batch)?;
        }
        let problems = active.source.take_problems();
        active.ready = batch.into();
        if let Some(event) = active.ready.front() {
            self.next.push(Reverse((event.ts, lane)));
        } else {
            // Events are counted as they are handed out.
            self.coverage.add(&Coverage {
                events: 0,
                ..active.source.coverage()
            });
            self.done_bytes += active.source.bytes_done();
            if let Some(slot) = self.active.get_mut(lane) {
                *slot = None;
            }
        }
        self.note(problems);
        Ok(())
    }

    fn note(&mut self, problems: Vec<Problem>) {
        for problem in problems {
            self.ledger.add_problem(problem);
        }
    }

    fn finish(&mut self) {
        self.finished = true;
        for entry in &mut self.ledger.entries {
            if entry.status == InputStatus::Waiting {
                entry.status = InputStatus::Read;
            }
        }
    }
}
