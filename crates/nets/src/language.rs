//! Which script language a text is in, where no word, tag or name says so: a linear model over hashed words
//! and triples of bytes (Joulin et al., *Bag of tricks for efficient text classification*, 2016), trained by
//! `thymus-train languages`.
//!
//! Shapes: weights [BUCKETS, CLASSES] as signed bytes with one scale; bias [CLASSES]. The last class is every
//! text that is no script.

use crate::artifact::{Artifact, ArtifactError, ModelCard};

/// The languages it tells apart, as `thymus scan` calls their types.
pub const LANGUAGES: [&str; 11] = [
    "php",
    "javascript",
    "vbscript",
    "vba",
    "batch",
    "powershell",
    "shell",
    "python",
    "perl",
    "asp",
    "jsp",
];
/// The languages, and all other texts.
pub const CLASSES: usize = LANGUAGES.len() + 1;
/// Rows of the table.
pub const BUCKETS: usize = 1 << 15;
/// The input this build makes.
pub const INPUT: &str =
    "ASCII text without capitals in stretches of 1 KiB, hashed triples and words, 32768 rows, v2";
/// Bytes of a stretch.
pub const STRETCH: usize = 1 << 10;
/// Bytes from the beginning that are looked at.
const REACH: usize = 32 << 10;
/// How likely a language must be at the beginning.
const LIKELY: f32 = 0.8;
/// Shorter beginnings that are looked at too, so that little is needed that nothing put behind can change.
const BEGINNINGS: [usize; 2] = [128, 384];
/// How likely a language must be in them, and in any later stretch.
const SURE: f32 = 0.97;
/// Bytes of a word at most.
const WORD_MAX: usize = 20;

const WEIGHTS: &[u8] = include_bytes!("../weights/language.safetensors");

/// The model, ready to judge.
#[derive(Debug)]
pub struct Language {
    weights: Vec<i8>,
    scale: f32,
    bias: Vec<f32>,
    card: ModelCard,
}

impl Language {
    /// The model that ships with this crate.
    pub fn shipped() -> Result<Self, ArtifactError> {
        Self::load(WEIGHTS)
    }

    /// A model from a file.
    pub fn load(bytes: &[u8]) -> Result<Self, ArtifactError> {
        let artifact = Artifact::open(bytes, INPUT)?;
        let scale = artifact.f32("scale", &[1])?;
        Ok(Self {
            weights: artifact.i8("weights", &[BUCKETS, CLASSES])?,
            scale: scale.first().copied().unwrap_or_default(),
            bias: artifact.f32("bias", &[CLASSES])?,
            card: artifact.card().clone(),
        })
    }

    /// Its card.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// The languages that `text` may be in, the likeliest of its beginning first; none for other texts.
    /// Beginnings and the stretches of its first 32 KiB are looked at where they stand, so that what is put behind
    /// them takes no language away.
    pub fn of(&self, text: &[u8]) -> Vec<&'static str> {
        let mut found = Vec::new();
        let text = &text[..text.len().min(REACH)];
        let mut stretches = text.chunks(STRETCH);
        let first = stretches
            .next()
            .into_iter()
            .map(|stretch| (stretch, LIKELY));
        let beginnings = BEGINNINGS.iter().filter_map(|len| text.get(..*len));
        let others = stretches.chain(beginnings).map(|stretch| (stretch, SURE));
        for (stretch, limit) in first.chain(others) {
            let chances = self.chances(stretch);
            let best = LANGUAGES.iter().zip(chances);
            let best = best.max_by(|a, b| a.1.total_cmp(&b.1));
            if let Some((language, _)) = best.filter(|(_, chance)| *chance >= limit)
                && !found.contains(language)
            {
                found.push(*language);
            }
        }
        found
    }

    /// How likely a stretch is in each language, and in none, which is last; together 1.
    pub fn chances(&self, stretch: &[u8]) -> [f32; CLASSES] {
        let mut sums = [0_i32; CLASSES];
        let mut count = 0_u32;
        let (rows, _) = self.weights.as_chunks::<CLASSES>();
        for_each_feature(stretch, |bucket| {
            if let Some(row) = rows.get(bucket) {
                for (sum, weight) in sums.iter_mut().zip(row) {
                    *sum += i32::from(*weight);
                }
            }
            count += 1;
        });
        let scale = self.scale / (count.max(1) as f32).sqrt();
        let mut logits = [0.0; CLASSES];
        for ((logit, sum), bias) in logits.iter_mut().zip(sums).zip(&self.bias) {
            *logit = sum as f32 * scale + bias;
        }
        softmax(logits)
    }
}

/// Shares that are as the exponentials of `logits`.
pub fn softmax(logits: [f32; CLASSES]) -> [f32; CLASSES] {
    let most = logits.into_iter().fold(f32::MIN, f32::max);
    let shares = logits.map(|logit| (logit - most).exp());
    let all: f32 = shares.iter().sum();
    shares.map(|share| share / all)
}

/// Calls `take` with the row of each triple of bytes and of each word of `stretch`, once a row: a stretch of
/// nothing but one letter says as little as that letter.
pub fn for_each_feature(stretch: &[u8], mut take: impl FnMut(usize)) {
    let mut taken = [0_u64; BUCKETS / 64];
    let mut take = |row: usize| {
        let (word, bit) = (&mut taken[row / 64], 1 << (row % 64));
        if *word & bit == 0 {
            *word |= bit;
            take(row);
        }
    };
    let mut last = 0_u32;
    let mut word = WORD_SEED;
    let mut len = 0;
    let mut before = b'\n';
    for (at, byte) in stretch.iter().enumerate() {
        let byte = byte.to_ascii_lowercase();
        last = (last << 8 | u32::from(byte)) & 0xff_ffff;
        if at >= 2 {
            take(bucket(u64::from(last) | 1 << 32));
        }
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'-' | b'@' | b'%' | b'#') {
            len += 1;
            if len <= WORD_MAX {
                word = mixed(word, byte);
            }
        } else {
            // What stands before and after a word tells more than the word: a call, a key, a line's begin.
            if len > 1 {
                take(bucket(word));
                take(bucket(mixed(mixed(word, before), byte)));
            }
            (word, len, before) = (WORD_SEED, 0, byte);
        }
    }
    if len > 1 {
        take(bucket(word));
    }
}

const WORD_SEED: u64 = 0x9e37_79b9_7f4a_7c15;

const fn mixed(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(0x0100_0000_01b3)
}

const fn bucket(hash: u64) -> usize {
    let spread = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
    ((spread ^ spread >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 49) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const PYTHON: &str = "import socket\nimport os\ns = socket.socket()\ns.connect((host, 4444))\nfor fd in (0, 1, 2):\n    os.dup2(s.fileno(), fd)\n";
    const PROSE: &str = "The committee met on Tuesday and agreed that the minutes of the last meeting were right.\nNothing else was raised, and the next meeting will be in the spring.\n";

    #[test]
    fn scripts_are_told_from_prose() {
        let model = Language::shipped().unwrap();
        assert_eq!(model.of(PYTHON.as_bytes()), ["python"]);
        assert!(model.of(PROSE.as_bytes()).is_empty());
    }

    #[test]
    fn what_follows_a_stretch_takes_nothing_away() {
        let model = Language::shipped().unwrap();
        let script = PYTHON.repeat(STRETCH / PYTHON.len() + 1);
        let more = [&script.as_bytes()[..STRETCH], PROSE.repeat(400).as_bytes()].concat();
        assert!(model.of(&more).contains(&"python"));
    }

    #[test]
    fn any_bytes_are_taken() {
        let model = Language::shipped().unwrap();
        let noise: Vec<u8> = (0..5_000_u64)
            .map(|at| (at.wrapping_mul(at).wrapping_mul(WORD_SEED) >> 40) as u8)
            .collect();
        for bytes in [&[][..], b"x", b"xy", &[0; 3_000], &noise] {
            let chances = model.chances(&bytes[..bytes.len().min(STRETCH)]);
            assert!((chances.iter().sum::<f32>() - 1.0).abs() < 1e-4);
            model.of(bytes);
        }
        let mut rows = 0;
        for_each_feature(&noise, |row| {
            assert!(row < BUCKETS);
            rows += 1;
        });
        assert!(rows > 3_000);
    }
}
