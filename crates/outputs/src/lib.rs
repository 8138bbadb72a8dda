//! What Thymus tells others.
//!
//! A [`Record`] is an incident or one of its alerts; [`Tracker`] says which are news. A [`Format`] writes a record as
//! others read it; each is a pure function, so that the same incident is the same bytes. An [`Output`] is asked for by
//! an address; its [`Sink`] sends, and an [`Outlet`] sets it to work behind a [`Spool`] on the disk, so that a receiver
//! that is slow, hangs or is gone holds up nobody. [`metrics`] is how the program itself stands, for Prometheus.
//!
//! Names in records are what an attacker chose. [`escape`] keeps them in their place: a line stays one line, a field
//! one field, and nothing steers the terminal of who looks at it.
//!
//! Must not: judge, read packets, or read a clock. It knows of the rest of the program only the schema.

#![forbid(unsafe_code)]

pub mod escape;
pub mod format;
pub mod metrics;
mod outlet;
mod output;
pub mod probe;
mod record;
pub mod sink;
pub mod spool;
mod target;
mod tls;
mod tracker;

pub use format::{FORMATS, Format, FormatError, Shape};
pub use outlet::{Clock, Health, Offered, Outlet, Surroundings, Wants};
pub use output::Output;
pub use record::{Kind, Level, Record};
pub use sink::{SINKS, Sink};
pub use spool::{Mark, Spool, SpoolLimits};
pub use target::{Target, TargetError};
pub use tracker::Tracker;
