//! What drills said last, in a file of the state folder: the console shows it beside what detectors promised.
//! One entry for each attack; a drill replaces those that it tried.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use thymus_schema::Timestamp;

use super::Summary;
use crate::run::now_nanos;

const FILE: &str = "drill.json";
/// Six attacks on 500 devices take a third of this.
const BYTES_MAX: u64 = 4 << 20;

/// Puts the attacks of `summary` in the place of what was said of them before.
///
/// # Errors
/// When the folder cannot be written to.
pub(super) fn keep(state: &Path, summary: &Summary, budget: f64) -> Result<()> {
    let at = Timestamp::from_nanos(now_nanos());
    let new = summary.scenarios.iter().map(|scenario| {
        let tried = summary.tried.iter();
        let tried: Vec<_> = tried.filter(|one| one.scenario == scenario.id).collect();
        json!({
            "id": scenario.id, "title": scenario.title, "unit": scenario.unit, "sizes": scenario.sizes,
            "median_delay_secs": scenario.median_delay_secs, "tried": tried, "at": at,
            "devices_tried": summary.devices_tried, "devices_known": summary.devices_known,
            "background_events": summary.background_events, "learned_until": summary.learned_until,
            "budget": budget,
        })
    });
    let new: Vec<Value> = new.collect();
    let is_new = |old: &Value| new.iter().any(|one| one["id"] == old["id"]);
    let before = last(state);
    let before = before["scenarios"].as_array().cloned().unwrap_or_default();
    let others = before.into_iter().filter(|old| !is_new(old));
    let mut scenarios: Vec<Value> = others.chain(new.clone()).collect();
    scenarios.sort_by_key(|one| super::place_of(one["id"].as_str().unwrap_or_default()));
    let text = serde_json::to_vec(&json!({ "at": at, "scenarios": scenarios }))?;
    let path = state.join(FILE);
    let write = || {
        let beside = state.join(format!("{FILE}.new"));
        let mut file = fs::File::create(&beside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(beside, &path)
    };
    write().with_context(|| format!("cannot keep what the drill said in {}", path.display()))
}

/// What drills said last; `null` before the first, and when it cannot be read.
pub(crate) fn last(state: &Path) -> Value {
    let path = state.join(FILE);
    let is_small = fs::metadata(&path).is_ok_and(|it| it.len() <= BYTES_MAX);
    let text = is_small.then(|| fs::read(&path).unwrap_or_default());
    serde_json::from_slice(&text.unwrap_or_default()).unwrap_or_default()
}
