//! Chance that is the same each time: SplitMix64 (Steele et al., *Fast Splittable Pseudorandom Number
//! Generators*, 2014).

/// A source of chance.
pub(super) struct Dice(u64);

impl Dice {
    /// One of its own for each seed and file.
    pub(super) fn new(seed: u64, sha256: &[u8; 32]) -> Self {
        let head = sha256.first_chunk().copied().unwrap_or_default();
        Self(u64::from_le_bytes(head) ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not zero.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub(super) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// Small letters.
    pub(super) fn letters(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| b'a' + self.below(26) as u8).collect()
    }

    /// One of several; none of none.
    pub(super) fn pick<'t, T>(&mut self, from: &'t [T]) -> Option<&'t T> {
        let at = self.below(from.len());
        from.get(at)
    }
}
