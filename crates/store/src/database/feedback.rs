//! What verdicts teach: an incident whose like was called harmless or wrong counts a little less.
//!
//! It is applied where incidents are kept, like exceptions and for the same reasons: the analysis stays a function
//! of what it read, and what is taken back is as if it had never been said. A verdict is kept with what the alerts
//! were when it was given (`Judgement`), so an incident that grows after it was closed teaches nothing more; one
//! that grows clearly beyond it is opened again. How much less is `weigh`'s alone.

mod weigh;

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::Serialize;
use serde_json::Value;
use thymus_schema::Timestamp;
use utoipa::ToSchema;

pub use self::weigh::{
    AMOUNT_FREE, AMOUNT_GONE, CONFIRMATIONS, DAYS, DOUBLES_IN_DAYS, LOWERED_MAX,
};
use self::weigh::{Class, Judgement, Lowering};
use super::casework::{self, CaseState, Verdict};
use super::claim::Claim;
use super::error::{DatabaseError, doing};
use super::exceptions::{HeldIncident, SeenBefore};
use super::settle::settle;
use super::{Actor, Database, audit, incidents};

/// Less rare than this, verdicts can put an incident below the line: what chance alone brings at the default
/// budget, five a day for each hundred devices.
pub const LINE: f64 = 2.7;
/// From so much on an incident also stands with those of the next lower confidence.
const STEP_DOWN: f64 = 1.0;
const ALERTS_MAX: usize = 64;
const NAMED_MAX: usize = 16;
const DAY_NANOS: i64 = 86_400 * 1_000_000_000;

/// Why an incident counts less than the analysis said.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Lowered {
    /// By how much less rare it is taken for, as −log10 of the probability; at most 1.5.
    pub by: f64,
    /// Whether that puts it below the line.
    pub is_below: bool,
    /// The incidents that were called harmless or wrong and are like it, the first few.
    pub because: Vec<HeldIncident>,
}

/// How much less an incident with these claims counts; its own verdict teaches nothing about itself.
pub(super) fn lowering(
    tx: &Connection,
    id: &str,
    claims: &[Claim],
    now: Timestamp,
) -> Result<Lowering, rusqlite::Error> {
    let attack = Verdict::Attack.as_str();
    let mut query = tx.prepare_cached(&format!(
        "SELECT incident, detector, pattern, entity, verdict, judged_at, seen_at, level FROM judgements
         WHERE (incident <> ?1 OR verdict = '{attack}') AND (entity = ?2 AND verdict = '{attack}'
             OR detector = ?3 AND pattern = ?4 AND (verdict = '{attack}' OR judged_at > ?5))"
    ))?;
    let from = now.as_nanos().saturating_sub(DAYS * DAY_NANOS);
    let mut found: BTreeMap<(String, Class, String), Judgement> = BTreeMap::new();
    for claim in claims {
        let class = Class::of(claim);
        let wanted = params![id, claim.entity, class.detector, class.pattern, from];
        for row in query.query_map(wanted, judgement)? {
            let one = row?;
            let key = (one.incident.clone(), one.class.clone(), one.entity.clone());
            found.insert(key, one);
        }
    }
    let found: Vec<Judgement> = found.into_values().collect();
    Ok(Lowering::of_all(claims, &found, now))
}

fn judgement(row: &Row<'_>) -> Result<Judgement, rusqlite::Error> {
    let verdict: String = row.get(4)?;
    Ok(Judgement {
        incident: row.get(0)?,
        class: Class {
            detector: row.get(1)?,
            pattern: row.get(2)?,
        },
        entity: row.get(3)?,
        verdict: Verdict::of(Some(&verdict)).unwrap_or(Verdict::Attack),
        judged_at: Timestamp::from_nanos(row.get(5)?),
        seen_at: Timestamp::from_nanos(row.get(6)?),
        level: serde_json::from_str(&row.get::<_, String>(7)?).unwrap_or_default(),
    })
}

/// Takes over what a case says now: an attack for as long as it is called one, harmless and wrong while it is
/// closed with that.
pub(super) fn judged(
    tx: &Transaction<'_>,
    id: &str,
    case: &casework::Row,
    at: Timestamp,
) -> Result<(), rusqlite::Error> {
    let mut detectors = taken_back(tx, id)?;
    let counts = case.verdict == Some(Verdict::Attack) || case.state == CaseState::Closed;
    if let Some(verdict) = case.verdict.filter(|_| counts) {
        let claims = Claim::all_of(&object(tx, id)?);
        let mut insert =
            tx.prepare_cached("INSERT OR REPLACE INTO judgements VALUES (?, ?, ?, ?, ?, ?, ?, ?)")?;
        // All of an attack is part of it; of the rest only what was told for itself was judged.
        let of: Vec<&Claim> = match verdict {
            Verdict::Attack => claims.iter().collect(),
            Verdict::Harmless | Verdict::Wrong => Claim::leading(&claims).collect(),
        };
        let mut most: BTreeMap<(Class, &str), (Timestamp, super::Level)> = BTreeMap::new();
        for claim in of {
            if most.len() >= ALERTS_MAX {
                break;
            }
            let fresh = || (claim.last_seen, super::Level::default());
            let (seen_at, level) = most
                .entry((Class::of(claim), &claim.entity))
                .or_insert_with(fresh);
            *seen_at = claim.last_seen.max(*seen_at);
            level.include(&claim.level);
        }
        for ((class, entity), (seen_at, level)) in most {
            insert.execute(params![
                id,
                class.detector,
                class.pattern,
                entity,
                verdict.as_str(),
                at.as_nanos(),
                seen_at.as_nanos(),
                serde_json::to_string(&level).unwrap_or_default()
            ])?;
            detectors.insert(class.detector);
        }
    }
    settle_one(tx, id, at)?;
    look_again(tx, &detectors, at)
}

/// Forgets what was judged of an incident; the detectors it was about.
fn taken_back(tx: &Transaction<'_>, id: &str) -> Result<BTreeSet<String>, rusqlite::Error> {
    let detectors = tx
        .prepare_cached("SELECT DISTINCT detector FROM judgements WHERE incident = ?")?
        .query_map([id], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    tx.execute("DELETE FROM judgements WHERE incident = ?", [id])?;
    Ok(detectors)
}

/// Looks at open incidents again in which these detectors speak, and at all that count less for a verdict.
fn look_again(
    tx: &Transaction<'_>,
    detectors: &BTreeSet<String>,
    now: Timestamp,
) -> Result<(), rusqlite::Error> {
    let mut ids: BTreeSet<String> = BTreeSet::new();
    let mut query = tx.prepare_cached(
        "SELECT i.id FROM incidents i LEFT JOIN cases c ON c.incident = i.id
         WHERE i.told AND COALESCE(c.state, '') <> 'closed' AND (i.lowered > 0 OR instr(i.search, ?) > 0)",
    )?;
    // A name that is in no search finds those that count less.
    let nobody = "\u{0}".to_owned();
    for detector in detectors.iter().chain([&nobody]) {
        let rows = query.query_map([detector.to_lowercase()], |row| row.get(0))?;
        for id in rows {
            ids.insert(id?);
        }
    }
    ids.iter().try_for_each(|id| settle_one(tx, id, now))
}

fn settle_one(tx: &Transaction<'_>, id: &str, now: Timestamp) -> Result<(), rusqlite::Error> {
    let object = object(tx, id)?;
    settle(tx, id, &object, now).map(|_| ())
}

/// An incident as it was told; nothing where it is not there.
fn object(connection: &Connection, id: &str) -> Result<Value, rusqlite::Error> {
    let json: Option<String> = connection
        .prepare_cached("SELECT json FROM incident_objects WHERE id = ?")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    let object = json.and_then(|json| serde_json::from_str(&json).ok());
    Ok(object.unwrap_or_default())
}

/// Verdicts count less each day.
pub(super) fn age(tx: &Transaction<'_>, now: Timestamp) -> Result<(), rusqlite::Error> {
    look_again(tx, &BTreeSet::new(), now)
}

/// The work on `old` goes over to `new`; what was judged goes where its case goes, an attack in any case.
pub(super) fn merged(
    tx: &Transaction<'_>,
    old: &str,
    new: &str,
    is_taken_over: bool,
) -> Result<(), rusqlite::Error> {
    tx.execute(
        "UPDATE OR IGNORE judgements SET incident = ?2 WHERE incident = ?1 AND (?3 OR verdict = ?4)",
        params![old, new, is_taken_over, Verdict::Attack.as_str()],
    )?;
    taken_back(tx, old).map(|_| ())
}

/// Why an incident that was closed as harmless or wrong is clearly more than what was judged.
pub(super) fn outgrown(
    tx: &Transaction<'_>,
    id: &str,
    incident: &Value,
) -> Result<Option<String>, rusqlite::Error> {
    let mut judged: BTreeMap<String, SeenBefore> = BTreeMap::new();
    let mut query =
        tx.prepare_cached("SELECT detector, level FROM judgements WHERE incident = ?")?;
    let rows = query.query_map([id], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
    for row in rows {
        let (detector, level): (String, String) = row?;
        let seen = judged.entry(detector).or_default();
        seen.include(&serde_json::from_str(&level).unwrap_or_default());
    }
    if judged.is_empty() {
        return Ok(None);
    }
    let claims = Claim::all_of(incident);
    let mut leading = Claim::leading(&claims);
    Ok(leading.find_map(|claim| match judged.get(&claim.detector) {
        None => Some(format!("{} is in it now too", claim.detector)),
        Some(seen) => seen.exceeded_by(&claim.level, "then"),
    }))
}

impl Database {
    /// Why an incident counts less than the analysis said; nothing where it does not.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn lowered(&self, incident: &str) -> Result<Option<Lowered>, DatabaseError> {
        self.read("read what verdicts did to an incident", |connection| {
            let id = incidents::resolved(connection, incident)?;
            let found: Option<(f64, String, bool)> = connection
                .prepare_cached(
                    "SELECT lowered, lowered_by, told AND NOT is_held AND NOT shown FROM incidents WHERE id = ?",
                )?
                .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()?;
            let Some((by, kept, is_below)) = found.filter(|(by, ..)| *by > 0.0) else {
                return Ok(None);
            };
            let mut because = Vec::new();
            for id in named(&kept) {
                let title = connection
                    .prepare_cached("SELECT title FROM incidents WHERE id = ?")?
                    .query_row([&id], |row| row.get(0))
                    .optional()?;
                because.extend(title.map(|title| HeldIncident { id, title }));
            }
            Ok(Some(Lowered {
                by,
                is_below,
                because,
            }))
        })
    }

    /// Takes back what lowers an incident: the verdicts stay in their cases and teach nothing any more.
    ///
    /// # Errors
    /// When there is no such incident, or nothing lowers it.
    pub fn forget_feedback(&self, actor: &Actor, incident: &str) -> Result<(), DatabaseError> {
        self.change("take feedback back", |tx| {
            let failed = doing("take feedback back");
            let id = incidents::resolved(tx, incident).map_err(&failed)?;
            let kept: Option<String> = tx
                .query_row(
                    "SELECT lowered_by FROM incidents WHERE id = ?",
                    [&id],
                    |row| row.get(0),
                )
                .optional()
                .map_err(&failed)?;
            let kept = kept.ok_or(DatabaseError::NotFound("incident"))?;
            let ids = named(&kept);
            if ids.is_empty() {
                return Err(DatabaseError::Conflict("no verdict lowers it".into()));
            }
            let mut detectors = BTreeSet::new();
            for one in &ids {
                let what = format!("what its verdict taught was taken back at {id}");
                taken_back(tx, one)
                    .map(|of| detectors.extend(of))
                    .and_then(|()| casework::remember(tx, one, actor.at, &actor.user, &what))
                    .map_err(&failed)?;
            }
            look_again(tx, &detectors, actor.at).map_err(&failed)?;
            audit::append(tx, actor, "feedback.undone", &id, &ids.join(", "))
        })
    }
}

/// As it is kept; nothing for none. What is beyond a few is not named.
pub(super) fn kept(lowering: &Lowering) -> String {
    let named: Vec<&String> = lowering.incidents.iter().take(NAMED_MAX).collect();
    if named.is_empty() {
        return String::new();
    }
    serde_json::to_string(&named).unwrap_or_default()
}

fn named(kept: &str) -> Vec<String> {
    serde_json::from_str(kept).unwrap_or_default()
}

/// How many steps of confidence lower it stands.
pub(super) fn steps_down(lowering: &Lowering) -> u32 {
    u32::from(lowering.by >= STEP_DOWN)
}

#[cfg(test)]
mod tests;
