//! Thresholds from the tuning side, figures from the test side.

use std::collections::BTreeMap;

use thymus_nets::file::FileNet;

use super::data::{Sample, Samples};
use super::net::Score;
use crate::corpus::Kind;

/// With fewer benign files on the tuning side nobody knows what one in a thousand is, and files of the
/// type are called suspicious at most (none of 300 above a threshold says at most 1 % with a certainty
/// of 95 %).
pub(super) const BENIGN_MIN: usize = 300;

/// What the network reaches on one type.
pub(super) struct Figures {
    kind: Kind,
    /// Malicious clusters and benign files of the test side.
    clusters: usize,
    benign: usize,
    /// At thresholds for 1 % and 0.1 % false alarms on the tuning side.
    rates: [Rate; 2],
    /// Recall at 1 % and 0.1 % of the tuning side's own benign files, by which plans are chosen.
    tune: [f64; 2],
    /// As `tune`, of the test side.
    curve: [f64; 2],
    /// Slope and offset of the log odds over the logarithm of the score.
    pub(super) odds: [f32; 2],
}

/// What one threshold reaches.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate {
    pub(super) threshold: f32,
    /// Share of malicious clusters found, each counting once.
    recall: f64,
    /// The same, of those whose verdict added bytes cannot change.
    closed: f64,
    false_alarms: usize,
}

impl Figures {
    /// Thresholds of suspicious and of malicious files.
    pub(super) fn thresholds(&self) -> [f32; 2] {
        self.rates.map(|rate| rate.threshold)
    }
}

/// Measures one type by the network that is to ship.
pub(super) fn measure(
    kind: Kind,
    samples: &Samples,
    net: &FileNet<'_>,
    open_test: bool,
) -> Figures {
    let scores = |side: &[Sample]| -> Vec<Score> {
        let judge = |sample: &Sample| {
            let judged = net.judge(kind.as_str(), &sample.bytes);
            judged.map_or(Score::default(), |judged| Score {
                all: judged.score,
                closed: judged.closed_score,
            })
        };
        side.iter().map(judge).collect()
    };
    let test_side: &[Sample] = if open_test { &samples.test } else { &[] };
    let tune_scores = scores(&samples.tune);
    let test_scores = scores(test_side);
    let tune = Side::new(&samples.tune, &tune_scores);
    tell_worst(kind, &samples.tune, &tune_scores);
    let test = Side::new(test_side, &test_scores);
    let rate = |allowed: f64, benign_min: usize| {
        let threshold = if tune.benign.len() < benign_min {
            f32::MAX
        } else {
            quantile(&tune.benign, allowed)
        };
        let false_alarms = test.benign.iter().filter(|score| **score > threshold);
        Rate {
            threshold,
            recall: test.share(|score| score.all > threshold),
            closed: test.share(|score| score.closed > threshold),
            false_alarms: false_alarms.count(),
        }
    };
    let clusters: f64 = test.malicious.iter().map(|(_, weight)| weight).sum();
    Figures {
        kind,
        clusters: clusters.round() as usize,
        benign: test.benign.len(),
        rates: [rate(0.01, 0), rate(0.001, BENIGN_MIN)],
        tune: tune.curve(),
        curve: test.curve(),
        odds: odds(&samples.tune, &tune_scores),
    }
}

/// Names the benign files that score highest and malicious ones about the lower quarter, for whoever
/// looks into them.
fn tell_worst(kind: Kind, side: &[Sample], scores: &[Score]) {
    let mut order: Vec<_> = side.iter().zip(scores).collect();
    order.sort_by(|a, b| b.1.all.total_cmp(&a.1.all));
    let benign = order
        .iter()
        .filter(|(sample, _)| !sample.malicious)
        .take(12);
    let malicious: Vec<_> = order
        .iter()
        .filter(|(sample, _)| sample.malicious)
        .collect();
    let low = malicious
        .iter()
        .rev()
        .step_by((malicious.len() / 48).max(1))
        .take(24);
    for (sample, score) in benign.chain(low.copied()) {
        let label = if sample.malicious {
            "malicious"
        } else {
            "benign"
        };
        eprintln!(
            "{}: {label} cluster {:08x} ({} bytes) scores {:.2}",
            kind.as_str(),
            sample.cluster,
            sample.bytes.len(),
            score.all
        );
    }
}

/// The scores of one side.
struct Side {
    /// Lowest first.
    benign: Vec<f32>,
    /// With what each file counts: its cluster counts once.
    malicious: Vec<(Score, f64)>,
}

impl Side {
    fn new(side: &[Sample], scores: &[Score]) -> Self {
        let mut clusters: BTreeMap<u32, f64> = BTreeMap::new();
        for sample in side.iter().filter(|sample| sample.malicious) {
            *clusters.entry(sample.cluster).or_default() += 1.0;
        }
        let (mut benign, mut malicious) = (Vec::new(), Vec::new());
        for (sample, score) in side.iter().zip(scores) {
            match clusters.get(&sample.cluster) {
                Some(files) if sample.malicious => malicious.push((*score, 1.0 / files)),
                _ => benign.push(score.all),
            }
        }
        benign.sort_by(f32::total_cmp);
        Self { benign, malicious }
    }

    /// The share of malicious clusters that `found` holds for.
    fn share(&self, found: impl Fn(&Score) -> bool) -> f64 {
        let sum = |all: bool| -> f64 {
            let files = self
                .malicious
                .iter()
                .filter(|(score, _)| all || found(score));
            files.map(|(_, weight)| weight).sum()
        };
        sum(false) / sum(true).max(1e-9)
    }

    /// Recall at 1 % and 0.1 % of its own benign files.
    fn curve(&self) -> [f64; 2] {
        [0.01, 0.001].map(|allowed| {
            let threshold = quantile(&self.benign, allowed);
            self.share(|score| score.all > threshold)
        })
    }
}

/// The score that at most a share `allowed` of `sorted` is above; with too few to tell, above all.
fn quantile(sorted: &[f32], allowed: f64) -> f32 {
    let above = (sorted.len() as f64 * allowed).floor() as usize;
    let at = sorted.len().checked_sub(above + 1);
    at.and_then(|at| sorted.get(at))
        .copied()
        .unwrap_or(f32::MAX)
}

/// Platt's fit on the logarithm of scores, both classes weighing the same (Platt, *Probabilistic
/// outputs for support vector machines*, 1999).
fn odds(side: &[Sample], scores: &[Score]) -> [f32; 2] {
    let (malicious, benign) = Samples::counts(side);
    let (mut slope, mut offset) = (1.0_f64, 0.0_f64);
    for _ in 0..2_000 {
        let (mut by_slope, mut by_offset) = (0.0, 0.0);
        for (sample, score) in side.iter().zip(scores) {
            let x = f64::from(score.all.max(1e-6).ln());
            let (truth, count) = if sample.malicious {
                (1.0, malicious)
            } else {
                (0.0, benign)
            };
            let error = (1.0 / (1.0 + (-(slope * x + offset)).exp()) - truth) / count as f64;
            by_slope += error * x;
            by_offset += error;
        }
        slope -= 0.1 * by_slope;
        offset -= 0.1 * by_offset;
    }
    [slope as f32, offset as f32]
}

/// The figures in Markdown.
pub(super) fn table(figures: &[Figures]) -> String {
    let mut out = String::from(
        "| type | recall at 1 % of the tuning side | at 0.1 % | test clusters | benign | found at 1 % | false | found at 0.1 % | false | of it proof against additions | recall at 1 % of the test side | at 0.1 % |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for row in figures {
        let [one, tenth] = row.rates;
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        let cells = [
            row.kind.as_str().to_owned(),
            percent(row.tune[0]),
            percent(row.tune[1]),
            row.clusters.to_string(),
            row.benign.to_string(),
            percent(one.recall),
            one.false_alarms.to_string(),
            percent(tenth.recall),
            tenth.false_alarms.to_string(),
            percent(tenth.closed / tenth.recall.max(1e-9)),
            percent(row.curve[0]),
            percent(row.curve[1]),
        ];
        out.push_str("| ");
        out.push_str(&cells.join(" | "));
        out.push_str(" |\n");
    }
    out
}
