//! What rows learn before the labels: stretches of one file belong together, those of others do not.
//!
//! Contrastive learning with other files of a batch as negatives (van den Oord et al., *Representation Learning
//! with Contrastive Predictive Coding*, 2018; Chen et al., *A Simple Framework for Contrastive Learning*, ICML
//! 2020): two stretches are drawn of each file, and each is to be more alike, by the angle between their sums,
//! to the other of its file than to those of all other files. No label is looked at.

use thymus_nets::file::grams::for_each_row;
use thymus_nets::file::{EMBEDDING, WIDTH};

use super::data::Sample;
use super::net::{Dice, Rows, learn_piece};

/// Files told apart at once.
const BATCH: usize = 32;
/// Bytes of a stretch at most; at least a quarter.
const STRETCH_MAX: usize = 2048;
/// Shorter files have no two stretches worth comparing.
const FILE_MIN: usize = 256;
/// What angles are divided by before they are compared.
const TEMPERATURE: f32 = 0.1;
/// Rows begin so far from nothing, which has no angle.
const FAR: f32 = 0.05;

/// A stretch: its bytes, its direction, and the length that was divided by.
struct View<'s> {
    bytes: &'s [u8],
    direction: [f32; WIDTH],
    length: f32,
}

/// Learns rows from all of `files` in so many `rounds`; gives the mean loss of the last round, which chance
/// would put at ln 32 = 3.5.
pub(super) fn pretrain(files: &[&Sample], rounds: usize, rate: f32, rows: &mut Rows) -> f32 {
    let mut dice = Dice::new(11);
    for number in rows.numbers.as_flattened_mut() {
        *number = (2.0 * dice.roll() - 1.0) * FAR;
    }
    let mut order: Vec<&[u8]> = files.iter().map(|sample| &*sample.bytes).collect();
    order.retain(|bytes| bytes.len() >= FILE_MIN);
    let mut mean = 0.0;
    for round in 0..rounds {
        for at in (1..order.len()).rev() {
            order.swap(at, dice.below(at + 1));
        }
        let rate = rate * (1.0 - round as f32 / rounds as f32);
        let (mut sum, mut batches) = (0.0, 0_usize);
        for batch in order.chunks_exact(BATCH) {
            sum += step(batch, &mut dice, rate, rows);
            batches += 1;
        }
        mean = sum / batches.max(1) as f32;
        eprintln!(
            "before the labels: round {} of {rounds}, loss {mean:.4}",
            round + 1
        );
    }
    // What comes after begins with steps as long as ever.
    rows.squares.fill(0.0);
    mean
}

/// One step on one batch; gives its loss.
fn step(batch: &[&[u8]], dice: &mut Dice, rate: f32, rows: &mut Rows) -> f32 {
    let mut ones = Vec::with_capacity(batch.len());
    let mut others = Vec::with_capacity(batch.len());
    for bytes in batch {
        let (one, other) = stretches(bytes, dice);
        ones.push(view(one, rows));
        others.push(view(other, rows));
    }
    let (loss, gradients) = contrast(&ones, &others);
    let (back_loss, back) = contrast(&others, &ones);
    // Each contrast moves what is asked for and what it is compared with.
    for (views, own, compared) in [
        (&ones, &gradients.0, &back.1),
        (&others, &back.0, &gradients.1),
    ] {
        for ((view, own), compared) in views.iter().zip(own).zip(compared) {
            let mut gradient = *own;
            for (number, other) in gradient.iter_mut().zip(compared) {
                *number += other;
            }
            // Along the direction itself the angle does not change.
            let along = dot(&gradient, &view.direction);
            for (number, part) in gradient.iter_mut().zip(&view.direction) {
                *number = (*number - along * part) / view.length;
            }
            learn_piece(view.bytes, &gradient, rows, (rate, [true; _]));
        }
    }
    f32::midpoint(loss, back_loss)
}

/// Two stretches of a file that do not overlap.
fn stretches<'s>(bytes: &'s [u8], dice: &mut Dice) -> (&'s [u8], &'s [u8]) {
    let most = (bytes.len() / 2).min(STRETCH_MAX);
    let mut len = || (most / 4 + dice.below(most - most / 4)).max(1);
    let (first, second) = (len(), len());
    let spare = bytes.len() - first - second;
    let start = dice.below(spare + 1);
    let next = start + first + dice.below(spare - start + 1);
    (&bytes[start..start + first], &bytes[next..next + second])
}

fn view<'s>(bytes: &'s [u8], rows: &Rows) -> View<'s> {
    let mut sums = [0.0; WIDTH];
    for_each_row(bytes, rows.row_bits, |table, row| {
        let vector = &rows.numbers[(table << rows.row_bits) + row];
        let sums = &mut sums[table * EMBEDDING..(table + 1) * EMBEDDING];
        for (sum, number) in sums.iter_mut().zip(vector) {
            *sum += number;
        }
    });
    let length = dot(&sums, &sums).sqrt().max(1e-6);
    View {
        bytes,
        direction: sums.map(|sum| sum / length),
        length,
    }
}

/// Gradients of the directions of `asked` and of those that they are `compared` with.
type Gradients = (Vec<[f32; WIDTH]>, Vec<[f32; WIDTH]>);

/// How well each of `asked` finds the one of its own file among the `compared`: the mean cross entropy, and its
/// gradients.
fn contrast(asked: &[View<'_>], compared: &[View<'_>]) -> (f32, Gradients) {
    let mut gradients = (
        vec![[0.0; WIDTH]; asked.len()],
        vec![[0.0; WIDTH]; compared.len()],
    );
    let mut loss = 0.0;
    for (at, one) in asked.iter().enumerate() {
        let logits: Vec<f32> = compared
            .iter()
            .map(|other| dot(&one.direction, &other.direction) / TEMPERATURE)
            .collect();
        let most = logits.iter().copied().fold(f32::MIN, f32::max);
        let all: f32 = logits.iter().map(|logit| (logit - most).exp()).sum();
        loss += all.ln() + most - logits[at];
        for (to, logit) in logits.iter().enumerate() {
            let share = (logit - most).exp() / all - f32::from(u8::from(to == at));
            let slope = share / TEMPERATURE / asked.len() as f32;
            add(&mut gradients.0[at], slope, &compared[to].direction);
            add(&mut gradients.1[to], slope, &one.direction);
        }
    }
    (loss / asked.len() as f32, gradients)
}

fn add(sum: &mut [f32; WIDTH], times: f32, numbers: &[f32; WIDTH]) {
    for (sum, number) in sum.iter_mut().zip(numbers) {
        *sum += times * number;
    }
}

fn dot(one: &[f32; WIDTH], other: &[f32; WIDTH]) -> f32 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_of_one_file_become_alike_and_those_of_others_not() {
        let file = |kind: u8, dice: &mut Dice| Sample {
            bytes: (0..2_000)
                .map(|_| kind * 16 + dice.below(16) as u8)
                .collect(),
            malicious: false,
            cluster: 0,
            package: None,
            form: "",
        };
        let mut dice = Dice::new(3);
        let samples: Vec<Sample> = (0..64_u8).map(|at| file(at % 8, &mut dice)).collect();
        let samples: Vec<&Sample> = samples.iter().collect();
        let mut rows = Rows::new(10);
        pretrain(&samples, 20, 0.05, &mut rows);
        let [a, again, b] = [0, 0, 1].map(|kind| file(kind, &mut dice));
        let [a, again, b] = [&a, &again, &b].map(|sample| view(&sample.bytes, &rows).direction);
        assert!(dot(&a, &again) > 0.8, "{}", dot(&a, &again));
        assert!(dot(&a, &b) < 0.4, "{}", dot(&a, &b));
    }

    #[test]
    fn stretches_do_not_overlap() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut dice = Dice::new(1);
        for _ in 0..1_000 {
            let (one, other) = stretches(&bytes, &mut dice);
            assert!(one.last() < other.first(), "{one:?} {other:?}");
        }
    }
}
