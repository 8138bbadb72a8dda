//! Mutates the seed cases of a registry and checks that the registry, its cases and its fuzz targets
//! agree; the tests of every crate with readers of hostile bytes include it.

use std::fs;
use std::path::{Path, PathBuf};

const INPUT_MAX: usize = 8192;

/// Hexadecimal digits in any layout; `#` starts a remark.
fn read_hex(path: &Path) -> Vec<u8> {
    let text = fs::read_to_string(path).unwrap();
    let digits: Vec<u8> = text
        .lines()
        .filter_map(|line| line.split('#').next())
        .flat_map(str::bytes)
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| char::from(byte).to_digit(16).expect("hexadecimal digit") as u8)
        .collect();
    assert!(
        digits.len().is_multiple_of(2),
        "odd number of digits in {}",
        path.display()
    );
    digits
        .chunks(2)
        .map(|pair| (pair[0] << 4) | pair[1])
        .collect()
}

fn seeds(root: &Path, name: &str) -> Vec<Vec<u8>> {
    let folder = root.join("cases").join(name);
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|_| panic!("no case folder {}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "hex"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no case in {}", folder.display());
    paths.iter().map(|path| read_hex(path)).collect()
}

/// Xorshift64*: small, fixed, good enough to spread mutations.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        if bound == 0 {
            0
        } else {
            (self.next() >> 16) as usize % bound
        }
    }
}

fn mutate(dice: &mut Dice, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len());
        match dice.below(8) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << dice.below(8),
            1 if !bytes.is_empty() => bytes[at] = dice.next() as u8,
            2 if !bytes.is_empty() => bytes[at] = [0, 1, 0x7f, 0x80, 0xc0, 0xff][dice.below(6)],
            3 => bytes.truncate(at),
            4 => {
                let to = (at + dice.below(64)).min(bytes.len());
                let span = bytes[at..to].to_vec();
                bytes.splice(at..at, span);
            }
            5 => {
                let to = (at + dice.below(16)).min(bytes.len());
                bytes.drain(at..to);
            }
            6 => bytes.insert(at, dice.next() as u8),
            7 if !other.is_empty() => {
                let from = dice.below(other.len());
                let to = (from + dice.below(64)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            _ => {}
        }
    }
    bytes.truncate(INPUT_MAX);
}

/// What a registry calls a reader, and the reader.
pub(crate) type Reader = (&'static str, fn(&[u8]));

/// Runs each reader over its seeds, cut everywhere, and `usual` times over mutated ones, from a fixed
/// random seed so that a failure repeats; `THYMUS_MUTATIONS` sets another number. `root` is the folder
/// of the crate.
pub(crate) fn survive(root: &Path, readers: impl Iterator<Item = Reader>, usual: u64) {
    let mutations = std::env::var("THYMUS_MUTATIONS").map_or(usual, |text| {
        text.parse().expect("THYMUS_MUTATIONS is a number")
    });
    for (name, read) in readers {
        let seeds = seeds(root, name);
        let mut dice = Dice(0x5eed_0f74_7968_6d75);
        for seed in &seeds {
            read(seed);
            for end in 0..seed.len().min(512) {
                read(&seed[..end]);
            }
        }
        for _ in 0..mutations {
            let mut bytes = seeds[dice.below(seeds.len())].clone();
            let other = dice.below(seeds.len());
            mutate(&mut dice, &mut bytes, &seeds[other]);
            let run = std::panic::AssertUnwindSafe(|| read(&bytes));
            let survived = std::panic::catch_unwind(run).is_ok();
            assert!(survived, "{name} panics on {bytes:02x?}");
        }
    }
}

/// Checks that `listed` is in alphabetical order and that each has a case folder and a fuzz target.
pub(crate) fn agree(root: &Path, listed: &[&str]) {
    assert!(
        listed.is_sorted_by(|a, b| a < b),
        "the registry is in alphabetical order"
    );
    let mut folders: Vec<String> = fs::read_dir(root.join("cases"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    folders.sort();
    assert_eq!(folders, listed);
    let manifest = fs::read_to_string(root.join("../../fuzz/Cargo.toml")).unwrap();
    for name in listed {
        let target = root
            .join("../../fuzz/fuzz_targets")
            .join(format!("{name}.rs"));
        let text = fs::read_to_string(&target)
            .unwrap_or_else(|_| panic!("no fuzz target {}", target.display()));
        assert!(
            text.contains(&format!("\"{name}\"")),
            "{} runs another reader",
            target.display()
        );
        assert!(
            manifest.contains(&format!("name = \"{name}\"")),
            "{name} is not in fuzz/Cargo.toml"
        );
    }
}
