//! Why state could not be kept or read.

use std::io;
use std::path::PathBuf;

/// Why state could not be kept or read. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another instance has the folder.
    #[error(
        "another thymus is using the state folder {}; wait for it to end or name another --state",
        dir.display()
    )]
    Locked {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder cannot be used.
    #[error("cannot use {} as state folder; check that it is a folder you may write to", dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be read.
    #[error("cannot read {}; check its permissions", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The disk is full.
    #[error(
        "no space left to write {} ({bytes} bytes); the state is as it was before this run: free \
         space and run again",
        path.display()
    )]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// Why.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}; the state is as it was before this run", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl StoreError {
    /// A failed write of `bytes` bytes to `path`.
    pub(crate) fn writing(path: PathBuf, bytes: u64, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull {
                path,
                bytes,
                source,
            },
            _ => Self::Write { path, source },
        }
    }
}
