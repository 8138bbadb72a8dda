//! The last good copy, and the way back to it.
//!
//! The copy is made by SQLite's backup while others read and write, checked, and only then put in the place of
//! the one before. At opening the file is checked; one that is damaged is kept beside, for whoever wants to
//! look, and the copy is used. The number of the last frame lies in the copy, so what the journal still has is
//! read again.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use thymus_schema::Timestamp;

use super::error::{DatabaseError, doing};
use super::{Database, FILE, reader, schema, writer};

const COPY: &str = "thymus.last-good.db";
const FRESH: &str = "thymus.copy.db";
const DAMAGED: &str = "thymus.damaged.db";

impl Database {
    /// Makes a copy to fall back to.
    ///
    /// # Errors
    /// When the file is damaged, or there is no room for the copy; the copy before stays then.
    pub fn keep_copy(&self) -> Result<(), DatabaseError> {
        let fresh = self.dir.join(FRESH);
        let failed = doing("make a copy to fall back to");
        remove(&fresh)?;
        let source = reader(&self.dir.join(FILE)).map_err(&failed)?;
        source
            .backup("main", &fresh, None::<fn(rusqlite::backup::Progress)>)
            .map_err(&failed)?;
        let is_whole = is_whole(&fresh).map_err(&failed)?;
        if !is_whole {
            return Err(DatabaseError::Damaged {
                doing: "make a copy to fall back to",
            });
        }
        let copy = self.dir.join(COPY);
        fs::File::open(&fresh)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&fresh, &copy))
            .map_err(|source| DatabaseError::Folder { path: copy, source })
    }
}

/// Opens the file for writing; where it is damaged, the copy in its place.
pub(super) fn open_whole(
    dir: &Path,
    now: Timestamp,
    remarks: &mut Vec<String>,
) -> Result<Connection, DatabaseError> {
    let path = dir.join(FILE);
    match open(&path) {
        Ok(connection) => return Ok(connection),
        Err(DatabaseError::Damaged { .. }) => {}
        Err(other) => return Err(other),
    }
    put_aside(dir)?;
    remarks.push(format!(
        "the database was damaged at {now} and lies beside as {DAMAGED}"
    ));
    let copy = dir.join(COPY);
    let from = fs::metadata(&copy).and_then(|metadata| metadata.modified());
    if let Ok(made) = from {
        let secs = made
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let made = Timestamp::from_secs(secs as i64);
        fs::copy(&copy, &path).map_err(|source| DatabaseError::Folder {
            path: path.clone(),
            source,
        })?;
        match open(&path) {
            Ok(connection) => {
                remarks.push(format!(
                    "the copy of {made} is used: cases, comments, users and audit entries made since are lost, \
                     incidents come back as far as the journal reaches"
                ));
                return Ok(connection);
            }
            Err(DatabaseError::Damaged { .. }) => {
                remove(&path)?;
                remarks.push("the copy to fall back to is damaged too".to_owned());
            }
            Err(other) => return Err(other),
        }
    }
    remarks.push(
        "there is no good copy: incidents, cases, users and the audit log begin anew".to_owned(),
    );
    open(&path)
}

fn open(path: &Path) -> Result<Connection, DatabaseError> {
    let failed = doing("open");
    let is_new = !path.exists();
    let mut connection = writer(path).map_err(&failed)?;
    if !is_new {
        let said: String = connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(&failed)?;
        if said != "ok" {
            return Err(DatabaseError::Damaged { doing: "open" });
        }
    }
    schema::migrate(&mut connection)?;
    Ok(connection)
}

/// Whether opening the file would put it aside, or change its tables.
pub(super) fn needs_work(path: &Path) -> bool {
    let looked = || -> Result<bool, rusqlite::Error> {
        let connection = reader(path)?;
        let said: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        Ok(said != "ok" || !schema::is_current(&connection)?)
    };
    looked().unwrap_or(true)
}

fn is_whole(path: &Path) -> Result<bool, rusqlite::Error> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.query_row("PRAGMA quick_check(1)", [], |row| {
        Ok(row.get::<_, String>(0)? == "ok")
    })
}

fn put_aside(dir: &Path) -> Result<(), DatabaseError> {
    let aside = dir.join(DAMAGED);
    for ending in ["", "-wal", "-shm"] {
        let from = dir.join(format!("{FILE}{ending}"));
        let to = PathBuf::from(format!("{}{ending}", aside.display()));
        match fs::rename(&from, &to) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => remove(&to)?,
            Err(source) => return Err(DatabaseError::Folder { path: from, source }),
            Ok(()) => {}
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), DatabaseError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(DatabaseError::Folder {
            path: path.to_path_buf(),
            source: error,
        }),
        _ => Ok(()),
    }
}
