//! The model file: rows in bytes, layers in floats, the card inside.

#[expect(
    clippy::disallowed_types,
    reason = "the safetensors crate takes its metadata so"
)]
use std::collections::HashMap as Metadata;

use anyhow::{Context, Result};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use thymus_nets::file::cuts::LEVELS;
use thymus_nets::file::grams::ORDERS;
use thymus_nets::file::{
    BENIGN_MIN, EMBEDDING, FEW, HIDDEN, INPUT, LABEL_NUMBERS, LABELS_SEPARATOR, LIMITS, MALICIOUS,
    SUSPICIOUS, SUSPICIOUS_OF_FEW, WIDTH,
};

use super::data::Samples;
use super::forest::Trees;
use super::labels::Label;
use super::measure::Figures;
use super::net::{Heads, Rows};
use super::{Arguments, Group};
use crate::corpus::Kind;

/// What was learned of a group.
pub(super) struct Learned {
    pub(super) rows: Rows,
    /// Bytes of the shortest beginning that the trees learned.
    pub(super) shortest: usize,
    /// By type.
    pub(super) heads: Vec<Heads>,
    /// By type.
    pub(super) trees: Vec<Trees>,
}

/// Writes the model file of a group, without limits, which are to be measured, and without its card and
/// version.
pub(super) fn encode(
    group: Group,
    kinds: &[(Kind, Samples)],
    learned: &Learned,
) -> Result<Vec<u8>> {
    let Learned {
        rows, heads, trees, ..
    } = learned;
    let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    let (bytes, scales) = quantised(rows);
    let shape = vec![ORDERS.len(), 1 << rows.row_bits, EMBEDDING];
    tensors.push(("rows".to_owned(), Dtype::U8, shape, bytes));
    let mut floats = |name: String, shape: Vec<usize>, numbers: Vec<f32>| {
        let bytes = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        tensors.push((name, Dtype::F32, shape, bytes));
    };
    floats("scales".to_owned(), vec![ORDERS.len()], scales);
    for (((kind, _), heads), trees) in kinds.iter().zip(heads).zip(trees) {
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
        let shape = [
            trees.nodes.len() as f32 / 4.0,
            trees.roots.len() as f32,
            trees.base,
        ];
        floats(format!("{name}.forest"), vec![3], shape.to_vec());
        let nodes = vec![trees.nodes.len() / 4, 4];
        floats(format!("{name}.forest_nodes"), nodes, trees.nodes.clone());
        let roots = vec![trees.roots.len()];
        floats(format!("{name}.forest_roots"), roots, trees.roots.clone());
        floats(format!("{name}.limits"), vec![LIMITS], vec![0.0; LIMITS]);
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
        ("version", String::new()),
        ("input", INPUT.to_owned()),
        ("bits", group.bits().to_string()),
        ("shortest", learned.shortest.to_string()),
        ("row_bits", rows.row_bits.to_string()),
        ("kinds", names.join(" ")),
        ("card", String::new()),
    ];
    let metadata: Metadata<String, String> = fields
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    ordered(&safetensors::serialize(views?, Some(metadata))?)
}

/// The model file `draft` with the limits that `figures` say, and with its card, for the types of `kinds`
/// only.
pub(super) fn with_limits(
    draft: &[u8],
    kinds: &[(Kind, Samples)],
    figures: &[Figures],
    card: &str,
) -> Result<Vec<u8>> {
    let (_, metadata) = SafeTensors::read_metadata(draft)?;
    let mut metadata = metadata.metadata().clone().unwrap_or_default();
    metadata.insert("card".to_owned(), card.to_owned());
    let names: Vec<&str> = kinds.iter().map(|(kind, _)| kind.as_str()).collect();
    metadata.insert("kinds".to_owned(), names.join(" "));
    let cautious: Vec<String> = figures.iter().filter_map(Figures::cautious).collect();
    let cautious = cautious.join(" ");
    metadata.remove("cautious");
    if !cautious.is_empty() {
        metadata.insert("cautious".to_owned(), cautious.clone());
    }
    let limits: Vec<(String, Vec<u8>)> = kinds
        .iter()
        .enumerate()
        .map(|(at, (kind, _))| {
            let limits = figures.get(at).map_or([0.0; LIMITS], Figures::limits);
            let bytes = limits.iter().flat_map(|x| x.to_le_bytes()).collect();
            (format!("{}.limits", kind.as_str()), bytes)
        })
        .collect();
    let tensors = SafeTensors::deserialize(draft)?;
    let mut views = Vec::new();
    for (name, view) in tensors.iter() {
        let of_kind = name.split_once('.').map(|(kind, _)| kind);
        if of_kind.is_some_and(|kind| !names.contains(&kind)) {
            continue;
        }
        let limits = limits.iter().find(|limits| limits.0 == name);
        let view = match limits {
            Some((_, bytes)) => TensorView::new(Dtype::F32, vec![LIMITS], bytes)?,
            None => view,
        };
        views.push((name.to_owned(), view));
    }
    views.sort_by(|a, b| a.0.cmp(&b.0));
    let mut digest = blake3::Hasher::new();
    for (name, view) in views.iter().filter(|(name, _)| !is_of_labels(name)) {
        digest.update(name.as_bytes());
        digest.update(view.data());
    }
    digest.update(cautious.as_bytes());
    // Calibrations hold for a version, so it changes with whatever changes judgements.
    let digest = digest.finalize().to_hex();
    let version = digest.as_str().get(..12).unwrap_or_default();
    metadata.insert("version".to_owned(), version.to_owned());
    ordered(&safetensors::serialize(views, Some(metadata))?)
}

/// The model file `draft` with `labels` in place of any that it had, and with their figures in its card.
/// They change no judgement, so the version stays.
pub(super) fn with_labels(
    draft: &[u8],
    labels: &[(Kind, Vec<Label>)],
    table: &str,
) -> Result<Vec<u8>> {
    let (_, metadata) = SafeTensors::read_metadata(draft)?;
    let mut metadata = metadata.metadata().clone().unwrap_or_default();
    metadata.retain(|name, _| !is_of_labels(name));
    let card = metadata.entry("card".to_owned()).or_default();
    let before = card.split(LABELS_SECTION).next().unwrap_or_default();
    *card = format!("{before}{LABELS_SECTION}{table}");
    let mut added: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for (kind, labels) in labels {
        let kind = kind.as_str();
        let mut floats = |name: &str, columns: &[usize], numbers: Vec<f32>| {
            let rows = numbers.len() / columns.iter().product::<usize>().max(1);
            let shape = [&[rows], columns].concat();
            let bytes = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
            added.push((format!("{kind}.{name}"), shape, bytes));
        };
        let numbers = |label: &Label| {
            let (nodes, roots) = (label.trees.nodes.len() / 4, label.trees.roots.len());
            [
                nodes as f32,
                roots as f32,
                label.trees.base,
                label.threshold,
            ]
        };
        let nodes = labels.iter().flat_map(|label| label.trees.nodes.clone());
        let roots = labels.iter().flat_map(|label| label.trees.roots.clone());
        floats(
            "labels",
            &[LABEL_NUMBERS],
            labels.iter().flat_map(numbers).collect(),
        );
        floats("label_nodes", &[4], nodes.collect());
        floats("label_roots", &[], roots.collect());
        let names: Vec<&str> = labels.iter().map(|label| &*label.name).collect();
        metadata.insert(format!("{kind}.labels"), names.join(LABELS_SEPARATOR));
    }
    let tensors = SafeTensors::deserialize(draft)?;
    let kept = tensors.iter().filter(|(name, _)| !is_of_labels(name));
    let mut views: Vec<(String, TensorView<'_>)> =
        kept.map(|(name, view)| (name.to_owned(), view)).collect();
    for (name, shape, bytes) in &added {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes)?;
        views.push((name.clone(), view));
    }
    views.sort_by(|a, b| a.0.cmp(&b.0));
    ordered(&safetensors::serialize(views, Some(metadata))?)
}

/// The same model file with the fields of its header in the order of their names: the crate writes them in one
/// that changes from run to run.
pub(crate) fn ordered(file: &[u8]) -> Result<Vec<u8>> {
    let (len, rest) = file.split_first_chunk::<8>().context("no header")?;
    let (header, tensors) = rest
        .split_at_checked(u64::from_le_bytes(*len) as usize)
        .context("short header")?;
    let header: serde_json::Value = serde_json::from_slice(header)?;
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header);
    out.extend(tensors);
    Ok(out)
}

/// Begins what the card says of labels, which stands last.
const LABELS_SECTION: &str = "\n## Labels\n";

/// Whether a tensor or field is part of the labels of a type.
fn is_of_labels(name: &str) -> bool {
    let part = name.split_once('.').map(|(_, part)| part);
    matches!(part, Some("labels" | "label_nodes" | "label_roots"))
}

/// Rows in bytes about 128, and the step of each table. The few giants are clipped: the many small
/// numbers need the resolution.
fn quantised(rows: &Rows) -> (Vec<u8>, Vec<f32>) {
    let mut bytes = Vec::with_capacity(rows.numbers.len() * EMBEDDING);
    let mut scales = Vec::new();
    for table in rows.numbers.chunks(1 << rows.row_bits) {
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
    let learned_from = if arguments.all {
        "the training and the test sides: the same plan without the test side was measured before, see docs/files.md"
    } else {
        "the training sides"
    };
    let cautious: Vec<String> = arguments
        .cautious
        .iter()
        .map(|(kind, share)| {
            let one_in = 1.0 / share;
            format!("; {kind} always at most, when one in {one_in:.0} is")
        })
        .collect();
    format!(
        "# {}

Judges files by their raw bytes: a network over windows, and boosted trees over beginnings; the method is described in `crates/nets/src/file`.

## Data
The corpora of `eval/files`, parted by source, time, family or package, never by chance; near duplicates stay on one side. Learned from {learned_from}. Malicious and benign files learned from: {}. The longest sample was {} KiB. Only weights are kept.

## Training
Network: {} rounds over the malicious clusters, {} benign files for each malicious one, steps of {}; {} of the windows and {} of the tables left out at each look; {} rows a table; the first {} KiB of a file. Types of a group share the vectors of runs, each has layers of its own. Trees: {} of depth {} for each type.

## Measured
A file is suspicious when one in {:.0} benign files of the tuning side is judged as badly by either judge, malicious when one in {:.0} is, by the tail of what they are judged. Recall counts each cluster of near duplicates once. A type with fewer than {} benign tuning files is called suspicious at most, one with fewer than {} when one in {:.0} is judged as badly{}.

{table}
## Limits
Learned on few families of few years; what is new in kind is often missed (low recall at 0.1 % says where). The corpora's benign files are of Debian, PyPI, npm and public repositories: other software may alarm more often; `thymus model calibrate` fits the limits to your own.
",
        arguments.group.name(),
        counts.join("; "),
        longest >> 10,
        arguments.epochs,
        arguments.benign,
        arguments.rate,
        arguments.hidden,
        arguments.blind,
        1 << arguments.row_bits,
        arguments.learn_kib,
        arguments.trees,
        arguments.depth,
        1.0 / SUSPICIOUS,
        1.0 / MALICIOUS,
        BENIGN_MIN,
        FEW,
        1.0 / SUSPICIOUS_OF_FEW,
        cautious.concat(),
    )
}
