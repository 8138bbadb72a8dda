//! Rows by their time, so that the latest hundred do not cost a look at all of them.
//!
//! A part holds one hour, so hours follow one another. Of an hour the times of the rows that match are
//! read and sorted; then the rows themselves, first a few, then more at a time: most who ask for an
//! order want only its beginning.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::page::{Cell, Owned, Page};
use super::scan::{Plan, Scan, Session, Stopped};
use crate::archive::error::ArchiveError;
use crate::archive::part::Part;
use crate::archive::tables::{PHYSICAL, common};

/// Rows of one hour that can be sorted here; where there are more, SQLite sorts.
pub(super) const ROWS_MAX: u64 = 4 << 20;
/// Rows read together at first, and at most.
const FIRST: usize = 256;
const MOST: usize = 32_768;

/// A row that matches.
#[derive(Clone, Copy)]
struct Found {
    ts: i64,
    part: u32,
    row: u32,
}

/// Hands out the rows of a plan by their time.
pub(super) struct Ordered {
    session: Arc<Session>,
    plan: Plan,
    is_descending: bool,
    /// The parts of each hour that is still to come, the next one last.
    hours: Vec<Range<usize>>,
    found: Vec<Found>,
    next: usize,
    step: usize,
    /// Rows that were read, each with the wanted columns.
    rows: Vec<Vec<Owned>>,
    at: usize,
}

impl Ordered {
    pub(super) fn new(session: Arc<Session>, plan: Plan, is_descending: bool) -> Self {
        let mut hours: Vec<Range<usize>> = Vec::new();
        let mut last = None;
        for (at, info) in session.parts.iter().enumerate() {
            match hours.last_mut() {
                Some(range) if last == Some(info.name.hour) => range.end = at + 1,
                _ => hours.push(at..at + 1),
            }
            last = Some(info.name.hour);
        }
        if !is_descending {
            hours.reverse();
        }
        Self {
            session,
            plan,
            is_descending,
            hours,
            found: Vec::new(),
            next: 0,
            step: FIRST,
            rows: Vec::new(),
            at: 0,
        }
    }

    /// Goes to the next row; false when there is none.
    ///
    /// # Errors
    /// When the query is to end.
    pub(super) fn advance(&mut self) -> Result<bool, Stopped> {
        self.at += 1;
        while self.at >= self.rows.len() {
            if (self.session.stop)() {
                return Err(Stopped);
            }
            self.at = 0;
            self.rows.clear();
            if self.next < self.found.len() {
                self.read();
            } else if let Some(parts) = self.hours.pop() {
                self.find(parts)?;
            } else {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The value of a physical column in the present row.
    pub(super) fn cell(&self, physical: usize) -> Cell<'_> {
        let column = self
            .plan
            .wanted
            .iter()
            .position(|wanted| *wanted == physical);
        let row = self.rows.get(self.at);
        column
            .and_then(|column| row?.get(column))
            .map_or(Cell::Null, Owned::cell)
    }

    /// Finds and sorts the rows of an hour.
    fn find(&mut self, parts: Range<usize>) -> Result<(), Stopped> {
        self.found.clear();
        self.next = 0;
        let plan = Plan {
            wanted: vec![common::TS],
            parts,
            ..self.plan.clone()
        };
        let mut scan = Scan::new(Arc::clone(&self.session), plan);
        while scan.advance()? {
            let (part, row) = scan.place();
            let Cell::Int(ts) = scan.cell(common::TS) else {
                continue;
            };
            self.found.push(Found {
                ts,
                part: part as u32,
                row: row as u32,
            });
        }
        self.found
            .sort_unstable_by_key(|found| (found.ts, found.part, found.row));
        if self.is_descending {
            self.found.reverse();
        }
        Ok(())
    }

    /// Reads the next rows.
    fn read(&mut self) {
        let end = (self.next + self.step).min(self.found.len());
        let wanted = self.found.get(self.next..end).unwrap_or_default();
        self.next = end;
        self.step = (self.step * 8).min(MOST);
        // By part, so that each is opened once: where a row is read to, and which it is.
        let mut by_part: BTreeMap<u32, Vec<(usize, usize)>> = BTreeMap::new();
        for (to, found) in wanted.iter().enumerate() {
            by_part
                .entry(found.part)
                .or_default()
                .push((found.row as usize, to));
        }
        let mut rows: Vec<Option<Vec<Owned>>> = Vec::new();
        rows.resize_with(wanted.len(), || None);
        for (part, mut places) in by_part {
            places.sort_unstable();
            match self.read_part(part, &places) {
                Ok(read) => {
                    for ((_, to), row) in places.into_iter().zip(read) {
                        if let Some(slot) = rows.get_mut(to) {
                            *slot = Some(row);
                        }
                    }
                }
                Err(error) => self.session.skip(&error),
            }
        }
        self.rows = rows.into_iter().flatten().collect();
    }

    /// The rows of one part, in their order there.
    fn read_part(
        &self,
        part: u32,
        places: &[(usize, usize)],
    ) -> Result<Vec<Vec<Owned>>, ArchiveError> {
        let Some(info) = self.session.parts.get(part as usize) else {
            return Ok(Vec::new());
        };
        let part = Part::open(&info.path)?;
        let mut rows: Vec<Vec<Owned>> = places.iter().map(|_| Vec::new()).collect();
        for column in &self.plan.wanted {
            let name = PHYSICAL
                .get(*column)
                .map_or("", |known| known.name.as_str());
            let Some(mut scan) = part.column(name)? else {
                for row in &mut rows {
                    row.push(Owned::Null);
                }
                continue;
            };
            let (mut stands, mut at) = (0, 0);
            while let Some((first, _)) = places.get(at) {
                // Rows that follow one another are read together.
                let rest = places.get(at..).unwrap_or_default();
                let run = rest
                    .iter()
                    .enumerate()
                    .take_while(|(i, (row, _))| *row == first + i);
                let len = run.count();
                scan.skip(first - stands)?;
                let page = Page::new(scan.read(len)?);
                for (i, row) in rows.iter_mut().skip(at).take(len).enumerate() {
                    row.push(Owned::of(page.cell(i)));
                }
                stands = first + len;
                at += len;
            }
        }
        Ok(rows)
    }
}
