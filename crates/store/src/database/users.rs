//! The people who may use the console, and their passwords.
//!
//! Passwords are kept as Argon2id, with a salt each. Hashing takes 19 MiB for a moment; whoever lets strangers
//! cause it bounds how many do so at a time.

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use rusqlite::{OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};
use thymus_schema::Timestamp;
use utoipa::ToSchema;

use super::error::{DatabaseError, doing};
use super::{Actor, Database, audit};

const NAME_MAX: usize = 64;
const PASSWORD_MIN: usize = 10;
const PASSWORD_MAX: usize = 256;
const USERS_MAX: u64 = 10_000;
/// Of nobody's password; checked for users that do not exist, so that time tells nothing.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZSBzYWx0IG9mIG91cnM\
                      $Fm7GEdWw0dDSkpIVfZ1iWHfUj1WfJq6pUTIbN1Pw2dY";

/// What somebody may do; each may all that the one before may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Viewer,
    /// Also work on cases, hunt, take packets.
    Analyst,
    /// Also users, tokens, settings, the audit log.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Analyst, Self::Admin];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Analyst => "analyst",
            Self::Admin => "admin",
        }
    }

    /// The role with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

/// One who may use the console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct User {
    /// The name.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Whether they see pseudonyms only.
    pub pseudonymised: bool,
    /// Whether they are shut out.
    pub is_disabled: bool,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// What to change of a user; what is absent stays.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    /// A new role.
    pub role: Option<Role>,
    /// A new password.
    #[schema(min_length = 10, max_length = 256)]
    pub password: Option<String>,
    /// Whether they see pseudonyms only.
    pub pseudonymised: Option<bool>,
    /// Whether they are shut out.
    pub is_disabled: Option<bool>,
}

impl Database {
    /// Adds a user.
    ///
    /// # Errors
    /// When the name or the password is none, or the name is taken.
    pub fn add_user(
        &self,
        actor: &Actor,
        name: &str,
        role: Role,
        password: &str,
    ) -> Result<(), DatabaseError> {
        check_name(name)?;
        let password = hashed(password)?;
        self.change("add a user", |tx| {
            let failed = doing("add a user");
            let users: u64 = tx
                .query_row("SELECT COUNT(*) FROM users", [], |row| row.get(0))
                .map_err(&failed)?;
            if users >= USERS_MAX {
                return Err(DatabaseError::Conflict("there are too many users".into()));
            }
            let added = tx
                .execute(
                    "INSERT OR IGNORE INTO users VALUES (?, ?, ?, 0, 0, ?)",
                    params![name, role.as_str(), password, actor.at.as_nanos()],
                )
                .map_err(&failed)?;
            if added == 0 {
                return Err(DatabaseError::Conflict(format!(
                    "there is a user {name} already"
                )));
            }
            audit::append(tx, actor, "user.added", name, role.as_str())
        })
    }

    /// Changes a user, whose sessions end unless only the view changes.
    ///
    /// # Errors
    /// When there is no such user, or no admin would be left.
    pub fn change_user(
        &self,
        actor: &Actor,
        name: &str,
        change: &UserChange,
    ) -> Result<(), DatabaseError> {
        let password = change.password.as_deref().map(hashed).transpose()?;
        self.change("change a user", |tx| {
            let failed = doing("change a user");
            let before = one(tx, name).map_err(&failed)?;
            let before = before.ok_or(DatabaseError::NotFound("user"))?;
            let after = User {
                role: change.role.unwrap_or(before.role),
                pseudonymised: change.pseudonymised.unwrap_or(before.pseudonymised),
                is_disabled: change.is_disabled.unwrap_or(before.is_disabled),
                ..before.clone()
            };
            tx.execute(
                "UPDATE users SET role = ?2, pseudonymised = ?3, is_disabled = ?4,
                     password = COALESCE(?5, password) WHERE name = ?1",
                params![
                    name,
                    after.role.as_str(),
                    after.pseudonymised,
                    after.is_disabled,
                    password
                ],
            )
            .map_err(&failed)?;
            an_admin_is_left(tx)?;
            let is_other = after.role != before.role || after.is_disabled || password.is_some();
            if is_other {
                tx.execute("DELETE FROM sessions WHERE user = ?", [name])
                    .map_err(&failed)?;
            }
            let said = difference(&before, &after, password.is_some());
            audit::append(tx, actor, "user.changed", name, &said)
        })
    }

    /// Removes a user and ends their sessions; what they wrote stays.
    ///
    /// # Errors
    /// When there is no such user, or no admin would be left.
    pub fn remove_user(&self, actor: &Actor, name: &str) -> Result<(), DatabaseError> {
        self.change("remove a user", |tx| {
            let failed = doing("remove a user");
            let removed = tx
                .execute("DELETE FROM users WHERE name = ?", [name])
                .map_err(&failed)?;
            if removed == 0 {
                return Err(DatabaseError::NotFound("user"));
            }
            an_admin_is_left(tx)?;
            tx.execute("DELETE FROM sessions WHERE user = ?", [name])
                .map_err(&failed)?;
            audit::append(tx, actor, "user.removed", name, "")
        })
    }

    /// All users, by name.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn users(&self) -> Result<Vec<User>, DatabaseError> {
        self.read("read the users", |connection| {
            connection
                .prepare_cached(&format!("{SELECT} ORDER BY name"))?
                .query_map([], of)?
                .collect()
        })
    }

    /// The user with this name and password, unless shut out. Takes the same time whether there is one.
    ///
    /// # Errors
    /// When the users cannot be read.
    pub fn user_with(&self, name: &str, password: &str) -> Result<Option<User>, DatabaseError> {
        let found = self.read("read a user", |connection| {
            connection
                .query_row("SELECT password FROM users WHERE name = ?", [name], |row| {
                    row.get::<_, String>(0)
                })
                .optional()
        })?;
        let is_right = is_password(password, found.as_deref().unwrap_or(NOBODY));
        if !is_right || found.is_none() {
            return Ok(None);
        }
        let user = self.read("read a user", |connection| one(connection, name))?;
        Ok(user.filter(|user| !user.is_disabled))
    }
}

const SELECT: &str = "SELECT name, role, pseudonymised, is_disabled, created_at FROM users";

fn of(row: &rusqlite::Row<'_>) -> Result<User, rusqlite::Error> {
    Ok(User {
        name: row.get(0)?,
        // A role that nobody knows may least.
        role: Role::from_name(&row.get::<_, String>(1)?).unwrap_or(Role::Viewer),
        pseudonymised: row.get(2)?,
        is_disabled: row.get(3)?,
        created_at: Timestamp::from_nanos(row.get(4)?),
    })
}

fn one(connection: &rusqlite::Connection, name: &str) -> Result<Option<User>, rusqlite::Error> {
    connection
        .prepare_cached(&format!("{SELECT} WHERE name = ?"))?
        .query_row([name], of)
        .optional()
}

fn an_admin_is_left(tx: &Transaction<'_>) -> Result<(), DatabaseError> {
    let admins: u64 = tx
        .query_row(
            "SELECT COUNT(*) FROM users WHERE role = 'admin' AND is_disabled = 0",
            [],
            |row| row.get(0),
        )
        .map_err(doing("count admins"))?;
    if admins == 0 {
        return Err(DatabaseError::Conflict(
            "this is the last admin; make another one first".into(),
        ));
    }
    Ok(())
}

fn difference(before: &User, after: &User, has_new_password: bool) -> String {
    let mut said = Vec::new();
    if before.role != after.role {
        said.push(format!(
            "role from {} to {}",
            before.role.as_str(),
            after.role.as_str()
        ));
    }
    for (what, from, to) in [
        ("pseudonymised", before.pseudonymised, after.pseudonymised),
        ("disabled", before.is_disabled, after.is_disabled),
    ] {
        if from != to {
            said.push(format!("{what} from {from} to {to}"));
        }
    }
    if has_new_password {
        said.push("new password".to_owned());
    }
    said.join(", ")
}

fn check_name(name: &str) -> Result<(), DatabaseError> {
    let is_name = (1..=NAME_MAX).contains(&name.len())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '@' | '-'));
    if is_name {
        return Ok(());
    }
    Err(DatabaseError::Refused(format!(
        "a name has 1 to {NAME_MAX} letters, digits or any of . _ @ -"
    )))
}

fn argon2() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
}

fn hashed(password: &str) -> Result<String, DatabaseError> {
    let refused = |why: String| DatabaseError::Refused(why);
    if !(PASSWORD_MIN..=PASSWORD_MAX).contains(&password.chars().count()) {
        return Err(refused(format!(
            "a password has {PASSWORD_MIN} to {PASSWORD_MAX} characters"
        )));
    }
    let salt: [u8; 16] = random()?;
    let hash: PasswordHash = argon2()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(|error| refused(format!("cannot hash the password: {error}")))?;
    Ok(hash.to_string())
}

fn is_password(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| {
        password.len() <= PASSWORD_MAX
            && argon2().verify_password(password.as_bytes(), &hash).is_ok()
    })
}

/// Random bytes from the system.
pub(super) fn random<const N: usize>() -> Result<[u8; N], DatabaseError> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        let rest = bytes.get_mut(filled..).unwrap_or_default();
        match rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()) {
            Ok(n) => filled += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                return Err(DatabaseError::Refused(format!(
                    "the system gives no random bytes: {error}"
                )));
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_hashed_with_a_salt_and_read_back() {
        let hash = hashed("correct horse").unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert_ne!(hash, hashed("correct horse").unwrap());
        assert!(is_password("correct horse", &hash));
        assert!(!is_password("correct hors", &hash));
        assert!(hashed("short").is_err());
        assert!(
            PasswordHash::new(NOBODY).is_ok(),
            "nobody's hash must cost time"
        );
        assert!(!is_password("", NOBODY));
    }

    #[test]
    fn roles_are_ordered_and_names_are_checked() {
        assert!(Role::Viewer < Role::Analyst && Role::Analyst < Role::Admin);
        assert_eq!(Role::from_name("admin"), Some(Role::Admin));
        assert_eq!(Role::from_name("root"), None);
        for wrong in ["", "a b", "<b>", "a'--", &"x".repeat(65)] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
        assert!(check_name("ann.lee@corp").is_ok());
    }
}
