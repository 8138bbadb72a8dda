//! Builds the index: walks every source, types, digests and compares each file, drops exact duplicates
//! (inside a class: counted; across classes: the scrub list), finds near-duplicate clusters and puts
//! each whole on one side.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use sha2::{Digest, Sha256};

use super::index::{Row, clean};
use super::kind::{self, Kind};
use super::manifest::{Label, Manifest, Role, Source};
use super::near::{self, Likeness};
use super::unpack::Tally;
use super::walk::{self, Item, Places, Table};
use super::{facts, roles};

/// Shorter files hold nothing to judge.
const SIZE_MIN: usize = 48;
/// Distinct files taken of one source; a bound, far above any source here.
const SOURCE_FILES_MAX: usize = 200_000;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// Distinct files by SHA-256.
    pub(crate) rows: Vec<Row>,
    /// Files found with both labels, dropped: SHA-256, malicious source, benign source.
    pub(crate) scrubbed: Vec<(String, String, String)>,
    /// What each source gave, in the manifest's order.
    pub(crate) sources: Vec<SourceReport>,
}

/// What one source gave.
#[derive(Debug, Default)]
pub(crate) struct SourceReport {
    /// Its name.
    pub(crate) name: String,
    /// Files walked.
    pub(crate) files: u64,
    /// Files of a known and wanted type.
    pub(crate) usable: u64,
    /// Of these, first seen here.
    pub(crate) distinct: u64,
    /// What was not taken, by reason.
    pub(crate) tally: Tally,
}

/// A distinct file of one source, before comparison.
struct Found {
    size: u64,
    kind: Kind,
    typed_by: &'static str,
    role: Option<Role>,
    family: String,
    entropy_milli: u32,
    facts: String,
    locator: String,
    likeness: Likeness,
}

type Files = BTreeMap<[u8; 32], Found>;

/// What the walk of one source came to, by its number.
type Walked = BTreeMap<usize, Result<(Files, SourceReport)>>;

/// Gathers everything; `told` hears of each finished source.
pub(crate) fn run(
    manifest: &Manifest,
    places: &Places,
    threads: usize,
    told: &(dyn Fn(&SourceReport) + Sync),
) -> Result<Gathered> {
    for source in &manifest.sources {
        walk::check(source, places)?;
    }
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Walked::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(source) = manifest.sources.get(number) else {
                        return;
                    };
                    let result = one(source, places);
                    if let Ok((_, report)) = &result {
                        told(report);
                    }
                    if let Ok(mut done) = done.lock() {
                        done.insert(number, result);
                    }
                }
            });
        }
    });
    let done = done.into_inner().unwrap_or_default();
    let mut parts = Vec::new();
    for (number, result) in done {
        let (files, report) = result?;
        parts.push((number, files, report));
    }
    Ok(merge(manifest, parts))
}

fn one(source: &Source, places: &Places) -> Result<(Files, SourceReport)> {
    let mut files = Files::new();
    let mut report = SourceReport {
        name: source.name.clone(),
        ..SourceReport::default()
    };
    let mut tally = Tally::new();
    let mut skipped = Tally::new();
    let (mut walked, mut usable) = (0, 0);
    let table = walk::table(source, places)?;
    walk::each(source, places, &mut tally, &mut |item| {
        walked += 1;
        match look(source, &table, item, &mut files) {
            Ok(()) => usable += 1,
            Err(reason) => *skipped.entry(reason).or_default() += 1,
        }
    })?;
    for (reason, count) in skipped {
        *tally.entry(reason).or_default() += count;
    }
    report.files = walked;
    report.usable = usable;
    report.tally = tally;
    Ok((files, report))
}

/// Takes one file, or says why not.
fn look(
    source: &Source,
    table: &Table,
    item: Item<'_>,
    files: &mut Files,
) -> Result<(), &'static str> {
    if item.bytes.len() < SIZE_MIN {
        return Err("too short");
    }
    let (kind, typed) = kind::of(item.path, item.bytes, source.text_as).ok_or("no type of ours")?;
    if !source.types.is_empty() && !source.types.contains(&kind) {
        return Err("type not wanted of this source");
    }
    let family = roles::family(source, item.path, table);
    let role = roles::of(source, item.path, &family);
    let sha256: [u8; 32] = Sha256::digest(item.bytes).into();
    if files.len() >= SOURCE_FILES_MAX {
        return Err("source too large");
    }
    match files.entry(sha256) {
        Entry::Occupied(mut entry) => {
            let found = entry.get_mut();
            found.role = first(found.role, role);
        }
        Entry::Vacant(entry) => {
            let path = clean(item.path);
            let locator = match item.blob.get(..12) {
                Some(blob) => format!("{blob}:{path}"),
                None => path,
            };
            entry.insert(Found {
                size: item.bytes.len() as u64,
                kind,
                typed_by: typed.as_str(),
                role,
                family: clean(&family),
                entropy_milli: (facts::entropy(item.bytes) * 1000.0).round() as u32,
                facts: clean(&facts::of(kind, item.bytes)),
                locator,
                likeness: Likeness::of(kind, item.bytes),
            });
        }
    }
    Ok(())
}

/// The earlier side of two; one that abstains gives way.
fn first(one: Option<Role>, two: Option<Role>) -> Option<Role> {
    match (one, two) {
        (Some(one), Some(two)) => Some(one.min(two)),
        (one, two) => one.or(two),
    }
}

struct Kept {
    sha256: String,
    source: usize,
    found: Found,
}

fn merge(manifest: &Manifest, parts: Vec<(usize, Files, SourceReport)>) -> Gathered {
    let mut gathered = Gathered::default();
    let mut kept: BTreeMap<[u8; 32], Kept> = BTreeMap::new();
    let mut both: BTreeMap<[u8; 32], (usize, usize)> = BTreeMap::new();
    let label = |number: usize| manifest.sources.get(number).map(|source| source.label);
    for (number, files, mut report) in parts {
        for (sha256, found) in files {
            match kept.entry(sha256) {
                Entry::Vacant(entry) => {
                    report.distinct += 1;
                    entry.insert(Kept {
                        sha256: hex(&sha256),
                        source: number,
                        found,
                    });
                }
                Entry::Occupied(mut entry) => {
                    let before = entry.get_mut();
                    if label(before.source) == label(number) {
                        before.found.role = first(before.found.role, found.role);
                    } else {
                        both.entry(sha256).or_insert((before.source, number));
                    }
                }
            }
        }
        gathered.sources.push(report);
    }
    let name = |number: usize| manifest.sources.get(number).map_or("", |s| s.name.as_str());
    for (sha256, (one, two)) in both {
        kept.remove(&sha256);
        let is_first_bad = label(one) == Some(Label::Malicious);
        let (bad, good) = if is_first_bad { (one, two) } else { (two, one) };
        let entry = (hex(&sha256), name(bad).to_owned(), name(good).to_owned());
        gathered.scrubbed.push(entry);
    }
    let kept: Vec<Kept> = kept.into_values().collect();
    gathered.rows = rows(manifest, kept);
    gathered
}

/// Clusters, sides, rows. `kept` is in the order of SHA-256.
fn rows(manifest: &Manifest, kept: Vec<Kept>) -> Vec<Row> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    let mut by_kind: BTreeMap<Kind, Vec<Kept>> = BTreeMap::new();
    for file in kept {
        by_kind.entry(file.found.kind).or_default().push(file);
    }
    for files in by_kind.into_values() {
        let likenesses: Vec<&Likeness> = files.iter().map(|file| &file.found.likeness).collect();
        let roots = near::clusters(&likenesses);
        let mut members: BTreeMap<usize, Vec<&Kept>> = BTreeMap::new();
        for (file, root) in files.iter().zip(roots) {
            members.entry(root).or_default().push(file);
        }
        for cluster in members.into_values() {
            for row in cluster_rows(manifest, &cluster) {
                rows.insert(row.sha256.clone(), row);
            }
        }
    }
    rows.into_values().collect()
}

fn cluster_rows(manifest: &Manifest, files: &[&Kept]) -> Vec<Row> {
    let Some(head) = files.first() else {
        return Vec::new();
    };
    let cluster: String = head.sha256.chars().take(16).collect();
    let sources: Vec<&Source> = files
        .iter()
        .filter_map(|file| manifest.sources.get(file.source))
        .collect();
    let decided = files.iter().filter_map(|file| file.found.role).min();
    let drawn = || {
        sources
            .first()
            .map(|source| roles::of_cluster(source, &cluster))
    };
    let role = decided.or_else(drawn).unwrap_or(Role::Train);
    let is_mixed = sources.windows(2).any(|pair| {
        let [one, two] = pair else { return false };
        one.label != two.label
    });
    let row = |(file, source): (&&Kept, &&Source)| Row {
        sha256: file.sha256.clone(),
        size: file.found.size,
        kind: file.found.kind,
        typed_by: file.found.typed_by.to_owned(),
        label: source.label,
        role,
        cluster: cluster.clone(),
        is_mixed,
        family: file.found.family.clone(),
        source: source.name.clone(),
        entropy_milli: file.found.entropy_milli,
        facts: file.found.facts.clone(),
        locator: file.found.locator.clone(),
    };
    files.iter().zip(&sources).map(row).collect()
}

/// Hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(*DIGITS.get(usize::from(half)).unwrap_or(&b'0'));
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;
