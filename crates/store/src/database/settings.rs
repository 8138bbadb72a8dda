//! What an admin sets for everybody, and small things to remember.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::{DatabaseError, doing};
use super::sessions::digest;
use super::users::random;
use super::{Actor, Database, Role, audit};

const VEILED_ROLES: &str = "pseudonymised_roles";
const SETUP: &str = "setup_token";
const RELOADED: &str = "reload_noted";

/// What an admin sets for everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The roles that see pseudonyms only.
    pub pseudonymised_roles: Vec<Role>,
}

/// A small thing that is remembered.
pub(super) fn get(connection: &Connection, key: &str) -> Result<Option<String>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT value FROM settings WHERE key = ?")?
        .query_row([key], |row| row.get(0))
        .optional()
}

/// Remembers a small thing.
pub(super) fn set(tx: &Transaction<'_>, key: &str, value: &str) -> Result<(), rusqlite::Error> {
    tx.prepare_cached("INSERT OR REPLACE INTO settings VALUES (?, ?)")?
        .execute(params![key, value])
        .map(|_| ())
}

/// Whether this role sees pseudonyms only.
pub(super) fn is_veiled(connection: &Connection, role: Role) -> Result<bool, rusqlite::Error> {
    let roles = get(connection, VEILED_ROLES)?.unwrap_or_default();
    Ok(roles.split(' ').any(|name| name == role.as_str()))
}

impl Database {
    /// What is set.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn settings(&self) -> Result<Settings, DatabaseError> {
        self.read("read the settings", |connection| {
            let roles = get(connection, VEILED_ROLES)?.unwrap_or_default();
            Ok(Settings {
                pseudonymised_roles: roles.split(' ').filter_map(Role::from_name).collect(),
            })
        })
    }

    /// Sets it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_settings(&self, actor: &Actor, new: &Settings) -> Result<(), DatabaseError> {
        let mut roles = new.pseudonymised_roles.clone();
        roles.sort_unstable();
        roles.dedup();
        let roles: Vec<&str> = roles.into_iter().map(Role::as_str).collect();
        let roles = roles.join(" ");
        self.change("change the settings", |tx| {
            let failed = doing("change the settings");
            let before = get(tx, VEILED_ROLES).map_err(&failed)?.unwrap_or_default();
            set(tx, VEILED_ROLES, &roles).map_err(&failed)?;
            let said = format!("pseudonymised roles from [{before}] to [{roles}]");
            audit::append(tx, actor, "settings.changed", VEILED_ROLES, &said)
        })
    }

    /// Puts into the audit log what became of a reload of a run's settings, once: later ones
    /// have higher numbers.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note_reload(
        &self,
        actor: &Actor,
        number: i64,
        is_taken: bool,
        said: &str,
    ) -> Result<bool, DatabaseError> {
        let failed = doing("note a reload");
        let is_known = |connection: &Connection| {
            let noted = get(connection, RELOADED)?;
            let noted: Option<i64> = noted.and_then(|noted| noted.parse().ok());
            Ok(noted.is_some_and(|noted| noted >= number))
        };
        if self.read("look for a reload", is_known)? {
            return Ok(false);
        }
        let action = if is_taken {
            "configuration.reloaded"
        } else {
            "configuration.refused"
        };
        self.change("note a reload", |tx| {
            set(tx, RELOADED, &number.to_string()).map_err(&failed)?;
            audit::append(tx, actor, action, "thymus run", said)
        })?;
        Ok(true)
    }

    /// Whether there is nobody yet who could log in.
    ///
    /// # Errors
    /// When the users cannot be read.
    pub fn needs_setup(&self) -> Result<bool, DatabaseError> {
        self.read("count the users", |connection| {
            connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM users)", [], |row| {
                row.get(0)
            })
        })
    }

    /// A fresh secret that lets one make the first admin; none when there are users. One made before is void.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn setup_token(&self) -> Result<Option<String>, DatabaseError> {
        if !self.needs_setup()? {
            return Ok(None);
        }
        let secret = audit::hex(&random::<16>()?);
        let kept = audit::hex(&digest(&secret));
        self.change("keep the set-up token", |tx| {
            set(tx, SETUP, &kept).map_err(doing("keep the set-up token"))
        })?;
        Ok(Some(secret))
    }

    /// Makes the first admin, when the token is right and there is nobody yet.
    ///
    /// # Errors
    /// When it is not, or the name or password is none.
    pub fn set_up(
        &self,
        actor: &Actor,
        token: &str,
        name: &str,
        password: &str,
    ) -> Result<(), DatabaseError> {
        let wrong = || DatabaseError::Denied("the set-up token is wrong or was used");
        let offered = audit::hex(&digest(token));
        let is_right = self.read("read the set-up token", |connection| {
            Ok(get(connection, SETUP)?.is_some_and(|kept| kept == offered))
        })?;
        if !is_right || !self.needs_setup()? {
            return Err(wrong());
        }
        // Void first: of two who come at the same time one makes the admin.
        let voided = self.change("use the set-up token", |tx| {
            tx.execute(
                "DELETE FROM settings WHERE key = ? AND value = ?",
                params![SETUP, offered],
            )
            .map_err(doing("use the set-up token"))
        })?;
        if voided == 0 {
            return Err(wrong());
        }
        let made = self.add_user(actor, name, Role::Admin, password);
        if made.is_err() {
            self.change("give the set-up token back", |tx| {
                set(tx, SETUP, &offered).map_err(doing("give the set-up token back"))
            })?;
        }
        made
    }
}
