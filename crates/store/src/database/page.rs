//! Long lists in pieces.

use serde::Serialize;
use utoipa::ToSchema;

/// A piece of a list.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// To be given as `cursor` for the next piece; none at the end.
    pub next_cursor: Option<String>,
    /// How many items the whole list has.
    pub total: u64,
}

impl<T> Page<T> {
    /// The piece that begins at `offset` of a list with `total` items.
    pub(super) fn at(offset: u64, items: Vec<T>, total: u64) -> Self {
        let next = offset + items.len() as u64;
        Self {
            next_cursor: (next < total && !items.is_empty()).then(|| next.to_string()),
            items,
            total,
        }
    }

    /// The same piece with other items.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(change).collect(),
            next_cursor: self.next_cursor,
            total: self.total,
        }
    }
}
