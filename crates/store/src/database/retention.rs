//! What goes when there is too much: old alerts first, then old incidents that nobody touched. What people
//! wrote stays. Events are not here; they go before any of this.

use rusqlite::{Transaction, params};
use serde::Serialize;
use thymus_schema::Timestamp;

use super::error::{DatabaseError, doing};
use super::ingest::hour_of;
use super::{Database, feedback};

const DAY: i64 = 86_400 * 1_000_000_000;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Alerts.
    pub alerts_max: u64,
    /// Incidents that nobody touched.
    pub incidents_max: u64,
    /// Files.
    pub files_max: u64,
    /// Local addresses with habits of their own.
    pub addresses_max: u64,
    /// Peers and services of one address.
    pub peers_max: u64,
    /// Days that anything is kept.
    pub days_max: u64,
    /// Bytes of the file, past which alerts and incidents that nobody touched go.
    pub bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            alerts_max: 200_000,
            incidents_max: 20_000,
            files_max: 50_000,
            addresses_max: 10_000,
            peers_max: 512,
            days_max: 400,
            bytes_max: 2 << 30,
        }
    }
}

/// What went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Retained {
    /// Alerts.
    pub alerts: u64,
    /// Incidents.
    pub incidents: u64,
    /// Files.
    pub files: u64,
}

/// Incidents that nobody touched.
const UNTOUCHED: &str = "NOT EXISTS (SELECT 1 FROM cases c WHERE c.incident = incidents.id)";

impl Database {
    /// Takes away what is too old or too much.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn retain(&self, now: Timestamp) -> Result<Retained, DatabaseError> {
        let limits = self.limits;
        self.change("take away what is too old", |tx| {
            let failed = doing("take away what is too old");
            let edge = now
                .as_nanos()
                .saturating_sub(DAY.saturating_mul(limits.days_max as i64));
            let mut gone = by_age(tx, edge).map_err(&failed)?;
            let used: u64 = tx
                .query_row(
                    "SELECT (page_count - freelist_count) * page_size
                     FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
                    [],
                    |row| row.get(0),
                )
                .map_err(&failed)?;
            // Over its size, a tenth of each goes at a time.
            let share = if used > limits.bytes_max { 10 } else { 0 };
            gone.add(by_count(tx, &limits, share).map_err(&failed)?);
            rest(tx, edge, now).map_err(&failed)?;
            feedback::age(tx, now).map_err(&failed)?;
            Ok(gone)
        })
    }
}

impl Retained {
    fn add(&mut self, more: Self) {
        self.alerts += more.alerts;
        self.incidents += more.incidents;
        self.files += more.files;
    }
}

fn by_age(tx: &Transaction<'_>, edge: i64) -> Result<Retained, rusqlite::Error> {
    Ok(Retained {
        alerts: tx.execute("DELETE FROM alerts WHERE last_seen < ?", [edge])? as u64,
        incidents: tx.execute(
            &format!("DELETE FROM incidents WHERE last_seen < ? AND {UNTOUCHED}"),
            [edge],
        )? as u64,
        files: tx.execute("DELETE FROM files WHERE seen_at < ?", [edge])? as u64,
    })
}

fn by_count(
    tx: &Transaction<'_>,
    limits: &Limits,
    share: u64,
) -> Result<Retained, rusqlite::Error> {
    let over = |table: &str, clause: &str, max: u64| -> Result<u64, rusqlite::Error> {
        let count: u64 = tx.query_row(
            &format!("SELECT COUNT(*) FROM {table} WHERE {clause}"),
            [],
            |row| row.get(0),
        )?;
        let shed = count.checked_div(share).unwrap_or(0);
        Ok(count.saturating_sub(max).max(shed))
    };
    let mut gone = Retained::default();
    let alerts = over("alerts", "1", limits.alerts_max)?;
    if alerts > 0 {
        gone.alerts = tx.execute(
            "DELETE FROM alerts WHERE id IN (SELECT id FROM alerts ORDER BY last_seen LIMIT ?)",
            [alerts],
        )? as u64;
    }
    let incidents = over("incidents", UNTOUCHED, limits.incidents_max)?;
    if incidents > 0 {
        gone.incidents = tx.execute(
            &format!(
                "DELETE FROM incidents WHERE id IN
                 (SELECT id FROM incidents WHERE {UNTOUCHED} ORDER BY shown, last_seen LIMIT ?)"
            ),
            [incidents],
        )? as u64;
    }
    let files = over("files", "1", limits.files_max)?;
    if files > 0 {
        gone.files = tx.execute(
            "DELETE FROM files WHERE id IN (SELECT id FROM files ORDER BY seen_at LIMIT ?)",
            [files],
        )? as u64;
    }
    Ok(gone)
}

/// What hangs on what went, and tables that only look back so far.
fn rest(tx: &Transaction<'_>, edge: i64, now: Timestamp) -> Result<(), rusqlite::Error> {
    let day = edge.div_euclid(DAY);
    tx.execute(
        "DELETE FROM incident_devices WHERE incident NOT IN (SELECT id FROM incidents)",
        [],
    )?;
    tx.execute(
        "DELETE FROM incident_files WHERE incident NOT IN (SELECT id FROM incidents)",
        [],
    )?;
    tx.execute("DELETE FROM habits WHERE last_seen < ?", [edge])?;
    tx.execute("DELETE FROM habit_days WHERE day < ?", [day])?;
    tx.execute(
        "DELETE FROM habit_hours WHERE hour < (SELECT COALESCE(MAX(hour), 0) - 72 FROM habit_hours)",
        [],
    )?;
    tx.execute("DELETE FROM activity WHERE hour < ?", [day * 24])?;
    tx.execute(
        "DELETE FROM activity WHERE hour > ?",
        [hour_of(now).max(0) + 24 * 400],
    )?;
    tx.execute(
        "DELETE FROM peer_names WHERE addr NOT IN
         (SELECT addr FROM peer_names ORDER BY last_seen DESC LIMIT 50000)",
        [],
    )?;
    tx.execute(
        "DELETE FROM sessions WHERE created_at < ?",
        params![now.as_nanos().saturating_sub(31 * DAY)],
    )?;
    Ok(())
}
