//! Taking a backup.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tar::{Builder, EntryType, Header};
use thymus_schema::Timestamp;

use super::error::BackupError;
use super::{BackupHead, BackupReport, DATABASE, FORMAT, HEAD, MANIFEST, Manifest, PACKETS};
use crate::archive::Archive;

/// Folders inside one another.
const DEPTH_MAX: usize = 8;
/// Fast, and parts of events are compressed already.
const ZSTD_LEVEL: i32 = 3;

/// Backs up the state folder `state` into `file`, also while it is in use; `now` is written down.
///
/// # Errors
/// When there is no state, the file is there already, or something cannot be read or written; then
/// there is no file.
pub fn backup(
    state: &Path,
    file: &Path,
    with_packets: bool,
    now: Timestamp,
) -> Result<BackupReport, BackupError> {
    if !has_state(state) {
        return Err(BackupError::NoState {
            dir: state.to_path_buf(),
        });
    }
    if file.exists() {
        return Err(BackupError::Exists {
            path: file.to_path_buf(),
        });
    }
    let folder = |path: &Path| std::path::absolute(path).and_then(|path| path.canonicalize());
    let parent = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let is_inside = folder(parent.unwrap_or(Path::new(".")))
        .is_ok_and(|parent| folder(state).is_ok_and(|state| parent.starts_with(state)));
    if is_inside {
        return Err(BackupError::Inside {
            path: file.to_path_buf(),
        });
    }
    let fresh = beside(file, "new");
    let copied = beside(file, "db");
    let made = write(state, &fresh, &copied, with_packets, now).and_then(|report| {
        place(&fresh, file)?;
        Ok(report)
    });
    drop(fs::remove_file(&copied));
    if made.is_err() {
        drop(fs::remove_file(&fresh));
    }
    made
}

fn has_state(state: &Path) -> bool {
    ["state.thymus", "journal", "store"]
        .iter()
        .any(|name| state.join(name).exists())
}

/// `FILE.EXTENSION` beside `file`.
fn beside(file: &Path, extension: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

fn place(fresh: &Path, file: &Path) -> Result<(), BackupError> {
    let exists = || BackupError::Exists {
        path: file.to_path_buf(),
    };
    let flags = rustix::fs::RenameFlags::NOREPLACE;
    match rustix::fs::renameat_with(rustix::fs::CWD, fresh, rustix::fs::CWD, file, flags) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::EXIST) => Err(exists()),
        // A file system that cannot promise it.
        Err(rustix::io::Errno::INVAL) if file.exists() => Err(exists()),
        Err(rustix::io::Errno::INVAL) => {
            fs::rename(fresh, file).map_err(|error| BackupError::io("rename", fresh, error))
        }
        Err(error) => Err(BackupError::io("rename", fresh, error.into())),
    }
}

fn write(
    state: &Path,
    fresh: &Path,
    copied: &Path,
    with_packets: bool,
    now: Timestamp,
) -> Result<BackupReport, BackupError> {
    let io = |error| BackupError::io("write", fresh, error);
    let mut options = OpenOptions::new();
    // It holds what people may not read: passwords as digests, tokens, what was seen.
    let out = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(fresh)
        .map_err(io)?;
    let encoder = zstd::Encoder::new(out, ZSTD_LEVEL).map_err(io)?;
    let mut pack = Pack {
        tar: Builder::new(encoder),
        out: fresh.to_path_buf(),
        manifest: Manifest::default(),
        now,
    };
    let head = BackupHead {
        format: FORMAT,
        thymus: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: now.to_string(),
    };
    pack.text(
        HEAD,
        &serde_json::to_vec(&head).map_err(|error| io(error.into()))?,
    )?;
    let _reading = crate::archive::hold(&Archive::folder(state));
    let journal = state.join("journal");
    let held = open_all(&journal)?;
    let mut left_out = Vec::new();
    let mut files = Vec::new();
    list(
        state,
        Path::new(""),
        0,
        with_packets,
        &mut files,
        &mut left_out,
    )?;
    for name in &files {
        pack.path(state, name)?;
    }
    let database = state.join(DATABASE);
    if database.exists() {
        copy_database(&database, copied)?;
        let mut copy = File::open(copied).map_err(|e| BackupError::io("open", copied, e))?;
        pack.file(DATABASE, &mut copy, copied)?;
    }
    // Segments that went away meanwhile are held; those that came are opened now.
    let mut segments = open_all(&journal)?;
    segments.extend(held);
    for (name, mut segment) in segments {
        pack.file(&format!("journal/{name}"), &mut segment, &journal)?;
    }
    let manifest = serde_json::to_vec(&pack.manifest).map_err(|error| io(error.into()))?;
    pack.text(MANIFEST, &manifest)?;
    let encoder = pack.tar.into_inner().map_err(io)?;
    let out = encoder.finish().map_err(io)?;
    out.sync_all().map_err(io)?;
    Ok(BackupReport::new(head, &pack.manifest, left_out))
}

/// What is written.
struct Pack {
    tar: Builder<zstd::Encoder<'static, File>>,
    out: PathBuf,
    manifest: Manifest,
    now: Timestamp,
}

impl Pack {
    fn header(&self, bytes: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(bytes);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(self.now.as_secs()).unwrap_or(0));
        header
    }

    fn text(&mut self, name: &str, text: &[u8]) -> Result<(), BackupError> {
        let mut header = self.header(text.len() as u64);
        let done = self.tar.append_data(&mut header, name, text);
        done.map_err(|error| BackupError::io("write", &self.out, error))
    }

    /// Adds a file of the state folder; one that went away meanwhile is no loss.
    fn path(&mut self, state: &Path, name: &str) -> Result<(), BackupError> {
        let path = state.join(name);
        match File::open(&path) {
            Ok(mut file) => self.file(name, &mut file, &path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(BackupError::io("open", &path, error)),
        }
    }

    /// Adds as much of a file as there is at this moment: a journal grows on.
    fn file(&mut self, name: &str, file: &mut File, path: &Path) -> Result<(), BackupError> {
        let reading = |error| BackupError::io("read", path, error);
        let bytes = file.metadata().map_err(reading)?.len();
        let header = &mut self.header(bytes);
        let mut source = Hashing {
            file: file.take(bytes),
            hasher: blake3::Hasher::new(),
            read: 0,
        };
        let done = self.tar.append_data(header, name, &mut source);
        done.map_err(|error| BackupError::io("write", &self.out, error))?;
        if source.read != bytes {
            return Err(reading(io::Error::other(
                "it became shorter while it was read",
            )));
        }
        let blake3 = source.hasher.finalize().to_hex().to_string();
        self.manifest
            .files
            .insert(name.to_owned(), super::FileEntry { bytes, blake3 });
        Ok(())
    }
}

struct Hashing<R> {
    file: R,
    hasher: blake3::Hasher,
    read: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let some = self.file.read(buffer)?;
        self.hasher.update(buffer.get(..some).unwrap_or_default());
        self.read += some as u64;
        Ok(some)
    }
}

/// Every file of the journal by name, open.
fn open_all(journal: &Path) -> Result<BTreeMap<String, File>, BackupError> {
    let mut files = BTreeMap::new();
    let Ok(entries) = fs::read_dir(journal) else {
        return Ok(files);
    };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        match File::open(entry.path()) {
            Ok(file) if entry.file_type().is_ok_and(|kind| kind.is_file()) => {
                files.insert(name, file);
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(BackupError::io("open", &entry.path(), error)),
        }
    }
    Ok(files)
}

/// Names the files of a folder but for what is copied in a way of its own or means nothing elsewhere.
fn list(
    state: &Path,
    below: &Path,
    depth: usize,
    with_packets: bool,
    files: &mut Vec<String>,
    left_out: &mut Vec<String>,
) -> Result<(), BackupError> {
    let dir = state.join(below);
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(BackupError::io("list", &dir, error)),
    };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    for name in names {
        let path = below.join(&name);
        let Some(text) = path.to_str() else {
            left_out.push(format!("{}: its name is no text", path.display()));
            continue;
        };
        let Ok(kind) = fs::symlink_metadata(state.join(&path)).map(|known| known.file_type())
        else {
            continue;
        };
        if kind.is_dir() && text == PACKETS && !with_packets {
            left_out.push("raw packets (--packets takes them along)".to_owned());
        } else if kind.is_dir() && text != "journal" && depth < DEPTH_MAX {
            list(state, &path, depth + 1, with_packets, files, left_out)?;
        } else if kind.is_file() && is_worth_keeping(text) {
            files.push(text.to_owned());
        } else if !kind.is_file() && !kind.is_dir() {
            left_out.push(format!("{text}: no regular file"));
        }
    }
    Ok(())
}

/// Locks, files in the making and the database's own files are not.
fn is_worth_keeping(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_database = path
        .strip_prefix(DATABASE)
        .is_some_and(|rest| matches!(rest, "" | "-wal" | "-shm" | "-journal"));
    !is_database
        && !matches!(name, "lock" | "readers" | "part.new" | "position.new")
        && !matches!(path, "state.new.thymus" | "state.link.thymus")
}

/// A copy of the database as it is at one moment, while others write to it.
fn copy_database(from: &Path, to: &Path) -> Result<(), BackupError> {
    let failed = |source| BackupError::Database {
        path: from.to_path_buf(),
        source,
    };
    drop(fs::remove_file(to));
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(from, flags).map_err(failed)?;
    database
        .busy_timeout(Duration::from_secs(30))
        .map_err(failed)?;
    database
        .execute("VACUUM INTO ?1", [to.to_string_lossy()])
        .map_err(failed)?;
    Ok(())
}
