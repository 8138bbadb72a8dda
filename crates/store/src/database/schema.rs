//! The tables, and how an older file becomes one of this version.
//!
//! The version stands in the file's `user_version`. Each entry of [`MIGRATIONS`] takes a file from the version
//! that is its index to the next; one that was released is never changed again.
//!
//! Times are nanoseconds since the epoch, hours and days are counted since the epoch, in UTC.

use rusqlite::Connection;

use super::error::{DatabaseError, doing};

pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("schema_1.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
    include_str!("schema_6.sql"),
];

/// Whether the file has the present version, or one that this program does not know.
pub(super) fn is_current(connection: &Connection) -> Result<bool, rusqlite::Error> {
    let found: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(found >= MIGRATIONS.len() as u32)
}

/// Brings the file to the present version, in one transaction.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), DatabaseError> {
    let failed = doing("bring its tables to this version");
    let found: u32 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(&failed)?;
    let known = MIGRATIONS.len() as u32;
    if found > known {
        return Err(DatabaseError::Newer { found, known });
    }
    let tx = connection.transaction().map_err(&failed)?;
    for migration in MIGRATIONS.iter().skip(found as usize) {
        tx.execute_batch(migration).map_err(&failed)?;
    }
    tx.pragma_update(None, "user_version", known)
        .map_err(&failed)?;
    tx.commit().map_err(&failed)
}
