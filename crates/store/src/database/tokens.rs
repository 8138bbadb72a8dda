//! Tokens for programs. The secret is shown once; here is its digest.

use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};
use thymus_schema::Timestamp;
use utoipa::ToSchema;

use super::error::{DatabaseError, doing};
use super::sessions::{Session, digest};
use super::users::random;
use super::{Actor, Database, Role, audit};

const TOKENS_MAX: u64 = 1_000;
const NAME_MAX: usize = 100;
const PREFIX: &str = "thymus_";
/// How stale the note of the last use may be, so that looking does not write.
const USED_EVERY: std::time::Duration = std::time::Duration::from_mins(5);

pub(super) use super::audit::hex as hex_of;

/// What a new token is to be.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Until when; for good without.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Whether it gets pseudonyms only.
    #[serde(default)]
    pub pseudonymised: bool,
}

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Token {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Whether it gets pseudonyms only.
    pub pseudonymised: bool,
    /// Who made it.
    pub created_by: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Until when it is good.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When it was used last, to five minutes.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub used_at: Option<Timestamp>,
}

impl Database {
    /// Makes a token and gives it with its secret.
    ///
    /// # Errors
    /// When it has no name, or there are too many.
    pub fn add_token(
        &self,
        actor: &Actor,
        new: &NewToken,
    ) -> Result<(Token, String), DatabaseError> {
        let name = new.name.trim();
        if name.is_empty() || !super::is_short(name, NAME_MAX) || name.chars().any(char::is_control)
        {
            return Err(DatabaseError::Refused(format!(
                "a token has a name of 1 to {NAME_MAX} characters, on one line"
            )));
        }
        if new.expires_at.is_some_and(|until| until <= actor.at) {
            return Err(DatabaseError::Refused(
                "a token cannot expire before now".into(),
            ));
        }
        let secret = format!("{PREFIX}{}", hex_of(&random::<32>()?));
        let token = Token {
            id: hex_of(&random::<8>()?),
            name: name.to_owned(),
            role: new.role,
            pseudonymised: new.pseudonymised,
            created_by: actor.user.clone(),
            created_at: actor.at,
            expires_at: new.expires_at,
            used_at: None,
        };
        self.change("make a token", |tx| {
            let failed = doing("make a token");
            let tokens: u64 = tx
                .query_row("SELECT COUNT(*) FROM tokens", [], |row| row.get(0))
                .map_err(&failed)?;
            if tokens >= TOKENS_MAX {
                return Err(DatabaseError::Conflict(
                    "there are too many tokens; remove some".into(),
                ));
            }
            tx.execute(
                "INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)",
                params![
                    token.id,
                    &digest(&secret)[..],
                    token.name,
                    token.role.as_str(),
                    token.pseudonymised,
                    token.created_by,
                    token.created_at.as_nanos(),
                    token.expires_at.map(Timestamp::as_nanos),
                ],
            )
            .map_err(&failed)?;
            let said = format!("{}, {}", token.name, token.role.as_str());
            audit::append(tx, actor, "token.made", &token.id, &said)
        })?;
        Ok((token, secret))
    }

    /// Takes a token away.
    ///
    /// # Errors
    /// When there is none with this id.
    pub fn remove_token(&self, actor: &Actor, id: &str) -> Result<(), DatabaseError> {
        self.change("remove a token", |tx| {
            let removed = tx
                .execute("DELETE FROM tokens WHERE id = ?", [id])
                .map_err(doing("remove a token"))?;
            if removed == 0 {
                return Err(DatabaseError::NotFound("token"));
            }
            audit::append(tx, actor, "token.removed", id, "")
        })
    }

    /// All tokens, the newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn tokens(&self) -> Result<Vec<Token>, DatabaseError> {
        self.read("read the tokens", |connection| {
            connection
                .prepare_cached(&format!("{SELECT} ORDER BY created_at DESC, id"))?
                .query_map([], of)?
                .collect()
        })
    }

    /// Who asks with this token, if it is good.
    ///
    /// # Errors
    /// When the tokens cannot be read.
    pub fn token_session(
        &self,
        secret: &str,
        now: Timestamp,
    ) -> Result<Option<Session>, DatabaseError> {
        let found = self.read("read a token", |connection| {
            let token = connection
                .prepare_cached(&format!("{SELECT} WHERE hash = ?"))?
                .query_row([&digest(secret)[..]], of)
                .optional()?;
            token
                .map(|token| {
                    let is_veiled = super::settings::is_veiled(connection, token.role)?;
                    Ok((token, is_veiled))
                })
                .transpose()
        })?;
        let Some((token, is_veiled)) = found else {
            return Ok(None);
        };
        if token.expires_at.is_some_and(|until| until <= now) {
            return Ok(None);
        }
        let is_stale = token
            .used_at
            .is_none_or(|used| now.since(used) > USED_EVERY);
        if is_stale {
            // A full disk must not stop a token.
            let _is_noted = self
                .change("note the use of a token", |tx| {
                    tx.execute(
                        "UPDATE tokens SET used_at = ?2 WHERE id = ?1",
                        params![token.id, now.as_nanos()],
                    )
                    .map_err(doing("note the use of a token"))
                })
                .is_ok();
        }
        let must = token.pseudonymised || is_veiled;
        Ok(Some(Session {
            user: format!("token:{}", token.name),
            role: token.role,
            pseudonymised: must,
            must_be_pseudonymised: must,
            csrf: String::new(),
        }))
    }
}

const SELECT: &str =
    "SELECT id, name, role, pseudonymised, created_by, created_at, expires_at, used_at
    FROM tokens";

fn of(row: &rusqlite::Row<'_>) -> Result<Token, rusqlite::Error> {
    let time = |at: Option<i64>| at.map(Timestamp::from_nanos);
    Ok(Token {
        id: row.get(0)?,
        name: row.get(1)?,
        role: Role::from_name(&row.get::<_, String>(2)?).unwrap_or(Role::Viewer),
        pseudonymised: row.get(3)?,
        created_by: row.get(4)?,
        created_at: Timestamp::from_nanos(row.get(5)?),
        expires_at: time(row.get(6)?),
        used_at: time(row.get(7)?),
    })
}
