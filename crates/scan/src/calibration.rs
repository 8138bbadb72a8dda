//! What is rare on the files of whoever runs the networks: their own harmless files say from where on a
//! judgement is out of the ordinary there.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thymus_nets::file::{CALIBRATION_MIN, Tail, Tails};

use crate::FileReport;

/// What harmless files of one type are judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Name of the type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Id of the model that judged them; of another model it says nothing.
    pub model: String,
    /// How many different ones there were.
    pub files: usize,
    /// Start, scale, shape, share and least share of the tail of the network's scores, as logarithms.
    pub places: [f32; 5],
    /// The same of the trees' logits.
    pub trees: [f32; 5],
}

impl Calibration {
    /// Whether its numbers can be those of tails.
    pub fn is_sound(&self) -> bool {
        [self.places, self.trees].iter().all(|numbers| {
            let [_, scale, shape, share, least] = *numbers;
            let is_share = |share: f32| share > 0.0 && share <= 1.0;
            let are_finite = numbers.iter().all(|number| number.is_finite());
            are_finite && scale > 0.0 && shape.abs() < 1.0 && is_share(share) && is_share(least)
        })
    }

    pub(crate) fn tails(&self) -> Tails {
        let tail = |[start, scale, shape, share, least]: [f32; 5]| Tail {
            start,
            scale,
            shape,
            share,
            least,
        };
        Tails {
            places: tail(self.places),
            trees: tail(self.trees),
        }
    }
}

/// Scores and logits of files.
type Numbers = (Vec<f32>, Vec<f32>);

/// Gathers what harmless files are judged; the same bytes count once.
#[derive(Debug, Default)]
pub struct Calibrator {
    known: BTreeSet<[u8; 32]>,
    /// By type and model.
    numbers: BTreeMap<(&'static str, String), Numbers>,
}

impl Calibrator {
    /// Takes in a file and its members.
    pub fn add(&mut self, report: &FileReport) {
        for verdict in report.verdicts() {
            let Some(judgement) = &verdict.judgement else {
                continue;
            };
            if verdict
                .sha256
                .is_some_and(|digest| !self.known.insert(digest))
            {
                continue;
            }
            let key = (verdict.kind.as_str(), judgement.model.clone());
            let (scores, logits) = self.numbers.entry(key).or_default();
            scores.push(judgement.score);
            logits.push(judgement.logit);
        }
    }

    /// How many different files of each type there were.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.numbers
            .iter()
            .map(|(key, (scores, _))| (key.0, scores.len()))
    }

    /// The calibrations of types with so many files that they say what is rare.
    pub fn finish(self) -> Vec<Calibration> {
        let numbers = self.numbers.into_iter();
        let enough = numbers.filter(|(_, (scores, _))| scores.len() >= CALIBRATION_MIN);
        let fit = |mut numbers: Vec<f32>| {
            numbers.sort_by(f32::total_cmp);
            let tail = Tail::fit(&numbers);
            [tail.start, tail.scale, tail.shape, tail.share, tail.least]
        };
        enough
            .map(|((kind, model), (scores, logits))| Calibration {
                kind: kind.to_owned(),
                model,
                files: scores.len(),
                places: fit(scores),
                trees: fit(logits),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileType, Judgement, Reason};

    fn report(number: u16) -> FileReport {
        let mut report = FileReport::not_judged(1, Reason::Empty);
        report.whole.kind = FileType::Elf;
        let mut digest = [0; 32];
        digest[..2].copy_from_slice(&number.to_le_bytes());
        report.whole.sha256 = Some(digest);
        report.whole.judgement = Some(Judgement {
            score: f32::from(number),
            logit: -f32::from(number),
            model: "m".to_owned(),
            ..Judgement::default()
        });
        report
    }

    #[test]
    fn the_same_file_counts_once_and_too_few_say_nothing() {
        let mut calibrator = Calibrator::default();
        for number in (0..99).chain(0..99) {
            calibrator.add(&report(number));
        }
        calibrator.add(&FileReport::not_judged(1, Reason::Encrypted));
        assert_eq!(calibrator.counts().collect::<Vec<_>>(), [("elf", 99)]);
        assert_eq!(calibrator.finish(), []);
    }

    #[test]
    fn tails_are_of_the_highest() {
        let mut calibrator = Calibrator::default();
        for number in 0..1_000 {
            calibrator.add(&report(number));
        }
        let found = calibrator.finish();
        assert_eq!((found.len(), found[0].files), (1, 1_000));
        assert_eq!(found[0].places[0], 979.0, "twenty are above");
        assert_eq!(found[0].trees[0], -20.0);
        assert!(found[0].is_sound());
        let wild = Calibration {
            places: [f32::NAN, 1.0, 0.0, 0.5, 0.1],
            ..found[0].clone()
        };
        assert!(!wild.is_sound());
    }
}
