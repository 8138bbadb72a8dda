//! What a dull model sees of a file: a view is a set of columns.

use std::collections::BTreeMap;

use super::Histograms;
use crate::corpus::index::Row;

/// Header words looked at: the commonest on the training side.
const WORDS_MAX: usize = 96;

/// A set of columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// Size and entropy.
    Size,
    /// Histogram of the kept bytes.
    Bytes,
    /// Header words: architecture, linker, section names.
    Header,
}

impl View {
    /// All views.
    pub(super) const ALL: &[Self] = &[Self::Size, Self::Bytes, Self::Header];

    /// Name in the table.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size, entropy",
            Self::Bytes => "byte histogram",
            Self::Header => "header words",
        }
    }
}

/// The columns of a view.
pub(super) struct Table {
    view: View,
    words: Vec<String>,
}

impl Table {
    /// Chooses the words of the header view on the training side.
    pub(super) fn new(view: View, train: &[&Row]) -> Self {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        if view == View::Header {
            for word in train.iter().flat_map(|row| row.facts.split(' ')) {
                *counts.entry(word).or_default() += 1;
            }
        }
        let mut words: Vec<(usize, &str)> = counts.into_iter().map(|(w, n)| (n, w)).collect();
        words.sort_by(|one, two| two.0.cmp(&one.0).then(one.1.cmp(two.1)));
        words.truncate(WORDS_MAX);
        Self {
            view,
            words: words.into_iter().map(|(_, word)| word.to_owned()).collect(),
        }
    }

    /// Columns.
    pub(super) fn width(&self) -> usize {
        match self.view {
            View::Size => 2,
            View::Bytes => 256,
            View::Header => self.words.len(),
        }
    }

    /// The values, column after column.
    pub(super) fn columns(&self, rows: &[&Row], histograms: &Histograms) -> Vec<f64> {
        let mut out = Vec::with_capacity(rows.len() * self.width());
        for column in 0..self.width() {
            for row in rows {
                out.push(self.value(row, column, histograms));
            }
        }
        out
    }

    fn value(&self, row: &Row, column: usize, histograms: &Histograms) -> f64 {
        match (self.view, column) {
            (View::Size, 0) => (row.size.max(1) as f64).log2(),
            (View::Size, _) => f64::from(row.entropy_milli),
            (View::Bytes, _) => histograms
                .get(&row.sha256)
                .and_then(|shares| shares.get(column))
                .map_or(0.0, |share| f64::from(*share)),
            (View::Header, _) => {
                let word = self.words.get(column);
                let has = word.is_some_and(|word| row.facts.split(' ').any(|own| own == word));
                f64::from(u8::from(has))
            }
        }
    }
}
