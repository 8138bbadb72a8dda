//! What lies in the followed folders just now: regular files with their identity, in the order of their
//! paths, bounded in depth and number. A file under several names is named once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Which file, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct FileKey {
    /// Its device.
    pub(super) device: u64,
    /// Its inode there.
    pub(super) inode: u64,
}

/// What tells that a file has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    /// Bytes.
    pub(super) size: u64,
    /// Nanoseconds of its last change, as far as the file system keeps them.
    pub(super) changed: i64,
}

impl FileKey {
    pub(super) fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
        }
    }
}

impl Stamp {
    pub(super) fn of(meta: &Metadata) -> Self {
        Self {
            size: meta.len(),
            changed: meta
                .mtime()
                .wrapping_mul(1_000_000_000)
                .wrapping_add(meta.mtime_nsec()),
        }
    }
}

/// A file that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) key: FileKey,
    pub(super) path: PathBuf,
    /// Number of the followed path it was found behind, and its path from there.
    pub(super) name: String,
    pub(super) stamp: Stamp,
}

impl Found {
    /// Whether it lies behind the same followed path as what is called `name`.
    pub(super) fn is_beside(&self, name: &str) -> bool {
        self.name.split('/').next() == name.split('/').next()
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) files: Vec<Found>,
    /// Folders, to be watched.
    pub(super) folders: Vec<PathBuf>,
    /// Folders and files that could not be looked at, and why.
    pub(super) problems: Vec<(PathBuf, String)>,
    /// Files beyond the most that are followed.
    pub(super) not_listed: u64,
}

/// Looks behind `roots`. `names` are the names by which files were known, to keep them where a file has
/// several.
pub(super) fn list(
    roots: &[PathBuf],
    names: &BTreeMap<FileKey, PathBuf>,
    files_max: usize,
    depth_max: usize,
) -> Listing {
    let mut walk = Walk {
        files_max,
        depth_max,
        listing: Listing::default(),
        seen: BTreeSet::new(),
    };
    for (number, root) in roots.iter().enumerate() {
        match fs::metadata(root) {
            Ok(meta) if meta.is_dir() => walk.folder(number, root, root, 0),
            Ok(meta) => {
                walk.file(number, root, root, &meta);
                walk.parent(root);
            }
            Err(error) => {
                walk.problem(root, &error);
                walk.parent(root);
            }
        }
    }
    let mut listing = walk.listing;
    let mut by_key: BTreeMap<FileKey, usize> = BTreeMap::new();
    let mut files: Vec<Found> = Vec::new();
    for found in listing.files {
        let at = *by_key.entry(found.key).or_insert(files.len());
        match files.get_mut(at) {
            None => files.push(found),
            Some(other) if names.get(&found.key) == Some(&found.path) => *other = found,
            Some(_) => {}
        }
    }
    listing.files = files;
    listing
}

struct Walk {
    files_max: usize,
    depth_max: usize,
    listing: Listing,
    /// Folders that were visited, so that a loop of links ends.
    seen: BTreeSet<FileKey>,
}

impl Walk {
    fn folder(&mut self, root: usize, base: &Path, path: &Path, depth: usize) {
        let listed = fs::metadata(path).and_then(|meta| {
            if depth > self.depth_max || !self.seen.insert(FileKey::of(&meta)) {
                return Ok(Vec::new());
            }
            fs::read_dir(path)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<std::io::Result<Vec<PathBuf>>>()
        });
        let mut children = match listed {
            Ok(children) => children,
            Err(error) => return self.problem(path, &error),
        };
        self.listing.folders.push(path.to_path_buf());
        children.sort();
        for child in children {
            let hidden = child
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().first() == Some(&b'.'));
            if hidden {
                continue;
            }
            match fs::metadata(&child) {
                Ok(meta) if meta.is_dir() => self.folder(root, base, &child, depth + 1),
                Ok(meta) => self.file(root, base, &child, &meta),
                // It has gone since the folder was read.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => self.problem(&child, &error),
            }
        }
    }

    fn file(&mut self, root: usize, base: &Path, path: &Path, meta: &Metadata) {
        if !meta.is_file() {
            return;
        }
        if self.listing.files.len() >= self.files_max {
            self.listing.not_listed += 1;
            return;
        }
        let below = path.strip_prefix(base).unwrap_or(path);
        let name = if below.as_os_str().is_empty() {
            path.file_name().map_or(path, Path::new)
        } else {
            below
        };
        self.listing.files.push(Found {
            key: FileKey::of(meta),
            path: path.to_path_buf(),
            name: format!("{root}/{}", name.display()),
            stamp: Stamp::of(meta),
        });
    }

    fn parent(&mut self, path: &Path) {
        if let Some(parent) = path.parent().filter(|parent| parent.is_dir()) {
            self.listing.folders.push(parent.to_path_buf());
        }
    }

    fn problem(&mut self, path: &Path, error: &std::io::Error) {
        self.listing
            .problems
            .push((path.to_path_buf(), error.to_string()));
    }
}
