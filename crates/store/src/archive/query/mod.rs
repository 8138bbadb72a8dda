//! SQL over the parts: SQLite in memory, with a virtual table for each kind of event.
//!
//! SQLite plans and computes; the tables read only the columns that a query names, and only the
//! parts, kinds and times that can match. Nothing can be written. A query ends when it is told to,
//! when it has given as many rows as it may, or when its answer is too large; what it sorts and groups
//! beyond its memory goes to temporary files, which SQLite makes and removes.

mod functions;
mod help;
mod joined;
mod ordered;
mod page;
mod scan;
#[cfg(test)]
mod tests;
mod time;
mod vtab;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Statement};
use serde::Serialize;
use serde_json::Value;
use thymus_schema::{LocalNetworks, Timestamp};

pub use help::{ColumnHelp, Stop, TableHelp, functions, tables};

use super::error::ArchiveError;
use super::folder::{Known, lock_reader};
use scan::Session;

/// How much a query may look at and give.
#[derive(Clone)]
pub struct QueryLimits {
    /// Rows of the answer.
    pub rows_max: usize,
    /// About how many bytes the answer may have.
    pub answer_bytes_max: usize,
    /// Memory for sorting and grouping, beyond which temporary files serve, and for each side of a join.
    pub memory_max: usize,
    /// Only events from then on.
    pub from: Option<Timestamp>,
    /// Only events before then.
    pub to: Option<Timestamp>,
    /// What `now()` is; without it, the time of the latest event.
    pub now: Option<Timestamp>,
    /// The local networks.
    pub local: LocalNetworks,
    /// Asked often; true ends the query.
    pub stop: Stop,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self {
            rows_max: 10_000,
            answer_bytes_max: 64 << 20,
            memory_max: 128 << 20,
            from: None,
            to: None,
            now: None,
            local: LocalNetworks::found(Vec::new()),
            stop: Arc::new(|| false),
        }
    }
}

/// A column of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResultColumn {
    /// Its name.
    pub name: String,
    /// What its first value is: `text`, `integer`, `real`, or `null` when it has none.
    #[serde(rename = "type")]
    pub ty: &'static str,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QueryResult {
    /// The columns.
    pub columns: Vec<ResultColumn>,
    /// The rows; numbers, text or null.
    pub rows: Vec<Vec<Value>>,
    /// Whether there were more rows.
    pub truncated: bool,
    /// Rows that were looked at.
    pub scanned_rows: u64,
    /// Parts that could not be read, one sentence each.
    pub skipped: Vec<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The query cannot be understood or may not be run.
    #[error("{message}{}{hint}", if hint.is_empty() { "" } else { "; " })]
    Sql {
        /// What SQLite says.
        message: String,
        /// What to do about it; may be empty.
        hint: String,
    },
    /// It was told to end.
    #[error("the query took too long and was ended; narrow the time, or name fewer columns")]
    Stopped,
    /// The answer is too large.
    #[error("the answer is larger than {max} bytes; name fewer columns or rows")]
    TooLarge {
        /// The bound.
        max: usize,
    },
    /// The events cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// Reads an archive, also while it is written.
#[derive(Clone, Debug)]
pub struct ArchiveReader {
    dir: PathBuf,
    known: Arc<Known>,
}

impl ArchiveReader {
    /// A reader of the archive in `dir`. Nothing is opened yet; a missing folder has no events.
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_path_buf(),
            known: Arc::default(),
        }
    }

    pub(super) fn of(dir: &Path, known: &Arc<Known>) -> Self {
        Self {
            dir: dir.to_path_buf(),
            known: Arc::clone(known),
        }
    }

    /// Answers a query. Events that wait for a part are not in it yet.
    ///
    /// # Errors
    /// When it is no query, names what is not there, or goes beyond its limits.
    pub fn query(&self, sql: &str, limits: &QueryLimits) -> Result<QueryResult, QueryError> {
        // Held until the answer is there.
        let _reading = lock_reader(&self.dir);
        let hour = |at: Option<Timestamp>| at.map(|at| at.as_secs().div_euclid(3_600));
        let (from, to) = (hour(limits.from), hour(limits.to));
        let listing = self.known.list(&self.dir, |hour| {
            from.is_none_or(|from| hour >= from) && to.is_none_or(|to| hour <= to)
        })?;
        let parts: Vec<_> = listing.parts.into_values().collect();
        let latest = parts
            .iter()
            .flat_map(|info| &info.meta.kinds)
            .map(|kind| kind.ts_max)
            .max();
        let now = limits
            .now
            .map(|now| now.as_nanos().div_euclid(1_000))
            .or(latest)
            .unwrap_or(0);
        let floor = |at: Timestamp| at.as_nanos().div_euclid(1_000);
        let ceil = |at: Timestamp| floor(at) + i64::from(at.as_nanos() % 1_000 != 0);
        let range = (
            limits.from.map_or(i64::MIN, ceil),
            limits.to.map_or(i64::MAX, |to| ceil(to) - 1),
        );
        let session = Arc::new(Session {
            parts,
            range,
            join_bytes_max: limits.memory_max,
            stop: Arc::clone(&limits.stop),
            scanned: AtomicU64::new(0),
            skipped: Mutex::new(listing.damaged.into_iter().map(|(_, why)| why).collect()),
        });
        let told = |error: rusqlite::Error| explain(&error, sql);
        let mut connection = connect(&session, limits, now).map_err(told)?;
        confine(&mut connection).map_err(told)?;
        let mut statement = connection.prepare(sql).map_err(told)?;
        if statement.column_count() == 0 {
            let message = "there is nothing to answer".to_owned();
            return Err(QueryError::Sql {
                message,
                hint: "write a SELECT".to_owned(),
            });
        }
        let mut result = answer(&mut statement, limits, sql)?;
        result.scanned_rows = session.scanned.load(Ordering::Relaxed);
        let skipped = session
            .skipped
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        result.skipped.clone_from(&skipped);
        Ok(result)
    }
}

impl super::Archive {
    /// A reader of the same folder, for other threads.
    pub fn reader(&self) -> ArchiveReader {
        ArchiveReader::of(&self.dir, &self.known)
    }

    /// Answers a query, also over events that wait: they are written first.
    ///
    /// # Errors
    /// As for [`ArchiveReader::query`].
    pub fn query(&mut self, sql: &str, limits: &QueryLimits) -> Result<QueryResult, QueryError> {
        self.flush()?;
        self.reader().query(sql, limits)
    }
}

fn connect(session: &Arc<Session>, limits: &QueryLimits, now: i64) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open_in_memory()?;
    vtab::register(&connection, session)?;
    functions::register(&connection, limits.local.clone(), now)?;
    let kibibytes = (limits.memory_max >> 10).max(1_024);
    connection.execute_batch(&format!(
        "PRAGMA temp_store = FILE; PRAGMA cache_size = -{kibibytes}; PRAGMA cache_spill = ON;"
    ))?;
    let disk = Disk::look();
    let stop = Arc::clone(&limits.stop);
    connection.progress_handler(10_000, Some(move || stop() || disk.is_filling()))?;
    Ok(connection)
}

/// Takes from a connection everything but reading.
fn confine(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    for (limit, value) in [
        (Limit::SQLITE_LIMIT_LENGTH, 16 << 20),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 100_000),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 200),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 50),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1_000),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        connection.set_limit(limit, value)?;
    }
    connection.authorizer(Some(|context: AuthContext<'_>| match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => {
            Authorization::Allow
        }
        AuthAction::Function { function_name } if function_name != "load_extension" => {
            Authorization::Allow
        }
        _ => Authorization::Deny,
    }))
}

/// Room for temporary files.
struct Disk {
    dir: PathBuf,
    free: u64,
}

impl Disk {
    /// Bytes of temporary files that one query may make, about.
    const USED_MAX: u64 = 4 << 30;
    /// Bytes that stay free.
    const LEFT_MIN: u64 = 256 << 20;

    fn look() -> Self {
        // Where SQLite looks, in its order.
        let named = ["SQLITE_TMPDIR", "TMPDIR"]
            .into_iter()
            .filter_map(std::env::var_os);
        let usual = ["/var/tmp", "/usr/tmp", "/tmp", "."].map(Into::into);
        let mut places = named.chain(usual).map(PathBuf::from);
        let dir = places.find(|dir| dir.is_dir()).unwrap_or_default();
        let free = super::retain::free_bytes(&dir).unwrap_or(u64::MAX);
        Self { dir, free }
    }

    fn is_filling(&self) -> bool {
        let free = super::retain::free_bytes(&self.dir).unwrap_or(u64::MAX);
        self.free.saturating_sub(free) > Self::USED_MAX
            || (free < self.free && free < Self::LEFT_MIN)
    }
}

fn answer(
    statement: &mut Statement<'_>,
    limits: &QueryLimits,
    sql: &str,
) -> Result<QueryResult, QueryError> {
    let names = statement.column_names().map(str::to_owned);
    let mut columns: Vec<ResultColumn> = names
        .map(|name| ResultColumn { name, ty: "null" })
        .collect();
    let mut rows = Vec::new();
    let (mut bytes, mut truncated) = (0, false);
    let told = |error: rusqlite::Error| explain(&error, sql);
    let mut found = statement.query([]).map_err(told)?;
    while let Some(row) = found.next().map_err(told)? {
        if rows.len() == limits.rows_max {
            truncated = true;
            break;
        }
        let mut values = Vec::with_capacity(columns.len());
        for (at, column) in columns.iter_mut().enumerate() {
            let value = row.get_ref(at).map_err(told)?;
            let (ty, value) = match value {
                ValueRef::Null => ("null", Value::Null),
                ValueRef::Integer(int) => ("integer", int.into()),
                ValueRef::Real(real) => ("real", real.into()),
                ValueRef::Text(text) => ("text", String::from_utf8_lossy(text).into_owned().into()),
                ValueRef::Blob(blob) => (
                    "text",
                    blob.iter().map(|byte| format!("{byte:02x}")).collect(),
                ),
            };
            bytes += 16 + value.as_str().map_or(0, str::len);
            if column.ty == "null" {
                column.ty = ty;
            }
            values.push(value);
        }
        if bytes > limits.answer_bytes_max {
            return Err(QueryError::TooLarge {
                max: limits.answer_bytes_max,
            });
        }
        rows.push(values);
    }
    Ok(QueryResult {
        columns,
        rows,
        truncated,
        scanned_rows: 0,
        skipped: Vec::new(),
    })
}

/// What an error of SQLite means for who wrote the query.
fn explain(error: &rusqlite::Error, sql: &str) -> QueryError {
    let message = match error {
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        rusqlite::Error::SqliteFailure(failure, message) => {
            let is_stopped = message
                .as_deref()
                .is_some_and(|text| text.contains(vtab::STOPPED));
            if failure.code == rusqlite::ErrorCode::OperationInterrupted || is_stopped {
                return QueryError::Stopped;
            }
            message.clone().unwrap_or_else(|| error.to_string())
        }
        rusqlite::Error::MultipleStatement => "one statement at a time".to_owned(),
        other => other.to_string(),
    };
    let hint = help::hint(&message, sql);
    QueryError::Sql { message, hint }
}
