//! What Thymus tells others.
//!
//! A [`Record`] is an incident or one of its alerts. A [`Format`] writes it as others read it; each is a pure function,
//! so that the same incident is the same bytes. [`metrics`] is how the program itself stands, for Prometheus.
//!
//! Names in records are what an attacker chose. [`escape`] keeps them in their place: a line stays one line, a field
//! one field, and nothing steers the terminal of who looks at it.
//!
//! Must not: judge, read packets, or read a clock. It knows of the rest of the program only the schema.

#![forbid(unsafe_code)]

pub mod escape;
pub mod format;
pub mod metrics;
pub mod probe;
mod record;

pub use format::{FORMATS, Format, FormatError, Shape};
pub use record::{Kind, Level, Record};
