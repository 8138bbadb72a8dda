//! Does a series of points in time keep a rhythm?
//!
//! The question is put robustly: gaps are compared with their median, missing beats are folded in
//! (a gap of about two or three periods is a beat that was lost), long breaks such as nights are set
//! aside, and the share of gaps inside a band around the median is compared with what arrivals
//! without memory (a Poisson process) would give. Three bands cover exact timers, small jitter and
//! sleeps drawn from half to the whole of a period. Bursts of requests count as one beat; how long a
//! burst may last is tried at three lengths. Every look is paid for.
//!
//! For timers that keep their phase under other traffic to the same destination, where gaps no
//! longer show them, a periodogram at the most common gaps gives a second opinion (Rayleigh test of
//! the phases: P(R ≥ z) = e^−z under uniform phases).

use crate::tails;

/// A rhythm that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rhythm {
    /// The period in seconds: the median gap.
    pub(crate) period: f64,
    /// Half the spread between the quartiles, relative to the period.
    pub(crate) jitter: f64,
    /// Share of gaps that fit.
    pub(crate) share: f64,
    /// −log10 of the chance that arrivals without memory look this regular.
    pub(crate) certainty: f64,
    /// How far the rhythm explains the series, from 0 (as chance would) to 1 (all of it).
    pub(crate) strength: f64,
    /// Whether gaps spread evenly over a bounded range, as sleeps with drawn jitter do and neither
    /// plain timers nor people do.
    pub(crate) drawn: bool,
}

/// Fewest gaps that can show a rhythm.
const GAPS_MIN: usize = 5;
/// Bursts shorter than this many seconds are one beat.
const BURSTS_SECS: [f64; 3] = [1.0, 10.0, 60.0];
/// Half-widths of the bands around the median gap.
const BANDS: [f64; 3] = [0.05, 0.2, 0.4];
/// A gap of more periods than this is a break.
const FOLD_MAX: f64 = 6.0;

/// The rhythm of `times` (seconds, ascending), if there are enough of them.
pub(crate) fn of(times: &[f64]) -> Option<Rhythm> {
    let mut best: Option<Rhythm> = None;
    let mut beats_before = None;
    for burst in BURSTS_SECS {
        let beats = merge(times, burst);
        // Longer bursts only leave beats out: as many as before are the same, and so are their phases.
        let same = beats_before.replace(beats.len()) == Some(beats.len());
        let by_phase = if same { None } else { phase_rhythm(&beats) };
        let found = [gaps_rhythm(&beats, burst), by_phase];
        for rhythm in found.into_iter().flatten() {
            let worth = |r: &Rhythm| r.certainty.min(8.0) * r.strength;
            if best.is_none_or(|b| worth(&rhythm) > worth(&b)) {
                best = Some(rhythm);
            }
        }
    }
    best
}

fn merge(times: &[f64], burst: f64) -> Vec<f64> {
    let mut beats: Vec<f64> = Vec::with_capacity(times.len());
    let mut last = f64::NEG_INFINITY;
    for &time in times {
        if time - last > burst {
            beats.push(time);
        }
        last = time;
    }
    beats
}

fn gaps_rhythm(beats: &[f64], burst: f64) -> Option<Rhythm> {
    let gaps: Vec<f64> = beats
        .iter()
        .zip(beats.iter().skip(1))
        .map(|(a, b)| b - a)
        .collect();
    if gaps.len() < GAPS_MIN {
        return None;
    }
    let mut sorted = gaps.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let period = quantile(&sorted, 0.5);
    if period <= 2.0 * burst {
        return None;
    }
    let breaks = gaps
        .iter()
        .filter(|gap| **gap > (FOLD_MAX + 0.5) * period)
        .count();
    // A few breaks are nights and lunches; many are what irregular traffic is made of.
    let forgiven = breaks.min(1 + gaps.len() / 12);
    let trials = (gaps.len() - forgiven) as f64;
    let mut best = (0.0, 0.0, 0.0);
    for half in BANDS {
        let chance = chance_inside(period, burst, half);
        let inside = gaps.iter().filter(|gap| fits(**gap / period, half)).count() as f64;
        let share = inside / trials;
        let certainty = tails::binomial(inside, trials, chance);
        let strength = ((share - chance) / (1.0 - chance)).max(0.0);
        if certainty > best.0 {
            best = (certainty, share, strength);
        }
    }
    let looks = (BANDS.len() * BURSTS_SECS.len() * 2) as f64;
    let (low, high) = (quantile(&sorted, 0.25), quantile(&sorted, 0.75));
    Some(Rhythm {
        period,
        jitter: (high - low) / 2.0 / period,
        share: best.1,
        certainty: (best.0 - looks.log10()).max(0.0),
        strength: best.2,
        drawn: is_drawn(&sorted, period),
    })
}

fn fits(ratio: f64, half: f64) -> bool {
    let (low, high) = band(ratio.round().max(1.0), half);
    ratio.round() <= FOLD_MAX && ratio >= low && ratio <= high
}

/// The band around `periods` periods, in periods.
fn band(periods: f64, half: f64) -> (f64, f64) {
    if periods <= 1.0 {
        return (1.0 - half, 1.0 / (1.0 - half));
    }
    // Jitter averages out over several periods, and a wide fold would swallow everything.
    let fold = half.min(0.1);
    (periods - fold, periods + fold)
}

/// How often a gap of a Poisson process with this median falls into the band or a fold of it. Gaps
/// are longer than `burst` by construction, which makes even chance look a little regular.
fn chance_inside(period: f64, burst: f64, half: f64) -> f64 {
    let survive = |ratio: f64| 0.5_f64.powf((ratio * period - burst).max(0.0) / (period - burst));
    let folds = (1..=FOLD_MAX as u32).map(|periods| {
        let (low, high) = band(f64::from(periods), half);
        (survive(low) - survive(high)).max(0.0)
    });
    // Real arrivals are never quite Poisson; the margin keeps small departures from adding up.
    (folds.sum::<f64>() * 1.15).min(0.95)
}

/// Uniform sleeps: the middle 90 % is 1.8 times as wide as the middle half (normal 2.4, timers with
/// rare delays far more), nothing lies far outside, and the width is not that of a plain timer.
fn is_drawn(sorted: &[f64], period: f64) -> bool {
    if sorted.len() < 30 {
        return false;
    }
    let half = quantile(sorted, 0.75) - quantile(sorted, 0.25);
    let most = quantile(sorted, 0.95) - quantile(sorted, 0.05);
    let width = half / period;
    let bounded = quantile(sorted, 0.05) >= 0.35 * quantile(sorted, 0.95);
    bounded && (0.06..=0.6).contains(&width) && (1.5..=2.1).contains(&(most / half))
}

/// A timer that keeps its phase while other traffic lies over it.
fn phase_rhythm(beats: &[f64]) -> Option<Rhythm> {
    const CANDIDATES: usize = 3;
    if beats.len() < 12 {
        return None;
    }
    let origin = *beats.first()?;
    let span = beats.last()? - origin;
    let count = beats.len() as f64;
    let mut best: Option<(f64, f64)> = None;
    for period in common_gaps(beats, CANDIDATES) {
        // Phases mean something only over many periods, and only if most beats are not alone.
        if span < 8.0 * period {
            continue;
        }
        let (mut x, mut y) = (0.0, 0.0);
        for beat in beats {
            let angle = (beat - origin) / period * std::f64::consts::TAU;
            x += angle.cos();
            y += angle.sin();
        }
        let length = (x * x + y * y).sqrt() / count;
        if best.is_none_or(|(_, longest)| length > longest) {
            best = Some((period, length));
        }
    }
    let (period, length) = best?;
    let looks = (CANDIDATES * BURSTS_SECS.len() * 2) as f64;
    let certainty =
        (count * length * length / std::f64::consts::LN_10 - looks.log10() - count.log10())
            .max(0.0);
    let jitter = ((-2.0 * length.max(1e-9).ln()).sqrt() / std::f64::consts::TAU).min(0.5);
    // The share of beats on the timer; the rest is other traffic.
    Some(Rhythm {
        period,
        jitter,
        share: length,
        certainty,
        strength: length * length,
        drawn: false,
    })
}

/// The most common gaps, among those between neighbours and next neighbours, by median of the
/// densest stretches of the sorted gaps.
fn common_gaps(beats: &[f64], wanted: usize) -> Vec<f64> {
    let mut gaps: Vec<f64> = (1..=2)
        .flat_map(|step| {
            beats
                .iter()
                .zip(beats.iter().skip(step))
                .map(|(a, b)| b - a)
        })
        .filter(|gap| *gap > 1.0)
        .collect();
    gaps.sort_unstable_by(f64::total_cmp);
    let size = (gaps.len() / 8).max(4);
    let mut stretches: Vec<(f64, f64)> = gaps
        .windows(size)
        .filter_map(|part| {
            let (first, last) = (part.first()?, part.last()?);
            Some(((last - first) / last, part.get(size / 2).copied()?))
        })
        .collect();
    stretches.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let mut found: Vec<f64> = Vec::new();
    for (_, gap) in stretches {
        if found.len() < wanted && found.iter().all(|other| (gap / other - 1.0).abs() > 0.05) {
            found.push(gap);
        }
    }
    found
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len().saturating_sub(1)) as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    let value = |index: usize| sorted.get(index).copied().unwrap_or(0.0);
    value(low) + (value(high) - value(low)) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator of even numbers in [0, 1), the same on every run.
    fn noise(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed;
        move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    fn series(count: usize, mut gap: impl FnMut(usize) -> f64) -> Vec<f64> {
        let mut at = 0.0;
        (0..count)
            .map(|index| {
                at += gap(index);
                at
            })
            .collect()
    }

    #[test]
    fn a_sleep_with_half_jitter_is_certain_and_seen_as_drawn() {
        let mut next = noise(1);
        let found = of(&series(80, |_| 60.0 * (0.5 + 0.5 * next()))).unwrap();
        assert!(
            found.certainty > 6.0 && found.strength > 0.8 && found.drawn,
            "{found:?}"
        );
    }

    #[test]
    fn missing_beats_and_a_night_do_not_hide_a_timer() {
        let found = of(&series(60, |i| match i {
            30 => 40_000.0,
            i if i % 7 == 3 => 600.0,
            _ => 300.0,
        }))
        .unwrap();
        assert!(found.certainty > 6.0 && found.strength > 0.8, "{found:?}");
        assert!((found.period - 300.0).abs() < 1.0);
    }

    #[test]
    fn arrivals_without_memory_have_no_rhythm() {
        for seed in 0..50 {
            let mut next = noise(seed * 7919 + 3);
            let found = of(&series(120, |_| -60.0 * (1.0 - next()).ln()));
            let worth = found.map_or(0.0, |r| r.strength * r.certainty);
            assert!(worth < 1.0, "seed {seed}: {found:?}");
        }
    }

    #[test]
    fn people_who_come_in_bursts_have_no_rhythm() {
        for seed in 0..50 {
            let mut next = noise(seed * 104_729 + 11);
            let found = of(&series(200, |_| {
                if next() < 0.7 {
                    3.0 * next()
                } else {
                    -500.0 * (1.0 - next()).ln()
                }
            }));
            let worth = found.map_or(0.0, |r| r.strength * r.certainty);
            assert!(worth < 2.0, "seed {seed}: {found:?}");
        }
    }

    #[test]
    fn a_timer_is_found_under_other_traffic() {
        let mut next = noise(5);
        let mut times = series(100, |_| 120.0);
        times.extend(series(60, |_| -200.0 * (1.0 - next()).ln()));
        times.sort_by(f64::total_cmp);
        let found = of(&times).unwrap();
        assert!(
            found.certainty > 3.0 && (found.period - 120.0).abs() < 3.0,
            "{found:?}"
        );
    }
}
