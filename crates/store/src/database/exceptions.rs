//! What a person says is normal here.
//!
//! An exception names a detector and what it is about: a device or a label, a peer, facts of the evidence. An
//! incident whose every leading alert (one that was rare enough by itself) matches a live exception stays below
//! the line; it is never hidden, and nothing of what was found or learned changes. That is why this is here and
//! not in the analysis: a replay gives the same bytes with and without, and an exception that ends gives back
//! what it held.

mod scope;

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thymus_schema::{Alert, Timestamp};
use utoipa::ToSchema;

use self::scope::Claim;
pub use self::scope::{ExceptionScope, ExceptionUse, ScopeFact};
pub(super) use self::scope::{Standing, uses_of};
use super::error::{DatabaseError, doing};
use super::ingest::text;
use super::{Actor, Database, audit, casework, incidents, is_short, overview};

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
}

/// An exception.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
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
}

/// An alert that an exception would be about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ExceptionExample {
    /// The alert.
    pub alert: String,
    /// Whom it is about.
    pub entity: String,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub first_seen: Timestamp,
}

/// What an exception would have done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ExceptionTest {
    /// So many days were looked at.
    pub days: u32,
    /// Alerts of the detector in that time.
    pub alerts_of_detector: u64,
    /// Of them, those it would be about.
    pub alerts: u64,
    /// Devices they are about.
    pub devices: u64,
    /// Incidents that are above the line and would fall below it.
    pub incidents: u64,
    /// Titles of the first of these.
    pub titles: Vec<String>,
    /// The latest of the alerts.
    pub examples: Vec<ExceptionExample>,
}

/// Looks at all incidents again in which this detector speaks.
fn look_again(tx: &Transaction<'_>, detector: &str) -> Result<(), rusqlite::Error> {
    for (id, object) in incidents_with(tx, detector, None)? {
        let standing = Standing::of(tx, &object, None)?;
        tx.prepare_cached(
            "UPDATE incidents SET shown = told AND NOT ?2, excepted = ?3 WHERE id = ?1",
        )?
        .execute(params![id, standing.is_held, standing.kept()])?;
    }
    Ok(())
}

/// Those with an alert of `detector`; with a scope only those above the line that it may be about.
fn incidents_with(
    connection: &Connection,
    detector: &str,
    scope: Option<&ExceptionScope>,
) -> Result<Vec<(String, Value)>, rusqlite::Error> {
    let mut query = connection.prepare_cached(
        "SELECT i.id, o.json FROM incidents i JOIN incident_objects o ON o.id = i.id
         WHERE (i.shown OR NOT ?2) AND instr(i.search, ?1) > 0 AND (?3 IS NULL OR instr(o.json, ?3) > 0)",
    )?;
    // Only what has the device's name in it, as JSON writes it, can be about the device.
    let device = scope.and_then(|scope| scope.device.as_deref());
    let device = device.map(|device| json!(device).to_string());
    let wanted = params![detector.to_lowercase(), scope.is_some(), device];
    let rows = query.query_map(wanted, |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
    let mut found = Vec::new();
    for row in rows {
        let (id, json) = row?;
        found.extend(serde_json::from_str(&json).ok().map(|object| (id, object)));
    }
    Ok(found)
}

/// Looks at all incidents again that an exception by label may be about.
pub(super) fn labels_changed(tx: &Transaction<'_>) -> Result<(), rusqlite::Error> {
    let mut query = tx.prepare_cached(
        "SELECT DISTINCT detector FROM exceptions WHERE is_live AND json_extract(scope, '$.label') IS NOT NULL",
    )?;
    let detectors: Vec<String> = query
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    detectors
        .iter()
        .try_for_each(|detector| look_again(tx, detector))
}

impl Database {
    /// All exceptions, the newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn exceptions(&self) -> Result<Vec<Exception>, DatabaseError> {
        self.read("read the exceptions", |connection| {
            let mut held = std::collections::BTreeMap::new();
            let mut query = connection.prepare_cached(
                "SELECT excepted FROM incidents WHERE told AND NOT shown AND excepted <> ''",
            )?;
            for kept in query.query_map([], |row| row.get::<_, String>(0))? {
                for one in uses_of(&kept?) {
                    *held.entry(one.id).or_insert(0) += 1;
                }
            }
            let mut query = connection.prepare_cached(
                "SELECT id, scope, owner, reason, incident, created_by, created_at, until, is_live
                 FROM exceptions ORDER BY id DESC",
            )?;
            let rows = query.query_map([], |row| {
                let id = row.get(0)?;
                let until: Option<i64> = row.get(7)?;
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
                    incidents: held.get(&id).copied().unwrap_or(0),
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
        let until = new.days.map(|days| actor.at.plus(DAY * days));
        let scope = json!(new.scope).to_string();
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
            tx.execute(
                "INSERT INTO exceptions (detector, scope, owner, reason, incident, created_by, created_at, until)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                params![
                    new.scope.detector,
                    scope,
                    owner,
                    reason,
                    incident,
                    actor.user,
                    actor.at.as_nanos(),
                    until.map(Timestamp::as_nanos)
                ],
            )
            .map_err(&failed)?;
            let id = tx.last_insert_rowid() as u64;
            if let Some(incident) = &incident {
                let what = format!("said that it is normal here (exception {id})");
                casework::remember(tx, incident, actor.at, &actor.user, &what).map_err(&failed)?;
            }
            look_again(tx, &new.scope.detector).map_err(&failed)?;
            let until = until.map_or_else(|| "for good".to_owned(), |until| format!("until {until}"));
            let said = format!("{scope} {until}, owner {owner}: {reason}");
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
            look_again(tx, &detector).map_err(&failed)?;
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
                    .and_then(|_| look_again(tx, &detector))
                    .map_err(&failed)?;
                audit::append(tx, &actor, "exception.ended", &id.to_string(), "")?;
            }
            Ok(true)
        })
    }

    /// What an exception would have done to the last thirty days, and would do to what is above the line.
    ///
    /// # Errors
    /// When the scope is too wide, or nothing can be read.
    pub fn test_exception(
        &self,
        scope: &ExceptionScope,
        now: Timestamp,
    ) -> Result<ExceptionTest, DatabaseError> {
        scope.check()?;
        self.read("test an exception", |connection| {
            let until = overview::data_until(connection)?.unwrap_or(now);
            let mut test = ExceptionTest {
                days: TEST_DAYS,
                ..ExceptionTest::default()
            };
            let mut entities = BTreeSet::new();
            let mut query = connection.prepare_cached(
                "SELECT json FROM alerts WHERE detector = ? AND last_seen >= ? ORDER BY last_seen DESC",
            )?;
            let from = until.minus(DAY * TEST_DAYS).as_nanos();
            let rows = query.query_map(params![scope.detector, from], |row| row.get::<_, String>(0))?;
            for row in rows {
                test.alerts_of_detector += 1;
                let Ok(alert) = serde_json::from_str::<Alert>(&row?) else {
                    continue;
                };
                let claim = Claim::of_alert(&alert);
                if !scope.matches(connection, &claim)? {
                    continue;
                }
                test.alerts += 1;
                entities.insert(claim.entity.clone());
                if test.examples.len() < EXAMPLES_MAX {
                    test.examples.push(ExceptionExample {
                        alert: claim.id,
                        entity: claim.entity,
                        first_seen: alert.first_seen,
                    });
                }
            }
            test.devices = entities.len() as u64;
            for (_, object) in incidents_with(connection, &scope.detector, Some(scope))? {
                if Standing::of(connection, &object, Some(scope))?.is_held {
                    test.incidents += 1;
                    if test.titles.len() < EXAMPLES_MAX {
                        test.titles.push(text(&object, "title").unwrap_or_default().to_owned());
                    }
                }
            }
            Ok(test)
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
                .prepare_cached("SELECT told AND NOT shown, excepted FROM incidents WHERE id = ?")?
                .query_row([id], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))
                .optional()?;
            Ok(found.map_or((false, Vec::new()), |(is_held, kept)| {
                (is_held, uses_of(&kept))
            }))
        })
    }
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
