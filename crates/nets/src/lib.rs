//! Small neural networks and their weights. Knows tensors, not security: what a score means is the
//! caller's business.
//!
//! Two kinds live here: networks trained beforehand by `thymus-train`, whose weights and model card
//! are files of this crate, and networks that learn on site from the first window on.

#![forbid(unsafe_code)]

mod artifact;
mod autoencoder;
pub mod file;
pub mod interval;
pub mod language;
mod ngram;
mod random_name;

pub use artifact::{Artifact, ArtifactError, ModelCard};
pub use autoencoder::{Autoencoder, Reconstruction};
pub use ngram::{BUCKETS, NGRAM_MAX, NGRAM_MIN, for_each_ngram};
pub use random_name::{EMBEDDING, HIDDEN, INPUT, RandomName};
