//! The seam to what judges content.

use serde::{Deserialize, Serialize};

use crate::FileType;

/// Judges the content of one file of a type it knows.
pub trait Judge: Send + Sync {
    /// What it makes of the bytes; none of a type it has not learned. The same bytes must give the same
    /// judgement, whoever else is asking at the time; it must not keep them.
    fn judge(&self, kind: FileType, bytes: &[u8]) -> Option<Judgement>;

    /// Starts threads to share the work on one file, if it can: `threads` of them.
    fn start_threads(&mut self, _threads: usize) {}
}

/// Which way a judgement leans, mildest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Leaning {
    /// Like the benign files it learned from.
    #[default]
    Clean,
    /// Between the two.
    Suspicious,
    /// Like the malicious files it learned from.
    Malicious,
}

/// What a [`Judge`] makes of some bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Which way it leans.
    pub leaning: Leaning,
    /// Calibrated probability of being malicious, 0 to 1.
    pub probability: f64,
    /// The share of harmless files that is judged as badly, 0 to 1.
    pub benign_share: f32,
    /// What the network makes of what is in it: the logarithm of the evidence.
    pub score: f32,
    /// What the trees make of what kind of file it is: the logit of being malicious.
    pub logit: f32,
    /// No change of up to so many bytes in one place, and nothing put before or behind the file, turns it
    /// around; given with malicious only.
    pub certified_bytes: Option<u64>,
    /// Whether it would stay malicious whatever were put behind the file.
    pub outlives_additions: bool,
    /// The bytes that decided, heaviest first.
    pub ranges: Vec<ByteRange>,
    /// What family or behaviour it looks like.
    pub label: Option<String>,
    /// Id of the model.
    pub model: String,
}

/// Some of the bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ByteRange {
    /// First byte.
    pub offset: u64,
    /// How many.
    pub length: u64,
    /// Their part in the judgement, 0 to 1.
    pub weight: f32,
}
