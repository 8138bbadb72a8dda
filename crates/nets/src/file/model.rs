//! The network itself, as trained by `thymus-train` and quantised to bytes.

use rayon::ThreadPool;
use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};

use super::forest::{Counts, worst_beginning};
use super::grams::{ORDERS, ROW_BITS_MAX, rows};
use super::judge::{Judgement, Strongest, Window};
use super::kind::Kind;
use super::rarity::{CALIBRATION_MIN, Rarity, Tails, limits, log_score};
use super::windows::{Bag, Reader, Stretch, for_each_window};
use crate::artifact::{Artifact, ArtifactError, ModelCard};

/// Numbers of a row's vector.
pub const EMBEDDING: usize = 16;
/// Numbers a window is summed up in.
pub const WIDTH: usize = ORDERS.len() * EMBEDDING;
/// Numbers of the hidden layer.
pub const HIDDEN: usize = 32;
/// Numbers of a type's limits: the five of each tail, of how many harmless files they are, and
/// slope and offset of the log odds over the logarithm of the score and over the trees' logit.
pub const LIMITS: usize = 15;
/// Slope of the hidden layer below zero.
pub const LEAK: f32 = 0.05;
/// The input a model must have been trained on.
pub const INPUT: &str = "file windows 3: gear cuts on three levels, rows of 2, 3, 4, 6 and 8 bytes; trees over beginnings of fixed lengths";

/// Rows of one table are summed in sixteen bits so many at a time.
const SUM_MAX: usize = 256;
/// Places that a beginning is parted into to find which of them count.
const PLACES: usize = 64;
/// Bytes that such a place has at least.
const PLACE_MIN: usize = 64;
/// Bytes of a file that is worth the threads of a pool, at least.
const SHARED_MIN: usize = 128 << 10;
/// Pieces that they share at once: so much memory it takes, however long the file is.
const SHARED_PIECES: usize = 1_024;
/// What stands for zero in a row's bytes.
const ZERO: i64 = 128;

/// Sums of rows, table by table.
#[derive(Clone, Debug)]
struct Sums {
    numbers: [i64; WIDTH],
    rows: u64,
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

/// A network over the raw bytes of files; its large tables stay where they were loaded.
#[derive(Clone, Debug)]
pub struct FileNet<'a> {
    card: ModelCard,
    bits: u32,
    /// Bytes of the shortest beginning that the trees judge.
    shortest: usize,
    row_bits: u32,
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
        let number = |name| {
            let number = field(name)?.parse::<u32>();
            number.map_err(|_| ArtifactError::Card { field: name })
        };
        let (bits, row_bits) = (number("bits")?, number("row_bits")?);
        if !(1..=16).contains(&bits) {
            return Err(ArtifactError::Card { field: "bits" });
        }
        if !(1..=ROW_BITS_MAX).contains(&row_bits) {
            return Err(ArtifactError::Card { field: "row_bits" });
        }
        // Models that do not say it are older than the choice.
        let shortest = match artifact.field("shortest") {
            Some(_) => number("shortest")? as usize,
            None => 2 << bits,
        };
        if shortest == 0 {
            return Err(ArtifactError::Card { field: "shortest" });
        }
        let rows = artifact.bytes("rows", &[ORDERS.len(), 1 << row_bits, EMBEDDING])?;
        let (rows, _) = rows.as_chunks::<EMBEDDING>();
        let tables = std::array::from_fn(|table| &rows[table << row_bits..(table + 1) << row_bits]);
        let scales = artifact.f32("scales", &[ORDERS.len()])?;
        let kinds = field("kinds")?
            .split(' ')
            .map(|name| Kind::read(&artifact, name))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            card: artifact.card().clone(),
            bits,
            shortest,
            row_bits,
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
        self.judge_on(None, kind, bytes)
    }

    /// The same on the threads of a pool, if there is one and the file is long; the judgement is the same.
    pub fn judge_on(
        &self,
        pool: Option<&ThreadPool>,
        kind: &str,
        bytes: &[u8],
    ) -> Option<Judgement> {
        let kind = self.kind(kind)?;
        let trees = || worst_beginning(&kind.forest, bytes, self.shortest);
        let windows = |is_shared| {
            let mut eye = Eye {
                net: self,
                kind,
                strongest: Strongest::default(),
                is_shared,
            };
            for_each_window(bytes, self.bits, &mut eye);
            eye.strongest.finish()
        };
        let (worst, judged) = match pool.filter(|_| bytes.len() >= SHARED_MIN) {
            Some(pool) => pool.join(trees, || windows(true)),
            None => (trees(), windows(false)),
        };
        Some(Judgement { worst, ..judged })
    }

    /// How rare a judgement of a file of the type is among harmless ones: of those that it was trained
    /// with and those that it was calibrated on, where it is less so.
    pub fn rarity(&self, kind: &str, judged: &Judgement) -> Option<Rarity> {
        let rarities = self
            .kind(kind)?
            .tails
            .iter()
            .map(|tails| tails.rarity(judged));
        rarities.max_by(|a, b| a.share.total_cmp(&b.share))
    }

    /// The score from which on the network alone finds a file of the type as rare as `share`.
    pub fn score(&self, kind: &str, share: f32) -> Option<f32> {
        let scores = self
            .kind(kind)?
            .tails
            .iter()
            .map(|tails| tails.score(share));
        scores.max_by(f32::total_cmp)
    }

    /// Heeds what `files` harmless files of its user are judged, too; of a type that it does not know,
    /// or of too few files to say what is rare, nothing.
    pub fn calibrate(&mut self, kind: &str, tails: Tails, files: usize) {
        let known = self.kinds.iter_mut().find(|known| *known.name == *kind);
        if let Some(kind) = known.filter(|_| files >= CALIBRATION_MIN) {
            kind.tails.push(tails);
            kind.files = kind.files.max(files);
        }
    }

    /// As badly as which shares of harmless files a file of the type is judged when it is called
    /// suspicious, and malicious, if it may be.
    pub fn limits(&self, kind: &str) -> Option<(f32, Option<f32>)> {
        let kind = self.kind(kind)?;
        let limits = || limits(kind.files);
        Some(kind.cautious.map_or_else(limits, |share| (share, None)))
    }

    /// The calibrated probability that a file of the type so judged is malicious, where malicious and
    /// harmless files are equally frequent: that of the more certain judge.
    pub fn probability(&self, kind: &str, judged: &Judgement) -> Option<f32> {
        let [slope, offset, of_logit, logit_offset] = self.kind(kind)?.odds;
        let chance = |odds: f32| 1.0 / (1.0 + (-odds).exp());
        let of_places = chance(slope * log_score(judged.score) + offset);
        let of_trees = judged
            .worst
            .map_or(0.0, |worst| chance(of_logit * worst.logit + logit_offset));
        Some(of_places.max(of_trees))
    }

    /// The places that the verdict of the trees on the beginning of `bytes` up to `end` rests on, heaviest
    /// first, each with what the logit loses when it is left out.
    pub fn places(&self, kind: &str, bytes: &[u8], end: u64) -> Vec<Window> {
        let Some(kind) = self.kind(kind) else {
            return Vec::new();
        };
        let beginning = &bytes[..bytes.len().min(end as usize)];
        let mut whole = Counts::default();
        whole.add(beginning);
        let logit = kind.forest.logit(&whole);
        let len = beginning.len().div_ceil(PLACES).max(PLACE_MIN);
        let place = |(at, place): (usize, &[u8])| {
            let start = (at * len) as u64;
            let mut counts = Counts::default();
            counts.add(place);
            Window {
                start,
                end: start + place.len() as u64,
                evidence: logit - kind.forest.logit(&whole.without(start, &counts)),
                open: true,
                ends: true,
            }
        };
        let mut places: Vec<Window> = beginning.chunks(len).enumerate().map(place).collect();
        places.retain(|place| place.evidence > 0.0);
        places.sort_by(|a, b| b.evidence.total_cmp(&a.evidence));
        places
    }

    /// The behaviour of malicious files of the type that `bytes` look like, where the model has learned any and
    /// is as sure as it was told to be. Says nothing of whether they are malicious.
    pub fn label(&self, kind: &str, bytes: &[u8]) -> Option<&str> {
        self.kind(kind)?.labels.of(bytes)
    }

    /// The behaviours that it can name of a type.
    pub fn labels(&self, kind: &str) -> impl Iterator<Item = &str> {
        self.kind(kind)
            .into_iter()
            .flat_map(|kind| kind.labels.names())
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
            let rows = rows(word, self.row_bits);
            for table in 0..tables {
                let row = rows[table];
                if row == last[table] {
                    continue;
                }
                last[table] = row;
                counts[table] += 1;
                // In registers, and unchecked (they are at most SUM_MAX times 255), sixteen additions are
                // one.
                let (row, mut sums) = (self.tables[table][row], short[table]);
                for (sum, number) in sums.iter_mut().zip(row) {
                    *sum = sum.wrapping_add(u16::from(number));
                }
                short[table] = sums;
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
                *number += i64::from(*part) - ZERO * i64::from(count);
            }
            sums.rows += u64::from(count);
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

/// What reads one file.
struct Eye<'e, 'a> {
    net: &'e FileNet<'a>,
    kind: &'e Kind,
    strongest: Strongest,
    /// Whether the threads of the pool that this runs on share the work.
    is_shared: bool,
}

impl Reader for Eye<'_, '_> {
    type Bag = Sums;

    fn batch(&self) -> usize {
        if self.is_shared { SHARED_PIECES } else { 1 }
    }

    fn pieces(&mut self, pieces: &[&[u8]], bags: &mut Vec<Sums>) {
        let sum = |piece: &&[u8]| self.net.sum(piece);
        if self.is_shared {
            let shared = pieces.par_iter().with_min_len(SHARED_PIECES / 16);
            shared.map(sum).collect_into_vec(bags);
        } else {
            bags.extend(pieces.iter().map(sum));
        }
    }

    fn window(&mut self, level: usize, stretch: &Stretch<Sums>) {
        let open = stretch.ends || (stretch.begins && !self.kind.is_anchored);
        let logit = self.kind.heads[level].logit(&self.net.numbers(&stretch.bag));
        self.strongest.push(Window {
            start: stretch.start,
            end: stretch.end,
            evidence: softplus(logit),
            open,
            ends: stretch.ends,
        });
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

pub(super) fn array<const N: usize>(numbers: &[f32]) -> [f32; N] {
    std::array::from_fn(|at| numbers.get(at).copied().unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::super::grams::for_each_row;
    use super::*;

    #[test]
    fn sums_are_those_of_all_rows_however_long_the_piece_is() {
        let full = vec![[255; EMBEDDING]; 1 << 14];
        let net = FileNet {
            card: ModelCard {
                name: String::new(),
                version: String::new(),
                input: String::new(),
                text: String::new(),
            },
            bits: 8,
            shortest: 512,
            row_bits: 14,
            tables: [&full; ORDERS.len()],
            scales: [1.0; ORDERS.len()],
            kinds: Vec::new(),
        };
        let bytes: Vec<u8> = (0..3_000_u64)
            .map(|at| (at.wrapping_mul(at).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8)
            .collect();
        for len in [0, 1, 2, 7, 8, 255, 256, 257, 262, 263, 264, 512, 3_000] {
            let mut counts = [0; ORDERS.len()];
            for_each_row(&bytes[..len], 14, |table, _| counts[table] += 1);
            let sums = net.sum(&bytes[..len]);
            assert_eq!(sums.rows, counts.iter().sum::<i64>() as u64, "{len} bytes");
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
