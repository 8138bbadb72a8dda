//! The networks that ship.

use super::FileNet;
use crate::artifact::ArtifactError;

const PROGRAM: &[u8] = include_bytes!("../../weights/file_program.safetensors");
const WINDOWS: &[u8] = include_bytes!("../../weights/file_windows.safetensors");
const DOCUMENT: &[u8] = include_bytes!("../../weights/file_document.safetensors");
const SCRIPT: &[u8] = include_bytes!("../../weights/file_script.safetensors");

/// The files of the networks that ship: for programs, those of Windows, documents and scripts.
pub const SHIPPED: [&[u8]; 4] = [PROGRAM, WINDOWS, DOCUMENT, SCRIPT];

impl FileNet<'static> {
    /// The networks that ship, in the order of [`SHIPPED`]. Their tables are used where they lie
    /// in the program, so all threads and processes share them.
    pub fn shipped() -> Result<Vec<Self>, ArtifactError> {
        SHIPPED.map(Self::open).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Judgement, MALICIOUS, SUSPICIOUS};
    use super::*;

    #[test]
    fn every_type_is_known_once_and_has_thresholds_in_order() {
        let nets = FileNet::shipped().unwrap();
        let mut kinds: Vec<&str> = nets.iter().flat_map(FileNet::kinds).collect();
        for net in &nets {
            assert!(net.card().text.contains("## Limits"));
            for kind in net.kinds() {
                let [suspicious, malicious] =
                    [SUSPICIOUS, MALICIOUS].map(|share| net.score(kind, share).unwrap());
                let share = |judged: &Judgement| net.rarity(kind, judged).unwrap().share;
                assert!(0.0 < suspicious && suspicious <= malicious, "{kind}");
                let judged = |score| Judgement {
                    score,
                    ..Judgement::default()
                };
                let is_rare = |score, limit| share(&judged(score)) <= limit;
                assert!(
                    malicious == f32::INFINITY || is_rare(malicious * 1.01, MALICIOUS),
                    "{kind}"
                );
                assert!(!is_rare(suspicious * 0.99, SUSPICIOUS), "{kind}");
                let low = net.probability(kind, &judged(1e-3)).unwrap();
                let high = net.probability(kind, &judged(malicious.min(1e6))).unwrap();
                assert!(low < high, "{kind}");
            }
        }
        let count = kinds.len();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!((count, kinds.len()), (7, 7));
    }

    #[test]
    fn bytes_without_meaning_are_judged_and_never_break_it() {
        let nets = FileNet::shipped().unwrap();
        let noise: Vec<u8> = (0..70_000_u64)
            .map(|at| (at.wrapping_mul(at).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8)
            .collect();
        for net in &nets {
            for kind in net.kinds() {
                for bytes in [&[][..], b"x", &[0; 5_000], &noise] {
                    let judged = net.judge(kind, bytes).unwrap();
                    assert!(judged.score.is_finite() && judged.score >= 0.0, "{kind}");
                    assert_eq!(judged.windows.is_empty(), bytes.is_empty());
                }
            }
        }
    }
}
