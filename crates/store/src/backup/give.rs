//! Putting a backup back.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use super::error::BackupError;
use super::{BackupHead, BackupReport, FORMAT, FileEntry, HEAD, MANIFEST, Manifest, copy_hashed};

/// The largest head or manifest that is read: a million files.
const TEXT_MAX: u64 = 256 << 20;

/// Puts the backup `file` back into the folder `state`, which must be empty or not there.
///
/// # Errors
/// When something is in the way, or the backup is not whole or of a later version; then the folder is
/// as it was.
pub fn restore(file: &Path, state: &Path) -> Result<BackupReport, BackupError> {
    if state.exists() && !is_empty(state) {
        return Err(BackupError::Exists {
            path: state.to_path_buf(),
        });
    }
    let staging = staging(state);
    let parent = staging.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|error| BackupError::io("create", parent, error))?;
    let mut builder = DirBuilder::new();
    builder
        .mode(0o700)
        .create(&staging)
        .map_err(|error| BackupError::io("create", &staging, error))?;
    let done = unpack(file, Some(&staging)).and_then(|report| {
        if state.exists() {
            fs::remove_dir(state).map_err(|error| BackupError::io("replace", state, error))?;
        }
        fs::rename(&staging, state).map_err(|error| BackupError::io("rename", &staging, error))?;
        let synced = File::open(parent).and_then(|folder| folder.sync_all());
        synced.map_err(|error| BackupError::io("flush", parent, error))?;
        Ok(report)
    });
    if done.is_err() {
        drop(fs::remove_dir_all(&staging));
    }
    done
}

/// Reads a backup to its end and checks it, writing nothing.
///
/// # Errors
/// When it is not whole or of a later version.
pub fn verify(file: &Path) -> Result<BackupReport, BackupError> {
    unpack(file, None)
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

/// A name beside `state` that nobody else uses.
fn staging(state: &Path) -> PathBuf {
    let absolute = std::path::absolute(state).unwrap_or_else(|_| state.to_path_buf());
    let mut name = absolute.file_name().unwrap_or_default().to_owned();
    name.push(format!(".restoring-{}", std::process::id()));
    absolute.with_file_name(name)
}

fn unpack(file: &Path, to: Option<&Path>) -> Result<BackupReport, BackupError> {
    let opened = File::open(file).map_err(|error| BackupError::io("open", file, error))?;
    let bad = |why: &str| BackupError::damaged(file, why);
    let broken = |error: io::Error| BackupError::damaged(file, error.to_string());
    let decoder = zstd::Decoder::new(opened).map_err(broken)?;
    let mut tar = tar::Archive::new(decoder);
    let mut found: BTreeMap<String, FileEntry> = BTreeMap::new();
    let (mut head, mut manifest) = (None, None);
    for entry in tar.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        if manifest.is_some() {
            return Err(bad("something follows its manifest"));
        }
        let path = entry.path().map_err(broken)?.into_owned();
        let name = checked(&path).ok_or_else(|| bad("it names a file outside of the folder"))?;
        if !entry.header().entry_type().is_file() {
            return Err(bad("it holds something that is no file"));
        }
        match name.as_str() {
            HEAD => head = Some(head_of(file, &mut entry)?),
            _ if head.is_none() => return Err(bad("it does not begin as a backup of thymus")),
            MANIFEST => {
                let text = text_of(&mut entry).map_err(broken)?;
                let read: Result<Manifest, _> = serde_json::from_slice(&text);
                manifest = Some(read.map_err(|error| bad(&error.to_string()))?);
            }
            _ => {
                let written = put(&mut entry, to, &name).map_err(broken)?;
                if found.insert(name.clone(), written).is_some() {
                    return Err(bad(&format!("{name} is in it twice")));
                }
            }
        }
    }
    let head = head.ok_or_else(|| bad("it does not begin as a backup of thymus"))?;
    let manifest = manifest.ok_or_else(|| bad("it is cut short"))?;
    let names = manifest.files.keys().chain(found.keys());
    for name in names {
        if found.get(name) != manifest.files.get(name) {
            return Err(bad(&format!("{name} is not what was backed up")));
        }
    }
    if let Some(to) = to {
        flush(to).map_err(|error| BackupError::io("flush", to, error))?;
    }
    Ok(BackupReport::new(head, &manifest, Vec::new()))
}

fn head_of(file: &Path, entry: &mut impl Read) -> Result<BackupHead, BackupError> {
    let text = text_of(entry).map_err(|error| BackupError::damaged(file, error.to_string()))?;
    let head: BackupHead = serde_json::from_slice(&text)
        .map_err(|error| BackupError::damaged(file, error.to_string()))?;
    if head.format > FORMAT {
        return Err(BackupError::Newer {
            path: file.to_path_buf(),
            version: head.thymus,
            format: head.format,
            known: FORMAT,
        });
    }
    Ok(head)
}

fn text_of(entry: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    entry.take(TEXT_MAX).read_to_end(&mut text)?;
    Ok(text)
}

/// A path that stays below the folder, as text.
fn checked(path: &Path) -> Option<String> {
    let is_below = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let text = path.to_str()?;
    (is_below && !text.is_empty() && text.len() < 1_024).then(|| text.to_owned())
}

fn put(entry: &mut impl Read, to: Option<&Path>, name: &str) -> io::Result<FileEntry> {
    let Some(to) = to else {
        return copy_hashed(entry, &mut io::sink());
    };
    let path = to.join(name);
    if let Some(parent) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)?;
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    let written = copy_hashed(entry, &mut file)?;
    file.sync_all()?;
    Ok(written)
}

/// Flushes the folders, so that the names are as safe as what they name.
fn flush(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            flush(&entry.path())?;
        }
    }
    File::open(dir)?.sync_all()
}
