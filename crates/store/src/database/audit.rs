//! The audit log: who changed what, from where, chained so that a later change shows.
//!
//! Each row carries `BLAKE3(hash of the row before ‖ its own fields)`. Triggers keep rows from being changed
//! or taken away by this program; whoever can write the file can do both, and [`Database::audit_state`] finds
//! it, unless all that follows was made anew. Against that the last hash has to be kept elsewhere
//! (`thymus audit verify` prints it).

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::Serialize;
use thymus_schema::Timestamp;
use utoipa::ToSchema;

use super::error::{DatabaseError, doing};
use super::{Actor, Database, Page};

const HEAD: &str = "audit_head";
const DETAIL_MAX: usize = 4_000;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AuditEntry {
    /// Its number, counted from 1.
    pub seq: u64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who.
    pub user: String,
    /// From which address; empty on the command line.
    pub address: String,
    /// What, such as `case.changed`.
    pub action: String,
    /// To what.
    pub target: String,
    /// From what to what.
    pub detail: String,
    /// The hash that chains it, hex.
    pub hash: String,
}

/// Whether the log is as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AuditState {
    /// Whether every hash is right and nothing is missing.
    pub is_intact: bool,
    /// Entries looked at.
    pub entries: u64,
    /// The hash of the last one, hex; empty when there is none.
    pub head: String,
    /// The first entry that is not as it was written.
    pub broken_at: Option<u64>,
}

/// Adds an entry in the transaction of the change itself.
pub(super) fn append(
    tx: &Transaction<'_>,
    actor: &Actor,
    action: &str,
    target: &str,
    detail: &str,
) -> Result<(), DatabaseError> {
    let failed = doing("write the audit log");
    let (seq, before) = last(tx).map_err(&failed)?.unwrap_or_default();
    let cut = detail.floor_char_boundary(DETAIL_MAX);
    let entry = AuditEntry {
        seq: seq + 1,
        at: actor.at,
        user: actor.user.clone(),
        address: actor.address.clone(),
        action: action.to_owned(),
        target: target.to_owned(),
        detail: detail.get(..cut).unwrap_or_default().to_owned(),
        hash: String::new(),
    };
    let hash = entry.chained(&before);
    tx.prepare_cached("INSERT INTO audit VALUES (?,?,?,?,?,?,?,?)")
        .and_then(|mut insert| {
            insert.execute(params![
                entry.seq,
                entry.at.as_nanos(),
                entry.user,
                entry.address,
                entry.action,
                entry.target,
                entry.detail,
                hash.as_slice(),
            ])
        })
        .and_then(|_| {
            tx.execute(
                "INSERT OR REPLACE INTO settings VALUES (?, ?)",
                params![HEAD, entry.seq.to_string()],
            )
        })
        .map_err(&failed)?;
    Ok(())
}

fn last(connection: &Connection) -> Result<Option<(u64, Vec<u8>)>, rusqlite::Error> {
    connection
        .query_row(
            "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
}

impl AuditEntry {
    fn chained(&self, before: &[u8]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        let (seq, at) = (self.seq.to_le_bytes(), self.at.as_nanos().to_le_bytes());
        let fields: [&[u8]; 8] = [
            before,
            &seq,
            &at,
            self.user.as_bytes(),
            self.address.as_bytes(),
            self.action.as_bytes(),
            self.target.as_bytes(),
            self.detail.as_bytes(),
        ];
        for field in fields {
            hasher.update(&(field.len() as u64).to_le_bytes());
            hasher.update(field);
        }
        *hasher.finalize().as_bytes()
    }

    fn of(row: &rusqlite::Row<'_>) -> Result<(Self, Vec<u8>), rusqlite::Error> {
        let hash: Vec<u8> = row.get(7)?;
        let entry = Self {
            seq: row.get(0)?,
            at: Timestamp::from_nanos(row.get(1)?),
            user: row.get(2)?,
            address: row.get(3)?,
            action: row.get(4)?,
            target: row.get(5)?,
            detail: row.get(6)?,
            hash: hex(&hash),
        };
        Ok((entry, hash))
    }
}

impl Database {
    /// Notes something that changed nothing here, such as a login or a download.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note(
        &self,
        actor: &Actor,
        action: &str,
        target: &str,
        detail: &str,
    ) -> Result<(), DatabaseError> {
        self.change("write the audit log", |tx| {
            append(tx, actor, action, target, detail)
        })
    }

    /// The log, newest first, from before the entry `before` on.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn audit(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Page<AuditEntry>, DatabaseError> {
        self.read("read the audit log", |connection| {
            let before = before.and_then(|n| i64::try_from(n).ok());
            let items: Vec<AuditEntry> = connection
                .prepare_cached("SELECT * FROM audit WHERE seq < ? ORDER BY seq DESC LIMIT ?")?
                .query_map(params![before.unwrap_or(i64::MAX), limit], |row| {
                    Ok(AuditEntry::of(row)?.0)
                })?
                .collect::<Result<_, _>>()?;
            let total = connection.query_row("SELECT COUNT(*) FROM audit", [], |row| row.get(0))?;
            let next = items.last().map(|last| last.seq).filter(|seq| *seq > 1);
            Ok(Page {
                next_cursor: next
                    .filter(|_| items.len() == limit)
                    .map(|seq| seq.to_string()),
                items,
                total,
            })
        })
    }

    /// Walks the whole log and says whether it is as it was written.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn audit_state(&self) -> Result<AuditState, DatabaseError> {
        self.read("read the audit log", |connection| {
            let mut state = AuditState {
                is_intact: true,
                entries: 0,
                head: String::new(),
                broken_at: None,
            };
            let mut before: Vec<u8> = Vec::new();
            let mut query = connection.prepare("SELECT * FROM audit ORDER BY seq")?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                let (entry, hash) = AuditEntry::of(row)?;
                state.entries += 1;
                let is_right = entry.seq == state.entries && entry.chained(&before)[..] == hash[..];
                if !is_right && state.broken_at.is_none() {
                    state.broken_at = Some(state.entries);
                }
                before = hash;
            }
            state.head = hex(&before);
            let promised: Option<String> = connection
                .query_row("SELECT value FROM settings WHERE key = ?", [HEAD], |row| {
                    row.get(0)
                })
                .optional()?;
            let promised: u64 = promised.and_then(|seq| seq.parse().ok()).unwrap_or(0);
            if promised > state.entries && state.broken_at.is_none() {
                state.broken_at = Some(state.entries + 1);
            }
            state.is_intact = state.broken_at.is_none();
            Ok(state)
        })
    }
}

/// Bytes as lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a string cannot fail.
        let _written = write!(out, "{byte:02x}");
        out
    })
}
