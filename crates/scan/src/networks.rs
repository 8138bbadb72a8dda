//! The shipped networks as a judge.

use thymus_nets::ArtifactError;
use thymus_nets::file::{FileNet, Judgement as Judged, Window};

use crate::{ByteRange, FileType, Judge, Judgement, Leaning};

/// Most ranges named as what decided.
const RANGES_MAX: usize = 5;
/// A window with less than this share of a score is no reason for it.
const SHARE_MIN: f32 = 0.02;

/// The networks that ship with Thymus.
pub struct Networks(Vec<FileNet<'static>>);

impl Networks {
    /// Opens them.
    ///
    /// # Errors
    /// When one does not fit this build.
    pub fn shipped() -> Result<Self, ArtifactError> {
        Ok(Self(FileNet::shipped()?))
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
        let (suspicious, malicious) = net.thresholds(name)?;
        let leaning = match judged.score {
            score if score > malicious => Leaning::Malicious,
            score if score > suspicious => Leaning::Suspicious,
            _ => Leaning::Clean,
        };
        let is_found = leaning != Leaning::Clean;
        let certified = || judged.certified_bytes(malicious.next_up());
        let certified_bytes = (leaning == Leaning::Malicious).then(certified).flatten();
        Some(Judgement {
            leaning,
            probability: net.probability(name, judged.score)?.into(),
            certified_bytes,
            ranges: if is_found {
                ranges(&judged)
            } else {
                Vec::new()
            },
            label: None,
            model: format!("{}-{}", net.card().name, net.card().version),
        })
    }
}

/// The strongest windows that do not overlap.
fn ranges(judged: &Judged) -> Vec<ByteRange> {
    let mut chosen: Vec<&Window> = Vec::new();
    for window in &judged.windows {
        let apart = |other: &&Window| window.end <= other.start || window.start >= other.end;
        let weighs = window.evidence >= SHARE_MIN * judged.score;
        if weighs && chosen.len() < RANGES_MAX && chosen.iter().all(apart) {
            chosen.push(window);
        }
    }
    let range = |window: &Window| ByteRange {
        offset: window.start,
        length: window.end - window.start,
        weight: window.evidence / judged.score,
    };
    chosen.into_iter().map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_learned_is_not_judged() {
        let networks = Networks::shipped().unwrap();
        assert_eq!(networks.judge(FileType::Elf, b"\x7fELF"), None);
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
        };
        let windows = vec![
            window(500, 6.0),
            window(550, 3.0),
            window(0, 2.5),
            window(900, 0.1),
        ];
        let judged = Judged {
            score: 10.0,
            closed_score: 10.0,
            windows,
        };
        let found: Vec<_> = ranges(&judged)
            .iter()
            .map(|r| (r.offset, r.weight))
            .collect();
        assert_eq!(found, [(500, 0.6), (0, 0.25)]);
    }
}
