//! Files out of conversations: put together while they pass, within bounds, and handed to whoever judges
//! files. What is not a program, a document, a script or an archive is let pass.

mod carving;
mod expected;
mod ranges;

use std::fmt;
use std::fmt::Write;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use thymus_parsers::magic::magic;
use thymus_schema::{Coverage, EventBody, FileSeen, Observation, Service};

pub(crate) use self::carving::Carving;
use self::carving::{State, is_wanted};
use self::expected::Expectations;
pub(crate) use self::expected::{Expected, FtpData};
use self::ranges::Ranges;
pub(crate) use self::ranges::{RangeKey, Span};
use crate::analyzer::AnalyzerCx;

/// Judges files that were seen on their way.
pub trait FileJudge: Send {
    /// What is to be said of a file, if anything. Must give the same for the same bytes, whenever it is
    /// asked, and must not take long.
    fn judge(&mut self, file: &FileSeen, bytes: &[u8]) -> Option<Observation>;

    /// A file of this type was let pass, as one that nobody judges; empty when the type is not known.
    fn passed(&mut self, _magic: &'static str) {}

    /// Adds what was not judged to the coverage.
    fn tell(&self, coverage: &mut Coverage);
}

/// One judge that all sources of a run share.
#[derive(Clone)]
pub struct SharedJudge(Arc<Mutex<dyn FileJudge>>);

impl SharedJudge {
    /// Lets sources share it.
    pub fn new(judge: impl FileJudge + 'static) -> Self {
        Self(Arc::new(Mutex::new(judge)))
    }

    fn judge(&self, file: &FileSeen, bytes: &[u8]) -> Option<Observation> {
        let mut judge = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        judge.judge(file, bytes)
    }

    fn passed(&self, magic: &'static str) {
        let mut judge = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        judge.passed(magic);
    }

    /// Adds what it did not judge to the coverage.
    pub fn tell(&self, coverage: &mut Coverage) {
        let judge = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        judge.tell(coverage);
    }
}

impl fmt::Debug for SharedJudge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedJudge")
    }
}

/// What a conversation says of a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct FileTold {
    pub(crate) name: Box<str>,
    pub(crate) content_type: Box<str>,
    pub(crate) service: Option<Service>,
    pub(crate) upload: bool,
}

/// Where files of one flow engine go.
#[derive(Debug, Default)]
pub(crate) struct Carver {
    judge: Option<SharedJudge>,
    held: Arc<AtomicUsize>,
    cut: u64,
    too_large: u64,
    no_room: u64,
    encrypted: u64,
    expectations: Expectations,
    ranges: Ranges,
}

impl Carver {
    pub(crate) fn new(judge: Option<SharedJudge>) -> Self {
        Self {
            judge,
            ..Self::default()
        }
    }

    /// A new file, when somebody wants to see it.
    pub(crate) fn begin(&self) -> Option<Carving> {
        self.judge.as_ref()?;
        Some(Carving::new(Arc::clone(&self.held)))
    }

    /// A piece of a file that comes in several.
    fn begin_piece(&self) -> Option<Carving> {
        self.judge.as_ref()?;
        Some(Carving::piece(Arc::clone(&self.held)))
    }

    pub(crate) fn tell(&self, coverage: &mut Coverage) {
        coverage.drop_for("files_cut", self.cut + self.ranges.given_up());
        coverage.drop_for("files_too_large", self.too_large);
        coverage.drop_for("files_no_room", self.no_room);
        coverage.drop_for("conversations_encrypted", self.encrypted);
    }

    pub(crate) const fn expectations(&mut self) -> &mut Expectations {
        &mut self.expectations
    }
}

impl AnalyzerCx<'_> {
    /// A new file of this conversation, when somebody wants to see it.
    pub(crate) fn carve(&self) -> Option<Carving> {
        self.carver.begin()
    }

    /// A piece of a file of which other pieces come in answers of their own.
    pub(crate) fn carve_piece(&self) -> Option<Carving> {
        self.carver.begin_piece()
    }

    /// This conversation goes on encrypted: files in it are not seen.
    pub(crate) fn encrypted(&mut self) {
        self.carver.encrypted += u64::from(self.carver.judge.is_some());
    }

    /// A piece of a file that comes in several answers, `whole` when that answer was; a file of which no
    /// piece is missing any more is told of.
    pub(crate) fn piece(&mut self, key: &RangeKey, piece: &Carving, span: Span, told: FileTold) {
        let Some(whole) = self.carver.begin() else {
            return;
        };
        if key.total > carving::FILE_BYTES_MAX as u64 {
            let is_one = span.first == 0 && is_wanted(piece.bytes(), &told.name);
            self.carver.too_large += u64::from(is_one);
            return;
        }
        if let Some(file) = self.carver.ranges.add(key, piece, span, &told.name, whole) {
            self.file(&file, true, told);
        }
    }

    /// A file has ended, `complete` when no byte of it is missing: tells of it, and what its judge says.
    pub(crate) fn file(&mut self, carving: &Carving, complete: bool, told: FileTold) {
        let carver = &mut *self.carver;
        let bytes = carving.bytes();
        let state = carving.state();
        let is_front_seen = !bytes.is_empty() || !carving.is_scattered();
        match state {
            State::Unwanted(kind) => {
                if let Some(judge) = &carver.judge {
                    judge.passed(kind);
                }
                return;
            }
            State::TooLarge => carver.too_large += 1,
            State::NoRoom => carver.no_room += 1,
            State::Whole if is_front_seen && !is_wanted(bytes, &told.name) => {
                if let Some(judge) = carver.judge.as_ref().filter(|_| !bytes.is_empty()) {
                    judge.passed(magic(bytes));
                }
                return;
            }
            State::Whole => {}
        }
        let is_whole = state == State::Whole && complete && !carving.is_scattered();
        carver.cut += u64::from(state == State::Whole && !is_whole);
        let reason = match state {
            State::TooLarge => "too large",
            State::NoRoom => "no room",
            _ if is_whole => "",
            _ => "incomplete",
        };
        let file = FileSeen {
            sha256: if is_whole {
                hex(&Sha256::digest(bytes))
            } else {
                Box::default()
            },
            bytes: carving.seen(),
            magic: carving.magic().into(),
            content_type: told.content_type,
            name: told.name,
            service: told.service,
            upload: told.upload,
            complete: is_whole,
            reason: reason.into(),
        };
        let judge = carver.judge.as_ref().filter(|_| is_whole);
        let said = judge.and_then(|judge| judge.judge(&file, bytes));
        self.emit(EventBody::FileSeen(Box::new(file)));
        if let Some(said) = said {
            self.emit(EventBody::Observation(Box::new(said)));
        }
    }
}

fn hex(digest: &[u8]) -> Box<str> {
    let mut out = String::with_capacity(2 * digest.len());
    for byte in digest {
        // Writing to a string does not fail.
        let _is_written = write!(out, "{byte:02x}").is_ok();
    }
    out.into()
}

#[cfg(test)]
mod tests;
