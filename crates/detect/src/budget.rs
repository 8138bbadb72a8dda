//! The promise to the person on duty: how many incidents a day, and so how rare a score must be.

use thymus_schema::PValue;

/// The alert budget: incidents shown per event-time day for each hundred devices, no roll-over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlertBudget {
    per_day_per_hundred: f64,
}

impl Default for AlertBudget {
    fn default() -> Self {
        Self {
            per_day_per_hundred: 5.0,
        }
    }
}

impl AlertBudget {
    /// A budget of `per_day_per_hundred` incidents a day for each hundred devices; clamped to
    /// [0.1, 1000].
    pub fn new(per_day_per_hundred: f64) -> Self {
        Self {
            per_day_per_hundred: per_day_per_hundred.clamp(0.1, 1000.0),
        }
    }

    /// Most incidents shown on one day at a site of `devices` devices: at least one.
    pub fn incidents_per_day(&self, devices: usize) -> u32 {
        let exact = self.per_day_per_hundred * devices as f64 / 100.0;
        (exact.ceil() as u32).max(1)
    }

    /// The false-alarm rate that is promised, in incidents per device-day.
    pub fn promise_per_device_day(&self) -> f64 {
        self.per_day_per_hundred / 100.0
    }

    /// The p-value per device and hour at which that promise is just kept.
    pub fn level(&self) -> PValue {
        PValue::from_probability(self.promise_per_device_day() / 24.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_sites_get_one_and_large_ones_their_share() {
        let budget = AlertBudget::default();
        assert_eq!(budget.incidents_per_day(3), 1);
        assert_eq!(budget.incidents_per_day(100), 5);
        assert_eq!(budget.incidents_per_day(101), 6);
    }

    #[test]
    fn a_calibrated_detector_at_the_level_keeps_the_promise() {
        let budget = AlertBudget::new(5.0);
        let per_day = budget.level().probability() * 24.0;
        assert!((per_day - 0.05).abs() < 1e-9);
    }
}
