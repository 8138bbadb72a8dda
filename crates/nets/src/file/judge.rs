//! From windows to the judgement of a file.

use super::cuts::REACH;
use super::forest::Beginning;

/// How many windows a score is summed over.
pub const STRONGEST: usize = 16;
/// How many windows are kept to certify with.
pub const KEPT: usize = 256;

/// A window of a file and what it adds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Where it begins, in bytes.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
    /// Its evidence, from 0 up.
    pub evidence: f32,
    /// Whether bytes put before or behind the file would change it.
    pub open: bool,
    /// Whether bytes put behind the file would change it.
    pub ends: bool,
}

/// What both judges make of a file.
///
/// Neither heeds what bytes put behind the file would change: the last window of each level, and the file
/// as a whole. Only where nothing else is there do they count, and the verdict does not outlive additions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    /// Sum of the evidence of the strongest windows.
    pub score: f32,
    /// Whether bytes put behind the file could lower the score.
    pub is_open: bool,
    /// As `score`, without the windows that bytes put before the file could move either.
    pub closed_score: f32,
    /// The strongest of the windows that count, strongest first.
    pub windows: Vec<Window>,
    /// The beginning of the file that the trees find worst.
    pub worst: Option<Beginning>,
}

/// The strongest windows seen so far.
#[derive(Debug, Default)]
pub(super) struct Strongest {
    windows: Vec<Window>,
}

impl Strongest {
    /// Takes in a window.
    pub(super) fn push(&mut self, window: Window) {
        self.windows.push(window);
        if self.windows.len() >= 4 * KEPT {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        self.windows.sort_by(|a, b| {
            let by_evidence = b.evidence.total_cmp(&a.evidence);
            by_evidence.then((a.start, a.end).cmp(&(b.start, b.end)))
        });
        self.windows.truncate(KEPT);
    }

    pub(super) fn finish(mut self) -> Judgement {
        self.shrink();
        let is_open = self.windows.iter().all(|window| window.ends);
        self.windows.retain(|window| is_open || !window.ends);
        Judgement {
            score: sum(self.windows.iter()),
            is_open,
            closed_score: sum(self.windows.iter().filter(|window| !window.open)),
            windows: self.windows,
            worst: None,
        }
    }
}

/// The score of windows that come strongest first.
fn sum<'a>(windows: impl Iterator<Item = &'a Window>) -> f32 {
    windows.take(STRONGEST).map(|window| window.evidence).sum()
}

impl Judgement {
    /// How many bytes in one place could be changed, taken out or put in anywhere in the file, beside
    /// anything added before and behind it, with the score still at least `threshold`; none when not
    /// even additions are certain.
    pub fn certified_bytes(&self, threshold: f32) -> Option<u64> {
        if self.closed_score < threshold {
            return None;
        }
        let closed: Vec<&Window> = self.windows.iter().filter(|window| !window.open).collect();
        let holds = |bytes: u64| {
            closed.iter().all(|first| {
                // The worst change begins in the last byte of some window, or where one begins.
                [first.end.saturating_sub(1), first.start].iter().all(|at| {
                    let end = at.saturating_add(bytes + REACH as u64);
                    let unharmed = closed
                        .iter()
                        .copied()
                        .filter(|window| window.end <= *at || window.start >= end);
                    sum(unharmed) >= threshold
                })
            })
        };
        if !holds(1) {
            return Some(0);
        }
        let (mut low, mut high) = (1_u64, 1_u64 << 40);
        while low + 1 < high {
            let middle = low.midpoint(high);
            if holds(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        Some(low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(start: u64, evidence: f32) -> Window {
        Window {
            start,
            end: start + 100,
            evidence,
            open: start == 0,
            ends: false,
        }
    }

    fn judged(windows: &[Window]) -> Judgement {
        let mut strongest = Strongest::default();
        for window in windows {
            strongest.push(*window);
        }
        strongest.finish()
    }

    #[test]
    fn only_the_strongest_count_and_what_is_added_takes_nothing_away() {
        let few: Vec<_> = (0..20).map(|n| window(n * 100, 1.0)).collect();
        assert_eq!(judged(&few).score, STRONGEST as f32);
        let mut more = few.clone();
        more.extend((20..9_000).map(|n| window(n * 100, 0.01)));
        assert!(judged(&more).score >= judged(&few).score);
        assert_eq!(judged(&[]).score, 0.0);
    }

    #[test]
    fn what_additions_would_change_counts_only_where_nothing_else_is() {
        let last = Window {
            open: true,
            ends: true,
            ..window(900, 5.0)
        };
        let (alone, beside) = (judged(&[last]), judged(&[last, window(500, 1.0)]));
        assert_eq!((alone.score, alone.is_open), (5.0, true));
        assert_eq!((beside.score, beside.is_open), (1.0, false));
        assert_eq!(beside.closed_score, 1.0);
    }

    #[test]
    fn the_certificate_is_the_span_that_can_be_lost() {
        let alone = judged(&[window(500, 3.0)]);
        assert_eq!(alone.certified_bytes(2.0), Some(0));
        assert_eq!(alone.certified_bytes(4.0), None);
        assert_eq!(judged(&[window(0, 3.0)]).certified_bytes(2.0), None, "open");
        // Either of two carries the verdict: a change must reach from the one into the other.
        let two = judged(&[window(500, 3.0), window(10_000, 3.0)]);
        let span = 10_000 - 599 - REACH as u64;
        assert_eq!(two.certified_bytes(2.0), Some(span));
    }
}
