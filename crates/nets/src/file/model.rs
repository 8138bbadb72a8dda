//! The network itself, as trained by `thymus-train` and quantised to bytes.

use super::cuts::LEVELS;
use super::grams::{ORDERS, ROWS, rows};
use super::judge::{Judgement, Strongest, Window};
use super::windows::{Bag, for_each_window};
use crate::artifact::{Artifact, ArtifactError, ModelCard};

/// Numbers of a row's vector.
pub const EMBEDDING: usize = 16;
/// Numbers a window is summed up in.
pub const WIDTH: usize = ORDERS.len() * EMBEDDING;
/// Numbers of the hidden layer.
pub const HIDDEN: usize = 32;
/// Slope of the hidden layer below zero.
pub const LEAK: f32 = 0.05;
/// The input a model must have been trained on.
pub const INPUT: &str = "file windows 1: gear cuts on three levels, rows of 2, 3, 4, 6 and 8 bytes";

/// Rows of one table are summed in sixteen bits so many at a time.
const SUM_MAX: usize = 256;
/// What stands for zero in a row's bytes.
const ZERO: i32 = 128;

/// Sums of rows, table by table.
#[derive(Clone, Debug)]
struct Sums {
    numbers: [i32; WIDTH],
    rows: u32,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            numbers: [0; WIDTH],
            rows: 0,
        }
    }
}

impl Bag for Sums {
    fn add(&mut self, other: &Self) {
        for (sum, number) in self.numbers.iter_mut().zip(&other.numbers) {
            *sum += number;
        }
        self.rows += other.rows;
    }
}

/// The layers that judge the windows of one level for one type of file.
#[derive(Clone, Debug)]
struct Head {
    /// [WIDTH, HIDDEN]
    hidden: Vec<[f32; HIDDEN]>,
    hidden_bias: [f32; HIDDEN],
    out: [f32; HIDDEN],
    out_bias: f32,
}

/// What the network knows of one type of file.
#[derive(Clone, Debug)]
struct Kind {
    name: Box<str>,
    heads: [Head; LEVELS],
    suspicious: f32,
    malicious: f32,
    /// Slope and offset of the log odds over the logarithm of the score.
    odds: [f32; 2],
}

/// A network over the raw bytes of files; its large tables stay where they were loaded.
#[derive(Clone, Debug)]
pub struct FileNet<'a> {
    card: ModelCard,
    bits: u32,
    tables: [&'a [[u8; EMBEDDING]; ROWS]; ORDERS.len()],
    scales: [f32; ORDERS.len()],
    kinds: Vec<Kind>,
}

impl<'a> FileNet<'a> {
    /// Reads a model file.
    pub fn open(bytes: &'a [u8]) -> Result<Self, ArtifactError> {
        let artifact = Artifact::open(bytes, INPUT)?;
        let field = |name| {
            artifact
                .field(name)
                .ok_or(ArtifactError::Card { field: name })
        };
        let bits = field("bits")?.parse();
        let bits = bits.map_err(|_| ArtifactError::Card { field: "bits" })?;
        let rows = artifact.bytes("rows", &[ORDERS.len(), ROWS, EMBEDDING])?;
        let (rows, _) = rows.as_chunks::<EMBEDDING>();
        let (tables, _) = rows.as_chunks::<ROWS>();
        let tables = <&[_; ORDERS.len()]>::try_from(tables);
        let tables = tables.map_err(|_| ArtifactError::Card { field: "rows" })?;
        let tables = tables.each_ref();
        let scales = artifact.f32("scales", &[ORDERS.len()])?;
        let kinds = field("kinds")?
            .split(' ')
            .map(|name| Kind::read(&artifact, name))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            card: artifact.card().clone(),
            bits,
            tables,
            scales: array(&scales),
            kinds,
        })
    }

    /// Its card.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// The types of files it knows.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.kinds.iter().map(|kind| &*kind.name)
    }

    /// Judges `bytes` as a file of the type `kind`; none when the network has not learned it.
    pub fn judge(&self, kind: &str, bytes: &[u8]) -> Option<Judgement> {
        let kind = self.kind(kind)?;
        let mut strongest = Strongest::default();
        for_each_window(
            bytes,
            self.bits,
            |piece| self.sum(piece),
            |level, stretch| {
                let logit = kind.heads[level].logit(&self.numbers(&stretch.bag));
                strongest.push(Window {
                    start: stretch.start,
                    end: stretch.end,
                    evidence: softplus(logit),
                    open: stretch.open,
                });
            },
        );
        Some(strongest.finish())
    }

    /// The scores from which on a file of the type is suspicious and malicious.
    pub fn thresholds(&self, kind: &str) -> Option<(f32, f32)> {
        let kind = self.kind(kind)?;
        Some((kind.suspicious, kind.malicious))
    }

    /// The calibrated probability that a file of the type with this score is malicious, where
    /// malicious and harmless files are equally frequent.
    pub fn probability(&self, kind: &str, score: f32) -> Option<f32> {
        let [slope, offset] = self.kind(kind)?.odds;
        let odds = slope * score.max(1e-6).ln() + offset;
        Some(1.0 / (1.0 + (-odds).exp()))
    }

    fn kind(&self, name: &str) -> Option<&Kind> {
        self.kinds.iter().find(|kind| *kind.name == *name)
    }

    fn sum(&self, piece: &[u8]) -> Sums {
        let mut sums = Sums::default();
        let mut last = [usize::MAX; ORDERS.len()];
        // Overlapping by what a run is longer than one byte, so that none is lost between two.
        let mut rest = piece;
        while !rest.is_empty() {
            let part = &rest[..rest.len().min(SUM_MAX + 7)];
            let begins = rest.len().min(SUM_MAX);
            self.sum_part(part, begins, &mut last, &mut sums);
            rest = &rest[begins..];
        }
        sums
    }

    /// Adds the rows of the runs that begin in the first `begins` bytes of `part`, at most as many as
    /// sums of sixteen bits hold. As [`super::grams::for_each_row`], which training uses.
    fn sum_part(
        &self,
        part: &[u8],
        begins: usize,
        last: &mut [usize; ORDERS.len()],
        sums: &mut Sums,
    ) {
        let mut short = [[0_u16; EMBEDDING]; ORDERS.len()];
        let mut counts = [0_u16; ORDERS.len()];
        let mut take = |word: u64, tables: usize| {
            let rows = rows(word);
            for table in 0..tables {
                let row = rows[table];
                if row == last[table] {
                    continue;
                }
                last[table] = row;
                counts[table] += 1;
                let row = &self.tables[table][row];
                for (sum, number) in short[table].iter_mut().zip(row) {
                    *sum += u16::from(*number);
                }
            }
        };
        let mut rest = part;
        for _ in 0..begins {
            if let Some(word) = rest.first_chunk::<8>() {
                take(u64::from_le_bytes(*word), ORDERS.len());
            } else {
                let mut word = [0; 8];
                word[..rest.len()].copy_from_slice(rest);
                let fit = ORDERS.iter().filter(|order| **order <= rest.len());
                take(u64::from_le_bytes(word), fit.count());
            }
            rest = &rest[1..];
        }
        let numbers = sums.numbers.as_chunks_mut::<EMBEDDING>().0;
        for ((numbers, short), count) in numbers.iter_mut().zip(&short).zip(counts) {
            for (number, part) in numbers.iter_mut().zip(short) {
                *number += i32::from(*part) - ZERO * i32::from(count);
            }
            sums.rows += u32::from(count);
        }
    }

    /// A window's sums as the layers take them: scaled, and divided by the root of how many rows they
    /// are of.
    fn numbers(&self, sums: &Sums) -> [f32; WIDTH] {
        let mut numbers = [0.0; WIDTH];
        let norm = 1.0 / (sums.rows.max(1) as f32).sqrt();
        for (at, (number, sum)) in numbers.iter_mut().zip(&sums.numbers).enumerate() {
            *number = *sum as f32 * (self.scales[at / EMBEDDING] * norm);
        }
        numbers
    }
}

impl Kind {
    fn read(artifact: &Artifact<'_>, name: &str) -> Result<Self, ArtifactError> {
        let hidden = artifact.f32(&format!("{name}.hidden"), &[LEVELS, WIDTH, HIDDEN])?;
        let hidden_bias = artifact.f32(&format!("{name}.hidden_bias"), &[LEVELS, HIDDEN])?;
        let out = artifact.f32(&format!("{name}.out"), &[LEVELS, HIDDEN])?;
        let out_bias = artifact.f32(&format!("{name}.out_bias"), &[LEVELS])?;
        let limits = artifact.f32(&format!("{name}.limits"), &[4])?;
        let head = |level: usize| {
            let (rows, _) = hidden[level * WIDTH * HIDDEN..].as_chunks::<HIDDEN>();
            Head {
                hidden: rows[..WIDTH].to_vec(),
                hidden_bias: array(&hidden_bias[level * HIDDEN..]),
                out: array(&out[level * HIDDEN..]),
                out_bias: out_bias[level],
            }
        };
        Ok(Self {
            name: name.into(),
            heads: std::array::from_fn(head),
            suspicious: limits[0],
            malicious: limits[1],
            odds: [limits[2], limits[3]],
        })
    }
}

impl Head {
    fn logit(&self, numbers: &[f32; WIDTH]) -> f32 {
        let mut hidden = self.hidden_bias;
        for (number, weights) in numbers.iter().zip(&self.hidden) {
            for (sum, weight) in hidden.iter_mut().zip(weights) {
                *sum += number * weight;
            }
        }
        let mut logit = self.out_bias;
        for (sum, weight) in hidden.iter().zip(&self.out) {
            logit += leaky(*sum) * weight;
        }
        logit
    }
}

/// What the hidden layer makes of its sums (a leaky rectifier, Maas et al. 2013).
pub fn leaky(x: f32) -> f32 {
    if x > 0.0 { x } else { LEAK * x }
}

/// ln(1 + e^x).
fn softplus(x: f32) -> f32 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn array<const N: usize>(numbers: &[f32]) -> [f32; N] {
    std::array::from_fn(|at| numbers.get(at).copied().unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::super::grams::for_each_row;
    use super::*;

    #[test]
    fn sums_are_those_of_all_rows_however_long_the_piece_is() {
        let full = vec![[255; EMBEDDING]; ROWS];
        let full: &[_; ROWS] = full.as_slice().try_into().unwrap();
        let net = FileNet {
            card: ModelCard {
                name: String::new(),
                version: String::new(),
                input: String::new(),
                text: String::new(),
            },
            bits: 8,
            tables: [full; ORDERS.len()],
            scales: [1.0; ORDERS.len()],
            kinds: Vec::new(),
        };
        let bytes: Vec<u8> = (0..3_000_u64)
            .map(|at| (at.wrapping_mul(at).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8)
            .collect();
        for len in [0, 1, 2, 7, 8, 255, 256, 257, 262, 263, 264, 512, 3_000] {
            let mut counts = [0; ORDERS.len()];
            for_each_row(&bytes[..len], |table, _| counts[table] += 1);
            let sums = net.sum(&bytes[..len]);
            assert_eq!(sums.rows, counts.iter().sum::<i32>() as u32, "{len} bytes");
            for (at, number) in sums.numbers.iter().enumerate() {
                assert_eq!(
                    *number,
                    (255 - ZERO) * counts[at / EMBEDDING],
                    "{len} bytes"
                );
            }
        }
    }
}
