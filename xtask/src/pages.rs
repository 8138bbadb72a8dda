//! The public page of each detector is the head of its own file; `docs/detectors/` holds a copy for
//! readers of the repository.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::steps::root;
use crate::tidy::stems;

/// Compares the copies with the sources, or rewrites them.
pub(crate) fn run(write: bool) -> Result<()> {
    let (sources, pages) = (
        root().join("crates/detect/src/detectors"),
        root().join("docs/detectors"),
    );
    let mut stale = Vec::new();
    let mut index = String::from("# Detectors\n\n| detector | what it flags |\n|---|---|\n");
    let mut units = stems(&sources, "rs")?;
    units.remove("mod");
    for unit in &units {
        let source = fs::read_to_string(sources.join(unit).with_extension("rs"))?;
        if !source.contains("SPEC: ") {
            continue;
        }
        let page = head(&source);
        let title = page
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("# ");
        let first = first_sentence(&page);
        index.extend(["| [", title, "](", unit, ".md) | ", &first, " |\n"]);
        keep(
            &pages.join(unit).with_extension("md"),
            &page,
            write,
            &mut stale,
        )?;
    }
    keep(&pages.join("README.md"), &index, write, &mut stale)?;
    for page in stems(&pages, "md").unwrap_or_default() {
        if page != "README" && !units.contains(&page) {
            stale.push(format!("docs/detectors/{page}.md is about no detector"));
        }
    }
    if !stale.is_empty() {
        bail!("{}\nrun: cargo xtask pages --write", stale.join("\n"));
    }
    Ok(())
}

/// The module documentation as Markdown.
fn head(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    lines
        .flat_map(|line| [line.strip_prefix(' ').unwrap_or(line), "\n"])
        .collect()
}

fn first_sentence(page: &str) -> String {
    let lines = page
        .lines()
        .skip_while(|line| *line != "## What it flags")
        .skip(1);
    let text: Vec<&str> = lines.take_while(|line| !line.starts_with('#')).collect();
    let text = text.join(" ");
    let sentence = text
        .split(". ")
        .next()
        .unwrap_or_default()
        .trim()
        .trim_end_matches('.');
    format!("{sentence}.").replace('|', "\\|")
}

fn keep(path: &std::path::Path, text: &str, write: bool, stale: &mut Vec<String>) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|found| found == text) {
        return Ok(());
    }
    if !write {
        stale.push(format!(
            "{} is stale",
            path.strip_prefix(root()).unwrap_or(path).display()
        ));
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
