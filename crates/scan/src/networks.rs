//! The shipped networks as a judge.

use thymus_nets::ArtifactError;
use thymus_nets::file::{FileNet, STRONGEST, Window, log_score, logit};

use crate::{ByteRange, Calibration, FileType, Judge, Judgement, Leaning};

/// Most ranges named as what decided.
const RANGES_MAX: usize = 5;
/// A window with less than this share of a score is no reason for it.
const SHARE_MIN: f32 = 0.02;

/// The networks that ship with Thymus.
#[derive(Clone, Debug)]
pub struct Networks(Vec<FileNet<'static>>);

impl Networks {
    /// Opens them.
    ///
    /// # Errors
    /// When one does not fit this build.
    pub fn shipped() -> Result<Self, ArtifactError> {
        Ok(Self(FileNet::shipped()?))
    }

    /// Heeds what harmless files of their user are judged, where these networks judged them.
    #[must_use]
    pub fn calibrated(mut self, calibrations: &[Calibration]) -> Self {
        for net in &mut self.0 {
            let id = model(net);
            for of_kind in calibrations
                .iter()
                .filter(|c| c.model == id && c.is_sound())
            {
                net.calibrate(&of_kind.kind, of_kind.tails(), of_kind.files);
            }
        }
        self
    }

    /// Id, types and card of each.
    pub fn cards(&self) -> impl Iterator<Item = (String, Vec<&str>, &str)> {
        let nets = self.0.iter();
        nets.map(|net| (model(net), net.kinds().collect(), net.card().text.as_str()))
    }

    fn of(&self, kind: FileType) -> Option<&FileNet<'static>> {
        let knows = |net: &&FileNet<'_>| net.kinds().any(|known| known == kind.as_str());
        self.0.iter().find(knows)
    }
}

impl Judge for Networks {
    fn judge(&self, kind: FileType, bytes: &[u8]) -> Option<Judgement> {
        let (net, name) = (self.of(kind)?, kind.as_str());
        let judged = net.judge(name, bytes)?;
        let rarity = net.rarity(name, &judged)?;
        let (suspicious, malicious) = net.limits(name)?;
        let leaning = match rarity.share {
            share if malicious.is_some_and(|limit| share <= limit) => Leaning::Malicious,
            share if share <= suspicious => Leaning::Suspicious,
            _ => Leaning::Clean,
        };
        let certified = |limit| judged.certified_bytes(net.score(name, limit)?.next_up());
        let is_malicious = leaning == Leaning::Malicious;
        let ranges = match (leaning, judged.worst) {
            (Leaning::Clean, _) => Vec::new(),
            (_, Some(worst)) if rarity.is_by_trees => ranges(&net.places(name, bytes, worst.end)),
            _ => ranges(&judged.windows),
        };
        Some(Judgement {
            leaning,
            probability: net.probability(name, &judged)?.into(),
            benign_share: rarity.share,
            score: log_score(judged.score),
            logit: logit(&judged),
            certified_bytes: malicious.filter(|_| is_malicious).and_then(certified),
            outlives_additions: is_malicious && malicious >= Some(rarity.closed_share),
            ranges,
            label: None,
            model: model(net),
        })
    }
}

/// Id of a network.
fn model(net: &FileNet<'_>) -> String {
    format!("{}-{}", net.card().name, net.card().version)
}

/// The heaviest windows that do not overlap; `windows` stand heaviest first.
fn ranges(windows: &[Window]) -> Vec<ByteRange> {
    let sum: f32 = windows.iter().take(STRONGEST).map(|w| w.evidence).sum();
    let mut chosen: Vec<&Window> = Vec::new();
    for window in windows {
        let apart = |other: &&Window| window.end <= other.start || window.start >= other.end;
        let weighs = window.evidence >= SHARE_MIN * sum;
        if weighs && chosen.len() < RANGES_MAX && chosen.iter().all(apart) {
            chosen.push(window);
        }
    }
    let range = |window: &Window| ByteRange {
        offset: window.start,
        length: window.end - window.start,
        weight: window.evidence / sum,
    };
    chosen.into_iter().map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_learned_is_not_judged() {
        let networks = Networks::shipped().unwrap();
        assert_eq!(networks.judge(FileType::Perl, b"print 1;"), None);
        let judged = networks.judge(FileType::Pdf, b"%PDF-1.4\n").unwrap();
        assert!(
            judged.model.starts_with("file_document-"),
            "{}",
            judged.model
        );
        assert!((0.0..=1.0).contains(&judged.probability));
    }

    #[test]
    fn the_strongest_windows_apart_from_each_other_are_the_reasons() {
        let window = |start: u64, evidence: f32| Window {
            start,
            end: start + 100,
            evidence,
            open: false,
            ends: false,
        };
        let windows = [
            window(500, 6.0),
            window(550, 2.875),
            window(0, 3.0),
            window(900, 0.125),
        ];
        let found: Vec<_> = ranges(&windows)
            .iter()
            .map(|r| (r.offset, r.weight))
            .collect();
        assert_eq!(found, [(500, 0.5), (0, 0.25)]);
    }
}
