//! Waits until something happens in the followed folders: inotify where the kernel tells, and the end of
//! the wait where it does not (network file systems, links that lead elsewhere, no watches left).

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use std::collections::BTreeSet;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

/// What is written in so short a time is read in one go.
const PAUSE: Duration = Duration::from_millis(50);
/// Most folders that are watched.
const WATCHES_MAX: usize = 4_096;

/// Watches folders.
pub(super) struct Wake {
    inotify: Option<OwnedFd>,
    watched: BTreeSet<PathBuf>,
}

impl Wake {
    pub(super) fn new() -> Self {
        let flags = CreateFlags::NONBLOCK | CreateFlags::CLOEXEC;
        Self {
            inotify: inotify::init(flags).ok(),
            watched: BTreeSet::new(),
        }
    }

    /// Watches `folder` too; a folder that cannot be watched is looked at when a wait ends.
    pub(super) fn watch(&mut self, folder: &Path) {
        let Some(inotify) = &self.inotify else { return };
        if self.watched.len() >= WATCHES_MAX || self.watched.contains(folder) {
            return;
        }
        let flags = WatchFlags::MODIFY
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::ATTRIB
            | WatchFlags::ONLYDIR;
        if inotify::add_watch(inotify, folder, flags).is_ok() {
            self.watched.insert(folder.to_path_buf());
        }
    }

    /// Forgets which folders are watched, so that one that was replaced is watched anew.
    pub(super) fn forget(&mut self) {
        self.watched.clear();
    }

    /// Whether the kernel tells of changes.
    pub(super) const fn is_told(&self) -> bool {
        self.inotify.is_some()
    }

    /// Waits at most `timeout`; whether names may have changed, not only contents.
    pub(super) fn wait(&mut self, timeout: Duration) -> bool {
        let Some(inotify) = &self.inotify else {
            thread::sleep(timeout);
            return true;
        };
        let mut fds = [PollFd::new(inotify, PollFlags::IN)];
        let span = Timespec::try_from(timeout).ok();
        match poll(&mut fds, span.as_ref()) {
            Ok(1..) => {
                thread::sleep(PAUSE.min(timeout));
                drain(inotify)
            }
            // Without word from the kernel everything is looked at.
            Ok(0) => true,
            Err(_) => {
                thread::sleep(timeout);
                true
            }
        }
    }
}

/// Reads what the kernel told; whether it was of names.
fn drain(inotify: &OwnedFd) -> bool {
    let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
    let mut reader = inotify::Reader::new(inotify, &mut buffer);
    let mut names = false;
    while let Ok(event) = reader.next() {
        names |= event.events() != ReadFlags::MODIFY;
    }
    names
}
