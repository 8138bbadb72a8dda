//! Writing a part: beside its place, flushed, then renamed, so that a part is whole or not there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use parquet::basic::{
    Compression, Encoding, LogicalType, Repetition, TimeUnit, Type as PhysicalType, ZstdLevel,
};
use parquet::column::writer::ColumnWriter;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, Type, TypePtr};

use super::cells::{Batch, Values};
use super::error::ArchiveError;
use super::part::{DIGEST_KEY, META_KEY, PartMeta, PartName, digest};
use super::tables::{ColumnType, PHYSICAL, Physical};

/// What a file that is not whole yet is called.
pub(crate) const UNFINISHED: &str = "part.new";

/// Where the rows come from.
pub(crate) trait Rows {
    /// Hands `sink` the values of the column with the index `column` for the rows of the kind with
    /// the index `kind`, all of them, in order.
    fn cells(
        &mut self,
        column: usize,
        kind: usize,
        sink: &mut dyn FnMut(&Batch) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError>;
}

/// Writes a part below `dir` and puts it in its place. Returns its size.
pub(crate) fn write(
    dir: &Path,
    name: PartName,
    meta: &PartMeta,
    rows: &mut dyn Rows,
) -> Result<u64, ArchiveError> {
    let day = dir.join(name.day());
    fs::create_dir_all(&day).map_err(|error| ArchiveError::io("create", &day, error))?;
    let fresh = dir.join(UNFINISHED);
    let place = name.path(dir);
    let written = write_file(&fresh, meta, rows).and_then(|bytes| {
        fs::rename(&fresh, &place).map_err(|error| ArchiveError::io("rename", &fresh, error))?;
        let synced = File::open(&day).and_then(|folder| folder.sync_all());
        synced.map_err(|error| ArchiveError::io("flush", &day, error))?;
        Ok(bytes)
    });
    if written.is_err() {
        // What was written of it is of no use and may be what fills the disk.
        drop(fs::remove_file(&fresh));
    }
    written
}

/// A file that remembers why it could not be written: the library makes text of it on the way.
struct Told {
    file: File,
    refused: Arc<Mutex<Option<io::ErrorKind>>>,
}

impl Told {
    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            *refused = Some(error.kind());
        }
        result
    }
}

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes);
        self.note(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.file.flush();
        self.note(flushed)
    }
}

fn write_file(path: &Path, meta: &PartMeta, rows: &mut dyn Rows) -> Result<u64, ArchiveError> {
    let refused = Arc::default();
    write_rows(path, meta, rows, &refused).map_err(|error| {
        let kind = refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        kind.map_or(error, |kind| ArchiveError::io("write", path, kind.into()))
    })
}

fn write_rows(
    path: &Path,
    meta: &PartMeta,
    rows: &mut dyn Rows,
    refused: &Arc<Mutex<Option<io::ErrorKind>>>,
) -> Result<u64, ArchiveError> {
    let io = |error: io::Error| ArchiveError::io("write", path, error);
    let library = |error: ParquetError| ArchiveError::writing(path, error);
    let refused = Arc::clone(refused);
    let file = Told {
        file: File::create(path).map_err(io)?,
        refused,
    };
    let reread = File::open(path).map_err(io)?;
    let schema = Arc::clone(&SCHEMA.0);
    let mut writer =
        SerializedFileWriter::new(file, schema, Arc::clone(&SCHEMA.1)).map_err(library)?;
    let mut group = writer.next_row_group().map_err(library)?;
    for (index, column) in PHYSICAL.iter().enumerate() {
        let next = group.next_column().map_err(library)?;
        let mut open =
            next.ok_or_else(|| io(io::Error::other("the schema has too few columns")))?;
        write_column(path, open.untyped(), (index, column), meta, rows)?;
        open.close().map_err(library)?;
    }
    let footer = group.close().map_err(library)?;
    writer.flush().map_err(io)?;
    let mut meta = meta.clone();
    meta.digests = Vec::with_capacity(PHYSICAL.len());
    for chunk in footer.columns() {
        let (start, len) = chunk.byte_range();
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        reread.read_exact_at(&mut bytes, start).map_err(io)?;
        meta.digests.push(digest(&bytes));
    }
    let text = serde_json::to_string(&meta).map_err(|error| io(error.into()))?;
    let seal = digest(text.as_bytes());
    writer.append_key_value_metadata(KeyValue::new(META_KEY.to_owned(), text));
    writer.append_key_value_metadata(KeyValue::new(DIGEST_KEY.to_owned(), seal));
    let file = writer.into_inner().map_err(library)?.file;
    file.sync_all().map_err(io)?;
    file.metadata().map(|known| known.len()).map_err(io)
}

fn write_column(
    path: &Path,
    writer: &mut ColumnWriter<'_>,
    (index, column): (usize, &Physical),
    meta: &PartMeta,
    rows: &mut dyn Rows,
) -> Result<(), ArchiveError> {
    let mut put =
        |batch: &Batch| put(writer, batch).map_err(|error| ArchiveError::writing(path, error));
    // Rows of kinds without this column, not yet written.
    let mut gap = 0u64;
    for (at, kind) in meta.kinds.iter().enumerate() {
        if column.kind.is_some_and(|only| only != kind.kind) {
            gap += kind.rows;
            continue;
        }
        skip(&mut put, column.ty, std::mem::take(&mut gap))?;
        rows.cells(index, at, &mut put)?;
    }
    skip(&mut put, column.ty, gap)
}

/// Rows without a value, of the column with this index.
pub(crate) fn skip_rows(
    put: &mut dyn FnMut(&Batch) -> Result<(), ArchiveError>,
    column: usize,
    rows: u64,
) -> Result<(), ArchiveError> {
    skip(
        put,
        PHYSICAL
            .get(column)
            .map_or(ColumnType::Text, |known| known.ty),
        rows,
    )
}

fn skip(
    put: &mut dyn FnMut(&Batch) -> Result<(), ArchiveError>,
    ty: ColumnType,
    mut rows: u64,
) -> Result<(), ArchiveError> {
    while rows > 0 {
        let some = rows.min(65_536);
        let values = match ty {
            ColumnType::Text => Values::Text(Vec::new()),
            ColumnType::Real => Values::Real(Vec::new()),
            _ => Values::Int(Vec::new()),
        };
        put(&Batch {
            levels: vec![0; usize::try_from(some).unwrap_or(0)],
            values,
        })?;
        rows -= some;
    }
    Ok(())
}

fn put(writer: &mut ColumnWriter<'_>, batch: &Batch) -> Result<(), ParquetError> {
    let levels = Some(batch.levels.as_slice());
    match (writer, &batch.values) {
        (ColumnWriter::ByteArrayColumnWriter(writer), Values::Text(values)) => {
            writer.write_batch(values, levels, None)
        }
        (ColumnWriter::Int64ColumnWriter(writer), Values::Int(values)) => {
            writer.write_batch(values, levels, None)
        }
        (ColumnWriter::DoubleColumnWriter(writer), Values::Real(values)) => {
            writer.write_batch(values, levels, None)
        }
        (ColumnWriter::BoolColumnWriter(writer), Values::Int(values)) => {
            let values: Vec<bool> = values.iter().map(|value| *value != 0).collect();
            writer.write_batch(&values, levels, None)
        }
        _ => return Err(ParquetError::General("values of another type".to_owned())),
    }?;
    Ok(())
}

static SCHEMA: LazyLock<(TypePtr, WriterPropertiesPtr)> =
    LazyLock::new(|| (Arc::new(schema()), Arc::new(properties())));

#[expect(
    clippy::expect_used,
    reason = "the schema is a constant, and a test builds it"
)]
fn schema() -> Type {
    let fields = PHYSICAL.iter().map(|column| {
        let (physical, logical) = match column.ty {
            ColumnType::Text => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
            ColumnType::Integer => (PhysicalType::INT64, None),
            ColumnType::Real => (PhysicalType::DOUBLE, None),
            ColumnType::Boolean => (PhysicalType::BOOLEAN, None),
            ColumnType::Time => {
                let unit = TimeUnit::MICROS;
                (
                    PhysicalType::INT64,
                    Some(LogicalType::timestamp(true, unit)),
                )
            }
        };
        let field = Type::primitive_type_builder(&column.name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical)
            .build();
        Arc::new(field.expect("a valid column"))
    });
    Type::group_type_builder("event")
        .with_fields(fields.collect())
        .build()
        .expect("a valid schema")
}

fn properties() -> WriterProperties {
    let path = |name: &str| ColumnPath::from(name);
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by(concat!("thymus ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_max_row_group_row_count(None);
    // What other tools can pass over row groups by.
    for name in ["ts", "kind", "client_port", "server_port"] {
        builder = builder.set_column_statistics_enabled(path(name), EnabledStatistics::Chunk);
    }
    // No two rows have the same.
    for name in ["id", "json"] {
        builder = builder.set_column_dictionary_enabled(path(name), false);
    }
    builder
        .set_column_dictionary_enabled(path("ts"), false)
        .set_column_encoding(path("ts"), Encoding::DELTA_BINARY_PACKED)
        .build()
}
