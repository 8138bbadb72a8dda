//! From the analysis to the enforcer: a file of JSON lines that one appends to and the other follows.
//!
//! A line that was read twice is decided once, so nobody has to remember where reading stood; what is older than
//! ten minutes when it is read is history.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use thymus_respond::{NeverAct, Proposal};
use thymus_schema::Timestamp;

const NAME: &str = "proposals.jsonl";
/// A file of this size is put aside for a new one.
const LENGTH_MAX: u64 = 16 << 20;
/// No line of ours is longer.
const LINE_MAX: usize = 8 << 20;
/// What was said longer ago is history.
const STALE_SECS: f64 = 600.0;

/// What the analysis says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "say")]
pub(super) enum Said {
    /// Something could be done.
    Proposals {
        /// When it was said.
        at: Timestamp,
        /// When the packet was captured that tipped the score, where one did.
        #[serde(default)]
        tipped: Option<Timestamp>,
        /// What.
        proposals: Vec<Proposal>,
    },
    /// What was learned about the network.
    Learned {
        /// Whom it depends on.
        never: NeverAct,
        /// Devices it has.
        devices: u64,
    },
}

/// The end of the analysis.
#[derive(Debug)]
pub(super) struct Speaker {
    path: PathBuf,
    file: Option<File>,
}

impl Speaker {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            path: folder.join(NAME),
            file: None,
        }
    }

    /// Says something. It is in the file when this returns, not yet on the disk: what a power cut takes is said
    /// again by the next look at the incident.
    pub(super) fn say(&mut self, said: &Said) -> Result<()> {
        let mut line = serde_json::to_vec(said)?;
        line.push(b'\n');
        let path = &self.path;
        let file = match &mut self.file {
            Some(file)
                if file
                    .metadata()
                    .is_ok_and(|metadata| metadata.len() < LENGTH_MAX) =>
            {
                file
            }
            other => {
                if std::fs::metadata(path).is_ok_and(|metadata| metadata.len() >= LENGTH_MAX) {
                    std::fs::rename(path, path.with_extension("old"))?;
                }
                let opened = OpenOptions::new().append(true).create(true).open(path);
                other.insert(opened.with_context(|| format!("cannot write {}", path.display()))?)
            }
        };
        file.write_all(&line)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The end of the enforcer.
#[derive(Debug)]
pub(super) struct Listener {
    path: PathBuf,
    open: Option<(File, u64)>,
    rest: Vec<u8>,
}

impl Listener {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            path: folder.join(NAME),
            open: None,
            rest: Vec::new(),
        }
    }

    /// What was said since the last time, but for what is history at `now`.
    pub(super) fn heard(&mut self, now: Timestamp) -> Vec<Said> {
        let mut heard = Vec::new();
        loop {
            if self.open.is_none() {
                let Ok(file) = File::open(&self.path) else {
                    return heard;
                };
                let inode = file.metadata().map_or(0, |metadata| metadata.ino());
                self.open = Some((file, inode));
            }
            self.read(now, &mut heard);
            let named = std::fs::metadata(&self.path).map_or(0, |metadata| metadata.ino());
            if self.open.as_ref().is_none_or(|(_, inode)| *inode == named) {
                return heard;
            }
            // It was put aside, and has been read to its end.
            self.open = None;
            self.rest.clear();
        }
    }

    fn read(&mut self, now: Timestamp, heard: &mut Vec<Said>) {
        let Some((file, _)) = &mut self.open else {
            return;
        };
        // One that was cut begins anew.
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        if file.stream_position().is_ok_and(|at| at > length) {
            let _is_there = file.seek(SeekFrom::Start(0)).is_ok();
            self.rest.clear();
        }
        // What could not be read is there the next time.
        let _is_read = file
            .take(LENGTH_MAX * 2)
            .read_to_end(&mut self.rest)
            .is_ok();
        let mut rest = self.rest.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end);
            // A line that is none of ours says nothing.
            heard.extend(serde_json::from_slice(line).ok());
            rest = after.get(1..).unwrap_or_default();
        }
        self.rest = if rest.len() > LINE_MAX {
            Vec::new()
        } else {
            rest.to_vec()
        };
        heard.retain(|said| match said {
            Said::Proposals { at, .. } => now.secs_since(*at) < STALE_SECS,
            Said::Learned { .. } => true,
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn said(devices: u64) -> Said {
        Said::Learned {
            never: NeverAct::default(),
            devices,
        }
    }

    #[test]
    fn what_is_said_is_heard_once_and_through_a_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let (mut speaker, mut listener) = (Speaker::new(dir.path()), Listener::new(dir.path()));
        let now = Timestamp::from_secs(1_000_000);
        assert!(listener.heard(now).is_empty());
        speaker.say(&said(1)).unwrap();
        assert_eq!(listener.heard(now), [said(1)]);
        assert!(listener.heard(now).is_empty());
        let path = dir.path().join(NAME);
        speaker.say(&said(2)).unwrap();
        std::fs::rename(&path, path.with_extension("old")).unwrap();
        let mut another = Speaker::new(dir.path());
        another.say(&said(3)).unwrap();
        assert_eq!(listener.heard(now), [said(2), said(3)]);
        // Half a line is heard when it is whole.
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"rubbish\n{\"say\":\"learned\",\"never\":{\"nets\":{},\"services\":[],")
            .unwrap();
        assert!(listener.heard(now).is_empty());
        file.write_all(b"\"relied_on\":[]},\"devices\":4}\n")
            .unwrap();
        let heard = listener.heard(now);
        assert_eq!(heard.len(), 1, "{heard:?}");
    }

    #[test]
    fn history_is_not_heard() {
        let dir = tempfile::tempdir().unwrap();
        let mut speaker = Speaker::new(dir.path());
        let at = Timestamp::from_secs(1_000_000);
        let proposals = Vec::new();
        speaker
            .say(&Said::Proposals {
                at,
                tipped: None,
                proposals,
            })
            .unwrap();
        let hour = Timestamp::from_secs(1_003_600);
        assert!(Listener::new(dir.path()).heard(hour).is_empty());
        assert_eq!(Listener::new(dir.path()).heard(at).len(), 1);
    }
}
