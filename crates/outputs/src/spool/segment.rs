//! The files of a spool.
//!
//! ```text
//! length of what follows the digest u32 · digest, 8 bytes · number u64 · frame u64 · index u32 · payload
//! ```
//! Integers are little-endian, the digest is the beginning of BLAKE3 over what follows it.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::{Mark, RECORD_BYTES_MAX};

const ENDING: &str = ".spl";
const DIGEST: usize = 8;
/// Before what the digest covers.
const HEAD: usize = 4 + DIGEST;
/// Of what the digest covers, what is before the payload.
const INNER: usize = 8 + 8 + 4;

/// A file of the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Segment {
    /// The number of its first record.
    pub(super) first: u64,
    pub(super) bytes: u64,
}

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) number: u64,
    pub(super) segment: u64,
    pub(super) at: u64,
    pub(super) len: u64,
}

/// What a segment holds.
pub(super) struct Scan {
    pub(super) segment: Segment,
    pub(super) places: Vec<(Place, Mark)>,
    pub(super) damaged: u64,
}

pub(super) fn path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}{ENDING}"))
}

/// The segments of a folder by their first record, oldest first.
pub(super) fn list(dir: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let first = name.to_str().and_then(|name| name.strip_suffix(ENDING));
        found.extend(first.and_then(|first| first.parse::<u64>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}

/// One that is gone is as good as removed.
pub(super) fn remove(dir: &Path, first: u64) -> io::Result<()> {
    match fs::remove_file(path(dir, first)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The bytes of a record.
pub(super) fn encode(number: u64, mark: Mark, payload: &[u8]) -> Vec<u8> {
    let mut inner = Vec::with_capacity(INNER + payload.len());
    inner.extend_from_slice(&number.to_le_bytes());
    inner.extend_from_slice(&mark.frame.to_le_bytes());
    inner.extend_from_slice(&mark.index.to_le_bytes());
    inner.extend_from_slice(payload);
    let mut out = Vec::with_capacity(HEAD + inner.len());
    out.extend_from_slice(&(inner.len() as u32).to_le_bytes());
    out.extend_from_slice(&digest(&inner));
    out.extend_from_slice(&inner);
    out
}

/// Reads a segment through. A record whose digest is wrong is counted and passed over by its length; what is torn ends
/// the segment.
pub(super) fn scan(dir: &Path, first: u64) -> io::Result<Scan> {
    let mut file = File::open(path(dir, first))?;
    let bytes = file.metadata()?.len();
    let mut found = Scan {
        segment: Segment { first, bytes },
        places: Vec::new(),
        damaged: 0,
    };
    let mut at = 0;
    let mut frame = Vec::new();
    while let Some(len) = read_frame(&mut file, &mut frame)? {
        match decode(&frame) {
            Some((number, mark, _)) => found.places.push((
                Place {
                    number,
                    segment: first,
                    at,
                    len,
                },
                mark,
            )),
            None => found.damaged += 1,
        }
        at += len;
    }
    Ok(found)
}

/// The payload of a record.
pub(super) fn read(dir: &Path, place: &Place) -> io::Result<Vec<u8>> {
    let mut file = File::open(path(dir, place.segment))?;
    file.seek(SeekFrom::Start(place.at))?;
    let mut frame = Vec::new();
    read_frame(&mut file, &mut frame)?;
    match decode(&frame) {
        Some((number, _, payload)) if number == place.number => Ok(payload.to_vec()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Reads one whole frame and gives its length; nothing when there is none.
fn read_frame(file: &mut File, frame: &mut Vec<u8>) -> io::Result<Option<u64>> {
    frame.clear();
    file.by_ref().take(HEAD as u64).read_to_end(frame)?;
    let Some(length) = frame.first_chunk::<4>().filter(|_| frame.len() == HEAD) else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*length) as usize;
    if !(INNER..=INNER + RECORD_BYTES_MAX).contains(&length) {
        return Ok(None);
    }
    file.by_ref().take(length as u64).read_to_end(frame)?;
    Ok((frame.len() == HEAD + length).then_some((HEAD + length) as u64))
}

fn decode(frame: &[u8]) -> Option<(u64, Mark, &[u8])> {
    let (head, inner) = frame.split_at_checked(HEAD)?;
    if head.get(4..)? != digest(inner).as_slice() {
        return None;
    }
    let (number, rest) = inner.split_first_chunk::<8>()?;
    let (source, rest) = rest.split_first_chunk::<8>()?;
    let (index, payload) = rest.split_first_chunk::<4>()?;
    let mark = Mark {
        frame: u64::from_le_bytes(*source),
        index: u32::from_le_bytes(*index),
    };
    Some((u64::from_le_bytes(*number), mark, payload))
}

fn digest(bytes: &[u8]) -> [u8; DIGEST] {
    let whole = blake3::hash(bytes);
    *whole.as_bytes().first_chunk().unwrap_or(&[0; DIGEST])
}
