//! `thymus demo`: replays the captures that are inside the program: a normal working day of the
//! lab's office, then the day of an attack.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::Found;
use crate::cli::{DemoArgs, RunArgs};
use crate::replay::replay;

/// Name and content, in order of time. The lab's README says how they were made.
pub(crate) const CAPTURES: [(&str, &[u8]); 2] = [
    (
        "office-day.pcap.gz",
        include_bytes!("../../../lab/captures/office-day.pcap.gz"),
    ),
    (
        "story.pcap.gz",
        include_bytes!("../../../lab/captures/story.pcap.gz"),
    ),
];

/// Runs the command.
///
/// # Errors
/// When the captures cannot be written to a temporary folder, and as [`replay`].
pub(crate) fn run(args: &DemoArgs) -> Result<Found> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder for the demo")?;
    let mut paths: Vec<PathBuf> = Vec::new();
    for (name, content) in CAPTURES {
        let path = folder.path().join(name);
        std::fs::write(&path, content)
            .with_context(|| format!("cannot write {}", path.display()))?;
        paths.push(path);
    }
    if !args.output.json {
        eprintln!("thymus replay lab/captures/office-day.pcap.gz lab/captures/story.pcap.gz");
    }
    let run = RunArgs {
        local: vec![],
        budget: 5.0,
        indicators: vec![],
        state: None,
    };
    replay(paths, &run, &args.output)
}
