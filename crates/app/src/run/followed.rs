//! Logs that are followed, as a stream of events.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use thymus_ingest::Follow;
use thymus_schema::{Event, Timestamp};

use super::live::Standing;
use super::now_nanos;
use super::orders::Ear;
use super::stop::Stop;
use crate::pipeline::Stream;

/// Folders are looked at this often where the kernel does not tell of changes.
const WAIT: Duration = Duration::from_millis(500);

/// Followed logs on their way to the engine.
pub(super) struct Followed {
    follow: Follow,
    stop: Stop,
    /// Whether the judging thread wants to know where reading stands.
    wanted: Arc<AtomicBool>,
    /// Whether what waits for its time is kept for the next run.
    is_kept: bool,
    has_more: bool,
    ended: bool,
    ear: Ear,
    /// How often this process was started again.
    restarts: u64,
}

impl Followed {
    pub(super) fn new(
        follow: Follow,
        stop: Stop,
        wanted: Arc<AtomicBool>,
        is_kept: bool,
        restarts: u64,
    ) -> Self {
        Self {
            follow,
            stop,
            wanted,
            is_kept,
            has_more: true,
            ended: false,
            ear: Ear::open(),
            restarts,
        }
    }
}

impl Stream for Followed {
    type Progress = Standing;
    const IS_LIVE: bool = true;

    fn next_batch(&mut self, out: &mut Vec<Event>) -> Result<bool> {
        let orders = self.ear.listen();
        if self.stop.is_due() || orders.is_some_and(|orders| orders.is_to_leave(self.restarts)) {
            self.ended = true;
            if !self.is_kept {
                self.follow.finish(out);
            }
            return Ok(false);
        }
        if !self.has_more {
            self.follow.wait(WAIT);
        }
        self.follow.advance(Timestamp::from_nanos(now_nanos()));
        self.has_more = self.follow.poll(out);
        Ok(true)
    }

    fn progress(&self) -> Standing {
        let is_wanted = self.is_kept && (self.ended || self.wanted.swap(false, Ordering::Relaxed));
        let position = is_wanted.then(|| serde_json::to_vec(&self.follow.position()));
        let newest = self.follow.logs().iter().filter_map(|log| log.newest).max();
        let is_behind = self.has_more;
        Standing {
            coverage: self.follow.coverage(),
            newest: newest.filter(|_| is_behind).map(Timestamp::as_nanos),
            is_down: false,
            ring: None,
            verdicts: None,
            exporters: None,
            position: position.and_then(Result::ok),
            filter: None,
            orders: self.ear.orders(),
        }
    }
}
