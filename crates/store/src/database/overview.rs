//! The first page: how things stand.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;
use serde_json::{Value, json};
use thymus_schema::Timestamp;
use utoipa::ToSchema;

use super::ingest::{UNTIL, hour_of};
use super::{Database, DatabaseError, health, settings};

const HOURS: i64 = 168;
const DAY: i64 = 86_400 * 1_000_000_000;

/// One hour of what happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ActivityHour {
    /// Its beginning.
    #[schema(value_type = String, format = DateTime)]
    pub hour: Timestamp,
    /// Events.
    pub events: u64,
    /// Alerts that began.
    pub alerts: u64,
    /// Incidents that began.
    pub incidents: u64,
}

/// How things stand.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Overview {
    /// The time of day.
    #[schema(value_type = String, format = DateTime)]
    pub now: Timestamp,
    /// The latest event.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub data_until: Option<Timestamp>,
    /// Whether this is the demo.
    pub is_demo: bool,
    /// Whether nothing was ever seen.
    pub first_run: bool,
    /// Incidents inside the budget that are not closed.
    pub incidents_open: u64,
    /// The same by confidence.
    pub by_confidence: BTreeMap<String, u64>,
    /// Devices known.
    pub devices: u64,
    /// Of them those not known well yet.
    pub cold_devices: u64,
    /// What was looked at, of the latest status.
    pub coverage: Value,
    /// The budget and what came of it.
    pub budget: Value,
    /// The last week, hour by hour.
    pub activity: Vec<ActivityHour>,
    /// What is watched, of the latest status.
    pub source: Value,
}

/// The latest event.
pub(super) fn data_until(connection: &Connection) -> Result<Option<Timestamp>, rusqlite::Error> {
    let text = settings::get(connection, UNTIL)?;
    Ok(text
        .and_then(|at| at.parse().ok())
        .map(Timestamp::from_nanos))
}

impl Database {
    /// The latest event.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn data_until(&self) -> Result<Option<Timestamp>, DatabaseError> {
        self.read("read the latest event", data_until)
    }

    /// How things stand.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn overview(&self, now: Timestamp, is_demo: bool) -> Result<Overview, DatabaseError> {
        self.read("read the overview", |connection| {
            let status = health::status(connection)?;
            let until = data_until(connection)?;
            let count = |query: &str| -> Result<u64, rusqlite::Error> {
                connection
                    .prepare_cached(query)?
                    .query_row([], |row| row.get(0))
            };
            let by_confidence = by_confidence(connection)?;
            let day_ago = until.unwrap_or(now).as_nanos().saturating_sub(DAY);
            let shown: u64 = connection
                .prepare_cached("SELECT COUNT(*) FROM incidents WHERE shown AND first_seen >= ?")?
                .query_row([day_ago], |row| row.get(0))?;
            let is_empty = connection
                .prepare_cached("SELECT 1 FROM settings WHERE key = 'journal_seq'")?
                .query_row([], |row| row.get::<_, i64>(0))
                .optional()?
                .is_none();
            let part = |key: &str| status.get(key).cloned().unwrap_or_default();
            Ok(Overview {
                now,
                data_until: until,
                is_demo,
                first_run: is_empty,
                incidents_open: by_confidence.values().sum(),
                by_confidence,
                devices: count("SELECT COUNT(*) FROM devices")?,
                cold_devices: count("SELECT COUNT(*) FROM devices WHERE is_cold")?,
                coverage: part("coverage"),
                budget: json!({ "per_day": part("budget_per_day"), "shown_24h": shown }),
                activity: activity(connection, until.unwrap_or(now))?,
                source: part("source"),
            })
        })
    }
}

fn by_confidence(connection: &Connection) -> Result<BTreeMap<String, u64>, rusqlite::Error> {
    let mut counts: BTreeMap<String, u64> = ["low", "medium", "high"]
        .into_iter()
        .map(|word| (word.to_owned(), 0))
        .collect();
    let mut query = connection.prepare_cached(
        "SELECT CASE i.confidence WHEN 2 THEN 'high' WHEN 1 THEN 'medium' ELSE 'low' END, COUNT(*)
         FROM incidents i LEFT JOIN cases c ON c.incident = i.id
         WHERE i.shown AND COALESCE(c.state, 'open') <> 'closed' GROUP BY 1",
    )?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        counts.insert(row.get(0)?, row.get(1)?);
    }
    Ok(counts)
}

fn activity(
    connection: &Connection,
    until: Timestamp,
) -> Result<Vec<ActivityHour>, rusqlite::Error> {
    let last = hour_of(until);
    let first = last - HOURS + 1;
    let mut hours: Vec<ActivityHour> = (first..=last)
        .map(|hour| ActivityHour {
            hour: Timestamp::from_secs(hour.saturating_mul(3_600)),
            events: 0,
            alerts: 0,
            incidents: 0,
        })
        .collect();
    let mut query = connection.prepare_cached(
        "SELECT hour, events, alerts, incidents FROM activity WHERE hour BETWEEN ? AND ?",
    )?;
    let mut rows = query.query([first, last])?;
    while let Some(row) = rows.next()? {
        let at = usize::try_from(row.get::<_, i64>(0)? - first).unwrap_or(usize::MAX);
        if let Some(hour) = hours.get_mut(at) {
            hour.events = row.get(1)?;
            hour.alerts = row.get(2)?;
            hour.incidents = row.get(3)?;
        }
    }
    Ok(hours)
}
