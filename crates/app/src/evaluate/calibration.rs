//! What scores ordinary life reaches: per detector the highest score of every benign device-hour.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use thymus_detect::DETECTORS;

use crate::evaluate::case::CaseResult;
use crate::evaluate::manifest::Kind;

/// Most scores written per detector, the highest ones.
const SCORES_MAX: usize = 5_000;

#[derive(Default, Serialize)]
struct Distribution {
    device_hours: u64,
    /// Hours in which the detector had something to say.
    scored: u64,
    /// The highest scores, highest first.
    scores: Vec<f64>,
    /// The same for outsiders, who are only counted when scored.
    outsiders: Vec<f64>,
    /// The highest score of each case that has one above 1, for finding its cause.
    highest_by_case: BTreeMap<String, f64>,
}

/// Writes the distributions over all benign cases.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write(path: &Path, results: &[CaseResult]) -> Result<()> {
    let mut by_detector: BTreeMap<&str, Distribution> = BTreeMap::new();
    for spec in DETECTORS {
        by_detector.insert(spec.id, Distribution::default());
    }
    for result in results.iter().filter(|result| result.kind == Kind::Benign) {
        for maximum in &result.maxima {
            let Some(spec) = DETECTORS.get(maximum.detector) else {
                continue;
            };
            let own = by_detector.entry(spec.id).or_default();
            if !maximum.is_device {
                own.outsiders.push(maximum.score);
                continue;
            }
            own.device_hours += 1;
            if maximum.score > 0.0 {
                own.scored += 1;
                own.scores.push(maximum.score);
            }
            if maximum.score > 1.0 {
                let highest = own.highest_by_case.entry(result.name.clone()).or_default();
                *highest = highest.max(maximum.score);
            }
        }
    }
    for own in by_detector.values_mut() {
        for scores in [&mut own.scores, &mut own.outsiders] {
            scores.sort_by(|a, b| b.total_cmp(a));
            scores.truncate(SCORES_MAX);
        }
    }
    let text = serde_json::to_string_pretty(&by_detector)?;
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
