//! Forgetting by age. What nobody touched for a season is no guide to what is normal now, and
//! addresses come and go: without it every memory would fill up to its bound over the years.
//!
//! Age is counted in days of event time, and only in days that are beyond doubt: a single event from
//! a machine with a broken clock must not make a sensor forget everything. Must not: count what went
//! by age as dropped for want of room, which is a sign of tables that are too small.

use std::collections::VecDeque;

use thymus_schema::{SnapshotError, SnapshotReader, SnapshotWriter, Timestamp};

/// Days without a touch after which something is forgotten: a season, so that what is done once a
/// month or once a quarter is still known the next time.
pub(crate) const DAYS_KEPT: i64 = 92;

/// A bounded memory that forgets by age.
pub trait Memory {
    /// A day may be over with what was touched so far; [`Memory::pass`] will tell.
    fn mark(&mut self);

    /// So many days have passed up to the last mark: what was not touched for a season goes, and its
    /// room is given back.
    fn pass(&mut self, days: i64);

    /// How many entries were forgotten, or not taken in, for want of room.
    fn dropped(&self) -> u64;
}

/// Makes a type that only holds such memories one of them: every call goes to all its fields.
macro_rules! holds_memories {
    ($type:ty: $($field:tt),+) => {
        impl $crate::memory::Memory for $type {
            fn mark(&mut self) {
                $($crate::memory::Memory::mark(&mut self.$field);)+
            }

            fn pass(&mut self, days: i64) {
                $($crate::memory::Memory::pass(&mut self.$field, days);)+
            }

            fn dropped(&self) -> u64 {
                let dropped = [$($crate::memory::Memory::dropped(&self.$field)),+];
                dropped.iter().sum()
            }
        }
    };
}
pub(crate) use holds_memories;

/// What day something was touched on, from a count of touches alone: a touch costs no look at a
/// calendar, and entries need no time stamp beside the count by which the oldest is found.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ages {
    /// Touches so far.
    pub(crate) clock: u64,
    /// The clock when a day may have ended.
    marked: u64,
    /// Days that have passed.
    pub(crate) day: i64,
    /// Ends of days, oldest first, with the clock then: what was touched no later is as old.
    ends: VecDeque<(i64, u64)>,
}

impl Ages {
    /// Counts a touch.
    pub(crate) fn touch(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// As [`Memory::mark`].
    pub(crate) fn mark(&mut self) {
        self.marked = self.clock;
    }

    /// As [`Memory::pass`]; gives the touch up to which all is to be forgotten.
    pub(crate) fn pass(&mut self, days: i64) -> Option<u64> {
        if self.ends.back().is_none_or(|end| end.1 < self.marked) {
            self.ends.push_back((self.day, self.marked));
        }
        self.day += days;
        let old = |end: &(i64, u64)| self.day - end.0 > DAYS_KEPT;
        let gone = self.ends.partition_point(old);
        self.ends.drain(..gone).next_back().map(|end| end.1)
    }

    /// Writes it for entries that are renumbered: `renumber` gives the clock after a touch.
    pub(crate) fn write(&self, out: &mut SnapshotWriter, renumber: impl Fn(u64) -> u64) {
        out.u64(renumber(self.clock)).u64(renumber(self.marked));
        out.i64(self.day).u64(self.ends.len() as u64);
        for (day, clock) in &self.ends {
            out.i64(*day).u64(renumber(*clock));
        }
    }

    pub(crate) fn read(from: &mut SnapshotReader<'_>) -> Result<Self, SnapshotError> {
        let (clock, marked, day) = (from.u64()?, from.u64()?, from.i64()?);
        let ends: Result<_, SnapshotError> = (0..from.count(16)?)
            .map(|_| Ok((from.i64()?, from.u64()?)))
            .collect();
        Ok(Self {
            clock,
            marked,
            day,
            ends: ends?,
        })
    }
}

/// What an event tells of the days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It is of today, or one more of a day that may have come.
    None,
    /// It is the first of a day that may have come.
    Doubt,
    /// With it so many days have passed for sure.
    Days(i64),
}

/// Tells when days have passed.
///
/// A day has come when so many events in a row were no earlier; in the same way events that are all
/// earlier turn it back, so that a stretch of wrong clocks does not stop the forgetting for years.
/// Days are counted forwards only.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calendar {
    today: Option<i64>,
    /// Events in a row that were of another day than today, and the day nearest to it.
    others: u32,
    nearest: i64,
}

impl Calendar {
    /// Events in a row that make a day.
    const EVENTS: u32 = 200;

    /// Takes in an event.
    pub(crate) fn note(&mut self, ts: Timestamp) -> Turn {
        let day = ts.day();
        let today = *self.today.get_or_insert(day);
        if day == today {
            self.others = 0;
            return Turn::None;
        }
        if self.others == 0 || (day > today) != (self.nearest > today) {
            (self.others, self.nearest) = (1, day);
            return Turn::Doubt;
        }
        self.others += 1;
        if day.abs_diff(today) < self.nearest.abs_diff(today) {
            self.nearest = day;
        }
        if self.others < Self::EVENTS {
            return Turn::None;
        }
        self.today = Some(self.nearest);
        self.others = 0;
        match self.nearest - today {
            days @ 1.. => Turn::Days(days),
            _ => Turn::None,
        }
    }

    /// The day it is, beyond doubt.
    pub(crate) fn today(&self) -> i64 {
        self.today.unwrap_or(i64::MIN)
    }

    pub(crate) fn snapshot(&self, out: &mut SnapshotWriter) {
        out.i64(self.today.unwrap_or(i64::MIN))
            .u64(u64::from(self.others))
            .i64(self.nearest);
    }

    pub(crate) fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        let today = from.i64()?;
        self.today = (today != i64::MIN).then_some(today);
        self.others = from.u64()?.min(u64::from(Self::EVENTS)) as u32;
        self.nearest = from.i64()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(calendar: &mut Calendar, day: i64, events: u32) -> i64 {
        let ts = Timestamp::from_secs(day * 86_400 + 7);
        (0..events)
            .map(|_| match calendar.note(ts) {
                Turn::Days(days) => days,
                Turn::None | Turn::Doubt => 0,
            })
            .sum()
    }

    #[test]
    fn a_few_wild_times_make_no_day() {
        let mut calendar = Calendar::default();
        feed(&mut calendar, 17_000, 1);
        for _ in 0..50 {
            let days = [24_855, 0, 24_855, 17_000].map(|day| feed(&mut calendar, day, 90));
            assert_eq!(days, [0; 4]);
        }
        // The wild one in the middle does not make it another day than it is.
        assert_eq!(feed(&mut calendar, 17_001, 150), 0);
        assert_eq!(feed(&mut calendar, 24_855, 1), 0);
        assert_eq!(feed(&mut calendar, 17_001, Calendar::EVENTS), 1);
    }

    #[test]
    fn days_pass_on_after_a_stretch_of_wrong_clocks() {
        let mut calendar = Calendar::default();
        feed(&mut calendar, 17_000, 1);
        assert_eq!(feed(&mut calendar, 24_855, Calendar::EVENTS), 7_855);
        assert_eq!(feed(&mut calendar, 17_002, Calendar::EVENTS), 0);
        assert_eq!(feed(&mut calendar, 17_003, Calendar::EVENTS), 1);
    }
}
