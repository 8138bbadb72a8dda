//! The models that were tried for machine-made names, all trained by the same loop.

use thymus_nets::{BUCKETS, EMBEDDING, HIDDEN, for_each_ngram};

/// A model that can take a gradient step.
pub(crate) trait NameModel {
    /// Log odds of "machine-made".
    fn score(&self, label: &str) -> f64;
    /// One Adagrad step on the logistic loss, weighted.
    fn step(&mut self, label: &str, is_machine_made: bool, weight: f32);
}

const RATE: f32 = 0.05;
/// Pull towards zero with each step that touches a weight: rare n-grams must not shout.
const DECAY: f32 = 0.002;

/// A weight with its Adagrad accumulator.
#[derive(Clone, Copy, Default)]
struct Weight {
    value: f32,
    squares: f32,
}

impl Weight {
    fn descend(&mut self, gradient: f32) {
        self.squares += gradient * gradient;
        if gradient != 0.0 {
            self.value -= RATE * (gradient / (self.squares.sqrt() + 1e-6) + DECAY * self.value);
        }
    }
}

fn grams(label: &str) -> Vec<usize> {
    let mut all = Vec::with_capacity(96);
    for_each_ngram(label.as_bytes(), |bucket| all.push(bucket));
    all
}

fn loss_gradient(odds: f32, is_machine_made: bool, weight: f32) -> f32 {
    let target = if is_machine_made { 1.0 } else { 0.0 };
    weight * (1.0 / (1.0 + (-odds).exp()) - target)
}

/// Length and byte entropy only: the trivial baseline.
#[derive(Default)]
pub(crate) struct Entropy {
    weights: [Weight; 3],
}

impl Entropy {
    fn features(label: &str) -> [f32; 3] {
        let mut counts = [0f32; 256];
        for byte in label.bytes() {
            counts[usize::from(byte)] += 1.0;
        }
        let len = label.len().max(1) as f32;
        let shares = counts.iter().filter(|c| **c > 0.0).map(|c| c / len);
        [1.0, len / 16.0, shares.map(|s| -s * s.log2()).sum()]
    }
}

impl NameModel for Entropy {
    fn score(&self, label: &str) -> f64 {
        let terms = Self::features(label).into_iter().zip(&self.weights);
        f64::from(terms.map(|(x, w)| x * w.value).sum::<f32>())
    }

    fn step(&mut self, label: &str, is_machine_made: bool, weight: f32) {
        let gradient = loss_gradient(self.score(label) as f32, is_machine_made, weight);
        for (w, x) in self.weights.iter_mut().zip(Self::features(label)) {
            w.descend(gradient * x);
        }
    }
}

/// Logistic regression on the hashed n-grams.
pub(crate) struct Linear {
    weights: Vec<Weight>,
    bias: Weight,
}

impl Default for Linear {
    fn default() -> Self {
        Self {
            weights: vec![Weight::default(); BUCKETS],
            bias: Weight::default(),
        }
    }
}

impl NameModel for Linear {
    fn score(&self, label: &str) -> f64 {
        let all = grams(label);
        let sum: f32 = all.iter().map(|bucket| self.weights[*bucket].value).sum();
        f64::from(self.bias.value + sum / (all.len().max(1) as f32).sqrt())
    }

    fn step(&mut self, label: &str, is_machine_made: bool, weight: f32) {
        let all = grams(label);
        let gradient = loss_gradient(self.score(label) as f32, is_machine_made, weight);
        self.bias.descend(gradient);
        let share = gradient / (all.len().max(1) as f32).sqrt();
        for bucket in all {
            self.weights[bucket].descend(share);
        }
    }
}

/// The bag of embedded n-grams with one hidden layer that ships.
pub(crate) struct Bag {
    pub(crate) embedding: Vec<f32>,
    squares: Vec<f32>,
    hidden: Vec<Weight>,
    hidden_bias: Vec<Weight>,
    output: Vec<Weight>,
    output_bias: Weight,
}

impl Default for Bag {
    fn default() -> Self {
        let mut state = 0x0123_4567_89ab_cdef_u64;
        let mut uniform = |bound: f32| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * bound
        };
        let mut weights = |count: usize, bound: f32| -> Vec<Weight> {
            (0..count)
                .map(|_| Weight {
                    value: uniform(bound),
                    squares: 0.0,
                })
                .collect()
        };
        let hidden = weights(HIDDEN * EMBEDDING, 0.5);
        let output = weights(HIDDEN, 0.4);
        let embedding = weights(BUCKETS * EMBEDDING, 0.1)
            .iter()
            .map(|w| w.value)
            .collect();
        Self {
            embedding,
            // One accumulator per bucket keeps the table small enough for the cache.
            squares: vec![0.0; BUCKETS],
            hidden,
            hidden_bias: vec![Weight::default(); HIDDEN],
            output,
            output_bias: Weight::default(),
        }
    }
}

struct Forward {
    all: Vec<usize>,
    mean: [f32; EMBEDDING],
    active: [f32; HIDDEN],
    odds: f32,
}

impl Bag {
    fn forward(&self, label: &str) -> Forward {
        let all = grams(label);
        let mut mean = [0f32; EMBEDDING];
        for bucket in &all {
            let row = &self.embedding[bucket * EMBEDDING..(bucket + 1) * EMBEDDING];
            for (total, x) in mean.iter_mut().zip(row) {
                *total += x;
            }
        }
        let count = all.len().max(1) as f32;
        for x in &mut mean {
            *x /= count;
        }
        let mut active = [0f32; HIDDEN];
        let mut odds = self.output_bias.value;
        for (unit, slot) in active.iter_mut().enumerate() {
            let row = &self.hidden[unit * EMBEDDING..(unit + 1) * EMBEDDING];
            let dot: f32 = row.iter().zip(&mean).map(|(w, x)| w.value * x).sum();
            *slot = (dot + self.hidden_bias[unit].value).max(0.0);
            odds += *slot * self.output[unit].value;
        }
        Forward {
            all,
            mean,
            active,
            odds,
        }
    }

    /// Weights of the small layers: hidden, hidden bias, output, output bias.
    pub(crate) fn layers(&self) -> [Vec<f32>; 4] {
        let values = |weights: &[Weight]| weights.iter().map(|w| w.value).collect();
        [
            values(&self.hidden),
            values(&self.hidden_bias),
            values(&self.output),
            vec![self.output_bias.value],
        ]
    }
}

impl NameModel for Bag {
    fn score(&self, label: &str) -> f64 {
        f64::from(self.forward(label).odds)
    }

    fn step(&mut self, label: &str, is_machine_made: bool, weight: f32) {
        let Forward {
            all,
            mean,
            active,
            odds,
        } = self.forward(label);
        let gradient = loss_gradient(odds, is_machine_made, weight);
        let mut mean_gradient = [0f32; EMBEDDING];
        for (unit, value) in active.iter().enumerate() {
            let back = if *value > 0.0 {
                gradient * self.output[unit].value
            } else {
                0.0
            };
            self.output[unit].descend(gradient * value);
            self.hidden_bias[unit].descend(back);
            let row = &mut self.hidden[unit * EMBEDDING..(unit + 1) * EMBEDDING];
            for ((w, x), total) in row.iter_mut().zip(&mean).zip(&mut mean_gradient) {
                *total += back * w.value;
                w.descend(back * x);
            }
        }
        self.output_bias.descend(gradient);
        let count = all.len().max(1) as f32;
        let power = mean_gradient.iter().map(|g| g * g).sum::<f32>() / EMBEDDING as f32;
        for bucket in all {
            let squares = &mut self.squares[bucket];
            *squares += power / count;
            let rate = 4.0 * RATE / ((*squares).sqrt() + 1e-3) / count.sqrt();
            let row = &mut self.embedding[bucket * EMBEDDING..(bucket + 1) * EMBEDDING];
            for (x, g) in row.iter_mut().zip(&mean_gradient) {
                *x -= rate * g + DECAY * RATE * *x;
            }
        }
    }
}
