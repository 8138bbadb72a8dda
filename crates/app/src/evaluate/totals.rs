//! Sums over cases.

use serde::Serialize;

use crate::evaluate::case::{CaseResult, Score};
use crate::evaluate::manifest::Kind;
use crate::evaluate::{poisson_95, share_95};

/// What one judge made of all cases at one budget.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Totals {
    pub(crate) attack_cases: u64,
    pub(crate) found: u64,
    /// Exact 95 % interval of the share found.
    pub(crate) found_share_95: (f64, f64),
    pub(crate) ranked_first: u64,
    pub(crate) ranked_first_or_second: u64,
    pub(crate) benign_cases: u64,
    /// Shown incidents of benign cases.
    pub(crate) false_incidents: u64,
    /// Shown incidents of attack cases that name no listed entity; apart, since such captures may
    /// hold more than is labelled.
    pub(crate) false_incidents_in_attack_cases: u64,
    /// Device-days of the benign cases.
    pub(crate) entity_days: f64,
    /// `None` without benign device-days.
    pub(crate) false_per_entity_day: Option<f64>,
    /// Exact 95 % interval of that rate.
    pub(crate) false_per_entity_day_95: Option<(f64, f64)>,
    pub(crate) median_seconds_to_detect: Option<f64>,
}

impl Totals {
    /// Sums over `results`, of each taking the score that `of` picks; a case without one counts as
    /// not found.
    pub(crate) fn of<'a>(
        results: &'a [CaseResult],
        of: impl Fn(&'a CaseResult) -> Option<&'a Score>,
    ) -> Self {
        let nothing = Score::default();
        let scored = |kind: Kind| {
            let own = results.iter().filter(move |result| result.kind == kind);
            own.map(|result| of(result).unwrap_or(&nothing))
        };
        let count = |keep: &dyn Fn(&Score) -> bool| {
            scored(Kind::Attack).filter(|score| keep(score)).count() as u64
        };
        let attack_cases = count(&|_| true);
        let found = count(&|score| score.found);
        let false_incidents = scored(Kind::Benign)
            .map(|score| score.false_incidents)
            .sum();
        let entity_days: f64 = results
            .iter()
            .filter(|result| result.kind == Kind::Benign)
            .map(|result| result.device_days)
            .sum();
        let rate = |n: f64| (entity_days > 0.0).then(|| n / entity_days);
        let interval = poisson_95(false_incidents);
        let delays = scored(Kind::Attack)
            .filter_map(|score| score.seconds_to_detect)
            .collect();
        Self {
            attack_cases,
            found,
            found_share_95: share_95(found, attack_cases),
            ranked_first: count(&|score| score.rank == Some(1)),
            ranked_first_or_second: count(&|score| score.rank.is_some_and(|rank| rank <= 2)),
            benign_cases: scored(Kind::Benign).count() as u64,
            false_incidents,
            false_incidents_in_attack_cases: scored(Kind::Attack)
                .map(|score| score.false_incidents)
                .sum(),
            entity_days,
            false_per_entity_day: rate(false_incidents as f64),
            false_per_entity_day_95: rate(interval.0).zip(rate(interval.1)),
            median_seconds_to_detect: median(delays),
        }
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let high = values.get(middle).copied()?;
    if values.len() % 2 == 1 {
        return Some(high);
    }
    values
        .get(middle.checked_sub(1)?)
        .map(|low| f64::midpoint(*low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
