//! The trivial competitors that detection must beat, given the same events and the same budget.

mod first_seen;
mod volume;

use std::collections::BTreeMap;
use std::net::IpAddr;

use thymus_schema::{Event, LocalNetworks, Timestamp};

pub(crate) use first_seen::FirstSeen;
pub(crate) use volume::Volume;

/// A baseline's alarm: one device on one day.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Alarm {
    pub(crate) device: IpAddr,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) score: f64,
}

/// A competitor.
pub(crate) trait Baseline {
    /// Its name in results.
    fn name(&self) -> &'static str;

    /// Takes in one event; `learning` during the normal period.
    fn observe(&mut self, event: &Event, local: &LocalNetworks, learning: bool);

    /// All alarms, unranked.
    fn alarms(&self) -> Vec<Alarm>;
}

/// Keeps of the alarms the strongest `per_day` of each day, strongest first.
pub(crate) fn within_budget(mut alarms: Vec<Alarm>, per_day: u64) -> Vec<Alarm> {
    alarms.sort_by(|a, b| {
        b.score
            .total_cmp(&a.score)
            .then(a.first.cmp(&b.first))
            .then(a.device.cmp(&b.device))
    });
    let mut spent: BTreeMap<i64, u64> = BTreeMap::new();
    alarms.retain(|alarm| {
        let day = spent.entry(alarm.first.day()).or_default();
        *day += 1;
        *day <= per_day
    });
    alarms
}

#[cfg(test)]
mod tests;
