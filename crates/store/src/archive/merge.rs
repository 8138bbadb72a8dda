//! Many small parts of an hour become one. What is merged is copied column by column, so it takes the
//! memory of one column, not of the events.

use std::path::Path;
use std::sync::Arc;

use super::cells::Batch;
use super::error::ArchiveError;
use super::part::{ColumnScan, FORMAT, KindRows, Part, PartInfo, PartMeta, PartName};
use super::tables::PHYSICAL;
use super::write::{self, Rows};

/// Rows copied at a time.
const STEP: usize = 8_192;

/// Parts of one hour that follow one another.
pub(crate) type Run = Vec<Arc<PartInfo>>;

/// Writes a part `name` with the rows of `run` below `dir`.
pub(crate) fn merge(dir: &Path, name: PartName, run: &Run) -> Result<(), ArchiveError> {
    let parts = run.iter().map(|info| Part::open(&info.path));
    let parts = parts.collect::<Result<Vec<Part>, ArchiveError>>()?;
    let mut kinds: Vec<KindRows> = Vec::new();
    for info in run {
        for rows in &info.meta.kinds {
            match kinds.iter_mut().find(|known| known.kind == rows.kind) {
                Some(known) => {
                    known.rows += rows.rows;
                    known.ts_min = known.ts_min.min(rows.ts_min);
                    known.ts_max = known.ts_max.max(rows.ts_max);
                }
                None => kinds.push(rows.clone()),
            }
        }
    }
    kinds.sort_by(|a, b| a.kind.cmp(&b.kind));
    let mut start = 0;
    for rows in &mut kinds {
        rows.start = start;
        start += rows.rows;
    }
    let over = |f: fn(&PartMeta) -> u64| run.iter().map(move |info| f(&info.meta));
    let meta = PartMeta {
        format: FORMAT,
        seq_first: over(|meta| meta.seq_first).min().unwrap_or(0),
        seq_last: over(|meta| meta.seq_last).max().unwrap_or(0),
        seq_done: over(|meta| meta.seq_done).max().unwrap_or(0),
        kinds: kinds.clone(),
        replaces: run.iter().map(|info| info.name.file()).collect(),
        digests: Vec::new(),
    };
    let mut source = Copy {
        parts,
        kinds,
        open: None,
    };
    write::write(dir, name, &meta, &mut source).map(drop)
}

/// A column of a part and the row it stands before; `None` when the part has no such column.
type Standing = Option<(ColumnScan, u64)>;

struct Copy {
    parts: Vec<Part>,
    kinds: Vec<KindRows>,
    /// The column that is being copied, and how far each part was read.
    open: Option<(usize, Vec<Standing>)>,
}

impl Copy {
    fn open(&mut self, column: usize) -> Result<(), ArchiveError> {
        if self
            .open
            .as_ref()
            .is_some_and(|(index, _)| *index == column)
        {
            return Ok(());
        }
        // The column before goes first, so that only one is held.
        self.open = None;
        let name = PHYSICAL
            .get(column)
            .map_or("", |physical| physical.name.as_str());
        let scans = self.parts.iter().map(|part| {
            let scan = part.column(name)?;
            Ok(scan.map(|scan| (scan, 0)))
        });
        self.open = Some((column, scans.collect::<Result<_, ArchiveError>>()?));
        Ok(())
    }
}

impl Rows for Copy {
    fn cells(
        &mut self,
        column: usize,
        kind: usize,
        sink: &mut dyn FnMut(&Batch) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        self.open(column)?;
        let Some(wanted) = self.kinds.get(kind) else {
            return Ok(());
        };
        let Some((_, scans)) = &mut self.open else {
            return Ok(());
        };
        for (part, scan) in self.parts.iter().zip(scans) {
            let Some(rows) = part.meta.kinds.iter().find(|rows| rows.kind == wanted.kind) else {
                continue;
            };
            let Some((scan, at)) = scan else {
                write::skip_rows(sink, column, rows.rows)?;
                continue;
            };
            // Kinds are asked for in their order in every part, so reading never goes back.
            scan.skip(usize::try_from(rows.start.saturating_sub(*at)).unwrap_or(usize::MAX))?;
            let mut left = usize::try_from(rows.rows).unwrap_or(usize::MAX);
            while left > 0 {
                let step = left.min(STEP);
                sink(&scan.read(step)?)?;
                left -= step;
            }
            *at = rows.start + rows.rows;
        }
        Ok(())
    }
}

/// The first parts that are worth merging: `fan_in` neighbours of about one size, or, in an hour that
/// is over, all neighbours that fit into one part.
pub(crate) fn choose<'a>(
    parts: impl Iterator<Item = &'a Arc<PartInfo>>,
    is_over: impl Fn(i64) -> bool,
    rows_max: u64,
) -> Option<Run> {
    const FAN_IN: usize = 8;
    // Parts of one level are at most eight times as large as one another.
    let level = |info: &PartInfo| (info.meta.rows().max(512).ilog2() - 9) / 3;
    let mut run: Run = Vec::new();
    let mut rows = 0;
    let done = |run: &mut Run, rows: &mut u64| {
        let found = std::mem::take(run);
        *rows = 0;
        let hour = found.first()?.name.hour;
        let enough = if is_over(hour) { 2 } else { FAN_IN };
        (found.len() >= enough).then_some(found)
    };
    for info in parts {
        let more = info.meta.rows();
        let fits = run.last().is_none_or(|last| {
            last.name.hour == info.name.hour
                && rows + more <= rows_max
                && (is_over(info.name.hour) || level(last) == level(info) && run.len() < FAN_IN)
        });
        if !fits && let Some(found) = done(&mut run, &mut rows) {
            return Some(found);
        }
        if more < rows_max {
            rows += more;
            run.push(Arc::clone(info));
        }
    }
    done(&mut run, &mut rows)
}
