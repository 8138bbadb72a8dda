//! What a bouncer has to be told: the difference between what should hold and what it was told.
//!
//! The protocol has no receipts, so an answer counts as heard when the next question comes by the same connection,
//! which a client uses again only after it has read all; or when it was told three times. What was told is written
//! down before the answer goes out: an answer that is lost, because the line or this program broke, is told again.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{OptionalExtension, Transaction, params};
use thymus_schema::Timestamp;

use super::super::Database;
use super::super::error::{DatabaseError, doing};
use super::short;

/// Answers after which something counts as heard.
const SURE: u32 = 3;
/// Addresses that ask with one key, and are remembered.
const ADDRESSES_MAX: usize = 64;
/// How stale the note of the last pull may be, so that asking does not write.
const NOTED_EVERY: std::time::Duration = std::time::Duration::from_mins(1);

/// An address or a network that bouncers are to ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// The address, or the network with its length.
    pub value: String,
    /// A number of its own.
    pub id: u64,
    /// What it is about, in a word.
    pub scenario: String,
    /// Until when.
    pub until: Timestamp,
}

/// Who asks for what changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull<'a> {
    /// The bouncer.
    pub bouncer: &'a str,
    /// The address of the client.
    pub address: &'a str,
    /// Its end of the connection, with the port.
    pub asked_from: &'a str,
    /// Name and version of the program.
    pub agent: &'a str,
    /// Whether it has just started, and holds nothing.
    pub startup: bool,
    /// When.
    pub at: Timestamp,
}

/// What changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// To be banned from now on.
    pub new: Vec<Ban>,
    /// Not to be banned any more.
    pub deleted: Vec<Ban>,
}

/// What a bouncer was told of a ban.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    ban: Ban,
    /// When a bouncer that heard only of the first `until` lets it go by itself.
    drops_at: Timestamp,
    held: bool,
    answers: u32,
}

/// What is known of who asks.
#[derive(Clone, Debug, Default)]
struct Position {
    asked_from: Option<String>,
    agent: String,
    last_pull: Option<Timestamp>,
    told: BTreeMap<String, Told>,
}

impl Database {
    /// What a bouncer has to be told so that it bans all of `wanted` and nothing else. Where it cannot be written
    /// down that it was told, it is told again the next time.
    ///
    /// # Errors
    /// When what it was told before cannot be read.
    pub fn pull(&self, pull: &Pull<'_>, wanted: &[Ban]) -> Result<Delta, DatabaseError> {
        let before = self.read("read what a bouncer was told", |connection| {
            position(connection, pull)
        })?;
        let (delta, after) = told(&before, pull, wanted);
        let is_fresh = before
            .last_pull
            .is_some_and(|last| last <= pull.at && pull.at.since(last) < NOTED_EVERY);
        // While everything was heard, it does not matter by which connection.
        let is_same = after == before.told
            && before.agent == short(pull.agent)
            && (is_fresh && after.values().all(Told::is_heard));
        if !is_same {
            // A full disk must not keep a bouncer from hearing what is to be banned.
            let _is_noted = self
                .change("note what a bouncer was told", |tx| {
                    note(tx, pull, &before.told, &after)
                        .map_err(doing("note what a bouncer was told"))
                })
                .is_ok();
        }
        Ok(delta)
    }
}

impl Told {
    fn is_heard(&self) -> bool {
        self.answers >= SURE
    }
}

fn position(
    connection: &rusqlite::Connection,
    pull: &Pull<'_>,
) -> Result<Position, rusqlite::Error> {
    let known = connection
        .prepare_cached(
            "SELECT asked_from, agent, last_pull FROM bouncer_pulls WHERE bouncer = ? AND address = ?",
        )?
        .query_row([pull.bouncer, pull.address], |row| {
            Ok(Position {
                asked_from: Some(row.get(0)?),
                agent: row.get(1)?,
                last_pull: Some(Timestamp::from_nanos(row.get(2)?)),
                told: BTreeMap::new(),
            })
        })
        .optional()?;
    let is_known = known.is_some();
    let mut position = known.unwrap_or_default();
    // One that moved holds what it was told at another address.
    let mut query = connection.prepare_cached(
        "SELECT value, id, scenario, until, drops_at, held, answers FROM bouncer_told
            WHERE bouncer = ?1 AND (address = ?2 OR NOT ?3)",
    )?;
    let mut rows = query.query(params![pull.bouncer, pull.address, is_known])?;
    while let Some(row) = rows.next()? {
        let told = Told {
            ban: Ban {
                value: row.get(0)?,
                id: row.get(1)?,
                scenario: row.get(2)?,
                until: Timestamp::from_nanos(row.get(3)?),
            },
            drops_at: Timestamp::from_nanos(row.get(4)?),
            held: row.get(5)?,
            answers: if is_known { row.get(6)? } else { 0 },
        };
        position.told.insert(told.ban.value.clone(), told);
    }
    Ok(position)
}

/// What to tell, and what was told then.
fn told(before: &Position, pull: &Pull<'_>, wanted: &[Ban]) -> (Delta, BTreeMap<String, Told>) {
    let was_heard = !pull.startup && before.asked_from.as_deref() == Some(pull.asked_from);
    let (mut delta, mut after) = (Delta::default(), BTreeMap::new());
    for ban in longest(wanted).into_values() {
        let known = before.told.get(&ban.value).filter(|told| told.held);
        let known = known.filter(|told| !pull.startup && told.drops_at > pull.at);
        let told = match known {
            None => Told {
                drops_at: ban.until,
                ban: ban.clone(),
                held: true,
                answers: 1,
            },
            Some(told) if told.ban.until != ban.until || told.ban.id != ban.id => Told {
                // Some keep their own time and do not hear of another one: it is told again when theirs is over.
                drops_at: told.drops_at.min(ban.until),
                ban: ban.clone(),
                held: true,
                answers: 1,
            },
            Some(told) if told.is_heard() || was_heard => {
                let answers = SURE;
                after.insert(
                    ban.value.clone(),
                    Told {
                        answers,
                        ..told.clone()
                    },
                );
                continue;
            }
            Some(told) => Told {
                answers: told.answers + 1,
                ..told.clone()
            },
        };
        after.insert(ban.value.clone(), told);
        delta.new.push(ban.clone());
    }
    for (value, told) in &before.told {
        if after.contains_key(value) || (!told.held && (told.is_heard() || was_heard)) {
            continue;
        }
        let answers = if told.held { 1 } else { told.answers + 1 };
        let gone = Told {
            held: false,
            answers,
            ..told.clone()
        };
        delta.deleted.push(told.ban.clone());
        after.insert(value.clone(), gone);
    }
    (delta, after)
}

/// One ban for each value: the one that holds longest.
fn longest(wanted: &[Ban]) -> BTreeMap<&str, &Ban> {
    let mut longest: BTreeMap<&str, &Ban> = BTreeMap::new();
    for ban in wanted {
        let kept = longest.entry(&ban.value).or_insert(ban);
        if (ban.until, ban.id) > (kept.until, kept.id) {
            *kept = ban;
        }
    }
    longest
}

fn note(
    tx: &Transaction<'_>,
    pull: &Pull<'_>,
    before: &BTreeMap<String, Told>,
    after: &BTreeMap<String, Told>,
) -> Result<(), rusqlite::Error> {
    let is_new = tx.execute(
        "UPDATE bouncer_pulls SET agent = ?3, asked_from = ?4, last_pull = ?5
            WHERE bouncer = ?1 AND address = ?2",
        params![
            pull.bouncer,
            pull.address,
            short(pull.agent),
            pull.asked_from,
            pull.at.as_nanos()
        ],
    )? == 0;
    if is_new {
        // None is made for a bouncer that was removed meanwhile.
        let made = tx.execute(
            "INSERT INTO bouncer_pulls SELECT name, ?2, ?3, ?4, ?5 FROM bouncers WHERE name = ?1",
            params![
                pull.bouncer,
                pull.address,
                short(pull.agent),
                pull.asked_from,
                pull.at.as_nanos()
            ],
        )?;
        if made == 0 {
            return Ok(());
        }
        forget(tx, pull.bouncer)?;
    }
    let mut gone = tx.prepare_cached(
        "DELETE FROM bouncer_told WHERE bouncer = ? AND address = ? AND value = ?",
    )?;
    let left: BTreeSet<&String> = after.keys().collect();
    for value in before.keys().filter(|value| !left.contains(value)) {
        gone.execute(params![pull.bouncer, pull.address, value])?;
    }
    let mut put = tx
        .prepare_cached("INSERT OR REPLACE INTO bouncer_told VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
    for (value, told) in after {
        if !is_new && before.get(value) == Some(told) {
            continue;
        }
        put.execute(params![
            pull.bouncer,
            pull.address,
            value,
            told.ban.id,
            told.ban.scenario,
            told.ban.until.as_nanos(),
            told.drops_at.as_nanos(),
            told.held,
            told.answers
        ])?;
    }
    Ok(())
}

/// Forgets the addresses that did not ask for longest, where there are too many.
fn forget(tx: &Transaction<'_>, bouncer: &str) -> Result<(), rusqlite::Error> {
    let kept =
        "SELECT address FROM bouncer_pulls WHERE bouncer = ?1 ORDER BY last_pull DESC LIMIT ?2";
    for table in ["bouncer_told", "bouncer_pulls"] {
        tx.execute(
            &format!("DELETE FROM {table} WHERE bouncer = ?1 AND address NOT IN ({kept})"),
            params![bouncer, ADDRESSES_MAX],
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Actor, Limits};

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(1_800_000_000 + secs)
    }

    fn ban(value: &str, id: u64, until: i64) -> Ban {
        Ban {
            value: value.to_owned(),
            id,
            scenario: "thymus/quarantine".to_owned(),
            until: at(until),
        }
    }

    struct Site {
        _dir: tempfile::TempDir,
        database: Database,
    }

    impl Site {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let database = Database::open(dir.path(), Limits::default(), at(0)).unwrap();
            let actor = Actor {
                user: "test".into(),
                address: String::new(),
                at: at(0),
            };
            database.add_bouncer(&actor, "edge").unwrap();
            Self {
                _dir: dir,
                database,
            }
        }

        /// Values new and deleted.
        fn pull(&self, from: &str, secs: i64, wanted: &[Ban]) -> (Vec<String>, Vec<String>) {
            self.ask(from, secs, false, wanted)
        }

        fn ask(
            &self,
            from: &str,
            secs: i64,
            startup: bool,
            wanted: &[Ban],
        ) -> (Vec<String>, Vec<String>) {
            let (address, _) = from.split_once(':').unwrap();
            let pull = Pull {
                bouncer: "edge",
                address,
                asked_from: from,
                agent: "test/1",
                startup,
                at: at(secs),
            };
            let delta = self.database.pull(&pull, wanted).unwrap();
            let values = |bans: Vec<Ban>| bans.into_iter().map(|ban| ban.value).collect();
            (values(delta.new), values(delta.deleted))
        }
    }

    fn of<const N: usize>(values: [&str; N]) -> Vec<String> {
        values.map(str::to_owned).to_vec()
    }

    #[test]
    fn by_one_connection_each_change_is_told_once() {
        let site = Site::new();
        let (one, two) = (ban("10.0.0.1", 1, 100), ban("10.0.0.2", 2, 100));
        assert_eq!(
            site.ask("192.0.2.1:1000", 1, true, std::slice::from_ref(&one)),
            (of(["10.0.0.1"]), of([]))
        );
        let both = [one, two.clone()];
        assert_eq!(
            site.pull("192.0.2.1:1000", 2, &both),
            (of(["10.0.0.2"]), of([]))
        );
        assert_eq!(site.pull("192.0.2.1:1000", 3, &both), (of([]), of([])));
        assert_eq!(
            site.pull("192.0.2.1:1000", 4, &[two]),
            (of([]), of(["10.0.0.1"]))
        );
        assert_eq!(
            site.pull("192.0.2.1:1000", 5, &[]),
            (of([]), of(["10.0.0.2"]))
        );
        assert_eq!(site.pull("192.0.2.1:1000", 6, &[]), (of([]), of([])));
    }

    #[test]
    fn an_answer_that_may_be_lost_is_told_again_and_not_for_ever() {
        let site = Site::new();
        let one = [ban("10.0.0.1", 1, 100)];
        for (port, told) in [(1, true), (2, true), (3, true), (4, false)] {
            let (new, _) = site.pull(&format!("192.0.2.1:{port}"), port, &one);
            assert_eq!(!new.is_empty(), told, "{port}");
        }
        for (port, told) in [(5, true), (6, true), (7, true), (8, false)] {
            let (new, deleted) = site.pull(&format!("192.0.2.1:{port}"), port, &[]);
            assert_eq!((new.len(), !deleted.is_empty()), (0, told), "{port}");
        }
    }

    #[test]
    fn who_starts_gets_everything_and_what_is_gone() {
        let site = Site::new();
        let both = [ban("10.0.0.1", 1, 100), ban("10.0.0.2", 2, 100)];
        site.ask("192.0.2.1:1", 1, true, &both);
        site.pull("192.0.2.1:1", 2, &both);
        assert_eq!(
            site.ask("192.0.2.1:1", 3, true, &both[..1]),
            (of(["10.0.0.1"]), of(["10.0.0.2"]))
        );
    }

    #[test]
    fn two_that_share_a_key_and_one_that_moves_miss_nothing() {
        let site = Site::new();
        let one = [ban("10.0.0.1", 1, 100)];
        site.ask("192.0.2.1:1", 1, true, &one);
        site.pull("192.0.2.1:1", 2, &one);
        assert_eq!(site.ask("192.0.2.2:1", 3, true, &one).0, of(["10.0.0.1"]));
        assert_eq!(site.pull("192.0.2.2:1", 4, &[]).1, of(["10.0.0.1"]));
        assert_eq!(site.pull("192.0.2.1:1", 4, &[]).1, of(["10.0.0.1"]));
        // It moved before it could hear that the ban is over.
        let site = Site::new();
        site.ask("192.0.2.1:1", 1, true, &one);
        site.pull("192.0.2.1:1", 2, &one);
        assert_eq!(site.pull("192.0.2.3:1", 3, &[]).1, of(["10.0.0.1"]));
        assert_eq!(site.pull("192.0.2.3:1", 4, &[]), (of([]), of([])));
    }

    #[test]
    fn a_ban_that_holds_longer_is_told_when_it_is_known_and_when_the_old_time_is_over() {
        let site = Site::new();
        site.ask("192.0.2.1:1", 1, true, &[ban("10.0.0.1", 1, 10)]);
        let longer = [ban("10.0.0.1", 1, 100)];
        assert_eq!(site.pull("192.0.2.1:1", 2, &longer).0, of(["10.0.0.1"]));
        assert_eq!(site.pull("192.0.2.1:1", 3, &longer).0, of([]));
        assert_eq!(site.pull("192.0.2.1:1", 11, &longer).0, of(["10.0.0.1"]));
        assert_eq!(site.pull("192.0.2.1:1", 12, &longer).0, of([]));
    }

    #[test]
    fn two_decisions_about_one_address_are_one_ban_that_ends_with_the_last() {
        let site = Site::new();
        let two = [ban("10.0.0.1", 1, 100), ban("10.0.0.1", 2, 50)];
        assert_eq!(site.ask("192.0.2.1:1", 1, true, &two).0.len(), 1);
        let (new, deleted) = site.pull("192.0.2.1:1", 2, &two[1..]);
        assert_eq!(
            (new.len(), deleted.len()),
            (1, 0),
            "it holds for less long now"
        );
        assert_eq!(site.pull("192.0.2.1:1", 3, &[]).1, of(["10.0.0.1"]));
    }

    #[test]
    fn keys_are_known_by_their_digest_until_they_are_removed() {
        let site = Site::new();
        let actor = Actor {
            user: "test".into(),
            address: String::new(),
            at: at(1),
        };
        let key = site.database.add_bouncer(&actor, "other").unwrap();
        assert!(site.database.add_bouncer(&actor, "other").is_err());
        assert_eq!(site.database.bouncer_of(&key).unwrap().unwrap(), "other");
        assert_eq!(site.database.bouncer_of("").unwrap(), None);
        site.ask("192.0.2.1:1", 1, true, &[ban("10.0.0.1", 1, 100)]);
        let all = site.database.bouncers().unwrap();
        assert_eq!(all[0].pulls[0].held, 1);
        assert_eq!(all[0].pulls[0].agent, "test/1");
        site.database.remove_bouncer(&actor, "other").unwrap();
        site.database.remove_bouncer(&actor, "edge").unwrap();
        assert!(site.database.bouncer_of(&key).unwrap().is_none());
        assert!(site.database.remove_bouncer(&actor, "edge").is_err());
        assert!(site.database.audit_state().unwrap().is_intact);
        for n in 0..40_i64 {
            let address = format!("192.0.2.{n}");
            site.database
                .note_stranger(&address, "a\u{1b}b", at(n))
                .unwrap();
        }
        let strangers = site.database.bouncer_strangers().unwrap();
        assert_eq!((strangers.len(), strangers[0].agent.as_str()), (32, "ab"));
    }
}
