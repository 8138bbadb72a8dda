//! Gives a kept file back.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, Timespec, Timestamps, Uid, fchmod, fchown, futimens};

use super::folder::Place;
use super::seal::Opened;
use super::{Kept, Quarantine, QuarantineError};

/// A file that was given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Where it is now.
    pub path: PathBuf,
    /// Whether it has its old owner and group, which only root can give.
    pub has_owner: bool,
}

impl Quarantine {
    /// Puts a kept file back where it was, or `to` another place, with its rights and times, and removes
    /// it from the store. The very bytes that were kept come back, or nothing.
    ///
    /// # Errors
    /// When the entry is damaged, something is at the place, or it cannot be written.
    pub fn restore(&self, id: &str, to: Option<&Path>) -> Result<Restored, QuarantineError> {
        let _lock = self.lock()?;
        let mut file = self.entry(id)?;
        let mut opened = Opened::new(&mut file, &self.key(false)?, id)?;
        let kept = opened.kept.clone();
        let path = to.unwrap_or_else(|| kept.path()).to_path_buf();
        let failed = |source| QuarantineError::Restore {
            path: path.clone(),
            source,
        };
        // Where a link is now, none was: whoever made it would choose where the file goes.
        let place = match to {
            Some(to) => Place::named(to),
            None => Place::exactly(kept.path()),
        };
        let place = place.map_err(failed)?;
        if !place.is_free() {
            return Err(QuarantineError::Occupied { path });
        }
        let beside = format!(".thymus-restore-{id}");
        let mut fresh = place.beside(&beside).map_err(failed)?;
        let written = opened
            .write(&mut fresh, failed)
            .and_then(|()| dress(&fresh, &kept).map_err(failed))
            .and_then(|has_owner| {
                place
                    .take_name(&beside)
                    .map_err(|error| match error.kind() {
                        io::ErrorKind::AlreadyExists => {
                            QuarantineError::Occupied { path: path.clone() }
                        }
                        _ => failed(error),
                    })?;
                Ok(has_owner)
            });
        let has_owner = written.inspect_err(|_| place.drop_beside(&beside))?;
        self.forget(id).map_err(|e| self.failed(e))?;
        Ok(Restored {
            path: place.path,
            has_owner,
        })
    }
}

/// Gives a file its owner, rights and times, and makes it last. Who may not give it away keeps it, then
/// without the rights to run as its owner.
fn dress(file: &File, kept: &Kept) -> io::Result<bool> {
    let (user, group) = (Uid::from_raw(kept.user), Gid::from_raw(kept.group));
    let has_owner = fchown(file, Some(user), Some(group)).is_ok();
    let mode = if has_owner {
        kept.mode
    } else {
        kept.mode & 0o777
    };
    fchmod(file, Mode::from_raw_mode(mode))?;
    let time = |(secs, nanos): (i64, u32)| Timespec {
        tv_sec: secs,
        tv_nsec: nanos.into(),
    };
    let times = Timestamps {
        last_access: time(kept.accessed),
        last_modification: time(kept.modified),
    };
    futimens(file, &times)?;
    file.sync_all()?;
    Ok(has_owner)
}
