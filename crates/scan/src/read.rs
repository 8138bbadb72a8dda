//! Reads a file of the disk without being led astray: no link is followed, nothing but a regular file
//! is read, and not more than allowed, whatever happens to the file meanwhile.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

use crate::{Reason, Special};

/// The bytes of the file at `path`, which is opened as [`open`] does.
///
/// # Errors
/// The size, as far as known, and why it was not read.
pub fn read(path: &Path, may_follow: bool, bytes_max: u64) -> Result<Vec<u8>, (u64, Reason)> {
    let (file, metadata) = open(path, may_follow, bytes_max)?;
    take(file, metadata.len(), bytes_max)
}

/// Opens the regular file at `path`, unless it has more than `bytes_max`. The last step of the path may
/// be a link only when `may_follow`, for what a person named.
///
/// # Errors
/// The size, as far as known, and why it was not opened.
pub fn open(
    path: &Path,
    may_follow: bool,
    bytes_max: u64,
) -> Result<(File, Metadata), (u64, Reason)> {
    let mut flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    if !may_follow {
        flags |= OFlag::O_NOFOLLOW;
    }
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path);
    let file = opened.map_err(|error| (0, reason(&error)))?;
    // Asked of what is open, not of the name: that may mean something else by now.
    let metadata = file.metadata().map_err(|error| (0, reason(&error)))?;
    if !metadata.is_file() {
        return Err((0, Reason::Special(Special::Changed)));
    }
    let length = metadata.len();
    if length > bytes_max {
        return Err((length, Reason::TooLarge));
    }
    Ok((file, metadata))
}

/// The bytes of an open file of `length`, as far as known.
pub(crate) fn take(file: File, length: u64, bytes_max: u64) -> Result<Vec<u8>, (u64, Reason)> {
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    let read = file.take(bytes_max + 1).read_to_end(&mut bytes);
    read.map_err(|error| (length, reason(&error)))?;
    if bytes.len() as u64 > bytes_max {
        return Err((bytes.len() as u64, Reason::TooLarge));
    }
    Ok(bytes)
}

/// What an error of the system means for the file.
pub(crate) fn reason(error: &io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::NotFound => Reason::Vanished,
        _ => Reason::Unreadable,
    }
}
