//! Leaves out what is called malicious only because it lies in a malicious package.
//!
//! That a package is malicious says that *some* of its files are (multiple-instance learning, Dietterich et
//! al., Artificial Intelligence 1997); the rest are often copies of well-known libraries. Trees that learned
//! the other half of the clusters judge each file (as Northcutt et al., *Confident learning*, JAIR 2021, find
//! wrong labels); what looks harmless is left out, but for the worst file of each package.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use thymus_nets::file::forest::{Counts, Forest};

use super::data::Sample;
use super::forest::{self, Plan};

/// Rounds: each learns from what the one before it kept.
const ROUNDS: usize = 2;

/// Drops such files from `train`, if any sample has a package; gives how many.
pub(super) fn drop_harmless(train: &mut Vec<Sample>, plan: Plan) -> Result<usize> {
    if train.iter().all(|sample| sample.package.is_none()) {
        return Ok(0);
    }
    let mut kept = vec![true; train.len()];
    for _ in 0..ROUNDS {
        let logits = logits(train, &kept, plan)?;
        kept = keep(train, &logits);
    }
    let before = train.len();
    let mut kept = kept.into_iter();
    train.retain(|_| kept.next().unwrap_or(true));
    Ok(before - train.len())
}

/// The logits of all samples, each by trees that learned from those of the other half of the clusters that
/// are `kept`.
fn logits(train: &[Sample], kept: &[bool], plan: Plan) -> Result<Vec<f32>> {
    let half = |sample: &Sample| sample.cluster % 2;
    let mut logits = vec![0.0; train.len()];
    for side in 0..2 {
        let learned = train.iter().zip(kept);
        let learned = learned.filter(|(sample, kept)| half(sample) != side && **kept);
        let trees = forest::learn(learned.map(|(sample, _)| sample), plan)?;
        let forest = Forest::new(&trees.nodes, &trees.roots, trees.base)
            .context("learned trees lead nowhere")?;
        for (sample, logit) in train.iter().zip(&mut logits) {
            if half(sample) == side && sample.package.is_some() {
                let mut counts = Counts::default();
                counts.add(&sample.bytes);
                *logit = forest.logit(&counts);
            }
        }
    }
    Ok(logits)
}

/// Whether each sample stays.
fn keep(train: &[Sample], logits: &[f32]) -> Vec<bool> {
    let mut worst: BTreeMap<u32, f32> = BTreeMap::new();
    for (sample, logit) in train.iter().zip(logits) {
        if let Some(package) = sample.package {
            let known = worst.entry(package).or_insert(f32::MIN);
            *known = known.max(*logit);
        }
    }
    let stays = |(sample, logit): (&Sample, &f32)| {
        let is_worst = |package| worst.get(&package).is_some_and(|worst| logit >= worst);
        sample.package.is_none_or(is_worst) || *logit > 0.0
    };
    train.iter().zip(logits).map(stays).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_package_what_looks_harmless_goes_but_for_the_worst() {
        let sample = |package: Option<u32>| Sample {
            bytes: Vec::new(),
            malicious: package.is_some(),
            cluster: 0,
            package,
        };
        let train = [Some(1), Some(1), Some(1), Some(2), Some(2), None].map(sample);
        let logits = [3.0, 0.5, -0.5, -2.0, -1.0, -9.0];
        assert_eq!(
            keep(&train, &logits),
            [true, true, false, false, true, true]
        );
    }
}
