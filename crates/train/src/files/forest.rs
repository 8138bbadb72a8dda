//! The trees that judge beginnings of files, learned with the forust crate.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use forust_ml::{GradientBooster, Matrix};
use thymus_nets::file::forest::{Counts, FEATURES, Forest, Node};

use super::data::Sample;
use super::net::Dice;

/// Files of one malicious cluster that are learned from at most.
const CLUSTER_MAX: usize = 3;

/// How to learn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) trees: usize,
    pub(super) depth: usize,
    pub(super) rate: f32,
    /// Bytes of the shortest beginning that is learned from, of longer files.
    pub(super) shortest: usize,
    /// Benign clusters that are learned from at most.
    pub(super) benign_max: usize,
}

/// Learned trees, as [`thymus_nets::file::forest::Forest::new`] reads them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Trees {
    /// [nodes, 4]
    pub(super) nodes: Vec<f32>,
    pub(super) roots: Vec<f32>,
    pub(super) base: f32,
}

/// Learns from the files of the training side: from all of each, from a beginning of half its length or
/// more, and from one of any length.
///
/// Trees that come after `known` ones learn most from what those judge wrongly, as boosting does (Freund and
/// Schapire, JCSS 1997); what both say adds up.
pub(super) fn learn<'s>(
    train: impl IntoIterator<Item = &'s Sample>,
    plan: Plan,
    known: Option<&Forest>,
) -> Result<Trees> {
    let mut dice = Dice::new(7);
    let mut rows: Vec<(Counts, bool, f64)> = Vec::new();
    let mut clusters: BTreeMap<(bool, u32), Vec<&Sample>> = BTreeMap::new();
    for sample in train {
        let key = (sample.malicious, sample.cluster);
        clusters.entry(key).or_default().push(sample);
    }
    let benign = clusters.keys().filter(|key| !key.0).count();
    let kept = plan.benign_max as f32 / benign.max(1) as f32;
    let mut classes = [0.0_f64; 2];
    for ((malicious, _), files) in &clusters {
        if !malicious && dice.roll() >= kept {
            continue;
        }
        classes[usize::from(*malicious)] += 1.0;
        let most = if *malicious { CLUSTER_MAX } else { 1 };
        let taken = files.len().min(most);
        for number in 0..taken {
            let bytes = &files[number * files.len() / taken].bytes;
            let mut add = |length: usize, share: f64| {
                let mut counts = Counts::default();
                counts.add(&bytes[..length]);
                let wrong = known.map_or(1.0, |known| wrongness(known.logit(&counts), *malicious));
                rows.push((counts, *malicious, wrong * share / taken as f64));
            };
            if bytes.len() < 2 * plan.shortest {
                add(bytes.len(), 1.0);
                continue;
            }
            add(bytes.len(), 0.6);
            add(bytes.len() / 2 + dice.below(bytes.len() / 2), 0.2);
            // As many short ones as long ones.
            let short = (bytes.len() as f32 / plan.shortest as f32).powf(dice.roll());
            add((plan.shortest as f32 * short) as usize, 0.2);
        }
    }
    if known.is_some() {
        // What is judged rightly weighs little, so a class weighs what its files do.
        classes = [false, true].map(|class| {
            let of_class = rows.iter().filter(|row| row.1 == class);
            of_class
                .map(|row| row.2)
                .sum::<f64>()
                .max(f64::MIN_POSITIVE)
        });
    }
    let all: f64 = classes.iter().sum();
    let column = |feature| {
        rows.iter()
            .map(move |row| f64::from(row.0.feature(feature)))
    };
    let data: Vec<f64> = (0..FEATURES).flat_map(column).collect();
    let labels: Vec<f64> = rows.iter().map(|row| f64::from(u8::from(row.1))).collect();
    let weight = |row: &(Counts, bool, f64)| row.2 * all / (2.0 * classes[usize::from(row.1)]);
    let weights: Vec<f64> = rows.iter().map(weight).collect();
    let mut model = GradientBooster::default()
        .set_iterations(plan.trees)
        .set_max_depth(plan.depth)
        .set_max_leaves(1 << plan.depth)
        .set_learning_rate(plan.rate)
        .set_subsample(0.8)
        .set_colsample_bytree(0.3)
        .set_nbins(64)
        .set_parallel(false);
    model
        .fit(
            &Matrix::new(&data, rows.len(), FEATURES),
            &labels,
            &weights,
            None,
        )
        .context("learn trees")?;
    Ok(flat(&model))
}

/// How far off a logit is, and a little for what is right already.
fn wrongness(logit: f32, malicious: bool) -> f64 {
    let chance = 1.0 / (1.0 + f64::from(-logit).exp());
    (f64::from(u8::from(malicious)) - chance).abs().max(0.02)
}

fn flat(model: &GradientBooster) -> Trees {
    let mut trees = Trees {
        base: model.base_score as f32,
        ..Trees::default()
    };
    for tree in &model.trees {
        let root = trees.nodes.len() / 4;
        trees.roots.push(root as f32);
        for node in &tree.nodes {
            let flat = if node.is_leaf {
                Node::leaf(node.weight_value)
            } else {
                let (left, right) = (root + node.left_child, root + node.right_child);
                Node::question(node.split_feature, node.split_value as f32, left, right)
            };
            trees.nodes.extend(flat.numbers());
        }
    }
    trees
}
