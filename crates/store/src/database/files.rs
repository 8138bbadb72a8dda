//! Verdicts on files, as they came.

use rusqlite::types::Value as Sql;
use rusqlite::{Transaction, params, params_from_iter};
use serde_json::Value;

use super::ingest::{text, time};
use super::{Database, DatabaseError, Page};

const OBJECT_MAX: usize = 1 << 20;

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
        "INSERT OR IGNORE INTO files (key, seen_at, outcome, device, search, json)
         VALUES (?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        &key.as_bytes()[..],
        time(file, "seen_at").as_nanos(),
        text(file, "outcome").unwrap_or_default(),
        text(file, "device").unwrap_or_default(),
        json.to_lowercase(),
        json
    ])
    .map(|_| ())
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
                .collect::<Result<_, _>>()?;
            Ok(Page::at(filter.offset, items, total))
        })
    }
}
