//! How the run stood over time: fine for two hours, by minutes for two days, by ten minutes for a month.

use rusqlite::{Connection, Transaction, params};
use serde::Serialize;
use serde_json::Value;
use thymus_schema::Timestamp;
use utoipa::ToSchema;

use super::ingest::{STATUS, time};
use super::{Database, DatabaseError, settings};

const SECOND: i64 = 1_000_000_000;
/// Width of a row and how long it is kept, by level.
const LEVELS: [(i64, i64); 3] = [
    (SECOND, 2 * 3_600 * SECOND),
    (60 * SECOND, 2 * 86_400 * SECOND),
    (600 * SECOND, 31 * 86_400 * SECOND),
];
const POINTS_MAX: usize = 1_500;

/// A time and a value.
pub type Point = (String, f64);

/// How the run stood, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct HealthHistory {
    /// Milliseconds behind, at most.
    #[schema(value_type = Vec<Vec<Value>>)]
    pub lag: Vec<Point>,
    /// Packets a second.
    #[schema(value_type = Vec<Vec<Value>>)]
    pub packets_s: Vec<Point>,
    /// Bytes of all processes.
    #[schema(value_type = Vec<Vec<Value>>)]
    pub memory: Vec<Point>,
}

pub(super) fn take_in(
    tx: &Transaction<'_>,
    status: &Value,
    now: Timestamp,
) -> Result<(), rusqlite::Error> {
    let at = match status.get("at") {
        Some(_) => time(status, "at"),
        None => now,
    };
    let number = |pointer: &str| {
        status
            .pointer(pointer)
            .and_then(Value::as_f64)
            .unwrap_or(0.0)
    };
    let memory: f64 = status
        .get("memory_bytes")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(serde_json::Map::values)
        .filter_map(Value::as_f64)
        .sum();
    for (level, (width, kept)) in LEVELS.into_iter().enumerate() {
        let slot = at.as_nanos().div_euclid(width).saturating_mul(width);
        tx.prepare_cached(
            "INSERT INTO health VALUES (?1, ?2, 1, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET n = n + 1, lag = MAX(lag, ?3),
                 packets = packets + (?4 - packets) / (n + 1), memory = memory + (?5 - memory) / (n + 1)",
        )?
        .execute(params![
            level as i64,
            slot,
            number("/lag_ms"),
            number("/rates/packets_s"),
            memory
        ])?;
        tx.prepare_cached("DELETE FROM health WHERE level = ? AND at < ?")?
            .execute(params![level as i64, at.as_nanos().saturating_sub(kept)])?;
    }
    Ok(())
}

/// The latest status, as it came; `null` before the first.
pub(super) fn status(connection: &Connection) -> Result<Value, rusqlite::Error> {
    let text = settings::get(connection, STATUS)?.unwrap_or_default();
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

impl Database {
    /// The latest status, as it came; `null` before the first.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn status(&self) -> Result<Value, DatabaseError> {
        self.read("read the status", status)
    }

    /// How the run stood, in at most 1,500 points.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn health_history(&self) -> Result<HealthHistory, DatabaseError> {
        self.read("read the health", |connection| {
            let mut history = HealthHistory::default();
            let mut query = connection.prepare_cached(
                "SELECT at, lag, packets, memory FROM
                 (SELECT * FROM health WHERE level = 1 ORDER BY at DESC LIMIT ?) ORDER BY at",
            )?;
            let mut rows = query.query([POINTS_MAX])?;
            while let Some(row) = rows.next()? {
                let at = Timestamp::from_nanos(row.get(0)?).to_string();
                history.lag.push((at.clone(), row.get(1)?));
                history.packets_s.push((at.clone(), row.get(2)?));
                history.memory.push((at, row.get(3)?));
            }
            Ok(history)
        })
    }
}
