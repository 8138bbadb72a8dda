//! The reference that comes with the program: per detector, how rarely a device-hour of benign
//! traffic on *other* networks reached a score. Measured by `thymus eval --calibration` on the
//! benign development sets and the lab's quiet days, kept in `shipped.tsv` beside this file.

/// Piecewise-linear −log10 survival of a detector's hourly score.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shipped {
    /// (score, −log10 p), both ascending, starting at (0, 0).
    knots: Vec<(f64, f64)>,
    /// −log10 p gained per unit of score beyond the last knot.
    slope: f64,
}

const TABLE: &str = include_str!("shipped.tsv");

impl Shipped {
    /// What a score claims by its contract: a score of s is reached by 10^−s of device-hours.
    pub(crate) fn identity() -> Self {
        Self {
            knots: vec![(0.0, 0.0)],
            slope: 1.0,
        }
    }

    /// The shipped reference of `detector`; the identity when none was measured.
    pub(crate) fn of(detector: &str) -> Self {
        Self::parse(TABLE, detector)
    }

    /// Reads lines `detector TAB score TAB −log10 p`, ascending in both; `#` begins a comment.
    fn parse(table: &str, detector: &str) -> Self {
        let mut shipped = Self::identity();
        for line in table.lines().filter(|line| !line.starts_with('#')) {
            let mut fields = line.split('\t');
            if fields.next() != Some(detector) {
                continue;
            }
            let mut number = || {
                fields
                    .next()
                    .and_then(|field| field.trim().parse::<f64>().ok())
            };
            if let (Some(score), Some(neg_log10)) = (number(), number())
                && shipped
                    .knots
                    .last()
                    .is_none_or(|last| score > last.0 && neg_log10 >= last.1)
            {
                shipped.knots.push((score, neg_log10));
            }
        }
        // Never trust a measured tail to fall faster than the contract says: a few thousand benign
        // hours cannot show that.
        shipped
    }

    /// P(score of an hour ≥ `score`).
    pub(crate) fn survival(&self, score: f64) -> f64 {
        let above = self.knots.partition_point(|knot| knot.0 <= score);
        let Some((x0, y0)) = above.checked_sub(1).and_then(|i| self.knots.get(i)) else {
            return 1.0;
        };
        let neg_log10 = match self.knots.get(above) {
            Some((x1, y1)) => y0 + (y1 - y0) * (score - x0) / (x1 - x0),
            None => y0 + self.slope * (score - x0),
        };
        10f64.powf(-neg_log10.clamp(0.0, 30.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_knots_and_then_the_contract() {
        let table = "# comment\nscan\t2\t1\nscan\t4\t3\nother\t1\t1\n";
        let shipped = Shipped::parse(table, "scan");
        let at = |score: f64| -shipped.survival(score).log10();
        assert!((at(0.0) - 0.0).abs() < 1e-9);
        assert!((at(3.0) - 2.0).abs() < 1e-9);
        assert!((at(6.0) - 5.0).abs() < 1e-9);
        assert_eq!(Shipped::parse(table, "unknown"), Shipped::identity());
    }

    #[test]
    fn every_shipped_line_names_a_detector_and_parses() {
        for line in TABLE
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
        {
            let fields: Vec<&str> = line.split('\t').collect();
            assert_eq!(fields.len(), 3, "{line}");
            assert!(
                crate::DETECTORS.iter().any(|spec| spec.id == fields[0]),
                "{line}"
            );
            assert!(fields[1].parse::<f64>().is_ok() && fields[2].parse::<f64>().is_ok());
        }
    }
}
