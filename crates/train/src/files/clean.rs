//! Leaves out what is called malicious only because it lies in a malicious package.
//!
//! That a package is malicious says that *some* of its files are (multiple-instance learning, Dietterich et
//! al., Artificial Intelligence 1997); the rest are often copies of well-known libraries. Trees that learned
//! other packages judge each file (as Northcutt et al., *Confident learning*, JAIR 2021, find wrong labels);
//! what looks harmless is left out, but for the worst file of each package if that is in doubt. Packages that share near
//! duplicates are judged by the same trees: copies of a library must not vouch for each other.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use thymus_nets::file::forest::{Counts, Forest};

use super::data::Sample;
use super::forest::{self, Plan};

/// Rounds: each learns from what the one before it kept.
const ROUNDS: usize = 2;
/// Parts that the packages fall into; files are judged by trees that learned all other parts.
const PARTS: u32 = 4;
/// Logit under which even the worst file of a package is left out: what makes the package malicious is
/// then nothing that a judge of its files can tell from harmless ones, such as a copy of a known library.
const HARMLESS: f32 = -2.0;

/// Drops such files from `train`, if any sample has a package; gives how many.
pub(super) fn drop_harmless(train: &mut Vec<Sample>, plan: Plan) -> Result<usize> {
    if train.iter().all(|sample| sample.package.is_none()) {
        return Ok(0);
    }
    let parts = parts(train);
    // Coarser trees do.
    let plan = Plan {
        trees: plan.trees.div_ceil(4),
        rate: plan.rate * 4.0,
        ..plan
    };
    let mut kept = vec![true; train.len()];
    for _ in 0..ROUNDS {
        let logits = logits(train, &parts, &kept, plan)?;
        kept = keep(train, &logits);
    }
    let before = train.len();
    let mut kept = kept.into_iter();
    train.retain(|_| kept.next().unwrap_or(true));
    Ok(before - train.len())
}

/// The part each sample is of: packages are together that share a cluster with one another, or with one
/// that does.
fn parts(train: &[Sample]) -> Vec<u32> {
    let mut first: BTreeMap<u32, u32> = BTreeMap::new();
    let mut joined: BTreeMap<u32, u32> = BTreeMap::new();
    let head = |joined: &BTreeMap<u32, u32>, mut package: u32| {
        while let Some(next) = joined.get(&package) {
            package = *next;
        }
        package
    };
    for sample in train {
        let Some(package) = sample.package else {
            continue;
        };
        let other = *first.entry(sample.cluster).or_insert(package);
        let (one, other) = (head(&joined, package), head(&joined, other));
        if one != other {
            joined.insert(one.max(other), one.min(other));
        }
    }
    let part = |sample: &Sample| {
        let number = sample
            .package
            .map_or(sample.cluster, |package| head(&joined, package));
        number % PARTS
    };
    train.iter().map(part).collect()
}

/// The logits of all samples with a package, each by trees that learned from those of the other parts that
/// are `kept`.
fn logits(train: &[Sample], parts: &[u32], kept: &[bool], plan: Plan) -> Result<Vec<f32>> {
    let mut logits = vec![0.0; train.len()];
    for part in 0..PARTS {
        let learned = train.iter().zip(parts.iter().zip(kept));
        let learned = learned.filter(|(_, (of, kept))| **of != part && **kept);
        let trees = forest::learn(learned.map(|(sample, _)| sample), plan, None)?;
        let forest = Forest::new(&trees.nodes, &trees.roots, trees.base)
            .context("learned trees lead nowhere")?;
        let judged = train.iter().zip(parts).zip(&mut logits);
        for ((sample, _), logit) in
            judged.filter(|((sample, of), _)| **of == part && sample.package.is_some())
        {
            let mut counts = Counts::default();
            counts.add(&sample.bytes);
            *logit = forest.logit(&counts);
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
        let in_doubt = |package| is_worst(package) && *logit > HARMLESS;
        sample.package.is_none_or(in_doubt) || *logit > 0.0
    };
    train.iter().zip(logits).map(stays).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_that_share_near_duplicates_are_judged_together() {
        let sample = |(package, cluster)| Sample {
            bytes: Vec::new(),
            malicious: true,
            cluster,
            package: Some(package),
            form: "",
        };
        let train: Vec<Sample> = [(1, 10), (2, 11), (3, 11), (3, 10), (6, 12)]
            .map(sample)
            .into_iter()
            .collect();
        assert_eq!(parts(&train), [1, 1, 1, 1, 2]);
    }

    #[test]
    fn of_a_package_what_looks_harmless_goes_but_for_the_worst_in_doubt() {
        let sample = |package: Option<u32>| Sample {
            bytes: Vec::new(),
            malicious: package.is_some(),
            cluster: 0,
            package,
            form: "",
        };
        let train = [Some(1), Some(1), Some(1), Some(2), Some(2), Some(3), None].map(sample);
        let logits = [3.0, 0.5, -0.5, -2.0, -1.0, -3.0, -9.0];
        assert_eq!(
            keep(&train, &logits),
            [true, true, false, false, true, false, true]
        );
    }
}
