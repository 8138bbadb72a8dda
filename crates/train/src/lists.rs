//! Lists of domain names as labels with a class, a family and a weight.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Names taken of one family or source at most, evenly spread over its list: a family with a hundred
/// thousand names is still one family.
const FAMILY_MAX: usize = 4_000;
const BENIGN_MAX: usize = 60_000;

/// One side of the split.
#[derive(Debug, Default)]
pub(crate) struct Split {
    /// Labels people chose.
    pub(crate) benign: Vec<String>,
    /// Labels by family.
    pub(crate) families: BTreeMap<String, Vec<String>>,
}

/// Reads `benign/SPLIT` and `malicious/SPLIT` below `root`.
pub(crate) fn read(root: &Path, split: &str) -> Result<Split> {
    let mut out = Split::default();
    for (_, labels) in folder(&root.join("benign").join(split))? {
        out.benign.extend(spread(labels, BENIGN_MAX));
    }
    out.benign.sort();
    out.benign.dedup();
    for (family, labels) in folder(&root.join("malicious").join(split))? {
        out.families.insert(family, spread(labels, FAMILY_MAX));
    }
    Ok(out)
}

fn folder(path: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let mut lists = BTreeMap::new();
    let entries = fs::read_dir(path).with_context(|| format!("read folder {}", path.display()))?;
    for entry in entries {
        let path = entry?.path();
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let name = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned());
        let labels = text
            .lines()
            .filter_map(registered_label)
            .map(str::to_owned)
            .collect();
        lists.insert(name.unwrap_or_default(), labels);
    }
    Ok(lists)
}

/// The label that was registered: `example` of `www.example.co.uk`.
pub(crate) fn registered_label(name: &str) -> Option<&str> {
    let domain = psl::domain_str(name.trim())?;
    domain.split('.').next().filter(|label| !label.is_empty())
}

fn spread(mut labels: Vec<String>, max: usize) -> Vec<String> {
    labels.dedup();
    let step = labels.len().div_ceil(max).max(1);
    labels.into_iter().step_by(step).collect()
}
