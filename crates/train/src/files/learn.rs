//! Stochastic gradient descent over files, in an order that is the same on every run.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use super::checkpoint;
use super::data::{Sample, Samples};
use super::net::{Dice, Heads, Reading, Rows};
use super::pretrain::pretrain;
use crate::corpus::Kind;

/// How to learn.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) bits: u32,
    /// Rows of each table, as a power of two.
    pub(super) row_bits: u32,
    pub(super) epochs: usize,
    pub(super) benign: usize,
    pub(super) rate: f32,
    pub(super) hidden: f32,
    /// Share of the tables that is not looked at, drawn for each file anew: what long runs of bytes
    /// tell of known families must not keep the short runs from being learned.
    pub(super) blind: f32,
    /// Rounds that rows learn in before the labels.
    pub(super) unlabelled: usize,
    /// Bytes of a file that are learned from at most.
    pub(super) bytes_max: usize,
}

/// Where learning stands.
pub(super) struct State {
    /// Rounds done.
    pub(super) epoch: usize,
    pub(super) dice: Dice,
    pub(super) rows: Rows,
    /// By type.
    pub(super) heads: Vec<Heads>,
}

impl State {
    /// Before the first round of so many types.
    pub(super) fn new(kinds: usize, plan: &Plan) -> Self {
        let mut dice = Dice::new(42);
        Self {
            epoch: 0,
            rows: Rows::new(plan.row_bits),
            heads: (0..kinds).map(|_| Heads::new(&mut dice)).collect(),
            dice,
        }
    }
}

/// Learns from the training sides of all types together: they share the rows. Goes on from what
/// `checkpoint`, a file and what the run is called, holds, and writes it after each round.
pub(super) fn learn(
    kinds: &[(Kind, Samples)],
    plan: &Plan,
    checkpoint: Option<(&Path, &str)>,
    start: Option<(Rows, Vec<Heads>)>,
) -> Result<(Rows, Vec<Heads>)> {
    let is_begun = start.is_some();
    let mut state = State::new(kinds.len(), plan);
    if let Some((rows, heads)) = start {
        (state.rows, state.heads) = (rows, heads);
    }
    if let Some((path, run)) = checkpoint
        && checkpoint::read(path, run, &mut state)?
    {
        eprintln!("going on after round {} of {}", state.epoch, path.display());
    }
    if state.epoch == 0 && plan.unlabelled > 0 && !is_begun {
        let files = kinds.iter().flat_map(|(_, samples)| &samples.train);
        let files: Vec<&Sample> = files.collect();
        pretrain(&files, plan.unlabelled, plan.rate, &mut state.rows);
    }
    while state.epoch < plan.epochs {
        round(kinds, plan, &mut state);
        if let Some((path, run)) = checkpoint {
            checkpoint::write(path, run, &state)?;
        }
    }
    Ok((state.rows, state.heads))
}

/// One round over the samples.
pub(super) fn round(kinds: &[(Kind, Samples)], plan: &Plan, state: &mut State) {
    let (epoch, dice, rows) = (state.epoch, &mut state.dice, &mut state.rows);
    let mut reading = Reading::default();
    let mut order: Vec<(usize, &Sample, f32)> = Vec::new();
    for (at, (_, samples)) in kinds.iter().enumerate() {
        draw(&samples.train, plan.benign, dice, |sample, weight| {
            order.push((at, sample, weight));
        });
    }
    shuffle(&mut order, dice);
    // Steps get smaller towards the end, so that it settles.
    let rate = plan.rate * (1.0 - epoch as f32 / plan.epochs as f32).max(0.1);
    let mut losses = [(0.0_f64, 0_usize); 2];
    for (done, (at, sample, weight)) in order.iter().enumerate() {
        let tables = std::array::from_fn(|_| dice.roll() >= plan.blind);
        let bytes = &sample.bytes[..sample.bytes.len().min(plan.bytes_max)];
        reading.read(bytes, plan.bits, (rows, &state.heads[*at]), tables);
        let file = (bytes, sample.malicious, *weight);
        let dice = (&mut *dice, plan.hidden);
        let loss = reading.learn(file, rows, &mut state.heads[*at], rate, dice);
        let sum = &mut losses[usize::from(sample.malicious)];
        (sum.0, sum.1) = (sum.0 + f64::from(loss), sum.1 + 1);
        if (done + 1) % 5_000 == 0 || done + 1 == order.len() {
            let mean = |sum: &(f64, usize)| sum.0 / sum.1.max(1) as f64;
            eprintln!(
                "epoch {} of {}: {} of {} files, loss {:.4} benign, {:.4} malicious",
                epoch + 1,
                plan.epochs,
                done + 1,
                order.len(),
                mean(&losses[0]),
                mean(&losses[1])
            );
        }
    }
    state.epoch += 1;
}

/// One epoch of one type: a file or two of each malicious cluster, and benign files, so many for each
/// of them, of as many clusters as there are.
fn draw<'a>(
    samples: &'a [Sample],
    benign_share: usize,
    dice: &mut Dice,
    mut take: impl FnMut(&'a Sample, f32),
) {
    let mut clusters: BTreeMap<(bool, u32), Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        let key = (sample.malicious, sample.cluster);
        clusters.entry(key).or_default().push(sample);
    }
    let (malicious, mut benign): (Vec<_>, Vec<_>) = clusters
        .into_iter()
        .partition(|((malicious, _), _)| *malicious);
    let mut taken = 0;
    for (_, files) in &malicious {
        for _ in 0..files.len().min(2) {
            take(files[dice.below(files.len())], 1.0);
            taken += 1;
        }
    }
    shuffle(&mut benign, dice);
    let wanted = (taken * benign_share).min(benign.len());
    // Where there are too few of one class the other must not drown it.
    let weight = (taken as f32 / wanted.max(1) as f32).clamp(1.0, 8.0);
    for (_, files) in benign.iter().take(wanted) {
        take(files[dice.below(files.len())], weight);
    }
}

fn shuffle<T>(items: &mut [T], dice: &mut Dice) {
    for at in (1..items.len()).rev() {
        items.swap(at, dice.below(at + 1));
    }
}
