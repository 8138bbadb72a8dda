//! Whether files reach the network that knows their type, when nobody tells their names.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::Result;
use thymus_scan::identify;

use super::kind::Kind;
use super::manifest::Label;
use super::pack::{Part, Secret, parts};

/// What is not taken for what it is is taken for these.
const TAKEN_FOR: usize = 4;

/// How many clusters there are of one type and label, and what they are taken for.
#[derive(Default)]
struct Count {
    /// Of each cluster of near duplicates one file is looked at.
    files: u64,
    right: u64,
    instead: BTreeMap<&'static str, u64>,
}

/// A table in Markdown of all types of a pack.
pub(super) fn table(pack: &Path, secret: &Secret) -> Result<String> {
    let mut counts: BTreeMap<(Kind, Label), Count> = BTreeMap::new();
    let mut seen: BTreeMap<(Kind, Label), std::collections::BTreeSet<u32>> = BTreeMap::new();
    for path in parts(pack)? {
        let mut part = Part::open(&path, secret)?;
        for number in 0..part.entries.len() {
            let (kind, label, cluster) = {
                let entry = &part.entries[number];
                (entry.kind, entry.label, entry.cluster)
            };
            if !seen.entry((kind, label)).or_default().insert(cluster) {
                continue;
            }
            let found = identify(&part.sample(number)?.bytes, "");
            let count = counts.entry((kind, label)).or_default();
            count.files += 1;
            if found.iter().any(|found| found.as_str() == kind.as_str()) {
                count.right += 1;
            } else if let Some(first) = found.first() {
                *count.instead.entry(first.as_str()).or_default() += 1;
            }
        }
    }
    let mut out = String::from(
        "| type | label | clusters | taken for it | most of the others for |\n|---|---|--:|--:|---|\n",
    );
    for ((kind, label), count) in counts {
        let mut instead: Vec<(&str, u64)> = count.instead.into_iter().collect();
        instead.sort_by_key(|(_, files)| std::cmp::Reverse(*files));
        let instead = instead.into_iter().take(TAKEN_FOR);
        let instead: Vec<String> = instead
            .map(|(kind, files)| format!("{kind} {files}"))
            .collect();
        writeln!(
            out,
            "| {} | {} | {} | {:.1} % | {} |",
            kind.as_str(),
            if label == Label::Malicious {
                "malicious"
            } else {
                "benign"
            },
            count.files,
            count.right as f64 * 100.0 / count.files.max(1) as f64,
            instead.join(", ")
        )?;
    }
    Ok(out)
}
