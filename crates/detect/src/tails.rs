//! How rare something is under a simple model, as −log10 of a probability. All are upper bounds of
//! the tail probability (so the surprise is understated, never overstated), finite, and 0 at or
//! below what the model expects.

use std::f64::consts::LN_10;

/// Surprise of `count` or more events where `mean` are expected (Poisson, Chernoff bound).
pub(crate) fn poisson(count: f64, mean: f64) -> f64 {
    let mean = mean.max(1e-12);
    if count <= mean {
        return 0.0;
    }
    (count * (count / mean).ln() - (count - mean)) / LN_10
}

/// Surprise of a share of `hits` or more in `trials` where each hits with probability `p`
/// (binomial, Chernoff bound by relative entropy).
pub(crate) fn binomial(hits: f64, trials: f64, p: f64) -> f64 {
    if trials <= 0.0 || hits / trials <= p {
        return 0.0;
    }
    let p = p.clamp(1e-12, 1.0 - 1e-12);
    let share = (hits / trials).min(1.0);
    let miss = if share < 1.0 {
        (1.0 - share) * ((1.0 - share) / (1.0 - p)).ln()
    } else {
        0.0
    };
    trials * (share * (share / p).ln() + miss) / LN_10
}

/// Surprise of standing `z` standard deviations or more above the mean (normal).
pub(crate) fn normal(z: f64) -> f64 {
    if z <= 0.0 {
        return 0.0;
    }
    // Q(z) <= exp(-z²/2) / (1 + sqrt(1 + z²·π/2)) / … reduces to the classical bound below; the
    // factor keeps Q(0) at one half, which is taken off so that the mean is no surprise.
    (z * z / 2.0 + (0.5 * (z + (z * z + 8.0 / std::f64::consts::PI).sqrt()) / 0.798).ln()) / LN_10
}

/// −log10 P(T ≥ t) for Student's t with so many degrees of freedom, to a few hundredths (Wallace, *Bounds on
/// normal approximations to Student's and the chi-square distributions*, 1959).
pub(crate) fn student(t: f64, freedom: f64) -> f64 {
    let freedom = freedom.max(1.0);
    let z = (freedom * (t * t / freedom).ln_1p()).sqrt() * (8.0 * freedom + 1.0)
        / (8.0 * freedom + 3.0);
    normal(z.copysign(t))
}

/// Surprise of reaching `value` where sizes follow a power law: below `usual` nothing, and each
/// factor of ten above it is `slope` digits rarer (Pareto). Traffic volumes and counts are like
/// this: a doubling is never alarming, a thousandfold is.
pub(crate) fn pareto(value: f64, usual: f64, slope: f64) -> f64 {
    if value <= usual || usual <= 0.0 {
        return 0.0;
    }
    slope * (value / usual).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expected_is_no_surprise_and_more_is_more() {
        assert_eq!(poisson(3.0, 3.0), 0.0);
        assert!(poisson(20.0, 3.0) > poisson(10.0, 3.0));
        assert_eq!(binomial(2.0, 10.0, 0.2), 0.0);
        assert!((binomial(10.0, 10.0, 0.1) - 10.0).abs() < 1e-9);
        assert_eq!(pareto(5.0, 10.0, 2.0), 0.0);
        assert!((pareto(1000.0, 10.0, 2.0) - 4.0).abs() < 1e-9);
    }

    #[test]
    fn the_normal_tail_is_close_to_the_table() {
        // Q(3) = 1.350e-3, Q(6) = 9.866e-10.
        assert!((normal(3.0) - 2.87).abs() < 0.35, "{}", normal(3.0));
        assert!((normal(6.0) - 9.01).abs() < 0.35, "{}", normal(6.0));
        assert!(normal(0.0) == 0.0 && normal(0.01) < 0.05);
    }
}
