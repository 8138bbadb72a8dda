//! How a live run and its devices stand, for the console: numbers that a person may look at, and that change
//! nothing.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};
use thymus_detect::{DETECTORS, Engine, EngineSummary, Promise, PromiseState};
use thymus_ingest::ExporterCounters;
use thymus_schema::{Coverage, Timestamp};

use super::live::Standing;
use super::now_nanos;
use crate::carved::Verdicts;
use crate::output;
use crate::replay::now;

const EVERY: Duration = Duration::from_secs(5);
/// A device younger than this cannot be compared with itself yet.
const COLD: Duration = Duration::from_hours(24);

/// Exporters that are told one by one, and programs of each.
const EXPORTERS_TOLD: usize = 64;
const PROGRAMS_TOLD: usize = 5;

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
        self.is_due = false;
        self.told = now();
        json!({
            "at": Timestamp::from_nanos(now_nanos()),
            "source": self.source,
            "is_down": standing.is_down,
            "packets_kept": standing.ring,
            "files": standing.verdicts.as_ref().map(Verdicts::status),
            "exporters": standing.exporters.as_deref().map(exporters),
            "coverage": output::coverage_object(coverage),
            "rates": {
                "packets_s": rate(coverage.packets, before.packets),
                "bytes_s": rate(coverage.bytes, before.bytes),
                "records_s": rate(coverage.records, before.records),
                "events_s": rate(coverage.events, before.events),
            },
            "lag_ms": lag_ms,
            "device_hours": summary.device_hours,
            "detectors": detectors(summary),
            "dropped_tables": summary.dropped.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
        })
    }
}

/// Those that something is wrong with first.
fn exporters(all: &[ExporterCounters]) -> Value {
    let trouble = |it: &ExporterCounters| {
        let [lost, missing] = [it.lost, it.templates_missing + it.waiting];
        lost + missing + it.unreadable + it.templates_refused + it.times_not_believed
    };
    let mut told: Vec<&ExporterCounters> = all.iter().collect();
    told.sort_by_key(|it| (std::cmp::Reverse(trouble(it)), it.exporter));
    let items = told.into_iter().take(EXPORTERS_TOLD).map(|it| {
        let mut it = it.clone();
        it.programs
            .sort_by_key(|program| std::cmp::Reverse(program.not_judged));
        it.programs.truncate(PROGRAMS_TOLD);
        it
    });
    json!({ "total": all.len(), "items": items.collect::<Vec<_>>() })
}

/// What each detector promised and kept.
pub(crate) fn detectors(summary: &EngineSummary) -> Vec<Value> {
    let each = DETECTORS.iter().map(|spec| {
        let promise = summary.promises.iter().find(|one| one.detector == spec.id);
        let hours = promise.map_or(0.0, |one| one.device_hours);
        let standing = promise.map_or(PromiseState::Learning, Promise::state);
        let mut state = json!(standing);
        let mut words = standing.words();
        if summary.disabled.contains(&spec.id) {
            (state, words) = (json!("disabled"), "switched off");
        }
        json!({
            "id": spec.id, "title": spec.title, "state": state, "words": words, "hours": hours,
            "interval": promise.map(Promise::interval),
            "by_chance_hours": promise.map(|one| one.by_chance_hours),
            "promised": promise.map(|one| one.promised),
            "measured": promise.map(|one| one.measured),
            "exceeded": promise.map(|one| one.exceeded),
            "weight": promise.map(|one| one.weight),
            "tables_full": summary.tables_full.iter().find(|(id, _)| *id == spec.id).map_or(0, |(_, n)| *n),
            "demoted_since": promise.and_then(|one| one.demoted_since),
        })
    });
    each.collect()
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
