//! Promises from the tuning side, figures from the test side.

use std::collections::{BTreeMap, BTreeSet};

use thymus_nets::file::{FileNet, Judgement, LIMITS, Tail, Tails, limits, log_score, logit};
use thymus_nets::interval::share_95;

use super::data::{Sample, Samples};
use crate::corpus::Kind;

/// What the two judges reach on one type.
pub(super) struct Figures {
    kind: Kind,
    /// The share at which it is called suspicious, and never worse.
    cautious: Option<f32>,
    /// Malicious clusters and benign files of the test side.
    clusters: usize,
    benign: usize,
    tails: Tails,
    /// Benign files of the tuning side.
    tuned_on: usize,
    /// Slope and offset of the log odds over the logarithm of the score, and over the trees' logit.
    odds: [f32; 4],
    /// Called suspicious or worse, and malicious.
    rates: [Rate; 2],
    /// The same of each form of program of the test side.
    forms: Vec<Form>,
    /// Recall at 1 % and 0.1 % of the tuning side's own benign files, by which plans are chosen: of the
    /// network, of the trees, of both.
    tune: [[f64; 2]; 3],
    /// As `tune`, of the test side.
    curve: [[f64; 2]; 3],
}

/// What is reached on one form of a type.
struct Form {
    name: &'static str,
    clusters: usize,
    benign: usize,
    rates: [Rate; 2],
}

/// What one threshold reaches.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    /// Share of malicious clusters found, each counting once.
    recall: f64,
    /// The same, of those whose verdict added bytes cannot change.
    closed: f64,
    false_alarms: usize,
}

impl Figures {
    /// What the model file's field `cautious` says of the type.
    pub(super) fn cautious(&self) -> Option<String> {
        let share = self.cautious?;
        Some(format!("{}={share}", self.kind.as_str()))
    }

    /// Tails, whether files may be called malicious, and odds, as the model file has them.
    pub(super) fn limits(&self) -> [f32; LIMITS] {
        let mut limits = [0.0; LIMITS];
        let tails = [self.tails.places, self.tails.trees];
        let numbers = tails.iter().flat_map(|tail| {
            let Tail { start, scale, .. } = *tail;
            [start, scale, tail.shape, tail.share, tail.least]
        });
        let rest = [self.tuned_on as f32].into_iter().chain(self.odds);
        for (limit, number) in limits.iter_mut().zip(numbers.chain(rest)) {
            *limit = number;
        }
        limits
    }
}

/// Measures one type, that is called suspicious at most if a share is given with it, by the network and trees that are to ship.
pub(super) fn measure(
    (kind, cautious): (Kind, Option<f32>),
    samples: &Samples,
    net: &FileNet<'_>,
    open_test: bool,
) -> Figures {
    let judgements = |side: &[Sample]| -> Vec<Judgement> {
        let judge = |sample: &Sample| {
            let judged = net.judge(kind.as_str(), &sample.bytes);
            let mut judged = judged.unwrap_or_default();
            judged.windows = Vec::new();
            judged
        };
        side.iter().map(judge).collect()
    };
    let test_side: &[Sample] = if open_test { &samples.test } else { &[] };
    let (of_tune, of_test) = (judgements(&samples.tune), judgements(test_side));
    let (tune, test) = (
        Side::new(&samples.tune, &of_tune),
        Side::new(test_side, &of_test),
    );
    let tails = Tails::fit(&tune.benign);
    tell_worst((kind, "tuning"), &samples.tune, &of_tune, &tails);
    tell_worst((kind, "test"), test_side, &of_test, &tails);
    let usual = || limits(tune.benign.len());
    let (suspicious, malicious) = cautious.map_or_else(usual, |share| (share, None));
    let rate = |side: &Side<'_>, share: f32| {
        let is_found = |judged: &Judgement| tails.rarity(judged).share <= share;
        Rate {
            recall: side.share(is_found),
            closed: side.share(|judged| tails.rarity(judged).closed_share <= share),
            false_alarms: side.benign.iter().filter(|judged| is_found(judged)).count(),
        }
    };
    let rates = |side: &Side<'_>| {
        [
            rate(side, suspicious),
            malicious.map_or(Rate::default(), |share| rate(side, share)),
        ]
    };
    let form = |(name, clusters): (&'static str, Side<'_>)| Form {
        name,
        clusters: clusters.clusters(),
        benign: clusters.benign.len(),
        rates: rates(&clusters),
    };
    let odds = [
        odds(&tune, &|judged| log_score(judged.score)),
        odds(&tune, &logit),
    ];
    let curves = |side: &Side<'_>| {
        let both = |judged: &Judgement| -tails.rarity(judged).share.max(f32::MIN_POSITIVE).ln();
        [
            side.curve(&|judged| judged.score),
            side.curve(&logit),
            side.curve(&both),
        ]
    };
    let forms = Side::by_form(test_side, &of_test).into_iter().map(form);
    Figures {
        kind,
        cautious,
        clusters: test.clusters(),
        benign: test.benign.len(),
        tails,
        tuned_on: tune.benign.len(),
        odds: [odds[0][0], odds[0][1], odds[1][0], odds[1][1]],
        rates: rates(&test),
        forms: forms.collect(),
        tune: curves(&tune),
        curve: curves(&test),
    }
}

/// Benign files that are named.
const TOLD: usize = 80;

/// Names the benign files that look worst and malicious ones about the lower quarter, for whoever looks
/// into them.
fn tell_worst(
    (kind, name): (Kind, &str),
    side: &[Sample],
    judgements: &[Judgement],
    tails: &Tails,
) {
    let mut order: Vec<_> = side.iter().zip(judgements).collect();
    let share = |judged: &Judgement| tails.rarity(judged).share;
    order.sort_by(|a, b| share(a.1).total_cmp(&share(b.1)));
    let benign = order
        .iter()
        .filter(|(sample, _)| !sample.malicious)
        .take(TOLD);
    let malicious: Vec<_> = order
        .iter()
        .filter(|(sample, _)| sample.malicious)
        .collect();
    let low = malicious
        .iter()
        .rev()
        .step_by((malicious.len() / 48).max(1))
        .take(24);
    for (sample, judged) in benign.chain(low.copied()) {
        let label = if sample.malicious {
            "malicious"
        } else {
            "benign"
        };
        eprintln!(
            "{}: {name} side, {label}, cluster {:08x}, {} bytes, score {:.2}, logit {:.2}, one in {:.0}",
            kind.as_str(),
            sample.cluster,
            sample.bytes.len(),
            judged.score,
            logit(judged),
            1.0 / share(judged)
        );
    }
}

/// Whether a file is the worst of its package, of equals the first, or of none.
fn are_worst(side: &[Sample], judgements: &[Judgement]) -> Vec<bool> {
    let mut worst: BTreeMap<u32, (f32, usize)> = BTreeMap::new();
    for (at, (sample, judged)) in side.iter().zip(judgements).enumerate() {
        if let Some(package) = sample.package {
            let known = worst.entry(package).or_insert((f32::MIN, at));
            if logit(judged) > known.0 {
                *known = (logit(judged), at);
            }
        }
    }
    let is_worst = |package: u32, at: usize| worst.get(&package).is_some_and(|worst| worst.1 == at);
    side.iter()
        .enumerate()
        .map(|(at, sample)| sample.package.is_none_or(|package| is_worst(package, at)))
        .collect()
}

/// The judgements of one side.
struct Side<'s> {
    benign: Vec<&'s Judgement>,
    /// With what each file counts: its cluster counts once, and of a malicious package only the worst file.
    malicious: Vec<(&'s Judgement, f64)>,
}

impl<'s> Side<'s> {
    fn new(side: &[Sample], judgements: &'s [Judgement]) -> Self {
        Self::of(side, judgements, None)
    }

    /// A side for each form that files of it have, if they have any.
    fn by_form(side: &[Sample], judgements: &'s [Judgement]) -> Vec<(&'static str, Self)> {
        let forms: BTreeSet<&str> = side.iter().map(|sample| sample.form).collect();
        let named = forms.into_iter().filter(|form| !form.is_empty());
        named
            .map(|form| (form, Self::of(side, judgements, Some(form))))
            .collect()
    }

    /// All files, or those of one form.
    fn of(side: &[Sample], judgements: &'s [Judgement], form: Option<&str>) -> Self {
        let counts = are_worst(side, judgements);
        let is_meant = |sample: &Sample| form.is_none_or(|form| sample.form == form);
        let files = || side.iter().zip(judgements).zip(&counts);
        let counted = || files().filter(|((sample, _), _)| is_meant(sample));
        let counted = || {
            counted()
                .filter(|(_, counts)| **counts)
                .map(|(pair, _)| pair)
        };
        let mut clusters: BTreeMap<u32, f64> = BTreeMap::new();
        for (sample, _) in counted().filter(|(sample, _)| sample.malicious) {
            *clusters.entry(sample.cluster).or_default() += 1.0;
        }
        let (mut benign, mut malicious) = (Vec::new(), Vec::new());
        for (sample, judged) in counted() {
            match clusters.get(&sample.cluster) {
                Some(files) if sample.malicious => malicious.push((judged, 1.0 / files)),
                _ => benign.push(judged),
            }
        }
        Self { benign, malicious }
    }

    /// How many malicious clusters there are.
    fn clusters(&self) -> usize {
        let clusters: f64 = self.malicious.iter().map(|(_, weight)| weight).sum();
        clusters.round() as usize
    }

    /// A number of the benign files, lowest first.
    fn benign(&self, number: &dyn Fn(&Judgement) -> f32) -> Vec<f32> {
        let mut numbers: Vec<f32> = self.benign.iter().map(|judged| number(judged)).collect();
        numbers.sort_by(f32::total_cmp);
        numbers
    }

    /// The share of malicious clusters that `is_found` holds for.
    fn share(&self, is_found: impl Fn(&Judgement) -> bool) -> f64 {
        let (mut found, mut all) = (0.0, 0.0);
        for (judged, weight) in &self.malicious {
            all += weight;
            found += if is_found(judged) { *weight } else { 0.0 };
        }
        found / f64::max(all, 1e-9)
    }

    /// Recall at 1 % and 0.1 % of its own benign files.
    fn curve(&self, number: &dyn Fn(&Judgement) -> f32) -> [f64; 2] {
        let benign = self.benign(number);
        [0.01, 0.001].map(|allowed| {
            let threshold = quantile(&benign, allowed);
            self.share(|judged| number(judged) > threshold)
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

/// Platt's fit of log odds on a number, both classes weighing the same (Platt, *Probabilistic outputs for
/// support vector machines*, 1999).
fn odds(side: &Side<'_>, number: &dyn Fn(&Judgement) -> f32) -> [f32; 2] {
    let malicious = side.malicious.iter().map(|(judged, _)| (*judged, 1.0));
    let benign = side.benign.iter().map(|judged| (*judged, 0.0));
    let points: Vec<(f64, f64, f64)> = malicious
        .chain(benign)
        .map(|(judged, truth)| {
            let count = if truth > 0.5 {
                side.malicious.len()
            } else {
                side.benign.len()
            };
            (f64::from(number(judged)), truth, 1.0 / count as f64)
        })
        .collect();
    let (mut slope, mut offset) = (1.0_f64, 0.0_f64);
    for _ in 0..2_000 {
        let (mut by_slope, mut by_offset) = (0.0, 0.0);
        for (x, truth, weight) in &points {
            let error = (1.0 / (1.0 + (-(slope * x + offset)).exp()) - truth) * weight;
            by_slope += error * x;
            by_offset += error;
        }
        slope -= 0.05 * by_slope;
        offset -= 0.05 * by_offset;
    }
    [slope as f32, offset as f32]
}

/// The figures in Markdown, with 95 % intervals of what is found.
pub(super) fn table(figures: &[Figures]) -> String {
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let of = |share: f64, all: usize| {
        let (low, high) = share_95((share * all as f64).round() as u64, all as u64);
        format!(
            "{} ({:.1} to {:.1})",
            percent(share),
            low * 100.0,
            high * 100.0
        )
    };
    let mut out = String::from(
        "| type | test clusters | benign | found, suspicious or worse | of the benign | found, malicious | of the benign | of the malicious verdicts proof against bytes put behind |\n|---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let mut line = |name: String, clusters: usize, benign: usize, rates: [Rate; 2]| {
        let [suspicious, malicious] = rates;
        let cells = [
            name,
            clusters.to_string(),
            benign.to_string(),
            of(suspicious.recall, clusters),
            suspicious.false_alarms.to_string(),
            of(malicious.recall, clusters),
            malicious.false_alarms.to_string(),
            percent(malicious.closed / malicious.recall.max(1e-9)),
        ];
        out.extend(["| ", &cells.join(" | "), " |\n"]);
    };
    for row in figures.iter().filter(|row| row.benign > 0) {
        let name = row.kind.as_str();
        line(name.to_owned(), row.clusters, row.benign, row.rates);
        for form in &row.forms {
            let name = format!("{name}: {}", form.name);
            line(name, form.clusters, form.benign, form.rates);
        }
    }
    out.push_str("\nRecall at 1 % and at 0.1 % of a side's own benign files:\n\n| type | side | network | | trees | | both | |\n|---|---|--:|--:|--:|--:|--:|--:|\n");
    for row in figures {
        for (side, curve) in [("tuning", row.tune), ("test", row.curve)] {
            if side == "test" && row.benign == 0 {
                continue;
            }
            let cells: Vec<String> = curve.as_flattened().iter().map(|x| percent(*x)).collect();
            let kind = row.kind.as_str();
            out.extend(["| ", kind, " | ", side, " | ", &cells.join(" | "), " |\n"]);
        }
    }
    out
}
