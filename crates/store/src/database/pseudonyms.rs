//! What stands behind pseudonyms: only what was shown is kept, and giving it out is audited.

use rusqlite::{OptionalExtension, params};

use super::error::{DatabaseError, doing};
use super::users::random;
use super::{Actor, Database, audit, settings};

const KEY: &str = "pseudonym_key";
const PSEUDONYMS_MAX: u64 = 500_000;

impl Database {
    /// The key of this site's pseudonyms, made at its first use.
    ///
    /// # Errors
    /// When it cannot be read or made.
    pub fn pseudonym_key(&self) -> Result<[u8; 32], DatabaseError> {
        let found = self.read("read the key of pseudonyms", |connection| {
            settings::get(connection, KEY)
        })?;
        if let Some(key) = found.and_then(|hex| blake3::Hash::from_hex(hex).ok()) {
            return Ok(*key.as_bytes());
        }
        let key: [u8; 32] = random()?;
        self.change("make the key of pseudonyms", |tx| {
            settings::set(tx, KEY, &audit::hex(&key)).map_err(doing("make the key of pseudonyms"))
        })?;
        Ok(key)
    }

    /// Keeps what stands behind pseudonyms that are about to be shown.
    ///
    /// # Errors
    /// When it cannot be written; they can be shown all the same, and not be revealed.
    pub fn keep_pseudonyms(&self, shown: &[(String, String)]) -> Result<(), DatabaseError> {
        self.change("keep pseudonyms", |tx| {
            let failed = doing("keep pseudonyms");
            let kept: u64 = tx
                .query_row("SELECT COUNT(*) FROM pseudonyms", [], |row| row.get(0))
                .map_err(&failed)?;
            let room = PSEUDONYMS_MAX.saturating_sub(kept) as usize;
            let mut insert = tx
                .prepare_cached("INSERT OR IGNORE INTO pseudonyms VALUES (?, ?)")
                .map_err(&failed)?;
            for (pseudonym, original) in shown.iter().take(room) {
                insert
                    .execute(params![pseudonym, original])
                    .map_err(&failed)?;
            }
            Ok(())
        })
    }

    /// What stands behind a pseudonym, for the program itself and not for anybody to see.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn behind_pseudonym(&self, pseudonym: &str) -> Result<Option<String>, DatabaseError> {
        self.read("read a pseudonym", |connection| {
            connection
                .prepare_cached("SELECT original FROM pseudonyms WHERE pseudonym = ?")?
                .query_row([pseudonym], |row| row.get(0))
                .optional()
        })
    }

    /// What stands behind a pseudonym, for a person who gives a reason.
    ///
    /// # Errors
    /// When there is no such pseudonym, or the audit log cannot be written: then nothing is told.
    pub fn reveal(
        &self,
        actor: &Actor,
        pseudonym: &str,
        reason: &str,
    ) -> Result<String, DatabaseError> {
        let found = self.behind_pseudonym(pseudonym)?;
        let original = found.ok_or(DatabaseError::NotFound("pseudonym"))?;
        self.note(actor, "pseudonym.revealed", pseudonym, reason)?;
        Ok(original)
    }

    /// Every name and address of a device or user that is known, for hiding them.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn identities(&self) -> Result<Vec<String>, DatabaseError> {
        self.read("read names and addresses", |connection| {
            let mut names: Vec<String> = Vec::new();
            for query in [
                "SELECT addr FROM addresses",
                "SELECT name FROM devices WHERE name <> ''",
                "SELECT value FROM devices, json_each(devices.json, '$.names')",
                "SELECT DISTINCT substr(entity, instr(entity, ':') + 1) FROM incident_devices
                 WHERE entity NOT LIKE 'external:%'",
                "SELECT DISTINCT name FROM incident_devices WHERE entity NOT LIKE 'external:%'",
                "SELECT DISTINCT substr(entity, instr(entity, ':') + 1) FROM alerts
                 WHERE entity NOT LIKE 'external:%'",
            ] {
                let mut query = connection.prepare_cached(query)?;
                let found = query.query_map([], |row| row.get::<_, Option<String>>(0))?;
                for name in found {
                    names.extend(name?);
                }
            }
            names.sort_unstable();
            names.dedup();
            Ok(names)
        })
    }
}
