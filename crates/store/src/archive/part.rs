//! One part: a Parquet file of events of one hour, its own description, and reading it.
//!
//! The description says which rows are of which kind, which frames of the journal are in it, and the
//! digest of every column, so no byte of a column is decoded before it is known to be what was
//! written. What the digests cannot stop (a part that was made to harm) meets `catch_unwind`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, Bytes, buf::Reader};
use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;
use serde::{Deserialize, Serialize};
use thymus_schema::Timestamp;

use super::cells::{Batch, Values};
use super::error::ArchiveError;

/// The format this build writes, and the latest it reads.
pub(crate) const FORMAT: u32 = 1;
/// The key of the description in the file's metadata.
pub(crate) const META_KEY: &str = "thymus.part";
/// The key of the description's digest.
pub(crate) const DIGEST_KEY: &str = "thymus.digest";
/// Rows that one part may claim: more than is ever written.
const ROWS_MAX: u64 = 1 << 24;

/// Where a part lies: the hour since 1970 and its number in that hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartName {
    /// The hour.
    pub(crate) hour: i64,
    /// The number.
    pub(crate) number: u32,
}

impl PartName {
    /// The folder of the day.
    pub(crate) fn day(self) -> String {
        let shown = Timestamp::from_secs(self.hour.saturating_mul(3_600)).to_string();
        shown.get(..10).unwrap_or("0000-00-00").to_owned()
    }

    /// The file's name in the folder of the day.
    pub(crate) fn file(self) -> String {
        format!("{:02}-{:03}.parquet", self.hour.rem_euclid(24), self.number)
    }

    /// The file.
    pub(crate) fn path(self, dir: &Path) -> PathBuf {
        dir.join(self.day()).join(self.file())
    }

    /// Reads the names of a day's folder and a file in it.
    pub(crate) fn parse(day: &str, file: &str) -> Option<Self> {
        let (hour_of_day, number) = file.strip_suffix(".parquet")?.split_once('-')?;
        let start = Timestamp::parse(&format!("{day}T{hour_of_day}:00:00Z"))?;
        let name = Self {
            hour: start.as_secs().div_euclid(3_600),
            number: number.parse().ok()?,
        };
        // One spelling only, so that a name and its file are one to one.
        (name.day() == day && name.file() == file).then_some(name)
    }
}

/// The rows of one kind, which lie together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KindRows {
    /// The kind.
    pub(crate) kind: String,
    /// The first row.
    pub(crate) start: u64,
    /// How many.
    pub(crate) rows: u64,
    /// The earliest time, in microseconds.
    pub(crate) ts_min: i64,
    /// The latest.
    pub(crate) ts_max: i64,
}

/// What a part says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartMeta {
    /// The format.
    pub(crate) format: u32,
    /// The first frame of the journal whose events of this hour are all in here.
    pub(crate) seq_first: u64,
    /// The last such frame.
    pub(crate) seq_last: u64,
    /// All events of all hours up to this frame lay in parts when this one was put in its place.
    pub(crate) seq_done: u64,
    /// Where the kinds lie.
    pub(crate) kinds: Vec<KindRows>,
    /// Files of this hour whose rows are in here, so that they count no more.
    #[serde(default)]
    pub(crate) replaces: Vec<String>,
    /// Digests of the columns, in the order of the file, BLAKE3, hex.
    #[serde(default)]
    pub(crate) digests: Vec<String>,
}

impl PartMeta {
    /// All rows.
    pub(crate) fn rows(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.rows).sum()
    }

    /// Why this description cannot be right; `None` when it can.
    fn fault(&self, rows: i64, columns: usize) -> Option<&'static str> {
        let mut next = 0u64;
        for kind in &self.kinds {
            if kind.start != next || kind.rows > ROWS_MAX {
                return Some("its rows overlap");
            }
            next += kind.rows;
        }
        if u64::try_from(rows) != Ok(next) {
            return Some("its rows do not add up");
        }
        (self.digests.len() != columns).then_some("its digests are not those of its columns")
    }
}

/// What is known of a part without opening it.
#[derive(Clone, Debug)]
pub(crate) struct PartInfo {
    /// Its place.
    pub(crate) name: PartName,
    /// The file.
    pub(crate) path: PathBuf,
    /// Its size.
    pub(crate) bytes: u64,
    /// What it says of itself, without the digests.
    pub(crate) meta: PartMeta,
}

/// An open part.
pub(crate) struct Part {
    path: PathBuf,
    file: File,
    footer: ParquetMetaData,
    /// What it says of itself.
    pub(crate) meta: PartMeta,
}

impl PartInfo {
    /// Reads what a part says of itself.
    pub(crate) fn read(name: PartName, path: &Path) -> Result<Self, ArchiveError> {
        let part = Part::open(path)?;
        let bytes = Length::len(&part.file);
        let meta = PartMeta {
            digests: Vec::new(),
            ..part.meta
        };
        Ok(Self {
            name,
            path: path.to_path_buf(),
            bytes,
            meta,
        })
    }
}

/// Runs what may panic on bytes that nobody here wrote.
pub(crate) fn shielded<T>(
    path: &Path,
    work: impl FnOnce() -> Result<T, ParquetError>,
) -> Result<T, ArchiveError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(ArchiveError::damaged(path, error.to_string())),
        Err(_) => Err(ArchiveError::damaged(path, "reading it panicked")),
    }
}

impl Part {
    /// Opens a part and checks what it says of itself.
    pub(crate) fn open(path: &Path) -> Result<Self, ArchiveError> {
        let file = File::open(path).map_err(|error| ArchiveError::io("open", path, error))?;
        let footer = shielded(path, || {
            ParquetMetaDataReader::new().parse_and_finish(&file)
        })?;
        let value = |key: &str| {
            let pairs = footer.file_metadata().key_value_metadata()?;
            pairs.iter().find(|pair| pair.key == key)?.value.as_deref()
        };
        let bad = |why: &str| ArchiveError::damaged(path, why);
        let text = value(META_KEY).ok_or_else(|| bad("it is not a part of an archive"))?;
        if value(DIGEST_KEY) != Some(digest(text.as_bytes()).as_str()) {
            return Err(bad("its description is damaged"));
        }
        let format = serde_json::from_str::<Format>(text)
            .map_err(|e| bad(&e.to_string()))?
            .format;
        if format > FORMAT {
            let path = path.to_path_buf();
            return Err(ArchiveError::Newer {
                path,
                format,
                known: FORMAT,
            });
        }
        let meta: PartMeta = serde_json::from_str(text).map_err(|e| bad(&e.to_string()))?;
        if footer.num_row_groups() != 1 {
            return Err(bad("it has no rows, or several groups of them"));
        }
        let group = footer.row_group(0);
        if let Some(why) = meta.fault(group.num_rows(), group.num_columns()) {
            return Err(bad(why));
        }
        Ok(Self {
            path: path.to_path_buf(),
            file,
            footer,
            meta,
        })
    }

    /// A reader of the column with this name, standing before its first row; `None` when the part
    /// has no such column.
    pub(crate) fn column(&self, name: &str) -> Result<Option<ColumnScan>, ArchiveError> {
        self.scan(name, true)
    }

    /// The same without a look at the digest, as if the part had been made to harm.
    #[cfg(test)]
    pub(crate) fn column_unverified(&self, name: &str) -> Result<Option<ColumnScan>, ArchiveError> {
        self.scan(name, false)
    }

    fn scan(&self, name: &str, verify: bool) -> Result<Option<ColumnScan>, ArchiveError> {
        let group = self.footer.row_group(0);
        let found = group
            .columns()
            .iter()
            .position(|chunk| matches!(chunk.column_path().parts(), [only] if only == name));
        let Some(index) = found else { return Ok(None) };
        let chunk = group.column(index);
        let (start, len) = shielded(&self.path, || Ok(chunk.byte_range()))?;
        let end = start
            .checked_add(len)
            .filter(|end| *end <= Length::len(&self.file));
        let len = end.and_then(|_| usize::try_from(len).ok());
        let len = len.ok_or_else(|| ArchiveError::damaged(&self.path, "it is cut short"))?;
        let mut bytes = vec![0; len];
        self.file
            .read_exact_at(&mut bytes, start)
            .map_err(|error| ArchiveError::io("read", &self.path, error))?;
        if verify && self.meta.digests.get(index) != Some(&digest(&bytes)) {
            return Err(ArchiveError::damaged(
                &self.path,
                format!("column {name} is damaged"),
            ));
        }
        let chunk_bytes = Arc::new(Chunk {
            start,
            bytes: bytes.into(),
        });
        let rows = usize::try_from(group.num_rows()).unwrap_or(0);
        let reader = shielded(&self.path, || {
            let pages = SerializedPageReader::new(chunk_bytes, chunk, rows, None)?;
            Ok(get_column_reader(chunk.column_descr_ptr(), Box::new(pages)))
        })?;
        Ok(Some(ColumnScan {
            path: self.path.clone(),
            reader,
        }))
    }
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// A BLAKE3 digest, hex.
pub(crate) fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// The bytes of one column at the place where they lie in the file.
struct Chunk {
    start: u64,
    bytes: Bytes,
}

impl Chunk {
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        start
            .checked_sub(self.start)
            .and_then(|at| usize::try_from(at).ok())
            .filter(|at| *at <= self.bytes.len())
            .map(|at| self.bytes.slice(at..))
            .ok_or_else(|| ParquetError::General("a page lies outside its column".to_owned()))
    }
}

impl Length for Chunk {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Chunk {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.from(start)?;
        if length > bytes.len() {
            return Err(ParquetError::EOF("a page is cut short".to_owned()));
        }
        Ok(bytes.slice(..length))
    }
}

/// Reads one column from row to row.
pub(crate) struct ColumnScan {
    path: PathBuf,
    reader: ColumnReader,
}

impl ColumnScan {
    /// Passes over rows.
    pub(crate) fn skip(&mut self, rows: usize) -> Result<(), ArchiveError> {
        let reader = &mut self.reader;
        let skipped = shielded(&self.path, || match reader {
            ColumnReader::BoolColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::Int64ColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::DoubleColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::ByteArrayColumnReader(reader) => reader.skip_records(rows),
            _ => Err(odd_type()),
        })?;
        self.all(skipped, rows)
    }

    /// Reads exactly so many rows.
    pub(crate) fn read(&mut self, rows: usize) -> Result<Batch, ArchiveError> {
        let mut levels = Vec::with_capacity(rows);
        let reader = &mut self.reader;
        let (read, values) = shielded(&self.path, || {
            let levels = Some(&mut levels);
            Ok(match reader {
                ColumnReader::BoolColumnReader(reader) => {
                    let mut values = Vec::new();
                    let (read, ..) = reader.read_records(rows, levels, None, &mut values)?;
                    (
                        read,
                        Values::Int(values.into_iter().map(i64::from).collect()),
                    )
                }
                ColumnReader::Int64ColumnReader(reader) => {
                    let mut values = Vec::new();
                    let (read, ..) = reader.read_records(rows, levels, None, &mut values)?;
                    (read, Values::Int(values))
                }
                ColumnReader::DoubleColumnReader(reader) => {
                    let mut values = Vec::new();
                    let (read, ..) = reader.read_records(rows, levels, None, &mut values)?;
                    (read, Values::Real(values))
                }
                ColumnReader::ByteArrayColumnReader(reader) => {
                    let mut values = Vec::new();
                    let (read, ..) = reader.read_records(rows, levels, None, &mut values)?;
                    (read, Values::Text(values))
                }
                _ => return Err(odd_type()),
            })
        })?;
        self.all(read, rows)?;
        let present = levels.iter().filter(|level| **level == 1).count();
        let values_len = match &values {
            Values::Text(values) => values.len(),
            Values::Int(values) => values.len(),
            Values::Real(values) => values.len(),
        };
        if levels.len() != rows || present != values_len {
            return Err(ArchiveError::damaged(
                &self.path,
                "a column has too few values",
            ));
        }
        Ok(Batch { levels, values })
    }

    fn all(&self, done: usize, rows: usize) -> Result<(), ArchiveError> {
        if done == rows {
            Ok(())
        } else {
            Err(ArchiveError::damaged(
                &self.path,
                "a column has too few rows",
            ))
        }
    }
}

fn odd_type() -> ParquetError {
    ParquetError::General("a column has a type that thymus does not write".to_owned())
}
