//! Who is logged in. The secret is in the browser only; here is its digest.

use std::time::Duration;

use rusqlite::{OptionalExtension, params};
use thymus_schema::Timestamp;

use super::error::{DatabaseError, doing};
use super::users::random;
use super::{Actor, Database, Role, audit, tokens};

/// Sessions that a user may have at a time; the oldest ends for a new one.
const SESSIONS_MAX: usize = 16;
/// How stale the note of the last use may be, so that looking does not write.
const SEEN_EVERY: Duration = Duration::from_mins(1);
const SECRET: usize = 32;

/// How long a session lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Without use.
    pub idle: Duration,
    /// At most.
    pub absolute: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            idle: Duration::from_hours(8),
            absolute: Duration::from_hours(24),
        }
    }
}

/// Who asks, and what they may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The user, or `token:NAME`.
    pub user: String,
    /// What they may do.
    pub role: Role,
    /// Whether they see pseudonyms only.
    pub pseudonymised: bool,
    /// Whether the user or the role may see nothing else.
    pub must_be_pseudonymised: bool,
    /// What a change has to carry beside the cookie; empty for a token.
    pub csrf: String,
}

impl Database {
    /// Begins a session and gives its secret.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin_session(&self, actor: &Actor) -> Result<String, DatabaseError> {
        let secret = tokens::hex_of(&random::<SECRET>()?);
        self.change("begin a session", |tx| {
            let failed = doing("begin a session");
            tx.execute(
                "DELETE FROM sessions WHERE user = ?1 AND hash NOT IN
                 (SELECT hash FROM sessions WHERE user = ?1 ORDER BY created_at DESC LIMIT ?2)",
                params![actor.user, SESSIONS_MAX - 1],
            )
            .map_err(&failed)?;
            tx.execute(
                "INSERT INTO sessions VALUES (?1, ?2, 0, ?3, ?3, ?4)",
                params![
                    digest(&secret),
                    actor.user,
                    actor.at.as_nanos(),
                    actor.address
                ],
            )
            .map_err(&failed)?;
            audit::append(tx, actor, "session.begun", &actor.user, "")
        })?;
        Ok(secret)
    }

    /// The session with this secret, if it still lasts.
    ///
    /// # Errors
    /// When the sessions cannot be read.
    pub fn session(
        &self,
        secret: &str,
        now: Timestamp,
        limits: SessionLimits,
    ) -> Result<Option<Session>, DatabaseError> {
        let hash = digest(secret);
        let found = self.read("read a session", |connection| {
            connection
                .prepare_cached(
                    "SELECT s.user, u.role, s.pseudonymised, u.pseudonymised, s.created_at, s.seen_at
                     FROM sessions s JOIN users u ON u.name = s.user AND u.is_disabled = 0
                     WHERE s.hash = ?",
                )?
                .query_row([&hash[..]], |row| {
                    let role = Role::from_name(&row.get::<_, String>(1)?).unwrap_or(Role::Viewer);
                    let wants: bool = row.get(2)?;
                    let must = row.get::<_, bool>(3)? || super::settings::is_veiled(connection, role)?;
                    let session = Session {
                        user: row.get(0)?,
                        role,
                        pseudonymised: wants || must,
                        must_be_pseudonymised: must,
                        csrf: csrf_of(secret),
                    };
                    let created = Timestamp::from_nanos(row.get(4)?);
                    Ok((session, created, Timestamp::from_nanos(row.get(5)?)))
                })
                .optional()
        })?;
        let Some((session, created, seen)) = found else {
            return Ok(None);
        };
        if now.since(created) > limits.absolute || now.since(seen) > limits.idle {
            // It lasts no longer, whether or not it can be taken away now.
            let _is_removed = self.remove_session(&hash).is_ok();
            return Ok(None);
        }
        if now.since(seen) > SEEN_EVERY {
            // A full disk must not log anybody out.
            let _is_noted = self
                .change("note the use of a session", |tx| {
                    tx.execute(
                        "UPDATE sessions SET seen_at = ?2 WHERE hash = ?1",
                        params![&hash[..], now.as_nanos()],
                    )
                    .map_err(doing("note the use of a session"))
                })
                .is_ok();
        }
        Ok(Some(session))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn end_session(&self, actor: &Actor, secret: &str) -> Result<(), DatabaseError> {
        self.remove_session(&digest(secret))?;
        self.note(actor, "session.ended", &actor.user, "")
    }

    /// Says whether a session shows pseudonyms.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn veil_session(
        &self,
        actor: &Actor,
        secret: &str,
        pseudonymised: bool,
    ) -> Result<(), DatabaseError> {
        self.change("change a session", |tx| {
            tx.execute(
                "UPDATE sessions SET pseudonymised = ?2 WHERE hash = ?1",
                params![&digest(secret)[..], pseudonymised],
            )
            .map_err(doing("change a session"))?;
            let action = if pseudonymised {
                "pseudonyms.on"
            } else {
                "pseudonyms.off"
            };
            audit::append(tx, actor, action, &actor.user, "")
        })
    }

    fn remove_session(&self, hash: &[u8; 32]) -> Result<(), DatabaseError> {
        self.change("end a session", |tx| {
            tx.execute("DELETE FROM sessions WHERE hash = ?", [&hash[..]])
                .map(|_| ())
                .map_err(doing("end a session"))
        })
    }
}

/// The digest under which a secret is kept.
pub(super) fn digest(secret: &str) -> [u8; 32] {
    blake3::derive_key(
        "thymus 2026 secret of a session or token",
        secret.as_bytes(),
    )
}

fn csrf_of(secret: &str) -> String {
    tokens::hex_of(&blake3::derive_key(
        "thymus 2026 csrf token of a session",
        secret.as_bytes(),
    ))
}
