//! Writing a journal, within a bound of disk.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::frame::{FrameKind, check, encode};
use super::segment::{MAGIC, Next, Segment, list, number, path_of, read_frame, taken};

/// Room on the disk that is kept for what is found, should there be no other left.
const RESERVE: &str = "reserve";
const RESERVE_BYTES: usize = 4 << 20;

/// How much disk a journal may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalOptions {
    /// Bytes of the folder, give or take one segment.
    pub bytes_max: u64,
    /// Bytes of a segment, give or take one frame.
    pub segment_bytes_max: u64,
}

impl Default for JournalOptions {
    /// 1 GiB in segments of 16 MiB.
    fn default() -> Self {
        Self {
            bytes_max: 1 << 30,
            segment_bytes_max: 16 << 20,
        }
    }
}

/// The only writer of a journal. On a full disk events are not written, and what was found is, into room
/// that is held for it.
#[derive(Debug)]
pub struct JournalWriter {
    dir: PathBuf,
    options: JournalOptions,
    current: Option<(Segment, File, u64)>,
    next: u64,
    /// Frames up to this one are in a snapshot.
    kept: u64,
    /// Files in which others that read the journal say how far they are.
    heeded: Vec<PathBuf>,
    event_frames_dropped: u64,
    /// The disk is full, and the reserve given up.
    is_tight: bool,
}

impl JournalWriter {
    /// Goes on with the journal in `dir`, or begins one; `after` is a number that all new frames are to
    /// be above, also when the folder was emptied.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(dir: &Path, options: JournalOptions, after: u64) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        hold_reserve(dir);
        let last = list(dir)?.last().map(last_seq).transpose()?.unwrap_or(0);
        Ok(Self {
            dir: dir.to_path_buf(),
            options,
            current: None,
            next: last.max(after).max(taken(dir)) + 1,
            kept: 0,
            heeded: Vec::new(),
            event_frames_dropped: 0,
            is_tight: false,
        })
    }

    /// The number of the last frame that was written.
    pub fn position(&self) -> u64 {
        self.next - 1
    }

    /// Frames of events that were taken away to stay within the bound, before the keeper had them.
    pub fn event_frames_dropped(&self) -> u64 {
        self.event_frames_dropped
    }

    /// Writes one frame, whose content is the JSON of [`super::FrameBody::json`], and gives its number. It is in the
    /// hands of the system then: it outlives this process, and after [`JournalWriter::sync`] the machine.
    ///
    /// # Errors
    /// When it cannot be written: its number is not used again, so that readers count it as gone.
    pub fn write(&mut self, kind: FrameKind, json: &[u8]) -> io::Result<u64> {
        let seq = self.next;
        self.next += 1;
        let frame = encode(seq, kind, json)?;
        let full = self.options.segment_bytes_max;
        if self.current.as_ref().is_some_and(|(_, _, at)| *at >= full) {
            self.current = None;
        }
        if self.current.is_none() {
            self.make_room();
        }
        if kind == FrameKind::Events && self.is_tight {
            // The room that was given up is not for events.
            hold_reserve(&self.dir);
            self.is_tight = !self.dir.join(RESERVE).exists();
            if self.is_tight {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        match self.append(seq, &frame) {
            Err(error) if is_full(&error) && kind != FrameKind::Events => {
                // Events are told apart by being many: what is found must still get in.
                self.is_tight = fs::remove_file(self.dir.join(RESERVE)).is_ok();
                self.append(seq, &frame)?;
            }
            done => done?,
        }
        Ok(seq)
    }

    fn append(&mut self, seq: u64, frame: &[u8]) -> io::Result<()> {
        if self.current.is_none() {
            self.current = Some(self.begin(seq)?);
        }
        let Some((_, file, at)) = &mut self.current else {
            return Ok(());
        };
        if let Err(error) = file.write_all(frame) {
            // A torn frame would hide what is written behind it.
            if file.set_len(*at).is_err() || *at == MAGIC.len() as u64 {
                self.current = None;
            }
            return Err(error);
        }
        *at += frame.len() as u64;
        Ok(())
    }

    /// The next frame gets this number or a later one.
    pub fn skip_to(&mut self, seq: u64) {
        self.next = self.next.max(seq);
    }

    /// Waits until what was written is on the disk.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn sync(&mut self) -> io::Result<()> {
        self.current
            .as_ref()
            .map_or(Ok(()), |(_, file, _)| file.sync_data())
    }

    /// Frames up to this one are in a snapshot: the analysis does not need them any more.
    pub fn keep_after(&mut self, seq: u64) {
        self.kept = seq;
    }

    /// Keeps what somebody has not read yet who says in this file up to which frame they have, beside the keeper; as
    /// long as there is no file, that is everything.
    pub fn heed(&mut self, position: PathBuf) {
        self.heeded.push(position);
    }

    /// The number of the last frame that nobody needs any more.
    fn done(&self) -> u64 {
        let heeded = self.heeded.iter().map(|file| number(file)).min();
        let done = taken(&self.dir).min(self.kept);
        done.min(heeded.unwrap_or(u64::MAX))
    }

    fn begin(&self, first: u64) -> io::Result<(Segment, File, u64)> {
        let path = path_of(&self.dir, first);
        let mut file = File::options().append(true).create(true).open(&path)?;
        // What lies there has no whole frame: a segment is named by its first.
        file.set_len(0)?;
        file.write_all(MAGIC)?;
        Ok((Segment { first, path }, file, MAGIC.len() as u64))
    }

    /// Takes away what nobody needs, then what has to go.
    fn make_room(&mut self) {
        hold_reserve(&self.dir);
        let Ok(segments) = list(&self.dir) else {
            return;
        };
        let done = self.done();
        let mut left: Vec<(Segment, u64)> = Vec::new();
        let ends = segments.iter().skip(1).map(|next| next.first - 1);
        let ends = ends.chain([self.next.saturating_sub(2)]);
        for (segment, last) in segments.iter().zip(ends) {
            if last <= done && fs::remove_file(&segment.path).is_ok() {
                continue;
            }
            let bytes = fs::metadata(&segment.path).map_or(0, |meta| meta.len());
            left.push((segment.clone(), bytes));
        }
        let mut total: u64 = left.iter().map(|(_, bytes)| bytes).sum();
        for (segment, bytes) in &mut left {
            if total <= self.options.bytes_max {
                return;
            }
            let Ok((fewer, dropped)) = without_events(segment) else {
                continue;
            };
            self.event_frames_dropped += dropped;
            total -= *bytes - fewer.min(*bytes);
            *bytes = fewer;
        }
        for (segment, bytes) in &left {
            if total <= self.options.bytes_max {
                return;
            }
            if fs::remove_file(&segment.path).is_ok() {
                total -= bytes;
            }
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Takes the room for the reserve where it is not taken; without room for it there is none. Where its file is there, it
/// has all its room.
fn hold_reserve(dir: &Path) {
    let path = dir.join(RESERVE);
    if path.exists() {
        return;
    }
    let fresh = path.with_extension("new");
    let held = fs::write(&fresh, vec![0; RESERVE_BYTES]).and_then(|()| fs::rename(&fresh, &path));
    if held.is_err() {
        let _is_gone = fs::remove_file(fresh).is_ok();
    }
}

/// The number of the last whole frame of a segment, or the one before its first.
fn last_seq(segment: &Segment) -> io::Result<u64> {
    let mut last = segment.first.saturating_sub(1);
    each_frame(segment, |frame, _| {
        if let Ok(packed) = check(frame) {
            last = last.max(packed.seq);
        }
        Ok(())
    })?;
    Ok(last)
}

/// Calls `each` with every frame of a segment and where it is an event's.
fn each_frame(
    segment: &Segment,
    mut each: impl FnMut(&[u8], bool) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = File::open(&segment.path)?;
    io::Seek::seek(&mut file, io::SeekFrom::Start(MAGIC.len() as u64))?;
    let mut frame = Vec::new();
    while read_frame(&mut file, &mut frame)? == Next::Frame {
        let is_events = check(&frame).is_ok_and(|packed| packed.kind == FrameKind::Events);
        each(&frame, is_events)?;
    }
    Ok(())
}

/// Replaces a segment by one without its events; gives its size then, and how many frames went.
fn without_events(segment: &Segment) -> io::Result<(u64, u64)> {
    let mut out = MAGIC.to_vec();
    let mut dropped = 0;
    each_frame(segment, |frame, is_events| {
        if is_events {
            dropped += 1;
        } else {
            out.extend_from_slice(frame);
        }
        Ok(())
    })?;
    if dropped > 0 {
        let fresh = segment.path.with_extension("new");
        fs::write(&fresh, &out)?;
        fs::rename(&fresh, &segment.path)?;
    }
    Ok((out.len() as u64, dropped))
}
