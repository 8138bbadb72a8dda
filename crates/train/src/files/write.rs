//! The model file: rows in bytes, layers in floats, the card inside.

#[expect(
    clippy::disallowed_types,
    reason = "the safetensors crate takes its metadata so"
)]
use std::collections::HashMap as Metadata;

use anyhow::Result;
use safetensors::tensor::{Dtype, TensorView};
use thymus_nets::file::cuts::LEVELS;
use thymus_nets::file::grams::{ORDERS, ROWS};
use thymus_nets::file::{EMBEDDING, HIDDEN, INPUT, WIDTH};

use super::data::Samples;
use super::measure::{BENIGN_MIN, Figures};
use super::net::{Heads, Rows};
use super::{Arguments, Group};
use crate::corpus::Kind;

/// Writes the model file of a group.
pub(super) fn encode(
    group: Group,
    kinds: &[(Kind, Samples)],
    rows: &Rows,
    heads: &[Heads],
    figures: &[Figures],
    card: &str,
) -> Result<Vec<u8>> {
    let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    let (bytes, scales) = quantised(rows);
    let digest = blake3::hash(&bytes).to_hex();
    let shape = vec![ORDERS.len(), ROWS, EMBEDDING];
    tensors.push(("rows".to_owned(), Dtype::U8, shape, bytes));
    let mut floats = |name: String, shape: Vec<usize>, numbers: Vec<f32>| {
        let bytes = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        tensors.push((name, Dtype::F32, shape, bytes));
    };
    floats("scales".to_owned(), vec![ORDERS.len()], scales);
    for (at, ((kind, _), heads)) in kinds.iter().zip(heads).enumerate() {
        let name = kind.as_str();
        let levels = || heads.0.iter();
        let all = |weights: &[super::net::Weight]| -> Vec<f32> {
            weights.iter().map(|weight| weight.value).collect()
        };
        let hidden = levels().flat_map(|head| all(head.hidden.as_flattened()));
        floats(
            format!("{name}.hidden"),
            vec![LEVELS, WIDTH, HIDDEN],
            hidden.collect(),
        );
        let bias = levels().flat_map(|head| all(&head.hidden_bias));
        floats(
            format!("{name}.hidden_bias"),
            vec![LEVELS, HIDDEN],
            bias.collect(),
        );
        let out = levels().flat_map(|head| all(&head.out));
        floats(format!("{name}.out"), vec![LEVELS, HIDDEN], out.collect());
        let out_bias = levels().map(|head| head.out_bias.value);
        floats(format!("{name}.out_bias"), vec![LEVELS], out_bias.collect());
        let of_draft = ([f32::MAX; 2], [1.0, 0.0]);
        let figures = figures
            .get(at)
            .map_or(of_draft, |f| (f.thresholds(), f.odds));
        let limits = [figures.0, figures.1].concat();
        floats(format!("{name}.limits"), vec![4], limits);
    }
    let views: Result<Vec<_>, _> = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| {
            Ok::<_, anyhow::Error>((
                name.as_str(),
                TensorView::new(*dtype, shape.clone(), bytes)?,
            ))
        })
        .collect();
    let names: Vec<&str> = kinds.iter().map(|(kind, _)| kind.as_str()).collect();
    let fields = [
        ("name", group.name().to_owned()),
        (
            "version",
            digest.as_str().get(..12).unwrap_or_default().to_owned(),
        ),
        ("input", INPUT.to_owned()),
        ("bits", group.bits().to_string()),
        ("kinds", names.join(" ")),
        ("card", card.to_owned()),
    ];
    let metadata: Metadata<String, String> = fields
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    Ok(safetensors::serialize(views?, Some(metadata))?)
}

/// Rows in bytes about 128, and the step of each table. The few giants are clipped: the many small
/// numbers need the resolution.
fn quantised(rows: &Rows) -> (Vec<u8>, Vec<f32>) {
    let mut bytes = Vec::with_capacity(ORDERS.len() * ROWS * EMBEDDING);
    let mut scales = Vec::new();
    for table in rows.numbers.chunks(ROWS) {
        let numbers = table.as_flattened();
        let mut sizes: Vec<f32> = numbers
            .iter()
            .map(|x| x.abs())
            .filter(|x| *x > 0.0)
            .collect();
        sizes.sort_by(f32::total_cmp);
        let large = sizes
            .get(sizes.len() * 9_999 / 10_000)
            .copied()
            .unwrap_or(1.0);
        let scale = large.max(1e-9) / 127.0;
        scales.push(scale);
        bytes.extend(
            numbers
                .iter()
                .map(|x| ((x / scale).round().clamp(-127.0, 127.0) + 128.0) as u8),
        );
    }
    (bytes, scales)
}

/// The model card.
pub(super) fn card(arguments: &Arguments, kinds: &[(Kind, Samples)], table: &str) -> String {
    let counts: Vec<String> = kinds
        .iter()
        .map(|(kind, samples)| {
            let (malicious, benign) = Samples::counts(&samples.train);
            format!("{} {malicious} and {benign}", kind.as_str())
        })
        .collect();
    let sides = kinds
        .iter()
        .flat_map(|(_, samples)| [&samples.train, &samples.tune, &samples.test]);
    let longest = sides
        .flatten()
        .map(|sample| sample.bytes.len())
        .max()
        .unwrap_or(0);
    format!(
        "# {}

Judges files by their raw bytes, without features made by hand; the method is described in `crates/nets/src/file`.

## Data
The corpora of `eval/files`, parted by source, time, family or package, never by chance; near duplicates stay on one side. Malicious and benign files learned from: {}. Of longer files the pack keeps parts; the longest sample was {} KiB. Only weights are kept.

## Training
{} rounds over the malicious clusters, {} benign files for each malicious one, steps of {}; {} of the windows and {} of the tables left out at each look. Types of a group share the vectors of runs, each has layers of its own.

## Measured
Thresholds come from the benign files of the tuning side; recall counts each cluster of near duplicates once. A type with fewer than {} benign tuning files is called suspicious at most, at the threshold for 1 %.

{table}
## Limits
Learned on few families of few years; what is new in kind is often missed (low recall at 0.1 % says where). The corpora's benign files are of Debian, PyPI, npm and public repositories: other software may alarm more often.
",
        arguments.group.name(),
        counts.join("; "),
        longest >> 10,
        arguments.epochs,
        arguments.benign,
        arguments.rate,
        arguments.hidden,
        arguments.blind,
        BENIGN_MIN,
    )
}
