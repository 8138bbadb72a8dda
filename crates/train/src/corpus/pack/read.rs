//! Reads a pack: the table first, then any record at random.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use chacha20poly1305::Nonce;
use chacha20poly1305::aead::{Aead, Payload};

use super::{ENTRY_BYTES, Entry, HEAD_BYTES, MAGIC, Policy, Secret};

/// Records of one part at most.
const RECORDS_MAX: u64 = 4 << 20;

/// The kept bytes of one file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// The kept ranges, joined.
    pub(crate) bytes: Vec<u8>,
    /// Where each kept range stood in the file.
    pub(crate) ranges: Vec<std::ops::Range<u64>>,
}

/// One part, open for reading.
pub(crate) struct Part {
    file: File,
    policy: Policy,
    secret: Secret,
    /// Its records, in the order of SHA-256.
    pub(crate) entries: Vec<Entry>,
}

/// The parts in a folder, by name.
pub(crate) fn parts(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "thypack")
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

impl Part {
    /// Opens a part and reads its table.
    pub(crate) fn open(path: &Path, secret: &Secret) -> Result<Self> {
        Self::read(path, secret).with_context(|| format!("open part {}", path.display()))
    }

    fn read(path: &Path, secret: &Secret) -> Result<Self> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut head = [0; HEAD_BYTES as usize + 16];
        file.read_exact(&mut head)?;
        let (magic, rest) = head.split_at(8);
        ensure!(magic == MAGIC, "no part of a pack");
        let (count, rest) = rest.split_first_chunk::<8>().context("head")?;
        let (table, rest) = rest.split_first_chunk::<8>().context("head")?;
        let policy = Policy::parse(rest.first_chunk::<16>().context("head")?);
        let (count, table) = (u64::from_le_bytes(*count), u64::from_le_bytes(*table));
        ensure!(count <= RECORDS_MAX, "{count} records");
        let bytes = count * ENTRY_BYTES as u64;
        ensure!(
            table.checked_add(bytes) == Some(length),
            "the table is not where the head says"
        );
        file.seek(SeekFrom::Start(table))?;
        let mut lines = vec![0; usize::try_from(bytes)?];
        file.read_exact(&mut lines)?;
        let entries: Option<Vec<Entry>> = lines.chunks(ENTRY_BYTES).map(Entry::parse).collect();
        let entries = entries.context("a line of the table is broken")?;
        let is_inside = |entry: &Entry| {
            entry
                .offset
                .checked_add(u64::from(entry.length))
                .is_some_and(|end| end <= table)
        };
        ensure!(entries.iter().all(is_inside), "a record outside its part");
        Ok(Self {
            file,
            policy,
            secret: secret.clone(),
            entries,
        })
    }

    /// The sample of that number in [`Part::entries`].
    pub(crate) fn sample(&mut self, number: usize) -> Result<Sample> {
        let entry = self.entries.get(number).context("no such record")?;
        let mut record = vec![0; entry.length as usize];
        self.file.seek(SeekFrom::Start(entry.offset))?;
        self.file.read_exact(&mut record)?;
        let payload = Payload {
            msg: &record,
            aad: &entry.sha256,
        };
        let packed = self
            .secret
            .cipher(self.policy, &entry.sha256)
            .decrypt(&Nonce::default(), payload)
            .map_err(|_| anyhow::anyhow!("wrong key, or a damaged record"))?;
        let ranges = self.policy.ranges(entry.size, &entry.sha256);
        let length: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        let length = usize::try_from(length)?;
        let bytes = zstd::bulk::decompress(&packed, length).context("decompress a sample")?;
        ensure!(bytes.len() == length, "a sample of another length");
        Ok(Sample { bytes, ranges })
    }
}
