//! Verdicts on files, as they came.

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, Transaction, params, params_from_iter};
use serde_json::{Value, json};

use super::incidents::resolved;
use super::ingest::{list, text, time};
use super::{Database, DatabaseError, Page};

const OBJECT_MAX: usize = 1 << 20;
/// Contents of one incident, and files told with it.
const NAMED_MAX: usize = 64;
/// Incidents told with a file.
const INCIDENTS_MAX: usize = 8;

/// Which files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileFilter {
    /// With this outcome.
    pub outcome: Option<String>,
    /// With this in path, digest, device or verdict.
    pub text: Option<String>,
    /// First item.
    pub offset: u64,
    /// Items at most.
    pub limit: usize,
}

pub(super) fn take_in(tx: &Transaction<'_>, file: &Value) -> Result<(), rusqlite::Error> {
    let json = file.to_string();
    if json.len() > OBJECT_MAX {
        return Ok(());
    }
    let key = blake3::hash(json.as_bytes());
    tx.prepare_cached(
        "INSERT OR IGNORE INTO files (key, seen_at, outcome, device, search, json, content)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        &key.as_bytes()[..],
        time(file, "seen_at").as_nanos(),
        text(file, "outcome").unwrap_or_default(),
        text(file, "device").unwrap_or_default(),
        json.to_lowercase(),
        json,
        text(file, "file_sha256")
            .or(text(file, "sha256"))
            .unwrap_or_default()
    ])
    .map(|_| ())
}

/// Notes which contents the alerts of an incident name.
pub(super) fn named_by(
    tx: &Transaction<'_>,
    incident: &str,
    object: &Value,
) -> Result<(), rusqlite::Error> {
    tx.prepare_cached("DELETE FROM incident_files WHERE incident = ?")?
        .execute([incident])?;
    let facts = list(object, "alerts").flat_map(|alert| list(alert, "evidence"));
    let digests = facts
        .filter(|fact| text(fact, "key") == Some("sha256"))
        .filter_map(|fact| text(fact, "text"))
        .filter(|digest| digest.len() == 64);
    let mut insert = tx.prepare_cached("INSERT OR IGNORE INTO incident_files VALUES (?, ?)")?;
    for digest in digests.take(NAMED_MAX) {
        insert.execute([incident, &digest.to_lowercase()])?;
    }
    Ok(())
}

/// The incidents that name this content, the gravest first.
fn incidents_with(connection: &Connection, file: &Value) -> Result<Vec<Value>, rusqlite::Error> {
    let is_found = matches!(text(file, "outcome"), Some("malicious" | "suspicious"));
    let content = text(file, "file_sha256").or(text(file, "sha256"));
    let Some(content) = content.filter(|_| is_found) else {
        return Ok(Vec::new());
    };
    connection
        .prepare_cached(
            "SELECT i.id, i.title, i.shown FROM incident_files f JOIN incidents i ON i.id = f.incident
             WHERE f.sha256 = ? ORDER BY i.shown DESC, i.confidence DESC, i.rarity DESC, i.id LIMIT ?",
        )?
        .query_map(params![content, INCIDENTS_MAX], |row| {
            let (id, title): (String, String) = (row.get(0)?, row.get(1)?);
            Ok(json!({ "id": id, "title": title, "shown": row.get::<_, bool>(2)? }))
        })?
        .collect()
}

impl Database {
    /// The files that `filter` asks for, the latest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn files(&self, filter: &FileFilter) -> Result<Page<Value>, DatabaseError> {
        let mut clauses: Vec<&str> = vec!["1"];
        let mut values: Vec<Sql> = Vec::new();
        if let Some(outcome) = &filter.outcome {
            clauses.push("outcome = ?");
            values.push(outcome.clone().into());
        }
        if let Some(text) = filter.text.as_deref().filter(|text| !text.is_empty()) {
            clauses.push("instr(search, ?) > 0");
            values.push(text.to_lowercase().into());
        }
        let clause = clauses.join(" AND ");
        self.read("read the files", |connection| {
            let total = connection
                .prepare_cached(&format!("SELECT COUNT(*) FROM files WHERE {clause}"))?
                .query_row(params_from_iter(&values), |row| row.get(0))?;
            values.push(Sql::from(filter.limit as i64));
            values.push(Sql::from(filter.offset as i64));
            let items = connection
                .prepare_cached(&format!(
                    "SELECT json FROM files WHERE {clause} ORDER BY seen_at DESC, id DESC LIMIT ? OFFSET ?"
                ))?
                .query_map(params_from_iter(&values), |row| row.get::<_, String>(0))?
                .map(|json| json.map(|json| serde_json::from_str(&json).unwrap_or_default()))
                .collect::<Result<Vec<Value>, _>>()?;
            let items = items
                .into_iter()
                .map(|mut file| {
                    let incidents = incidents_with(connection, &file)?;
                    if let Some(fields) = file.as_object_mut() {
                        fields.insert("incidents".to_owned(), incidents.into());
                    }
                    Ok(file)
                })
                .collect::<Result<_, rusqlite::Error>>()?;
            Ok(Page::at(filter.offset, items, total))
        })
    }

    /// The files that the alerts of an incident name, those of its own devices first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn files_of_incident(&self, id: &str) -> Result<Vec<Value>, DatabaseError> {
        self.read("read the files of an incident", |connection| {
            let id = resolved(connection, id)?;
            connection
                .prepare_cached(
                    "SELECT f.json FROM incident_files n JOIN files f ON f.content = n.sha256
                     LEFT JOIN incident_devices d ON d.incident = n.incident AND d.entity = f.device
                     WHERE n.incident = ?
                     ORDER BY d.entity IS NULL, f.outcome = 'not_judged', f.seen_at, f.id LIMIT ?",
                )?
                .query_map(params![id, NAMED_MAX], |row| row.get::<_, String>(0))?
                .map(|json| json.map(|json| serde_json::from_str(&json).unwrap_or_default()))
                .collect()
        })
    }
}
