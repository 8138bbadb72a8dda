//! Names a file so that nobody can lead astray who may write to folders above it: the folder is reached
//! step by step without following a link, held open, and what is done is done in it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RenameFlags, Stat, fstat, fsync, mkdirat, openat, renameat,
    renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

const FOLDER: OFlags = OFlags::DIRECTORY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const MOVED: &str = "file";

/// A name in an open folder.
pub(super) struct Place {
    folder: OwnedFd,
    name: OsString,
    /// The folder's path without links, and the name.
    pub(super) path: PathBuf,
}

/// Why an original was not removed.
pub(super) enum NotRemoved {
    /// It is not the file that was read.
    Changed,
    /// The system refused, and it is where it was.
    Refused(io::Error),
    /// The system refused in the midst of it, and it is here.
    Stray(PathBuf, io::Error),
}

impl Place {
    /// The place that a person or a scan named; folders on the way may be links.
    pub(super) fn named(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        Self::exactly(&fs::canonicalize(folder)?.join(name))
    }

    /// The place with that very path, on which nothing is a link any more.
    pub(super) fn exactly(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let mut folder = openat(CWD, "/", FOLDER | OFlags::PATH, Mode::empty())?;
        for step in parent.components() {
            match step {
                Component::RootDir => {}
                Component::Normal(step) => {
                    folder = openat(&folder, step, FOLDER | OFlags::PATH, Mode::empty())?;
                }
                _ => return Err(io::ErrorKind::InvalidInput.into()),
            }
        }
        Ok(Self {
            folder,
            name: name.to_owned(),
            path: path.to_path_buf(),
        })
    }

    /// Opens the file, which must not be a link. A pipe is not waited for.
    pub(super) fn read(&self) -> io::Result<File> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(openat(&self.folder, &self.name, flags, Mode::empty())?.into())
    }

    /// Whether nothing has the name yet.
    pub(super) fn is_free(&self) -> bool {
        let found = statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW);
        matches!(found, Err(Errno::NOENT))
    }

    /// Makes a file that only its owner may read, beside the name.
    pub(super) fn beside(&self, name: &str) -> io::Result<File> {
        // Left by a process that was killed: it is this program's name.
        let _was_there = unlinkat(&self.folder, name, AtFlags::empty()).is_ok();
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        Ok(openat(&self.folder, name, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// Removes what [`Place::beside`] made.
    pub(super) fn drop_beside(&self, name: &str) {
        let _was_there = unlinkat(&self.folder, name, AtFlags::empty()).is_ok();
    }

    /// Gives what [`Place::beside`] made the name, unless something has it.
    pub(super) fn take_name(&self, beside: &str) -> io::Result<()> {
        let (folder, name) = (&self.folder, &self.name);
        match renameat_with(folder, beside, folder, name, RenameFlags::NOREPLACE) {
            // Not every file system can; a second name can be given by all that have them.
            Err(Errno::INVAL | Errno::NOSYS) => {
                rustix::fs::linkat(folder, beside, folder, name, AtFlags::empty())?;
                unlinkat(folder, beside, AtFlags::empty())?;
            }
            other => other?,
        }
        self.flush();
        Ok(())
    }

    /// Makes what was done here last, where the system can.
    fn flush(&self) {
        let opened = openat(&self.folder, ".", FOLDER, Mode::empty());
        let _is_lasting = opened.and_then(fsync).is_ok();
    }

    /// Removes the file, if it is still the one with that `stat`: it is moved into a folder that nobody
    /// else can reach, looked at there, and removed there or put back.
    pub(super) fn remove(&self, stat: &Stat, id: &str) -> Result<(), NotRemoved> {
        let refused = |error: Errno| NotRemoved::Refused(error.into());
        let folder = &self.folder;
        let private = format!(".thymus-quarantine-{id}");
        let private = OsStr::new(&private);
        mkdirat(folder, private, Mode::RWXU).map_err(refused)?;
        let close = || {
            let _is_gone = unlinkat(folder, private, AtFlags::REMOVEDIR).is_ok();
        };
        let inner = openat(folder, private, FOLDER, Mode::empty()).and_then(|inner| {
            let made = fstat(&inner)?;
            let is_mine = made.st_uid == rustix::process::geteuid().as_raw();
            let is_private = made.st_mode & 0o777 == 0o700;
            (is_mine && is_private).then_some(inner).ok_or(Errno::PERM)
        });
        let inner = inner.inspect_err(|_| close()).map_err(refused)?;
        renameat(folder, &self.name, &inner, MOVED)
            .inspect_err(|_| close())
            .map_err(refused)?;
        let stray = |error: Errno| {
            let inside = self.path.with_file_name(private).join(MOVED);
            NotRemoved::Stray(inside, error.into())
        };
        let moved = statat(&inner, MOVED, AtFlags::SYMLINK_NOFOLLOW).map_err(stray)?;
        if !is_same(stat, &moved) {
            renameat_with(&inner, MOVED, folder, &self.name, RenameFlags::NOREPLACE)
                .map_err(stray)?;
            close();
            return Err(NotRemoved::Changed);
        }
        unlinkat(&inner, MOVED, AtFlags::empty()).map_err(stray)?;
        close();
        self.flush();
        Ok(())
    }
}

/// Whether two looks met the same file with the same content, as far as the system tells.
pub(super) fn is_same(one: &Stat, other: &Stat) -> bool {
    let key = |stat: &Stat| {
        (
            stat.st_dev,
            stat.st_ino,
            stat.st_size,
            stat.st_mtime,
            stat.st_mtime_nsec,
        )
    };
    key(one) == key(other)
}
