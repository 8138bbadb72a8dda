//! The book of what is stopped: a file that is on the disk before anything is stopped, so that whoever comes next,
//! after whatever end, knows whom to let go.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thymus_schema::Timestamp;

use super::proc::{Process, boot};
use crate::decision::DecisionId;
use crate::responder::ResponderError;

const NAME: &str = "frozen.json";

/// How a process is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "how")]
pub(super) enum How {
    /// In a group of its own.
    Group {
        /// That one.
        own: PathBuf,
        /// Where it came from, and goes back to.
        from: PathBuf,
    },
    /// By a signal.
    Signal,
}

/// A process that is stopped, or about to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Frozen {
    pub(super) process: Process,
    pub(super) how: How,
    /// For which decisions, and until when.
    pub(super) of: BTreeMap<DecisionId, Option<Timestamp>>,
}

/// The book, open for one who changes it.
pub(super) struct Book {
    folder: PathBuf,
    _lock: File,
    pub(super) pages: Pages,
    written: Pages,
}

/// What stands in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pages {
    boot: Box<str>,
    /// The process that looks after it.
    #[serde(default)]
    pub(super) keeper: u32,
    pub(super) frozen: Vec<Frozen>,
}

impl Book {
    /// Opens it, once nobody else has it open.
    pub(super) fn open(folder: &Path) -> Result<Self, ResponderError> {
        let failed = |source| ResponderError::System {
            doing: format!("open the book of frozen processes in {}", folder.display()),
            source,
        };
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let lock = options.open(folder.join("frozen.lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let pages = match fs::read(folder.join(NAME)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| failed(e.into()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => Pages::default(),
            Err(error) => return Err(failed(error)),
        };
        let mut book = Self {
            folder: folder.to_path_buf(),
            _lock: lock,
            written: pages.clone(),
            pages,
        };
        let boot = boot();
        if book.pages.boot != boot {
            // Nothing outlives a start of the kernel, and numbers begin anew.
            book.pages.frozen.clear();
            book.pages.boot = boot;
        }
        Ok(book)
    }

    /// Puts it on the disk, where something has changed.
    pub(super) fn write(&mut self) -> Result<(), ResponderError> {
        if self.pages == self.written {
            return Ok(());
        }
        let path = self.folder.join(NAME);
        let fresh = path.with_extension("new");
        let write = || {
            let mut options = OpenOptions::new();
            options.create(true).truncate(true).write(true).mode(0o600);
            let mut file = options.open(&fresh)?;
            file.write_all(&serde_json::to_vec(&self.pages)?)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|source| ResponderError::System {
            doing: format!("write {}", path.display()),
            source,
        })?;
        self.written = self.pages.clone();
        Ok(())
    }
}
