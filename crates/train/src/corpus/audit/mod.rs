//! The confound audit: how far dull facts alone tell the classes apart. Where size, entropy, a byte
//! histogram or header words do nearly as well as a detector should, the corpus is being learned and
//! not the malware (rule 3 of the data rules). Learned on the training side, measured on the test
//! side, so by source, time or family as the manifest parts them.

mod curve;
mod features;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use forust_ml::{GradientBooster, Matrix};

use self::curve::Figures;
use self::features::{Table, View};
use super::index::Row;
use super::kind::Kind;
use super::manifest::{Label, Role};
use super::pack::{Part, Secret, parts};

/// Fewer files of a class on a side give no figure.
const CLASS_MIN: usize = 20;
const TREES: usize = 120;
const DEPTH: usize = 6;

/// Byte histograms of the pack's samples, by SHA-256: shares of 256 values.
type Histograms = BTreeMap<String, Box<[f32; 256]>>;

/// Audits the files that are both in the index and in the pack; gives a table in Markdown.
pub(crate) fn run(rows: &[Row], pack: &Path, secret: &Secret) -> Result<String> {
    let histograms = histograms(pack, secret)?;
    let mut out = String::from(
        "Recall is of clusters, each counting once; false positives are distinct files.\n\n| type | what is seen | train bad / good | test clusters / files bad | test good | AUC | recall at 1 % | at 0.1 % |\n|---|---|--:|--:|--:|--:|--:|--:|\n",
    );
    for kind in Kind::ALL {
        let side = |role| -> Vec<&Row> {
            rows.iter()
                .filter(|row| row.kind == *kind && row.role == role)
                .filter(|row| histograms.contains_key(&row.sha256))
                .collect()
        };
        let (train, test) = (side(Role::Train), side(Role::Test));
        if [&train, &test].iter().any(|rows| !has_both(rows)) {
            continue;
        }
        for view in View::ALL {
            let figures = one(&train, &test, *view, &histograms)?;
            line(&mut out, *kind, *view, &train, &test, &figures)?;
        }
    }
    Ok(out)
}

fn count(rows: &[&Row], label: Label) -> usize {
    rows.iter().filter(|row| row.label == label).count()
}

fn has_both(rows: &[&Row]) -> bool {
    [Label::Benign, Label::Malicious]
        .into_iter()
        .all(|label| count(rows, label) >= CLASS_MIN)
}

fn line(
    out: &mut String,
    kind: Kind,
    view: View,
    train: &[&Row],
    test: &[&Row],
    figures: &Figures,
) -> Result<()> {
    let (bad, good) = (count(train, Label::Malicious), count(train, Label::Benign));
    let (test_bad, test_good) = (count(test, Label::Malicious), count(test, Label::Benign));
    write!(
        out,
        "| {} | {} | {bad} / {good} |",
        kind.as_str(),
        view.as_str()
    )?;
    write!(
        out,
        " {} / {test_bad} | {test_good} | {:.4} |",
        figures.clusters, figures.auc
    )?;
    let percent = |recall: f64| format!("{:.1} %", recall * 100.0);
    writeln!(
        out,
        " {} | {} |",
        percent(figures.recall_1e2),
        percent(figures.recall_1e3)
    )?;
    Ok(())
}

fn one(train: &[&Row], test: &[&Row], view: View, histograms: &Histograms) -> Result<Figures> {
    let table = Table::new(view, train);
    let data = table.columns(train, histograms);
    let labels: Vec<f64> = train
        .iter()
        .map(|row| f64::from(u8::from(row.label == Label::Malicious)))
        .collect();
    let weights = weights(train);
    let mut model = GradientBooster::default()
        .set_iterations(TREES)
        .set_max_depth(DEPTH)
        .set_max_leaves(1 << DEPTH)
        .set_learning_rate(0.15)
        .set_nbins(64)
        .set_parallel(false);
    model.fit(
        &Matrix::new(&data, train.len(), table.width()),
        &labels,
        &weights,
        None,
    )?;
    let data = table.columns(test, histograms);
    let scores = model.predict(&Matrix::new(&data, test.len(), table.width()), false);
    Ok(curve::figures(test, &scores))
}

/// Each cluster weighs the same inside its class, and both classes weigh the same.
fn weights(rows: &[&Row]) -> Vec<f64> {
    let mut clusters: BTreeMap<(Label, &str), f64> = BTreeMap::new();
    for row in rows {
        *clusters
            .entry((row.label, row.cluster.as_str()))
            .or_default() += 1.0;
    }
    let mut classes: BTreeMap<Label, f64> = BTreeMap::new();
    for (label, _) in clusters.keys() {
        *classes.entry(*label).or_default() += 1.0;
    }
    let all: f64 = classes.values().sum();
    rows.iter()
        .map(|row| {
            let files = clusters
                .get(&(row.label, row.cluster.as_str()))
                .copied()
                .unwrap_or(1.0);
            let class = classes.get(&row.label).copied().unwrap_or(1.0);
            all / (2.0 * class * files)
        })
        .collect()
}

fn histograms(pack: &Path, secret: &Secret) -> Result<Histograms> {
    let mut out = Histograms::new();
    for path in parts(pack)? {
        let mut part = Part::open(&path, secret)?;
        for number in 0..part.entries.len() {
            let sample = part.sample(number)?;
            let mut shares = Box::new([0.0; 256]);
            for byte in &sample.bytes {
                if let Some(share) = shares.get_mut(usize::from(*byte)) {
                    *share += 1.0;
                }
            }
            let total = sample.bytes.len().max(1) as f32;
            shares.iter_mut().for_each(|share| *share /= total);
            if let Some(entry) = part.entries.get(number) {
                out.insert(super::gather::hex(&entry.sha256), shares);
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::index::sample;

    fn rows() -> (Vec<Row>, Histograms) {
        let mut rows = Vec::new();
        let mut histograms = Histograms::new();
        for number in 0..400_u32 {
            let label = if number % 2 == 0 {
                Label::Malicious
            } else {
                Label::Benign
            };
            let role = if number % 4 < 2 {
                Role::Train
            } else {
                Role::Test
            };
            let sha256 = format!("{number:08x}{number:08x}");
            let mut row = sample(&sha256, Kind::Elf, label, role);
            // Only the size tells the classes apart here; entropy and words do not.
            row.size = if number % 2 == 0 { 1_000 } else { 50_000 } + u64::from(number);
            row.facts = "arch=arm".to_owned();
            histograms.insert(sha256, Box::new([1.0 / 256.0; 256]));
            rows.push(row);
        }
        (rows, histograms)
    }

    #[test]
    fn a_confound_shows_where_it_is_and_only_there() {
        let (rows, histograms) = rows();
        let side = |role| {
            rows.iter()
                .filter(|row| row.role == role)
                .collect::<Vec<_>>()
        };
        let (train, test) = (side(Role::Train), side(Role::Test));
        let size = one(&train, &test, View::Size, &histograms).unwrap();
        assert!(size.auc > 0.99 && size.recall_1e3 > 0.9, "{size:?}");
        for view in [View::Bytes, View::Header] {
            let other = one(&train, &test, view, &histograms).unwrap();
            assert!((other.auc - 0.5).abs() < 0.01, "{view:?} {other:?}");
        }
    }
}
