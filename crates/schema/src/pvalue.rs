//! The one currency of suspicion.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How often a score at least this high comes up when nothing is wrong, kept as −log10 so that
/// products are sums and tiny values do not vanish. Always finite and not negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PValue(f64);

impl PValue {
    /// Certainly nothing: p = 1.
    pub const ONE: Self = Self(0.0);
    /// The smallest p-value kept, 10⁻³⁰: nobody can calibrate further out.
    pub const SMALLEST: Self = Self(30.0);

    /// From a probability; clamped to [10⁻³⁰, 1], NaN is 1.
    pub fn from_probability(p: f64) -> Self {
        if p.is_nan() {
            Self::ONE
        } else {
            Self::from_neg_log10(-p.clamp(1e-30, 1.0).log10())
        }
    }

    /// From −log10 p; clamped to [0, 30], NaN is 0.
    pub fn from_neg_log10(value: f64) -> Self {
        if value.is_nan() {
            Self::ONE
        } else {
            Self(value.clamp(0.0, 30.0))
        }
    }

    /// −log10 p, in [0, 30].
    pub const fn neg_log10(self) -> f64 {
        self.0
    }

    /// p itself.
    pub fn probability(self) -> f64 {
        10f64.powf(-self.0)
    }

    /// The Bonferroni correction for having looked `tests` times: min(1, tests · p), which holds
    /// whatever the dependence between the tests.
    #[must_use]
    pub fn bonferroni(self, tests: f64) -> Self {
        Self::from_neg_log10(self.0 - tests.max(1.0).log10())
    }
}

impl fmt::Display for PValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 2.0 {
            write!(f, "{:.2}", self.probability())
        } else {
            write!(f, "1e-{:.1}", self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_in_range() {
        assert_eq!(PValue::from_probability(0.0), PValue::SMALLEST);
        assert_eq!(PValue::from_probability(f64::NAN), PValue::ONE);
        assert_eq!(PValue::from_neg_log10(-3.0), PValue::ONE);
        assert!((PValue::from_probability(1e-4).bonferroni(10.0).neg_log10() - 3.0).abs() < 1e-9);
    }
}
