//! Figures of a score on a test side: area under the curve, recall at false-positive rates.

use std::collections::BTreeMap;

use crate::corpus::index::Row;
use crate::corpus::manifest::Label;

/// What a score reaches.
#[derive(Debug)]
pub(super) struct Figures {
    /// Malicious clusters.
    pub(super) clusters: usize,
    /// Area under the curve; ties count half.
    pub(super) auc: f64,
    /// Recall at 1 % false positives.
    pub(super) recall_1e2: f64,
    /// Recall at 0.1 % false positives.
    pub(super) recall_1e3: f64,
}

/// Measures `scores` of `rows`.
pub(super) fn figures(rows: &[&Row], scores: &[f64]) -> Figures {
    let mut clusters: BTreeMap<&str, f64> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.label == Label::Malicious) {
        *clusters.entry(&row.cluster).or_default() += 1.0;
    }
    let mut good = Vec::new();
    let mut bad = Vec::new();
    for (row, score) in rows.iter().zip(scores) {
        match row.label {
            Label::Benign => good.push(*score),
            Label::Malicious => {
                let files = clusters.get(row.cluster.as_str()).copied().unwrap_or(1.0);
                bad.push((*score, 1.0 / files));
            }
        }
    }
    good.sort_by(f64::total_cmp);
    Figures {
        clusters: clusters.len(),
        auc: area(&good, &bad),
        recall_1e2: recall(&good, &bad, 0.01),
        recall_1e3: recall(&good, &bad, 0.001),
    }
}

/// `good` sorted; `bad` with weights.
fn area(good: &[f64], bad: &[(f64, f64)]) -> f64 {
    let mut sum = 0.0;
    let mut weight = 0.0;
    for (score, share) in bad {
        let below = good.partition_point(|other| other < score) as f64;
        let not_above = good.partition_point(|other| other <= score) as f64;
        sum += share * f64::midpoint(below, not_above);
        weight += share;
    }
    sum / (weight * good.len() as f64).max(f64::MIN_POSITIVE)
}

/// Share of `bad` above the threshold that at most `rate` of `good` is above.
fn recall(good: &[f64], bad: &[(f64, f64)], rate: f64) -> f64 {
    let allowed = (good.len() as f64 * rate).floor() as usize;
    let threshold = good
        .len()
        .checked_sub(allowed + 1)
        .and_then(|at| good.get(at))
        .copied()
        .unwrap_or(f64::MAX);
    let weight: f64 = bad.iter().map(|(_, share)| share).sum();
    let above: f64 = bad
        .iter()
        .filter(|(score, _)| *score > threshold)
        .map(|(_, share)| share)
        .sum();
    above / weight.max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_a_useless_and_a_half_score() {
        let good: Vec<f64> = (0..1000).map(f64::from).collect();
        let perfect = [(2000.0, 0.5), (2001.0, 0.5)];
        assert!((area(&good, &perfect) - 1.0).abs() < 1e-9);
        assert!((recall(&good, &perfect, 0.001) - 1.0).abs() < 1e-9);
        let tied = [(500.0, 1.0)];
        assert!((area(&[500.0, 500.0], &tied) - 0.5).abs() < 1e-9);
        let half = [(2000.0, 1.0), (-1.0, 1.0)];
        assert!((recall(&good, &half, 0.01) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn the_rate_is_not_passed() {
        let good: Vec<f64> = (0..1000).map(f64::from).collect();
        // Ten of a thousand are 1 %: 990 to 999 may be above, so 989 is the threshold.
        assert!((recall(&good, &[(989.5, 1.0)], 0.01) - 1.0).abs() < 1e-9);
        assert!(recall(&good, &[(989.0, 1.0)], 0.01) < 1e-9);
    }
}
