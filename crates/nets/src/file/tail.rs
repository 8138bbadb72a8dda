//! How rare a judgement is among harmless files, also beyond the worst of those that were at hand.
//!
//! What the largest of many numbers exceed a high one by is about distributed as generalised Pareto
//! (Pickands, *Statistical inference using extreme order statistics*, Annals of Statistics 1975), fitted by
//! probability-weighted moments (Hosking and Wallis, Technometrics 1987). So a rate of false alarms can be
//! promised that is lower than one by the number of files it was learned from, within reason.

/// Share of the numbers that make up the tail.
const SHARE: f32 = 0.02;
/// Numbers that make up a tail at least.
const COUNT_MIN: usize = 20;
/// Shapes that are believed: from numbers that end soon to those that are exponential. Heavier tails are not
/// told from one outlier by so few numbers.
const SHAPES: (f32, f32) = (-0.3, 0.0);
/// How many times rarer than one of all its numbers a tail can tell.
const BEYOND: f32 = 50.0;

/// The upper tail of a number that harmless files have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tail {
    /// Where it begins.
    pub start: f32,
    /// How far it reaches.
    pub scale: f32,
    /// At zero it is exponential, below zero it ends somewhere.
    pub shape: f32,
    /// Share of all numbers that are in it.
    pub share: f32,
    /// The smallest share that it can tell.
    pub least: f32,
}

impl Tail {
    /// What nothing is known of: no number is rare.
    pub const UNKNOWN: Self = Self {
        start: f32::MAX,
        scale: 1.0,
        shape: 0.0,
        share: 1.0,
        least: 1.0,
    };

    /// The tail of `numbers`, ordered, lowest first. Of few numbers more belong to it.
    pub fn fit(numbers: &[f32]) -> Self {
        let wanted = (numbers.len() as f32 * SHARE) as usize;
        let count = wanted.max(COUNT_MIN).min(numbers.len() / 2);
        let (rest, tail) = numbers.split_at(numbers.len() - count);
        let (Some(start), false) = (rest.last().copied(), tail.is_empty()) else {
            return Self::UNKNOWN;
        };
        let (mut mean, mut weighted) = (0.0, 0.0);
        for (at, number) in tail.iter().enumerate() {
            let excess = number - start;
            mean += excess / count as f32;
            // By the share of the others that is above.
            weighted += excess * (count - 1 - at) as f32 / (count * (count - 1).max(1)) as f32;
        }
        let mean = mean.max(1e-3);
        let shape = 2.0 - mean / (mean - 2.0 * weighted).max(1e-6);
        let shape = shape.clamp(SHAPES.0, SHAPES.1);
        Self {
            start,
            scale: mean * (1.0 - shape),
            shape,
            share: count as f32 / numbers.len() as f32,
            least: 1.0 / (BEYOND * numbers.len() as f32),
        }
    }

    /// The share of harmless files that have `number` or more; 1 for what is not in the tail.
    pub fn chance(&self, number: f32) -> f32 {
        if number <= self.start {
            return 1.0;
        }
        let excess = (number - self.start) / self.scale;
        let left = if self.shape.abs() < 1e-3 {
            (-excess).exp()
        } else {
            (1.0 + self.shape * excess).max(0.0).powf(-1.0 / self.shape)
        };
        (self.share * left).max(self.least)
    }

    /// The number that a share `chance` of harmless files has or exceeds; the largest there is when the
    /// tail cannot tell.
    pub fn number(&self, chance: f32) -> f32 {
        if chance < self.least {
            return f32::MAX;
        }
        let times = self.share / chance.min(self.share);
        let excess = if self.shape.abs() < 1e-3 {
            times.ln()
        } else {
            (times.powf(self.shape) - 1.0) / self.shape
        };
        self.start + self.scale * excess
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_of_exponential_numbers_is_found_beyond_the_largest() {
        // Quantiles of an exponential distribution of mean 2.
        let numbers: Vec<f32> = (0..5_000)
            .map(|at| -2.0 * (1.0 - (at as f32 + 0.5) / 5_000.0).ln())
            .collect();
        let tail = Tail::fit(&numbers);
        for chance in [1e-2, 1e-3, 1e-4, 1e-5] {
            let truth = -2.0 * f32::ln(chance);
            assert!((tail.number(chance) / truth - 1.0).abs() < 0.15, "{chance}");
            assert!((tail.chance(tail.number(chance)) / chance - 1.0).abs() < 1e-2);
        }
        assert_eq!(tail.number(3e-6), f32::MAX, "too rare to tell");
        assert_eq!(tail.chance(1e9), 4e-6);
        assert_eq!(tail.chance(0.1), 1.0);
    }

    #[test]
    fn numbers_that_end_have_a_tail_that_ends() {
        let numbers: Vec<f32> = (0..2_000).map(|at| at as f32 / 2_000.0).collect();
        let tail = Tail::fit(&numbers);
        assert_eq!(tail.shape, SHAPES.0);
        assert!(
            (1.0..1.1).contains(&tail.number(1e-4)),
            "{}",
            tail.number(1e-4)
        );
    }

    #[test]
    fn without_numbers_nothing_is_rare() {
        assert_eq!(Tail::fit(&[]).chance(1e30), 1.0);
        assert_eq!(Tail::fit(&[1.0]).chance(1e30), 1.0);
        let few = Tail::fit(&[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(few.share, 0.5);
        assert!(few.chance(1.5) == 1.0 && few.chance(900.0) < 0.1);
    }
}
