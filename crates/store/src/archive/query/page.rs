//! Values of columns on their way from a part to SQLite.

use crate::archive::cells::{Batch, Values};

/// A row without a value.
const NONE: u32 = u32::MAX;

/// Some rows of one physical column, with room for those that have no value.
#[derive(Debug)]
pub(super) struct Page {
    values: Values,
    slots: Vec<u32>,
}

/// One value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cell<'a> {
    /// No value.
    Null,
    /// A whole number.
    Int(i64),
    /// A number.
    Real(f64),
    /// Text, as bytes of the file.
    Text(&'a [u8]),
}

/// A value that outlives what it was read with.
#[derive(Debug)]
pub(super) enum Owned {
    /// No value.
    Null,
    /// A whole number.
    Int(i64),
    /// A number.
    Real(f64),
    /// Text.
    Text(Box<[u8]>),
}

impl Owned {
    pub(super) fn of(cell: Cell<'_>) -> Self {
        match cell {
            Cell::Null => Self::Null,
            Cell::Int(value) => Self::Int(value),
            Cell::Real(value) => Self::Real(value),
            Cell::Text(value) => Self::Text(value.into()),
        }
    }

    pub(super) fn cell(&self) -> Cell<'_> {
        match self {
            Self::Null => Cell::Null,
            Self::Int(value) => Cell::Int(*value),
            Self::Real(value) => Cell::Real(*value),
            Self::Text(value) => Cell::Text(value),
        }
    }

    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Text(value) => 40 + value.len(),
            _ => 24,
        }
    }
}

impl Page {
    /// The rows of a batch.
    pub(super) fn new(batch: Batch) -> Self {
        let mut next = 0;
        let slot = |level: &i16| {
            if *level == 1 {
                next += 1;
                next - 1
            } else {
                NONE
            }
        };
        let slots = batch.levels.iter().map(slot).collect();
        Self {
            values: batch.values,
            slots,
        }
    }

    /// The value of a row.
    pub(super) fn cell(&self, row: usize) -> Cell<'_> {
        let slot = self.slots.get(row).copied().unwrap_or(NONE) as usize;
        let found = match &self.values {
            Values::Text(values) => values.get(slot).map(|value| Cell::Text(value.data())),
            Values::Int(values) => values.get(slot).map(|value| Cell::Int(*value)),
            Values::Real(values) => values.get(slot).map(|value| Cell::Real(*value)),
        };
        found.unwrap_or(Cell::Null)
    }
}
