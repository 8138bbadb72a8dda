//! Records of Zeek's logs: tab-separated with a header (Zeek manual, "Log Files" and the ASCII
//! writer's options) or one JSON object a line. Fields are found by name, so logs of any version and
//! with any added columns are read; unset fields are absent. Nothing is copied before it is asked
//! for.
//!
//! JSON names come in several shapes: `id.orig_h`, nested `"id": {"orig_h"`, and `id_orig_h` as some
//! shippers flatten them; all mean the same field.

mod fields;
mod row;

pub use fields::ZeekField;
pub use row::ZeekRow;

use row::{Cells, unescape};

use crate::json::Json;

/// Not a column of this log.
const ABSENT: u16 = u16::MAX;
/// Most columns of a log.
const COLUMNS_MAX: usize = 1024;

/// Where each known field stands in a record.
type Columns = [u16; ZeekField::COUNT];

/// Reads tab-separated logs. A file may contain several headers (rotated logs put end to end).
#[derive(Clone, Debug)]
pub struct ZeekTsv {
    separator: u8,
    set_separator: u8,
    empty: Vec<u8>,
    unset: Vec<u8>,
    path: String,
    columns: Box<Columns>,
    width: usize,
    /// End of each column in the line at hand.
    ends: Vec<u32>,
}

/// What a line of a tab-separated log is.
#[derive(Debug)]
pub enum ZeekLine<'a> {
    /// Part of a header or footer, or blank.
    Directive,
    /// A record.
    Row(ZeekRow<'a>),
    /// A record with fewer or more columns than the header names, or before any header.
    Misfit,
}

impl Default for ZeekTsv {
    fn default() -> Self {
        Self {
            separator: b'\t',
            set_separator: b',',
            empty: b"(empty)".to_vec(),
            unset: b"-".to_vec(),
            path: String::new(),
            columns: Box::new([ABSENT; ZeekField::COUNT]),
            width: 0,
            ends: Vec::new(),
        }
    }
}

impl ZeekTsv {
    /// The log's name as its header gives it (`conn`, `dns`, …); empty before the header.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Reads one line, without its line feed.
    pub fn line<'a>(&'a mut self, line: &'a [u8]) -> ZeekLine<'a> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return ZeekLine::Directive;
        }
        if line.first() == Some(&b'#') {
            self.directive(line);
            return ZeekLine::Directive;
        }
        if self.width == 0 || u32::try_from(line.len()).is_err() {
            return ZeekLine::Misfit;
        }
        self.ends.clear();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the length was checked above"
        )]
        self.ends
            .extend(memchr::memchr_iter(self.separator, line).map(|at| at as u32));
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the length was checked above"
        )]
        self.ends.push(line.len() as u32);
        if self.ends.len() != self.width {
            return ZeekLine::Misfit;
        }
        ZeekLine::Row(ZeekRow {
            columns: &self.columns,
            cells: Cells::Tsv { line, tsv: self },
        })
    }

    fn directive(&mut self, line: &[u8]) {
        let mut parts = line.splitn(2, |byte| *byte == self.separator || *byte == b' ');
        let (name, value) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        match name {
            b"#separator" => {
                if let Some(separator) = unescape(value).first() {
                    self.separator = *separator;
                }
            }
            b"#set_separator" => self.set_separator = value.first().copied().unwrap_or(b','),
            b"#empty_field" => self.empty = value.to_vec(),
            b"#unset_field" => self.unset = value.to_vec(),
            b"#path" => self.path = String::from_utf8_lossy(value).into_owned(),
            b"#fields" => self.fields(value),
            _ => {}
        }
    }

    fn fields(&mut self, names: &[u8]) {
        self.columns.fill(ABSENT);
        self.width = 0;
        for name in names.split(|byte| *byte == self.separator) {
            let index = u16::try_from(self.width).unwrap_or(ABSENT);
            self.width = self.width.saturating_add(1);
            let field = std::str::from_utf8(name)
                .ok()
                .and_then(ZeekField::from_name);
            if let Some(slot) = field.and_then(|field| self.columns.get_mut(field as usize))
                && *slot == ABSENT
            {
                *slot = index;
            }
        }
        if self.width > COLUMNS_MAX {
            self.width = 0;
        }
    }

    fn cell<'a>(&self, line: &'a [u8], column: u16) -> Option<&'a [u8]> {
        let column = usize::from(column);
        let end = *self.ends.get(column)? as usize;
        let start = match column.checked_sub(1) {
            Some(before) => (*self.ends.get(before)? as usize).checked_add(1)?,
            None => 0,
        };
        line.get(start..end)
            .filter(|cell| *cell != self.unset.as_slice())
    }
}

/// Reads logs of one JSON object a line. Remembers the order of the members of the line before,
/// because the next one nearly always has the same.
#[derive(Clone, Debug, Default)]
pub struct ZeekJson {
    order: Vec<(String, Option<ZeekField>)>,
}

/// A record read from JSON.
#[derive(Debug)]
pub struct ZeekObject<'a> {
    columns: Columns,
    cells: Vec<Json<'a>>,
    path: String,
}

impl ZeekJson {
    /// Reads one line; `None` when it is not a JSON object.
    pub fn line<'a>(&mut self, line: &'a [u8]) -> Option<ZeekObject<'a>> {
        let Json::Map(members) = Json::parse(line)? else {
            return None;
        };
        let mut object = ZeekObject {
            columns: [ABSENT; ZeekField::COUNT],
            cells: Vec::with_capacity(members.len()),
            path: String::new(),
        };
        let mut position = 0;
        for (name, value) in members {
            if let Json::Map(inner) = value {
                for (inner_name, value) in inner {
                    object.put(ZeekField::from_name(&format!("{name}.{inner_name}")), value);
                }
                continue;
            }
            if matches!(&*name, "@stream" | "@path" | "_path" | "log_type") {
                value.text().clone_into(&mut object.path);
            }
            let field = match self.order.get(position) {
                Some((known, field)) if *known == *name => *field,
                _ => self.learn(position, &name),
            };
            position = position.saturating_add(1);
            object.put(field, value);
        }
        Some(object)
    }

    fn learn(&mut self, position: usize, name: &str) -> Option<ZeekField> {
        let field = ZeekField::from_name(name).or_else(|| {
            let (head, tail) = name.split_once('_')?;
            matches!(head, "id" | "certificate" | "san" | "request")
                .then(|| ZeekField::from_name(&format!("{head}.{tail}")))?
        });
        if position < COLUMNS_MAX {
            self.order.truncate(position);
            if self.order.len() == position {
                self.order.push((name.to_owned(), field));
            }
        }
        field
    }
}

impl<'a> ZeekObject<'a> {
    /// The log's name as the record gives it; empty when it does not.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The record's fields.
    pub fn row(&self) -> ZeekRow<'_> {
        ZeekRow {
            columns: &self.columns,
            cells: Cells::Json(&self.cells),
        }
    }

    fn put(&mut self, field: Option<ZeekField>, value: Json<'a>) {
        let Some(slot) = field.and_then(|field| self.columns.get_mut(field as usize)) else {
            return;
        };
        if *slot == ABSENT && !value.is_null() {
            *slot = u16::try_from(self.cells.len()).unwrap_or(ABSENT);
            self.cells.push(value);
        }
    }
}

/// Runs the readers over hostile bytes.
pub fn fuzz(bytes: &[u8]) {
    let mut tsv = ZeekTsv::default();
    let mut json = ZeekJson::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        if let ZeekLine::Row(row) = tsv.line(line) {
            row.fuzz();
        }
        if let Some(object) = json.line(line) {
            object.row().fuzz();
        }
    }
}

#[cfg(test)]
mod tests;
