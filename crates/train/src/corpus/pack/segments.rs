//! Which bytes of a long file are kept: its head, windows drawn from between, its tail. Where they are
//! follows from the policy, the length and the file's hash alone, so nothing but these need be stored.

use std::ops::Range;

const KIB: u64 = 1024;

/// How much of a file is kept. A file not longer than the sum is kept whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// KiB from the start.
    pub(crate) head_kib: u32,
    /// Windows from between.
    pub(crate) windows: u32,
    /// KiB of each.
    pub(crate) window_kib: u32,
    /// KiB from the end.
    pub(crate) tail_kib: u32,
}

impl Policy {
    /// Bytes kept of a file at most.
    pub(crate) fn bytes_max(self) -> u64 {
        let windows = u64::from(self.windows) * u64::from(self.window_kib);
        (u64::from(self.head_kib) + u64::from(self.tail_kib) + windows) * KIB
    }

    /// The policy as it stands in a part's head and in its keys.
    pub(super) fn bytes(self) -> [u8; 16] {
        let mut out = [0; 16];
        let fields = [self.head_kib, self.windows, self.window_kib, self.tail_kib];
        for (slot, field) in out.chunks_mut(4).zip(fields) {
            slot.copy_from_slice(&field.to_le_bytes());
        }
        out
    }

    pub(super) fn parse(bytes: &[u8; 16]) -> Self {
        let field = |at: usize| {
            let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
            u32::from_le_bytes(word.unwrap_or_default())
        };
        Self {
            head_kib: field(0),
            windows: field(4),
            window_kib: field(8),
            tail_kib: field(12),
        }
    }

    /// The ranges kept of a file of `size` bytes, in order, not touching one another.
    pub(crate) fn ranges(self, size: u64, sha256: &[u8; 32]) -> Vec<Range<u64>> {
        if size <= self.bytes_max() {
            return vec![0..size; usize::from(size > 0)];
        }
        let head = u64::from(self.head_kib) * KIB;
        let tail = u64::from(self.tail_kib) * KIB;
        let window = u64::from(self.window_kib) * KIB;
        let middle = size - head - tail;
        let count = u64::from(self.windows);
        let mut ranges: Vec<Range<u64>> = std::iter::once(0..head).collect();
        // One window in each equal stretch, somewhere in it, so that windows never overlap.
        for number in 0..count {
            let stretch = head + middle * number / count;
            let room = (middle / count).saturating_sub(window);
            let draw = sha256.get(number as usize % 32).copied().unwrap_or(0);
            let start = stretch + room * u64::from(draw) / 256;
            ranges.push(start..start + window);
        }
        ranges.push(size - tail..size);
        ranges.retain(|range| !range.is_empty());
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        head_kib: 4,
        windows: 3,
        window_kib: 2,
        tail_kib: 1,
    };

    #[test]
    fn a_short_file_is_kept_whole() {
        let whole = 0..11 * 1024;
        assert_eq!(
            POLICY.ranges(11 * 1024, &[9; 32]),
            std::slice::from_ref(&whole)
        );
        assert!(POLICY.ranges(0, &[9; 32]).is_empty());
    }

    #[test]
    fn ranges_of_any_length_are_ordered_inside_and_as_long_as_promised() {
        for size in [11 * 1024 + 1, 12_000, 100_000, 9_999_999] {
            for draw in [0, 128, 255] {
                let ranges = POLICY.ranges(size, &[draw; 32]);
                assert!(
                    ranges.windows(2).all(|pair| pair[0].end <= pair[1].start),
                    "{ranges:?}"
                );
                assert_eq!(
                    ranges.iter().map(|r| r.end - r.start).sum::<u64>(),
                    POLICY.bytes_max()
                );
                assert_eq!(ranges.last().unwrap().end, size);
            }
        }
    }

    #[test]
    fn the_policy_reads_back() {
        assert_eq!(Policy::parse(&POLICY.bytes()), POLICY);
    }
}
