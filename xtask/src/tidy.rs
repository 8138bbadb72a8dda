//! What a compiler does not check: every rule of CONTRIBUTING.md that a machine can judge.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::steps::root;
use crate::{edges, text};

/// Runs every check and reports everything that is wrong at once.
pub(crate) fn run() -> Result<()> {
    let mut complaints = Vec::new();
    edges::check(&mut complaints)?;
    text::check(&tracked()?, &mut complaints);
    for (folder, list) in [
        (
            "crates/detect/src/detectors",
            "crates/detect/src/detectors/mod.rs",
        ),
        (
            "crates/ingest/src/analyzers",
            "crates/ingest/src/analyzers/mod.rs",
        ),
    ] {
        registry(folder, list, &mut complaints)?;
    }
    fuzz_targets(&mut complaints)?;
    architecture(&mut complaints)?;
    if complaints.is_empty() {
        println!("tidy: nothing to complain about");
        return Ok(());
    }
    for complaint in &complaints {
        eprintln!("tidy: {complaint}");
    }
    bail!("{} complaints", complaints.len())
}

/// Files that git tracks.
fn tracked() -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root())
        .output()
        .context("list tracked files with git")?;
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(names
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
        .collect())
}

/// File names without extension in a folder, sorted.
pub(crate) fn stems(folder: &Path, extension: &str) -> Result<BTreeSet<String>> {
    let mut stems = BTreeSet::new();
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let is_folder_module = path.is_dir() && path.join("mod.rs").exists();
        if (is_folder_module || path.extension().is_some_and(|found| found == extension))
            && let Some(stem) = path.file_stem()
        {
            stems.insert(stem.to_string_lossy().into_owned());
        }
    }
    Ok(stems)
}

/// Each unit is one file plus one `mod` line, in alphabetical order, and every file with a `SPEC` is
/// in the list.
fn registry(folder: &str, list: &str, complaints: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(root().join(list)).with_context(|| format!("read {list}"))?;
    let mods: Vec<String> = text
        .lines()
        .filter_map(|line| {
            line.strip_prefix("mod ")
                .and_then(|rest| rest.strip_suffix(';'))
        })
        .filter(|name| *name != "testing")
        .map(str::to_owned)
        .collect();
    if !mods.is_sorted() {
        complaints.push(format!("{list}: modules are not in alphabetical order"));
    }
    let mut files = stems(&root().join(folder), "rs")?;
    files.remove("mod");
    files.remove("testing");
    for missing in files.iter().filter(|file| !mods.contains(file)) {
        complaints.push(format!("{list}: {missing}.rs is not listed"));
    }
    for file in &files {
        let unit = root().join(folder).join(file).with_extension("rs");
        let has_spec = fs::read_to_string(&unit).is_ok_and(|source| source.contains("SPEC: "));
        if has_spec && !text.contains(&format!("{file}::SPEC")) {
            complaints.push(format!("{list}: {file}::SPEC is not in the slice"));
        }
    }
    Ok(())
}

/// What takes hostile bytes and stands in no registry: files that this program wrote itself, names that it tells, packets
/// that it answers, what another program or the kernel lists.
const READERS: [&str; 6] = [
    "answer_frame",
    "decisions",
    "nft_listing",
    "proc_texts",
    "outputs",
    "packet_ring",
];

/// Every parser in the registries has a fuzz target and every target is a parser's.
fn fuzz_targets(complaints: &mut Vec<String>) -> Result<()> {
    let targets = stems(&root().join("fuzz/fuzz_targets"), "rs")?;
    let mut names = BTreeSet::from(READERS.map(str::to_owned));
    for (list, marker) in [
        ("crates/parsers/src/protocols.rs", "protocol("),
        ("crates/scan/src/formats.rs", "format("),
    ] {
        let text = fs::read_to_string(root().join(list)).with_context(|| format!("read {list}"))?;
        names.extend(
            text.lines()
                .filter_map(|line| quoted_after(line, marker))
                .map(str::to_owned),
        );
    }
    for target in targets.difference(&names) {
        complaints.push(format!(
            "fuzz target {target} names no parser in PROTOCOLS and no reader in FORMATS"
        ));
    }
    for name in names.difference(&targets) {
        complaints.push(format!("{name} has no fuzz target"));
    }
    Ok(())
}

fn quoted_after<'a>(line: &'a str, marker: &str) -> Option<&'a str> {
    line.split_once(marker)?
        .1
        .strip_prefix('"')?
        .split('"')
        .next()
}

/// Every path and every type name in backticks in ARCHITECTURE.md exists.
fn architecture(complaints: &mut Vec<String>) -> Result<()> {
    let page =
        fs::read_to_string(root().join("ARCHITECTURE.md")).context("read ARCHITECTURE.md")?;
    let mut sources = String::new();
    for path in tracked()?
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
    {
        sources.push_str(&fs::read_to_string(root().join(path)).unwrap_or_default());
    }
    for name in page.split('`').skip(1).step_by(2) {
        let is_path = name.contains('/') && !name.contains(' ') && !name.contains('*');
        let is_type = name.chars().next().is_some_and(char::is_uppercase)
            && name.chars().all(char::is_alphanumeric)
            && name.chars().any(char::is_lowercase);
        if is_path && !root().join(name).exists() {
            complaints.push(format!(
                "ARCHITECTURE.md names {name}, which does not exist"
            ));
        }
        if is_type && !sources.contains(name) {
            complaints.push(format!(
                "ARCHITECTURE.md names {name}, which no source file has"
            ));
        }
    }
    Ok(())
}
