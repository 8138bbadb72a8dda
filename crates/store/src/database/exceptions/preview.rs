//! What an exception would have done: to alerts, to what is above the line, and to what turned out to be an attack.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};
use serde::Serialize;
use serde_json::{Value, json};
use thymus_schema::{Alert, Timestamp};
use utoipa::ToSchema;

use super::super::casework::Verdict;
use super::super::claim::Claim;
use super::super::error::DatabaseError;
use super::super::ingest::{list, text};
use super::super::{Database, overview};
use super::scope::ExceptionScope;
use super::standing::{SeenBefore, Standing};
use super::{DAY, EXAMPLES_MAX, TEST_DAYS};

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

/// An incident that an exception would have held below the line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct HeldIncident {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
}

/// What an exception would have done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ExceptionTest {
    /// So many days of alerts were looked at; of incidents, all that are stored.
    pub days: u32,
    /// Alerts of the detector in that time.
    pub alerts_of_detector: u64,
    /// Of them, those it would be about.
    pub alerts: u64,
    /// Devices they are about.
    pub devices: u64,
    /// Incidents that are above the line and would fall below it.
    pub incidents: u64,
    /// The first of these.
    pub held: Vec<HeldIncident>,
    /// Incidents that somebody called an attack and that it would have hidden, of all that are stored.
    pub attacks: Vec<HeldIncident>,
    /// The latest of the alerts.
    pub examples: Vec<ExceptionExample>,
}

/// Which incidents to go through.
#[derive(Clone, Copy)]
pub(super) enum Among {
    /// All.
    All,
    /// Those above the line.
    Above,
    /// Those that somebody called an attack.
    Attacks,
    /// The others.
    NoAttacks,
}

/// Those with an alert of `detector`; with a scope only those that it may be about.
pub(super) fn incidents_with(
    connection: &Connection,
    among: Among,
    detector: &str,
    scope: Option<&ExceptionScope>,
) -> Result<Vec<(String, Value)>, rusqlite::Error> {
    let attack = Verdict::Attack.as_str();
    let (from, which) = match among {
        Among::All => ("incidents i", "1".to_owned()),
        Among::Above => ("incidents i", "i.shown".to_owned()),
        Among::Attacks => (
            "cases c JOIN incidents i ON i.id = c.incident",
            format!("c.verdict = '{attack}'"),
        ),
        Among::NoAttacks => (
            "incidents i LEFT JOIN cases c ON c.incident = i.id",
            format!("COALESCE(c.verdict, '') <> '{attack}'"),
        ),
    };
    let mut query = connection.prepare_cached(&format!(
        "SELECT i.id, o.json FROM {from} JOIN incident_objects o ON o.id = i.id
         WHERE {which} AND instr(i.search, ?1) > 0 AND (?2 IS NULL OR instr(o.json, ?2) > 0)"
    ))?;
    // Only what has the device's name in it, as JSON writes it, can be about the device.
    let device = scope.and_then(|scope| scope.device.as_deref());
    let device = device.map(|device| json!(device).to_string());
    let wanted = params![detector.to_lowercase(), device];
    let rows = query.query_map(wanted, |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
    let mut found = Vec::new();
    for row in rows {
        let (id, json) = row?;
        found.extend(serde_json::from_str(&json).ok().map(|object| (id, object)));
    }
    Ok(found)
}

/// The incidents that somebody called an attack and that an exception would have hidden.
pub(super) fn attacks_hidden(
    connection: &Connection,
    scope: &ExceptionScope,
) -> Result<Vec<HeldIncident>, rusqlite::Error> {
    let mut hidden = Vec::new();
    for (id, object) in incidents_with(connection, Among::Attacks, &scope.detector, Some(scope))? {
        let standing = Standing::of(connection, &Claim::all_of(&object), Some(scope))?;
        if standing.is_held && standing.uses.iter().any(|one| one.id == 0) {
            hidden.push(HeldIncident::of(id, &object));
        }
    }
    Ok(hidden)
}

/// What was seen of that which an exception is about, but in what somebody called an attack.
pub(super) fn seen_before(
    connection: &Connection,
    scope: &ExceptionScope,
) -> Result<SeenBefore, rusqlite::Error> {
    let mut known = BTreeSet::new();
    for (_, object) in incidents_with(connection, Among::Attacks, &scope.detector, None)? {
        let alerts = list(&object, "alerts").filter_map(|alert| text(alert, "id"));
        known.extend(alerts.map(str::to_owned));
    }
    let mut seen = SeenBefore::default();
    let found = incidents_with(connection, Among::NoAttacks, &scope.detector, Some(scope))?;
    for claim in found.iter().flat_map(|(_, object)| Claim::all_of(object)) {
        if scope.matches(connection, &claim)? && known.insert(claim.id.clone()) {
            seen.include(&claim.level);
        }
    }
    let mut query = connection.prepare_cached("SELECT json FROM alerts WHERE detector = ?")?;
    let rows = query.query_map([&scope.detector], |row| row.get::<_, String>(0))?;
    for row in rows {
        let Ok(alert) = serde_json::from_str::<Alert>(&row?) else {
            continue;
        };
        let claim = Claim::of_alert(&alert);
        if scope.matches(connection, &claim)? && known.insert(claim.id.clone()) {
            seen.include(&claim.level);
        }
    }
    Ok(seen)
}

impl HeldIncident {
    fn of(id: String, object: &Value) -> Self {
        let title = text(object, "title").unwrap_or_default().to_owned();
        Self { id, title }
    }
}

impl Database {
    /// What an exception would have done to the alerts of the last thirty days and to all incidents that are
    /// stored.
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
                attacks: attacks_hidden(connection, scope)?,
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
            let above = incidents_with(connection, Among::Above, &scope.detector, Some(scope))?;
            for (id, object) in above {
                if Standing::of(connection, &Claim::all_of(&object), Some(scope))?.is_held {
                    test.incidents += 1;
                    if test.held.len() < EXAMPLES_MAX {
                        test.held.push(HeldIncident::of(id, &object));
                    }
                }
            }
            Ok(test)
        })
    }
}
