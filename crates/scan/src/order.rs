//! Brings what several threads make back into the order in which it was handed out, without keeping
//! more of it than allowed.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How far ahead of the slowest the others may work.
const AHEAD_MAX: u64 = 256;
/// What finished results that wait for an earlier one may weigh together.
const WEIGHT_MAX: usize = 40_000;

/// Results by number, given back in order.
pub(crate) struct Order<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    next: u64,
    end: Option<u64>,
    waiting: BTreeMap<u64, (T, usize)>,
    weight: usize,
    is_stopped: bool,
}

impl<T> Order<T> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                next: 0,
                end: None,
                waiting: BTreeMap::new(),
                weight: 0,
                is_stopped: false,
            }),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State<T>>) -> MutexGuard<'s, State<T>> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `number` may be worked on; false when nothing is wanted any more.
    pub(crate) fn begin(&self, number: u64) -> bool {
        let mut state = self.lock();
        while !state.is_stopped && number >= state.next + AHEAD_MAX {
            state = self.wait(state);
        }
        !state.is_stopped
    }

    /// Hands in a result. Who has the one that is next never waits, so the others always come to an end.
    pub(crate) fn put(&self, number: u64, result: T, weight: usize) {
        let mut state = self.lock();
        while !state.is_stopped && number != state.next && state.weight > WEIGHT_MAX {
            state = self.wait(state);
        }
        state.weight += weight;
        state.waiting.insert(number, (result, weight));
        self.changed.notify_all();
    }

    /// Says that there are `count` results and no more.
    pub(crate) fn end(&self, count: u64) {
        self.lock().end = Some(count);
        self.changed.notify_all();
    }

    /// Lets everybody go home.
    pub(crate) fn stop(&self) {
        self.lock().is_stopped = true;
        self.changed.notify_all();
    }

    /// The next result; none after the last.
    pub(crate) fn take(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            let next = state.next;
            if let Some((result, weight)) = state.waiting.remove(&next) {
                state.next += 1;
                state.weight -= weight;
                self.changed.notify_all();
                return Some(result);
            }
            if state.is_stopped || state.end.is_some_and(|end| end <= next) {
                return None;
            }
            state = self.wait(state);
        }
    }
}
