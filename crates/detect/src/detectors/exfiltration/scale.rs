//! How much a device of this site sends to one destination in a busy hour.
//!
//! What ships with the detector is an office's; where sensors report or machines are controlled, a
//! hundredth of it is already unheard of. The site's own hours say so as they come in: the amount
//! that all but one in a hundred of them stay below, drawn towards what ships while they are few.
//! It is never more than what ships: a site that sends much has destinations and devices of which
//! that is known, and they are judged by their own past.

use thymus_schema::{SnapshotError, SnapshotReader, SnapshotWriter};

/// What ships: bytes in a busy hour.
pub(super) const SHIPPED: f64 = 500_000.0;
/// The least that is taken for busy, however quiet the site.
const LEAST: f64 = 100_000.0;
/// So many hours of the site speak as loud as what ships.
const PRIOR_HOURS: f64 = 100.0;
/// The share of hours that are busier than busy.
const ABOVE: f64 = 0.01;
/// Two bins for each doubling, up to 2^48 bytes.
const BINS: usize = 96;
/// When so many hours are counted all are halved: what was long ago fades.
const HOURS_MAX: u64 = 1 << 20;

/// Hours of a device with a destination, by how much went up.
#[derive(Debug, PartialEq)]
pub(super) struct Scale {
    bins: [u64; BINS],
    hours: u64,
}

impl Default for Scale {
    fn default() -> Self {
        Self {
            bins: [0; BINS],
            hours: 0,
        }
    }
}

impl Scale {
    /// An hour in which `before` bytes had gone up grew to `after`; one with nothing is new.
    pub(super) fn grow(&mut self, before: f64, after: f64) {
        let (from, to) = (bin(before), bin(after));
        if from == to {
            return;
        }
        if let Some(from) = from {
            self.take(from);
        }
        if let Some(bin) = to.and_then(|to| self.bins.get_mut(to)) {
            *bin += 1;
            self.hours += 1;
        }
        if self.hours > HOURS_MAX {
            self.bins.iter_mut().for_each(|bin| *bin /= 2);
            self.hours = self.bins.iter().sum();
        }
    }

    fn take(&mut self, at: usize) {
        if let Some(bin) = self.bins.get_mut(at).filter(|bin| **bin > 0) {
            *bin -= 1;
            self.hours -= 1;
        }
    }

    /// Bytes in a busy hour, as all hours but one of `own` bytes say: the hour that is judged has no
    /// say in it.
    pub(super) fn busy(&self, own: f64) -> f64 {
        let own = bin(own).filter(|&at| self.bins.get(at).is_some_and(|bin| *bin > 0));
        let hours = self.hours - u64::from(own.is_some());
        let mut above = (ABOVE * hours as f64) as u64;
        let mut at = BINS;
        for (index, bin) in self.bins.iter().enumerate().rev() {
            let bin = bin - u64::from(own == Some(index));
            at = index;
            if bin > above {
                break;
            }
            above -= bin;
        }
        let site = edge(at).clamp(LEAST, SHIPPED);
        let weight = hours as f64 / (hours as f64 + PRIOR_HOURS);
        SHIPPED * (site / SHIPPED).powf(weight)
    }

    pub(super) fn snapshot(&self, out: &mut SnapshotWriter) {
        out.u64(BINS as u64);
        for bin in &self.bins {
            out.u64(*bin);
        }
    }

    pub(super) fn restore(from: &mut SnapshotReader<'_>) -> Result<Self, SnapshotError> {
        let mut scale = Self::default();
        for at in 0..from.count(8)? {
            let hours = from.u64()?.min(HOURS_MAX);
            if let Some(bin) = scale.bins.get_mut(at) {
                *bin = hours;
            }
        }
        scale.hours = scale.bins.iter().sum();
        Ok(scale)
    }
}

/// The bin of an amount; nothing is in none.
fn bin(bytes: f64) -> Option<usize> {
    let whole = bytes as u64;
    let octave = whole.checked_ilog2()?;
    let half = octave.checked_sub(1).map_or(0, |shift| whole >> shift & 1);
    Some((2 * octave as usize + half as usize).min(BINS - 1))
}

/// What every amount in a bin stays below.
fn edge(bin: usize) -> f64 {
    let octave = 2_f64.powi((bin / 2) as i32);
    if bin.is_multiple_of(2) {
        1.5 * octave
    } else {
        2.0 * octave
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_that_sends_little_has_a_smaller_scale_the_longer_it_was_watched() {
        let mut scale = Scale::default();
        let mut last = SHIPPED;
        assert_eq!(scale.busy(0.0), SHIPPED);
        for _ in 0..4 {
            for _ in 0..100 {
                scale.grow(0.0, 900.0);
                scale.grow(900.0, 3_000.0);
            }
            assert!(scale.busy(0.0) < last);
            last = scale.busy(0.0);
        }
        assert!((LEAST..1.5 * LEAST).contains(&last), "{last}");
    }

    #[test]
    fn an_hour_has_no_say_in_how_it_is_judged() {
        let mut scale = Scale::default();
        (0..50).for_each(|_| scale.grow(0.0, 3_000.0));
        let before = scale.busy(0.0);
        scale.grow(0.0, 2_000_000.0);
        assert_eq!(scale.busy(2_000_000.0), before);
        assert!(scale.busy(0.0) > before);
    }

    #[test]
    fn a_site_that_sends_much_keeps_what_ships() {
        let mut scale = Scale::default();
        (0..900).for_each(|_| scale.grow(0.0, 3_000.0));
        (0..100).for_each(|_| scale.grow(0.0, 40_000_000.0));
        assert_eq!(scale.busy(0.0), SHIPPED);
    }
}
