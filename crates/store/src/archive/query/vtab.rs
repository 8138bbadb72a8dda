//! The tables as SQLite sees them: virtual tables that are never created and only read.
//!
//! The one file with unsafe code in this workspace. SQLite asks that a table and a cursor begin with
//! its own structure in C layout; the two `unsafe impl` are the promise that they do. Everything else
//! here is safe code, and what decodes files is kept from panicking across SQLite's frames.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_int};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::types::ValueRef;
use rusqlite::vtab::{
    Context, Filters, IndexConstraintOp, IndexInfo, Module, VTab, VTabConfig, VTabConnection,
    VTabCursor, sqlite3_vtab, sqlite3_vtab_cursor,
};
use rusqlite::{Connection, Error, Result};

use super::joined::{self, Joined};
use super::ordered::{self, Ordered};
use super::page::Cell;
use super::scan::{Plan, Scan, Session, SqlColumn, Stopped, Test, columns};
use super::time::{self, TimeText};
use crate::archive::tables::{ColumnType, TABLES, Table, common};

/// What ends a query, as the error that SQLite carries.
pub(super) const STOPPED: &str = "thymus: stopped";

/// How often a table is read anew for a join that memory has no room for.
const RESCANS_MAX: u32 = 100;

/// Makes the tables known to a connection.
pub(super) fn register(connection: &Connection, session: &Arc<Session>) -> Result<()> {
    let module = const { &Module::<EventTable>::eponymous_only_module() };
    for table in TABLES {
        connection.create_module(table.name, module, Some((table, Arc::clone(session))))?;
    }
    Ok(())
}

/// A table.
#[repr(C)]
pub(super) struct EventTable {
    base: sqlite3_vtab,
    table: &'static Table,
    columns: Arc<Vec<SqlColumn>>,
    session: Arc<Session>,
}

/// A reader of a table.
#[repr(C)]
pub(super) struct EventCursor<'vtab> {
    base: sqlite3_vtab_cursor,
    table: &'static Table,
    columns: Arc<Vec<SqlColumn>>,
    session: Arc<Session>,
    scan: Option<Reading>,
    /// What was asked for last, in the words of `best_index`.
    asked: String,
    joined: Option<Joined>,
    /// Whether rows by value do not serve: there are too many, or each time others.
    is_join_too_large: bool,
    /// How often the table was then read anew.
    rescans: u32,
    row: i64,
    text: RefCell<TimeText>,
    of: PhantomData<&'vtab EventTable>,
}

#[expect(
    unsafe_code,
    reason = "a promise about layout: `base` comes first, in C layout"
)]
unsafe impl<'vtab> VTab<'vtab> for EventTable {
    type Aux = (&'static Table, Arc<Session>);
    type Cursor = EventCursor<'vtab>;

    fn connect(
        db: &mut VTabConnection,
        aux: Option<&Self::Aux>,
        _module: &[u8],
        _database: &[u8],
        _table: &[u8],
        _args: &[&[u8]],
    ) -> Result<(Cow<'static, CStr>, Self)> {
        let (table, session) = aux.ok_or(Error::InvalidQuery)?;
        db.config(VTabConfig::DirectOnly)?;
        let columns = columns(table);
        let list: Vec<String> = columns
            .iter()
            .map(|column| format!("{} {}", column.name, column.ty.sql()))
            .collect();
        let schema = format!("CREATE TABLE x({})", list.join(", "));
        let schema = CString::new(schema).map_err(|error| failed(&error.to_string()))?;
        let this = Self {
            base: sqlite3_vtab::default(),
            table,
            columns: Arc::new(columns),
            session: Arc::clone(session),
        };
        Ok((Cow::Owned(schema), this))
    }

    fn best_index(&self, info: &mut IndexInfo) -> Result<bool> {
        let mut steps: Vec<String> = Vec::new();
        let mut cost = self.rows().max(1.0);
        let known: Vec<(usize, bool, bool)> = info
            .constraints()
            .enumerate()
            .map(|(at, constraint)| (at, constraint.is_usable(), false))
            .collect();
        for (at, is_usable, _) in known {
            let Some(step) = is_usable.then(|| self.step(info, at)).flatten() else {
                continue;
            };
            if step.starts_with("in") {
                info.set_in_constraint(at, true)?;
            }
            // What SQLite would convert before comparing it looks at again.
            let is_final = !step.starts_with("eq");
            // The smaller side of a join is to be the one that is held: what equals a value costs more than in
            // proportion to the table.
            let by_value = (cost / 1e10).min(0.05);
            cost *= if is_final && !step.starts_with("in") {
                0.5
            } else {
                by_value
            };
            steps.push(step);
            let mut usage = info.constraint_usage(at);
            usage.set_argv_index(steps.len() as c_int);
            usage.set_omit(is_final);
        }
        let order = self.order(info);
        info.set_order_by_consumed(order.is_some());
        info.set_idx_num(order.unwrap_or(0));
        info.set_idx_str(&format!("{:x};{}", info.col_used(), steps.join(",")));
        info.set_estimated_cost(cost);
        info.set_estimated_rows((cost as i64).max(1));
        Ok(true)
    }

    fn open(&'vtab mut self) -> Result<EventCursor<'vtab>> {
        Ok(EventCursor {
            base: sqlite3_vtab_cursor::default(),
            table: self.table,
            columns: Arc::clone(&self.columns),
            session: Arc::clone(&self.session),
            scan: None,
            asked: String::new(),
            joined: None,
            is_join_too_large: false,
            rescans: 0,
            row: 0,
            text: RefCell::default(),
            of: PhantomData,
        })
    }
}

/// How rows are handed out.
enum Reading {
    Plain(Scan),
    ByTime(Ordered),
    /// By the cursor's rows by value.
    ByValue,
}

impl EventTable {
    /// How many rows the table has.
    fn rows(&self) -> f64 {
        let kinds = self.session.parts.iter().flat_map(|info| &info.meta.kinds);
        let own = kinds.filter(|kind| self.table.kind.is_empty() || self.table.kind == kind.kind);
        own.map(|kind| kind.rows as f64).sum()
    }

    /// The order by time that is asked for, if it can be given: 1 rising, 2 falling.
    fn order(&self, info: &IndexInfo) -> Option<c_int> {
        let mut terms = info.order_bys();
        let (Some(term), None) = (terms.next(), terms.next()) else {
            return None;
        };
        let column = self.columns.get(usize::try_from(term.column()).ok()?)?;
        let mut hours: BTreeMap<i64, u64> = BTreeMap::new();
        for info in &self.session.parts {
            let kinds = info.meta.kinds.iter();
            let own =
                kinds.filter(|rows| matches!(self.table.kind, "") || self.table.kind == rows.kind);
            *hours.entry(info.name.hour).or_default() += own.map(|rows| rows.rows).sum::<u64>();
        }
        let fits = hours.values().all(|rows| *rows <= ordered::ROWS_MAX);
        let order = if term.is_order_by_desc() { 2 } else { 1 };
        (column.physical == common::TS && fits).then_some(order)
    }

    /// What of a constraint can be used: an operator and a column.
    fn step(&self, info: &IndexInfo, at: usize) -> Option<String> {
        let constraint = info.constraints().nth(at)?;
        let column = usize::try_from(constraint.column()).ok()?;
        let known = self.columns.get(column)?;
        let op = match constraint.operator() {
            IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ => "eq",
            IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GE => "ge",
            IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GT => "gt",
            IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LE => "le",
            IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LT => "lt",
            _ => return None,
        };
        let is_in = op == "eq" && info.is_in_constraint(at).unwrap_or(false);
        match known.ty {
            ColumnType::Time if known.physical == common::TS && !is_in => {
                let op = if op == "eq" { "is" } else { op };
                Some(format!("{op}{column}"))
            }
            ColumnType::Text | ColumnType::Integer | ColumnType::Boolean if op == "eq" => {
                let is_exact = info.collation(at).is_ok_and(|name| name == "BINARY");
                let op = if is_in { "in" } else { "eq" };
                is_exact.then(|| format!("{op}{column}"))
            }
            _ => None,
        }
    }
}

impl EventCursor<'_> {
    fn plan(&self, idx_str: Option<&str>, args: &Filters<'_>) -> Result<Plan> {
        let (used, steps) = idx_str
            .and_then(|text| text.split_once(';'))
            .unwrap_or(("", ""));
        let used = u64::from_str_radix(used, 16).unwrap_or(u64::MAX);
        // Bit 63 stands for all columns from there on.
        let is_used = |at: usize| used >> at.min(63) & 1 == 1;
        let mut wanted: Vec<usize> = Vec::new();
        for (at, column) in self.columns.iter().enumerate() {
            if is_used(at) && !wanted.contains(&column.physical) {
                wanted.push(column.physical);
            }
        }
        let mut range = self.session.range;
        let mut tests = Vec::new();
        for (at, step) in steps.split(',').filter(|step| !step.is_empty()).enumerate() {
            let (op, column) = step.split_at_checked(2).unwrap_or((step, ""));
            let column = column
                .parse()
                .ok()
                .and_then(|column: usize| self.columns.get(column));
            let Some(column) = column else { continue };
            match op {
                "eq" => {
                    let value = args.iter().nth(at).unwrap_or(ValueRef::Null);
                    tests.extend(test(*column, value).map(|test| (column.physical, test)));
                }
                "in" => {
                    tests.push((column.physical, test_any(*column, args, at)?));
                }
                _ => {
                    let value = args.iter().nth(at).unwrap_or(ValueRef::Null);
                    narrow(&mut range, op, value)?;
                }
            }
        }
        Ok(Plan {
            table: self.table,
            wanted,
            range,
            tests,
            parts: 0..self.session.parts.len(),
        })
    }

    /// Whether rows by value serve the plan, with the cursor before the first of them.
    fn join(&mut self, asked: &str, plan: &Plan) -> Result<bool> {
        let is_again = self.asked == asked;
        asked.clone_into(&mut self.asked);
        let Some((rest, column, key)) = joined::split(plan).filter(|_| is_again) else {
            return Ok(false);
        };
        if self.is_join_too_large {
            self.rescans += 1;
            if self.rescans > RESCANS_MAX {
                return Err(failed(
                    "both sides of a join are larger than the memory of a query; narrow the time, or join what a \
                     subquery has narrowed before",
                ));
            }
            return Ok(false);
        }
        if let Some(joined) = &self.joined {
            self.is_join_too_large = !joined.serves(&rest, column);
        } else {
            let (session, max) = (&self.session, self.session.join_bytes_max);
            self.joined = guarded(|| Joined::build(session, rest, column, max))?;
            self.is_join_too_large = self.joined.is_none();
        }
        if self.is_join_too_large {
            self.joined = None;
        }
        if let Some(joined) = &mut self.joined {
            joined.find(&key);
        }
        Ok(self.joined.is_some())
    }

    fn step(&mut self) -> Result<()> {
        self.row += 1;
        let is_there = match &mut self.scan {
            None => return Ok(()),
            Some(Reading::Plain(scan)) => guarded(|| scan.advance())?,
            Some(Reading::ByTime(rows)) => guarded(|| rows.advance())?,
            Some(Reading::ByValue) => self.joined.as_mut().is_some_and(Joined::advance),
        };
        if !is_there {
            self.scan = None;
        }
        Ok(())
    }

    fn cell(&self, physical: usize) -> Cell<'_> {
        match &self.scan {
            None => Cell::Null,
            Some(Reading::Plain(scan)) => scan.cell(physical),
            Some(Reading::ByTime(rows)) => rows.cell(physical),
            Some(Reading::ByValue) => self
                .joined
                .as_ref()
                .map_or(Cell::Null, |joined| joined.cell(physical)),
        }
    }
}

/// Keeps a panic from SQLite's frames.
fn guarded<T>(work: impl FnOnce() -> std::result::Result<T, Stopped>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(|_| failed(STOPPED)),
        Err(_) => Err(failed("reading events panicked")),
    }
}

#[expect(
    unsafe_code,
    reason = "a promise about layout: `base` comes first, in C layout"
)]
unsafe impl VTabCursor for EventCursor<'_> {
    fn filter(&mut self, order: c_int, idx_str: Option<&str>, args: &Filters<'_>) -> Result<()> {
        let plan = self.plan(idx_str, args)?;
        self.row = 0;
        let session = Arc::clone(&self.session);
        let is_joined = order == 0 && self.join(idx_str.unwrap_or_default(), &plan)?;
        self.scan = Some(match order {
            0 if is_joined => Reading::ByValue,
            0 => Reading::Plain(Scan::new(session, plan)),
            order => Reading::ByTime(Ordered::new(session, plan, order == 2)),
        });
        self.step()
    }

    fn next(&mut self) -> Result<()> {
        self.step()
    }

    fn eof(&self) -> bool {
        self.scan.is_none()
    }

    fn column(&self, ctx: &mut Context, at: c_int) -> Result<()> {
        let column = usize::try_from(at).ok().and_then(|at| self.columns.get(at));
        let Some(column) = column else { return Ok(()) };
        match (self.cell(column.physical), column.ty) {
            (Cell::Null, _) => Ok(()),
            (Cell::Int(micros), ColumnType::Time) => {
                ctx.set_result(self.text.borrow_mut().of(micros))
            }
            (Cell::Int(micros), ColumnType::Real) => ctx.set_result(micros as f64 / 1e6),
            (Cell::Int(value), _) => ctx.set_result(value),
            (Cell::Real(value), _) => ctx.set_result(value),
            (Cell::Text(bytes), _) => match std::str::from_utf8(bytes) {
                Ok(text) => ctx.set_result(text),
                Err(_) => ctx.set_result(String::from_utf8_lossy(bytes).as_ref()),
            },
        }
    }

    fn rowid(&self) -> Result<i64> {
        Ok(self.row)
    }
}

/// The test for one value; `None` when SQLite has to look, because it would convert it.
fn test(column: SqlColumn, value: ValueRef<'_>) -> Option<Test> {
    match value {
        ValueRef::Text(_) if column.ty == ColumnType::Text => value
            .as_str()
            .ok()
            .map(|text| Test::Texts(vec![text.to_owned()])),
        ValueRef::Integer(int) if column.ty != ColumnType::Text => Some(Test::Ints(vec![int])),
        _ => None,
    }
}

/// The test for one of the values of an IN, which SQLite converted to the column's type where that
/// is possible: what is of another type equals nothing.
fn test_any(column: SqlColumn, args: &Filters<'_>, at: usize) -> Result<Test> {
    let (mut texts, mut ints) = (Vec::new(), Vec::new());
    let mut values = args.in_values(at)?;
    // A value is only good until the next one is asked for.
    while let Some(value) = values.next()? {
        match value {
            ValueRef::Integer(int) => ints.push(int),
            other => texts.extend(other.as_str().map(str::to_owned)),
        }
    }
    let is_text = column.ty == ColumnType::Text;
    Ok(if is_text {
        Test::Texts(texts)
    } else {
        Test::Ints(ints)
    })
}

/// Narrows a range of microseconds.
fn narrow(range: &mut (i64, i64), op: &str, value: ValueRef<'_>) -> Result<()> {
    let nanos = match value {
        // Nothing compares with NULL.
        ValueRef::Null => {
            *range = (1, 0);
            return Ok(());
        }
        ValueRef::Integer(secs) => secs.saturating_mul(1_000_000_000),
        ValueRef::Real(secs) => (secs * 1e9) as i64,
        _ => {
            let text = value.as_str().unwrap_or_default();
            let wrong = || {
                failed(&format!(
                    "'{text}' is no time; write it as '2026-11-23', '2026-11-23T10:00:00Z', or ago('1h')"
                ))
            };
            time::parse(text).ok_or_else(wrong)?
        }
    };
    let floor = nanos.div_euclid(1_000);
    let is_exact = nanos.rem_euclid(1_000) == 0;
    let (from, to) = match op {
        "ge" if is_exact => (floor, i64::MAX),
        "ge" | "gt" => (floor + 1, i64::MAX),
        "lt" if is_exact => (i64::MIN, floor - 1),
        "le" | "lt" => (i64::MIN, floor),
        _ if is_exact => (floor, floor),
        // No time in a part is between two microseconds.
        _ => (1, 0),
    };
    *range = (range.0.max(from), range.1.min(to));
    Ok(())
}

fn failed(message: &str) -> Error {
    Error::ModuleError(message.to_owned())
}
