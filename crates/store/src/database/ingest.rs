//! From the frames of the journal into tables.
//!
//! The objects come from the process that reads hostile bytes, so nothing in them is taken for granted: what is
//! missing is empty, what is too large is left out and counted.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension, Transaction, params};
use serde_json::Value;
use thymus_schema::{Alert, Event, LocalNetworks, Timestamp};

use super::error::{DatabaseError, doing};
use super::{Database, files, growth, habits, health, held, incidents, settings};
use crate::journal::FrameBody;

const SEQ: &str = "journal_seq";
const LEFT_OUT: &str = "left_out";
/// Latest event that was taken in.
pub(super) const UNTIL: &str = "data_until";
/// Latest status, as it came.
pub(super) const STATUS: &str = "status";
const OBJECT_MAX: usize = 4 << 20;

/// An incident that was not there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewIncident {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// How sure it is.
    pub confidence: String,
}

/// What a frame changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ingested {
    /// Incidents that were not there before and are inside the budget.
    pub incidents: Vec<NewIncident>,
    /// Which lists are not as they were: `incidents`, `devices`, `files`, `overview`.
    pub changed: BTreeSet<&'static str>,
    /// Whether it was taken in before.
    pub is_known: bool,
}

impl Database {
    /// Takes in the frame with the number `seq`, once: a second time nothing happens.
    ///
    /// # Errors
    /// When it cannot be written; then nothing of it is there, and it is to be tried again.
    pub fn ingest(
        &self,
        seq: u64,
        body: &FrameBody,
        now: Timestamp,
    ) -> Result<Ingested, DatabaseError> {
        let local = held(&self.local).clone();
        let done = self.change("take in a frame", |tx| {
            let failed = doing("take in a frame");
            if position(tx).map_err(&failed)? >= seq {
                return Ok(Ingested {
                    is_known: true,
                    ..Ingested::default()
                });
            }
            let mut done = Ingested::default();
            self.body(tx, body, &local, now, &mut done)
                .map_err(&failed)?;
            settings::set(tx, SEQ, &seq.to_string()).map_err(&failed)?;
            Ok(done)
        })?;
        if let FrameBody::Status(status) = body {
            self.learn_networks(status);
        }
        Ok(done)
    }

    /// The number of the last frame that was taken in; 0 before the first.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn position(&self) -> Result<u64, DatabaseError> {
        self.read("read how far the journal was taken in", position)
    }

    /// Objects that were left out because they were too large or had no id.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn left_out(&self) -> Result<u64, DatabaseError> {
        self.read("read what was left out", |connection| {
            Ok(number(settings::get(connection, LEFT_OUT)?))
        })
    }

    fn body(
        &self,
        tx: &Transaction<'_>,
        body: &FrameBody,
        local: &LocalNetworks,
        now: Timestamp,
        done: &mut Ingested,
    ) -> Result<(), rusqlite::Error> {
        match body {
            FrameBody::Events(events) => {
                habits::take_in(tx, events, local, &self.limits)?;
                count_events(tx, events)?;
                done.changed.insert("overview");
            }
            FrameBody::Alerts(found) => {
                for alert in found {
                    take_alert(tx, alert)?;
                }
                done.changed.insert("overview");
            }
            FrameBody::Incidents(found) => {
                for incident in found {
                    take_incident(tx, incident, now, done)?;
                }
                growth::take_over(tx, found, now)?;
                done.changed.insert("incidents");
            }
            FrameBody::Devices(found) => {
                for device in found {
                    take_device(tx, device)?;
                }
                done.changed.insert("devices");
            }
            FrameBody::Status(status) => {
                settings::set(tx, STATUS, &status.to_string())?;
                health::take_in(tx, status, now)?;
            }
            FrameBody::Files(found) => {
                for file in found {
                    files::take_in(tx, file)?;
                }
                done.changed.insert("files");
            }
            FrameBody::Mark(_) => {}
        }
        Ok(())
    }

    /// Which addresses are ours, as the analysis sees it.
    fn learn_networks(&self, status: &Value) {
        let Some(named) = status.get("local_networks").and_then(Value::as_array) else {
            return;
        };
        let networks = named
            .iter()
            .filter_map(|net| serde_json::from_value(net.clone()).ok())
            .collect();
        *held(&self.local) = LocalNetworks::found(networks);
    }
}

fn position(connection: &rusqlite::Connection) -> Result<u64, rusqlite::Error> {
    Ok(number(settings::get(connection, SEQ)?))
}

/// A number that was written as text; 0 where there is none.
pub(super) fn number(text: Option<String>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn leave_out(tx: &Transaction<'_>) -> Result<(), rusqlite::Error> {
    let before = number(settings::get(tx, LEFT_OUT)?);
    settings::set(tx, LEFT_OUT, &(before + 1).to_string())
}

fn count_events(tx: &Transaction<'_>, events: &[Event]) -> Result<(), rusqlite::Error> {
    let mut by_hour = std::collections::BTreeMap::new();
    let mut until = Timestamp::MIN;
    for event in events {
        *by_hour.entry(hour_of(event.ts)).or_insert(0u64) += 1;
        until = until.max(event.ts);
    }
    for (hour, n) in by_hour {
        activity(tx, hour, "events", n)?;
    }
    let before = settings::get(tx, UNTIL)?.and_then(|at| at.parse().ok());
    if !events.is_empty() && before.is_none_or(|before: i64| before < until.as_nanos()) {
        settings::set(tx, UNTIL, &until.as_nanos().to_string())?;
    }
    Ok(())
}

/// Hours since the epoch.
pub(super) fn hour_of(at: Timestamp) -> i64 {
    at.as_secs().div_euclid(3_600)
}

fn activity(tx: &Transaction<'_>, hour: i64, column: &str, n: u64) -> Result<(), rusqlite::Error> {
    tx.prepare_cached(&format!(
        "INSERT INTO activity (hour, {column}) VALUES (?1, ?2)
         ON CONFLICT (hour) DO UPDATE SET {column} = {column} + ?2"
    ))?
    .execute(params![hour, n])
    .map(|_| ())
}

fn take_alert(tx: &Transaction<'_>, alert: &Alert) -> Result<(), rusqlite::Error> {
    let json = serde_json::to_string(alert).unwrap_or_default();
    if json.len() > OBJECT_MAX {
        return leave_out(tx);
    }
    let id = alert.id.to_string();
    let is_new = !exists(tx, "SELECT 1 FROM alerts WHERE id = ?", &id)?;
    let phase = serde_json::to_value(alert.phase).unwrap_or_default();
    tx.prepare_cached("INSERT OR REPLACE INTO alerts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")?
        .execute(params![
            id,
            alert.detector,
            alert.entity.to_string(),
            phase.as_str().unwrap_or_default(),
            alert.first_seen.as_nanos(),
            alert.last_seen.as_nanos(),
            alert.p_value.neg_log10(),
            alert.discovered,
            json
        ])?;
    if is_new {
        activity(tx, hour_of(alert.first_seen), "alerts", 1)?;
    }
    Ok(())
}

fn exists(tx: &Transaction<'_>, query: &str, id: &str) -> Result<bool, rusqlite::Error> {
    tx.prepare_cached(query)?.exists([id])
}

fn take_incident(
    tx: &Transaction<'_>,
    object: &Value,
    now: Timestamp,
    done: &mut Ingested,
) -> Result<(), rusqlite::Error> {
    let json = object.to_string();
    let Some(id) = text(object, "id").filter(|id| is_id(id)) else {
        return leave_out(tx);
    };
    if json.len() > OBJECT_MAX {
        return leave_out(tx);
    }
    let added: Option<i64> = tx
        .prepare_cached("SELECT added_at FROM incidents WHERE id = ?")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    for old in list(object, "merged_from").filter_map(Value::as_str) {
        if old != id {
            growth::merge(tx, old, id, now)?;
        }
    }
    // What is told again is there again, whatever became of it before.
    tx.execute("DELETE FROM redirects WHERE id = ?", [id])?;
    let is_above = incidents::write(
        tx,
        id,
        object,
        &json,
        (added.unwrap_or(now.as_nanos()), now),
    )?;
    growth::went_on(tx, id, object, now)?;
    if added.is_none() {
        let first = time(object, "first_seen");
        activity(tx, hour_of(first), "incidents", 1)?;
        if is_above {
            done.incidents.push(NewIncident {
                id: id.to_owned(),
                title: text(object, "title").unwrap_or_default().to_owned(),
                confidence: text(object, "confidence").unwrap_or_default().to_owned(),
            });
        }
    }
    Ok(())
}

fn take_device(tx: &Transaction<'_>, object: &Value) -> Result<(), rusqlite::Error> {
    let json = object.to_string();
    let Some(entity) = text(object, "entity").filter(|id| !id.is_empty() && id.len() < 512) else {
        return leave_out(tx);
    };
    if json.len() > OBJECT_MAX {
        return leave_out(tx);
    }
    let addresses: Vec<&str> = list(object, "addresses")
        .filter_map(Value::as_str)
        .collect();
    let name = text(object, "name").unwrap_or_default();
    let mac = text(object, "mac").unwrap_or_default();
    let names = list(object, "names").filter_map(Value::as_str);
    let search: Vec<&str> = [entity, name, mac]
        .into_iter()
        .chain(addresses.iter().copied())
        .chain(names)
        .collect();
    tx.prepare_cached("INSERT OR REPLACE INTO devices VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")?
        .execute(params![
            entity,
            name,
            mac,
            time(object, "first_seen").as_nanos(),
            time(object, "last_seen").as_nanos(),
            object
                .get("is_cold")
                .and_then(Value::as_bool)
                .unwrap_or(false),
            object.get("days_seen").and_then(Value::as_u64).unwrap_or(0),
            search.join("\n").to_lowercase(),
            json
        ])?;
    // An address belongs to whoever has it now.
    let mut insert = tx.prepare_cached("INSERT OR REPLACE INTO addresses VALUES (?, ?)")?;
    for address in addresses.iter().take(256) {
        insert.execute(params![address, entity])?;
    }
    tx.prepare_cached(
        "UPDATE devices SET last_seen = MAX(last_seen, COALESCE((SELECT MAX(h.last_seen) FROM addresses a
         JOIN habits h ON h.addr = a.addr WHERE a.entity = ?1), 0)) WHERE entity = ?1",
    )?
    .execute([entity])?;
    Ok(())
}

fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// A text in an object.
pub(super) fn text<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get(key).and_then(Value::as_str)
}

/// The items of a list in an object.
pub(super) fn list<'a>(object: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    object
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// A time in an object; the epoch where there is none.
pub(super) fn time(object: &Value, key: &str) -> Timestamp {
    text(object, key)
        .and_then(Timestamp::parse)
        .unwrap_or_default()
}
