//! The files of a journal.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::frame::{HEAD, payload_len};

/// How a segment begins.
pub(super) const MAGIC: &[u8; 8] = b"THYMJNL1";
const ENDING: &str = ".jnl";
/// The number of the last frame that the keeper has taken in.
const TAKEN: &str = "taken";

/// A segment of the folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Segment {
    /// The number of its first frame.
    pub(super) first: u64,
    pub(super) path: PathBuf,
}

/// The segments of a folder, oldest first.
pub(super) fn list(dir: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let first = name.and_then(|name| name.strip_suffix(ENDING));
        if let Some(first) = first.and_then(|first| first.parse().ok()) {
            segments.push(Segment { first, path });
        }
    }
    segments.sort();
    Ok(segments)
}

/// Where the segment that begins with this frame lies.
pub(super) fn path_of(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}{ENDING}"))
}

/// What the next bytes of a segment are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A frame, whole as far as its length goes.
    Frame,
    /// Nothing more, for now.
    End,
    /// The beginning of a frame whose rest is not there.
    Torn,
    /// No frame begins like this.
    Foreign,
}

/// Reads the next frame of a segment into `frame`.
pub(super) fn read_frame(file: &mut File, frame: &mut Vec<u8>) -> io::Result<Next> {
    frame.clear();
    file.by_ref().take(HEAD as u64).read_to_end(frame)?;
    if frame.is_empty() {
        return Ok(Next::End);
    }
    let Ok(head) = <&[u8; HEAD]>::try_from(frame.as_slice()) else {
        return Ok(Next::Torn);
    };
    let Some(len) = payload_len(head) else {
        return Ok(Next::Foreign);
    };
    file.by_ref().take(len as u64).read_to_end(frame)?;
    Ok(if frame.len() == HEAD + len {
        Next::Frame
    } else {
        Next::Torn
    })
}

/// The number of the last frame that the keeper has taken in; 0 when there is no keeper.
pub(super) fn taken(dir: &Path) -> u64 {
    number(&dir.join(TAKEN))
}

/// The number in a file; 0 when there is none.
pub(super) fn number(file: &Path) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// Says so.
pub(super) fn set_taken(dir: &Path, seq: u64) -> io::Result<()> {
    let fresh = dir.join("taken.new");
    fs::write(&fresh, seq.to_string())?;
    fs::rename(fresh, dir.join(TAKEN))
}
