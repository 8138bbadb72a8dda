//! Every reader survives mutated input, and FORMATS agrees with its cases and fuzz targets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../../parsers/tests/mutate/mod.rs"]
mod mutate;

use std::path::Path;

use thymus_scan::FORMATS;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn no_reader_panics_on_mutated_input() {
    let readers = FORMATS.iter().map(|format| (format.name, format.fuzz));
    mutate::survive(Path::new(ROOT), readers, 8_000);
}

#[test]
fn registry_case_folders_and_fuzz_targets_agree() {
    let listed: Vec<&str> = FORMATS.iter().map(|format| format.name).collect();
    mutate::agree(Path::new(ROOT), &listed);
}
