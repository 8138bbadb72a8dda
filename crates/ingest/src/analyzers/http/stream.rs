//! Cuts one direction of an HTTP connection into heads and bodies. Heads are copied only when they
//! come in parts, bodies not at all.

use std::borrow::Cow;

use thymus_parsers::http::{self, Body};

/// Longest head read.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Longest line between chunks.
const LINE_BYTES_MAX: usize = 1024;

/// What the bytes at the front are.
pub(super) enum Piece<'a> {
    /// Part of something incomplete.
    Nothing,
    /// A whole head. The caller says through [`MessageStream::body`] what follows it.
    Head(Cow<'a, [u8]>),
    /// Bytes of a body.
    Body(&'a [u8]),
    /// Nothing that can be read.
    Broken(&'static str),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Head,
    Fixed(u64),
    ChunkLine,
    Chunk(u64),
    ChunkEnd,
    Trailer,
    UntilClose,
}

/// One direction.
#[derive(Default)]
pub(super) struct MessageStream {
    phase: Phase,
    held: Vec<u8>,
}

impl MessageStream {
    /// Whether a message ended and none has begun.
    pub(super) fn is_between(&self) -> bool {
        self.phase == Phase::Head && self.held.is_empty()
    }

    /// Whether a body whose end is told has not ended.
    pub(super) fn is_in_body(&self) -> bool {
        !matches!(self.phase, Phase::Head | Phase::UntilClose | Phase::Trailer)
    }

    /// Whether a body goes on to the end of the connection.
    pub(super) fn is_until_close(&self) -> bool {
        self.phase == Phase::UntilClose
    }

    /// What follows the head just given.
    pub(super) fn body(&mut self, body: Body) {
        self.phase = match body {
            Body::None => Phase::Head,
            Body::Length(length) => Phase::Fixed(length),
            Body::Chunked => Phase::ChunkLine,
            Body::UntilClose => Phase::UntilClose,
        };
    }

    /// Takes from the front of `bytes`, which are not empty; also gives how many were used.
    pub(super) fn next<'a>(&mut self, bytes: &'a [u8]) -> (Piece<'a>, usize) {
        match self.phase {
            Phase::Head => self.head(bytes),
            Phase::Fixed(left) => {
                let used = left.min(bytes.len() as u64);
                self.phase = if used == left {
                    Phase::Head
                } else {
                    Phase::Fixed(left - used)
                };
                (Piece::Body(&bytes[..used as usize]), used as usize)
            }
            Phase::Chunk(left) => {
                let used = left.min(bytes.len() as u64);
                self.phase = if used == left {
                    Phase::ChunkEnd
                } else {
                    Phase::Chunk(left - used)
                };
                (Piece::Body(&bytes[..used as usize]), used as usize)
            }
            Phase::UntilClose => (Piece::Body(bytes), bytes.len()),
            Phase::ChunkLine | Phase::ChunkEnd | Phase::Trailer => self.line(bytes),
        }
    }

    /// Bytes were lost. True when they were all of a body whose length is known.
    pub(super) fn gap(&mut self, missing: u64) -> bool {
        let rest = |left: u64| left.checked_sub(missing).filter(|rest| *rest > 0);
        match self.phase {
            Phase::Fixed(left) => rest(left)
                .map(|rest| self.phase = Phase::Fixed(rest))
                .is_some(),
            Phase::Chunk(left) => rest(left)
                .map(|rest| self.phase = Phase::Chunk(rest))
                .is_some(),
            Phase::UntilClose => true,
            _ => false,
        }
    }

    fn head<'a>(&mut self, bytes: &'a [u8]) -> (Piece<'a>, usize) {
        if self.held.is_empty() {
            // Empty lines before a head are forgiven.
            let empty = bytes
                .iter()
                .take_while(|byte| matches!(byte, b'\r' | b'\n'))
                .count();
            if empty > 0 {
                return (Piece::Nothing, empty);
            }
            if let Some(length) = http::head_length(bytes) {
                return (Piece::Head(Cow::Borrowed(&bytes[..length])), length);
            }
        }
        let before = self.held.len();
        if before + bytes.len() > HEAD_BYTES_MAX {
            return (Piece::Broken("long_head"), bytes.len());
        }
        self.held.extend_from_slice(bytes);
        // The end may straddle what was held and what came.
        let from = before.saturating_sub(3);
        match http::head_length(&self.held[from..]) {
            Some(length) => {
                let mut head = std::mem::take(&mut self.held);
                head.truncate(from + length);
                (Piece::Head(Cow::Owned(head)), from + length - before)
            }
            None => (Piece::Nothing, bytes.len()),
        }
    }

    fn line<'a>(&mut self, bytes: &'a [u8]) -> (Piece<'a>, usize) {
        let end = memchr::memchr(b'\n', bytes);
        let used = end.map_or(bytes.len(), |end| end + 1);
        if self.held.len() + used > LINE_BYTES_MAX {
            return (Piece::Broken("long_chunk_line"), used);
        }
        self.held.extend_from_slice(&bytes[..used]);
        if end.is_none() {
            return (Piece::Nothing, used);
        }
        let line = self.held.trim_ascii();
        let next = match self.phase {
            Phase::ChunkLine => match http::chunk_size(line) {
                Some(0) => Some(Phase::Trailer),
                Some(size) => Some(Phase::Chunk(size)),
                None => None,
            },
            Phase::ChunkEnd => line.is_empty().then_some(Phase::ChunkLine),
            _ => Some(if line.is_empty() {
                Phase::Head
            } else {
                Phase::Trailer
            }),
        };
        self.held.clear();
        match next {
            Some(phase) => {
                self.phase = phase;
                (Piece::Nothing, used)
            }
            None => (Piece::Broken("bad_chunk"), used),
        }
    }
}
