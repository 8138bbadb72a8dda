//! What share of harmless files is judged as badly as a file: the promise that a verdict makes.

use super::judge::Judgement;
use super::tail::Tail;

/// A file is suspicious when this share of harmless ones is judged as badly, by either judge.
pub const SUSPICIOUS: f32 = 3e-4;
/// The same of malicious files.
pub const MALICIOUS: f32 = 1e-4;
/// As [`SUSPICIOUS`], of types with fewer than [`FEW`] harmless files at hand, of which no more can be
/// promised.
pub const SUSPICIOUS_OF_FEW: f32 = 1e-2;
/// With fewer harmless files even [`SUSPICIOUS`] cannot be promised.
pub const FEW: usize = 300;
/// With fewer harmless files one in ten thousand cannot be promised, and files of the type are called
/// suspicious at most.
pub const BENIGN_MIN: usize = 700;
/// With fewer harmless files nothing can be promised.
pub const CALIBRATION_MIN: usize = 100;
/// The network's part of the false alarms; the trees, which are the better judge, have the rest.
const PLACES_BUDGET: f32 = 0.2;

/// How rare the judgements of both judges are among harmless files of a type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tails {
    /// Of the network: logarithms of scores.
    pub places: Tail,
    /// Of the trees: logits.
    pub trees: Tail,
}

/// Of which share of harmless files a judgement as bad as this is to be expected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rarity {
    /// By either judge, 0 to 1: each has its part of the false alarms.
    pub share: f32,
    /// The same of what bytes put behind the file could not change.
    pub closed_share: f32,
    /// Whether the trees found it rarer than the network.
    pub is_by_trees: bool,
}

impl Tails {
    /// How rare a judgement is.
    pub fn rarity(&self, judged: &Judgement) -> Rarity {
        let of_places = self.places.chance(log_score(judged.score)) / PLACES_BUDGET;
        let of_trees = judged
            .worst
            .map_or(1.0, |worst| self.trees.chance(worst.logit));
        let of_trees = of_trees / (1.0 - PLACES_BUDGET);
        let closed = |share: f32, is_open: bool| if is_open { 1.0 } else { share };
        let of_closed = closed(of_places, judged.is_open).min(closed(
            of_trees,
            judged.worst.is_none_or(|worst| worst.is_open),
        ));
        Rarity {
            share: of_places.min(of_trees).min(1.0),
            closed_share: of_closed.min(1.0),
            is_by_trees: of_trees < of_places,
        }
    }

    /// The score from which on the network alone finds a file as rare as `share`.
    pub fn score(&self, share: f32) -> f32 {
        self.places.number(share * PLACES_BUDGET).exp()
    }
}

/// As badly as which shares of harmless files a file is judged when it is called suspicious, and
/// malicious, if it may be, where `files` harmless ones were at hand.
pub fn limits(files: usize) -> (f32, Option<f32>) {
    let suspicious = if files < FEW {
        SUSPICIOUS_OF_FEW
    } else {
        SUSPICIOUS
    };
    (suspicious, (files >= BENIGN_MIN).then_some(MALICIOUS))
}

/// What tails and odds take of what the trees make of a file.
pub fn logit(judged: &Judgement) -> f32 {
    judged.worst.map_or(-100.0, |worst| worst.logit)
}

/// What tails and odds take of a score.
pub fn log_score(score: f32) -> f32 {
    score.max(1e-6).ln()
}

impl Tails {
    /// The tails of what harmless files are judged.
    pub fn fit(judgements: &[&Judgement]) -> Self {
        let tail = |number: &dyn Fn(&Judgement) -> f32| {
            let mut numbers: Vec<f32> = judgements.iter().map(|judged| number(judged)).collect();
            numbers.sort_by(f32::total_cmp);
            Tail::fit(&numbers)
        };
        Self {
            places: tail(&|judged| log_score(judged.score)),
            trees: tail(&logit),
        }
    }
}
