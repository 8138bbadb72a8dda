//! Bouncers: programs of others that ask which addresses to ban, each with a key of its own. The secret is shown
//! once; here is its digest.

mod pull;

use rusqlite::{OptionalExtension, params};
use serde::Serialize;
use thymus_schema::Timestamp;
use utoipa::ToSchema;

use super::error::{DatabaseError, doing};
use super::sessions::digest;
use super::users::random;
use super::{Actor, Database, audit, tokens};

pub use pull::{Ban, Delta, Pull};

const BOUNCERS_MAX: u64 = 1_000;
const NAME_MAX: usize = 100;
const AGENT_MAX: usize = 200;
const STRANGERS_MAX: usize = 32;

/// A program that enforces bans, without its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Bouncer {
    /// Its name.
    pub name: String,
    /// Who made its key.
    pub created_by: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// From where it asks, the latest first.
    pub pulls: Vec<BouncerPull>,
}

/// An address from which a bouncer asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct BouncerPull {
    /// The address.
    pub address: String,
    /// Name and version of the program, as it says.
    pub agent: String,
    /// When it asked last, to a minute.
    #[schema(value_type = String, format = DateTime)]
    pub last_pull: Timestamp,
    /// Bans that it was told to hold.
    pub held: u64,
}

/// Somebody who asked with a key that is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct BouncerStranger {
    /// From where.
    pub address: String,
    /// Name and version of the program, as it says.
    pub agent: String,
    /// How often that was noted: once a second for all strangers together.
    pub tries: u64,
    /// The last time.
    #[schema(value_type = String, format = DateTime)]
    pub last_try: Timestamp,
}

impl Database {
    /// Makes a key for a bouncer and gives it.
    ///
    /// # Errors
    /// When the name is none or taken, or there are too many.
    pub fn add_bouncer(&self, actor: &Actor, name: &str) -> Result<String, DatabaseError> {
        let name = name.trim();
        if name.is_empty() || !super::is_short(name, NAME_MAX) || name.chars().any(char::is_control)
        {
            return Err(DatabaseError::Refused(format!(
                "a bouncer has a name of 1 to {NAME_MAX} characters, on one line"
            )));
        }
        let secret = tokens::hex_of(&random::<32>()?);
        self.change("make a key for a bouncer", |tx| {
            let failed = doing("make a key for a bouncer");
            let (all, same): (u64, u64) = tx
                .query_row(
                    "SELECT COUNT(*), COALESCE(SUM(name = ?), 0) FROM bouncers",
                    [name],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .map_err(&failed)?;
            if same > 0 {
                return Err(DatabaseError::Conflict(format!(
                    "there is a bouncer named {name} already; each needs a key of its own"
                )));
            }
            if all >= BOUNCERS_MAX {
                return Err(DatabaseError::Conflict(
                    "there are too many bouncers; remove some".into(),
                ));
            }
            tx.execute(
                "INSERT INTO bouncers VALUES (?, ?, ?, ?)",
                params![name, &digest(&secret)[..], actor.user, actor.at.as_nanos()],
            )
            .map_err(&failed)?;
            audit::append(tx, actor, "bouncer.made", name, "")
        })?;
        Ok(secret)
    }

    /// Takes a bouncer's key away.
    ///
    /// # Errors
    /// When there is none with this name.
    pub fn remove_bouncer(&self, actor: &Actor, name: &str) -> Result<(), DatabaseError> {
        self.change("remove a bouncer", |tx| {
            let failed = doing("remove a bouncer");
            for table in ["bouncer_told", "bouncer_pulls"] {
                tx.execute(&format!("DELETE FROM {table} WHERE bouncer = ?"), [name])
                    .map_err(&failed)?;
            }
            let removed = tx
                .execute("DELETE FROM bouncers WHERE name = ?", [name])
                .map_err(&failed)?;
            if removed == 0 {
                return Err(DatabaseError::NotFound("bouncer"));
            }
            audit::append(tx, actor, "bouncer.removed", name, "")
        })
    }

    /// All bouncers by name.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn bouncers(&self) -> Result<Vec<Bouncer>, DatabaseError> {
        self.read("read the bouncers", |connection| {
            let mut query = connection.prepare_cached(
                "SELECT name, created_by, created_at FROM bouncers ORDER BY name",
            )?;
            let mut pulls = connection.prepare_cached(
                "SELECT address, agent, last_pull, (SELECT COUNT(*) FROM bouncer_told AS told
                    WHERE told.bouncer = pulls.bouncer AND told.address = pulls.address AND held)
                FROM bouncer_pulls AS pulls WHERE bouncer = ? ORDER BY last_pull DESC, address",
            )?;
            let found = query.query_map([], |row| {
                Ok(Bouncer {
                    name: row.get(0)?,
                    created_by: row.get(1)?,
                    created_at: Timestamp::from_nanos(row.get(2)?),
                    pulls: Vec::new(),
                })
            })?;
            let mut bouncers = found.collect::<Result<Vec<_>, _>>()?;
            for bouncer in &mut bouncers {
                let found = pulls.query_map([&bouncer.name], |row| {
                    Ok(BouncerPull {
                        address: row.get(0)?,
                        agent: row.get(1)?,
                        last_pull: Timestamp::from_nanos(row.get(2)?),
                        held: row.get(3)?,
                    })
                })?;
                bouncer.pulls = found.collect::<Result<_, _>>()?;
            }
            Ok(bouncers)
        })
    }

    /// Whose key this is.
    ///
    /// # Errors
    /// When the keys cannot be read.
    pub fn bouncer_of(&self, key: &str) -> Result<Option<String>, DatabaseError> {
        self.read("read the key of a bouncer", |connection| {
            connection
                .prepare_cached("SELECT name FROM bouncers WHERE hash = ?")?
                .query_row([&digest(key)[..]], |row| row.get(0))
                .optional()
        })
    }

    /// Notes that somebody asked with a key that is none, so that a person who looks for a wrong key finds it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note_stranger(
        &self,
        address: &str,
        agent: &str,
        at: Timestamp,
    ) -> Result<(), DatabaseError> {
        self.change("note who has no key", |tx| {
            let failed = doing("note who has no key");
            tx.execute(
                "INSERT INTO bouncer_strangers VALUES (?1, ?2, 1, ?3) ON CONFLICT (address)
                    DO UPDATE SET agent = ?2, tries = tries + 1, last_try = ?3",
                params![address, short(agent), at.as_nanos()],
            )
            .map_err(&failed)?;
            tx.execute(
                "DELETE FROM bouncer_strangers WHERE address NOT IN
                    (SELECT address FROM bouncer_strangers ORDER BY last_try DESC LIMIT ?)",
                [STRANGERS_MAX],
            )
            .map_err(&failed)?;
            Ok(())
        })
    }

    /// Who asked with a key that is none, the latest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn bouncer_strangers(&self) -> Result<Vec<BouncerStranger>, DatabaseError> {
        self.read("read who has no key", |connection| {
            connection
                .prepare_cached(
                    "SELECT address, agent, tries, last_try FROM bouncer_strangers
                    ORDER BY last_try DESC, address",
                )?
                .query_map([], |row| {
                    Ok(BouncerStranger {
                        address: row.get(0)?,
                        agent: row.get(1)?,
                        tries: row.get(2)?,
                        last_try: Timestamp::from_nanos(row.get(3)?),
                    })
                })?
                .collect()
        })
    }
}

/// What a program says it is, safe to show.
fn short(agent: &str) -> String {
    let plain = agent.chars().filter(|c| !c.is_control());
    plain.take(AGENT_MAX).collect()
}
