//! What a person says is normal here.
//!
//! An exception names a detector and what it is about: a device or a label, a peer, facts of the evidence. An
//! incident whose every leading alert (one that was rare enough by itself) matches a live exception stays below
//! the line, unless something in it is clearly worse than what was seen when the exception was made; it is never
//! hidden, and nothing of what was found or learned changes. That is why this is here and not in the analysis: a
//! replay gives the same bytes with and without, and an exception that ends gives back what it held.

mod preview;
mod scope;
mod standing;

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};
use serde_json::json;
use thymus_schema::Timestamp;
use utoipa::ToSchema;

use self::preview::{Among, attacks_hidden, incidents_with, seen_before};
pub use self::preview::{ExceptionExample, ExceptionTest, HeldIncident};
pub use self::scope::{ExceptionScope, ScopeFact};
use self::standing::seen_of;
pub use self::standing::{ExceptionUse, SeenBefore};
pub(super) use self::standing::{Standing, uses_of};
use super::casework::Verdict;
use super::error::{DatabaseError, doing};
use super::settle::settle;
use super::{Actor, Database, audit, casework, incidents, is_short};

const EXCEPTIONS_MAX: u64 = 1_000;
const TEXT_MAX: usize = 2_000;
const DAY: Duration = Duration::from_hours(24);
/// How far back a test looks.
const TEST_DAYS: u32 = 30;
const EXAMPLES_MAX: usize = 20;

/// An exception that is to be made.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewException {
    /// What it is about; the detector alone is too much.
    pub scope: ExceptionScope,
    /// Who answers for it; without it who makes it.
    #[serde(default)]
    #[schema(max_length = 128)]
    pub owner: Option<String>,
    /// Why this is normal; more than blanks.
    #[schema(max_length = 2000, pattern = r"\S")]
    pub reason: String,
    /// For so many days; for good without.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 3650)]
    pub days: Option<u32>,
    /// The incident it was made from.
    #[serde(default)]
    #[schema(max_length = 64)]
    pub incident: Option<String>,
    /// Also if it would have hidden what somebody called an attack.
    #[serde(default)]
    pub force: bool,
}

/// An exception.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Exception {
    /// Its number.
    pub id: u64,
    /// What it is about.
    pub scope: ExceptionScope,
    /// Who answers for it.
    pub owner: String,
    /// Why this is normal.
    pub reason: String,
    /// The incident it was made from.
    pub incident: Option<String>,
    /// Who made it.
    pub created_by: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Until when; for good without.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// Whether it still holds.
    pub is_live: bool,
    /// Incidents that it holds, alone or with others, below the line.
    pub incidents: u64,
    /// Incidents that it is about and that are shown all the same.
    pub tripped: u64,
    /// Incidents that it is about and that somebody called an attack.
    pub attacks: u64,
    /// What was seen when it was made: its tripwire.
    pub seen: Option<SeenBefore>,
}

/// Looks at all incidents again in which this detector speaks.
fn look_again(tx: &Transaction<'_>, detector: &str, now: Timestamp) -> Result<(), rusqlite::Error> {
    for (id, object) in incidents_with(tx, Among::All, detector, None)? {
        settle(tx, &id, &object, now)?;
    }
    Ok(())
}

/// Looks at all incidents again that an exception by label may be about.
pub(super) fn labels_changed(tx: &Transaction<'_>, now: Timestamp) -> Result<(), rusqlite::Error> {
    let mut query = tx.prepare_cached(
        "SELECT DISTINCT detector FROM exceptions WHERE is_live AND json_extract(scope, '$.label') IS NOT NULL",
    )?;
    let detectors: Vec<String> = query
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    detectors
        .iter()
        .try_for_each(|detector| look_again(tx, detector, now))
}

/// For each exception the incidents that it holds, that are shown all the same, and that were called an attack.
fn counts(connection: &Connection) -> Result<BTreeMap<u64, [u64; 3]>, rusqlite::Error> {
    let mut query = connection.prepare_cached(
        "SELECT i.excepted, i.is_held, COALESCE(c.verdict, '') = ?
         FROM incidents i LEFT JOIN cases c ON c.incident = i.id WHERE i.excepted <> ''",
    )?;
    let rows = query.query_map([Verdict::Attack.as_str()], |row| {
        let is: (bool, bool) = (row.get(1)?, row.get(2)?);
        Ok((row.get::<_, String>(0)?, is))
    })?;
    let mut counts = BTreeMap::new();
    for row in rows {
        let (kept, (is_held, is_attack)) = row?;
        for one in uses_of(&kept) {
            let [held, tripped, attacks]: &mut [u64; 3] = counts.entry(one.id).or_default();
            *held += u64::from(is_held);
            *tripped += u64::from(one.tripped.is_some());
            *attacks += u64::from(is_attack);
        }
    }
    Ok(counts)
}

impl Database {
    /// All exceptions, the newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn exceptions(&self) -> Result<Vec<Exception>, DatabaseError> {
        self.read("read the exceptions", |connection| {
            let counts = counts(connection)?;
            let mut query = connection.prepare_cached(
                "SELECT id, scope, owner, reason, incident, created_by, created_at, until, is_live, seen
                 FROM exceptions ORDER BY id DESC",
            )?;
            let rows = query.query_map([], |row| {
                let id = row.get(0)?;
                let until: Option<i64> = row.get(7)?;
                let [incidents, tripped, attacks] = counts.get(&id).copied().unwrap_or_default();
                Ok(Exception {
                    id,
                    scope: serde_json::from_str(&row.get::<_, String>(1)?).unwrap_or_default(),
                    owner: row.get(2)?,
                    reason: row.get(3)?,
                    incident: row.get(4)?,
                    created_by: row.get(5)?,
                    created_at: Timestamp::from_nanos(row.get(6)?),
                    until: until.map(Timestamp::from_nanos),
                    is_live: row.get(8)?,
                    incidents,
                    tripped,
                    attacks,
                    seen: seen_of(&row.get::<_, String>(9)?),
                })
            })?;
            rows.collect()
        })
    }

    /// Says that something is normal here.
    ///
    /// # Errors
    /// When the scope is too wide, or the incident is not there.
    pub fn add_exception(&self, actor: &Actor, new: &NewException) -> Result<u64, DatabaseError> {
        new.scope.check()?;
        let reason = new.reason.trim();
        let owner = new
            .owner
            .as_deref()
            .map(str::trim)
            .filter(|owner| !owner.is_empty());
        let owner = owner.unwrap_or(&actor.user);
        let is_long = !is_short(&new.reason, TEXT_MAX) || !is_short(owner, 128);
        if reason.is_empty() || is_long || new.days.is_some_and(|days| !(1..=3_650).contains(&days))
        {
            return Err(DatabaseError::Refused(format!(
                "an exception has a reason of at most {TEXT_MAX} characters, and 1 to 3650 days"
            )));
        }
        self.change("make an exception", |tx| {
            let failed = doing("make an exception");
            let count: u64 = tx
                .query_row("SELECT COUNT(*) FROM exceptions", [], |row| row.get(0))
                .map_err(&failed)?;
            if count >= EXCEPTIONS_MAX {
                return Err(DatabaseError::Conflict(
                    "there are too many exceptions; remove some".into(),
                ));
            }
            let incident = match &new.incident {
                Some(id) => Some(known_incident(tx, id)?),
                None => None,
            };
            let attacks = attacks_hidden(tx, &new.scope).map_err(&failed)?;
            if !attacks.is_empty() && !new.force {
                return Err(DatabaseError::Conflict(format!(
                    "it would have hidden {}; to make it all the same, say so (force)",
                    attacks_named(&attacks)
                )));
            }
            let id = insert(tx, actor, new, owner, incident.as_deref()).map_err(&failed)?;
            if let Some(incident) = &incident {
                let what = format!("said that it is normal here (exception {id})");
                casework::remember(tx, incident, actor.at, &actor.user, &what).map_err(&failed)?;
            }
            look_again(tx, &new.scope.detector, actor.at).map_err(&failed)?;
            let until = until(actor, new);
            let until =
                until.map_or_else(|| "for good".to_owned(), |until| format!("until {until}"));
            let mut said = format!("{} {until}, owner {owner}: {reason}", json!(new.scope));
            if !attacks.is_empty() {
                said = format!(
                    "although it would have hidden {}: {said}",
                    attacks_named(&attacks)
                );
            }
            audit::append(tx, actor, "exception.added", &id.to_string(), &said)?;
            Ok(id)
        })
    }

    /// Takes an exception away; what it held comes back.
    ///
    /// # Errors
    /// When there is none with this number.
    pub fn remove_exception(&self, actor: &Actor, id: u64) -> Result<(), DatabaseError> {
        self.change("remove an exception", |tx| {
            let failed = doing("remove an exception");
            let found: Option<(String, String)> = tx
                .query_row(
                    "SELECT detector, scope FROM exceptions WHERE id = ?",
                    [id as i64],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()
                .map_err(&failed)?;
            let (detector, scope) = found.ok_or(DatabaseError::NotFound("exception"))?;
            tx.execute("DELETE FROM exceptions WHERE id = ?", [id as i64])
                .map_err(&failed)?;
            look_again(tx, &detector, actor.at).map_err(&failed)?;
            audit::append(tx, actor, "exception.removed", &id.to_string(), &scope)
        })
    }

    /// Ends the exceptions whose time is over; whether there were any.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn end_exceptions(&self, now: Timestamp) -> Result<bool, DatabaseError> {
        const OVER: &str = "SELECT id, detector FROM exceptions WHERE is_live AND until <= ?";
        let is_over = self.read("read the exceptions", |connection| {
            connection.prepare_cached(OVER)?.exists([now.as_nanos()])
        })?;
        if !is_over {
            return Ok(false);
        }
        let actor = Actor {
            user: "thymus".to_owned(),
            address: String::new(),
            at: now,
        };
        self.change("end exceptions", |tx| {
            let failed = doing("end exceptions");
            let over: Vec<(i64, String)> = tx
                .prepare_cached(OVER)
                .and_then(|mut query| {
                    query
                        .query_map([now.as_nanos()], |row| Ok((row.get(0)?, row.get(1)?)))?
                        .collect()
                })
                .map_err(&failed)?;
            for (id, detector) in over {
                tx.execute("UPDATE exceptions SET is_live = 0 WHERE id = ?", [id])
                    .and_then(|_| look_again(tx, &detector, now))
                    .map_err(&failed)?;
                audit::append(tx, &actor, "exception.ended", &id.to_string(), "")?;
            }
            Ok(true)
        })
    }

    /// The exceptions that are about an incident, and whether they hold it below the line.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn exceptions_of(
        &self,
        incident: &str,
    ) -> Result<(bool, Vec<ExceptionUse>), DatabaseError> {
        self.read("read the exceptions of an incident", |connection| {
            let id = incidents::resolved(connection, incident)?;
            let found = connection
                .prepare_cached("SELECT is_held, excepted FROM incidents WHERE id = ?")?
                .query_row([id], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))
                .optional()?;
            Ok(found.map_or((false, Vec::new()), |(is_held, kept)| {
                (is_held, uses_of(&kept))
            }))
        })
    }
}

fn until(actor: &Actor, new: &NewException) -> Option<Timestamp> {
    new.days.map(|days| actor.at.plus(DAY * days))
}

fn insert(
    tx: &Transaction<'_>,
    actor: &Actor,
    new: &NewException,
    owner: &str,
    incident: Option<&str>,
) -> Result<u64, rusqlite::Error> {
    let seen = serde_json::to_string(&seen_before(tx, &new.scope)?).unwrap_or_default();
    tx.execute(
        "INSERT INTO exceptions
             (detector, scope, owner, reason, incident, created_by, created_at, until, seen)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            new.scope.detector,
            json!(new.scope).to_string(),
            owner,
            new.reason.trim(),
            incident,
            actor.user,
            actor.at.as_nanos(),
            until(actor, new).map(Timestamp::as_nanos),
            seen
        ],
    )?;
    Ok(tx.last_insert_rowid() as u64)
}

/// As a sentence names them, the first few with their ids.
fn attacks_named(attacks: &[HeldIncident]) -> String {
    let ids: Vec<&str> = attacks.iter().take(5).map(|one| one.id.as_str()).collect();
    let what = if attacks.len() == 1 {
        "incident"
    } else {
        "incidents"
    };
    format!(
        "{} {what} that somebody called an attack ({})",
        attacks.len(),
        ids.join(", ")
    )
}

fn known_incident(tx: &Transaction<'_>, id: &str) -> Result<String, DatabaseError> {
    let failed = doing("make an exception");
    let id = incidents::resolved(tx, id).map_err(&failed)?;
    let is_known = tx
        .prepare_cached("SELECT 1 FROM incidents WHERE id = ?")
        .and_then(|mut query| query.exists([&id]))
        .map_err(&failed)?;
    is_known
        .then_some(id)
        .ok_or(DatabaseError::NotFound("incident"))
}

#[cfg(test)]
mod tests;
