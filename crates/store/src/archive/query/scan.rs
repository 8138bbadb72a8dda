//! Reading the rows of a table, part by part: only the columns that are asked for, only the parts,
//! kinds and times that can match, and a column only when a row of the batch is still wanted.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::page::{Cell, Page};
use crate::archive::cells::{Batch, Values};
use crate::archive::error::ArchiveError;
use crate::archive::part::{ColumnScan, KindRows, Part, PartInfo};
use crate::archive::tables::{COMMON, ColumnType, PHYSICAL, Table, common};

/// Rows looked at together.
const STEP: usize = 4_096;

/// What all scans of one query share.
pub(super) struct Session {
    /// The parts, oldest first.
    pub(super) parts: Vec<Arc<PartInfo>>,
    /// The times looked at, in microseconds, both included.
    pub(super) range: (i64, i64),
    /// About how many bytes the rows of one join may take.
    pub(super) join_bytes_max: usize,
    /// Whether to end.
    pub(super) stop: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Rows looked at.
    pub(super) scanned: AtomicU64,
    /// What could not be read, one sentence each.
    pub(super) skipped: Mutex<Vec<String>>,
}

impl Session {
    /// Notes a part that cannot be read; the query goes on without it.
    pub(super) fn skip(&self, error: &ArchiveError) {
        let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        let text = error.to_string();
        if !skipped.contains(&text) {
            skipped.push(text);
        }
    }
}

/// A column as SQL sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SqlColumn {
    /// Its name.
    pub(super) name: &'static str,
    /// What it holds.
    pub(super) ty: ColumnType,
    /// Where it lies in the file.
    pub(super) physical: usize,
    /// What it means.
    pub(super) about: &'static str,
}

/// The columns of a table in their order in SQL. `epoch` is made from `ts`.
pub(super) fn columns(table: &'static Table) -> Vec<SqlColumn> {
    let shared = COMMON
        .iter()
        .enumerate()
        .map(|(physical, column)| SqlColumn {
            name: column.name,
            ty: column.ty,
            physical,
            about: column.about,
        });
    let own = table
        .columns
        .iter()
        .enumerate()
        .map(|(at, column)| SqlColumn {
            name: column.name,
            ty: column.ty,
            physical: table.first_own() + at,
            about: column.about,
        });
    let epoch = SqlColumn {
        name: "epoch",
        ty: ColumnType::Real,
        physical: common::TS,
        about: "the same in seconds since 1970",
    };
    let is_all = table.kind.is_empty();
    let mut all = Vec::new();
    let mut json = None;
    for column in shared {
        match column.physical {
            common::JSON => json = Some(column),
            common::KIND if !is_all => {}
            common::TS => all.extend([column, epoch]),
            _ => all.push(column),
        }
    }
    all.extend(own.chain(json));
    all
}

/// What a row must be, beyond the range of time.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    /// One of these texts.
    Texts(Vec<String>),
    /// One of these numbers.
    Ints(Vec<i64>),
}

/// What to read.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The table.
    pub(super) table: &'static Table,
    /// Physical columns wanted.
    pub(super) wanted: Vec<usize>,
    /// Times, in microseconds, both included.
    pub(super) range: (i64, i64),
    /// Physical columns with what they must be.
    pub(super) tests: Vec<(usize, Test)>,
    /// The places of the parts in the session.
    pub(super) parts: Range<usize>,
}

/// A column of the part that is read.
struct Track {
    physical: usize,
    scan: Option<ColumnScan>,
    /// Whether `scan` was looked for.
    is_open: bool,
    /// Rows that were passed over and are still to be skipped.
    owed: usize,
    page: Option<Page>,
}

impl Track {
    /// Reads the next rows.
    fn read(&mut self, part: &Part, rows: usize) -> Result<(), ArchiveError> {
        if !self.is_open {
            self.is_open = true;
            let name = PHYSICAL
                .get(self.physical)
                .map_or("", |known| known.name.as_str());
            self.scan = part.column(name)?;
        }
        let batch = match &mut self.scan {
            Some(scan) => {
                scan.skip(std::mem::take(&mut self.owed))?;
                scan.read(rows)?
            }
            // A part of a version that did not have this column.
            None => Batch {
                levels: vec![0; rows],
                values: Values::Int(Vec::new()),
            },
        };
        self.page = Some(Page::new(batch));
        Ok(())
    }
}

/// Rows of one kind in an open part.
struct Current {
    part: Arc<Part>,
    /// The row of the part behind the present batch.
    end: usize,
    /// How many rows the present batch has.
    len: usize,
    tracks: Vec<Track>,
    left: usize,
}

/// Hands out the rows of a plan.
pub(super) struct Scan {
    session: Arc<Session>,
    plan: Plan,
    next_part: usize,
    /// The part that is read, and its kinds that are still to be read.
    open: Option<(Arc<Part>, Vec<KindRows>)>,
    current: Option<Current>,
    /// Rows of the present batch that match, and the place among them.
    rows: Vec<u32>,
    at: usize,
}

impl Scan {
    pub(super) fn new(session: Arc<Session>, plan: Plan) -> Self {
        Self {
            next_part: plan.parts.start,
            session,
            plan,
            open: None,
            current: None,
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
            match self.batch() {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) => {
                    self.session.skip(&error);
                    (self.current, self.open) = (None, None);
                    self.rows.clear();
                }
            }
        }
        Ok(true)
    }

    /// The value of a physical column in the present row.
    pub(super) fn cell(&self, physical: usize) -> Cell<'_> {
        let Some(current) = &self.current else {
            return Cell::Null;
        };
        let row = self.rows.get(self.at).copied().unwrap_or(u32::MAX) as usize;
        let track = current
            .tracks
            .iter()
            .find(|track| track.physical == physical);
        track
            .and_then(|track| track.page.as_ref())
            .map_or(Cell::Null, |page| page.cell(row))
    }

    /// Where the present row lies: the part's place in the session and the row in it.
    pub(super) fn place(&self) -> (usize, usize) {
        let row = self.rows.get(self.at).copied().unwrap_or(0) as usize;
        let before = self
            .current
            .as_ref()
            .map_or(0, |current| current.end - current.len);
        (self.next_part.saturating_sub(1), before + row)
    }

    /// Reads the next batch; false when there is none.
    fn batch(&mut self) -> Result<bool, ArchiveError> {
        while self
            .current
            .as_ref()
            .is_none_or(|current| current.left == 0)
        {
            self.current = None;
            let Some((part, kinds)) = &mut self.open else {
                if !self.open_next()? {
                    return Ok(false);
                }
                continue;
            };
            if kinds.is_empty() {
                self.open = None;
                continue;
            }
            let kind = kinds.remove(0);
            let part = Arc::clone(part);
            self.current = Some(self.start(part, &kind));
        }
        let Some(current) = &mut self.current else {
            return Ok(false);
        };
        let rows = current.left.min(STEP);
        current.left -= rows;
        current.end += rows;
        current.len = rows;
        self.session
            .scanned
            .fetch_add(rows as u64, Ordering::Relaxed);
        current.select(&self.plan, rows, &mut self.rows)?;
        Ok(true)
    }

    /// Opens the next part that can match.
    fn open_next(&mut self) -> Result<bool, ArchiveError> {
        while self.next_part < self.plan.parts.end {
            let Some(info) = self.session.parts.get(self.next_part) else {
                break;
            };
            self.next_part += 1;
            if info.meta.kinds.iter().any(|kind| self.can_match(kind)) {
                let part = Arc::new(Part::open(&info.path)?);
                let kinds = part.meta.kinds.iter().filter(|kind| self.can_match(kind));
                let kinds = kinds.cloned().collect();
                self.open = Some((part, kinds));
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn can_match(&self, rows: &KindRows) -> bool {
        let (from, to) = self.plan.range;
        let own = self.plan.table.kind;
        let tested = |(column, test): &(usize, Test)| match test {
            Test::Texts(kinds) if *column == common::KIND => kinds.contains(&rows.kind),
            _ => true,
        };
        (own.is_empty() || own == rows.kind)
            && rows.ts_max >= from
            && rows.ts_min <= to
            && self.plan.tests.iter().all(tested)
    }

    fn start(&self, part: Arc<Part>, kind: &KindRows) -> Current {
        let start = usize::try_from(kind.start).unwrap_or(usize::MAX);
        let (from, to) = self.plan.range;
        let is_cut = kind.ts_min < from || kind.ts_max > to;
        let tested = self.plan.tests.iter().map(|(column, _)| *column);
        let mut columns: Vec<usize> = tested.chain(self.plan.wanted.iter().copied()).collect();
        columns.extend(is_cut.then_some(common::TS));
        columns.sort_unstable();
        columns.dedup();
        let track = |physical| Track {
            physical,
            scan: None,
            is_open: false,
            owed: start,
            page: None,
        };
        Current {
            part,
            end: start,
            len: 0,
            tracks: columns.into_iter().map(track).collect(),
            left: usize::try_from(kind.rows).unwrap_or(usize::MAX),
        }
    }
}

/// The query was told to end.
#[derive(Debug)]
pub(super) struct Stopped;

impl Current {
    /// Finds the rows among the next `rows` that match, and reads what is wanted of them.
    fn select(
        &mut self,
        plan: &Plan,
        rows: usize,
        selected: &mut Vec<u32>,
    ) -> Result<(), ArchiveError> {
        selected.clear();
        selected.extend(0..rows as u32);
        for track in &mut self.tracks {
            track.page = None;
        }
        for (column, test) in &plan.tests {
            let page = self.page(*column, rows)?;
            selected.retain(|row| test.holds(page.cell(*row as usize)));
            if selected.is_empty() {
                break;
            }
        }
        let has_time = self.tracks.iter().any(|track| track.physical == common::TS);
        if has_time && !selected.is_empty() {
            let (from, to) = plan.range;
            let page = self.page(common::TS, rows)?;
            selected.retain(|row| match page.cell(*row as usize) {
                Cell::Int(ts) => (from..=to).contains(&ts),
                _ => false,
            });
        }
        for track in &mut self.tracks {
            match track.page {
                Some(_) => {}
                None if selected.is_empty() => track.owed += rows,
                None => track.read(&self.part, rows)?,
            }
        }
        Ok(())
    }

    fn page(&mut self, column: usize, rows: usize) -> Result<&Page, ArchiveError> {
        let missing = || ArchiveError::damaged(std::path::Path::new("a part"), "no such column");
        let found = self
            .tracks
            .iter_mut()
            .find(|track| track.physical == column);
        let track = found.ok_or_else(missing)?;
        if track.page.is_none() {
            track.read(&self.part, rows)?;
        }
        track.page.as_ref().ok_or_else(missing)
    }
}

impl Test {
    fn holds(&self, cell: Cell<'_>) -> bool {
        match (self, cell) {
            (Self::Texts(texts), Cell::Text(text)) => {
                texts.iter().any(|wanted| wanted.as_bytes() == text)
            }
            (Self::Ints(ints), Cell::Int(int)) => ints.contains(&int),
            _ => false,
        }
    }
}
