//! What goes, and when: the oldest events first.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use thymus_schema::Timestamp;

use super::Archive;
use super::error::ArchiveError;
use super::folder::lock_remover;
use super::part::PartName;

const POSITION: &str = "position.json";
const POSITION_NEW: &str = "position.new";

/// Up to which frame of the journal parts were written that may be gone since.
#[derive(Serialize, Deserialize)]
struct Position {
    format: u32,
    seq_done: u64,
}

/// The position that was kept; 0 when there is none that can be read: frames are then fed again.
pub(crate) fn read_position(dir: &Path) -> u64 {
    let text = fs::read_to_string(dir.join(POSITION)).unwrap_or_default();
    let position: Option<Position> = serde_json::from_str(&text).ok();
    position.map_or(0, |position| position.seq_done)
}

fn write_position(dir: &Path, seq_done: u64) -> Result<(), ArchiveError> {
    let fresh = dir.join(POSITION_NEW);
    let io = |error| ArchiveError::io("write", &fresh, error);
    let text = serde_json::to_string(&Position {
        format: 1,
        seq_done,
    });
    let text = text.map_err(|error| io(error.into()))?;
    let mut file = File::create(&fresh).map_err(io)?;
    file.write_all(text.as_bytes()).map_err(io)?;
    file.sync_all().map_err(io)?;
    fs::rename(&fresh, dir.join(POSITION)).map_err(io)
}

impl Archive {
    /// Removes what is too much, too old, or in the way of a disk that is nearly full.
    pub(super) fn retain(&mut self, now: Timestamp) {
        let bytes: u64 = self.parts.values().map(|info| info.bytes).sum();
        let mut excess = bytes.saturating_sub(self.limits.bytes_max);
        if self.limits.free_min > 0 {
            let free = free_bytes(&self.dir).unwrap_or(u64::MAX);
            excess = excess.max(self.limits.free_min.saturating_sub(free).min(bytes));
        }
        let oldest = self
            .limits
            .age_max
            .map(|age| now.minus(age).as_secs().div_euclid(3_600));
        let mut gone = Vec::new();
        let mut freed = 0;
        for (name, info) in &self.parts {
            let is_old = oldest.is_some_and(|oldest| name.hour < oldest);
            if !is_old && freed >= excess {
                break;
            }
            freed += info.bytes;
            gone.push(*name);
        }
        self.expire(&gone);
        self.remove_doomed();
    }

    /// Gives way to a part of `hour` that had no room: takes the oldest part away, unless what is to
    /// be written is older still.
    pub(super) fn make_room(&mut self, hour: i64) -> bool {
        let Some((name, info)) = self.parts.first_key_value() else {
            return false;
        };
        let (name, path) = (*name, info.path.clone());
        if name.hour > hour {
            return false;
        }
        self.expire(&[name]);
        self.remove_doomed();
        !path.exists()
    }

    fn expire(&mut self, gone: &[PartName]) {
        if gone.is_empty() {
            return;
        }
        // Without the position, frames that the parts held would be fed again after a crash. Where
        // not even that can be written, the disk is full, and room is what is needed most.
        drop(write_position(&self.dir, self.seq_done));
        for name in gone {
            if let Some(info) = self.parts.remove(name) {
                self.expired_events += info.meta.rows();
                self.doomed.push(info.path.clone());
            }
        }
    }

    /// Removes the files that count no more, if nobody reads.
    pub(super) fn remove_doomed(&mut self) {
        if self.doomed.is_empty() {
            return;
        }
        let Some(_alone) = lock_remover(&self.dir) else {
            return;
        };
        for path in std::mem::take(&mut self.doomed) {
            self.known.forget(&path);
            let is_gone = match fs::remove_file(&path) {
                Ok(()) => true,
                Err(error) => error.kind() == std::io::ErrorKind::NotFound,
            };
            // The folder of a day goes with its last part.
            if let Some(day) = path.parent().filter(|_| is_gone) {
                drop(fs::remove_dir(day));
            }
            if !is_gone {
                self.doomed.push(path);
            }
        }
    }
}

/// Bytes that this user may still write beside `dir`.
pub(super) fn free_bytes(dir: &Path) -> Option<u64> {
    let known = rustix::fs::statvfs(dir).ok()?;
    Some(known.f_bavail.saturating_mul(known.f_frsize))
}
