//! The seam between inputs and the replay. A source kind is one entry of [`SOURCES`]: it recognises
//! a file by its first bytes and opens lanes of events over the files that are of its kind.

use std::path::Path;

use thymus_schema::{Coverage, Event, LocalNetworks, Timestamp};

use crate::carve::SharedJudge;
use crate::error::IngestError;
use crate::input::Input;
use crate::ledger::Problem;
use crate::local::Evidence;

/// Gives events in order of time, as far as its reordering window allows.
///
/// Implementers must not read a clock, must bound what they buffer, and must give the same events
/// for the same bytes.
pub trait Source: Send {
    /// Appends the next events to `out`, at most about a thousand; `false` when there are no more.
    /// May append nothing and still return `true`.
    fn next_batch(&mut self, out: &mut Vec<Event>) -> Result<bool, IngestError>;

    /// What was read so far and what was dropped.
    fn coverage(&self) -> Coverage;

    /// Bytes read from disk so far (compressed bytes of compressed inputs).
    fn bytes_done(&self) -> u64;

    /// Takes what went wrong since the last call, for the ledger.
    fn take_problems(&mut self) -> Vec<Problem> {
        Vec::new()
    }
}

/// The beginning of a file, decompressed, as a source kind sees it when asked whether it is its.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The file's path: its name is a hint where content does not tell, never more.
    pub path: &'a Path,
    /// At most the first 64 KiB, decompressed.
    pub bytes: &'a [u8],
}

/// What a source kind recognised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sniffed {
    /// Which format or log it is: `pcapng`, `conn`, …
    pub format: String,
    /// Time of the first packet or record, where the head shows it.
    pub first: Option<Timestamp>,
}

/// A kind of source.
pub struct SourceSpec {
    /// Stable id, as it appears in the ledger.
    pub id: &'static str,
    /// One line for people.
    pub title: &'static str,
    /// Recognises a file by content; `None` when it is not of this kind.
    pub sniff: fn(&Head<'_>) -> Option<Sniffed>,
    /// Adds what the first records of an input say about which addresses are local. Bounded.
    pub look: fn(&Input, &mut Evidence),
    /// Makes lanes over all inputs of this kind, in the order of their paths.
    pub open: fn(Vec<Input>, &SourceCx) -> Vec<Lane>,
}

/// What a source is given when it is opened.
#[derive(Clone, Debug, Default)]
pub struct SourceCx {
    /// Which addresses are local.
    pub local: LocalNetworks,
    /// Who judges files that pass.
    pub judge: Option<SharedJudge>,
}

/// One stream of events that is not opened before the replay reaches its first time, so that a
/// folder with a year of rotated logs needs few open files.
pub struct Lane {
    /// No event of the lane is earlier than this, as far as its first record tells.
    pub first: Timestamp,
    /// Opens it.
    pub open: Box<dyn FnOnce() -> Result<Box<dyn Source>, IngestError> + Send>,
}

/// All source kinds, asked in this order.
pub const SOURCES: &[SourceSpec] = &[
    crate::capture::SPEC,
    crate::logs::zeek::SPEC,
    crate::logs::eve::SPEC,
    crate::logs::alerts::SPEC,
    crate::logs::syslog::SPEC,
];
