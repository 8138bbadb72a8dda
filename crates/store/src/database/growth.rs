//! What becomes of the work on an incident when the incident changes by itself: it is merged into another, or goes
//! on after it was closed.

use std::collections::BTreeSet;

use rusqlite::{Transaction, params};
use serde_json::Value;
use thymus_schema::Timestamp;

use super::casework::{CaseState, Verdict, remember, row, write};
use super::feedback;
use super::ingest::{list, text, time};

/// What people wrote about an incident goes over to the one it became.
pub(super) fn merge(
    tx: &Transaction<'_>,
    old: &str,
    new: &str,
    now: Timestamp,
) -> Result<(), rusqlite::Error> {
    let is_known: bool = tx
        .prepare_cached("SELECT 1 FROM redirects WHERE id = ? AND target = ?")?
        .exists([old, new])?;
    if is_known {
        return Ok(());
    }
    tx.execute("INSERT OR REPLACE INTO redirects VALUES (?, ?)", [old, new])?;
    // The other way round would be a circle.
    tx.execute("DELETE FROM redirects WHERE id = ?", [new])?;
    let had = tx.execute("DELETE FROM incidents WHERE id = ?", [old])?;
    tx.execute("DELETE FROM incident_devices WHERE incident = ?", [old])?;
    tx.execute("DELETE FROM incident_files WHERE incident = ?", [old])?;
    if let Some(case) = row(tx, old)? {
        let is_free = row(tx, new)?.is_none();
        feedback::merged(tx, old, new, is_free)?;
        if is_free {
            write(tx, new, &case, now)?;
        } else {
            let assignee = case.assignee.as_deref().unwrap_or("nobody");
            let verdict = case.verdict.map_or("none", Verdict::as_str);
            let reason = case.reason.as_deref().unwrap_or("none");
            let what = format!(
                "{old} was merged into this: its state was {}, assignee {assignee}, verdict {verdict}, \
                 reason {reason}",
                case.state.as_str()
            );
            remember(tx, new, now, "thymus", &what)?;
        }
        tx.execute("DELETE FROM cases WHERE incident = ?", [old])?;
    }
    for statement in [
        "UPDATE comments SET incident = ?2 WHERE incident = ?1",
        "UPDATE history SET incident = ?2 WHERE incident = ?1",
        "UPDATE OR IGNORE links SET incident = ?2 WHERE incident = ?1",
        "UPDATE OR IGNORE links SET other = ?2 WHERE other = ?1",
    ] {
        tx.execute(statement, [old, new])?;
    }
    tx.execute(
        "DELETE FROM links WHERE incident = ?1 OR other = ?1 OR incident = other",
        [old],
    )?;
    if had > 0 {
        remember(
            tx,
            new,
            now,
            "thymus",
            &format!("{old} was merged into this"),
        )?;
    }
    Ok(())
}

/// The incidents `told` together take over those that were told before them and are no more: an incident is named
/// after the alert it began with, so it gets another name when an earlier alert turns out to belong to it. Each
/// alert is of one incident, so who has an alert of one of `told` and was not told with it is one of these.
pub(super) fn take_over(
    tx: &Transaction<'_>,
    told: &[Value],
    now: Timestamp,
) -> Result<(), rusqlite::Error> {
    let names: BTreeSet<&str> = told.iter().filter_map(|one| text(one, "id")).collect();
    for incident in told {
        let Some(id) = text(incident, "id") else {
            continue;
        };
        let own = alerts_of(incident);
        let mut took = false;
        for (old, json) in neighbours(tx, incident)? {
            let Some(before) = serde_json::from_str::<Value>(&json).ok() else {
                continue;
            };
            if !names.contains(&*old) && alerts_of(&before).iter().any(|alert| own.contains(alert))
            {
                merge(tx, &old, id, now)?;
                took = true;
            }
        }
        // The case that came over is of what was told before, and this may be more.
        if took {
            went_on(tx, id, incident, now)?;
        }
    }
    Ok(())
}

fn alerts_of(incident: &Value) -> BTreeSet<&str> {
    list(incident, "alerts")
        .filter_map(|alert| text(alert, "id"))
        .collect()
}

/// Incidents of the same suspected devices at the same time, with what they are.
fn neighbours(
    tx: &Transaction<'_>,
    incident: &Value,
) -> Result<Vec<(String, String)>, rusqlite::Error> {
    let id = text(incident, "id").unwrap_or_default();
    let (first, last) = (time(incident, "first_seen"), time(incident, "last_seen"));
    let mut statement = tx.prepare_cached(
        "SELECT n.id, o.json FROM incident_devices d JOIN incidents n ON n.id = d.incident
         JOIN incident_objects o ON o.id = n.id
         WHERE d.entity = ?1 AND d.suspected AND n.id <> ?2 AND n.first_seen <= ?3 AND n.last_seen >= ?4",
    )?;
    let mut found = Vec::new();
    let entities: BTreeSet<&str> = list(incident, "alerts")
        .filter_map(|alert| text(alert, "entity"))
        .collect();
    for entity in entities {
        let rows = statement.query_map(
            params![entity, id, last.as_nanos(), first.as_nanos()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        for row in rows {
            found.push(row?);
        }
    }
    Ok(found)
}

/// An incident that was closed and goes on is opened again, unless it was found harmless or wrong and is not clearly
/// more than what was judged: then a line in its history says that it went on.
pub(super) fn went_on(
    tx: &Transaction<'_>,
    id: &str,
    incident: &Value,
    now: Timestamp,
) -> Result<(), rusqlite::Error> {
    let Some(mut case) = row(tx, id)? else {
        return Ok(());
    };
    if case.state != CaseState::Closed {
        return Ok(());
    }
    let alerts = list(incident, "alerts").count() as u64;
    let more = alerts.saturating_sub(case.alerts_then);
    let was_judged = matches!(case.verdict, Some(Verdict::Harmless | Verdict::Wrong));
    let outgrown = if was_judged {
        feedback::outgrown(tx, id, incident)?
    } else {
        None
    };
    let what = match (&outgrown, was_judged) {
        (Some(why), _) => format!("opened again: more than what was judged, {why}"),
        (None, _) if more == 0 => return Ok(()),
        (None, true) => format!("went on with {more} more alerts after it was closed"),
        (None, false) => {
            format!("opened again: went on with {more} more alerts after it was closed")
        }
    };
    let stays = was_judged && outgrown.is_none();
    if !stays {
        case.state = CaseState::Open;
    }
    case.alerts_then = alerts.max(case.alerts_then);
    write(tx, id, &case, now)?;
    remember(tx, id, now, "thymus", &what)?;
    if stays {
        return Ok(());
    }
    feedback::judged(tx, id, &case, now)
}
