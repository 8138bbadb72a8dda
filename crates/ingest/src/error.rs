//! What stops an import altogether. What only costs one input is a [`Problem`](crate::Problem) in
//! the ledger instead.

use std::path::PathBuf;

/// Why nothing (more) can be read.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// A path the user named is not there or may not be read.
    #[error("cannot open {}", path.display())]
    Open {
        /// Which path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Nothing among the named paths can be read.
    #[error(
        "none of the {inputs} files found is a capture or log that can be read{}",
        first.as_deref().map(|why| format!("; the first: {why}")).unwrap_or_default()
    )]
    NothingReadable {
        /// How many files were looked at.
        inputs: usize,
        /// What the ledger says about the first refused one.
        first: Option<String>,
    },
    /// No path was named.
    #[error("no capture, log or folder was named")]
    NoPaths,
    /// An indicator list cannot be read.
    #[error("cannot read indicator list {}: {reason}", path.display())]
    Indicators {
        /// Which list.
        path: PathBuf,
        /// What is wrong with it and what to do.
        reason: String,
    },
}
