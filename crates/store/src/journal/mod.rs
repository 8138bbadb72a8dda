//! The journal: what a live run saw and found, in the order it happened, for those who come after it.
//!
//! The analysis writes it, and nothing else of the store; the keeper of the console reads it and fills the
//! database and the archive of events; an analysis that was killed reads on where its last snapshot ends.
//! So whoever reads hostile bytes cannot touch what people wrote, and a kill of any of them at any moment
//! loses no frame that was written.
//!
//! A journal is a folder of segments, files named by the number of their first frame. A frame is whole or
//! not there: its digest is checked before anything in it is believed. A writer that starts never goes on
//! in an old segment, so that a torn end stays where it is and is counted by the reader.
//!
//! When the folder is full, the events of the oldest segments go, and everything else in them stays; only
//! when that is not enough whole segments go. Readers see the gap in the numbers and count it.

mod frame;
mod reader;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

pub use frame::{Frame, FrameBody, FrameError, FrameKind};
pub use reader::{JournalReader, ReaderCounters};
pub use writer::{JournalOptions, JournalWriter};
