//! Why the database could not do something.

use std::path::PathBuf;

use rusqlite::ErrorCode;

/// Why the database could not do something.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Another console serves the folder.
    #[error(
        "another thymus console is using {}; wait for it to end or name another --state",
        dir.display()
    )]
    Locked {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder or the file cannot be used.
    #[error("cannot use {}; check that you may write to it", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A newer version wrote it.
    #[error(
        "the database has version {found}, and this program knows {known}; use the newer program"
    )]
    Newer {
        /// Version of the file.
        found: u32,
        /// Version of this program.
        known: u32,
    },
    /// No room is left on the disk.
    #[error("the disk is full: {doing} was not kept; free space, reading goes on meanwhile")]
    Full {
        /// What was being done.
        doing: &'static str,
    },
    /// The file is damaged.
    #[error(
        "the database is damaged: could not {doing}; a restart falls back to the last good copy"
    )]
    Damaged {
        /// What was being done.
        doing: &'static str,
    },
    /// Another process has been writing for too long.
    #[error("the database is busy: could not {doing}; try again")]
    Busy {
        /// What was being done.
        doing: &'static str,
    },
    /// Anything else that SQLite says.
    #[error("the database could not {doing}")]
    Sql {
        /// What was being done.
        doing: &'static str,
        /// Why.
        source: rusqlite::Error,
    },
    /// What is asked about is not there.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// What is asked for cannot be; the sentence says why.
    #[error("{0}")]
    Refused(String),
    /// What is asked for would be right, but not as things are; the sentence says why.
    #[error("{0}")]
    Conflict(String),
    /// What was offered as a proof is none.
    #[error("{0}")]
    Denied(&'static str),
}

/// Names what was being done when SQLite failed, and tells the failures apart that a person can do something
/// about.
pub(super) fn doing(doing: &'static str) -> impl Fn(rusqlite::Error) -> DatabaseError {
    move |source| match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => DatabaseError::Full { doing },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            DatabaseError::Damaged { doing }
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => DatabaseError::Busy { doing },
        _ => DatabaseError::Sql { doing, source },
    }
}
