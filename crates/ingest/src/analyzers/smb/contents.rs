//! What is in the files of a conversation, put together from what is read and written.

use std::collections::BTreeMap;

use thymus_schema::Service;

use crate::analyzer::AnalyzerCx;
use crate::carve::{Carving, FileTold};

/// Files that are written in the message that opens them.
const EARLY_MAX: usize = 16;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Read,
    Write,
}

/// Whose bytes they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// An open file's.
    Open(u64),
    /// The file's that this request opens, in the same message.
    Early(u64),
}

/// Bytes of a file inside a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bulk {
    pub(super) whose: Whose,
    pub(super) way: Way,
    /// Where in the file the next byte goes.
    pub(super) at: u64,
    /// Where in the message they begin, and how many they are.
    pub(super) offset: usize,
    pub(super) left: usize,
}

/// One way of one file.
#[derive(Debug)]
pub(super) struct Stream {
    carving: Carving,
    is_cut: bool,
}

/// Both ways of one file.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// What reads gave, and what was written.
    streams: [Option<Box<Stream>>; 2],
    /// Bytes that the file had when it was opened, 0 when it was made then; none when that was not seen.
    pub(super) size: Option<u64>,
    /// Bytes that it was told to have.
    pub(super) resized: Option<u64>,
}

/// What was written to files that are being opened.
#[derive(Debug, Default)]
pub(super) struct Early(BTreeMap<u64, Contents>);

impl Early {
    pub(super) fn of(&mut self, request: u64) -> &mut Contents {
        if self.0.len() >= EARLY_MAX && !self.0.contains_key(&request) {
            self.0.pop_first();
        }
        self.0.entry(request).or_default()
    }

    pub(super) fn take(&mut self, request: u64) -> Contents {
        self.0.remove(&request).unwrap_or_default()
    }
}

impl Contents {
    fn stream(&mut self, way: Way, cx: &AnalyzerCx<'_>) -> Option<&mut Stream> {
        let stream = self.streams.get_mut(way as usize)?;
        if stream.is_none() {
            let carving = cx.carve()?;
            *stream = Some(Box::new(Stream {
                carving,
                is_cut: false,
            }));
        }
        stream.as_deref_mut()
    }

    /// Bytes of it.
    pub(super) fn put(&mut self, way: Way, at: u64, bytes: &[u8], name: &str, cx: &AnalyzerCx<'_>) {
        if let Some(stream) = self.stream(way, cx) {
            stream.carving.put(at, bytes, name);
        }
    }

    /// Bytes of it were lost, or were not taken.
    pub(super) fn miss(&mut self, way: Way, cx: &AnalyzerCx<'_>) {
        if let Some(stream) = self.stream(way, cx) {
            stream.is_cut = true;
        }
    }

    /// Messages were lost, which may have been writes to it.
    pub(super) fn lost(&mut self) {
        if let [_, Some(written)] = &mut self.streams {
            written.is_cut = true;
        }
    }

    /// The file called `name` is closed, or, when not `is_closed`, the conversation ends.
    pub(super) fn close(self, name: &str, is_closed: bool, cx: &mut AnalyzerCx<'_>) {
        let at_first = self.size.unwrap_or(0);
        let sizes = [at_first, self.resized.unwrap_or(at_first)];
        let ways = [Way::Read, Way::Write];
        for ((stream, size), way) in self.streams.into_iter().zip(sizes).zip(ways) {
            let Some(stream) = stream else { continue };
            let upload = way == Way::Write;
            // Who writes says with the close that this was all, or with the size how much it will be.
            let is_over = self.size.is_some() && (!upload || is_closed || self.resized.is_some());
            let is_all = if self.resized.is_some() && upload {
                stream.carving.len() == size
            } else {
                stream.carving.len() >= size
            };
            let told = FileTold {
                name: name.into(),
                content_type: Box::default(),
                service: Some(Service::Smb),
                upload,
            };
            cx.file(&stream.carving, is_over && is_all && !stream.is_cut, told);
        }
    }
}
