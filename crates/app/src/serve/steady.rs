//! The time of day for what goes by age, steadier than the clock.
//!
//! A machine that starts with a wrong clock, or whose clock is set wrong, must not take a year of incidents away.
//! So a jump is believed only after the clock has stood by it for a day; until then time goes on from where it was.

use std::time::{Duration, Instant};

use thymus_schema::Timestamp;

/// Less is a clock that is being corrected.
const JUMP: Duration = Duration::from_hours(24);
/// After a start more is taken for a wrong clock; less may be a sensor that was off.
const JUMP_AT_START: Duration = Duration::from_hours(24 * 30);
/// How long a clock has to stand by what it says.
const STAND: Duration = Duration::from_hours(24);

/// What the time is taken for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steady {
    at: Timestamp,
    read: Instant,
    /// Since when the clock says something else, and how far off it is.
    doubted: Option<(Instant, i64)>,
}

impl Steady {
    /// Begins with what the clock says, or, where that is far behind or ahead of what was seen last, with that.
    pub(super) fn new(wall: Timestamp, read: Instant, seen: Option<Timestamp>) -> Self {
        let is_far = seen
            .is_some_and(|seen| gap(wall, seen).unsigned_abs() > JUMP_AT_START.as_nanos() as u64);
        Self {
            at: seen.filter(|_| is_far).unwrap_or(wall),
            read,
            doubted: None,
        }
    }

    /// The time, when the clock says `wall`.
    pub(super) fn now(&mut self, wall: Timestamp, read: Instant) -> Timestamp {
        let expected = self.at.plus(read.saturating_duration_since(self.read));
        let off = gap(wall, expected);
        if off.unsigned_abs() <= JUMP.as_nanos() as u64 {
            self.doubted = None;
            (self.at, self.read) = (wall, read);
            return wall;
        }
        let (since, then) = *self.doubted.get_or_insert((read, off));
        if (off - then).unsigned_abs() > JUMP.as_nanos() as u64 {
            // It says something else again.
            self.doubted = Some((read, off));
        } else if read.saturating_duration_since(since) >= STAND {
            self.doubted = None;
            (self.at, self.read) = (wall, read);
            return wall;
        }
        expected
    }

    /// What is to be said of a clock that is not believed.
    pub(super) fn doubt(&self) -> Option<String> {
        let (_, off) = self.doubted?;
        let days = off as f64 / 86_400e9;
        Some(format!(
            "the clock is {days:+.1} days off what was expected; until it has stood by that for a day nothing goes \
             because of its age"
        ))
    }
}

/// Nanoseconds from `b` to `a`.
fn gap(a: Timestamp, b: Timestamp) -> i64 {
    a.as_nanos().saturating_sub(b.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn a_clock_that_jumps_is_believed_after_a_day() {
        let (start, wall) = (crate::replay::now(), Timestamp::from_secs(1_700_000_000));
        for jump in [DAY * 4_000, DAY * 2] {
            for is_back in [false, true] {
                let mut steady = Steady::new(wall, start, None);
                let hour = Duration::from_hours(1);
                let wrong = |after: Duration| {
                    let right = wall.plus(after);
                    if is_back {
                        right.minus(jump)
                    } else {
                        right.plus(jump)
                    }
                };
                assert_eq!(steady.now(wall.plus(hour), start + hour), wall.plus(hour));
                assert!(steady.doubt().is_none());
                for hours in 2..26 {
                    let after = hour * hours;
                    assert_eq!(
                        steady.now(wrong(after), start + after),
                        wall.plus(after),
                        "{hours}"
                    );
                    assert!(steady.doubt().is_some());
                }
                let after = hour * 26;
                assert_eq!(steady.now(wrong(after), start + after), wrong(after));
                assert!(steady.doubt().is_none());
            }
        }
    }

    #[test]
    fn a_clock_that_comes_back_was_never_believed() {
        let (start, wall) = (crate::replay::now(), Timestamp::from_secs(1_700_000_000));
        let mut steady = Steady::new(wall.plus(DAY * 900), start, Some(wall));
        assert_eq!(steady.now(wall.plus(DAY * 900), start), wall);
        assert!(
            steady
                .doubt()
                .is_some_and(|said| said.contains("+900.0 days"))
        );
        assert_eq!(
            steady.now(wall.plus(DAY / 2), start + DAY / 2),
            wall.plus(DAY / 2)
        );
        assert!(steady.doubt().is_none());
    }
}
