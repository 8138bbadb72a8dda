//! Why a file could not be kept or had back.

use std::io;
use std::path::PathBuf;

/// Why a file could not be kept or had back. Unless it says otherwise, everything is as it was.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    /// The store cannot be used.
    #[error("cannot use the quarantine in {}", dir.display())]
    Store {
        /// The folder.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may enter the store.
    #[error("the quarantine {} must belong to you and be open to nobody else (mode 0700)", dir.display())]
    NotPrivate {
        /// The folder.
        dir: PathBuf,
    },
    /// The key is missing or damaged.
    #[error("the key {} is missing or damaged; without it nothing can be had back", path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// No such entry.
    #[error("there is no {id} in the quarantine")]
    Unknown {
        /// What was asked for.
        id: String,
    },
    /// An entry is not what was put there.
    #[error("{id} is damaged, or sealed with another key")]
    Damaged {
        /// The entry.
        id: String,
    },
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not a regular file.
    #[error("{} is no regular file", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// It is not the file that was judged any more.
    #[error("{} was changed or exchanged meanwhile and stays where it is", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The copy could not be written.
    #[error("cannot write to the quarantine; {} is untouched", path.display())]
    Copy {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The original could not be removed, so the copy was.
    #[error("cannot remove {}, which stays where it is", path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The original is neither where it was nor gone.
    #[error("it is kept as {id}, but the original could not be removed and is now {}", path.display())]
    Stray {
        /// The entry.
        id: String,
        /// Where the original is.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something is where a file should be put back.
    #[error("{} is there already; name another place with --to", path.display())]
    Occupied {
        /// The place.
        path: PathBuf,
    },
    /// A file could not be put back.
    #[error("cannot write {}; it stays in the quarantine", path.display())]
    Restore {
        /// The place.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
