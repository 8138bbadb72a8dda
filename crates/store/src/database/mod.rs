//! The console's database: what was found, what people did about it, and who may.
//!
//! One SQLite file with a write-ahead log: one connection writes, a few read. It is filled from the journal
//! ([`Database::ingest`]), never by whoever reads packets, and the number of the last frame lies in the same
//! transaction as what was in it, so a kill at any moment neither loses nor doubles a frame.
//!
//! What people wrote (cases, comments, links, users, the audit log) is never dropped to make room; alerts,
//! incidents nobody touched, habits and health are bounded ([`Limits`]), and what went is counted.
//!
//! Every change a person makes is in the audit log, in the same transaction ([`Actor`]).
//!
//! A damaged file is put aside at the next opening, the last good copy takes its place (`recover`), and what
//! that means is said. Events are not here but in the archive.
//!
//! Must not: judge, or ask a clock.

mod assets;
mod audit;
mod bouncers;
mod casework;
mod claim;
mod devices;
mod error;
mod exceptions;
pub mod feedback;
mod files;
mod growth;
mod habits;
mod health;
mod incidents;
mod ingest;
mod links;
mod overview;
mod page;
mod pseudonyms;
mod recover;
mod retention;
mod schema;
mod sessions;
mod settings;
mod settle;
mod similar;
#[cfg(test)]
mod tests;
mod tokens;
mod users;

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use thymus_schema::{LocalNetworks, Timestamp};

pub use assets::{AssetChange, Label};
pub use audit::{AuditEntry, AuditState};
pub use bouncers::{Ban, Bouncer, BouncerPull, BouncerStranger, Delta, Pull};
pub use casework::{Case, CaseChange, CaseState, Comment, HistoryLine, Link, Verdict};
pub use claim::Level;
pub use devices::{
    Day, DeviceDetail, DeviceFilter, DeviceItem, DeviceSort, IncidentOfDevice, PeerHabit,
    ServiceHabit,
};
pub use error::DatabaseError;
pub use exceptions::{
    Exception, ExceptionExample, ExceptionScope, ExceptionTest, ExceptionUse, HeldIncident,
    NewException, ScopeFact, SeenBefore,
};
pub use files::FileFilter;
pub use health::{HealthHistory, Point};
pub use incidents::{
    DeviceOfIncident, Graph, GraphEdge, GraphNode, IncidentFilter, IncidentItem, StateFilter,
    TechniqueName,
};
pub use ingest::{Ingested, NewIncident};
pub use overview::{ActivityHour, Overview};
pub use page::Page;
pub use retention::{Limits, Retained};
pub use sessions::{Session, SessionLimits};
pub use settings::Settings;
pub use similar::Similar;
pub use tokens::{NewToken, Token};
pub use users::{Role, User, UserChange};

use error::doing;

/// Connections that are kept for reading.
const READERS_MAX: usize = 8;
/// How long a writer waits for another process, such as `thymus user add`.
const BUSY: Duration = Duration::from_secs(5);
/// How often, and how many times, a command looks again whether a console is done with bringing the file up to date.
const UPDATE_WAIT: Duration = Duration::from_millis(100);
const UPDATE_WAITS: u32 = 100;
const FILE: &str = "thymus.db";

/// Who makes a change, from where, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The user, `token:NAME`, or `command line`.
    pub user: String,
    /// The address of the client; empty on the command line.
    pub address: String,
    /// The time of day.
    pub at: Timestamp,
}

/// The database of one folder.
#[derive(Debug)]
pub struct Database {
    dir: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    remarks: Vec<String>,
    limits: Limits,
    local: Mutex<LocalNetworks>,
}

/// Held by the one console that serves a folder; the lock goes with it, also when the process is killed.
#[derive(Debug)]
pub struct ConsoleLock {
    _file: File,
}

impl ConsoleLock {
    /// Takes the lock of `dir`, which is made where it is missing.
    ///
    /// # Errors
    /// When another console has it.
    pub fn take(dir: &Path) -> Result<Self, DatabaseError> {
        let path = dir.join("lock");
        let folder = |source| DatabaseError::Folder {
            path: path.clone(),
            source,
        };
        make_folder(dir)?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(folder)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(DatabaseError::Locked {
                dir: dir.to_path_buf(),
            }),
            Err(TryLockError::Error(source)) => Err(folder(source)),
        }
    }
}

impl Database {
    /// Opens the database in the folder `dir`, making what is missing. A damaged file is put aside and the last
    /// good copy taken; [`Self::remarks`] says so.
    ///
    /// # Errors
    /// When the folder cannot be used, or a newer version wrote the file.
    pub fn open(dir: &Path, limits: Limits, now: Timestamp) -> Result<Self, DatabaseError> {
        make_folder(dir)?;
        let mut remarks = Vec::new();
        let writer = recover::open_whole(dir, now, &mut remarks)?;
        let database = Self {
            dir: dir.to_path_buf(),
            writer: Mutex::new(writer),
            readers: Mutex::new(Vec::new()),
            remarks,
            limits,
            local: Mutex::new(LocalNetworks::default()),
        };
        if !database.remarks.is_empty() {
            let actor = Actor {
                user: "thymus".to_owned(),
                address: String::new(),
                at: now,
            };
            let said = database.remarks.join("; ");
            database.change("note what was lost", |tx| {
                audit::append(tx, &actor, "database.restored", FILE, &said)
            })?;
        }
        Ok(database)
    }

    /// Opens the database for a short task while a console may be using it: a damaged file, and one of an older
    /// version, are only touched when no console is. One that a console is bringing up to date is waited for.
    ///
    /// # Errors
    /// As for [`Self::open`]; also when a console has a file open that would have to be replaced.
    pub fn open_beside(dir: &Path, limits: Limits, now: Timestamp) -> Result<Self, DatabaseError> {
        make_folder(dir)?;
        let mut waited = 0;
        let _lock = loop {
            if !recover::needs_work(&dir.join(FILE)) {
                break None;
            }
            match ConsoleLock::take(dir) {
                Err(DatabaseError::Locked { .. }) if waited < UPDATE_WAITS => {
                    waited += 1;
                    std::thread::sleep(UPDATE_WAIT);
                }
                lock => break Some(lock?),
            }
        };
        Self::open(dir, limits, now)
    }

    /// What was damaged and what became of it, one full sentence each.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Bytes of the file and its log on the disk.
    pub fn bytes(&self) -> u64 {
        ["", "-wal"]
            .iter()
            .filter_map(|ending| std::fs::metadata(self.dir.join(format!("{FILE}{ending}"))).ok())
            .map(|metadata| metadata.len())
            .sum()
    }

    /// Runs `read` on a connection that cannot write.
    pub(crate) fn read<T>(
        &self,
        what: &'static str,
        read: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, DatabaseError> {
        let kept = held(&self.readers).pop();
        let connection = match kept {
            Some(connection) => connection,
            None => reader(&self.dir.join(FILE)).map_err(doing("open for reading"))?,
        };
        // One transaction, so that all of an answer is of one moment.
        let answer = connection
            .unchecked_transaction()
            .and_then(|tx| read(&tx))
            .map_err(doing(what));
        let mut readers = held(&self.readers);
        if readers.len() < READERS_MAX {
            readers.push(connection);
        }
        answer
    }

    /// Runs `change` in one transaction, which happens as a whole or not at all.
    pub(crate) fn change<T>(
        &self,
        what: &'static str,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let mut writer = held(&self.writer);
        let tx = writer
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(doing(what))?;
        let answer = change(&tx)?;
        tx.commit().map_err(doing(what))?;
        Ok(answer)
    }
}

/// The value in a lock, also when a holder panicked: a transaction that was cut is undone by SQLite.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a text has at most so many characters. Bounds of what people write are in characters, as a schema says
/// them.
pub(crate) fn is_short(text: &str, chars_max: usize) -> bool {
    text.len() <= chars_max || text.chars().count() <= chars_max
}

fn make_folder(dir: &Path) -> Result<(), DatabaseError> {
    std::fs::create_dir_all(dir).map_err(|source| DatabaseError::Folder {
        path: dir.to_path_buf(),
        source,
    })
}

fn reader(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn writer(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    // A process that serves may be shut out of the folder for temporary files.
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // What a person did is on the disk before the answer says so.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    Ok(connection)
}
