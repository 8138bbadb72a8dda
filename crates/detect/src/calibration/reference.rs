//! The recent hourly scores of one entity, peer group or site.

use std::collections::VecDeque;

use thymus_schema::{SnapshotError, SnapshotReader, SnapshotWriter};

/// Fewest scores above zero before a tail is fitted.
const TAIL_SCORES_MIN: usize = 40;
/// Share of the scores above zero that the tail is fitted to.
const TAIL_SHARE: f64 = 0.1;
/// Where all devices are alike their scores lie close together, and an exponential tail would call what one
/// of them does one in 10^25. Nobody can know that from some thousand hours, and what devices do has heavy
/// tails: none lighter than this is believed.
const SHAPE_MIN: f64 = 0.2;
/// Beyond a half the variance, by which it is found, is not finite.
const SHAPE_MAX: f64 = 0.45;

/// Hours seen and their scores above zero, the newest `scores_max` of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reference {
    scores_max: usize,
    /// Hours seen while the kept scores were collected.
    hours: f64,
    /// Scores above zero, oldest first.
    recent: VecDeque<f64>,
    /// The same, ascending.
    sorted: Vec<f64>,
    tail: Option<ParetoTail>,
    /// Pushes above zero since the tail was fitted.
    since_fit: usize,
}

/// A generalised Pareto fit of the excesses over `threshold`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ParetoTail {
    threshold: f64,
    /// Excesses fitted.
    count: f64,
    shape: f64,
    scale: f64,
}

impl Reference {
    pub(crate) fn new(scores_max: usize) -> Self {
        Self {
            scores_max,
            hours: 0.0,
            recent: VecDeque::new(),
            sorted: Vec::new(),
            tail: None,
            since_fit: 0,
        }
    }

    /// A reference that has seen `hours` without a score.
    pub(crate) fn after(scores_max: usize, hours: f64) -> Self {
        Self {
            hours,
            ..Self::new(scores_max)
        }
    }

    /// Hours seen.
    pub(crate) fn hours(&self) -> f64 {
        self.hours
    }

    /// Adds an hour.
    pub(crate) fn push(&mut self, score: f64) {
        self.hours += 1.0;
        if score <= 0.0 || !score.is_finite() {
            return;
        }
        if self.recent.len() >= self.scores_max
            && let Some(oldest) = self.recent.pop_front()
        {
            // The hours that went with the dropped score are forgotten with it.
            self.hours -= self.hours / (self.recent.len() + 1) as f64;
            let at = self.sorted.partition_point(|kept| *kept < oldest);
            self.sorted.remove(at);
        }
        self.recent.push_back(score);
        let at = self.sorted.partition_point(|kept| *kept < score);
        self.sorted.insert(at, score);
        self.since_fit += 1;
        if self.since_fit * 20 >= self.sorted.len() {
            self.fit();
        }
    }

    /// How many hours scored at least `score`.
    fn at_least(&self, score: f64) -> f64 {
        (self.sorted.len() - self.sorted.partition_point(|kept| *kept < score)) as f64
    }

    /// The share of hours at least as extreme, leaning on `wider` as if it were worth `weight`
    /// hours.
    pub(crate) fn shrink(&self, score: f64, wider: f64, weight: f64) -> f64 {
        ((weight * wider + self.at_least(score)) / (weight + self.hours)).min(1.0)
    }

    /// P(score of an hour ≥ `score`) by the fitted tail; `None` below its threshold or without one.
    pub(crate) fn pareto_tail(&self, score: f64) -> Option<f64> {
        let tail = self.tail.filter(|tail| score > tail.threshold)?;
        let excess = (score - tail.threshold) / tail.scale;
        let survival = (1.0 + tail.shape * excess).powf(-1.0 / tail.shape);
        Some(tail.count / self.hours.max(1.0) * survival)
    }

    /// Fits by the method of moments (Hosking and Wallis, *Parameter and quantile estimation for the
    /// generalized Pareto distribution*, 1987), with a shape within bounds and the mean as it was.
    fn fit(&mut self) {
        self.since_fit = 0;
        if self.sorted.len() < TAIL_SCORES_MIN {
            return;
        }
        let count = ((self.sorted.len() as f64 * TAIL_SHARE) as usize).max(20);
        let split = self.sorted.len() - count;
        let (Some(threshold), Some(excesses)) = (
            self.sorted.get(split.saturating_sub(1)).copied(),
            self.sorted.get(split..),
        ) else {
            return;
        };
        let n = count as f64;
        let mean = excesses.iter().map(|x| x - threshold).sum::<f64>() / n;
        let variance = excesses
            .iter()
            .map(|x| (x - threshold - mean).powi(2))
            .sum::<f64>()
            / (n - 1.0);
        if mean <= 1e-9 || variance <= 1e-12 {
            self.tail = None;
            return;
        }
        let ratio = mean * mean / variance;
        let shape = (0.5 * (1.0 - ratio)).clamp(SHAPE_MIN, SHAPE_MAX);
        let scale = mean * (1.0 - shape);
        self.tail = Some(ParetoTail {
            threshold,
            count: n,
            shape,
            scale,
        });
    }

    pub(crate) fn snapshot(&self, out: &mut SnapshotWriter) {
        out.f64(self.hours).u64(self.recent.len() as u64);
        for score in &self.recent {
            out.f64(*score);
        }
    }

    pub(crate) fn restore(
        scores_max: usize,
        from: &mut SnapshotReader<'_>,
    ) -> Result<Self, SnapshotError> {
        let mut restored = Self::new(scores_max);
        let hours = from.f64()?;
        for _ in 0..from.count(8)? {
            restored.push(from.f64()?);
        }
        restored.hours = if hours.is_finite() {
            hours.max(restored.hours)
        } else {
            restored.hours
        };
        restored.fit();
        Ok(restored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exponential_tail_is_followed_beyond_the_data_on_the_cautious_side() {
        let mut reference = Reference::new(10_000);
        // Quantiles of the exponential distribution with mean 0.5, in a scrambled order.
        for i in 0..5_000_u64 {
            let u = ((i * 2_654_435_761) % 5_000) as f64 / 5_000.0;
            reference.push(-0.5 * (1.0 - u).max(1e-9).ln());
        }
        let far = reference.pareto_tail(6.0).unwrap();
        let truth = (-12.0_f64).exp();
        assert!(
            far > truth && far < truth * 1_000.0,
            "{far} against {truth}"
        );
    }

    #[test]
    fn keeps_the_newest_and_stays_bounded() {
        let mut reference = Reference::new(8);
        for i in 0..100 {
            reference.push(f64::from(i));
        }
        assert_eq!(reference.sorted.len(), 8);
        assert_eq!(reference.at_least(92.0), 8.0);
        assert!(reference.hours() <= 9.0, "{}", reference.hours());
    }
}
