//! How a live run and its devices stand, for the console: numbers that a person may look at, and that change
//! nothing.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};
use thymus_detect::{DETECTORS, Engine, EngineSummary};
use thymus_schema::{Coverage, Timestamp};

use super::live::Standing;
use super::now_nanos;
use crate::carved::Verdicts;
use crate::output;
use crate::replay::now;

const EVERY: Duration = Duration::from_secs(5);
/// A device younger than this cannot be compared with itself yet.
const COLD: Duration = Duration::from_hours(24);

/// Fewer device-hours say nothing about a rate of one in a hundred.
const LEARNING_HOURS: f64 = 100.0;

/// Counts since the last look.
pub(super) struct Vitals {
    source: String,
    pub(super) restarts: u64,
    pub(super) is_due: bool,
    told: Instant,
    before: Coverage,
}

impl Vitals {
    pub(super) fn new(source: String, restarts: u64) -> Self {
        Self {
            source,
            restarts,
            is_due: true,
            told: now(),
            before: Coverage::default(),
        }
    }

    pub(super) fn is_due(&self) -> bool {
        self.is_due || self.told.elapsed() >= EVERY
    }

    /// How the run stands.
    pub(super) fn status(
        &mut self,
        coverage: &Coverage,
        summary: &EngineSummary,
        lag_ms: u64,
        standing: &Standing,
    ) -> Value {
        let secs = self.told.elapsed().as_secs_f64().max(1e-3);
        let before = std::mem::replace(&mut self.before, coverage.clone());
        let rate = |now: u64, before: u64| (now.saturating_sub(before) as f64 / secs).round();
        let detectors = DETECTORS.iter().map(|spec| {
            let is_off = summary.disabled.contains(&spec.id);
            let promise = summary.promises.iter().find(|one| one.detector == spec.id);
            let hours = promise.map_or(0.0, |one| one.device_hours);
            let state = match promise.and_then(|one| one.demoted_since) {
                _ if is_off => "disabled",
                Some(_) => "demoted",
                None if hours < LEARNING_HOURS => "learning",
                None => "ok",
            };
            json!({
                "id": spec.id, "title": spec.title, "state": state, "hours": hours,
                "promised": promise.map(|one| one.promised),
                "measured": promise.map(|one| one.measured),
                "exceeded": promise.map(|one| one.exceeded),
                "weight": promise.map(|one| one.weight),
                "tables_full": summary.tables_full.iter().find(|(id, _)| *id == spec.id).map_or(0, |(_, n)| *n),
                "demoted_since": promise.and_then(|one| one.demoted_since),
            })
        });
        self.is_due = false;
        self.told = now();
        json!({
            "at": Timestamp::from_nanos(now_nanos()),
            "source": self.source,
            "is_down": standing.is_down,
            "packets_kept": standing.ring,
            "files": standing.verdicts.as_ref().map(Verdicts::status),
            "coverage": output::coverage_object(coverage),
            "rates": {
                "packets_s": rate(coverage.packets, before.packets),
                "bytes_s": rate(coverage.bytes, before.bytes),
                "records_s": rate(coverage.records, before.records),
                "events_s": rate(coverage.events, before.events),
            },
            "lag_ms": lag_ms,
            "device_hours": summary.device_hours,
            "detectors": detectors.collect::<Vec<_>>(),
            "dropped_tables": summary.dropped.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
        })
    }
}

/// All devices, by id.
pub(crate) fn devices(engine: &Engine) -> Result<Vec<(String, Value)>> {
    let entities = engine.entities();
    let cards = entities.indices().filter_map(|idx| entities.card(idx));
    cards
        .map(|card| {
            let mut value = serde_json::to_value(&card)?;
            if let Some(fields) = value.as_object_mut() {
                let is_cold = card.first_seen.plus(COLD) > engine.now();
                fields.insert("is_cold".to_owned(), is_cold.into());
            }
            Ok((card.entity.key.to_string(), value))
        })
        .collect()
}
