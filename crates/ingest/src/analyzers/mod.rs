//! One file per protocol, one line per protocol in [`ANALYZERS`], in alphabetical order.

use crate::analyzer::AnalyzerSpec;

/// All protocols that are read.
pub const ANALYZERS: &[AnalyzerSpec] = &[];
