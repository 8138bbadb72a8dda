//! Every parser survives mutated input, and PROTOCOLS agrees with its cases and fuzz targets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod mutate;

use std::path::Path;

use thymus_parsers::PROTOCOLS;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn no_parser_panics_on_mutated_input() {
    let readers = PROTOCOLS
        .iter()
        .map(|protocol| (protocol.name, protocol.fuzz));
    mutate::survive(Path::new(ROOT), readers, 20_000);
}

#[test]
fn registry_case_folders_and_fuzz_targets_agree() {
    let listed: Vec<&str> = PROTOCOLS.iter().map(|protocol| protocol.name).collect();
    mutate::agree(Path::new(ROOT), &listed);
}
