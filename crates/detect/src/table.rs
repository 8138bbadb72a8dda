//! A bounded map that forgets what was touched longest ago.
//!
//! Every per-pair memory of a detector is one of these: it never holds more than its bound, counts
//! what it dropped for want of room, and forgets in a way that does not depend on hash order. As a
//! [`Memory`] it also forgets what was not touched for a season, whether or not there is room.

use std::collections::hash_map::Entry;
use std::hash::Hash;

use rustc_hash::FxHashMap;
use thymus_schema::{SnapshotError, SnapshotReader, SnapshotWriter};

use crate::memory::{Ages, Memory};

/// Values in one piece.
const PIECE: usize = 256;
/// When a place without a key was touched: before all others.
const FREE: u64 = 0;

/// A map of at most `max` entries. When it is full, the eighth that was touched longest ago goes.
///
/// Values lie apart from the keys and the times of their last touch, so that finding a key and
/// finding the oldest go through little memory however large the values are.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    places: FxHashMap<K, u32>,
    keys: Vec<K>,
    touched: Vec<u64>,
    /// In pieces, so that growing moves none of them. A piece whose values were all forgotten holds
    /// nothing until one of its places is taken again.
    values: Vec<Vec<Option<V>>>,
    free: Vec<u32>,
    max: usize,
    ages: Ages,
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
            ages: Ages::default(),
            dropped: 0,
        }
    }

    /// The entry of `key`, made by `make` when absent; counts as a touch.
    pub(crate) fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let clock = self.ages.touch();
        let place = match self.places.entry(key) {
            Entry::Occupied(entry) => *entry.get() as usize,
            Entry::Vacant(entry) => {
                let place = self.free.pop().unwrap_or(self.keys.len() as u32);
                entry.insert(place);
                self.settle(place as usize, key)
            }
        };
        if let Some(touched) = self.touched.get_mut(place) {
            *touched = clock;
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
            (*old, *touched) = (key, self.ages.clock);
            if let Some(piece) = self.values.get_mut(place / PIECE)
                && piece.is_empty()
            {
                piece.resize_with(PIECE, || None);
            }
        } else {
            self.keys.push(key);
            self.touched.push(self.ages.clock);
            if place.is_multiple_of(PIECE) {
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
        let clock = self.ages.touch();
        if let Some(touched) = self.touched.get_mut(place) {
            *touched = clock;
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
        if let Some(touched) = self.touched.get_mut(place as usize) {
            *touched = FREE;
        }
        self.at(place as usize)?.take()
    }

    /// How many entries there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The entries with when they were touched, in order of their places.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u64, K, &V)> {
        let places = self.touched.iter().zip(&self.keys).enumerate();
        places.filter_map(|(place, (touched, key))| {
            let value = self.values.get(place / PIECE)?.get(place % PIECE)?;
            Some((*touched, *key, value.as_ref()?))
        })
    }

    /// Writes the entries that `keep` chooses, those touched longest ago first, each with its key by
    /// `write`, and how long ago that was.
    pub(crate) fn write(
        &self,
        out: &mut SnapshotWriter,
        keep: impl Fn(&K, &V) -> bool,
        mut write: impl FnMut(&mut SnapshotWriter, K, &V),
    ) {
        let mut rows: Vec<(u64, K, &V)> = self
            .entries()
            .filter(|(_, key, value)| keep(key, value))
            .collect();
        rows.sort_unstable_by_key(|row| row.0);
        out.u64(rows.len() as u64);
        for (_, key, value) in &rows {
            write(out, *key, value);
        }
        let renumber = |clock| rows.partition_point(|row| row.0 <= clock) as u64;
        self.ages.write(out, renumber);
    }

    /// Reads what [`Table::write`] wrote into a table of at most `max` entries; `read` reads an entry
    /// of at least `bytes` bytes.
    pub(crate) fn read<'a>(
        max: usize,
        from: &mut SnapshotReader<'a>,
        bytes: usize,
        mut read: impl FnMut(&mut SnapshotReader<'a>) -> Result<(K, V), SnapshotError>,
    ) -> Result<Self, SnapshotError> {
        let mut table = Self::new(max);
        for _ in 0..from.count(bytes)? {
            let (key, value) = read(from)?;
            table.entry(key, || value);
        }
        table.ages = Ages::read(from)?;
        Ok(table)
    }

    /// Makes room. Called only when the table is overfull, so no place is free, and the newest key
    /// was touched last.
    fn forget_oldest(&mut self) {
        let mut touched = self.touched.clone();
        let cut = self.max / 8;
        let (_, line, _) = touched.select_nth_unstable(cut);
        let line = *line;
        self.dropped += self.forget_until(line);
    }

    /// Forgets what was touched at `line` or before; how many that were.
    fn forget_until(&mut self, line: u64) -> u64 {
        let before = self.places.len();
        if before == 0 {
            return 0;
        }
        // From the highest place down, because the lowest is to be taken first, so that those in use
        // lie together.
        self.free.clear();
        let pieces = self.touched.chunks_mut(PIECE).zip(self.keys.chunks(PIECE));
        for (piece, ((touched, keys), values)) in pieces.zip(&mut self.values).enumerate().rev() {
            let free_before = self.free.len();
            for (at, touched) in touched.iter_mut().enumerate().rev() {
                // The newest has a key and not yet a value.
                if *touched > line {
                    continue;
                }
                *touched = FREE;
                self.free.push((piece * PIECE + at) as u32);
                if values
                    .get_mut(at)
                    .is_some_and(|value| value.take().is_some())
                    && let Some(key) = keys.get(at)
                {
                    self.places.remove(key);
                }
            }
            if self.free.len() - free_before == PIECE {
                *values = Vec::new();
            }
        }
        (before - self.places.len()) as u64
    }
}

impl<K: Hash + Eq + Ord + Copy, V> Memory for Table<K, V> {
    fn mark(&mut self) {
        self.ages.mark();
    }

    fn pass(&mut self, days: i64) {
        if let Some(line) = self.ages.pass(days) {
            self.forget_until(line);
        }
    }

    fn dropped(&self) -> u64 {
        self.dropped
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
        assert_eq!(table.remove(&100), Some(100));
        assert_eq!(table.get(&100), None);
        assert_eq!(*table.entry(101, || 7), 7, "a place left free begins empty");
    }

    fn day(table: &mut Table<u32, u32>, days: i64) {
        table.mark();
        table.pass(days);
    }

    #[test]
    fn forgets_by_age_and_gives_the_room_back() {
        let mut table = Table::new(4096);
        for key in 0..1000_u32 {
            table.entry(key, || key);
        }
        day(&mut table, 60);
        for key in 900..1000 {
            table.touch(&key);
        }
        day(&mut table, 32);
        assert_eq!(table.len(), 1000, "a season is not over yet");
        day(&mut table, 1);
        assert_eq!(table.len(), 100);
        assert_eq!((table.get(&899), table.get(&900)), (None, Some(&900)));
        let held = |table: &Table<u32, u32>| table.values.iter().map(Vec::len).sum::<usize>();
        assert_eq!(held(&table), 1000 - 3 * PIECE);
        for key in 2000..2900 {
            table.entry(key, || key);
        }
        assert_eq!(
            (table.keys.len(), held(&table)),
            (1000, 1000),
            "taken again"
        );
        assert_eq!(
            (table.get(&2899), table.get(&900)),
            (Some(&2899), Some(&900))
        );
        assert_eq!(table.dropped(), 0, "there was room");
    }

    #[test]
    fn what_came_after_a_long_silence_is_new_though_the_day_was_in_doubt() {
        let mut table = Table::new(16);
        table.entry(1, || 1);
        table.mark();
        table.entry(2, || 2);
        table.pass(5_000);
        assert_eq!((table.get(&1), table.get(&2)), (None, Some(&2)));
    }

    #[test]
    fn ages_and_their_order_outlive_a_snapshot() {
        let saved = |table: &Table<u32, u32>| {
            let mut out = SnapshotWriter::new();
            out.section("t", 1);
            table.write(
                &mut out,
                |key, _| key % 2 == 1,
                |out, key, value| {
                    out.u64(u64::from(key)).u64(u64::from(*value));
                },
            );
            out.finish()["t"].clone()
        };
        let restored = |data: &[u8]| {
            let mut from = SnapshotReader::open("t", data, 1).unwrap();
            Table::read(8, &mut from, 16, |from| {
                Ok((from.u64()? as u32, from.u64()? as u32))
            })
            .unwrap()
        };
        let mut table = Table::new(8);
        for key in [7, 2, 5, 3] {
            table.entry(key, || key);
            day(&mut table, 40);
        }
        let data = saved(&table);
        let mut again = restored(&data);
        assert_eq!(saved(&again), data);
        // Of those kept 7 is gone, 5 is 80 days old and 3 is 40.
        for (days, left) in [(0, 2), (12, 2), (1, 1), (39, 1), (1, 0)] {
            day(&mut again, days);
            assert_eq!(again.len(), left, "after {days} more days");
        }
    }

    #[test]
    fn whatever_comes_and_goes_the_newest_is_there_and_the_bound_holds() {
        let mut table = Table::new(1000);
        let mut state = 1_u64;
        for step in 0..200_000_u64 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let key = (state >> 40) as u32 % 5_000;
            match state >> 60 {
                0 => drop(table.remove(&key)),
                1 if step % 100 == 0 => day(&mut table, 20),
                _ => {
                    *table.entry(key, || 0) = step as u32;
                    assert_eq!(table.get(&key), Some(&(step as u32)));
                }
            }
            assert!(table.len() <= 1000);
            assert_eq!(table.free.len() + table.len(), table.keys.len());
        }
        let rows = table.entries().count();
        assert_eq!(rows, table.len());
        assert_eq!(table.free.len() + rows, table.keys.len());
    }
}
