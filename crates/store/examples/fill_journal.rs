//! Writes frames into a journal, for tests of those who read it: each line of standard input is
//! `{"kind": "incidents", "items": [...]}`.
//!
//! `cargo run -p thymus-store --example fill_journal -- DIR < frames.jsonl`

use std::error::Error;
use std::io::stdin;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;
use thymus_store::journal::{FrameKind, JournalOptions, JournalWriter};

#[derive(Deserialize)]
struct Line {
    kind: String,
    items: Value,
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args_os().nth(1).map(PathBuf::from);
    let dir = dir.ok_or("usage: fill_journal DIR < frames.jsonl")?;
    let mut writer = JournalWriter::open(&dir, JournalOptions::default(), 0)?;
    for line in stdin().lines() {
        let line: Line = serde_json::from_str(&line?)?;
        let (kind, json) = frame(&line)?;
        writer.write(kind, &json)?;
    }
    writer.sync()?;
    Ok(())
}

fn frame(line: &Line) -> Result<(FrameKind, Vec<u8>), Box<dyn Error>> {
    let kind = match line.kind.as_str() {
        "events" => FrameKind::Events,
        "alerts" => FrameKind::Alerts,
        "incidents" => FrameKind::Incidents,
        "devices" => FrameKind::Devices,
        "status" => FrameKind::Status,
        "files" => FrameKind::Files,
        other => return Err(format!("no such kind of frame: {other}").into()),
    };
    if kind != FrameKind::Events {
        return Ok((kind, serde_json::to_vec(&line.items)?));
    }
    // One event a line.
    let mut json = Vec::new();
    for event in line.items.as_array().into_iter().flatten() {
        serde_json::to_writer(&mut json, event)?;
        json.push(b'\n');
    }
    Ok((kind, json))
}
