//! A model that learning goes on from: fine-tuning on files of one's own, on two cores.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use thymus_nets::file::EMBEDDING;
use thymus_nets::file::forest::Forest;

use super::data::Samples;
use super::forest::Trees;
use super::net::{Heads, Rows};
use crate::corpus::Kind;

/// What was learned before.
pub(super) struct Start {
    pub(super) rows: Rows,
    /// By type.
    pub(super) heads: Vec<Heads>,
    /// By type.
    pub(super) trees: Vec<Trees>,
    /// Bytes of the shortest beginning that the trees judge.
    pub(super) shortest: usize,
}

impl Start {
    /// Reads the parts of the model file at `path` that judge `kinds`, of pieces of `2^bits` bytes. `heads` are
    /// such as to be filled.
    pub(super) fn read(
        path: &Path,
        kinds: &[(Kind, Samples)],
        bits: u32,
        mut heads: Vec<Heads>,
    ) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let no_model = || format!("{} is no model of files", path.display());
        let (_, metadata) = SafeTensors::read_metadata(&bytes).with_context(no_model)?;
        let fields = metadata.metadata().clone().unwrap_or_default();
        let number = |name: &str| -> Result<u32> {
            let field = fields.get(name).with_context(no_model)?;
            field.parse().with_context(no_model)
        };
        ensure!(
            number("bits")? == bits,
            "{} is of another group: see --group",
            path.display()
        );
        let row_bits = number("row_bits")?;
        let tensors = SafeTensors::deserialize(&bytes).with_context(no_model)?;
        let floats = |name: &str| -> Result<Vec<f32>> {
            let Ok(tensor) = tensors.tensor(name) else {
                bail!(
                    "{} has no {name}: it does not judge that type; name others by --only",
                    path.display()
                );
            };
            ensure!(tensor.dtype() == Dtype::F32, "{name} is not of floats");
            let (words, _) = tensor.data().as_chunks::<4>();
            Ok(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
        };
        let rows = rows(
            tensors.tensor("rows").with_context(no_model)?.data(),
            &floats("scales")?,
            row_bits,
        )?;
        let mut trees = Vec::new();
        for ((kind, _), heads) in kinds.iter().zip(&mut heads) {
            let part = |name: &str| floats(&format!("{}.{name}", kind.as_str()));
            let parts = [
                part("hidden")?,
                part("hidden_bias")?,
                part("out")?,
                part("out_bias")?,
            ];
            fill(heads, &parts).with_context(no_model)?;
            let shape = part("forest")?;
            trees.push(Trees {
                nodes: part("forest_nodes")?,
                roots: part("forest_roots")?,
                base: *shape.get(2).with_context(no_model)?,
            });
        }
        let shortest = match fields.get("shortest") {
            Some(_) => number("shortest")? as usize,
            None => 2 << bits,
        };
        Ok(Self {
            rows,
            heads,
            trees,
            shortest,
        })
    }
}

/// Rows in floats again.
fn rows(bytes: &[u8], scales: &[f32], row_bits: u32) -> Result<Rows> {
    let mut rows = Rows::new(row_bits);
    ensure!(
        bytes.len() == rows.numbers.len() * EMBEDDING
            && scales.len() == rows.numbers.len() >> row_bits,
        "the rows of the model have another shape"
    );
    let (from, _) = bytes.as_chunks::<EMBEDDING>();
    for (at, (row, from)) in rows.numbers.iter_mut().zip(from).enumerate() {
        *row = from.map(|byte| (f32::from(byte) - 128.0) * scales[at >> row_bits]);
    }
    Ok(rows)
}

/// Fills layers, level by level as the model file has them; nothing when they have another shape.
fn fill(heads: &mut Heads, parts: &[Vec<f32>; 4]) -> Option<()> {
    let mut parts = parts.each_ref().map(|part| part.iter());
    for head in &mut heads.0 {
        let [hidden, hidden_bias, out, out_bias] = &mut parts;
        for weight in head.hidden.as_flattened_mut() {
            weight.value = *hidden.next()?;
        }
        for weight in &mut head.hidden_bias {
            weight.value = *hidden_bias.next()?;
        }
        for weight in &mut head.out {
            weight.value = *out.next()?;
        }
        head.out_bias.value = *out_bias.next()?;
    }
    let is_used_up = |mut part: std::slice::Iter<'_, f32>| part.next().is_none();
    parts.into_iter().all(is_used_up).then_some(())
}

/// Both as one: their logits add up.
pub(super) fn joined(known: &Trees, added: &Trees) -> Trees {
    let first = (known.nodes.len() / 4) as f32;
    let (added_nodes, _) = added.nodes.as_chunks::<4>();
    let mut nodes = known.nodes.clone();
    for [feature, value, left, right] in added_nodes {
        let is_leaf = *left == 0.0 && *right == 0.0;
        let to = |node: f32| if is_leaf { 0.0 } else { node + first };
        nodes.extend([*feature, *value, to(*left), to(*right)]);
    }
    let added_roots = added.roots.iter().map(|root| root + first);
    Trees {
        nodes,
        roots: known.roots.iter().copied().chain(added_roots).collect(),
        base: known.base + added.base,
    }
}

/// Trees as they judge.
pub(super) fn forest(trees: &Trees) -> Result<Forest> {
    Forest::new(&trees.nodes, &trees.roots, trees.base).context("trees that lead nowhere")
}

#[cfg(test)]
mod tests {
    use thymus_nets::file::forest::{Counts, Node};

    use super::*;

    #[test]
    fn joined_trees_say_what_both_say() {
        let tree = |byte: usize, yes: f32, base: f32| {
            let nodes = [
                Node::question(byte, 0.5, 1, 2),
                Node::leaf(0.0),
                Node::leaf(yes),
            ];
            Trees {
                nodes: nodes.iter().flat_map(|node| node.numbers()).collect(),
                roots: vec![0.0],
                base,
            }
        };
        let (one, other) = (tree(65, 2.0, 0.25), tree(66, -3.0, 0.5));
        for text in ["AAA", "BBB", "AB"] {
            let mut counts = Counts::default();
            counts.add(text.as_bytes());
            let logit = |trees: &Trees| forest(trees).unwrap().logit(&counts);
            let both = logit(&joined(&one, &other));
            assert_eq!(both, logit(&one) + logit(&other), "{text}");
        }
    }
}
