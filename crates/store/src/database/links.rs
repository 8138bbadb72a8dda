//! Which links by which people answer were used: each is good once.

use std::collections::BTreeMap;

use rusqlite::Connection;
use thymus_schema::Timestamp;

use super::Database;
use super::error::{DatabaseError, doing};
use super::settings::{get, set};

const USED: &str = "links_used";

/// Digests of links, and until when each would have been good.
type Used = BTreeMap<String, Timestamp>;

impl Database {
    /// Whether it was used.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn is_link_used(&self, digest: &str) -> Result<bool, DatabaseError> {
        self.read("look for a link", |connection| {
            Ok(used(connection)?.contains_key(digest))
        })
    }

    /// Uses a link up; `false` when it was used before. One that is over by `now` is forgotten: its time alone
    /// refuses it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn use_link(
        &self,
        digest: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<bool, DatabaseError> {
        self.change("use a link", |tx| {
            let failed = doing("use a link");
            let mut all = used(tx).map_err(&failed)?;
            all.retain(|_, until| *until > now);
            let is_first = all.insert(digest.to_owned(), until).is_none();
            set(tx, USED, &text(&all)).map_err(&failed)?;
            Ok(is_first)
        })
    }

    /// Makes a link good again that did nothing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn free_link(&self, digest: &str) -> Result<(), DatabaseError> {
        self.change("free a link", |tx| {
            let failed = doing("free a link");
            let mut all = used(tx).map_err(&failed)?;
            all.remove(digest);
            set(tx, USED, &text(&all)).map_err(&failed)
        })
    }
}

fn used(connection: &Connection) -> Result<Used, rusqlite::Error> {
    let text = get(connection, USED)?.unwrap_or_default();
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

fn text(all: &Used) -> String {
    serde_json::to_string(all).unwrap_or_default()
}
