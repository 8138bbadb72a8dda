//! Where telling stands, on the disk.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use thymus_outputs::Tracker;

use super::decisions::Known;

const FILE: &str = "told.json";
/// The number alone, which the writer of the journal goes by.
pub(super) const POSITION: &str = "position";

/// How far the journal was told, and what.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Place {
    /// The last frame.
    pub(super) frame: u64,
    /// What was told until there.
    pub(super) tracker: Tracker,
    /// What was told of decisions.
    #[serde(default)]
    pub(super) decisions: Known,
}

impl Place {
    /// What was written down. Without it everything that the journal has is told: outputs pass over what they had.
    pub(super) fn read(dir: &Path) -> Self {
        let text = fs::read(dir.join(FILE)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        replace(&dir.join(FILE), self)?;
        replace(&dir.join(POSITION), &self.frame)
    }
}

/// Writes a file beside its place, then puts it there.
pub(super) fn replace(path: &Path, value: &impl Serialize) -> Result<()> {
    let doing = || format!("cannot write {}", path.display());
    let fresh = path.with_extension("new");
    fs::write(&fresh, serde_json::to_vec(value)?).with_context(doing)?;
    fs::rename(fresh, path).with_context(doing)
}

/// One process tells what is in a folder.
pub(super) fn lock(dir: &Path) -> Result<File> {
    let path = dir.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot use {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            bail!("another process tells what is in {}", dir.display())
        }
        Err(fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}
