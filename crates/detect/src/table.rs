//! A bounded map that forgets what was touched longest ago.
//!
//! Every per-pair memory of a detector is one of these: it never holds more than its bound, counts
//! what it dropped, and forgets in a way that does not depend on hash order.

use std::collections::hash_map::Entry;
use std::hash::Hash;

use rustc_hash::FxHashMap;

/// Values in one piece.
const PIECE: usize = 256;

/// A map of at most `max` entries. When it is full, the eighth that was touched longest ago goes.
///
/// Values lie apart from the keys and the times of their last touch, so that finding a key and
/// finding the oldest go through little memory however large the values are.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    places: FxHashMap<K, u32>,
    keys: Vec<K>,
    touched: Vec<u64>,
    /// In pieces, so that growing moves none of them.
    values: Vec<Vec<Option<V>>>,
    free: Vec<u32>,
    max: usize,
    clock: u64,
    dropped: u64,
}

impl<K: Hash + Eq + Ord + Copy, V> Table<K, V> {
    /// An empty table that holds at most `max` entries (at least 8).
    pub(crate) fn new(max: usize) -> Self {
        Self {
            places: FxHashMap::default(),
            keys: Vec::new(),
            touched: Vec::new(),
            values: Vec::new(),
            free: Vec::new(),
            max: max.max(8),
            clock: 0,
            dropped: 0,
        }
    }

    /// The entry of `key`, made by `make` when absent; counts as a touch.
    pub(crate) fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        self.clock += 1;
        let place = match self.places.entry(key) {
            Entry::Occupied(entry) => *entry.get() as usize,
            Entry::Vacant(entry) => {
                let place = self.free.pop().unwrap_or(self.keys.len() as u32);
                entry.insert(place);
                self.settle(place as usize, key)
            }
        };
        if let Some(touched) = self.touched.get_mut(place) {
            *touched = self.clock;
        }
        // Places point into the values, which never shrink.
        self.values[place / PIECE][place % PIECE].get_or_insert_with(make)
    }

    /// The entry of `key`, made by `make` when absent, if `make` gives one; counts as a touch.
    pub(crate) fn entry_if(&mut self, key: K, make: impl FnOnce() -> Option<V>) -> Option<&mut V> {
        if self.places.contains_key(&key) {
            return self.touch(&key);
        }
        let made = make()?;
        Some(self.entry(key, || made))
    }

    /// Gives a key the place that was found for it, and makes room when that was one too many.
    fn settle(&mut self, place: usize, key: K) -> usize {
        if let (Some(old), Some(touched)) = (self.keys.get_mut(place), self.touched.get_mut(place))
        {
            (*old, *touched) = (key, self.clock);
        } else {
            self.keys.push(key);
            self.touched.push(self.clock);
            if self.values.last().is_none_or(|piece| piece.len() == PIECE) {
                self.values.push(Vec::with_capacity(PIECE));
            }
            if let Some(piece) = self.values.last_mut() {
                piece.push(None);
            }
        }
        if self.places.len() > self.max {
            self.forget_oldest();
        }
        place
    }

    fn value(&self, key: &K) -> Option<usize> {
        self.places.get(key).map(|place| *place as usize)
    }

    fn at(&mut self, place: usize) -> Option<&mut Option<V>> {
        self.values.get_mut(place / PIECE)?.get_mut(place % PIECE)
    }

    /// The entry of `key`, untouched.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        let place = self.value(key)?;
        self.values.get(place / PIECE)?.get(place % PIECE)?.as_ref()
    }

    /// The entry of `key` if there is one; counts as a touch.
    pub(crate) fn touch(&mut self, key: &K) -> Option<&mut V> {
        let place = self.value(key)?;
        self.clock += 1;
        if let Some(touched) = self.touched.get_mut(place) {
            *touched = self.clock;
        }
        self.at(place)?.as_mut()
    }

    /// The entry of `key` for change, without counting as a touch.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = self.value(key)?;
        self.at(place)?.as_mut()
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.places.remove(key)?;
        self.free.push(place);
        self.at(place as usize)?.take()
    }

    /// How many entries there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// How many entries were forgotten for want of room.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The entries in order of key, for snapshots and sweeps.
    pub(crate) fn sorted(&self) -> Vec<(K, &V)> {
        let mut rows: Vec<(K, &V)> = self
            .keys
            .iter()
            .zip(self.values.iter().flatten())
            .filter_map(|(key, value)| value.as_ref().map(|value| (*key, value)))
            .collect();
        rows.sort_unstable_by_key(|row| row.0);
        rows
    }

    /// Makes room. Called only when the table is overfull, so no place is free, and the newest key
    /// was touched last.
    fn forget_oldest(&mut self) {
        let mut touched = self.touched.clone();
        let cut = self.max / 8;
        let (_, line, _) = touched.select_nth_unstable(cut);
        let line = *line;
        let values = self.values.iter_mut().flatten();
        let places = self.keys.iter().zip(&self.touched).zip(values);
        for (place, ((key, touched), value)) in places.enumerate() {
            if *touched <= line {
                self.places.remove(key);
                *value = None;
                self.free.push(place as u32);
                self.dropped += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_what_was_touched_longest_ago_and_counts_it() {
        let mut table = Table::new(16);
        for key in 0..16_u32 {
            table.entry(key, || key);
        }
        table.entry(0, || 99);
        table.entry(100, || 100);
        assert_eq!(table.get(&0), Some(&0), "touched again, so kept");
        assert_eq!(table.get(&1), None);
        assert_eq!(table.get(&100), Some(&100));
        assert_eq!(table.len() as u64 + table.dropped(), 17);
        assert!(table.sorted().windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(table.remove(&100), Some(100));
        assert_eq!(table.get(&100), None);
        assert_eq!(*table.entry(101, || 7), 7, "a place left free begins empty");
    }
}
