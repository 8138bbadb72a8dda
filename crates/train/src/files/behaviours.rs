//! What malicious files do, by the names their sources gave them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use thymus_nets::file::LABELS_SEPARATOR;

use super::data::Sample;
use crate::corpus::{Kind, Label, Part, Secret, parts, read_index, wanted};

/// The file that maps names to behaviours.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Behaviours {
    #[serde(rename = "behaviour")]
    all: Vec<Behaviour>,
}

/// Which files of a type show one behaviour.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Behaviour {
    #[serde(rename = "type")]
    kind: Kind,
    name: String,
    /// Names of sources of the index.
    sources: Vec<String>,
    /// Globs over paths in the source; all, when there are none.
    #[serde(default)]
    paths: Vec<String>,
}

/// What the index tells of one malicious file.
#[derive(Clone, Debug)]
struct Origin {
    behaviour: Option<usize>,
    family: String,
}

/// The malicious files of one type.
pub(super) struct Named {
    /// Names of the behaviours.
    pub(super) names: Vec<String>,
    /// With bytes only where there is something to tell apart.
    pub(super) samples: Vec<Sample>,
    /// The behaviour of each sample, where it has one.
    pub(super) of: Vec<Option<usize>>,
    /// The family of each sample; its cluster where it has none.
    pub(super) families: Vec<String>,
}

impl Behaviours {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("read {}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let behaviours: Self = toml::from_str(text)?;
        for behaviour in &behaviours.all {
            let name = &behaviour.name;
            let is_sound = !name.is_empty() && !name.contains(LABELS_SEPARATOR);
            ensure!(is_sound, "no name of a behaviour: {name:?}");
        }
        Ok(behaviours)
    }

    /// The names of a type's behaviours, in the order of the file.
    fn names(&self, kind: Kind) -> Vec<String> {
        let mut names = Vec::new();
        for behaviour in self.all.iter().filter(|behaviour| behaviour.kind == kind) {
            if !names.contains(&behaviour.name) {
                names.push(behaviour.name.clone());
            }
        }
        names
    }

    /// The name of the behaviour of a file of `source` with the index's `locator`.
    fn of(&self, kind: Kind, source: &str, locator: &str) -> Option<&str> {
        let path = locator.split_once(':').map_or(locator, |(_, path)| path);
        let fits = |behaviour: &&Behaviour| {
            behaviour.kind == kind
                && behaviour.sources.iter().any(|name| name == source)
                && wanted(&behaviour.paths, &[], path)
        };
        self.all.iter().find(fits).map(|found| &*found.name)
    }

    /// Reads the malicious files of `kind` from a pack, all sides, `bytes_max` of each; none when no behaviour
    /// of the type is known.
    pub(super) fn load(
        &self,
        kind: Kind,
        index: &Path,
        (pack, secret): (&Path, &Secret),
        bytes_max: usize,
    ) -> Result<Option<Named>> {
        let names = self.names(kind);
        if names.is_empty() {
            return Ok(None);
        }
        let mut origins: BTreeMap<String, Origin> = BTreeMap::new();
        for row in read_index(index)? {
            if row.kind == kind && row.label == Label::Malicious {
                let name = self.of(kind, &row.source, &row.locator);
                let is = |name| names.iter().position(|known| known == name);
                let (behaviour, family) = (name.and_then(is), row.family);
                origins.insert(row.sha256, Origin { behaviour, family });
            }
        }
        let mut named = Named {
            names,
            samples: Vec::new(),
            of: Vec::new(),
            families: Vec::new(),
        };
        for path in parts(pack)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.split('-').next() == Some(kind.as_str()) {
                named.add(&mut Part::open(&path, secret)?, kind, &origins, bytes_max)?;
            }
        }
        Ok(Some(named))
    }
}

impl Named {
    fn add(
        &mut self,
        part: &mut Part,
        kind: Kind,
        origins: &BTreeMap<String, Origin>,
        bytes_max: usize,
    ) -> Result<()> {
        for number in 0..part.entries.len() {
            let entry = &part.entries[number];
            if entry.kind != kind || entry.label != Label::Malicious {
                continue;
            }
            let cluster = entry.cluster;
            let origin = origins.get(&*thymus_parsers::hex(&entry.sha256));
            let mut bytes = Vec::new();
            if self.names.len() > 1 {
                bytes = part.sample(number)?.bytes;
                bytes.truncate(bytes_max);
                bytes.shrink_to_fit();
            }
            if kind == Kind::Elf && super::data::is_object(&bytes) {
                continue;
            }
            self.of.push(origin.and_then(|origin| origin.behaviour));
            let family = origin.map(|origin| origin.family.clone());
            let family = family.filter(|family| family != "-");
            self.families
                .push(family.unwrap_or_else(|| format!("cluster {cluster}")));
            self.samples.push(Sample {
                bytes,
                malicious: true,
                cluster,
                package: None,
                form: "",
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
        [[behaviour]]
        type = 'elf'
        name = 'botnet client'
        sources = ['one']
        paths = ['**/*.Mirai.*']
        [[behaviour]]
        type = 'elf'
        name = 'backdoor'
        sources = ['one', 'two']
        paths = ['Backdoor/**']
        [[behaviour]]
        type = 'elf'
        name = 'botnet client'
        sources = ['bots']
    ";

    #[test]
    fn the_first_entry_that_fits_names_the_behaviour() {
        let behaviours = Behaviours::parse(TEXT).unwrap();
        let of = |source, locator| behaviours.of(Kind::Elf, source, locator);
        assert_eq!(behaviours.names(Kind::Elf), ["botnet client", "backdoor"]);
        assert_eq!(of("one", "12ab:Backdoor/X.Mirai.a"), Some("botnet client"));
        assert_eq!(of("one", "12ab:Backdoor/X.Small.a"), Some("backdoor"));
        assert_eq!(of("two", "12ab:Backdoor/X.Mirai.a"), Some("backdoor"));
        assert_eq!(of("bots", "12ab:1.2.3.4:80_bins/x"), Some("botnet client"));
        assert_eq!(of("three", "12ab:Backdoor/X"), None);
        let pe = behaviours.of(Kind::Pe, "one", "12ab:Backdoor/X");
        assert_eq!(pe, None);
    }

    #[test]
    fn names_that_would_not_read_back_are_refused() {
        for name in ["", "worm; virus"] {
            let text = TEXT.replace("backdoor", name);
            assert!(Behaviours::parse(&text).is_err(), "{name:?}");
        }
    }

    #[test]
    fn the_shipped_file_is_sound() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../eval/files/behaviours.toml");
        let behaviours = Behaviours::read(&path).unwrap();
        assert_eq!(behaviours.names(Kind::Php), ["web shell"]);
        assert!(behaviours.names(Kind::Elf).len() > 2);
    }
}
