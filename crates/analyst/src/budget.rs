//! How many incidents a day a person is shown.
//!
//! The budget counts per event-time day of an incident's first event and does not roll over. Only
//! incidents with at least one discovery of the online false-discovery control compete for it; the
//! budget ranks what passed and never lifts what did not.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use thymus_schema::Incident;

/// Shown incidents per event-time day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum IncidentBudget {
    /// This many a day per hundred devices, at least one a day.
    PerHundredDevices(f64),
    /// This many a day, whatever the size of the site.
    PerDay(u64),
}

impl Default for IncidentBudget {
    fn default() -> Self {
        Self::PerHundredDevices(5.0)
    }
}

impl IncidentBudget {
    /// How many a day that is on a site of `devices` devices.
    pub fn per_day(self, devices: u64) -> u64 {
        match self {
            Self::PerDay(n) => n,
            Self::PerHundredDevices(n) => ((n * devices as f64 / 100.0).ceil() as u64).max(1),
        }
    }
}

/// An incident on its way to being ranked.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) incident: Incident,
    /// Whether one of its alerts was a discovery.
    pub(crate) discovered: bool,
    /// Distinct phases, the tie-breaker.
    pub(crate) phases: usize,
}

/// Sets `shown` and `rank`, and returns the incidents in order of rank: the shown ones first, the
/// strongest first in each part.
pub(crate) fn rank(candidates: &[Candidate], per_day: u64) -> Vec<Incident> {
    let mut order: Vec<&Candidate> = candidates.iter().collect();
    order.sort_by(|a, b| stronger_first(a, b));
    let mut spent: BTreeMap<i64, u64> = BTreeMap::new();
    let (mut shown, mut rest) = (Vec::new(), Vec::new());
    for candidate in order {
        let day = spent
            .entry(candidate.incident.first_seen.day())
            .or_default();
        let mut incident = candidate.incident.clone();
        incident.shown = candidate.discovered && *day < per_day;
        if incident.shown {
            *day += 1;
            shown.push(incident);
        } else {
            rest.push(incident);
        }
    }
    shown.append(&mut rest);
    for (position, incident) in shown.iter_mut().enumerate() {
        incident.rank = u32::try_from(position + 1).unwrap_or(u32::MAX);
    }
    shown
}

fn stronger_first(a: &Candidate, b: &Candidate) -> Ordering {
    let p = |c: &Candidate| c.incident.p_value.neg_log10();
    b.discovered
        .cmp(&a.discovered)
        .then(p(b).total_cmp(&p(a)))
        .then(b.phases.cmp(&a.phases))
        .then(a.incident.first_seen.cmp(&b.incident.first_seen))
        .then(a.incident.id.cmp(&b.incident.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_grows_with_the_site_and_is_never_zero() {
        let budget = IncidentBudget::default();
        assert_eq!(budget.per_day(0), 1);
        assert_eq!(budget.per_day(20), 1);
        assert_eq!(budget.per_day(21), 2);
        assert_eq!(budget.per_day(100), 5);
        assert_eq!(IncidentBudget::PerDay(3).per_day(10_000), 3);
    }
}
