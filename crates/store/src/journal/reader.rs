//! Reading a journal while it is written.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::frame::{Frame, FrameKind, check};
use super::segment::{MAGIC, Next, list, read_frame, set_taken};

/// What a reader could not give out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReaderCounters {
    /// Frames that were taken away before they were read.
    pub frames_gone: u64,
    /// Places where a segment was damaged; what follows in it is left out.
    pub damaged: u64,
    /// Frames that a kill cut in the middle.
    pub torn: u64,
}

/// Gives the frames of a journal in order.
#[derive(Debug)]
pub struct JournalReader {
    dir: PathBuf,
    /// The number of the last frame that was given out, or before which nothing is wanted.
    after: u64,
    current: Option<Current>,
    counters: ReaderCounters,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Current {
    first: u64,
    file: File,
    /// Where the next frame begins.
    at: u64,
}

impl JournalReader {
    /// Reads the journal in `dir` from behind the frame with the number `after`; 0 is the beginning.
    pub fn open(dir: &Path, after: u64) -> Self {
        Self {
            dir: dir.to_path_buf(),
            after,
            current: None,
            counters: ReaderCounters::default(),
            buffer: Vec::new(),
        }
    }

    /// What could not be given out so far.
    pub fn counters(&self) -> ReaderCounters {
        self.counters
    }

    /// The number of the last frame that was given out.
    pub fn position(&self) -> u64 {
        self.after
    }

    /// The next frame, or nothing when there is none yet.
    ///
    /// # Errors
    /// When the folder or a segment cannot be read.
    pub fn read(&mut self) -> io::Result<Option<Frame>> {
        self.next_of(|_| true)
    }

    /// The next frame of the kinds that are `wanted`; the others are passed over without unpacking.
    ///
    /// # Errors
    /// When the folder or a segment cannot be read.
    pub fn next_of(&mut self, wanted: impl Fn(FrameKind) -> bool) -> io::Result<Option<Frame>> {
        loop {
            if self.current.is_none() && !self.go_on()? {
                return Ok(None);
            }
            let Some(current) = &mut self.current else {
                return Ok(None);
            };
            match read_frame(&mut current.file, &mut self.buffer)? {
                Next::Frame => {
                    current.at += self.buffer.len() as u64;
                    let Ok(packed) = check(&self.buffer) else {
                        if !self.give_up(|counters| counters.damaged += 1)? {
                            return Ok(None);
                        }
                        continue;
                    };
                    if packed.seq <= self.after {
                        continue;
                    }
                    self.counters.frames_gone += packed.seq - self.after - 1;
                    self.after = packed.seq;
                    if !wanted(packed.kind) {
                        continue;
                    }
                    match packed.open() {
                        Ok(frame) => return Ok(Some(frame)),
                        Err(_) => self.counters.damaged += 1,
                    }
                }
                Next::End => {
                    current.file.seek(SeekFrom::Start(current.at))?;
                    if !self.go_on()? {
                        return Ok(None);
                    }
                }
                Next::Torn => {
                    if !self.give_up(|counters| counters.torn += 1)? {
                        return Ok(None);
                    }
                }
                Next::Foreign => {
                    if !self.give_up(|counters| counters.damaged += 1)? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Tells the writer that frames up to this one are not needed here any more.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn taken(&self, seq: u64) -> io::Result<()> {
        set_taken(&self.dir, seq)
    }

    /// Leaves the rest of this segment for the next one, if there is one; else the bytes may still come.
    fn give_up(&mut self, count: impl Fn(&mut ReaderCounters)) -> io::Result<bool> {
        if let Some(current) = &mut self.current {
            current.file.seek(SeekFrom::Start(current.at))?;
        }
        let is_left = self.go_on()?;
        if is_left {
            count(&mut self.counters);
        }
        Ok(is_left)
    }

    /// Opens the segment that follows, where there is one.
    fn go_on(&mut self) -> io::Result<bool> {
        let segments = match list(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            listed => listed?,
        };
        let wanted = match &self.current {
            Some(current) => segments.iter().find(|one| one.first > current.first),
            // The last one that can hold the frame behind `after`, or the oldest there is.
            None => segments
                .iter()
                .rev()
                .find(|one| one.first <= self.after + 1)
                .or(segments.first()),
        };
        let Some(segment) = wanted else {
            return Ok(false);
        };
        let mut file = match File::open(&segment.path) {
            // Taken away between the list and here: the next look finds what is there then.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened?,
        };
        let mut magic = [0; MAGIC.len()];
        let is_whole = file.read_exact(&mut magic).is_ok() && magic == *MAGIC;
        if !is_whole && segments.last().map(|last| last.first) == Some(segment.first) {
            return Ok(false);
        }
        if !is_whole {
            self.counters.damaged += 1;
            file.seek(SeekFrom::End(0))?;
        }
        let at = file.stream_position()?;
        self.current = Some(Current {
            first: segment.first,
            file,
            at,
        });
        Ok(true)
    }
}
