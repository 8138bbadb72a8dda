//! Recall at a false-alarm rate, with the threshold taken from one set and the figures from another.

use crate::lists::Split;

/// What a model reaches on names it never saw.
#[derive(Debug)]
pub(crate) struct Figures {
    /// The threshold that lets the wanted share of the tuning set's benign names through.
    pub(crate) threshold: f64,
    /// Benign test names above it.
    pub(crate) false_alarms: usize,
    /// Benign test names.
    pub(crate) benign: usize,
    /// Mean over families of the share of names above it.
    pub(crate) recall: f64,
    /// Share per family, worst first.
    pub(crate) families: Vec<(String, f64)>,
}

/// Measures `score` at the false-alarm rate `rate`.
pub(crate) fn measure(
    score: &dyn Fn(&str) -> f64,
    tune: &Split,
    test: &Split,
    rate: f64,
) -> Figures {
    let mut benign: Vec<f64> = tune.benign.iter().map(|label| score(label)).collect();
    benign.sort_by(f64::total_cmp);
    let at = ((benign.len() as f64 * (1.0 - rate)) as usize).min(benign.len().saturating_sub(1));
    let threshold = benign.get(at).copied().unwrap_or(f64::MAX);
    let above = |labels: &[String]| labels.iter().filter(|l| score(l) > threshold).count();
    let mut families: Vec<(String, f64)> = test
        .families
        .iter()
        .map(|(name, labels)| {
            (
                name.clone(),
                above(labels) as f64 / labels.len().max(1) as f64,
            )
        })
        .collect();
    families.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
    let recall = families.iter().map(|family| family.1).sum::<f64>() / families.len().max(1) as f64;
    let false_alarms = above(&test.benign);
    Figures {
        threshold,
        false_alarms,
        benign: test.benign.len(),
        recall,
        families,
    }
}
