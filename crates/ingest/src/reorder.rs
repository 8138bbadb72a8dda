//! Puts the records of one file in order of event time. Logs are written when something ended or
//! timed out, so their order is only nearly that of time: a bounded window holds records back until
//! nothing earlier is to be expected.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use thymus_schema::{Event, Timestamp};

/// How much is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Span of event time.
    pub(crate) span: Duration,
    /// Most events.
    pub(crate) events_max: usize,
}

impl Default for Window {
    fn default() -> Self {
        // Zeek and Suricata report an idle TCP connection after five minutes.
        Self {
            span: Duration::from_mins(5),
            events_max: 16_384,
        }
    }
}

/// Holds events back and gives them in order.
#[derive(Debug, Default)]
pub(crate) struct Reorder {
    window: Window,
    /// Keys only, so that sifting moves little.
    heap: BinaryHeap<Reverse<(Timestamp, u64, usize)>>,
    slots: Vec<Option<Event>>,
    free: Vec<usize>,
    sequence: u64,
    newest: Option<Timestamp>,
    released: Option<Timestamp>,
    /// Events that came too late to be put in order.
    pub(crate) late: u64,
}

impl Reorder {
    pub(crate) fn push(&mut self, event: Event) {
        let ts = event.ts;
        if self.released.is_some_and(|released| ts < released) {
            self.late += 1;
        }
        self.newest = Some(self.newest.map_or(ts, |newest| newest.max(ts)));
        let slot = if let Some(slot) = self.free.pop() {
            if let Some(place) = self.slots.get_mut(slot) {
                *place = Some(event);
            }
            slot
        } else {
            self.slots.push(Some(event));
            self.slots.len() - 1
        };
        self.heap.push(Reverse((ts, self.sequence, slot)));
        self.sequence += 1;
    }

    /// Moves to `out` what need not be held back any longer; all of it when the file has ended.
    pub(crate) fn release(&mut self, ended: bool, out: &mut Vec<Event>) {
        let horizon = self.newest.map(|newest| newest.minus(self.window.span));
        while let Some(Reverse((ts, _, slot))) = self.heap.peek().copied() {
            let old = horizon.is_some_and(|horizon| ts <= horizon);
            if !(ended || old || self.heap.len() > self.window.events_max) {
                break;
            }
            self.heap.pop();
            self.free.push(slot);
            if let Some(event) = self.slots.get_mut(slot).and_then(Option::take) {
                self.released = Some(self.released.map_or(ts, |released| released.max(ts)));
                out.push(event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use thymus_schema::{EventBody, EventId, QuirkSeen};

    use super::*;

    fn event(secs: i64) -> Event {
        let body = EventBody::Quirk(QuirkSeen::default());
        Event {
            id: EventId::default(),
            ts: Timestamp::from_secs(secs),
            conn: None,
            body,
        }
    }

    fn times(window: Window, input: &[i64]) -> (Vec<i64>, u64) {
        let mut reorder = Reorder {
            window,
            ..Default::default()
        };
        let mut out = Vec::new();
        for secs in input {
            reorder.push(event(*secs));
            reorder.release(false, &mut out);
        }
        reorder.release(true, &mut out);
        (
            out.iter().map(|event| event.ts.as_secs()).collect(),
            reorder.late,
        )
    }

    #[test]
    fn puts_in_order_what_the_window_holds() {
        let window = Window {
            span: Duration::from_secs(10),
            events_max: 100,
        };
        assert_eq!(times(window, &[5, 3, 9, 4, 8]), (vec![3, 4, 5, 8, 9], 0));
    }

    #[test]
    fn delivers_and_counts_what_is_too_late() {
        let window = Window {
            span: Duration::from_secs(10),
            events_max: 100,
        };
        assert_eq!(times(window, &[1, 50, 100, 2]), (vec![1, 50, 2, 100], 1));
        let tight = Window {
            span: Duration::from_secs(1000),
            events_max: 1,
        };
        assert_eq!(times(tight, &[5, 6, 7, 1]), (vec![5, 6, 1, 7], 1));
    }
}
