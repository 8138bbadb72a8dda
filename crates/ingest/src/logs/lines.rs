//! Lines of a (compressed) file, bounded in length, with their offsets.

use std::io::Read;

use crate::input::InputReader;

/// Longest line that is kept; alerts with payloads run to some hundred kilobytes.
pub(crate) const LINE_BYTES_MAX: usize = 1 << 20;
/// Bytes asked for at a time.
const CHUNK_BYTES: usize = 256 * 1024;

/// The next line.
#[derive(Debug)]
pub(crate) enum Line<'a> {
    /// A line without its line feed. The last line of a file need not have one.
    Text(&'a [u8]),
    /// A line that is too long; it was skipped.
    TooLong,
    /// Reading broke; what was left of a line was dropped.
    Error(std::io::Error),
    /// No more lines.
    End,
}

/// Reads lines.
pub(crate) struct Lines {
    reader: Option<InputReader>,
    buffer: Vec<u8>,
    /// Unread part of the buffer.
    start: usize,
    end: usize,
    offset: u64,
    done: u64,
    finished: bool,
}

impl Lines {
    pub(crate) fn new(reader: InputReader) -> Self {
        Self {
            reader: Some(reader),
            ..Self::empty()
        }
    }

    pub(crate) const fn empty() -> Self {
        Self {
            reader: None,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            offset: 0,
            done: 0,
            finished: false,
        }
    }

    /// Offset of the next line in the decompressed file.
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes read from disk.
    pub(crate) fn bytes_done(&self) -> u64 {
        self.reader
            .as_ref()
            .map_or(self.done, InputReader::bytes_done)
    }

    pub(crate) fn next(&mut self) -> Line<'_> {
        let mut searched = 0;
        let mut too_long = false;
        loop {
            let unread = self.buffer.get(self.start..self.end).unwrap_or_default();
            let unsearched = unread.get(searched..).unwrap_or_default();
            if let Some(at) = memchr::memchr(b'\n', unsearched) {
                let range = self.start..self.start + searched + at;
                self.start = range.end + 1;
                self.offset += (range.len() + 1) as u64;
                if too_long {
                    return Line::TooLong;
                }
                return Line::Text(self.buffer.get(range).unwrap_or_default());
            }
            searched = unread.len();
            if searched > LINE_BYTES_MAX {
                too_long = true;
                self.offset += searched as u64;
                self.start = self.end;
                searched = 0;
            }
            match self.fill() {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    self.close();
                    self.start = self.end;
                    return Line::Error(error);
                }
            }
        }
        self.close();
        let range = self.start..self.end;
        self.start = self.end;
        self.offset += range.len() as u64;
        match (too_long, range.is_empty()) {
            (true, _) => Line::TooLong,
            (false, true) => Line::End,
            (false, false) => Line::Text(self.buffer.get(range).unwrap_or_default()),
        }
    }

    fn fill(&mut self) -> std::io::Result<usize> {
        let Some(reader) = self.reader.as_mut().filter(|_| !self.finished) else {
            return Ok(0);
        };
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() < self.end + CHUNK_BYTES {
            self.buffer.resize(self.end + CHUNK_BYTES, 0);
        }
        let free = self.buffer.get_mut(self.end..).unwrap_or_default();
        loop {
            match reader.read(free) {
                Ok(n) => {
                    self.end += n;
                    return Ok(n);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn close(&mut self) {
        self.finished = true;
        self.done = self.bytes_done();
        self.reader = None;
    }
}
