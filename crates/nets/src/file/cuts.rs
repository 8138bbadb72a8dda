//! Where a file falls apart by its own content: cuts that depend on nothing but the bytes right before
//! them, in three nested levels.
//!
//! A cut follows a byte when a rolling hash of that byte and the 31 before it has enough leading
//! zeros (the gear hash of Xia et al., *FastCDC*, USENIX ATC 2016, without its bounds on length). Bounds
//! would make a cut depend on the one before it, and so on back to the start of the file; without them
//! bytes that are added or changed in one place move no cut outside that place and the 31 bytes after.

/// Levels of cuts; a cut of a level is one of all below it.
pub const LEVELS: usize = 3;
/// Bytes a cut depends on.
pub const REACH: usize = 32;
/// How many more zeros a cut of the next level has: its pieces are eight times as long.
const LEVEL_BITS: u32 = 3;

/// Random numbers for the bytes, by the finaliser of SplitMix64.
const GEAR: [u32; 256] = {
    let mut table = [0_u32; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut word = (byte as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        table[byte] = (word ^ (word >> 31)) as u32;
        byte += 1;
    }
    table
};

/// Finds the cuts of one file, byte by byte.
#[derive(Clone, Debug)]
pub struct Cutter {
    hash: u32,
    seen: usize,
    bits: u32,
}

impl Cutter {
    /// For pieces of `2^bits` bytes on average on the lowest level.
    pub const fn new(bits: u32) -> Self {
        Self {
            hash: 0,
            seen: 0,
            bits,
        }
    }

    /// The length up to and with the next cut in `bytes`, which follow those seen before, and on how
    /// many levels it cuts; none when all of `bytes` is seen and there was no cut.
    pub fn next_cut(&mut self, bytes: &[u8]) -> Option<(usize, usize)> {
        for (at, byte) in bytes.iter().enumerate() {
            self.hash = (self.hash << 1).wrapping_add(GEAR[usize::from(*byte)]);
            self.seen = self.seen.saturating_add(1);
            let zeros = self.hash.leading_zeros();
            if zeros >= self.bits && self.seen >= REACH {
                let levels = 1 + (zeros - self.bits) / LEVEL_BITS;
                return Some((at + 1, (levels as usize).min(LEVELS)));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 7_u64;
        let step = |state: &mut u64| {
            *state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (*state >> 56) as u8
        };
        (0..len).map(|_| step(&mut state)).collect()
    }

    fn cuts(bytes: &[u8]) -> Vec<(usize, usize)> {
        let (mut cutter, mut at, mut found) = (Cutter::new(6), 0, Vec::new());
        while let Some((len, levels)) = cutter.next_cut(&bytes[at..]) {
            at += len;
            found.push((at, levels));
        }
        found
    }

    #[test]
    fn pieces_have_about_the_length_that_was_asked_for() {
        let found = cuts(&noise(1 << 20));
        let on = |level: usize| found.iter().filter(|cut| cut.1 > level).count();
        assert!((15_000..18_000).contains(&on(0)), "{}", on(0));
        assert!((1_800..2_300).contains(&on(1)), "{}", on(1));
        assert!((200..310).contains(&on(2)), "{}", on(2));
    }

    #[test]
    fn what_is_added_in_one_place_moves_no_cut_elsewhere() {
        let bytes = noise(40_000);
        let before = cuts(&bytes);
        for (at, added) in [(0, 5_000), (20_000, 1), (40_000, 3_000)] {
            let other = noise(50_000);
            let changed = [&bytes[..at], &other[45_000..45_000 + added], &bytes[at..]].concat();
            let after = cuts(&changed);
            for (cut, levels) in &before {
                if *cut <= at {
                    assert!(after.contains(&(*cut, *levels)));
                } else if *cut >= at + REACH {
                    assert!(after.contains(&(*cut + added, *levels)));
                }
            }
        }
    }
}
