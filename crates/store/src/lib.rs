//! State on disk: what was learned survives from run to run.
//!
//! A state folder holds one snapshot of named sections, the one before it, and a lock. A snapshot is
//! written beside the present one, flushed, and put in its place by renaming, so a crash, a kill or
//! a full disk at any moment leaves a whole state. A damaged section is taken from the snapshot
//! before, and what is lost for good is said.
//!
//! The [`journal`] is what a live run saw and found, in order, for the console and for a run that was killed.
//!
//! The [`database`] is what the console shows and what people did about it.
//!
//! The quarantine ([`Quarantine`]) and the models that a user installed ([`models`]) are folders of
//! their own.
//!
//! Must not: know what a section means. The bytes are the business of whoever wrote them.

#![deny(unsafe_code)]

pub mod archive;
pub mod backup;
pub mod database;
mod error;
mod imports;
pub mod journal;
pub mod models;
mod quarantine;
mod snapshot_file;
mod state_dir;

pub use archive::{
    Archive, ArchiveError, ArchiveLimits, ArchiveReader, ArchiveStatus, QueryError, QueryLimits,
    QueryResult,
};
pub use database::{Database, DatabaseError};
pub use error::StoreError;
pub use imports::Imports;
pub use quarantine::{Entry, Kept, Quarantine, QuarantineError, Request, Restored};
pub use state_dir::{Sections, StateDir};
