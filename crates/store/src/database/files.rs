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
/// An alert may be a moment behind what it is about.
const SLACK: i64 = 1_000_000_000;
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

/// Notes which alerts of an incident are about files: each names the first of the gravest by its digest, and
/// stands for all that its device had at that time.
pub(super) fn named_by(
    tx: &Transaction<'_>,
    incident: &str,
    object: &Value,
) -> Result<(), rusqlite::Error> {
    tx.prepare_cached("DELETE FROM incident_files WHERE incident = ?")?
        .execute([incident])?;
    let about_files = list(object, "alerts").filter_map(|alert| {
        let mut facts = list(alert, "evidence");
        let digest = text(
            facts.find(|fact| text(fact, "key") == Some("sha256"))?,
            "text",
        )?;
        (digest.len() == 64).then(|| (alert, digest.to_lowercase()))
    });
    let mut insert =
        tx.prepare_cached("INSERT OR IGNORE INTO incident_files VALUES (?, ?, ?, ?, ?)")?;
    for (alert, digest) in about_files.take(NAMED_MAX) {
        insert.execute(params![
            incident,
            digest,
            text(alert, "entity").unwrap_or_default(),
            time(alert, "first_seen").as_nanos().saturating_sub(SLACK),
            time(alert, "last_seen").as_nanos().saturating_add(SLACK)
        ])?;
    }
    Ok(())
}

/// The incidents that a verdict is evidence of, the gravest first.
fn incidents_with(connection: &Connection, file: &Value) -> Result<Vec<Value>, rusqlite::Error> {
    if !matches!(text(file, "outcome"), Some("malicious" | "suspicious")) {
        return Ok(Vec::new());
    }
    let content = text(file, "file_sha256").or(text(file, "sha256"));
    let device = text(file, "device").filter(|device| !device.is_empty());
    connection
        .prepare_cached(
            "SELECT id, title, shown FROM incidents WHERE id IN (
                 SELECT incident FROM incident_files WHERE sha256 = ?1
                 UNION SELECT incident FROM incident_files WHERE device = ?2 AND since <= ?3 AND until >= ?3)
             ORDER BY shown DESC, confidence DESC, rarity DESC, id LIMIT ?4",
        )?
        .query_map(
            params![content, device, time(file, "seen_at").as_nanos(), INCIDENTS_MAX],
            |row| {
                let (id, title): (String, String) = (row.get(0)?, row.get(1)?);
                Ok(json!({ "id": id, "title": title, "shown": row.get::<_, bool>(2)? }))
            },
        )?
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
                    "SELECT f.json FROM files f LEFT JOIN incident_devices d ON d.incident = ?1 AND d.entity = f.device
                     WHERE f.id IN (
                         SELECT f.id FROM incident_files n JOIN files f ON f.content = n.sha256 WHERE n.incident = ?1
                         UNION SELECT f.id FROM incident_files n
                         JOIN files f ON f.device = n.device AND f.seen_at BETWEEN n.since AND n.until
                         WHERE n.incident = ?1 AND f.outcome IN ('malicious', 'suspicious'))
                     ORDER BY d.entity IS NULL, f.outcome = 'not_judged', f.seen_at, f.id LIMIT ?2",
                )?
                .query_map(params![id, NAMED_MAX], |row| row.get::<_, String>(0))?
                .map(|json| json.map(|json| serde_json::from_str(&json).unwrap_or_default()))
                .collect()
        })
    }
}
