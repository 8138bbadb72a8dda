//! What people do about incidents: state, verdict, comments, links, and who did it when.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};
use thymus_schema::Timestamp;
use utoipa::ToSchema;

use super::error::{DatabaseError, doing};
use super::{Actor, Database, audit, feedback, incidents};

const TEXT_MAX: usize = 16_384;
const NAME_MAX: usize = 128;
const COMMENTS_MAX: u64 = 1_000;
const LINKS_MAX: u64 = 100;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$each])* $variant,)* }

        impl $name {
            /// The word for it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// How far the work on an incident is.
    CaseState {
        /// Nobody has taken it on.
        Open = "open",
        /// Somebody has.
        Acknowledged = "acknowledged",
        /// It is done.
        Closed = "closed",
    }
}

words! {
    /// What an incident turned out to be.
    Verdict {
        /// An attack.
        Attack = "attack",
        /// True, and harmless.
        Harmless = "harmless",
        /// Not true.
        Wrong = "wrong",
    }
}

impl CaseState {
    pub(super) fn of(word: Option<&str>) -> Self {
        word.and_then(Self::from_word).unwrap_or(Self::Open)
    }
}

impl Verdict {
    pub(super) fn of(word: Option<&str>) -> Option<Self> {
        word.and_then(Self::from_word)
    }
}

/// What to change of a case; what is absent stays, and `null` takes away.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseChange {
    /// A new state.
    pub state: Option<CaseState>,
    /// Who works on it; an empty name is nobody.
    #[schema(max_length = 128)]
    pub assignee: Option<String>,
    /// What it was.
    pub verdict: Option<Verdict>,
    /// Why.
    #[schema(max_length = 16384)]
    pub reason: Option<String>,
}

/// A comment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Comment {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Whose.
    pub user: String,
    /// What it says.
    pub text: String,
}

/// A tie to another incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Link {
    /// The other one.
    pub incident: String,
    /// Why.
    pub note: String,
}

/// What was done when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct HistoryLine {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// By whom; `thymus` for what happened by itself.
    pub user: String,
    /// What.
    pub what: String,
}

/// All work on an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Case {
    /// How far it is.
    pub state: CaseState,
    /// Who works on it.
    pub assignee: Option<String>,
    /// What it was.
    pub verdict: Option<Verdict>,
    /// Why.
    pub reason: Option<String>,
    /// Comments, oldest first.
    pub comments: Vec<Comment>,
    /// Ties to other incidents.
    pub links: Vec<Link>,
    /// What was done, oldest first.
    pub history: Vec<HistoryLine>,
}

pub(super) struct Row {
    pub(super) state: CaseState,
    pub(super) assignee: Option<String>,
    pub(super) verdict: Option<Verdict>,
    pub(super) reason: Option<String>,
    pub(super) alerts_then: u64,
}

pub(super) fn row(connection: &Connection, id: &str) -> Result<Option<Row>, rusqlite::Error> {
    connection
        .prepare_cached(
            "SELECT state, assignee, verdict, reason, alerts_then FROM cases WHERE incident = ?",
        )?
        .query_row([id], |row| {
            Ok(Row {
                state: CaseState::of(Some(&row.get::<_, String>(0)?)),
                assignee: row.get(1)?,
                verdict: Verdict::of(row.get::<_, Option<String>>(2)?.as_deref()),
                reason: row.get(3)?,
                alerts_then: row.get(4)?,
            })
        })
        .optional()
}

pub(super) fn write(
    tx: &Transaction<'_>,
    id: &str,
    case: &Row,
    at: Timestamp,
) -> Result<(), rusqlite::Error> {
    tx.prepare_cached("INSERT OR REPLACE INTO cases VALUES (?, ?, ?, ?, ?, ?, ?)")?
        .execute(params![
            id,
            case.state.as_str(),
            case.assignee,
            case.verdict.map(Verdict::as_str),
            case.reason,
            case.alerts_then,
            at.as_nanos()
        ])
        .map(|_| ())
}

pub(super) fn remember(
    tx: &Transaction<'_>,
    id: &str,
    at: Timestamp,
    user: &str,
    what: &str,
) -> Result<(), rusqlite::Error> {
    tx.prepare_cached("INSERT INTO history (incident, at, user, what) VALUES (?, ?, ?, ?)")?
        .execute(params![id, at.as_nanos(), user, what])
        .map(|_| ())
}

impl Database {
    /// All work on an incident; an incident that nobody touched is open.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn case(&self, id: &str) -> Result<Case, DatabaseError> {
        self.read("read a case", |connection| {
            let id = incidents::resolved(connection, id)?;
            let found = row(connection, &id)?;
            let comments = connection
                .prepare_cached(
                    "SELECT at, user, text FROM comments WHERE incident = ? ORDER BY id",
                )?
                .query_map([&id], |row| {
                    Ok(Comment {
                        at: Timestamp::from_nanos(row.get(0)?),
                        user: row.get(1)?,
                        text: row.get(2)?,
                    })
                })?
                .collect::<Result<_, _>>()?;
            let links = connection
                .prepare_cached("SELECT other, note FROM links WHERE incident = ? ORDER BY other")?
                .query_map([&id], |row| {
                    Ok(Link {
                        incident: row.get(0)?,
                        note: row.get(1)?,
                    })
                })?
                .collect::<Result<_, _>>()?;
            let history = connection
                .prepare_cached(
                    "SELECT at, user, what FROM
                     (SELECT * FROM history WHERE incident = ? ORDER BY id DESC LIMIT 500)
                     ORDER BY id",
                )?
                .query_map([&id], |row| {
                    Ok(HistoryLine {
                        at: Timestamp::from_nanos(row.get(0)?),
                        user: row.get(1)?,
                        what: row.get(2)?,
                    })
                })?
                .collect::<Result<_, _>>()?;
            Ok(Case {
                state: found.as_ref().map_or(CaseState::Open, |case| case.state),
                assignee: found.as_ref().and_then(|case| case.assignee.clone()),
                verdict: found.as_ref().and_then(|case| case.verdict),
                reason: found.and_then(|case| case.reason),
                comments,
                links,
                history,
            })
        })
    }

    /// Changes a case.
    ///
    /// # Errors
    /// When there is no such incident, or what is asked for cannot be.
    pub fn change_case(
        &self,
        actor: &Actor,
        id: &str,
        change: &CaseChange,
    ) -> Result<(), DatabaseError> {
        check(change.assignee.as_deref().unwrap_or_default(), NAME_MAX)?;
        check(change.reason.as_deref().unwrap_or_default(), TEXT_MAX)?;
        self.on_incident("change a case", id, |tx, id, alerts| {
            let failed = doing("change a case");
            let before = row(tx, id).map_err(&failed)?.unwrap_or(Row {
                state: CaseState::Open,
                assignee: None,
                verdict: None,
                reason: None,
                alerts_then: alerts,
            });
            let some = |text: &Option<String>, before: &Option<String>| match text {
                Some(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
                None => before.clone(),
            };
            let after = Row {
                state: change.state.unwrap_or(before.state),
                assignee: some(&change.assignee, &before.assignee),
                verdict: change.verdict.or(before.verdict),
                reason: some(&change.reason, &before.reason),
                alerts_then: alerts,
            };
            let said = difference(&before, &after);
            write(tx, id, &after, actor.at).map_err(&failed)?;
            if (before.state, before.verdict) != (after.state, after.verdict) {
                feedback::judged(tx, id, &after, actor.at).map_err(&failed)?;
            }
            for what in &said {
                remember(tx, id, actor.at, &actor.user, what).map_err(&failed)?;
            }
            audit::append(tx, actor, "case.changed", id, &said.join("; "))
        })
    }

    /// Adds a comment.
    ///
    /// # Errors
    /// When there is no such incident, or the comment is empty or too long.
    pub fn comment(&self, actor: &Actor, id: &str, text: &str) -> Result<(), DatabaseError> {
        check(text, TEXT_MAX)?;
        if text.trim().is_empty() {
            return Err(DatabaseError::Refused("the comment is empty".into()));
        }
        self.on_incident("add a comment", id, |tx, id, alerts| {
            let failed = doing("add a comment");
            let count: u64 = tx
                .query_row(
                    "SELECT COUNT(*) FROM comments WHERE incident = ?",
                    [id],
                    |row| row.get(0),
                )
                .map_err(&failed)?;
            if count >= COMMENTS_MAX {
                return Err(DatabaseError::Conflict(
                    "the incident has as many comments as it can".into(),
                ));
            }
            touch(tx, id, alerts, actor.at).map_err(&failed)?;
            tx.execute(
                "INSERT INTO comments (incident, at, user, text) VALUES (?, ?, ?, ?)",
                params![id, actor.at.as_nanos(), actor.user, text],
            )
            .and_then(|_| remember(tx, id, actor.at, &actor.user, "commented"))
            .map_err(&failed)?;
            audit::append(tx, actor, "case.commented", id, text)
        })
    }

    /// Ties an incident to another, both ways.
    ///
    /// # Errors
    /// When one of them is not there.
    pub fn link(
        &self,
        actor: &Actor,
        id: &str,
        other: &str,
        note: &str,
    ) -> Result<(), DatabaseError> {
        check(note, 1_000)?;
        self.on_incident("link incidents", id, |tx, id, alerts| {
            let failed = doing("link incidents");
            let other = incidents::resolved(tx, other).map_err(&failed)?;
            let others = alerts_of(tx, &other).map_err(&failed)?;
            let others = others.ok_or(DatabaseError::NotFound("incident to link to"))?;
            if other == id {
                return Err(DatabaseError::Conflict(
                    "an incident cannot be linked to itself".into(),
                ));
            }
            for (from, to, alerts) in [(id, other.as_str(), alerts), (&other, id, others)] {
                let count: u64 = tx
                    .query_row(
                        "SELECT COUNT(*) FROM links WHERE incident = ?",
                        [from],
                        |row| row.get(0),
                    )
                    .map_err(&failed)?;
                if count >= LINKS_MAX {
                    return Err(DatabaseError::Conflict(
                        "the incident has as many links as it can".into(),
                    ));
                }
                touch(tx, from, alerts, actor.at)
                    .and_then(|()| {
                        tx.execute(
                            "INSERT OR REPLACE INTO links VALUES (?, ?, ?)",
                            params![from, to, note],
                        )
                    })
                    .and_then(|_| {
                        remember(tx, from, actor.at, &actor.user, &format!("linked to {to}"))
                    })
                    .map_err(&failed)?;
            }
            audit::append(tx, actor, "case.linked", id, &format!("{other}: {note}"))
        })
    }

    fn on_incident(
        &self,
        what: &'static str,
        id: &str,
        change: impl FnOnce(&Transaction<'_>, &str, u64) -> Result<(), DatabaseError>,
    ) -> Result<(), DatabaseError> {
        self.change(what, |tx| {
            let id = incidents::resolved(tx, id).map_err(doing(what))?;
            let alerts = alerts_of(tx, &id).map_err(doing(what))?;
            change(tx, &id, alerts.ok_or(DatabaseError::NotFound("incident"))?)
        })
    }
}

fn alerts_of(tx: &Transaction<'_>, id: &str) -> Result<Option<u64>, rusqlite::Error> {
    tx.prepare_cached("SELECT alerts FROM incidents WHERE id = ?")?
        .query_row([id], |row| row.get(0))
        .optional()
}

/// Makes the case of an incident that had none, so that it is kept.
fn touch(
    tx: &Transaction<'_>,
    id: &str,
    alerts: u64,
    at: Timestamp,
) -> Result<(), rusqlite::Error> {
    tx.prepare_cached("INSERT OR IGNORE INTO cases VALUES (?, 'open', NULL, NULL, NULL, ?, ?)")?
        .execute(params![id, alerts, at.as_nanos()])
        .map(|_| ())
}

fn check(text: &str, chars_max: usize) -> Result<(), DatabaseError> {
    if super::is_short(text, chars_max) {
        return Ok(());
    }
    Err(DatabaseError::Refused(format!(
        "the text is longer than {chars_max} characters"
    )))
}

fn difference(before: &Row, after: &Row) -> Vec<String> {
    let word = |text: &Option<String>| text.clone().unwrap_or_else(|| "nobody".to_owned());
    let verdict = |verdict: Option<Verdict>| verdict.map_or("none", Verdict::as_str);
    let mut said = Vec::new();
    if before.state != after.state {
        said.push(format!(
            "state from {} to {}",
            before.state.as_str(),
            after.state.as_str()
        ));
    }
    if before.assignee != after.assignee {
        said.push(format!(
            "assignee from {} to {}",
            word(&before.assignee),
            word(&after.assignee)
        ));
    }
    if before.verdict != after.verdict {
        said.push(format!(
            "verdict from {} to {}",
            verdict(before.verdict),
            verdict(after.verdict)
        ));
    }
    if before.reason != after.reason {
        let reason = after.reason.clone().unwrap_or_default();
        said.push(format!("reason: {reason}"));
    }
    said
}
