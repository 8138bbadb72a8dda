//! Who may import whom, as ARCHITECTURE.md draws it. An arrow points only to a lower layer and only
//! where this table says so.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::steps::root;

/// Our crates and the crates of ours they may import.
const EDGES: &[(&str, &[&str])] = &[
    ("thymus-analyst", &["thymus-schema"]),
    (
        "thymus-app",
        &[
            "thymus-analyst",
            "thymus-detect",
            "thymus-ingest",
            "thymus-nets",
            "thymus-outputs",
            "thymus-parsers",
            "thymus-respond",
            "thymus-scan",
            "thymus-schema",
            "thymus-sensor",
            "thymus-server",
            "thymus-store",
            "thymus-yara",
        ],
    ),
    ("thymus-detect", &["thymus-nets", "thymus-schema"]),
    ("thymus-ingest", &["thymus-parsers", "thymus-schema"]),
    ("thymus-nets", &[]),
    ("thymus-outputs", &["thymus-schema"]),
    ("thymus-parsers", &[]),
    ("thymus-respond", &["thymus-schema", "thymus-sensor"]),
    ("thymus-scan", &["thymus-nets", "thymus-parsers"]),
    ("thymus-schema", &[]),
    ("thymus-sensor", &[]),
    ("thymus-server", &["thymus-schema", "thymus-store"]),
    ("thymus-store", &["thymus-schema"]),
    // Of tests only, which this table does not bind.
    ("thymus-testing", &[]),
    (
        "thymus-train",
        &["thymus-nets", "thymus-parsers", "thymus-scan"],
    ),
    ("thymus-yara", &["thymus-scan"]),
    ("xtask", &[]),
];

/// Third-party crates that only some of ours may import.
const WALLS: &[(&str, &[&str])] = &[
    ("anyhow", &["thymus-app", "thymus-train", "xtask"]),
    ("clap", &["thymus-app", "thymus-train"]),
    ("tokio", &["thymus-server"]),
    ("axum", &["thymus-server"]),
    ("hyper", &["thymus-server"]),
    ("tokio-rustls", &["thymus-server"]),
    ("lettre", &["thymus-outputs"]),
    ("rcgen", &["thymus-server"]),
    ("ureq", &["thymus-outputs"]),
    ("candle-core", &["thymus-train"]),
    ("flate2", &["thymus-parsers"]),
    // `train` compresses its own packs and `store` its journal; what others made it opens through `parsers` or archive crates.
    ("zstd", &["thymus-parsers", "thymus-store", "thymus-train"]),
    ("zip", &["thymus-scan", "thymus-train"]),
    ("sevenz-rust2", &["thymus-scan", "thymus-train"]),
    ("lzma-rust2", &["thymus-scan", "thymus-train"]),
    ("mail-parser", &["thymus-scan"]),
    ("bzip2", &["thymus-parsers"]),
    ("yara-x", &["thymus-yara"]),
    ("netring", &["thymus-sensor"]),
    ("rusqlite", &["thymus-store"]),
    ("parquet", &["thymus-store"]),
];

/// Compares the workspace with the table.
pub(crate) fn check(complaints: &mut Vec<String>) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root())
        .output()
        .context("run cargo metadata")?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("read cargo metadata")?;
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let names: Vec<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    for package in &packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = EDGES.iter().find(|(from, _)| *from == name) else {
            complaints.push(format!(
                "crate {name} is not in xtask's table of crate edges"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = dependency["name"].as_str().unwrap_or_default();
            let is_for_tests = dependency["kind"].as_str() == Some("dev");
            if names.contains(&to) && !allowed.contains(&to) && !is_for_tests {
                complaints.push(format!("{name} may not import {to}"));
            }
            let wall = WALLS.iter().find(|(third, _)| *third == to);
            if wall.is_some_and(|(_, inside)| !inside.contains(&name)) && !is_for_tests {
                complaints.push(format!("{name} may not import {to}: it is walled off"));
            }
        }
        if package["license"].as_str() != Some("Apache-2.0") {
            complaints.push(format!("crate {name} does not inherit the licence"));
        }
    }
    Ok(())
}
