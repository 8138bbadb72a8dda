//! Which steps of event time are believed.
//!
//! Captures guard their own time (`thymus-ingest`), logs and other sources do not: a single record
//! with the time of another year would otherwise stop all windows until time catches up with it.

use std::time::Duration;

use thymus_schema::Timestamp;

/// A larger step is believed only when two events in a row take it.
const LEAP: Duration = Duration::from_hours(7 * 24);

/// What to do about an event's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Go on to it.
    Go,
    /// Judge the event at the present.
    Stay,
    /// The present was one event's word and this one does not agree: begin again here.
    Restart,
}

/// What the latest events said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Steps {
    /// Whether the present rests on a single event.
    alone: bool,
    /// Whether the event before wanted to leap.
    leaping: bool,
}

impl Steps {
    /// The first event of a run sets the time.
    pub(crate) fn begin(&mut self) {
        (self.alone, self.leaping) = (true, false);
    }

    /// The next event comes.
    pub(crate) fn step(&mut self, now: Timestamp, ts: Timestamp) -> Step {
        let alone = std::mem::take(&mut self.alone);
        let forward = ts > now.plus(LEAP);
        let leaping = std::mem::replace(&mut self.leaping, forward);
        if alone && ts.plus(LEAP) < now {
            return Step::Restart;
        }
        if forward && !leaping {
            return Step::Stay;
        }
        self.leaping = false;
        Step::Go
    }
}
