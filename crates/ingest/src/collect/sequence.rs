//! Numbers that exporters count their exports with: what is missing between two was lost on the way.

/// Steps back up to this are datagrams that came out of order.
const LATE_MAX: i64 = 1024;
/// Steps forward beyond this are an exporter that began anew.
const GAP_MAX: i64 = 1 << 24;

/// A count that is expected to go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sequence {
    last: Option<Last>,
    /// What was missed so far.
    pub(super) lost: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Last {
    number: u32,
    /// What its own datagram adds, where that is known.
    step: Option<u32>,
    /// The records it held: some exporters count these where they should count datagrams, or the other
    /// way round.
    other_step: u32,
}

impl Sequence {
    /// A datagram with this number; `step` is what it adds to it, `other_step` what it would add if the
    /// exporter counted otherwise.
    pub(super) fn take(&mut self, number: u32, step: Option<u32>, other_step: u32) {
        let next = Last {
            number,
            step,
            other_step,
        };
        let Some(last) = self.last else {
            self.last = Some(next);
            return;
        };
        let ahead = i64::from(number.wrapping_sub(last.number).cast_signed());
        let Some(expected) = last.step.map(i64::from) else {
            self.last = Some(next);
            return;
        };
        let gap = ahead - expected;
        match gap {
            0 => {}
            // Some exporters count what they should not, or count a datagram with those before it.
            _ if [Some(last.other_step), step, Some(other_step)]
                .contains(&u32::try_from(ahead).ok()) => {}
            1..=GAP_MAX => self.lost += gap as u64,
            _ if (-LATE_MAX..0).contains(&gap) => {
                // It was counted as lost when the one behind it came.
                self.lost = self.lost.saturating_sub(step.map_or(0, u64::from));
                return;
            }
            _ => {}
        }
        self.last = Some(next);
    }

    /// The exporter began anew.
    pub(super) fn reset(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(numbers: &[(u32, u32)]) -> u64 {
        let mut sequence = Sequence::default();
        for (number, records) in numbers {
            sequence.take(*number, Some(*records), 1);
        }
        sequence.lost
    }

    #[test]
    fn what_is_missing_is_counted_over_the_end_of_the_numbers() {
        assert_eq!(lost(&[(100, 30), (130, 30), (160, 5), (165, 5)]), 0);
        assert_eq!(lost(&[(100, 30), (190, 30)]), 60);
        assert_eq!(lost(&[(u32::MAX - 9, 30), (20, 30), (60, 1)]), 10);
    }

    #[test]
    fn what_comes_late_is_not_lost() {
        assert_eq!(lost(&[(100, 30), (160, 30), (130, 30), (190, 30)]), 0);
    }

    #[test]
    fn an_exporter_that_began_anew_lost_nothing() {
        assert_eq!(lost(&[(5_000_000, 30), (0, 30), (30, 30)]), 0);
        assert_eq!(
            lost(&[(7, 30), (2_000_000_000, 30), (2_000_000_030, 30)]),
            0
        );
    }

    #[test]
    fn an_exporter_that_counts_otherwise_is_understood() {
        assert_eq!(
            lost(&[(30, 30), (35, 5), (65, 30)]),
            0,
            "its own records are counted in"
        );
        assert_eq!(lost(&[(1, 30), (2, 30), (3, 30)]), 0);
    }
}
