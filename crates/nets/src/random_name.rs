//! Does a short name look made by a machine? A bag of hashed character n-grams, embedded, averaged
//! and passed through one hidden layer (the shape of Joulin et al., *Bag of tricks for efficient
//! text classification*, 2016). Trained by `thymus-train random-name`.
//!
//! Shapes: embedding [BUCKETS, EMBEDDING] as signed bytes with one scale; hidden weights
//! [HIDDEN, EMBEDDING]; output weights [HIDDEN].

use crate::artifact::{Artifact, ArtifactError, ModelCard};
use crate::ngram::{BUCKETS, for_each_ngram};

/// Width of an embedding.
pub const EMBEDDING: usize = 16;
/// Width of the hidden layer.
pub const HIDDEN: usize = 24;
/// The input this build makes.
pub const INPUT: &str =
    "lower-case registered label, hashed n-grams 1-4 with edge marks, 32768 buckets, v1";

const WEIGHTS: &[u8] = include_bytes!("../weights/random_name.safetensors");

/// The network, ready to score.
#[derive(Debug)]
pub struct RandomName {
    embedding: Vec<i8>,
    scale: f32,
    hidden: Vec<f32>,
    hidden_bias: Vec<f32>,
    output: Vec<f32>,
    output_bias: f32,
    card: ModelCard,
}

impl RandomName {
    /// The network that ships with this crate.
    pub fn shipped() -> Result<Self, ArtifactError> {
        Self::load(WEIGHTS)
    }

    /// A network from a model file.
    pub fn load(bytes: &[u8]) -> Result<Self, ArtifactError> {
        let artifact = Artifact::open(bytes, INPUT)?;
        let one = |name| {
            artifact
                .f32(name, &[1])
                .map(|v| v.first().copied().unwrap_or_default())
        };
        Ok(Self {
            embedding: artifact.i8("embedding", &[BUCKETS, EMBEDDING])?,
            scale: one("embedding_scale")?,
            hidden: artifact.f32("hidden", &[HIDDEN, EMBEDDING])?,
            hidden_bias: artifact.f32("hidden_bias", &[HIDDEN])?,
            output: artifact.f32("output", &[HIDDEN])?,
            output_bias: one("output_bias")?,
            card: artifact.card().clone(),
        })
    }

    /// The model card.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// The natural log of the odds that `label` was made by a machine, for even prior odds.
    pub fn log_odds(&self, label: &str) -> f64 {
        let mut sum = [0i32; EMBEDDING];
        let mut count = 0u32;
        for_each_ngram(label.as_bytes(), |bucket| {
            let row = self.embedding.get(bucket * EMBEDDING..).unwrap_or_default();
            for (total, weight) in sum.iter_mut().zip(row) {
                *total += i32::from(*weight);
            }
            count += 1;
        });
        let scale = self.scale / count.max(1) as f32;
        let mean = sum.map(|total| total as f32 * scale);
        let mut odds = self.output_bias;
        let rows = self.hidden.chunks_exact(EMBEDDING);
        for ((row, bias), weight) in rows.zip(&self.hidden_bias).zip(&self.output) {
            let dot: f32 = row.iter().zip(&mean).map(|(a, b)| a * b).sum();
            odds += (dot + bias).max(0.0) * weight;
        }
        f64::from(odds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_made_names_score_above_words() {
        let net = RandomName::shipped().unwrap();
        for (word, random) in [
            ("wikipedia", "xkqzvjtwpbnh"),
            ("weatherchannel", "q8f3hz71kdw0vx"),
        ] {
            assert!(
                net.log_odds(random) > net.log_odds(word) + 2.0,
                "{word} {random}"
            );
        }
    }

    #[test]
    fn another_input_is_refused() {
        let edited = String::from_utf8_lossy(WEIGHTS).contains("v1");
        assert!(edited, "the card names its input");
        assert!(matches!(
            Artifact::open(WEIGHTS, "something else"),
            Err(ArtifactError::Input { .. })
        ));
    }
}
