//! Why a model cannot be used, and what helps.

use std::io;
use std::path::PathBuf;

use super::SignatureError;

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may change what decides over verdicts.
    #[error(
        "{} decides what is found, so it must be yours or root's, and no others may write it: `chmod go-w`, or name another folder with --models",
        path.display()
    )]
    NotOurs {
        /// The folder or file.
        path: PathBuf,
    },
    /// It is too large to be a model.
    #[error("{} has more than {most} bytes, which no model has", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes that a model may have.
        most: u64,
    },
    /// Its signature does not count.
    #[error("{} is refused: {why}", path.display())]
    Signature {
        /// The model file.
        path: PathBuf,
        /// Why.
        why: SignatureError,
    },
    /// An installed model is not what was installed.
    #[error(
        "{} is not the file that was installed; install the model again, or take it away: `thymus model remove {name}`",
        path.display()
    )]
    Exchanged {
        /// The file.
        path: PathBuf,
        /// The model.
        name: String,
    },
    /// An installed model's signature does not count any more.
    #[error(
        "the installed model {} is refused: {why}. Or take it away: `thymus model remove {name}`; `thymus scan --no-models` judges without it",
        path.display()
    )]
    Installed {
        /// The file.
        path: PathBuf,
        /// The model.
        name: String,
        /// Why.
        why: SignatureError,
    },
    /// What is noted of a model cannot be read.
    #[error("{} is damaged; install the model again", path.display())]
    Record {
        /// The file.
        path: PathBuf,
    },
    /// A name that no model can have.
    #[error("a model cannot be called {name:?}: up to 64 small letters, digits and _")]
    Name {
        /// What was asked for.
        name: String,
    },
    /// No such model.
    #[error("no model {name} is installed in {}", dir.display())]
    Unknown {
        /// What was asked for.
        name: String,
        /// The folder.
        dir: PathBuf,
    },
    /// It is active already, or not there.
    #[error(
        "{name} has no version that waits to be activated; `thymus model list` says what there is"
    )]
    NotWaiting {
        /// The model.
        name: String,
    },
    /// No such key.
    #[error("no key {id} is trusted")]
    UnknownKey {
        /// What was asked for.
        id: String,
    },
}
