//! Writes a pack: chooses files from the index, walks their sources once more, compresses and enciphers
//! each sample as it comes by, and sorts the records into parts at the end. Between, enciphered records wait
//! in one file beside the parts.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result};
use chacha20poly1305::Nonce;
use chacha20poly1305::aead::{Aead, Payload};
use sha2::{Digest, Sha256};

use super::{ENTRY_BYTES, Entry, HEAD_BYTES, MAGIC, Policy, Secret};
use crate::corpus::index::Row;
use crate::corpus::kind::Kind;
use crate::corpus::manifest::{Label, Manifest, Role};
use crate::corpus::unpack::Tally;
use crate::corpus::walk::{self, Places};

/// Zstandard level: the size of what is carried counts more than the minutes.
const LEVEL: i32 = 12;

/// What goes into a pack.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    /// Types; empty: all.
    pub(crate) kinds: Vec<Kind>,
    /// Files of one cluster at most.
    pub(crate) cluster_files_max: usize,
    /// Files of one type, label and side at most.
    pub(crate) class_files_max: usize,
    /// Bytes of one part at most.
    pub(crate) part_bytes_max: u64,
}

impl Choice {
    /// The rows taken: by hash order, so that a bound takes a fair draw.
    pub(crate) fn rows<'a>(&self, rows: &'a [Row]) -> BTreeMap<[u8; 32], &'a Row> {
        let mut clusters: BTreeMap<(&str, Label), usize> = BTreeMap::new();
        let mut classes: BTreeMap<(Kind, Label, Role), usize> = BTreeMap::new();
        let mut taken = BTreeMap::new();
        for row in rows {
            if !self.kinds.is_empty() && !self.kinds.contains(&row.kind) {
                continue;
            }
            let cluster = clusters.entry((&row.cluster, row.label)).or_default();
            let class = classes.entry((row.kind, row.label, row.role)).or_default();
            if *cluster >= self.cluster_files_max || *class >= self.class_files_max {
                continue;
            }
            let Some(sha256) = unhex(&row.sha256) else {
                continue;
            };
            *cluster += 1;
            *class += 1;
            taken.insert(sha256, row);
        }
        taken
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    for (at, slot) in out.iter_mut().enumerate() {
        *slot = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(out)
}

/// Writes the parts below `folder`; gives back how many records each holds, by file name.
pub(crate) fn write(
    manifest: &Manifest,
    places: &Places,
    rows: &[Row],
    choice: &Choice,
    policy: Policy,
    secret: &Secret,
    folder: &Path,
) -> Result<BTreeMap<String, usize>> {
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let wanted = choice.rows(rows);
    let waiting = folder.join("records.waiting");
    let mut entries = Vec::new();
    {
        let file = File::create(&waiting).context("make the file of waiting records")?;
        let mut spill = Spill {
            file: BufWriter::new(file),
            offset: 0,
            policy,
            secret,
            entries: BTreeMap::new(),
        };
        for source in &manifest.sources {
            if !wanted.values().any(|row| row.source == source.name) {
                continue;
            }
            let mut failed = None;
            walk::each(source, places, &mut Tally::new(), &mut |item| {
                let sha256: [u8; 32] = Sha256::digest(item.bytes).into();
                let row = wanted.get(&sha256).filter(|row| row.source == source.name);
                if let Some(row) = row
                    && let Err(error) = spill.add(&sha256, row, item.bytes)
                {
                    failed.get_or_insert(error);
                }
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
        }
        spill.file.flush().context("write waiting records")?;
        entries.extend(spill.entries.into_values());
    }
    let written = sort_into_parts(&waiting, entries, choice.part_bytes_max, policy, folder)?;
    fs::remove_file(&waiting).context("remove the file of waiting records")?;
    Ok(written)
}

struct Spill<'a> {
    file: BufWriter<File>,
    offset: u64,
    policy: Policy,
    secret: &'a Secret,
    entries: BTreeMap<[u8; 32], Entry>,
}

impl Spill<'_> {
    fn add(&mut self, sha256: &[u8; 32], row: &Row, bytes: &[u8]) -> Result<()> {
        if self.entries.contains_key(sha256) {
            return Ok(());
        }
        let mut kept = Vec::new();
        for range in self.policy.ranges(bytes.len() as u64, sha256) {
            let range = usize::try_from(range.start)?..usize::try_from(range.end)?;
            kept.extend_from_slice(bytes.get(range).unwrap_or_default());
        }
        let packed = zstd::bulk::compress(&kept, LEVEL).context("compress a sample")?;
        let payload = Payload {
            msg: &packed,
            aad: sha256,
        };
        let record = self
            .secret
            .cipher(self.policy, sha256)
            .encrypt(&Nonce::default(), payload)
            .map_err(|_| anyhow::anyhow!("a sample does not encipher"))?;
        self.file
            .write_all(&record)
            .context("write a waiting record")?;
        let cluster = row
            .cluster
            .get(..8)
            .and_then(|text| u32::from_str_radix(text, 16).ok());
        let entry = Entry {
            sha256: *sha256,
            offset: self.offset,
            length: u32::try_from(record.len())?,
            size: bytes.len() as u64,
            kind: row.kind,
            label: row.label,
            role: row.role,
            cluster: cluster.unwrap_or_default(),
        };
        self.offset += record.len() as u64;
        self.entries.insert(*sha256, entry);
        Ok(())
    }
}

fn sort_into_parts(
    waiting: &Path,
    entries: Vec<Entry>,
    part_bytes_max: u64,
    policy: Policy,
    folder: &Path,
) -> Result<BTreeMap<String, usize>> {
    let mut groups: BTreeMap<(Kind, Role), Vec<Entry>> = BTreeMap::new();
    for entry in entries {
        groups
            .entry((entry.kind, entry.role))
            .or_default()
            .push(entry);
    }
    let mut records = File::open(waiting).context("open the file of waiting records")?;
    let mut written = BTreeMap::new();
    for ((kind, role), group) in groups {
        let mut number = 0;
        let mut rest = group.as_slice();
        while !rest.is_empty() {
            let mut bytes = HEAD_BYTES + 16;
            let fit = rest.iter().take_while(|entry| {
                bytes += u64::from(entry.length) + ENTRY_BYTES as u64;
                bytes <= part_bytes_max
            });
            // A record longer than a part still has to go somewhere.
            let fit = fit.count().max(1);
            let (now, later) = rest.split_at(fit);
            let name = format!("{}-{}-{number:03}.thypack", kind.as_str(), role.as_str());
            part(&mut records, now, policy, &folder.join(&name))?;
            written.insert(name, fit);
            rest = later;
            number += 1;
        }
    }
    Ok(written)
}

fn part(records: &mut File, entries: &[Entry], policy: Policy, path: &Path) -> Result<()> {
    let file = File::create(path).with_context(|| format!("make {}", path.display()))?;
    let mut out = BufWriter::new(file);
    let start = HEAD_BYTES + 16;
    let body: u64 = entries.iter().map(|entry| u64::from(entry.length)).sum();
    out.write_all(MAGIC)?;
    out.write_all(&(entries.len() as u64).to_le_bytes())?;
    out.write_all(&(start + body).to_le_bytes())?;
    out.write_all(&policy.bytes())?;
    let mut table = Vec::new();
    let mut offset = start;
    for entry in entries {
        let mut record = vec![0; entry.length as usize];
        records
            .seek(SeekFrom::Start(entry.offset))
            .context("read a waiting record")?;
        records
            .read_exact(&mut record)
            .context("read a waiting record")?;
        out.write_all(&record)?;
        let moved = Entry {
            offset,
            ..entry.clone()
        };
        table.extend_from_slice(&moved.bytes());
        offset += u64::from(entry.length);
    }
    out.write_all(&table)?;
    out.flush()
        .with_context(|| format!("write {}", path.display()))
}
