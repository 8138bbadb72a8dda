//! Events of one hour that are in no part yet.

use std::collections::BTreeMap;

use thymus_schema::Event;

use super::cells::{Batch, Cells};
use super::error::ArchiveError;
use super::part::KindRows;
use super::rows::Row;
use super::tables::{COMMON, Table};
use super::write::Rows;

/// Events of one hour, by kind and column.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    kinds: BTreeMap<&'static str, Pending>,
    rows: usize,
    scratch: String,
}

#[derive(Debug)]
struct Pending {
    /// The common columns, then those of the kind.
    columns: Vec<Cells>,
    /// Where those of the kind lie in the file.
    first_own: usize,
    ts_min: i64,
    ts_max: i64,
}

impl Buffer {
    /// Adds an event and returns about how many bytes it takes.
    pub(crate) fn push(&mut self, event: &Event) -> usize {
        let kind = event.body.kind();
        let pending = self.kinds.entry(kind).or_insert_with(|| {
            let table = Table::of_kind(kind);
            let own = table.map_or(0, |table| table.columns.len());
            Pending {
                columns: (0..COMMON.len() + own).map(|_| Cells::default()).collect(),
                first_own: table.map_or(usize::MAX, Table::first_own),
                ts_min: i64::MAX,
                ts_max: i64::MIN,
            }
        });
        let ts = event.ts.as_nanos().div_euclid(1_000);
        pending.ts_min = pending.ts_min.min(ts);
        pending.ts_max = pending.ts_max.max(ts);
        let json = serde_json::to_string(event).unwrap_or_default();
        let id = event.id.to_string();
        let mut row = Row::new(&mut pending.columns, &mut self.scratch);
        row.text(&id);
        row.micros(ts);
        row.text(kind);
        row.conn(event.conn.as_ref());
        row.text(&json);
        row.body(&event.body);
        self.rows += 1;
        // The columns repeat about what the JSON has.
        2 * json.len() + 200
    }

    /// How many events.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Where the kinds will lie in a part.
    pub(crate) fn layout(&self) -> Vec<KindRows> {
        let mut start = 0;
        let place = |(kind, pending): (&&'static str, &Pending)| {
            let rows = pending.columns.first().map_or(0, Cells::rows) as u64;
            let at = start;
            start += rows;
            let (ts_min, ts_max) = (pending.ts_min, pending.ts_max);
            KindRows {
                kind: (*kind).to_owned(),
                start: at,
                rows,
                ts_min,
                ts_max,
            }
        };
        self.kinds.iter().map(place).collect()
    }

    /// The rows for a part with this layout.
    pub(crate) fn rows_source(&self) -> impl Rows {
        Source {
            kinds: self.kinds.values().collect(),
        }
    }
}

struct Source<'a> {
    kinds: Vec<&'a Pending>,
}

impl Rows for Source<'_> {
    fn cells(
        &mut self,
        column: usize,
        kind: usize,
        sink: &mut dyn FnMut(&Batch) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        let Some(pending) = self.kinds.get(kind) else {
            return Ok(());
        };
        let own = |column: usize| Some(COMMON.len() + column.checked_sub(pending.first_own)?);
        let at = if column < COMMON.len() {
            Some(column)
        } else {
            own(column)
        };
        match at.and_then(|at| pending.columns.get(at)) {
            Some(cells) => sink(&cells.batch()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::tables::common;

    #[test]
    fn the_common_columns_are_where_events_put_them() {
        let line = r#"{"id":"0000000000000001-7","ts":"2024-05-06T10:00:00Z","kind":"quirk"}"#;
        let event: Event = serde_json::from_str(line).unwrap();
        let mut buffer = Buffer::default();
        buffer.push(&event);
        let pending = &buffer.kinds["quirk"];
        assert!(pending.columns.iter().all(|cells| cells.rows() == 1));
        assert_eq!(pending.columns.len(), COMMON.len() + 2);
        assert_eq!(pending.columns[common::JSON].rows(), 1);
    }
}
