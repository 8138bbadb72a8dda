//! Rows by the value of one column, for joins: SQLite asks for the rows that equal a value, again and
//! again for every row of the other table. From the second time on the rows lie here, by that value.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::page::{Cell, Owned};
use super::scan::{Plan, Scan, Session, Stopped, Test};

/// A value that rows are found by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Int(i64),
    Text(Vec<u8>),
}

/// The rows of a plan by the value of one column.
pub(super) struct Joined {
    /// The plan without the test of that column.
    rest: Plan,
    column: usize,
    rows: Vec<Vec<Owned>>,
    by_key: BTreeMap<Key, Vec<u32>>,
    /// The rows that equal the value asked for, and the place among them.
    found: Vec<u32>,
    at: usize,
}

/// Takes the test for one value out of a plan: the column and the value.
pub(super) fn split(plan: &Plan) -> Option<(Plan, usize, Key)> {
    let single = |(column, test): &(usize, Test)| match test {
        Test::Texts(texts) => match texts.as_slice() {
            [text] => Some((*column, Key::Text(text.as_bytes().to_vec()))),
            _ => None,
        },
        Test::Ints(ints) => match ints.as_slice() {
            [int] => Some((*column, Key::Int(*int))),
            _ => None,
        },
    };
    let place = plan.tests.iter().position(|test| single(test).is_some())?;
    let mut rest = plan.clone();
    let (column, key) = single(&rest.tests.remove(place))?;
    Some((rest, column, key))
}

impl Joined {
    /// Reads the rows; `None` when they take more than about `bytes_max`.
    pub(super) fn build(
        session: &Arc<Session>,
        rest: Plan,
        column: usize,
        bytes_max: usize,
    ) -> Result<Option<Self>, Stopped> {
        let mut plan = rest.clone();
        if !plan.wanted.contains(&column) {
            plan.wanted.push(column);
        }
        let mut scan = Scan::new(Arc::clone(session), plan);
        let (mut rows, mut by_key, mut bytes) = (Vec::new(), BTreeMap::new(), 0);
        while scan.advance()? {
            let key = match scan.cell(column) {
                Cell::Int(int) => Key::Int(int),
                Cell::Text(text) => Key::Text(text.to_vec()),
                // Equals nothing.
                Cell::Null | Cell::Real(_) => continue,
            };
            let row: Vec<Owned> = rest
                .wanted
                .iter()
                .map(|column| Owned::of(scan.cell(*column)))
                .collect();
            bytes += 120 + row.iter().map(Owned::bytes).sum::<usize>();
            if bytes > bytes_max {
                return Ok(None);
            }
            by_key
                .entry(key)
                .or_insert_with(Vec::new)
                .push(rows.len() as u32);
            rows.push(row);
        }
        Ok(Some(Self {
            rest,
            column,
            rows,
            by_key,
            found: Vec::new(),
            at: 0,
        }))
    }

    /// Whether these rows are those of such a plan.
    pub(super) fn serves(&self, rest: &Plan, column: usize) -> bool {
        self.column == column
            && self.rest.wanted == rest.wanted
            && self.rest.range == rest.range
            && self.rest.tests == rest.tests
    }

    /// Goes before the first row that equals `key`.
    pub(super) fn find(&mut self, key: &Key) {
        self.found = self.by_key.get(key).cloned().unwrap_or_default();
        // The first step goes to the first row.
        self.at = usize::MAX;
    }

    /// Goes to the next row; false when there is none.
    pub(super) fn advance(&mut self) -> bool {
        self.at = self.at.wrapping_add(1);
        self.at < self.found.len()
    }

    /// The value of a physical column in the present row.
    pub(super) fn cell(&self, physical: usize) -> Cell<'_> {
        let column = self
            .rest
            .wanted
            .iter()
            .position(|wanted| *wanted == physical);
        let row = self
            .found
            .get(self.at)
            .and_then(|row| self.rows.get(*row as usize));
        column
            .and_then(|column| row?.get(column))
            .map_or(Cell::Null, Owned::cell)
    }
}
