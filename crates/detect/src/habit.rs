//! What is ordinary here: on how many earlier days something was done, and how many do it.
//!
//! Innate detectors know what attacks look like; administrators, backup jobs and synchronisation
//! services look the same, every day. What was done on earlier days is worth less suspicion for each
//! of them.

use thymus_schema::{SnapshotError, SnapshotReader, SnapshotWriter, Timestamp};

use crate::memory::holds_memories;
use crate::table::Table;

#[derive(Clone, Copy, Debug, Default)]
struct Days {
    last: i64,
    earlier: u32,
}

/// On how many earlier days something was done.
#[derive(Debug)]
pub(crate) struct Habits(Table<u64, Days>);

impl Habits {
    /// Remembers at most `max` things.
    pub(crate) fn new(max: usize) -> Self {
        Self(Table::new(max))
    }

    /// Notes that the thing was done now; on how many earlier days it was.
    pub(crate) fn note(&mut self, key: u64, now: Timestamp) -> f64 {
        let today = now.day();
        let days = self.0.entry(key, || Days {
            last: today,
            earlier: 0,
        });
        if today > days.last {
            days.earlier += 1;
            days.last = today;
        }
        f64::from(days.earlier)
    }

    /// Whether it was ever done.
    pub(crate) fn knows(&self, key: u64) -> bool {
        self.0.get(&key).is_some()
    }

    /// What a habit of that many days takes off a score.
    pub(crate) fn relief(days: f64) -> f64 {
        1.2 * (1.0 + days).log2()
    }

    pub(crate) fn snapshot(&self, out: &mut SnapshotWriter) {
        self.0.write(
            out,
            |_, _| true,
            |out, key, days| {
                out.u64(key).i64(days.last).u64(u64::from(days.earlier));
            },
        );
    }

    /// Reads what [`Habits::snapshot`] wrote into a memory of at most `max` things.
    pub(crate) fn restore(
        max: usize,
        from: &mut SnapshotReader<'_>,
    ) -> Result<Self, SnapshotError> {
        let read = |from: &mut SnapshotReader<'_>| {
            let key = from.u64()?;
            let days = Days {
                last: from.i64()?,
                earlier: from.u64()? as u32,
            };
            Ok((key, days))
        };
        Table::read(max, from, 24, read).map(Self)
    }
}

/// How many different ones do a thing, up to a bound beyond which it is common anyway.
#[derive(Debug)]
pub(crate) struct Popularity(Table<u64, Vec<u64>>);

impl Popularity {
    const USERS_MAX: usize = 16;

    /// Remembers at most `max` things.
    pub(crate) fn new(max: usize) -> Self {
        Self(Table::new(max))
    }

    /// Notes that `user` did it; how many did so far.
    pub(crate) fn note(&mut self, key: u64, user: u64) -> usize {
        let users = self.0.entry(key, Vec::new);
        if users.len() < Self::USERS_MAX && !users.contains(&user) {
            users.push(user);
        }
        users.len()
    }

    /// How many did so far.
    pub(crate) fn users(&self, key: u64) -> usize {
        self.0.get(&key).map_or(0, Vec::len)
    }

    pub(crate) fn snapshot(&self, out: &mut SnapshotWriter) {
        self.0.write(
            out,
            |_, _| true,
            |out, key, users| {
                out.u64(key).u64(users.len() as u64);
                for user in users {
                    out.u64(*user);
                }
            },
        );
    }

    /// Reads what [`Popularity::snapshot`] wrote into a memory of at most `max` things.
    pub(crate) fn restore(
        max: usize,
        from: &mut SnapshotReader<'_>,
    ) -> Result<Self, SnapshotError> {
        let read = |from: &mut SnapshotReader<'_>| {
            let key = from.u64()?;
            let users: Result<_, SnapshotError> = (0..from.count(8)?).map(|_| from.u64()).collect();
            Ok((key, users?))
        };
        Table::read(max, from, 16, read).map(Self)
    }
}

/// How ordinary a thing is: how many ever did it, and on how many days it was done.
#[derive(Debug)]
pub(crate) struct Ordinary {
    pub(crate) users: Popularity,
    pub(crate) habits: Habits,
    max: usize,
}

impl Ordinary {
    /// Remembers at most `max` things.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            users: Popularity::new(max),
            habits: Habits::new(max),
            max,
        }
    }

    /// Notes that `who` did `thing` now: how many did so far, and on how many earlier days.
    pub(crate) fn note(&mut self, thing: u64, who: u64, now: Timestamp) -> (f64, f64) {
        let users = self.users.note(thing, who) as f64;
        (users, self.habits.note(thing, now))
    }

    pub(crate) fn snapshot(&self, out: &mut SnapshotWriter) {
        self.users.snapshot(out);
        self.habits.snapshot(out);
    }

    /// Reads what [`Ordinary::snapshot`] wrote; on an error nothing changes.
    pub(crate) fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        let users = Popularity::restore(self.max, from)?;
        self.habits = Habits::restore(self.max, from)?;
        self.users = users;
        Ok(())
    }
}

holds_memories!(Habits: 0);

holds_memories!(Popularity: 0);

holds_memories!(Ordinary: users, habits);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_habit_counts_earlier_days_and_outlives_a_snapshot() {
        let day = |n: i64| Timestamp::from_secs(n * 86_400);
        let mut habits = Habits::new(16);
        assert_eq!(habits.note(7, day(1)), 0.0);
        assert_eq!(habits.note(7, day(1)), 0.0);
        assert_eq!(habits.note(7, day(2)), 1.0);
        let mut out = SnapshotWriter::new();
        out.section("habits", 1);
        habits.snapshot(&mut out);
        let sections = out.finish();
        let mut from = SnapshotReader::open("habits", &sections["habits"], 1).unwrap();
        let mut again = Habits::restore(16, &mut from).unwrap();
        assert_eq!(again.note(7, day(5)), 2.0);
        assert!(!again.knows(8));
    }

    #[test]
    fn popularity_counts_users_once() {
        let mut popularity = Popularity::new(16);
        assert_eq!(popularity.note(1, 5), 1);
        assert_eq!(popularity.note(1, 5), 1);
        assert_eq!(popularity.note(1, 6), 2);
        assert_eq!(popularity.users(2), 0);
    }
}
