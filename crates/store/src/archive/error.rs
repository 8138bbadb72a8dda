//! Why events could not be kept or read.

use std::io;
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;

/// Why events could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Another instance writes to the folder.
    #[error(
        "another thymus writes events to {}; wait for it to end or name another --state",
        dir.display()
    )]
    Locked {
        /// The folder.
        dir: PathBuf,
    },
    /// The file system said no.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no room.
    #[error("no space left to write {}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A part cannot be read.
    #[error("{} is damaged ({why}); its events are left out", path.display())]
    Damaged {
        /// The part.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A part is of a later version.
    #[error(
        "{} was written by a newer thymus (format {format}, this one reads up to {known}); its events are left \
         out: update thymus to read them",
        path.display()
    )]
    Newer {
        /// The part.
        path: PathBuf,
        /// Its format.
        format: u32,
        /// What this build reads.
        known: u32,
    },
}

impl ArchiveError {
    /// A failure of the file system.
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { path, source }
            }
            _ => Self::Io {
                doing,
                path,
                source,
            },
        }
    }

    /// A part that is not what it should be.
    pub(crate) fn damaged(path: &Path, why: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_path_buf(),
            why: why.into(),
        }
    }

    /// A failure while writing through the library.
    pub(crate) fn writing(path: &Path, error: ParquetError) -> Self {
        match error {
            ParquetError::External(inner) => match inner.downcast::<io::Error>() {
                Ok(source) => Self::io("write", path, *source),
                Err(other) => Self::io("write", path, io::Error::other(other)),
            },
            other => Self::io("write", path, io::Error::other(other)),
        }
    }

    /// Whether the disk is full, so that what is older may give way.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}
