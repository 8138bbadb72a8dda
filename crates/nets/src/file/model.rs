//! The network itself, as trained by `thymus-train` and quantised to bytes.

use super::cuts::LEVELS;
use super::grams::{ORDERS, ROWS, for_each_row};
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

/// Rows are summed in sixteen bits so many at a time.
const SUM_MAX: u32 = 256;
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
    tables: [&'a [[u8; EMBEDDING]]; ORDERS.len()],
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
        let mut tables = [&rows[..0]; ORDERS.len()];
        for (table, rows) in tables.iter_mut().zip(rows.chunks(ROWS)) {
            *table = rows;
        }
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
        let mut short = [[0_u16; EMBEDDING]; ORDERS.len()];
        let mut counts = [0_u32; ORDERS.len()];
        let mut flush = |short: &mut [u16; EMBEDDING], table: usize, count: u32| {
            let numbers = &mut sums.numbers[table * EMBEDDING..(table + 1) * EMBEDDING];
            for (number, part) in numbers.iter_mut().zip(short.iter_mut()) {
                *number += i32::from(std::mem::take(part)) - ZERO * count as i32;
            }
            sums.rows += count;
        };
        for_each_row(piece, |table, row| {
            let Some(row) = self.tables[table].get(row) else {
                return;
            };
            for (part, number) in short[table].iter_mut().zip(row) {
                *part += u16::from(*number);
            }
            counts[table] += 1;
            if counts[table] == SUM_MAX {
                flush(&mut short[table], table, SUM_MAX);
                counts[table] = 0;
            }
        });
        for (table, short) in short.iter_mut().enumerate() {
            flush(short, table, counts[table]);
        }
        sums
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
