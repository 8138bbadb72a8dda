//! Exact intervals: Garwood (1936) for a Poisson count, Clopper and Pearson (1934) for a share.

const TAIL: f64 = 0.025;

/// The exact 95 % interval of the mean behind a Poisson count.
pub fn poisson_95(count: u64) -> (f64, f64) {
    let n = count as f64;
    let high_max = n + 20.0 + 10.0 * (n + 1.0).sqrt();
    let low = if count == 0 {
        0.0
    } else {
        bisect(0.0, high_max, |mean| at_most(count - 1, mean) > 1.0 - TAIL)
    };
    let high = bisect(0.0, high_max, |mean| at_most(count, mean) > TAIL);
    (low, high)
}

/// The exact 95 % interval of the share behind `hits` of `n`; (0, 1) when `n` is 0.
pub fn share_95(hits: u64, n: u64) -> (f64, f64) {
    let low = if hits == 0 {
        0.0
    } else {
        bisect(0.0, 1.0, |p| share_at_most(hits - 1, n, p) > 1.0 - TAIL)
    };
    let high = if hits >= n {
        1.0
    } else {
        bisect(0.0, 1.0, |p| share_at_most(hits, n, p) > TAIL)
    };
    (low, high)
}

/// Where `holds` turns from true to false between `low` and `high`.
fn bisect(mut low: f64, mut high: f64, holds: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if holds(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// P(X ≤ count) of a Poisson variable, summed in logarithms so that large means do not vanish.
fn at_most(count: u64, mean: f64) -> f64 {
    let mut log_term = -mean;
    let mut total = log_term.exp();
    for k in 1..=count {
        log_term += (mean / k as f64).ln();
        total += log_term.exp();
    }
    total.min(1.0)
}

/// P(X ≤ hits) of a binomial variable.
fn share_at_most(hits: u64, n: u64, p: f64) -> f64 {
    if p <= 0.0 {
        return 1.0;
    }
    if p >= 1.0 {
        return if hits >= n { 1.0 } else { 0.0 };
    }
    let mut log_term = n as f64 * (1.0 - p).ln();
    let mut total = log_term.exp();
    for k in 1..=hits.min(n) {
        log_term += ((n - k + 1) as f64 / k as f64).ln() + (p / (1.0 - p)).ln();
        total += log_term.exp();
    }
    total.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: (f64, f64), want: (f64, f64)) {
        assert!(
            (got.0 - want.0).abs() < 1e-3 && (got.1 - want.1).abs() < 1e-3,
            "{got:?} {want:?}"
        );
    }

    /// Values from the tables of the literature (Garwood; Clopper and Pearson).
    #[test]
    fn intervals_are_those_of_the_tables() {
        near(poisson_95(0), (0.0, 3.6889));
        near(poisson_95(1), (0.0253, 5.5716));
        near(poisson_95(10), (4.7954, 18.3904));
        near(share_95(0, 10), (0.0, 0.3085));
        near(share_95(9, 10), (0.5550, 0.9975));
        near(share_95(10, 10), (0.6915, 1.0));
    }
}
