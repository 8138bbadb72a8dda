//! Why there is no backup, or nothing was put back.

use std::io;
use std::path::{Path, PathBuf};

/// Why there is no backup, or nothing was put back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
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
    /// The database could not be copied.
    #[error("cannot copy the database {}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// There is nothing to back up.
    #[error("there is no state in {}; name the folder that --state names elsewhere", dir.display())]
    NoState {
        /// The folder.
        dir: PathBuf,
    },
    /// Something is there already.
    #[error("{} is there already and is not overwritten; name another", path.display())]
    Exists {
        /// What.
        path: PathBuf,
    },
    /// The backup would be part of itself.
    #[error("{} lies in the state folder; write the backup somewhere else", path.display())]
    Inside {
        /// The backup.
        path: PathBuf,
    },
    /// It is of a later version.
    #[error(
        "{} was made by thymus {version} in format {format}; this one reads up to format {known}: update thymus \
         first",
        path.display()
    )]
    Newer {
        /// The backup.
        path: PathBuf,
        /// The version that made it.
        version: String,
        /// Its format.
        format: u32,
        /// What this build reads.
        known: u32,
    },
    /// It is not what was backed up.
    #[error("{} is no whole backup: {why}; nothing was put back", path.display())]
    Damaged {
        /// The backup.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl BackupError {
    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            doing,
            path: path.to_path_buf(),
            source,
        }
    }

    pub(super) fn damaged(path: &Path, why: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_path_buf(),
            why: why.into(),
        }
    }
}
