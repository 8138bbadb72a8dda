//! What a piece of evidence was counted from: the first few event ids, how many in all, from when
//! until when.

use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;
use thymus_schema::{Event, EventId, Fact, Statement, Timestamp, Value};

use crate::cx::Finding;
use crate::entities::Party;

/// Where evidence comes from, in bounded space.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail {
    ids: Vec<EventId>,
    total: u64,
    first: Timestamp,
    last: Timestamp,
}

impl Trail {
    /// Ids kept; the rest are only counted.
    const IDS_MAX: usize = 8;

    /// Adds an event.
    pub(crate) fn push(&mut self, event: &Event) {
        if self.total == 0 {
            self.first = event.ts;
        }
        if self.ids.len() < Self::IDS_MAX {
            self.ids.push(event.id);
        }
        self.total += 1;
        self.first = self.first.min(event.ts);
        self.last = self.last.max(event.ts);
    }

    /// How many events.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The first event's time.
    pub(crate) fn first(&self) -> Timestamp {
        self.first
    }

    /// The last event's time.
    pub(crate) fn last(&self) -> Timestamp {
        self.last
    }

    /// A fact counted from these events.
    pub(crate) fn fact(&self, key: &'static str, value: Value) -> Fact {
        Fact::new(key, value, &self.ids).of_total(self.total)
    }

    /// A finding founded on these events; `key` tells it from others about the same entity.
    pub(crate) fn finding(
        &self,
        entity: Party,
        key: u64,
        score: f64,
        statement: Statement,
        counterfactual: Statement,
    ) -> Finding {
        Finding {
            entity,
            key,
            score,
            peers: Vec::new(),
            first_event: self.ids.first().copied().unwrap_or_default(),
            first_seen: self.first,
            last_seen: self.last,
            phase: None,
            techniques: Vec::new(),
            statement,
            counterfactual,
        }
    }
}

/// A stable number for what tells one finding from another.
pub(crate) fn key_of(what: impl Hash) -> u64 {
    let mut hasher = FxHasher::default();
    what.hash(&mut hasher);
    hasher.finish()
}
