//! A bounded map that forgets what was touched longest ago.
//!
//! Every per-pair memory of a detector is one of these: it never holds more than its bound, counts
//! what it dropped, and forgets in a way that does not depend on hash order.

use std::hash::Hash;

use rustc_hash::FxHashMap;

/// A map of at most `max` entries. When it is full, the eighth that was touched longest ago goes.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    map: FxHashMap<K, (u64, V)>,
    max: usize,
    clock: u64,
    dropped: u64,
}

impl<K: Hash + Eq + Ord + Copy, V> Table<K, V> {
    /// An empty table that holds at most `max` entries (at least 8).
    pub(crate) fn new(max: usize) -> Self {
        Self {
            map: FxHashMap::default(),
            max: max.max(8),
            clock: 0,
            dropped: 0,
        }
    }

    /// The entry of `key`, made by `make` when absent; counts as a touch.
    pub(crate) fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        if self.map.len() >= self.max && !self.map.contains_key(&key) {
            self.forget_oldest();
        }
        self.clock += 1;
        let slot = self.map.entry(key).or_insert_with(|| (0, make()));
        slot.0 = self.clock;
        &mut slot.1
    }

    /// The entry of `key`, untouched.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.map.get(key).map(|slot| &slot.1)
    }

    /// The entry of `key` for change, without counting as a touch.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.map.get_mut(key).map(|slot| &mut slot.1)
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.map.remove(key).map(|slot| slot.1)
    }

    /// How many entries there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// How many entries were forgotten for want of room.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The entries in order of key, for snapshots and sweeps.
    pub(crate) fn sorted(&self) -> Vec<(K, &V)> {
        let mut rows: Vec<(K, &V)> = self.map.iter().map(|(key, slot)| (*key, &slot.1)).collect();
        rows.sort_unstable_by_key(|row| row.0);
        rows
    }

    fn forget_oldest(&mut self) {
        let mut touched: Vec<u64> = self.map.values().map(|slot| slot.0).collect();
        let cut = touched.len() / 8;
        let (_, line, _) = touched.select_nth_unstable(cut);
        let line = *line;
        let before = self.map.len();
        self.map.retain(|_, slot| slot.0 > line);
        self.dropped += (before - self.map.len()) as u64;
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
    }
}
