//! The samples of a pack, in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;

use super::Arguments;
use crate::corpus::{Kind, Label, Part, Role, Secret, facts_of, parts, read_index};

/// One file, or what the pack kept of it.
pub(super) struct Sample {
    /// What its bytes are.
    pub(super) bytes: Vec<u8>,
    /// Whether it is malicious.
    pub(super) malicious: bool,
    /// Its cluster of near duplicates.
    pub(super) cluster: u32,
    /// Number of the package that it is labelled with, where labels are of packages.
    pub(super) package: Option<u32>,
    /// What kind of program it is, of types that are reported on by it; else empty.
    pub(super) form: &'static str,
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

/// What the index tells of malicious files, by digest.
#[derive(Default)]
pub(super) struct Origins {
    /// Those that are not learned from but tuned on, because of where they are from: what a network of all
    /// other sources finds of them says more of files of another origin than the tuning side, which has
    /// the origins of the training side. Plans are compared so.
    left_out: BTreeSet<String>,
    /// Numbers of packages, where labels are of packages.
    packages: BTreeMap<String, u32>,
    /// Benign ones that are learned from where they would be tuned on.
    untuned: BTreeSet<String>,
}

/// Reads off the index which malicious files are left out, the packages of files of the types that are
/// labelled so, and the benign files that no limit is to rest on.
pub(super) fn origins(index: &Path, arguments: &Arguments) -> Result<Origins> {
    let Arguments {
        leave_out: left_out,
        by_package,
        untuned,
        ..
    } = arguments;
    let mut origins = Origins::default();
    let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
    for row in read_index(index)? {
        if row.label != Label::Malicious {
            if untuned.contains(&row.source) {
                origins.untuned.insert(row.sha256);
            }
            continue;
        }
        if by_package.iter().any(|kind| kind == row.kind.as_str()) {
            let next = numbers.len() as u32;
            let number = *numbers.entry(row.family).or_insert(next);
            origins.packages.insert(row.sha256.clone(), number);
        }
        if left_out.contains(&row.source) {
            origins.left_out.insert(row.sha256);
        }
    }
    Ok(origins)
}

/// Moves malicious training samples that `is_left_out` names to the tuning side, in the place of its own,
/// and drops their near duplicates from the training side.
fn leave_out(samples: &mut Samples, is_left_out: &BTreeSet<usize>) {
    let mut number = 0;
    let (out, train): (Vec<_>, Vec<_>) =
        std::mem::take(&mut samples.train)
            .into_iter()
            .partition(|_| {
                number += 1;
                is_left_out.contains(&(number - 1))
            });
    let clusters: BTreeSet<u32> = out.iter().map(|sample| sample.cluster).collect();
    let stays = |sample: &Sample| !sample.malicious || !clusters.contains(&sample.cluster);
    samples.train = train.into_iter().filter(stays).collect();
    samples.tune.retain(|sample| !sample.malicious);
    samples.tune.extend(out);
}

/// Reads all samples of `kind` from a pack, at most `class_max` of each label and side and `head_kib` of
/// each sample, in the order of their digests.
pub(super) fn load(
    pack: &Path,
    secret: &Secret,
    kind: Kind,
    arguments: &Arguments,
    origins: &Origins,
) -> Result<Samples> {
    let mut samples = Samples::default();
    let mut counts = [[0_usize; 2]; 3];
    let mut out = BTreeSet::new();
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
            let digest = thymus_parsers::hex(&entry.sha256);
            let role = if origins.untuned.contains(&*digest) && entry.role == Role::Tune {
                Role::Train
            } else {
                entry.role
            };
            let (side, place) = match role {
                Role::Train => (&mut samples.train, 0),
                Role::Tune => (&mut samples.tune, 1),
                Role::Test => (&mut samples.test, 2),
            };
            let count = &mut counts[place][usize::from(malicious)];
            if *count >= arguments.class_max {
                continue;
            }
            let mut bytes = part.sample(number)?.bytes;
            if kind == Kind::Elf && is_object(&bytes) {
                continue;
            }
            *count += 1;
            if role == Role::Train && origins.left_out.contains(&*digest) {
                out.insert(side.len());
            }
            let form = form(kind, &bytes);
            bytes.truncate(arguments.head_kib << 10);
            bytes.shrink_to_fit();
            side.push(Sample {
                bytes,
                malicious,
                cluster: entry.cluster,
                package: origins.packages.get(&*digest).copied(),
                form,
            });
        }
    }
    if arguments.all {
        let test = std::mem::take(&mut samples.test);
        samples.train.extend(test);
    }
    if !origins.left_out.is_empty() {
        leave_out(&mut samples, &out);
    }
    Ok(samples)
}

/// Whether an ELF file is for a linker or a kernel to load and not a program (`ET_REL`): `thymus scan` has a
/// type of its own for them.
pub(super) fn is_object(bytes: &[u8]) -> bool {
    let big_endian = bytes.get(5) == Some(&2);
    let kind = bytes.get(16..18).unwrap_or_default();
    kind == if big_endian { [0, 1] } else { [1, 0] }
}

/// What kind of program a file is, where its type is reported on by it: EMBER and others show Windows programs
/// so.
fn form(kind: Kind, bytes: &[u8]) -> &'static str {
    if kind != Kind::Pe {
        return "";
    }
    let words = facts_of(kind, bytes);
    let has = |word: &str| words.split(' ').any(|known| known == word);
    match () {
        () if has("packed") => "packed",
        () if has("dotnet") => ".NET",
        () if has("form=dll") => "DLL",
        () if has("form=exe") => "exe",
        () => "other",
    }
}
