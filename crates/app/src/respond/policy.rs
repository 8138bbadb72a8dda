//! The policy file.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use thymus_respond::Policy;

/// A policy and where it comes from.
#[derive(Debug)]
pub(super) struct PolicyFile {
    path: Option<PathBuf>,
    read: Option<SystemTime>,
}

impl PolicyFile {
    /// The policy of the file, or the default that only simulates.
    ///
    /// # Errors
    /// When the file cannot be read, or something in it is wrong.
    pub(super) fn open(path: Option<&Path>) -> Result<(Self, Policy)> {
        let file = Self {
            path: path.map(Path::to_path_buf),
            read: path.and_then(changed),
        };
        let policy = match path {
            Some(path) => load(path)?,
            None => Policy::default(),
        };
        Ok((file, policy))
    }

    /// The policy anew, when the file was changed since it was read.
    pub(super) fn again(&mut self) -> Option<Result<Policy>> {
        let path = self.path.as_deref()?;
        let now = changed(path)?;
        if self.read == Some(now) {
            return None;
        }
        self.read = Some(now);
        Some(load(path))
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok()
}

/// Reads and checks a policy.
///
/// # Errors
/// When the file cannot be read, has what no policy has, or contradicts itself; the message names line and remedy.
pub(super) fn load(path: &Path) -> Result<Policy> {
    let name = path.display();
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read the policy {name}"))?;
    let policy: Policy =
        toml::from_str(&text).with_context(|| format!("the policy {name} cannot be used"))?;
    let faults = policy.faults();
    if !faults.is_empty() {
        bail!("the policy {name} cannot be used: {}", faults.join("; "));
    }
    Ok(policy)
}
