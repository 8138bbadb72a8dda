//! The shipped networks as a judge.

use std::sync::Arc;

use rayon::{ThreadPool, ThreadPoolBuilder};
use thymus_nets::ArtifactError;
use thymus_nets::file::{FileNet, STRONGEST, Window, log_score, logit};

use crate::{ByteRange, Calibration, FileType, Judge, Judgement, Leaning};

/// Most ranges named as what decided.
const RANGES_MAX: usize = 5;
/// A window with less than this share of a score is no reason for it.
const SHARE_MIN: f32 = 0.02;

/// The networks that ship with Thymus.
#[derive(Clone, Debug)]
pub struct Networks {
    nets: Vec<FileNet<'static>>,
    /// Threads that share the work on one file.
    pool: Option<Arc<ThreadPool>>,
}

impl Networks {
    /// Opens them.
    ///
    /// # Errors
    /// When one does not fit this build.
    pub fn shipped() -> Result<Self, ArtifactError> {
        Ok(Self {
            nets: FileNet::shipped()?,
            pool: None,
        })
    }

    /// Heeds what harmless files of their user are judged, where these networks judged them.
    #[must_use]
    pub fn calibrated(mut self, calibrations: &[Calibration]) -> Self {
        for net in &mut self.nets {
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
        let nets = self.nets.iter();
        nets.map(|net| (model(net), net.kinds().collect(), net.card().text.as_str()))
    }

    fn of(&self, kind: FileType) -> Option<&FileNet<'static>> {
        let knows = |net: &&FileNet<'_>| net.kinds().any(|known| known == kind.as_str());
        self.nets.iter().find(knows)
    }
}

impl Judge for Networks {
    fn judge(&self, kind: FileType, bytes: &[u8]) -> Option<Judgement> {
        let (net, name) = (self.of(kind)?, kind.as_str());
        let judged = net.judge_on(self.pool.as_deref(), name, bytes)?;
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

    fn start_threads(&mut self, threads: usize) {
        // Without them it takes longer, and that is all.
        self.pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .ok()
            .map(Arc::new);
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
    fn threads_change_no_judgement() {
        let alone = Networks::shipped().unwrap();
        let mut shared = alone.clone();
        shared.start_threads(3);
        let text = (0..60_000_u32).flat_map(|at| at.wrapping_mul(0x9e37_79b9).to_be_bytes());
        let bytes: Vec<u8> = b"%PDF-1.4\n".iter().copied().chain(text).collect();
        let of = |networks: &Networks| networks.judge(FileType::Pdf, &bytes).unwrap();
        assert_eq!(of(&alone), of(&shared));
        assert!(of(&alone).score > -13.0, "there is something to compare");
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
