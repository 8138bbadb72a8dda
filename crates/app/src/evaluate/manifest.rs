//! The manifest of labelled cases: TOML, paths relative to it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use thymus_schema::Timestamp;

/// What a case is labelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Holds an attack that must be found.
    Attack,
    /// Holds none: every shown incident is false.
    Benign,
}

/// One labelled case, its paths resolved.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) input: Vec<PathBuf>,
    pub(crate) learn: Vec<PathBuf>,
    /// An incident must name one of these; empty: any incident counts.
    pub(crate) entities: Vec<String>,
    pub(crate) window: Option<(Timestamp, Timestamp)>,
    pub(crate) techniques: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "case")]
    cases: Vec<Table>,
    /// Labelled files are judged by the file engine, which this build does not have.
    #[serde(default)]
    files: Vec<toml::Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    kind: Kind,
    input: Vec<PathBuf>,
    #[serde(default)]
    learn: Vec<PathBuf>,
    #[serde(default)]
    entities: Vec<String>,
    window: Option<[String; 2]>,
    #[serde(default)]
    techniques: Vec<String>,
}

/// Reads the manifest at `path`; inputs are relative to it, or to `data`, in which `{name}` stands
/// for the manifest's name without its ending.
///
/// # Errors
/// When it cannot be read or says something impossible.
pub(crate) fn read(path: &Path, data: Option<&Path>) -> Result<Vec<Case>> {
    let what = || format!("in the manifest {}", path.display());
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the manifest {}", path.display()))?;
    let file: File = toml::from_str(&text).with_context(what)?;
    if !file.files.is_empty() {
        eprintln!(
            "thymus: {}: {} [[files]] tables are left out: this version has no file engine",
            path.display(),
            file.files.len()
        );
    }
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let base = match data {
        Some(data) => PathBuf::from(data.to_string_lossy().replace("{name}", &name)),
        None => path.parent().map(PathBuf::from).unwrap_or_default(),
    };
    file.cases
        .into_iter()
        .map(|table| resolve(table, &base).with_context(what))
        .collect()
}

fn resolve(table: Table, base: &Path) -> Result<Case> {
    let name = table.name;
    ensure!(!table.input.is_empty(), "case {name} has no input");
    let under = |paths: Vec<PathBuf>| paths.into_iter().map(|path| base.join(path)).collect();
    let window = match table.window {
        None => None,
        Some([from, to]) => match (Timestamp::parse(&from), Timestamp::parse(&to)) {
            (Some(from), Some(to)) if from <= to => Some((from, to)),
            _ => bail!("case {name}: window must be two RFC 3339 times in order, not {from}, {to}"),
        },
    };
    Ok(Case {
        kind: table.kind,
        input: under(table.input),
        learn: under(table.learn),
        entities: table.entities,
        window,
        techniques: table.techniques,
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Case>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set.toml");
        std::fs::write(&path, text).unwrap();
        read(&path, Some(Path::new("/data/{name}")))
    }

    #[test]
    fn paths_are_under_the_data_folder() {
        let cases = parse(
            "[[case]]\nname = 'a'\nkind = 'attack'\ninput = ['x.pcap']\nlearn = ['y']\n\
             window = ['2020-01-01T00:00:00Z', '2020-01-02T00:00:00Z']",
        )
        .unwrap();
        assert_eq!(cases[0].input, [PathBuf::from("/data/set/x.pcap")]);
        assert_eq!(cases[0].learn, [PathBuf::from("/data/set/y")]);
        assert!(cases[0].window.is_some());
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let refused = |text| format!("{:#}", parse(text).unwrap_err());
        assert!(refused("[[case]]\nname = 'a'\nkind = 'odd'\ninput = ['x']").contains("odd"));
        assert!(refused("[[case]]\nname = 'a'\nkind = 'benign'\ninput = []").contains("no input"));
        let backwards = "[[case]]\nname = 'a'\nkind = 'benign'\ninput = ['x']\n\
                         window = ['2020-01-02T00:00:00Z', '2020-01-01T00:00:00Z']";
        assert!(refused(backwards).contains("window"));
        assert!(
            refused("[[case]]\nname = 'a'\nkind = 'benign'\ninput = ['x']\ntypo = 1")
                .contains("typo")
        );
    }
}
