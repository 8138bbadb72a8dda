//! Requests that wait for their answers.

use std::collections::VecDeque;

/// The requests of a conversation whose answers have not come, the oldest first.
pub(super) struct Unanswered<T>(VecDeque<T>);

impl<T> Default for Unanswered<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Unanswered<T> {
    /// Most requests that wait.
    const MAX: usize = 32;

    /// Adds a request; the oldest makes room and is given back, to be told without an answer.
    pub(super) fn ask(&mut self, request: T) -> Option<T> {
        let oldest = (self.0.len() == Self::MAX)
            .then(|| self.0.pop_front())
            .flatten();
        self.0.push_back(request);
        oldest
    }

    /// Takes out the oldest request that `is` the one an answer belongs to.
    pub(super) fn answer(&mut self, is: impl FnMut(&T) -> bool) -> Option<T> {
        self.0.iter().position(is).and_then(|at| self.0.remove(at))
    }

    /// Takes out all: no answer will come.
    pub(super) fn take(&mut self) -> VecDeque<T> {
        std::mem::take(&mut self.0)
    }
}
