//! What went to and fro in an hour or a day.

use thymus_schema::{Event, Timestamp};

use crate::trail::Trail;

/// Bytes in a stretch of time, and the most of earlier stretches.
#[derive(Clone, Default)]
pub(super) struct Span {
    pub(super) since: Timestamp,
    pub(super) up: f64,
    pub(super) down: f64,
    pub(super) usual: f64,
    pub(super) trail: Trail,
}

impl Span {
    pub(super) fn starting(since: Timestamp) -> Self {
        Self {
            since,
            ..Self::default()
        }
    }

    pub(super) fn is_over(&self, event: &Event, length_secs: f64) -> bool {
        event.ts.secs_since(self.since) > length_secs
    }

    pub(super) fn add(&mut self, event: &Event, up: u64, down: u64, length_secs: f64, memory: f64) {
        if self.is_over(event, length_secs) {
            let usual = self.up.max(memory * self.usual);
            *self = Self {
                usual,
                ..Self::starting(event.ts)
            };
        }
        self.up += up as f64;
        self.down += down as f64;
        self.trail.push(event);
    }
}
