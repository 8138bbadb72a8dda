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

    fn try_judge(&self, kind: FileType, bytes: &[u8]) -> Option<Judgement> {
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

impl Judge for Networks {
    fn knows(&self, kind: FileType) -> bool {
        self.of(kind).is_some()
    }

    fn judge(&self, kind: FileType, bytes: &[u8]) -> Judgement {
        // Asked only for types it knows.
        self.try_judge(kind, bytes).unwrap_or(Judgement {
            leaning: Leaning::Suspicious,
            probability: 0.5,
            certified_bytes: None,
            ranges: Vec::new(),
            label: None,
            model: String::new(),
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
