//! YARA rules beside the networks: compiles them and looks for them, through yara-x.
//!
//! Rules are compiled once, by whoever reads their sources ([`compile`]), to bytes that a worker takes in
//! before it is confined ([`Matcher::read`]): a condition is run as native code, and a confined process can
//! make none. The language is that of yara-x (virustotal.github.io/yara-x/docs), with these external
//! variables: `filename`, `filepath` (the whole path), `extension` (lower case, with its dot).
//!
//! Must not: read a file, also for an `include`; say what a file is: what matches is told beside the
//! verdict. Everything told of a match is bounded, and what is left out is counted.

#![forbid(unsafe_code)]

mod compile;
mod matcher;
#[cfg(test)]
mod tests;

pub use compile::{RuleSet, Source, compile};
pub use matcher::Matcher;

/// The names of the external variables.
const FILE_NAME: &str = "filename";
const FILE_PATH: &str = "filepath";
const EXTENSION: &str = "extension";
