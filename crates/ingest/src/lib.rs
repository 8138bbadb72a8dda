//! Sources: captures and logs become events in order of time.
//!
//! Must not: judge anything, read a clock, resolve names. Every table and queue has a bound and a
//! counter; what was not read is in the [`Coverage`](thymus_schema::Coverage).

#![forbid(unsafe_code)]

mod analyzer;
mod analyzers;

pub use analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
pub use analyzers::ANALYZERS;
