//! Names the files under some paths, in the order of their bytes, without following a link.
//!
//! Folders of the kernel (procfs and the like) are not entered. An ignore file counts only in a folder
//! that a person named, and only when nobody but its owner, who is that person or root, can write it:
//! otherwise whoever drops a file could decide that it is not looked at.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::read::reason;
use crate::{Reason, Special};

/// Name of the ignore file.
const IGNORE_FILE: &str = ".thymusignore";
const IGNORE_BYTES_MAX: u64 = 1 << 20;
/// Names of one folder that are sorted.
const NAMES_MAX: usize = 1_000_000;

/// What the walk leaves out.
#[derive(Clone, Debug, Default)]
pub struct WalkOptions {
    /// Patterns as in an ignore file.
    pub exclude: Vec<String>,
    /// Whether ignore files count.
    pub with_ignore_files: bool,
    /// Only what was changed since then: bytes, or name, owner and rights.
    pub since: Option<SystemTime>,
}

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub found: Found,
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A regular file; a person who names a link means what it points at.
    File {
        /// Whether a link may be followed.
        may_follow: bool,
    },
    /// Standard input.
    StandardInput,
    /// What cannot be read, and why.
    NotReadable(Reason),
}

/// What became of an ignore file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoreFile {
    /// Where it is.
    pub path: PathBuf,
    /// Why it does not count, if it does not.
    pub refused: Option<&'static str>,
}

/// The walk.
pub struct Walker {
    roots: std::vec::IntoIter<PathBuf>,
    options: WalkOptions,
    rules: Gitignore,
    levels: Vec<Level>,
    left_out: BTreeMap<&'static str, u64>,
    ignore_files: Vec<IgnoreFile>,
}

struct Level {
    folder: PathBuf,
    device: u64,
    names: std::vec::IntoIter<OsString>,
}

impl Walker {
    /// Walks `roots`, one after the other.
    ///
    /// # Errors
    /// When a pattern is none.
    pub fn new(roots: Vec<PathBuf>, options: WalkOptions) -> Result<Self, ignore::Error> {
        // Tried here, so that a wrong one is told before anything is read.
        build(Path::new(""), &options.exclude, None)?;
        Ok(Self {
            roots: roots.into_iter(),
            options,
            rules: Gitignore::empty(),
            levels: Vec::new(),
            left_out: BTreeMap::new(),
            ignore_files: Vec::new(),
        })
    }

    /// What was passed over, by reason.
    pub fn left_out(&self) -> &BTreeMap<&'static str, u64> {
        &self.left_out
    }

    /// The ignore files that were met.
    pub fn ignore_files(&self) -> &[IgnoreFile] {
        &self.ignore_files
    }

    fn leave_out(&mut self, why: &'static str) -> Option<Entry> {
        *self.left_out.entry(why).or_default() += 1;
        None
    }

    fn root(&mut self, path: PathBuf) -> Option<Entry> {
        if path.as_os_str() == "-" {
            return Some(Entry {
                path,
                found: Found::StandardInput,
            });
        }
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) => return Some(not_readable(path, reason(&error))),
        };
        let folder = if metadata.is_dir() {
            path.as_path()
        } else {
            path.parent().unwrap_or(Path::new(""))
        };
        let ignore_file = self.ignore_file(folder, metadata.is_dir());
        let rules = build(folder, &self.options.exclude, ignore_file.as_deref());
        self.rules = rules.unwrap_or_else(|_| Gitignore::empty());
        if metadata.is_dir() {
            return self.enter(path, &metadata, None);
        }
        self.file(path, &metadata, true)
    }

    /// Text of the ignore file in a named folder, if it may count.
    fn ignore_file(&mut self, folder: &Path, is_folder: bool) -> Option<String> {
        if !is_folder || !self.options.with_ignore_files {
            return None;
        }
        let path = folder.join(IGNORE_FILE);
        let metadata = fs::symlink_metadata(&path).ok()?;
        let user = nix::unistd::geteuid().as_raw();
        let refused = if !metadata.is_file() {
            Some("it is no regular file")
        } else if metadata.uid() != user && metadata.uid() != 0 {
            Some("it belongs to somebody else")
        } else if metadata.mode() & 0o022 != 0 {
            Some("others may write it")
        } else if metadata.len() > IGNORE_BYTES_MAX {
            Some("it is too large")
        } else {
            None
        };
        self.ignore_files.push(IgnoreFile {
            path: path.clone(),
            refused,
        });
        if refused.is_some() {
            return None;
        }
        let bytes = crate::read(&path, false, IGNORE_BYTES_MAX).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn is_excluded(&self, path: &Path, is_folder: bool) -> bool {
        self.rules.matched(path, is_folder).is_ignore()
    }

    fn enter(&mut self, path: PathBuf, metadata: &Metadata, above: Option<u64>) -> Option<Entry> {
        if above != Some(metadata.dev()) && is_kernels(&path) {
            return Some(not_readable(path, Reason::KernelFiles));
        }
        let listed = match fs::read_dir(&path) {
            Ok(listed) => listed,
            Err(error) => return Some(not_readable(path, reason(&error))),
        };
        let mut names = Vec::new();
        for entry in listed {
            let Ok(entry) = entry else {
                return Some(not_readable(path, Reason::Unreadable));
            };
            names.push(entry.file_name());
            if names.len() > NAMES_MAX {
                return Some(not_readable(path, Reason::TooManyNames));
            }
        }
        names.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        self.levels.push(Level {
            folder: path,
            device: metadata.dev(),
            names: names.into_iter(),
        });
        None
    }

    fn below(&mut self, path: PathBuf, device: u64) -> Option<Entry> {
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) => return Some(not_readable(path, reason(&error))),
        };
        if metadata.is_symlink() {
            return self.leave_out("links");
        }
        if metadata.is_dir() {
            if self.is_excluded(&path, true) {
                return self.leave_out("excluded folders");
            }
            return self.enter(path, &metadata, Some(device));
        }
        self.file(path, &metadata, false)
    }

    fn file(&mut self, path: PathBuf, metadata: &Metadata, may_follow: bool) -> Option<Entry> {
        if self.is_excluded(&path, false) {
            return self.leave_out("excluded files");
        }
        let kind = metadata.file_type();
        let special = if kind.is_fifo() {
            Some(Special::Fifo)
        } else if kind.is_socket() {
            Some(Special::Socket)
        } else if kind.is_block_device() || kind.is_char_device() {
            Some(Special::Device)
        } else {
            None
        };
        if let Some(what) = special {
            return Some(not_readable(path, Reason::Special(what)));
        }
        if self
            .options
            .since
            .is_some_and(|since| is_older(metadata, since))
        {
            return self.leave_out("unchanged files");
        }
        Some(Entry {
            path,
            found: Found::File { may_follow },
        })
    }
}

impl Iterator for Walker {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            let entry = match self.levels.last_mut() {
                None => {
                    let root = self.roots.next()?;
                    self.root(root)
                }
                Some(level) => match level.names.next() {
                    None => {
                        self.levels.pop();
                        None
                    }
                    Some(name) => {
                        let (path, device) = (level.folder.join(name), level.device);
                        self.below(path, device)
                    }
                },
            };
            if entry.is_some() {
                return entry;
            }
        }
    }
}

fn not_readable(path: PathBuf, reason: Reason) -> Entry {
    Entry {
        path,
        found: Found::NotReadable(reason),
    }
}

fn build(
    folder: &Path,
    exclude: &[String],
    ignore_file: Option<&str>,
) -> Result<Gitignore, ignore::Error> {
    let mut builder = GitignoreBuilder::new(folder);
    for line in ignore_file.into_iter().flat_map(str::lines) {
        // A line that is no pattern leaves nothing out.
        let _is_pattern = builder.add_line(None, line).is_ok();
    }
    for line in exclude {
        builder.add_line(None, line)?;
    }
    builder.build()
}

/// Whether neither the bytes nor what the system keeps beside them changed since; the time of the bytes
/// alone can be set at will.
fn is_older(metadata: &Metadata, since: SystemTime) -> bool {
    let changed = u64::try_from(metadata.ctime()).unwrap_or_default();
    let changed = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(changed);
    metadata.modified().is_ok_and(|time| time < since) && changed < since
}

/// Whether a folder is of a file system that the kernel makes up (statfs(2)): procfs, sysfs, debugfs,
/// tracefs, securityfs, both cgroups, BPF.
fn is_kernels(path: &Path) -> bool {
    const MAGIC: [i64; 8] = [
        0x9fa0,
        0x6265_6572,
        0x6462_6720,
        0x7472_6163,
        0x7363_6673,
        0x0027_e0eb,
        0x6367_7270,
        0xcafe_4a11,
    ];
    nix::sys::statfs::statfs(path).is_ok_and(|told| MAGIC.contains(&(told.filesystem_type().0)))
}

#[cfg(test)]
mod tests;
