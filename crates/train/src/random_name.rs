//! Trains the network that tells machine-made names from names people chose, beside the simpler
//! models it has to beat, on families of other years than it is tested on.

#[expect(
    clippy::disallowed_types,
    reason = "the safetensors crate takes its metadata so"
)]
use std::collections::HashMap as Metadata;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use safetensors::tensor::{Dtype, TensorView};
use thymus_nets::{BUCKETS, EMBEDDING, HIDDEN, INPUT, RandomName};

use crate::lists::{Split, read};
use crate::measure::{Figures, measure};
use crate::name_models::{Bag, Entropy, Linear, NameModel};

const EPOCHS: usize = 3;

/// Trains, measures, writes the model file and prints the table.
pub(crate) fn run(lists: &Path, out: &Path) -> Result<()> {
    let (train, tune, test) = (
        read(lists, "train")?,
        read(lists, "tune")?,
        read(lists, "test")?,
    );
    let mut table = String::from(
        "| model | recall at 1 % | recall at 0.1 % | false alarms at 0.1 % |\n|---|---:|---:|---:|\n",
    );
    let mut row = |name: &str, score: &dyn Fn(&str) -> f64| {
        let [one, tenth] = [0.01, 0.001].map(|rate| measure(score, &tune, &test, rate));
        writeln!(
            table,
            "| {name} | {:.1} % | {:.1} % | {} of {} |",
            one.recall * 100.0,
            tenth.recall * 100.0,
            tenth.false_alarms,
            tenth.benign
        )?;
        anyhow::Ok([one, tenth])
    };
    let mut entropy = Entropy::default();
    fit(&mut entropy, &train, "length and entropy");
    row("length and entropy", &|label| entropy.score(label))?;
    let mut linear = Linear::default();
    fit(&mut linear, &train, "linear n-grams");
    row("linear n-grams", &|label| linear.score(label))?;
    let mut bag = Bag::default();
    fit(&mut bag, &train, "n-gram bag, one hidden layer");
    row("n-gram bag, one hidden layer, floats", &|label| {
        bag.score(label)
    })?;

    // The figures that count are those of the bytes that ship.
    let draft = RandomName::load(&encode(&bag, "draft")?)?;
    let [one, tenth] = row("the same, 8-bit embedding (ships)", &|label| {
        draft.log_odds(label)
    })?;
    let card = card(&train, &tune, &test, &table, [&one, &tenth]);
    let bytes = encode(&bag, &card)?;
    fs::write(out, &bytes).with_context(|| format!("write {}", out.display()))?;
    println!("{card}");
    println!("wrote {} ({} bytes)", out.display(), bytes.len());
    Ok(())
}

/// Stochastic gradient descent in a fixed shuffled order; each family and the benign names together
/// weigh the same in every epoch.
fn fit(model: &mut dyn NameModel, train: &Split, name: &str) {
    let families = train.families.len().max(1) as f32;
    let mut examples: Vec<(&str, bool, f32)> = Vec::new();
    let benign_weight = 1.0;
    examples.extend(
        train
            .benign
            .iter()
            .map(|label| (label.as_str(), false, benign_weight)),
    );
    for labels in train.families.values() {
        let weight = train.benign.len() as f32 / families / labels.len().max(1) as f32;
        // The root keeps a family of thirty names from shouting each of them.
        let weight = weight.sqrt().clamp(0.5, 4.0);
        examples.extend(labels.iter().map(|label| (label.as_str(), true, weight)));
    }
    let mut state = 42u64;
    for epoch in 0..EPOCHS {
        for i in (1..examples.len()).rev() {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            examples.swap(i, (state >> 33) as usize % (i + 1));
        }
        for (label, is_machine_made, weight) in &examples {
            model.step(label, *is_machine_made, *weight);
        }
        eprintln!("{name}: epoch {} of {EPOCHS}", epoch + 1);
    }
}

fn encode(bag: &Bag, card: &str) -> Result<Vec<u8>> {
    let largest = bag
        .embedding
        .iter()
        .fold(1e-9f32, |max, x| max.max(x.abs()));
    // Clip the rare giants: the many small weights need the resolution.
    let scale = largest.min(4.0 * root_mean_square(&bag.embedding)) / 127.0;
    let quantised: Vec<u8> = bag
        .embedding
        .iter()
        .map(|x| ((x / scale).round().clamp(-127.0, 127.0) as i8).cast_unsigned())
        .collect();
    let bytes = |values: &[f32]| {
        values
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let [hidden, hidden_bias, output, output_bias] = bag.layers().map(|layer| bytes(&layer));
    let scale = bytes(&[scale]);
    let tensors = [
        (
            "embedding",
            TensorView::new(Dtype::I8, vec![BUCKETS, EMBEDDING], &quantised)?,
        ),
        (
            "embedding_scale",
            TensorView::new(Dtype::F32, vec![1], &scale)?,
        ),
        (
            "hidden",
            TensorView::new(Dtype::F32, vec![HIDDEN, EMBEDDING], &hidden)?,
        ),
        (
            "hidden_bias",
            TensorView::new(Dtype::F32, vec![HIDDEN], &hidden_bias)?,
        ),
        (
            "output",
            TensorView::new(Dtype::F32, vec![HIDDEN], &output)?,
        ),
        (
            "output_bias",
            TensorView::new(Dtype::F32, vec![1], &output_bias)?,
        ),
    ];
    let digest = blake3::hash(&quantised).to_hex();
    let version = digest.as_str().get(..12).unwrap_or_default().to_owned();
    let fields = [
        ("name", "random_name"),
        ("version", &version),
        ("input", INPUT),
        ("card", card),
    ];
    let metadata: Metadata<String, String> = fields
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    Ok(safetensors::serialize(tensors, Some(metadata))?)
}

fn root_mean_square(values: &[f32]) -> f32 {
    (values.iter().map(|x| x * x).sum::<f32>() / values.len().max(1) as f32).sqrt()
}

fn card(
    train: &Split,
    tune: &Split,
    test: &Split,
    table: &str,
    [one, tenth]: [&Figures; 2],
) -> String {
    let names = |split: &Split| {
        split
            .families
            .keys()
            .cloned()
            .collect::<Vec<_>>()
            .join(", ")
    };
    let worst: Vec<String> = one
        .families
        .iter()
        .map(|(name, r)| format!("{name} {:.0} %", r * 100.0))
        .collect();
    format!(
        "# Machine-made names

Tells labels made by an algorithm from labels people chose, by the label alone.

## Data
Malicious: lists of baderj/domain_generation_algorithms and andrewaeva/DGA; benign: zer0h/top-1000000-domains (first 100,000) and opendns/public-domain-lists. Only weights are kept.

- Train, families first seen before 2016: {}. Benign labels: {}.
- Tune (threshold only), families of 2016: {}. Benign labels: {}.
- Test, families of 2017 and later: {}. Benign labels: {}.

No family and no name is on two sides. The threshold comes from the tuning set's benign labels.

## Measured on the test set
Recall is the mean over test families, so a large family counts once.

{table}
Thresholds of the shipped model: log odds {:.2} at 1 %, {:.2} at 0.1 %.

Per family at 1 %, worst first: {}.

## Limits
Families that join dictionary words are hardly told from names people chose. Labels of internal host names, content networks and non-Latin names (punycode) look machine-made too: one name is never enough for an alert, the detector counts many failed look-ups.
",
        names(train),
        train.benign.len(),
        names(tune),
        tune.benign.len(),
        names(test),
        test.benign.len(),
        one.threshold,
        tenth.threshold,
        worst.join(", "),
    )
}
