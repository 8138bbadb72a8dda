//! Walks a source of the manifest and hands out every file in it, archives opened, as bytes in memory.
//! The order is the store's or the folder's sorted one, so the same source gives the same walk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::manifest::{Family, Source, SourceKind};
use super::unpack::{MEMBER_BYTES_MAX, Tally, Unpacker};
use super::{git, glob};

/// Where sources lie on this machine.
#[derive(Debug)]
pub(crate) struct Places {
    /// Git stores.
    pub(crate) mirror: PathBuf,
    /// Folders of packages.
    pub(crate) data: PathBuf,
    /// Package lists: the manifest's own folder.
    pub(crate) lists: PathBuf,
}

/// A file of a source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<'a> {
    /// Path in the repository or folder, then members joined by `!`.
    pub(crate) path: &'a str,
    /// Git blob id of the outermost file, or empty.
    pub(crate) blob: &'a str,
    /// Its bytes.
    pub(crate) bytes: &'a [u8],
}

/// Longest outermost file read.
const PACKAGE_BYTES_MAX: u64 = 700 << 20;

/// Whether `source` can be walked: its store or folder and its list are there. Asked of every source before
/// the first is walked, so that an hour's walk does not end on the last one's missing folder.
pub(crate) fn check(source: &Source, places: &Places) -> Result<()> {
    let name = || format!("source {}", source.name);
    if source.kind == SourceKind::Git {
        git::store(&places.mirror, &source.place).with_context(name)?;
    } else {
        let root = places.data.join(&source.place);
        fs::read_dir(&root)
            .with_context(|| format!("read {}", root.display()))
            .with_context(name)?;
    }
    listed(source, places).with_context(name).map(drop)
}

/// Walks `source`, calling `take` for each file; what was not read is counted.
pub(crate) fn each(
    source: &Source,
    places: &Places,
    tally: &mut Tally,
    take: &mut dyn FnMut(Item<'_>),
) -> Result<()> {
    let mut take = |item: Item<'_>| {
        if glob::wanted(&source.members, &[], item.path) {
            take(item);
        }
    };
    match source.kind {
        SourceKind::Git => git_store(source, places, tally, &mut take),
        _ => folder(source, places, tally, &mut take),
    }
    .with_context(|| format!("source {}", source.name))
}

/// Families by file name.
pub(crate) type Table = BTreeMap<String, String>;

/// The table that names the families of `source`; empty where its rule needs none.
pub(crate) fn table(source: &Source, places: &Places) -> Result<Table> {
    const TABLE_BYTES_MAX: u64 = 32 << 20;
    let Family::Table { path, file, value } = &source.family else {
        return Ok(Table::new());
    };
    let store = git::store(&places.mirror, &source.place)?;
    let blobs = git::list(&store)?;
    let blob = blobs.iter().find(|blob| blob.path == *path);
    let blob = blob.with_context(|| format!("no table {path} in {}", source.place))?;
    let bytes = git::Reader::open(&store)?.read(&blob.id, TABLE_BYTES_MAX)?;
    let text = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
    let line = |line: &str| {
        let fields: Vec<&str> = line.trim_end().split(',').collect();
        Some((
            (*fields.get(*file)?).to_owned(),
            (*fields.get(*value)?).to_owned(),
        ))
    };
    Ok(text.lines().filter_map(line).collect())
}

fn git_store(
    source: &Source,
    places: &Places,
    tally: &mut Tally,
    take: &mut dyn FnMut(Item<'_>),
) -> Result<()> {
    let store = git::store(&places.mirror, &source.place)?;
    let blobs = git::list(&store)?;
    let mut reader = git::Reader::open(&store)?;
    let passwords = |reader: &mut git::Reader, path: &str| -> Result<Vec<String>> {
        let mut words = source.passwords.clone();
        let Some(extension) = &source.password_file else {
            return Ok(words);
        };
        let Some((stem, _)) = path.rsplit_once('.') else {
            return Ok(words);
        };
        let beside = format!("{stem}.{extension}");
        if let Some(blob) = blobs.iter().find(|blob| blob.path == beside)
            && let Some(bytes) = reader.read(&blob.id, 4096)?
        {
            words.insert(0, String::from_utf8_lossy(&bytes).trim().to_owned());
        }
        Ok(words)
    };
    for blob in &blobs {
        if !glob::wanted(&source.include, &source.exclude, &blob.path) {
            continue;
        }
        let Some(bytes) = reader.read(&blob.id, MEMBER_BYTES_MAX)? else {
            count(tally, "not in the store");
            continue;
        };
        let words = passwords(&mut reader, &blob.path)?;
        open(&blob.path, &blob.id, &bytes, &words, tally, take);
    }
    Ok(())
}

fn folder(
    source: &Source,
    places: &Places,
    tally: &mut Tally,
    take: &mut dyn FnMut(Item<'_>),
) -> Result<()> {
    let root = places.data.join(&source.place);
    let mut files = Vec::new();
    gather(&root, &root, &mut files)?;
    files.sort();
    let listed = listed(source, places)?;
    for name in &files {
        let is_listed = listed
            .as_ref()
            .is_none_or(|set| set.contains(&package(name)));
        if !is_listed || !glob::wanted(&source.include, &source.exclude, name) {
            continue;
        }
        let path = root.join(name);
        if fs::metadata(&path)?.len() > PACKAGE_BYTES_MAX {
            count(tally, "package too large");
            continue;
        }
        let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        open(name, "", &bytes, &source.passwords, tally, take);
    }
    Ok(())
}

/// Package names of the source's list, normalised.
fn listed(source: &Source, places: &Places) -> Result<Option<BTreeSet<String>>> {
    let Some(list) = &source.list else {
        return Ok(None);
    };
    let path = places.lists.join(list);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let names = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.rsplit_once(['=', '@']).map_or(line, |(name, _)| name))
        .map(normal)
        .collect();
    Ok(Some(names))
}

/// The package a file name is of: what stands before the version (`_1.2_amd64.deb`, `-1.2-cp311.whl`,
/// `-1.2.tgz`), normalised.
pub(crate) fn package(path: &str) -> String {
    let name = path.split('!').next().unwrap_or(path);
    let name = name.rsplit('/').next().unwrap_or(name);
    if let Some(name) = name.strip_suffix(".deb") {
        return normal(name.split('_').next().unwrap_or(name));
    }
    let version = name.match_indices(['-', '_']).find(|(at, _)| {
        let after = name.get(at + 1..).unwrap_or_default();
        after.starts_with(|c: char| c.is_ascii_digit())
    });
    normal(version.and_then(|(at, _)| name.get(..at)).unwrap_or(name))
}

/// Names of one package in its three spellings are one (PEP 503; npm writes `@scope/` as `scope-`).
fn normal(name: &str) -> String {
    name.trim_start_matches('@')
        .to_ascii_lowercase()
        .replace(['_', '.', '/'], "-")
}

fn gather(root: &Path, folder: &Path, files: &mut Vec<String>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
        if hidden {
            continue;
        }
        if path.is_dir() {
            gather(root, &path, files)?;
        } else if let Ok(name) = path.strip_prefix(root) {
            files.push(name.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

/// Unpacks one outermost file. The decoders are other people's and the bytes hostile: a panic costs
/// that file and is counted.
fn open(
    path: &str,
    blob: &str,
    bytes: &[u8],
    passwords: &[String],
    tally: &mut Tally,
    take: &mut dyn FnMut(Item<'_>),
) {
    let done = catch_unwind(AssertUnwindSafe(|| {
        let mut sink = |path: &str, bytes: &[u8]| take(Item { path, blob, bytes });
        Unpacker::new(passwords, tally).open(path, bytes, &mut sink);
    }));
    if done.is_err() {
        count(tally, "a decoder panicked");
    }
}

fn count(tally: &mut Tally, reason: &'static str) {
    *tally.entry(reason).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_is_the_name_before_the_version() {
        for (file, name) in [
            ("libfoo1_1.2-3+b1_amd64.deb", "libfoo1"),
            ("libfoo-2.0-0_1.2_arm64.deb!usr/bin/x", "libfoo-2-0-0"),
            ("numpy-1.26.4-cp311-cp311-win_amd64.whl!a", "numpy"),
            ("ruamel.yaml.clib-0.2.8-cp38.whl", "ruamel-yaml-clib"),
            ("esbuild-win32-ia32-0.28.2.tgz", "esbuild-win32-ia32"),
            ("python-fuse_1.0.5.orig.tar.gz", "python-fuse"),
        ] {
            assert_eq!(package(file), name, "{file}");
        }
        assert_eq!(normal("@esbuild/win32-ia32"), "esbuild-win32-ia32");
    }
}
