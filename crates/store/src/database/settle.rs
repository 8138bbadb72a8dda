//! Where an incident stands, in the one place that decides it.

use rusqlite::{OptionalExtension, Transaction, params};
use serde_json::Value;
use thymus_schema::Timestamp;

use super::claim::Claim;
use super::exceptions::Standing;
use super::feedback;

/// Where an incident stands: where the analysis put it, less what people said is normal (exceptions) and what they
/// said of its like (feedback). Whether it is above the line.
pub(super) fn settle(
    tx: &Transaction<'_>,
    id: &str,
    object: &Value,
    now: Timestamp,
) -> Result<bool, rusqlite::Error> {
    let claims = Claim::all_of(object);
    let standing = Standing::of(tx, &claims, None)?;
    let lowering = feedback::lowering(tx, id, &claims, now)?;
    let is_above = tx
        .prepare_cached(
            "UPDATE incidents SET excepted = ?2, is_held = told AND ?3, lowered = ?4, lowered_by = ?5,
                 order_rarity = rarity - ?4, order_confidence = MAX(confidence - ?6, 0),
                 shown = told AND NOT ?3 AND (?4 = 0.0 OR rarity - ?4 >= ?7)
             WHERE id = ?1 RETURNING shown",
        )?
        .query_row(
            params![
                id,
                standing.kept(),
                standing.is_held,
                lowering.by,
                feedback::kept(&lowering),
                feedback::steps_down(&lowering),
                feedback::LINE
            ],
            |row| row.get(0),
        )
        .optional()?;
    Ok(is_above.unwrap_or(false))
}
