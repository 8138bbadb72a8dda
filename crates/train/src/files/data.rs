//! The samples of a pack, in memory.

use std::path::Path;

use anyhow::Result;

use crate::corpus::{Kind, Label, Part, Role, Secret, parts};

/// One file, or what the pack kept of it.
pub(super) struct Sample {
    /// What its bytes are.
    pub(super) bytes: Vec<u8>,
    /// Whether it is malicious.
    pub(super) malicious: bool,
    /// Its cluster of near duplicates.
    pub(super) cluster: u32,
}

/// All samples of one type, by side.
#[derive(Default)]
pub(super) struct Samples {
    pub(super) train: Vec<Sample>,
    pub(super) tune: Vec<Sample>,
    pub(super) test: Vec<Sample>,
}

impl Samples {
    /// How many of one side are malicious and how many are not.
    pub(super) fn counts(side: &[Sample]) -> (usize, usize) {
        let malicious = side.iter().filter(|sample| sample.malicious).count();
        (malicious, side.len() - malicious)
    }
}

/// Reads all samples of `kind` from a pack, at most `class_max` of each label and side, in the order of
/// their digests.
pub(super) fn load(pack: &Path, secret: &Secret, kind: Kind, class_max: usize) -> Result<Samples> {
    let mut samples = Samples::default();
    let mut counts = [[0_usize; 2]; 3];
    for path in parts(pack)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.split('-').next() != Some(kind.as_str()) {
            continue;
        }
        let mut part = Part::open(&path, secret)?;
        for number in 0..part.entries.len() {
            let entry = part.entries[number].clone();
            if entry.kind != kind {
                continue;
            }
            let malicious = entry.label == Label::Malicious;
            let (side, place) = match entry.role {
                Role::Train => (&mut samples.train, 0),
                Role::Tune => (&mut samples.tune, 1),
                Role::Test => (&mut samples.test, 2),
            };
            let count = &mut counts[place][usize::from(malicious)];
            if *count >= class_max {
                continue;
            }
            *count += 1;
            side.push(Sample {
                bytes: part.sample(number)?.bytes,
                malicious,
                cluster: entry.cluster,
            });
        }
    }
    Ok(samples)
}
