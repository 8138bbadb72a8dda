//! A small autoencoder that learns on site, one window at a time (the building block of Mirsky et
//! al., *Kitsune: an ensemble of autoencoders for online network intrusion detection*, 2018).
//!
//! Inputs are standardised by damped running statistics, pass a hidden layer of three quarters of
//! their number and come back; the root mean square of the reconstruction error, relative to its own
//! damped history on a log scale, says how unusual the *combination* is. Weights start from a fixed
//! generator, so the same windows give the same network.

/// How fast running statistics forget: about the last 2,000 windows count.
const FORGET: f64 = 1.0 / 2_000.0;
/// The error's history is shorter, and begins only when the first rough learning is over: the errors
/// of an untrained network say nothing about the device.
const FORGET_ERROR: f64 = 1.0 / 500.0;
const ROUGH_WINDOWS: u64 = 60;
const LEARNING_RATE: f32 = 0.02;
/// Standardised inputs are clipped here, so one wild window cannot wreck the weights.
const CLIP: f32 = 6.0;

/// Damped mean and variance.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Damped {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Damped {
    fn push(&mut self, x: f64, forget: f64) {
        self.count += 1.0;
        let rate = (1.0 / self.count).max(forget);
        let delta = x - self.mean;
        self.mean += rate * delta;
        self.variance += rate * (delta * (x - self.mean) - self.variance);
    }

    fn standard(&self, x: f64) -> f64 {
        (x - self.mean) / self.variance.max(1e-6).sqrt()
    }
}

/// One autoencoder over `inputs` numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Autoencoder {
    inputs: usize,
    hidden: usize,
    /// [hidden, inputs]
    encode: Vec<f32>,
    encode_bias: Vec<f32>,
    /// [inputs, hidden]
    decode: Vec<f32>,
    decode_bias: Vec<f32>,
    scales: Vec<Damped>,
    error: Damped,
    windows: u64,
}

/// What the network says about one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reconstruction {
    /// Standard deviations of the log error above its damped mean.
    pub z: f64,
    /// Index of the input that was reconstructed worst.
    pub worst: usize,
    /// That input's standardised value.
    pub worst_value: f64,
}

impl Autoencoder {
    /// A fresh network over `inputs` numbers (at least 2).
    pub fn new(inputs: usize) -> Self {
        let inputs = inputs.max(2);
        let hidden = (inputs * 3 / 4).max(1);
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut weights = |count: usize, fan_in: usize| -> Vec<f32> {
            let bound = 1.0 / (fan_in as f32).sqrt();
            (0..count).map(|_| uniform(&mut state) * bound).collect()
        };
        Self {
            inputs,
            hidden,
            encode: weights(hidden * inputs, inputs),
            encode_bias: vec![0.0; hidden],
            decode: weights(hidden * inputs, hidden),
            decode_bias: vec![0.0; inputs],
            scales: vec![Damped::default(); inputs],
            error: Damped::default(),
            windows: 0,
        }
    }

    /// Windows learned from.
    pub fn windows(&self) -> u64 {
        self.windows
    }

    /// Judges a window of as many numbers as the network has inputs (missing ones count as 0), then
    /// learns from it. A window that stands out is learned from at a tenth of the rate, so an attack
    /// does not quickly become the norm.
    pub fn judge_and_learn(&mut self, window: &[f64]) -> Reconstruction {
        let at = |i: usize| window.get(i).copied().unwrap_or_default();
        let input: Vec<f32> = (0..self.inputs)
            .zip(&self.scales)
            .map(|(i, scale)| (scale.standard(at(i)) as f32).clamp(-CLIP, CLIP))
            .collect();
        let code = forward(&self.encode, &self.encode_bias, &input, f32::tanh);
        let output = forward(&self.decode, &self.decode_bias, &code, |x| x);
        let residual: Vec<f32> = output.iter().zip(&input).map(|(out, x)| out - x).collect();
        let square: f32 = residual.iter().map(|r| r * r).sum();
        let log_error = f64::from((square / self.inputs as f32).sqrt().max(1e-6)).ln();
        let z = if self.error.count < 30.0 {
            0.0
        } else {
            self.error.standard(log_error)
        };
        let worst = worst(&residual);
        let worst_value = f64::from(input.get(worst).copied().unwrap_or_default());

        let caution = if z > 3.0 { 0.1 } else { 1.0 };
        self.descend(&input, &code, &residual, LEARNING_RATE * caution);
        if z <= 3.0 {
            if self.windows >= ROUGH_WINDOWS {
                self.error.push(log_error, FORGET_ERROR);
            }
            for (i, scale) in self.scales.iter_mut().enumerate() {
                scale.push(at(i), FORGET);
            }
        }
        self.windows += 1;
        Reconstruction {
            z,
            worst,
            worst_value,
        }
    }

    fn descend(&mut self, input: &[f32], code: &[f32], residual: &[f32], rate: f32) {
        let scale = 2.0 / self.inputs as f32;
        let mut code_gradient = vec![0.0f32; self.hidden];
        let rows = self.decode.chunks_exact_mut(self.hidden);
        for ((row, bias), r) in rows.zip(&mut self.decode_bias).zip(residual) {
            let gradient = scale * r;
            *bias -= rate * gradient;
            for ((weight, c), total) in row.iter_mut().zip(code).zip(&mut code_gradient) {
                *total += gradient * *weight;
                *weight -= rate * gradient * c;
            }
        }
        let rows = self.encode.chunks_exact_mut(self.inputs);
        let gradients = code_gradient
            .iter()
            .zip(code)
            .map(|(g, c)| g * (1.0 - c * c));
        for ((row, bias), gradient) in rows.zip(&mut self.encode_bias).zip(gradients) {
            *bias -= rate * gradient;
            for (weight, x) in row.iter_mut().zip(input) {
                *weight -= rate * gradient * x;
            }
        }
    }

    /// Everything learned as numbers, for a snapshot.
    pub fn to_numbers(&self) -> Vec<f64> {
        let weights = [
            &self.encode,
            &self.encode_bias,
            &self.decode,
            &self.decode_bias,
        ];
        let mut numbers: Vec<f64> = weights
            .into_iter()
            .flatten()
            .map(|weight| f64::from(*weight))
            .collect();
        for damped in self.scales.iter().chain([&self.error]) {
            numbers.extend([damped.count, damped.mean, damped.variance]);
        }
        numbers.push(self.windows as f64);
        numbers
    }

    /// The network that [`Autoencoder::to_numbers`] came from; `None` when the count or a value is
    /// impossible.
    pub fn from_numbers(inputs: usize, numbers: &[f64]) -> Option<Self> {
        let mut network = Self::new(inputs);
        if numbers.len() != network.to_numbers().len() || !numbers.iter().all(|x| x.is_finite()) {
            return None;
        }
        let mut rest = numbers.iter().copied();
        let weights = [
            &mut network.encode,
            &mut network.encode_bias,
            &mut network.decode,
            &mut network.decode_bias,
        ];
        for weight in weights.into_iter().flatten() {
            *weight = rest.next()? as f32;
        }
        for damped in network.scales.iter_mut().chain([&mut network.error]) {
            *damped = Damped {
                count: rest.next()?,
                mean: rest.next()?,
                variance: rest.next()?,
            };
        }
        network.windows = rest.next()? as u64;
        Some(network)
    }
}

/// `weights` [outputs, inputs] times `input` [inputs] plus `bias` [outputs], through `activation`.
fn forward(weights: &[f32], bias: &[f32], input: &[f32], activation: fn(f32) -> f32) -> Vec<f32> {
    let rows = weights.chunks_exact(input.len());
    let dot = |row: &[f32]| -> f32 { row.iter().zip(input).map(|(w, x)| w * x).sum() };
    rows.zip(bias)
        .map(|(row, b)| activation(dot(row) + b))
        .collect()
}

fn worst(residual: &[f32]) -> usize {
    let pairs = residual.iter().enumerate();
    pairs
        .max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()))
        .map_or(0, |(index, _)| index)
}

/// The next number of a fixed generator in [−1, 1).
fn uniform(state: &mut u64) -> f32 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows in which the second number is always three times the first.
    fn window(i: u64) -> [f64; 4] {
        let x = ((i * 7_919) % 101) as f64 / 10.0;
        [x, 3.0 * x, 10.0 - x, ((i * 104_729) % 13) as f64]
    }

    #[test]
    fn a_broken_relation_stands_out_although_each_number_is_ordinary() {
        let mut network = Autoencoder::new(4);
        for i in 0..6_000 {
            network.judge_and_learn(&window(i));
        }
        let usual: f64 = (0..200)
            .map(|i| network.judge_and_learn(&window(i)).z)
            .sum::<f64>()
            / 200.0;
        let odd = network.judge_and_learn(&[9.0, 0.0, 9.5, 3.0]).z;
        assert!(odd > usual + 2.5, "{odd} against {usual}");
    }

    #[test]
    fn what_was_learnt_survives_as_numbers() {
        let mut network = Autoencoder::new(4);
        for i in 0..100 {
            network.judge_and_learn(&window(i));
        }
        let again = Autoencoder::from_numbers(4, &network.to_numbers()).unwrap();
        assert_eq!(again, network);
        assert_eq!(Autoencoder::from_numbers(4, &[0.0; 3]), None);
    }
}
