//! Going on after a run that was killed: its snapshot is as old as the last save, its journal is not.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use thymus_analyst::Analyst;
use thymus_detect::Engine;
use thymus_schema::LocalNetworks;
use thymus_store::journal::{FrameBody, FrameKind, JournalReader};

use super::chronicle::Known;
use crate::pipeline;
use crate::replay::Memory;

/// The section of the state that belongs to live runs.
pub(super) const SECTION: &str = "live_run";
/// Where following logs stands.
pub(super) const POSITION: &str = "follow_position";
/// Events that are remembered as written, when logs are read again from before the end of the journal.
const KNOWN_MAX: usize = 1_000_000;

/// What a live run keeps besides what it learned.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The last frame of the journal whose content is in this snapshot.
    pub(super) journal: u64,
    /// The local networks, so that they need not be found again from a few packets.
    pub(super) local: LocalNetworks,
}

impl Kept {
    /// Of the run before, where there was one that kept it.
    pub(super) fn of(memory: &Memory) -> Option<Self> {
        let section = memory.section(SECTION)?;
        let kept = serde_json::from_slice(section);
        if let Err(error) = &kept {
            eprintln!("thymus: state: {SECTION}: {error}; the journal is not read");
        }
        kept.ok()
    }
}

/// What was in the journal and not in the snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Resumed {
    pub(super) events: u64,
    /// Frames that are damaged or gone.
    pub(super) lost: u64,
    /// The last frame of the journal.
    pub(super) position: u64,
}

/// Lets the engine and the analyst see the events that are in the journal below `state` behind the frame
/// `after`.
///
/// # Errors
/// When the journal cannot be read.
pub(super) fn resume(
    state: &Path,
    after: u64,
    engine: &mut Engine,
    analyst: &mut Analyst,
) -> Result<Resumed> {
    let mut resumed = Resumed::default();
    let lost = each_event(state, after, |events| {
        resumed.events += events.len() as u64;
        for event in events {
            engine.observe(event);
        }
        pipeline::hand_over(engine, analyst, &mut ())
    })?;
    (resumed.lost, resumed.position) = lost;
    Ok(resumed)
}

/// The events that are in the journal behind the frame `after`, to be left out when they are read again.
///
/// # Errors
/// When the journal cannot be read.
pub(super) fn known(state: &Path, after: u64) -> Result<(Known, u64)> {
    let mut known = Known::default();
    let (_, position) = each_event(state, after, |events| {
        let room = KNOWN_MAX.saturating_sub(known.ids.len());
        known
            .ids
            .extend(events.iter().take(room).map(|event| event.id));
        Ok(())
    })?;
    Ok((known, position))
}

fn each_event(
    state: &Path,
    after: u64,
    mut each: impl FnMut(&[thymus_schema::Event]) -> Result<()>,
) -> Result<(u64, u64)> {
    let dir = state.join("journal");
    let mut reader = JournalReader::open(&dir, after);
    let next = |reader: &mut JournalReader| {
        let frame = reader.next_of(|kind| kind == FrameKind::Events);
        frame.with_context(|| format!("cannot read the journal {}", dir.display()))
    };
    while let Some(frame) = next(&mut reader)? {
        if let FrameBody::Events(events) = &frame.body {
            each(events)?;
        }
    }
    let counters = reader.counters();
    let lost = counters.frames_gone + counters.damaged + counters.torn;
    Ok((lost, reader.position()))
}
