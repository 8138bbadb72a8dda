//! How well a pattern of life holds on days that it has not seen.
//!
//! What a device has done is by definition inside its own past, so a rehearsal over that past says nothing about
//! enforcing it. Here each day is held against what was known when it began, which is what the next day will meet.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use thymus_schema::Timestamp;

use super::{DAY_NANOS, DAYS, FlowBook, NAMED_MAX, Pattern, day_of, habits, index};
use crate::cut::{Cut, Habit, Talk, host};

/// Conversations held against a pattern of life that was learned before them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LifeTest {
    /// Days that were held against the days before them.
    pub days: u32,
    /// Conversations on these days.
    pub flows: u64,
    /// Of them, those that enforcing would have cut.
    pub cut: u64,
    /// The patterns of these, the most frequent first; of a rehearsal the first twenty.
    pub named: Vec<(Talk, u64)>,
}

impl LifeTest {
    /// Share of the conversations that would have been cut.
    pub fn share(&self) -> f64 {
        self.cut as f64 / self.flows.max(1) as f64
    }

    /// As a sentence; nothing where no day could be held against one before it.
    pub fn sentence(&self) -> Option<String> {
        let Self { flows, cut, .. } = self;
        let days = match self.days {
            0 => return None,
            1 => "The last day, held against what was known when it began".to_owned(),
            days => {
                format!("Each of the last {days} days, held against what was known when it began")
            }
        };
        Some(format!(
            "{days}: {cut} of {flows} conversations were new and would have been cut."
        ))
    }

    fn count(&mut self, talk: Talk, flows: u64, is_cut: bool) {
        self.flows += flows;
        if is_cut {
            self.cut += flows;
            match self.named.iter_mut().find(|(named, _)| *named == talk) {
                Some((_, named)) => *named += flows,
                None => self.named.push((talk, flows)),
            }
        }
    }

    fn order(mut self) -> Self {
        self.named.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        self
    }
}

impl FlowBook {
    /// Holds each of the last seven days of the devices at these addresses, what is newer than `before` left out,
    /// against what they had done before that day. A day counts when they had been known for one.
    pub fn life_test(&self, addrs: &[IpAddr], before: Timestamp) -> LifeTest {
        let of_them = self.patterns.iter().filter(|(talk, pattern)| {
            pattern.first_seen < before
                && (addrs.contains(&talk.client) || addrs.contains(&talk.server))
        });
        let of_them: Vec<(&Talk, &Pattern)> = of_them.collect();
        let mut test = LifeTest::default();
        let Some(known) = of_them.iter().map(|(_, one)| one.first_seen).min() else {
            return test;
        };
        let today = day_of(self.now.min(before));
        for day in today - DAYS as i64 + 1..=today {
            let begin = Timestamp::from_nanos(day.saturating_mul(DAY_NANOS));
            let on_it = of_them.iter().filter_map(|(talk, pattern)| {
                let flows = pattern.on(day);
                (flows > 0).then_some((**talk, flows))
            });
            let on_it: Vec<(Talk, u64)> = on_it.collect();
            if begin.as_nanos() - known.as_nanos() < DAY_NANOS || on_it.is_empty() {
                continue;
            }
            let past = of_them.iter().filter(|(_, one)| one.first_seen < begin);
            let past = past.map(|(talk, one)| {
                // What is too long ago for counts was still seen.
                let before = (day - DAYS as i64..day).map(|day| one.on(day)).sum::<u64>();
                (**talk, before.max(1))
            });
            let cuts = all_but(addrs, &habits(past, addrs));
            test.days += 1;
            for (talk, flows) in on_it {
                test.count(talk, flows, cuts.iter().any(|cut| cut.cuts(&talk)));
            }
        }
        test = test.order();
        test.named.truncate(NAMED_MAX);
        test
    }

    /// Holds everything in `later` of the devices at these addresses against all that is known here.
    pub fn life_test_with(&self, addrs: &[IpAddr], later: &Self) -> LifeTest {
        let cuts = all_but(addrs, &self.habits(addrs, Timestamp::MAX));
        let days = later.patterns.values().map(|one| day_of(one.last_seen));
        let mut test = LifeTest {
            days: days.collect::<BTreeSet<_>>().len() as u32,
            ..LifeTest::default()
        };
        for (talk, pattern) in &later.patterns {
            if addrs.contains(&talk.client) || addrs.contains(&talk.server) {
                let flows = pattern.recent(later.now);
                test.count(*talk, flows, cuts.iter().any(|cut| cut.cuts(talk)));
            }
        }
        test.order()
    }
}

impl Pattern {
    /// Conversations on one day, of the last eight that it was seen.
    fn on(&self, day: i64) -> u64 {
        let last = day_of(self.last_seen);
        if !(last - DAYS as i64..=last).contains(&day) {
            return 0;
        }
        self.counts
            .get(index(day))
            .map_or(0, |count| u64::from(*count))
    }
}

fn all_but(addrs: &[IpAddr], habits: &[Habit]) -> Vec<Cut> {
    let cuts = addrs.iter().map(|addr| Cut::AllBut {
        of: host(*addr),
        habits: habits.to_vec(),
    });
    cuts.map(Cut::canonical).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::tests::{at, talk};
    use super::*;

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_day_is_held_against_the_days_before_it() {
        let mut book = FlowBook::default();
        for hour in 0..24 * 4 {
            book.seen(talk("10.0.0.5", "10.0.0.9", 443), at(0, hour));
        }
        // New on the third day, and known on the fourth.
        for day in [2, 2, 2, 3] {
            book.seen(talk("10.0.0.5", "10.0.0.8", 22), at(day, 5));
        }
        let test = book.life_test(&[addr("10.0.0.5")], at(9, 0));
        // The first day has none before it, and of the second the device had been known for a day.
        assert_eq!((test.days, test.flows, test.cut), (3, 3 * 24 + 4, 3));
        assert_eq!(test.named, [(talk("10.0.0.5", "10.0.0.8", 22), 3)]);
        assert!(test.sentence().unwrap().contains("3 of 76"));
        // Held against itself nothing of it is new.
        let now = book.life_test_with(&[addr("10.0.0.5")], &book);
        assert_eq!(now.cut, 0);
        // What began with the incident is no part of it.
        let before = book.life_test(&[addr("10.0.0.5")], at(2, 1));
        assert_eq!((before.days, before.cut), (2, 0));
    }

    #[test]
    fn who_was_never_known_for_a_day_cannot_be_tested() {
        let mut book = FlowBook::default();
        book.seen(talk("10.0.0.5", "10.0.0.9", 443), at(0, 3));
        book.seen(talk("10.0.0.5", "10.0.0.9", 443), at(0, 9));
        let test = book.life_test(&[addr("10.0.0.5")], at(9, 0));
        assert_eq!((test.days, test.sentence()), (0, None));
        let none = book.life_test(&[addr("10.0.0.77")], at(9, 0));
        assert_eq!(none, LifeTest::default());
    }

    #[test]
    fn a_new_peer_of_an_open_service_is_not_cut_on_the_next_day() {
        let mut book = FlowBook::default();
        for number in 0..60u8 {
            book.seen(talk(&format!("10.0.1.{number}"), "10.0.0.9", 443), at(0, 1));
        }
        let mut later = FlowBook::default();
        later.seen(talk("10.0.2.2", "10.0.0.9", 443), at(1, 1));
        later.seen(talk("10.0.2.2", "10.0.0.9", 22), at(1, 1));
        let test = book.life_test_with(&[addr("10.0.0.9")], &later);
        assert_eq!((test.days, test.flows, test.cut), (1, 2, 1));
    }
}
