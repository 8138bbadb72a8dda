//! An hour of one actor's doings: what differed, and when it is worth saying again.

use rustc_hash::FxHashSet;
use thymus_schema::{Event, Fact, Timestamp, Value};

use crate::trail::Trail;

/// The span in which evidence adds up. An hour after it began it is over and the count starts anew:
/// scores speak of device-hours.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    start: Option<Timestamp>,
    highest: f64,
    minute: i64,
    in_minute: f64,
    burst: f64,
}

impl Window {
    const SECS: f64 = 3600.0;
    /// A score must grow by this much to be handed over again.
    const STEP: f64 = 0.15;

    /// Whether a window that began earlier is over at `now`, or none has begun; begins one then.
    pub(crate) fn turns(&mut self, now: Timestamp) -> bool {
        let over = self
            .start
            .is_none_or(|start| now.secs_since(start) > Self::SECS);
        if over {
            *self = Self {
                start: Some(now),
                ..Self::default()
            };
        }
        over
    }

    /// Adds `n` things that happened at `now`; [`Window::burst`] is the most in one minute.
    pub(crate) fn add(&mut self, n: f64, now: Timestamp) {
        let minute = now.as_secs().div_euclid(60);
        if minute != self.minute {
            self.minute = minute;
            self.in_minute = 0.0;
        }
        self.in_minute += n;
        self.burst = self.burst.max(self.in_minute);
    }

    /// The most things added in one minute.
    pub(crate) fn burst(&self) -> f64 {
        self.burst
    }

    /// Whether `score` is high enough, and enough above what was said before, to be handed over.
    pub(crate) fn rises(&mut self, score: f64) -> bool {
        let rises = score >= 0.3 && score >= self.highest + Self::STEP;
        if rises {
            self.highest = score;
        }
        rises
    }
}

/// Counts what differs, by digest, in bounded space: beyond the bound it only stops growing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Distinct(FxHashSet<u64>);

impl Distinct {
    const MAX: usize = 4096;

    /// Adds a digest; whether it was new.
    pub(crate) fn add(&mut self, digest: u64) -> bool {
        self.0.len() < Self::MAX && self.0.insert(digest)
    }

    /// Whether it was added before.
    pub(crate) fn has(&self, digest: u64) -> bool {
        self.0.contains(&digest)
    }

    /// Whether nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many differ.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// A few names for people, in order of first sight.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(Vec<Box<str>>);

impl Names {
    const MAX: usize = 8;

    /// Adds a name unless it is empty or known.
    pub(crate) fn add(&mut self, name: &str) {
        if self.0.len() < Self::MAX && !name.is_empty() && !self.0.iter().any(|n| **n == *name) {
            self.0
                .push(name.chars().take(96).collect::<String>().into());
        }
    }

    /// The names; a stand-in where there are none, so that the sentence can be said.
    pub(crate) fn list(&self) -> Vec<Box<str>> {
        if self.0.is_empty() {
            vec!["unnamed".into()]
        } else {
            self.0.clone()
        }
    }
}

/// What one actor did within an hour: its trail, names for people, and `it`, what the detector
/// counts.
#[derive(Debug, Default)]
pub(crate) struct Hourly<T> {
    pub(crate) window: Window,
    pub(crate) trail: Trail,
    pub(crate) names: Names,
    /// On how many earlier days the actor did the like.
    pub(crate) days: f64,
    pub(crate) it: T,
}

impl<T: Default> Hourly<T> {
    /// Forgets everything when the hour is over.
    pub(crate) fn turn(&mut self, now: Timestamp) {
        if self.window.turns(now) {
            *self = Self {
                window: self.window,
                ..Self::default()
            };
        }
    }

    /// Adds an event to the trail and to the present minute.
    pub(crate) fn push(&mut self, event: &Event) {
        self.trail.push(event);
        self.window.add(1.0, event.ts);
    }

    /// How long it has gone on, as a fact.
    pub(crate) fn span(&self) -> Fact {
        let secs = self.trail.last().secs_since(self.trail.first());
        self.trail.fact("span", Value::Seconds(secs))
    }

    /// A count of these events.
    pub(crate) fn count(&self, key: &'static str, n: f64) -> Fact {
        self.trail
            .fact(key, Value::Count(n.max(0.0).round() as u64))
    }

    /// The names, as a fact.
    pub(crate) fn named(&self, key: &'static str) -> Fact {
        self.trail.fact(key, Value::Names(self.names.list()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_later_the_count_begins_anew() {
        let at = Timestamp::from_secs;
        let mut window = Window::default();
        assert!(window.turns(at(0)));
        assert!(!window.turns(at(3600)));
        window.add(5.0, at(10));
        window.add(2.0, at(70));
        assert_eq!(window.burst(), 5.0);
        assert!(window.rises(1.0) && !window.rises(1.1) && window.rises(1.2));
        assert!(window.turns(at(3601)));
        assert_eq!(window.burst(), 0.0);
    }
}
