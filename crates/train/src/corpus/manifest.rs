//! The corpus manifest: which sources there are, what of them is taken, how it is labelled and on which
//! side of the split it stands. TOML; unknown keys are refused. See `eval/files/corpus.toml`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::kind::Kind;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// Sources in order of precedence: a file found twice belongs to the first.
    #[serde(rename = "source")]
    pub(crate) sources: Vec<Source>,
}

/// One place files come from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    /// Short unique name; stands in the index and in the tables.
    pub(crate) name: String,
    /// How it is read.
    pub(crate) kind: SourceKind,
    /// Repository `owner/name` of a git store, or a folder below the data folder.
    #[serde(rename = "where")]
    pub(crate) place: String,
    /// File beside the manifest that names the packages, one `name=version` a line; others in the
    /// folder are left alone. For the record and for fetching again.
    pub(crate) list: Option<String>,
    /// Paths taken (globs over the path in the repository or the package's file name); empty: all.
    #[serde(default)]
    pub(crate) include: Vec<String>,
    /// Paths left out.
    #[serde(default)]
    pub(crate) exclude: Vec<String>,
    /// Files taken out of archives (globs over the whole path, members joined by `!`); empty: all.
    #[serde(default)]
    pub(crate) members: Vec<String>,
    /// What its files are taken for.
    pub(crate) label: Label,
    /// File types taken; empty: all that are known.
    #[serde(default)]
    pub(crate) types: Vec<Kind>,
    /// What text without a marker of its own is taken for.
    pub(crate) text_as: Option<Kind>,
    /// Where the family's name stands.
    #[serde(default)]
    pub(crate) family: Family,
    /// Year the files are from, where one is known.
    pub(crate) year: Option<u16>,
    /// Passwords tried on enciphered archives, in order.
    #[serde(default)]
    pub(crate) passwords: Vec<String>,
    /// Extension of the file beside an archive that holds its password.
    pub(crate) password_file: Option<String>,
    /// Side of the split.
    pub(crate) role: RoleRule,
}

/// How a source is read.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SourceKind {
    /// A bare git store below the mirror folder; the tree of HEAD.
    Git,
    /// A folder of Debian binary packages.
    Deb,
    /// A folder of Python wheels.
    Wheel,
    /// A folder of source archives.
    Sdist,
    /// A folder of npm tarballs.
    Npm,
    /// A folder of zip archives.
    Zip,
    /// A folder of anything.
    Folder,
}

/// What a file is taken for.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Label {
    /// Harmless.
    Benign,
    /// Harmful.
    Malicious,
}

impl Label {
    /// Lower-case name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Benign => "benign",
            Self::Malicious => "malicious",
        }
    }

    /// The label of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Benign, Self::Malicious]
            .into_iter()
            .find(|label| label.as_str() == name)
    }
}

/// Side of a split. The order is the precedence: a cluster that reaches into several sides goes whole
/// to the first, so that nothing tested has a near twin that was learned.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Learned from.
    Train,
    /// Thresholds are chosen on it.
    Tune,
    /// Measured on, once.
    Test,
}

impl Role {
    /// All sides, in order.
    pub(crate) const ALL: [Self; 3] = [Self::Train, Self::Tune, Self::Test];

    /// Lower-case name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Tune => "tune",
            Self::Test => "test",
        }
    }

    /// The side of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

/// Where a family's name stands in a path.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Family {
    /// Nowhere.
    #[default]
    None,
    /// In the path's part of that number, from 0.
    Part(usize),
    /// In the file name's first dotted words, that many.
    Words(usize),
    /// In the file name before the first hyphen or underscore.
    Stem,
    /// In the name of the package the file comes from, without its version.
    Package,
    /// In a table (CSV without quotes) of the same git store.
    Table {
        /// Its path.
        path: String,
        /// Column of the file's name, from 0.
        file: usize,
        /// Column of the family.
        value: usize,
    },
}

/// How the side of a file is found.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum RoleRule {
    /// The whole source on one side: held apart by source.
    Fixed(Role),
    /// By a hash of a key, with the shares of the sides that are not learned from.
    Share {
        /// What stays together.
        by: Key,
        /// Share for tuning, 0 to 1.
        tune: f64,
        /// Share for testing, 0 to 1.
        test: f64,
    },
    /// By the text of a part of the path, which sorts by time.
    Time {
        /// Number of the part, from 0.
        part: usize,
        /// First text for tuning.
        tune_from: String,
        /// First text for testing.
        test_from: String,
    },
}

/// What stays on one side.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Key {
    /// A family.
    Family,
    /// A package, over all its architectures and versions.
    Package,
    /// A top folder.
    Folder,
    /// A near-duplicate cluster.
    Cluster,
}

/// Reads and checks a manifest.
pub(crate) fn read(path: &Path) -> Result<Manifest> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let manifest: Manifest =
        toml::from_str(&text).with_context(|| format!("read manifest {}", path.display()))?;
    let mut names: Vec<&str> = manifest.sources.iter().map(|s| s.name.as_str()).collect();
    names.sort_unstable();
    ensure!(
        names.windows(2).all(|pair| pair.first() != pair.last()),
        "two sources of one name in {}",
        path.display()
    );
    for source in &manifest.sources {
        ensure!(
            source.year.is_none_or(|year| (1980..2100).contains(&year)),
            "source {}: no such year",
            source.name
        );
        if let RoleRule::Share { tune, test, .. } = source.role {
            ensure!(
                tune >= 0.0 && test >= 0.0 && tune + test <= 1.0,
                "source {}: shares outside 0 to 1",
                source.name
            );
        }
    }
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Manifest, toml::de::Error> {
        toml::from_str(text)
    }

    const HEAD: &str = "[[source]]\nname='a'\nkind='git'\nwhere='o/n'\nlabel='malicious'\n";

    #[test]
    fn every_form_of_role_and_family_is_read() {
        let roles = [
            "role='test'",
            "role={by='cluster',tune=0.1,test=0.2}",
            "role={part=1,tune_from='201609',test_from='201610'}",
        ];
        let families = [
            "",
            "family={words=3}\n",
            "family={part=0}\n",
            "family='stem'\n",
            "family={table={path='a.csv',file=3,value=1}}\n",
        ];
        for role in roles {
            for family in families {
                let manifest = parse(&format!("{HEAD}{family}{role}\n")).unwrap();
                assert_eq!(manifest.sources.len(), 1);
            }
        }
        let fixed = parse(&format!("{HEAD}{}\n", roles[0])).unwrap();
        assert!(matches!(fixed.sources[0].role, RoleRule::Fixed(Role::Test)));
        let time = parse(&format!("{HEAD}{}\n", roles[2])).unwrap();
        assert!(matches!(
            time.sources[0].role,
            RoleRule::Time { part: 1, .. }
        ));
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(parse(&format!("{HEAD}role='test'\npasword='x'\n")).is_err());
    }
}
