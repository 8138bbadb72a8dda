//! The settings of a run: what the command line says, and for the rest what a file says.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Command, CommandFactory, Parser};
use thymus_analyst::legible;

use super::file::{self, Given};
use super::keys::{KEYS, Key, SOURCES, Takes};
use crate::cli::{Cli, Command as Word, LiveArgs};

/// Settings with where they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    file: Option<PathBuf>,
    /// What the command line says, to be merged with the file again.
    command: BTreeMap<String, Vec<OsString>>,
    by_name: BTreeMap<String, Setting>,
}

/// What an option is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// None for a switch.
    pub(crate) values: Vec<OsString>,
    pub(crate) origin: Origin,
}

/// Where a setting comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    CommandLine,
    /// A line of the file, counted from one.
    Line(usize),
}

/// A setting that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) name: &'static str,
    pub(crate) takes: Takes,
    /// Whether nobody sets it any more.
    pub(crate) is_gone: bool,
    /// What it was, in words.
    pub(crate) from: String,
    /// What it is to be.
    pub(crate) to: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, from, to, .. } = self;
        write!(f, "{name} from {from} to {to}")
    }
}

fn in_words(values: Option<&[OsString]>) -> String {
    match values {
        None => "unset".to_owned(),
        Some([]) => "true".to_owned(),
        Some(all) => {
            let each = all.iter().map(|value| legible(&value.to_string_lossy()));
            each.collect::<Vec<_>>().join(", ")
        }
    }
}

/// The command line without what options ask of one another, which a file may give.
pub(super) fn relaxed() -> Command {
    Cli::command().mut_subcommand("run", |run| {
        run.mut_group("source", |sources| sources.required(false))
            .mut_args(|argument| argument.requires(Resettable::<clap::Id>::Reset))
    })
}

impl Settings {
    /// Of a command line that is `thymus run`, and of the file it names.
    ///
    /// # Errors
    /// When there is something wrong with the file.
    pub(crate) fn of(words: &[OsString]) -> Result<Option<Self>> {
        if words.get(1).is_none_or(|word| word != "run") {
            return Ok(None);
        }
        let command = relaxed();
        // What is wrong with the command line is told by who reads it in full.
        let Ok(matches) = command.clone().try_get_matches_from(words) else {
            return Ok(None);
        };
        let Some(run) = matches.subcommand_matches("run") else {
            return Ok(None);
        };
        let file = run.get_one::<PathBuf>("config").cloned();
        let file = file.map(std::path::absolute).transpose()?;
        Self::merged(file, on_command_line(&command, run)).map(Some)
    }

    /// The same command line with the file as it is now.
    ///
    /// # Errors
    /// When there is something wrong with the file.
    pub(crate) fn again(&self) -> Result<Self> {
        Self::merged(self.file.clone(), self.command.clone())
    }

    fn merged(file: Option<PathBuf>, command: BTreeMap<String, Vec<OsString>>) -> Result<Self> {
        let given = file.as_deref().map(file::read).transpose()?;
        Ok(Self::of_both(file, command, given.unwrap_or_default()))
    }

    fn of_both(
        file: Option<PathBuf>,
        command: BTreeMap<String, Vec<OsString>>,
        given: Vec<Given>,
    ) -> Self {
        let mut by_name: BTreeMap<String, Setting> = command
            .iter()
            .map(|(name, values)| {
                let values = values.clone();
                let origin = Origin::CommandLine;
                (name.clone(), Setting { values, origin })
            })
            .collect();
        let names_source = SOURCES.iter().any(|name| command.contains_key(*name));
        for one in given {
            let is_overruled = names_source && SOURCES.contains(&one.name);
            if !is_overruled && !command.contains_key(one.name) {
                let setting = Setting {
                    values: one.values,
                    origin: Origin::Line(one.line),
                };
                by_name.insert(one.name.to_owned(), setting);
            }
        }
        Self {
            file,
            command,
            by_name,
        }
    }

    /// The file, where there is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// What an option is set to, unless it is what it is when nobody says anything.
    pub(crate) fn get(&self, name: &str) -> Option<&Setting> {
        self.by_name.get(name)
    }

    /// Whether something is watched.
    pub(crate) fn has_source(&self) -> bool {
        SOURCES.iter().any(|name| self.by_name.contains_key(*name))
    }

    /// What is not as it was.
    pub(crate) fn changes(&self, now: &Self) -> Vec<Change> {
        fn values<'s>(all: &'s Settings, name: &str) -> Option<&'s [OsString]> {
            all.get(name).map(|one| one.values.as_slice())
        }
        let changed = |key: &'static Key| {
            let (before, after) = (values(self, key.name), values(now, key.name));
            (before != after).then(|| Change {
                name: key.name,
                takes: key.takes,
                is_gone: after.is_none(),
                from: in_words(before),
                to: in_words(after),
            })
        };
        KEYS.iter().filter_map(changed).collect()
    }

    /// Takes over what `other` says of one option.
    pub(crate) fn take(&mut self, name: &str, other: &Self) {
        match other.by_name.get(name) {
            Some(setting) => self.by_name.insert(name.to_owned(), setting.clone()),
            None => self.by_name.remove(name),
        };
    }

    /// As a command line that says all of it, behind the name of the program.
    pub(crate) fn words(&self) -> Vec<OsString> {
        let mut words = vec![OsString::from("run")];
        for (name, setting) in &self.by_name {
            if setting.values.is_empty() {
                words.push(format!("--{name}").into());
            }
            for value in &setting.values {
                let mut word = OsString::from(format!("--{name}="));
                word.push(value);
                words.push(word);
            }
        }
        words
    }

    /// As the options of a run.
    ///
    /// # Errors
    /// When what the file and the command line say does not go together.
    pub(crate) fn parsed(&self) -> Result<LiveArgs, clap::Error> {
        let program = std::iter::once(OsString::from("thymus"));
        let cli = Cli::try_parse_from(program.chain(self.words()))?;
        let Word::Run(mut args) = cli.command else {
            return Err(clap::Error::new(clap::error::ErrorKind::InvalidSubcommand));
        };
        args.settings = Some(self.clone());
        Ok(*args)
    }
}

/// Options of the command line by their long names, but for the file's.
fn on_command_line(command: &Command, run: &ArgMatches) -> BTreeMap<String, Vec<OsString>> {
    let mut said = BTreeMap::new();
    let known = command.find_subcommand("run");
    for argument in known.into_iter().flat_map(Command::get_arguments) {
        let (id, Some(name)) = (argument.get_id().as_str(), argument.get_long()) else {
            continue;
        };
        if id == "config" || run.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        let values = match argument.get_action() {
            ArgAction::SetTrue => Vec::new(),
            _ => run
                .get_raw(id)
                .into_iter()
                .flatten()
                .map(OsString::from)
                .collect(),
        };
        said.insert(name.to_owned(), values);
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(words: &[&str], file: &str) -> Settings {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("thymus.toml");
        std::fs::write(&path, file).unwrap();
        let mut all = vec![OsString::from("thymus"), OsString::from("run")];
        all.extend(words.iter().map(OsString::from));
        all.extend(["--config".into(), path.into_os_string()]);
        Settings::of(&all).unwrap().unwrap()
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let file = "interface = \"eth0\"\nbudget = 3\nlocal = [\"10.0.0.0/8\"]\nkeep-packets = 0\n\
                    state = \"/tmp/x\"\nno-promiscuous = true\n";
        let both = settings(
            &["--budget", "7", "--local", "192.0.2.0/24", "--console"],
            file,
        );
        let args = both.parsed().unwrap();
        assert_eq!(args.interface.as_deref(), Some("eth0"));
        assert_eq!(args.run.budget, 7.0);
        assert_eq!(args.run.local.len(), 1);
        assert_eq!(args.run.local[0].to_string(), "192.0.2.0/24");
        assert_eq!(args.keep_packets, 0);
        assert!(args.no_promiscuous);
        assert_eq!(args.console.unwrap().to_string(), "127.0.0.1:8642");
        assert_eq!(both.get("budget").unwrap().origin, Origin::CommandLine);
        assert_eq!(both.get("interface").unwrap().origin, Origin::Line(1));
        assert_eq!(both.get("keep-packets").unwrap().origin, Origin::Line(4));
        assert!(both.get("buffer").is_none());
        let words = both.words();
        assert!(
            !words
                .iter()
                .any(|word| word.to_string_lossy().contains("config"))
        );
    }

    #[test]
    fn who_names_a_source_means_no_other() {
        let file = "interface = \"eth0\"\nbudget = 3\n";
        let both = settings(&["--follow", "/logs"], file);
        let args = both.parsed().unwrap();
        assert_eq!(args.interface, None);
        assert_eq!(args.follow.len(), 1);
        assert_eq!(args.run.budget, 3.0);
        assert!(both.has_source());
        // What goes with another source only is said, not left out.
        let file = "interface = \"eth0\"\nfilter = \"ip\"\n";
        let args = settings(&["--follow", "/logs"], file).parsed().unwrap();
        let said = crate::config::sound(&args).unwrap_err();
        assert!(said.to_string().contains("--interface"), "{said}");
        assert!(!settings(&[], "budget = 3").has_source());
    }

    #[test]
    fn only_a_run_has_settings() {
        let of = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            Settings::of(&words).unwrap()
        };
        assert_eq!(of(&["thymus", "scan", "run"]), None);
        assert_eq!(of(&["thymus", "run", "--nonsense"]), None);
        let run = of(&["thymus", "run", "-i", "eth0", "-q"]).unwrap();
        assert_eq!(run.words(), ["run", "--interface=eth0", "--quiet"]);
    }
}
