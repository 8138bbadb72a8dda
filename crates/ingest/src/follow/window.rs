//! Puts the events of all followed logs in order of event time. They are held back for a bounded span
//! of event time; what comes later still is handed out at once and counted.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thymus_schema::{Certificate, Event, EventBody, Timestamp};

use crate::logs::Wanted;
use crate::logs::zeek::Certificates;

/// Time, log and the order of arrival.
type Key = (Timestamp, u32, u64);

/// An event that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) event: Event,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) wants: Option<Box<Wanted>>,
}

/// What a window is made of, as the position file keeps it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct KeptWindow {
    held: Vec<(u32, u64, Held)>,
    sequence: u64,
    released: Option<Timestamp>,
    late: u64,
    ahead: u64,
    crowded: u64,
}

/// Holds events back and gives them in order.
pub(super) struct Window {
    held: BTreeMap<Key, Held>,
    held_max: usize,
    sequence: u64,
    released: Option<Timestamp>,
    /// Events that came after later ones had been handed out.
    pub(super) late: u64,
    /// Events handed out at once because their time lies far ahead of the logs'.
    pub(super) ahead: u64,
    /// Events handed out before their span was over, because too many waited.
    pub(super) crowded: u64,
}

impl Window {
    pub(super) fn new(held_max: usize) -> Self {
        Self {
            held: BTreeMap::new(),
            held_max: held_max.max(1),
            sequence: 0,
            released: None,
            late: 0,
            ahead: 0,
            crowded: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn push(&mut self, log: u32, held: Held) {
        let ts = held.event.ts;
        if self.released.is_some_and(|released| ts < released) {
            self.late += 1;
        }
        self.held.insert((ts, log, self.sequence), held);
        self.sequence += 1;
    }

    /// Counts an event that is handed out at once: its time is not to be believed.
    pub(super) fn pass(&mut self, event: Event, out: &mut Vec<Event>) {
        self.ahead += 1;
        out.push(event);
    }

    /// Moves to `out` what lies before `horizon`, and what is too much to hold.
    pub(super) fn release(
        &mut self,
        horizon: Option<Timestamp>,
        certificates: &Mutex<Certificates>,
        out: &mut Vec<Event>,
    ) {
        while let Some(first) = self.held.first_entry() {
            let ts = first.key().0;
            let due = horizon.is_some_and(|horizon| ts <= horizon);
            let crowded = self.held.len() > self.held_max;
            if !due && !crowded {
                return;
            }
            self.crowded += u64::from(!due);
            let Some((_, held)) = self.held.pop_first() else {
                return;
            };
            self.released = Some(self.released.map_or(ts, |released| released.max(ts)));
            out.push(complete(held, certificates));
        }
    }

    pub(super) fn keep(&self) -> KeptWindow {
        let held = self
            .held
            .iter()
            .map(|((_, log, sequence), held)| (*log, *sequence, held.clone()));
        KeptWindow {
            held: held.collect(),
            sequence: self.sequence,
            released: self.released,
            late: self.late,
            ahead: self.ahead,
            crowded: self.crowded,
        }
    }

    pub(super) fn restore(&mut self, kept: KeptWindow) {
        let held = kept.held.into_iter();
        self.held = held
            .map(|(log, sequence, held)| ((held.event.ts, log, sequence), held))
            .collect();
        self.sequence = kept.sequence;
        self.released = kept.released;
        self.late = kept.late;
        self.ahead = kept.ahead;
        self.crowded = kept.crowded;
    }
}

/// Adds the certificate that came after its handshake.
fn complete(held: Held, certificates: &Mutex<Certificates>) -> Event {
    let Held { mut event, wants } = held;
    let (Some(wants), EventBody::Tls(handshake)) = (wants, &mut event.body) else {
        return event;
    };
    let certificates = certificates.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = certificates.known(&wants.keys) {
        handshake.certificate = Some(Box::new(Certificate {
            chain_len: wants.chain_len,
            ..found.clone()
        }));
    }
    event
}

/// A step of event time further than this is believed only when two records in a row take it.
const STEP_MAX: Duration = Duration::from_hours(24);

/// How far a log has come, by the times of its records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Clock {
    newest: Option<Timestamp>,
    doubted: Option<Timestamp>,
}

impl Clock {
    pub(super) const fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    /// Takes note of a record's time; `false` when it is too far ahead to be believed.
    pub(super) fn tick(&mut self, ts: Timestamp) -> bool {
        let Some(newest) = self.newest else {
            self.newest = Some(ts);
            return true;
        };
        if ts <= newest.plus(STEP_MAX) {
            self.doubted = None;
            self.newest = Some(newest.max(ts));
            return true;
        }
        let confirmed = self
            .doubted
            .is_some_and(|doubted| doubted.minus(STEP_MAX) <= ts && ts <= doubted.plus(STEP_MAX));
        if confirmed {
            self.doubted = None;
            self.newest = Some(ts);
            return true;
        }
        self.doubted = Some(ts);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_record_with_a_wrong_clock_does_not_move_time() {
        let at = Timestamp::from_secs;
        let mut clock = Clock::default();
        assert!(clock.tick(at(1000)));
        assert!(!clock.tick(at(9_000_000)));
        assert!(clock.tick(at(1010)));
        assert_eq!(clock.newest(), Some(at(1010)));
        assert!(!clock.tick(at(9_000_000)));
        assert!(clock.tick(at(9_000_001)), "two in a row are believed");
        assert_eq!(clock.newest(), Some(at(9_000_001)));
    }
}
