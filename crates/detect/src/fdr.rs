//! Online control of the false discovery rate over a stream of p-values.
//!
//! ADDIS (Tian and Ramdas, *ADDIS: an adaptive discarding algorithm for online FDR control with
//! conservative nulls*, 2019), with λ = 0.1, τ = 0.5 and all wealth spendable at once. Our nulls are
//! very conservative (most device-hours have p = 1 after paying for all detectors), which is the
//! case ADDIS was made for: p-values above τ cost nothing. Tests come in a fixed order, so the
//! levels are the same on every run.
//!
//! Each event-time day is a family of its own: a procedure without end would, after a quiet year,
//! have no level left for the one attack. The spending sequence is half steep (a short capture must
//! be able to show something) and half slow (so must a long day).
//!
//! A person reads stories, not hours: the many hours in which one intruder is seen are one discovery
//! and earn once what a discovery earns, or a day's attack would buy false alarms about its
//! neighbours. Earning less only lowers the levels, so the control holds.

use thymus_schema::{PValue, SnapshotError, SnapshotReader, SnapshotWriter};

const LAMBDA: f64 = 0.1;
const TAU: f64 = 0.5;
/// Σ j^−1.6 over all j ≥ 1, that is ζ(1.6).
const STEEP_TOTAL: f64 = 2.285_765_665_680_8;
/// The slow half is worth spending over about this many tests.
const SLOW_TESTS: f64 = 48.0;
/// An upper bound of Σ (1 + j/48)^−1.6 over all j ≥ 0: the first term and the integral, 1 + 48/0.6.
const SLOW_TOTAL: f64 = 81.0;
/// Discoveries whose wealth is still followed; older ones have been spent.
const DISCOVERIES_MAX: usize = 256;

/// State of the online procedure.
#[derive(Clone, Debug)]
pub(crate) struct OnlineFdr {
    q: f64,
    /// Candidates so far that were kept (p ≤ τ) and not promising (p > λ).
    spent: u64,
    /// Who was discovered, and the value of `spent` at the first time.
    discoveries: Vec<(u64, u64)>,
    /// The day whose family of tests this is.
    day: i64,
}

impl OnlineFdr {
    /// Controls the false discovery rate at `q`.
    pub(crate) fn new(q: f64) -> Self {
        Self {
            q,
            spent: 0,
            discoveries: Vec::new(),
            day: i64::MIN,
        }
    }

    /// Begins a new family when `day` is another day.
    pub(crate) fn begin(&mut self, day: i64) {
        if day != self.day {
            *self = Self {
                day,
                ..Self::new(self.q)
            };
        }
    }

    /// The level at which the next test is a discovery.
    pub(crate) fn level(&self) -> PValue {
        let mut wealth = self.q * gamma(self.spent);
        // The first discovery pays back what the start had in advance.
        for (_, at) in self.discoveries.iter().skip(1) {
            wealth += self.q * gamma(self.spent.saturating_sub(*at));
        }
        PValue::from_probability((TAU - LAMBDA) * wealth)
    }

    /// Counts a test about `who` as a discovery, as soon as its p-value has reached
    /// [`OnlineFdr::level`].
    pub(crate) fn discover(&mut self, who: u64) {
        if self.discoveries.iter().any(|(known, _)| *known == who) {
            return;
        }
        if self.discoveries.len() >= DISCOVERIES_MAX {
            self.discoveries.remove(1);
        }
        self.discoveries.push((who, self.spent));
    }

    /// Counts a test that ended without discovery.
    pub(crate) fn pass(&mut self, p_value: PValue) {
        let p = p_value.probability();
        if p <= TAU && p > LAMBDA {
            self.spent += 1;
        }
    }

    pub(crate) fn snapshot(&self, out: &mut SnapshotWriter) {
        out.i64(self.day)
            .u64(self.spent)
            .u64(self.discoveries.len() as u64);
        for (who, at) in &self.discoveries {
            out.u64(*who).u64(*at);
        }
    }

    pub(crate) fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        let day = from.i64()?;
        let spent = from.u64()?;
        let count = from.count(16)?;
        let discoveries: Result<Vec<(u64, u64)>, _> =
            (0..count).map(|_| Ok((from.u64()?, from.u64()?))).collect();
        let mut discoveries = discoveries?;
        discoveries.truncate(DISCOVERIES_MAX);
        (self.day, self.spent, self.discoveries) = (day, spent, discoveries);
        Ok(())
    }
}

/// The spending sequence; sums to at most one.
fn gamma(since: u64) -> f64 {
    let steep = ((since + 1) as f64).powf(-1.6) / STEEP_TOTAL;
    let slow = (1.0 + since as f64 / SLOW_TESTS).powf(-1.6) / SLOW_TOTAL;
    0.5 * (steep + slow)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small fixed generator: the tests need many uniform numbers, not good ones.
    fn uniform(state: &mut u64) -> f64 {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((*state >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn run(seed: u64, signals: bool) -> (u32, u32) {
        let (mut fdr, mut state) = (OnlineFdr::new(0.1), seed);
        let (mut all, mut wrong) = (0, 0);
        for i in 0..2_000 {
            let is_signal = signals && i % 10 == 0;
            let p = uniform(&mut state) * if is_signal { 1e-6 } else { 1.0 };
            let p = PValue::from_probability(p);
            if p >= fdr.level() {
                fdr.discover(i);
                all += 1;
                wrong += u32::from(!is_signal);
            } else {
                fdr.pass(p);
            }
        }
        (all, wrong)
    }

    #[test]
    fn false_discoveries_stay_a_small_share() {
        let (mut all, mut wrong) = (0, 0);
        for seed in 0..50 {
            let (a, w) = run(seed, true);
            all += a;
            wrong += w;
        }
        assert!(all > 5_000, "finds most of the signals: {all}");
        assert!(f64::from(wrong) / f64::from(all) < 0.1, "{wrong} of {all}");
    }

    #[test]
    fn with_nothing_to_find_most_runs_find_nothing() {
        let runs_with_discovery = (0..200).filter(|seed| run(*seed, false).0 > 0).count();
        assert!(
            runs_with_discovery <= 20,
            "{runs_with_discovery} of 200 at q = 0.1"
        );
    }

    #[test]
    fn conservative_p_values_cost_nothing() {
        let mut fdr = OnlineFdr::new(0.1);
        let before = fdr.level();
        for _ in 0..10_000 {
            fdr.pass(PValue::ONE);
        }
        assert_eq!(fdr.level(), before);
    }

    #[test]
    fn a_new_day_begins_with_full_wealth() {
        let mut fdr = OnlineFdr::new(0.1);
        fdr.begin(1);
        let fresh = fdr.level();
        for _ in 0..100 {
            fdr.pass(PValue::from_probability(0.3));
        }
        assert!(fdr.level() > fresh, "levels tighten as tests are spent");
        fdr.begin(1);
        assert!(fdr.level() > fresh, "the same day goes on");
        fdr.begin(2);
        assert_eq!(fdr.level(), fresh);
    }

    #[test]
    fn the_hours_of_one_intruder_earn_once() {
        let level_after = |discovered: &[u64]| {
            let mut fdr = OnlineFdr::new(0.1);
            for who in discovered {
                fdr.discover(*who);
            }
            fdr.level()
        };
        assert_eq!(level_after(&[1, 2, 1, 2, 2]), level_after(&[1, 2]));
        assert!(level_after(&[1, 2]) < level_after(&[1]), "another does");
    }

    #[test]
    fn the_spending_sequence_sums_to_at_most_one() {
        let sum: f64 = (0..2_000_000).map(gamma).sum();
        assert!(sum <= 1.0 && sum > 0.9, "{sum}");
    }

    #[test]
    fn state_survives_a_snapshot() {
        let mut fdr = OnlineFdr::new(0.1);
        fdr.pass(PValue::from_probability(0.3));
        (0..3).for_each(|who| fdr.discover(who));
        let mut out = SnapshotWriter::new();
        out.section("fdr", 1);
        fdr.snapshot(&mut out);
        let sections = out.finish();
        let mut again = OnlineFdr::new(0.1);
        again
            .restore(&mut SnapshotReader::open("fdr", &sections["fdr"], 1).unwrap())
            .unwrap();
        assert_eq!(again.level(), fdr.level());
    }
}
