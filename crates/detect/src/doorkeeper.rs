//! A memory for keys that came once, in little room.
//!
//! Most pairs of a device and a destination are seen a single time, and a full entry for each costs
//! more than everything else done about them. Here each key has one place, which a later key may
//! take: nothing is searched, moved or freed. A key that comes again while it has its place is let in,
//! with what was noted the first time (Einziger, Friedman and Manes, *TinyLFU: A Highly Efficient
//! Cache Admission Policy*, ACM Transactions on Storage 2017, has such a doorkeeper before its cache).

use std::hash::Hash;

use crate::trail::key_of;

/// Places; a power of two.
const PLACES: usize = 65_536;

/// Notes of type `N` on keys that came once.
#[derive(Debug)]
pub(crate) struct Doorkeeper<N> {
    /// Digests of keys, 0 where there is none; empty before the first key comes. Apart from the
    /// notes, so that telling that a key is new goes through little memory.
    tags: Vec<u32>,
    notes: Vec<N>,
}

impl<N> Default for Doorkeeper<N> {
    fn default() -> Self {
        Self {
            tags: Vec::new(),
            notes: Vec::new(),
        }
    }
}

impl<N: Copy> Doorkeeper<N> {
    /// Gives the note taken when `key` came first, and forgets it; when it has not come, or too long
    /// ago, takes `note` and gives none.
    pub(crate) fn admit(&mut self, key: impl Hash, note: N) -> Option<N> {
        let (tag, known, noted) = self.place(key, note)?;
        if *known == tag {
            *known = 0;
            return Some(*noted);
        }
        (*known, *noted) = (tag, note);
        None
    }

    /// Notes `note` on `key` and gives the note that was there.
    pub(crate) fn swap(&mut self, key: impl Hash, note: N) -> Option<N> {
        let (tag, known, noted) = self.place(key, note)?;
        let before = (*known == tag).then_some(*noted);
        (*known, *noted) = (tag, note);
        before
    }

    /// The tag of a key and its place; `note` fills the places when there are none yet.
    fn place(&mut self, key: impl Hash, note: N) -> Option<(u32, &mut u32, &mut N)> {
        if self.tags.is_empty() {
            self.tags.resize(PLACES, 0);
            self.notes.resize(PLACES, note);
        }
        let digest = key_of(key);
        let mixed = digest.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let place = mixed as usize % PLACES;
        let tag = (digest ^ digest >> 32) as u32;
        Some((
            tag.max(1),
            self.tags.get_mut(place)?,
            self.notes.get_mut(place)?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_comes_again_is_let_in_with_what_was_noted_first() {
        let mut door = Doorkeeper::default();
        assert_eq!(door.admit("a", 1), None);
        assert_eq!(door.admit("b", 2), None);
        assert_eq!(door.admit("a", 3), Some(1));
        assert_eq!(
            door.admit("a", 4),
            None,
            "it was let in and is forgotten here"
        );
    }

    #[test]
    fn a_crowd_takes_the_places_of_those_before() {
        let mut door = Doorkeeper::default();
        let crowd = 4 * PLACES as u64;
        let again = (0..crowd)
            .filter(|key| door.admit(key, ()).is_some())
            .count();
        assert_eq!(again, 0);
        let mut kept = |keys: std::ops::Range<u64>| -> usize {
            keys.filter(|key| door.admit(key, ()).is_some()).count()
        };
        let (newest, oldest) = (kept(crowd - 1_000..crowd), kept(0..1_000));
        assert!(newest > 900 && oldest < 100, "{newest} {oldest}");
    }
}
