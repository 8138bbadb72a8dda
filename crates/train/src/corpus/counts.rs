//! Tables of the index in Markdown: files and clusters by type, label and side, and by source.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::Result;

use super::gather::SourceReport;
use super::index::Row;
use super::kind::Kind;
use super::manifest::{Label, Role};

/// Clusters a test side needs before "99 % found" can be said: 0 missed of 300.
const CLUSTERS_MIN: usize = 300;
/// Benign files a test side needs before "0.1 % false alarms" can be said: 0 of 3,000.
const FILES_MIN: usize = 3_000;

#[derive(Default)]
struct Cell<'a> {
    files: usize,
    clusters: BTreeSet<&'a str>,
}

/// Files and clusters by type, label and side; then by source.
pub(crate) fn tables(rows: &[Row]) -> Result<String> {
    let mut cells: BTreeMap<(Kind, Label, Role), Cell<'_>> = BTreeMap::new();
    let mut sources: BTreeMap<(&str, Kind), Cell<'_>> = BTreeMap::new();
    let mut mixed: BTreeMap<Kind, BTreeSet<&str>> = BTreeMap::new();
    for row in rows {
        let cell = cells.entry((row.kind, row.label, row.role)).or_default();
        cell.files += 1;
        cell.clusters.insert(&row.cluster);
        let cell = sources.entry((&row.source, row.kind)).or_default();
        cell.files += 1;
        cell.clusters.insert(&row.cluster);
        if row.is_mixed {
            mixed.entry(row.kind).or_default().insert(&row.cluster);
        }
    }
    let mut out = String::from(
        "Files / near-duplicate clusters.\n\n| type | malicious train | tune | test | benign train | tune | test | clusters with both labels | too few to claim |\n|---|--:|--:|--:|--:|--:|--:|--:|---|\n",
    );
    for kind in Kind::ALL {
        let cell = |label, role| {
            cells
                .get(&(*kind, label, role))
                .map_or((0, 0), |cell| (cell.files, cell.clusters.len()))
        };
        let all: Vec<(usize, usize)> = [Label::Malicious, Label::Benign]
            .into_iter()
            .flat_map(|label| Role::ALL.map(|role| cell(label, role)))
            .collect();
        if all.iter().all(|(files, _)| *files == 0) {
            continue;
        }
        write!(out, "| {} |", kind.as_str())?;
        for (files, clusters) in &all {
            write!(out, " {files} / {clusters} |")?;
        }
        let both = mixed.get(kind).map_or(0, BTreeSet::len);
        let (_, bad) = cell(Label::Malicious, Role::Test);
        let (good, _) = cell(Label::Benign, Role::Test);
        let mut few = Vec::new();
        if bad < CLUSTERS_MIN {
            few.push(format!("{bad} malicious test clusters"));
        }
        if good < FILES_MIN {
            few.push(format!("{good} benign test files"));
        }
        writeln!(out, " {both} | {} |", few.join(", "))?;
    }
    out.push_str("\n| source | type | files | clusters |\n|---|---|--:|--:|\n");
    for ((source, kind), cell) in &sources {
        let (kind, clusters) = (kind.as_str(), cell.clusters.len());
        writeln!(out, "| {source} | {kind} | {} | {clusters} |", cell.files)?;
    }
    Ok(out)
}

/// What each source gave and what of it was not taken.
pub(crate) fn reports(reports: &[SourceReport], scrubbed: usize) -> Result<String> {
    let mut out = format!(
        "{scrubbed} files were found with both labels and dropped.\n\n| source | files walked | usable | first seen here | not taken |\n|---|--:|--:|--:|---|\n"
    );
    for report in reports {
        let reasons: Vec<String> = report
            .tally
            .iter()
            .map(|(reason, count)| format!("{reason} {count}"))
            .collect();
        let SourceReport {
            name,
            files,
            usable,
            distinct,
            ..
        } = report;
        writeln!(
            out,
            "| {name} | {files} | {usable} | {distinct} | {} |",
            reasons.join(", ")
        )?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::index::sample;

    #[test]
    fn files_and_clusters_are_counted_apart() {
        let mut twin = sample("aa", Kind::Elf, Label::Malicious, Role::Test);
        let one = twin.clone();
        twin.sha256 = "ab".to_owned();
        let good = sample("bb", Kind::Elf, Label::Benign, Role::Train);
        let text = tables(&[one, twin, good]).unwrap();
        assert!(text.contains("| elf | 0 / 0 | 0 / 0 | 2 / 1 | 1 / 1 | 0 / 0 | 0 / 0 | 0 | 1 malicious test clusters, 0 benign test files |"), "{text}");
        assert!(text.contains("| s | elf | 3 | 2 |"));
    }
}
