//! Learns what malicious files do: one forest against the rest for each behaviour, with the logit from which
//! on nine of ten files that it names are named rightly, as seen on clusters that the forests had not learned.

use std::fmt::Write as _;
use std::path::Path;
use std::{collections::BTreeMap, collections::BTreeSet, fs};

use anyhow::{Context, Result, ensure};
use thymus_nets::file::FileNet;
use thymus_nets::file::forest::{Counts, Forest};
use thymus_nets::interval::share_95;

use super::behaviours::{Behaviours, Named};
use super::data::Sample;
use super::forest::{self, Trees};
use super::{Arguments, write};
use crate::corpus::{Kind, Secret};

/// Parts that files fall into; each is judged by forests of the others.
const FOLDS: usize = 4;
/// Clusters that a behaviour is learned from at least.
const CLUSTERS_MIN: usize = 30;
/// Share of the named clusters that are to be named rightly.
const PRECISION: f64 = 0.9;
/// Share that has to be named rightly by thresholds of other files, lest the behaviour is never named.
const HELD: f64 = 0.8;
/// Named clusters that a threshold rests on at least.
const NAMED_MIN: f64 = 10.0;
const TREES: usize = 60;
const DEPTH: usize = 4;

/// One learned behaviour.
pub(super) struct Label {
    pub(super) name: String,
    pub(super) trees: Trees,
    /// Infinite where too few are named rightly.
    pub(super) threshold: f32,
}

/// Adds labels to the model file, for all of its types that behaviours are known of.
pub(super) fn run(arguments: &Arguments, (model, behaviours): (&Path, &Path)) -> Result<()> {
    let secret = Secret::read(&arguments.key).context("read the key of the pack")?;
    let draft = fs::read(model).with_context(|| format!("read {}", model.display()))?;
    let net = FileNet::open(&draft)?;
    let behaviours = Behaviours::read(behaviours)?;
    let index = arguments.index.as_deref().context("no index")?;
    let mut labels = Vec::new();
    let mut table = String::from(HEAD);
    for kind in arguments.group.kinds() {
        if !net.kinds().any(|known| known == kind.as_str()) {
            continue;
        }
        let pack = (arguments.pack.as_path(), &secret);
        let bytes_max = arguments.head_kib << 10;
        let Some(mut named) = behaviours.load(*kind, index, pack, bytes_max)? else {
            continue;
        };
        eprintln!("{}: {} malicious files", kind.as_str(), named.samples.len());
        let of_kind = learn(*kind, &mut named, &mut table)?;
        if !of_kind.is_empty() {
            labels.push((*kind, of_kind));
        }
    }
    println!("{table}");
    let bytes = write::with_labels(&draft, &labels, &table)?;
    let labelled = FileNet::open(&bytes)?;
    ensure!(
        labelled.card().version == net.card().version,
        "labels change no judgement"
    );
    fs::write(&arguments.out, &bytes)
        .with_context(|| format!("write {}", arguments.out.display()))?;
    println!("wrote {} ({} bytes)", arguments.out.display(), bytes.len());
    Ok(())
}

const HEAD: &str = "Of malicious files, told apart by forests that had learned none of the same cluster or family, at thresholds that they had no part in. Clusters of near duplicates count once; in brackets 95 % intervals. What is named rightly too seldom is never named.

| type | behaviour | clusters | named so | rightly | of the clusters, named rightly | of the others, named so |
|---|---|--:|--:|--:|--:|--:|
";

/// Learns the behaviours of one type and adds their rows to `table`.
pub(super) fn learn(kind: Kind, named: &mut Named, table: &mut String) -> Result<Vec<Label>> {
    let shown = kind.as_str();
    if named.names.len() == 1 {
        let has_one = |of: bool| {
            let files = named.samples.iter().zip(&named.of);
            let some = files.filter(|(_, behaviour)| behaviour.is_some() == of);
            some.map(|(sample, _)| sample.cluster)
                .collect::<BTreeSet<_>>()
        };
        let (with, without) = (has_one(true).len(), has_one(false).len());
        let name = named.names[0].clone();
        let of = with + without;
        writeln!(
            table,
            "| {shown} | {name} | {with} | all: {with} of its {of} malicious clusters were collected as that | | | |"
        )?;
        return Ok(vec![Label {
            name,
            trees: Trees::default(),
            threshold: 0.0,
        }]);
    }
    let judged = cross_fit(named, &folds(named))?;
    let figures = figures(&judged, named.names.len());
    let every: Vec<&Judged> = judged.iter().collect();
    let mut labels = Vec::new();
    for (behaviour, found) in figures.iter().enumerate() {
        let limit = threshold(&every, behaviour).filter(|_| found.holds());
        let row = match limit {
            Some(_) => found.told(),
            None if found.named > 0.0 => format!("never: {} | | |", found.rightly()),
            None => "never | | |".to_owned(),
        };
        let name = named.names[behaviour].clone();
        writeln!(table, "| {shown} | {name} | {:.0} | {row} |", found.all)?;
        labels.push(Label {
            name,
            trees: learn_one(named, behaviour, &|_, _| true)?,
            threshold: limit.unwrap_or(f32::INFINITY),
        });
    }
    tell_nameless(named, &labels)?;
    labels.retain(|label| label.trees.base > NEVER);
    Ok(labels)
}

/// The fold of each file: that of its family, where all of the family's files show one behaviour (some names
/// are of no family but of what found the file), else that of its cluster.
fn folds(named: &Named) -> Vec<usize> {
    let mut shown: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for (family, of) in named.families.iter().zip(&named.of) {
        shown.entry(family).or_default().extend(of);
    }
    let fold = |(family, sample): (&String, &Sample)| {
        let key = if shown[&**family].len() == 1 {
            family.clone()
        } else {
            sample.cluster.to_string()
        };
        usize::from(blake3::hash(key.as_bytes()).as_bytes()[0]) % FOLDS
    };
    named
        .families
        .iter()
        .zip(&named.samples)
        .map(fold)
        .collect()
}

/// Learns one behaviour against the others from the samples that `is_learned` holds for, by number.
fn learn_one(
    named: &mut Named,
    behaviour: usize,
    is_learned: &dyn Fn(&Sample, usize) -> bool,
) -> Result<Trees> {
    let mut clusters = BTreeSet::new();
    for (sample, of) in named.samples.iter_mut().zip(&named.of) {
        sample.malicious = *of == Some(behaviour);
        clusters.extend(sample.malicious.then_some(sample.cluster));
    }
    if clusters.len() < CLUSTERS_MIN {
        return Ok(Trees {
            base: NEVER,
            ..Trees::default()
        });
    }
    let plan = forest::Plan {
        trees: TREES,
        depth: DEPTH,
        rate: 0.15,
        shortest: SHORTEST,
        benign_max: 20_000,
    };
    let samples = named.samples.iter().zip(&named.of).enumerate();
    let learned = samples
        .filter(|(at, (sample, of))| of.is_some() && is_learned(sample, *at))
        .map(|(_, (sample, _))| sample);
    forest::learn(learned, plan, None)
}

/// The logit of what too few show to learn it.
const NEVER: f32 = -1e9;
/// Bytes of the shortest beginning that is learned from, of longer files.
const SHORTEST: usize = 512;

/// What forests that had not learned a file make of it.
#[derive(Clone, Debug, PartialEq)]
struct Judged {
    fold: usize,
    truth: usize,
    /// The behaviour with the highest logit.
    likeliest: usize,
    logit: f32,
    /// What it counts: the files of a cluster count as much as one.
    weight: f64,
}

/// Judges each file that has a behaviour by forests that learned neither files of its fold nor of its cluster.
fn cross_fit(named: &mut Named, folds: &[usize]) -> Result<Vec<Judged>> {
    let mut files: BTreeMap<(usize, u32), f64> = BTreeMap::new();
    for (sample, of) in named.samples.iter().zip(&named.of) {
        if let Some(of) = of {
            *files.entry((*of, sample.cluster)).or_default() += 1.0;
        }
    }
    let mut judged = Vec::new();
    for fold in 0..FOLDS {
        let numbers = || {
            named
                .samples
                .iter()
                .zip(folds)
                .filter(|(_, of)| **of == fold)
        };
        let held: BTreeSet<u32> = numbers().map(|(sample, _)| sample.cluster).collect();
        let is_learned =
            |sample: &Sample, at: usize| folds[at] != fold && !held.contains(&sample.cluster);
        let forests = (0..named.names.len())
            .map(|behaviour| read(&learn_one(named, behaviour, &is_learned)?))
            .collect::<Result<Vec<_>>>()?;
        eprintln!("fold {} of {FOLDS}", fold + 1);
        for (at, sample) in named.samples.iter().enumerate() {
            let (Some(truth), true) = (named.of[at], folds[at] == fold) else {
                continue;
            };
            let (likeliest, logit) = likeliest(&forests, &sample.bytes);
            judged.push(Judged {
                fold,
                truth,
                likeliest,
                logit,
                weight: 1.0 / files[&(truth, sample.cluster)],
            });
        }
    }
    Ok(judged)
}

fn read(trees: &Trees) -> Result<Forest> {
    Forest::new(&trees.nodes, &trees.roots, trees.base).context("trees that lead nowhere")
}

fn likeliest(forests: &[Forest], bytes: &[u8]) -> (usize, f32) {
    let mut counts = Counts::default();
    counts.add(bytes);
    let logits = forests
        .iter()
        .map(|forest| forest.logit(&counts))
        .enumerate();
    logits
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap_or_default()
}

/// The lowest logit from which on enough of what looks most like `behaviour` is that, both as frequent as the
/// behaviours are here and were it as frequent as all others together: what is frequent here may be rare
/// elsewhere. None where too few clusters are.
fn threshold(judged: &[&Judged], behaviour: usize) -> Option<f32> {
    let weight = |is_it: bool| {
        let of = judged.iter().filter(|of| (of.truth == behaviour) == is_it);
        of.map(|of| of.weight).sum::<f64>()
    };
    let (its, others) = (weight(true), weight(false));
    let mut named: Vec<&&Judged> = judged
        .iter()
        .filter(|of| of.likeliest == behaviour)
        .collect();
    named.sort_by(|a, b| b.logit.total_cmp(&a.logit));
    let (mut right, mut wrong, mut lowest) = (0.0, 0.0, None);
    for (at, file) in named.iter().enumerate() {
        let count = if file.truth == behaviour {
            &mut right
        } else {
            &mut wrong
        };
        *count += file.weight;
        let is_last = named.get(at + 1).is_none_or(|next| next.logit < file.logit);
        let is_precise = |right: f64, wrong: f64| right >= PRECISION * (right + wrong);
        if is_last
            && right + wrong >= NAMED_MIN
            && is_precise(right, wrong)
            && is_precise(right * others, wrong * its)
        {
            lowest = Some(file.logit);
        }
    }
    lowest
}

/// What is named, in clusters.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    all: f64,
    named: f64,
    right: f64,
    /// All others.
    others: f64,
}

impl Found {
    fn holds(self) -> bool {
        self.right >= HELD * self.named
    }

    /// Cells of the table.
    fn told(self) -> String {
        format!(
            "{:.0} | {} | {} | {}",
            self.named,
            share(self.right, self.named),
            share(self.right, self.all),
            share(self.named - self.right, self.others)
        )
    }

    fn rightly(self) -> String {
        format!(
            "of {:.0} {} rightly",
            self.named,
            share(self.right, self.named)
        )
    }
}

/// A share with its interval.
fn share(part: f64, all: f64) -> String {
    let (low, high) = share_95(part.round() as u64, all.round() as u64);
    let share = 100.0 * part / all.max(1e-9);
    format!("{share:.1} % ({:.1} to {:.1})", low * 100.0, high * 100.0)
}

/// What is found of each behaviour when each fold is held to the thresholds of the others.
fn figures(judged: &[Judged], behaviours: usize) -> Vec<Found> {
    let mut found = vec![Found::default(); behaviours];
    for fold in 0..FOLDS {
        let (own, others): (Vec<&Judged>, Vec<&Judged>) =
            judged.iter().partition(|of| of.fold == fold);
        let limits: Vec<f32> = (0..behaviours)
            .map(|behaviour| threshold(&others, behaviour).unwrap_or(f32::INFINITY))
            .collect();
        for file in own {
            found[file.truth].all += file.weight;
            if file.logit >= limits[file.likeliest] {
                found[file.likeliest].named += file.weight;
                if file.likeliest == file.truth {
                    found[file.truth].right += file.weight;
                }
            }
        }
    }
    let all: f64 = found.iter().map(|of| of.all).sum();
    for of in &mut found {
        of.others = all - of.all;
    }
    found
}

/// Says how files without a name are labelled, for whoever looks into them.
fn tell_nameless(named: &Named, labels: &[Label]) -> Result<()> {
    let forests = labels.iter().map(|label| read(&label.trees));
    let forests = forests.collect::<Result<Vec<_>>>()?;
    let mut told: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, sample) in named.samples.iter().enumerate() {
        if named.of[at].is_none() {
            let (of, logit) = likeliest(&forests, &sample.bytes);
            let is_named = logit >= labels[of].threshold;
            let name = if is_named { &*labels[of].name } else { "none" };
            *told.entry(name).or_default() += 1;
        }
    }
    eprintln!("files without a name are labelled: {told:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(truth: usize, likeliest: usize, logit: f32) -> Judged {
        Judged {
            fold: 0,
            truth,
            likeliest,
            logit,
            weight: 1.0,
        }
    }

    fn threshold_of(judged: &[Judged], behaviour: usize) -> Option<f32> {
        threshold(&judged.iter().collect::<Vec<_>>(), behaviour)
    }

    #[test]
    fn a_threshold_keeps_nine_of_ten_right() {
        let mut of: Vec<Judged> = (0_u8..20).map(|at| judged(0, 0, f32::from(at))).collect();
        of.extend((0_u8..20).map(|at| judged(1, 1, f32::from(at))));
        assert_eq!(threshold_of(&of, 0), Some(0.0));
        of.extend([4.5, 5.5, 6.5].map(|logit| judged(1, 0, logit)));
        assert_eq!(
            threshold_of(&of, 0),
            Some(6.0),
            "13 right and 1 wrong from there"
        );
        let few: Vec<Judged> = (0_u8..9).map(|at| judged(0, 0, f32::from(at))).collect();
        assert_eq!(threshold_of(&few, 0), None);
    }

    #[test]
    fn what_is_frequent_is_not_named_by_default() {
        // Naming all is right in 19 of 20, and of the others each is named wrongly.
        let mut of: Vec<Judged> = (0..190).map(|_| judged(0, 0, 1.0)).collect();
        of.extend((0..10).map(|_| judged(1, 0, 1.0)));
        assert_eq!(threshold_of(&of, 0), None);
        of.extend((0..20).map(|_| judged(0, 0, 2.0)));
        assert_eq!(threshold_of(&of, 0), Some(2.0));
    }
}
