//! What is kept of the conversations of the last days, for rehearsals: written by the analysis, read by it and by who
//! orders an action by hand.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use thymus_respond::{FlowBook, Pattern, Talk};
use thymus_schema::LocalNetworks;

const NAME: &str = "flows.bin";

#[derive(Serialize, Deserialize)]
struct Kept {
    patterns: Vec<(Talk, Pattern)>,
    local: LocalNetworks,
}

/// Writes it whole, or leaves what was there.
pub(super) fn write(folder: &Path, book: &FlowBook, local: &LocalNetworks) -> Result<()> {
    let kept = Kept {
        patterns: book.patterns().map(|(talk, one)| (*talk, *one)).collect(),
        local: local.clone(),
    };
    let path = folder.join(NAME);
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, postcard::to_stdvec(&kept)?)
        .and_then(|()| std::fs::rename(&fresh, &path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Reads it; nothing when there is none that can be read.
pub(super) fn read(folder: &Path) -> Option<(FlowBook, LocalNetworks)> {
    let bytes = std::fs::read(folder.join(NAME)).ok()?;
    let kept: Kept = postcard::from_bytes(&bytes).ok()?;
    Some((FlowBook::from_patterns(kept.patterns), kept.local))
}
