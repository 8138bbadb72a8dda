//! The sum of what the test programs report.

use std::fmt;

/// Tests that passed, failed and were ignored, over how many programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    programs: u64,
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Counts {
    /// Takes in a line of the output; only the summary of a program counts.
    pub(crate) fn add(&mut self, line: &str) {
        let Some(summary) = line.strip_prefix("test result: ") else {
            return;
        };
        self.programs += 1;
        for part in summary.split([';', '.']) {
            let mut words = part.split_whitespace();
            let Some(n) = words.next().and_then(|word| word.parse::<u64>().ok()) else {
                continue;
            };
            match words.next() {
                Some("passed") => self.passed += n,
                Some("failed") => self.failed += n,
                Some("ignored") => self.ignored += n,
                _ => {}
            }
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} tests passed, {} failed, {} ignored, in {} programs",
            self.passed, self.failed, self.ignored, self.programs
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_added_up_and_nothing_else() {
        let mut counts = Counts::default();
        for line in [
            "test result: ok. 20 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test a::b ... ok",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 9 filtered out; finished in 1.50s",
        ] {
            counts.add(line);
        }
        assert_eq!(
            counts.to_string(),
            "23 tests passed, 2 failed, 1 ignored, in 2 programs"
        );
    }
}
