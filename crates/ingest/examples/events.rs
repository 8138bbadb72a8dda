//! Prints the events of captures and logs as JSON lines, or only counts them: for looking at what a
//! source makes of its input. `cargo run -p thymus-ingest --example events -- [--count] PATH…`

#![allow(clippy::print_stdout, reason = "a program that prints")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use thymus_ingest::{Replay, ReplayOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (flags, paths): (Vec<String>, Vec<String>) = std::env::args()
        .skip(1)
        .partition(|arg| arg.starts_with("--"));
    let paths: Vec<PathBuf> = paths.into_iter().map(PathBuf::from).collect();
    let mut replay = Replay::open(&paths, ReplayOptions::default())?;
    let mut kinds: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut events = Vec::new();
    let mut more = true;
    while more {
        more = replay.next_batch(&mut events)?;
        for event in events.drain(..) {
            *kinds.entry(event.body.kind()).or_default() += 1;
            if flags.is_empty() {
                println!("{}", serde_json::to_string(&event)?);
            }
        }
    }
    if flags.iter().any(|flag| flag == "--count") {
        println!(
            "local: {}",
            serde_json::to_string(replay.local().networks())?
        );
        println!("events: {kinds:?}");
        println!("coverage: {}", serde_json::to_string(&replay.coverage())?);
        println!("ledger: {:?}", replay.ledger().totals());
        for entry in &replay.ledger().entries {
            if !entry.problems.is_empty() {
                println!("{}", serde_json::to_string(entry)?);
            }
        }
    }
    Ok(())
}
