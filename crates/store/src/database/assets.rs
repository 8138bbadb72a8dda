//! What people say of a device: labels, how much it is worth, a note.

use rusqlite::{Connection, OptionalExtension, params};
use serde::Deserialize;
use utoipa::ToSchema;

use super::error::{DatabaseError, doing};
use super::{Actor, Database, audit, exceptions, is_short};

const LABELS_MAX: usize = 32;
const LABEL_MAX: usize = 64;
const NOTE_MAX: usize = 4_000;
const VALUE_MAX: u8 = 3;

/// What to change; what is absent stays.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AssetChange {
    /// All labels it is to have.
    #[schema(max_items = 32, value_type = Option<Vec<Label>>)]
    pub labels: Option<Vec<String>>,
    /// 0 (nothing known) to 3 (the site stands or falls with it).
    #[schema(maximum = 3)]
    pub value: Option<u8>,
    /// A note.
    #[schema(max_length = 4000)]
    pub note: Option<String>,
}

/// A word for a device, on one line.
#[derive(ToSchema)]
#[schema(max_length = 64, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
pub struct Label(pub String);

/// What people said of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asset {
    pub(super) labels: Vec<String>,
    pub(super) value: u8,
    pub(super) note: String,
}

pub(super) fn asset(connection: &Connection, entity: &str) -> Result<Asset, rusqlite::Error> {
    let found = connection
        .prepare_cached("SELECT labels, value, note FROM assets WHERE entity = ?")?
        .query_row([entity], |row| {
            Ok(Asset {
                labels: labels_of(&row.get::<_, String>(0)?),
                value: row.get(1)?,
                note: row.get(2)?,
            })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

pub(super) fn labels_of(joined: &str) -> Vec<String> {
    joined
        .split('\n')
        .filter(|label| !label.is_empty())
        .map(str::to_owned)
        .collect()
}

impl Database {
    /// Says something of a device.
    ///
    /// # Errors
    /// When there is no such device, or it is too much.
    pub fn change_asset(
        &self,
        actor: &Actor,
        entity: &str,
        change: &AssetChange,
    ) -> Result<(), DatabaseError> {
        check(change)?;
        self.change("change a device", |tx| {
            let failed = doing("change a device");
            let is_there = tx
                .prepare_cached("SELECT 1 FROM devices WHERE entity = ?")
                .and_then(|mut query| query.exists([entity]))
                .map_err(&failed)?;
            if !is_there {
                return Err(DatabaseError::NotFound("device"));
            }
            let before = asset(tx, entity).map_err(&failed)?;
            let trimmed = |labels: &Vec<String>| -> Vec<String> {
                let mut labels: Vec<String> =
                    labels.iter().map(|label| label.trim().to_owned()).collect();
                labels.retain(|label| !label.is_empty());
                labels.dedup();
                labels
            };
            let after = Asset {
                labels: change
                    .labels
                    .as_ref()
                    .map_or_else(|| before.labels.clone(), trimmed),
                value: change.value.unwrap_or(before.value),
                note: change.note.clone().unwrap_or_else(|| before.note.clone()),
            };
            tx.execute(
                "INSERT OR REPLACE INTO assets VALUES (?, ?, ?, ?)",
                params![entity, after.labels.join("\n"), after.value, after.note],
            )
            .map_err(&failed)?;
            if before.labels != after.labels {
                exceptions::labels_changed(tx, actor.at).map_err(&failed)?;
            }
            let said = format!(
                "labels from [{}] to [{}], value from {} to {}, note {}",
                before.labels.join(", "),
                after.labels.join(", "),
                before.value,
                after.value,
                if before.note == after.note {
                    "as before"
                } else {
                    "changed"
                }
            );
            audit::append(tx, actor, "device.changed", entity, &said)
        })
    }
}

fn check(change: &AssetChange) -> Result<(), DatabaseError> {
    let refused = |why: String| Err(DatabaseError::Refused(why));
    let labels = change.labels.as_deref().unwrap_or_default();
    let is_label =
        |label: &String| is_short(label, LABEL_MAX) && !label.chars().any(char::is_control);
    if labels.len() > LABELS_MAX || !labels.iter().all(is_label) {
        return refused(format!(
            "a device has at most {LABELS_MAX} labels of at most {LABEL_MAX} characters, on one line"
        ));
    }
    if change.value.is_some_and(|value| value > VALUE_MAX) {
        return refused(format!("a value is 0 to {VALUE_MAX}"));
    }
    if change
        .note
        .as_ref()
        .is_some_and(|note| !is_short(note, NOTE_MAX))
    {
        return refused(format!("a note has at most {NOTE_MAX} characters"));
    }
    Ok(())
}
