//! A configuration file: TOML whose keys are options of `thymus run`. All that is wrong in it is told at once,
//! each with its place and the remedy.

use std::ffi::OsString;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{ArgAction, Command};
use thymus_analyst::legible;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{self, Key, NOT_IN_FILES};
use super::settings::relaxed;
use crate::lists::trusted;

/// No configuration is longer.
const BYTES_MAX: u64 = 1 << 20;

/// What a file sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) name: &'static str,
    /// None for a switch.
    pub(crate) values: Vec<OsString>,
    /// Where, counted from one.
    pub(crate) line: usize,
}

/// All that is wrong in a file.
#[derive(Debug)]
pub(crate) struct Wrong {
    path: PathBuf,
    problems: Vec<Problem>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Problem {
    line: usize,
    column: usize,
    what: String,
}

impl std::error::Error for Wrong {}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = legible(&self.path.to_string_lossy());
        for (n, problem) in self.problems.iter().enumerate() {
            let Problem { line, column, what } = problem;
            let end = if n == 0 { "" } else { "\n" };
            write!(f, "{end}{path}:{line}:{column}: {what}")?;
        }
        Ok(())
    }
}

/// Reads a file.
///
/// # Errors
/// When it cannot be read, others may write it, or something in it is not understood.
pub(crate) fn read(path: &Path) -> Result<Vec<Given>> {
    let name = legible(&path.to_string_lossy());
    let bytes = trusted(path, "what is watched")?;
    anyhow::ensure!(bytes <= BYTES_MAX, "{name} is too long for a configuration");
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    let whole = std::path::absolute(path).with_context(|| format!("cannot find {name}"))?;
    let folder = whole.parent().unwrap_or(Path::new("/"));
    let parsed = parse(&text, folder);
    parsed.map_err(|problems| {
        let path = path.to_path_buf();
        Wrong { path, problems }.into()
    })
}

fn parse(text: &str, folder: &Path) -> Result<Vec<Given>, Vec<Problem>> {
    let reader = Reader {
        text,
        folder,
        command: relaxed(),
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problem = |error: &toml::de::Error| {
            let span = error.span().unwrap_or(0..0);
            reader.problem(&span, error.message().to_owned())
        };
        return Err(errors.iter().map(problem).collect());
    }
    let (mut given, mut problems) = (Vec::new(), Vec::new());
    for (name, value) in table.get_ref() {
        match reader.setting(name.get_ref(), &name.span(), value) {
            Ok(Some(setting)) => given.push(setting),
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        return Ok(given);
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    Err(problems)
}

struct Reader<'t> {
    text: &'t str,
    folder: &'t Path,
    command: Command,
}

impl Reader<'_> {
    fn problem(&self, span: &Range<usize>, what: String) -> Problem {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        Problem {
            line: before.matches('\n').count() + 1,
            column: before
                .get(start..)
                .map_or(1, |line| line.chars().count() + 1),
            what,
        }
    }

    /// One setting; nothing where a switch is off.
    fn setting(
        &self,
        name: &str,
        at: &Range<usize>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Option<Given>, Problem> {
        let key = keys::find(name).ok_or_else(|| self.problem(at, unknown(name, value)))?;
        let run = self.command.find_subcommand("run");
        let argument =
            run.and_then(|run| run.get_arguments().find(|a| a.get_long() == Some(key.name)));
        let action = argument.map_or(&ArgAction::Set, clap::Arg::get_action);
        let line = self.problem(at, String::new()).line;
        let wrong = |what: &str| self.problem(&value.span(), format!("{name}: {what}"));
        let values = match (action, value.get_ref()) {
            (ArgAction::SetTrue, DeValue::Boolean(false)) => return Ok(None),
            (ArgAction::SetTrue, DeValue::Boolean(true)) => Vec::new(),
            (ArgAction::SetTrue, _) => return Err(wrong("write true or false")),
            (ArgAction::Append, DeValue::Array(all)) => {
                let each = all.iter().map(|one| self.value(key, one));
                each.collect::<Result<_, _>>()?
            }
            (_, DeValue::Array(_)) => return Err(wrong("takes one value, not a list")),
            _ => vec![self.value(key, value)?],
        };
        let is_nothing = values.is_empty() && matches!(action, ArgAction::Append);
        Ok((!is_nothing).then_some(Given {
            name: key.name,
            values,
            line,
        }))
    }

    /// One value, which the command line would take too.
    fn value(&self, key: &Key, value: &Spanned<DeValue<'_>>) -> Result<OsString, Problem> {
        let wrong = |what: &str| self.problem(&value.span(), format!("{}: {what}", key.name));
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_err(|_| wrong("too large a number"))?
                .to_string(),
            DeValue::Float(number) => number.as_str().to_owned(),
            DeValue::Boolean(_) => return Err(wrong("takes a value, not true or false")),
            DeValue::Array(_) => return Err(wrong("takes a list, not a list of lists")),
            DeValue::Table(_) => return Err(wrong("takes a value, not a table")),
            DeValue::Datetime(_) => return Err(wrong("takes a value, not a date")),
        };
        if text.contains('\0') {
            return Err(wrong("no value holds a NUL"));
        }
        let word = OsString::from(if key.is_path {
            self.folder.join(&text).to_string_lossy().into_owned()
        } else {
            text.clone()
        });
        let mut option = OsString::from(format!("--{}=", key.name));
        option.push(&word);
        let words = [OsString::from("thymus"), OsString::from("run"), option];
        match self.command.clone().try_get_matches_from(words) {
            Ok(_) => Ok(word),
            Err(error) => {
                let why = why(&error);
                Err(wrong(&format!("{}: {why}", legible(&text))))
            }
        }
    }
}

/// What is wrong with a value, without the command line around it.
fn why(error: &clap::Error) -> String {
    std::error::Error::source(error).map_or_else(
        || {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            line.trim_start_matches("error: ").to_owned()
        },
        ToString::to_string,
    )
}

/// What to write instead of a name that is none.
fn unknown(name: &str, value: &Spanned<DeValue<'_>>) -> String {
    let name = legible(name);
    if NOT_IN_FILES.contains(&name.as_str()) {
        return format!("{name} is an option of the command line only");
    }
    if let (DeValue::Table(table), Some(key)) = (value.get_ref(), keys::find(&name)) {
        let inside = table.keys().next().map_or("", |key| key.get_ref());
        let inside = legible(inside);
        return format!("{} is no table; write {name}-{inside} = …", key.name);
    }
    match keys::nearest(&name) {
        Some(near) => format!("there is no setting {name}; did you mean {near}?"),
        None => format!("there is no setting {name}; `thymus config show` lists all of them"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Given>, String> {
        let told = |problems: Vec<Problem>| {
            let each = problems.iter();
            let each = each.map(|p| format!("{}:{}: {}", p.line, p.column, p.what));
            each.collect::<Vec<_>>().join("\n")
        };
        parse(text, Path::new("/etc/thymus")).map_err(told)
    }

    #[test]
    fn keys_are_options_and_paths_are_beside_the_file() {
        let text = "# watch\n\
             interface = \"eth0\"\n\
             filter = 'not port 22'\n\
             no-promiscuous = true\n\
             only-new = false\n\
             local = [\"192.0.2.0/24\", \"2001:db8::/32\"]\n\
             budget = 2.5\n\
             keep-packets = 0\n\
             save-every = 0x10\n\
             collect = []\n\
             state = \"/var/lib/thymus\"\n\
             console-tls-cert = \"tls/cert.pem\"\n\
             indicators = \"bad.csv\"\n";
        let given = parsed(text).unwrap();
        let found = |name: &str| {
            let one = given.iter().find(|one| one.name == name)?;
            let values = one.values.iter().map(|value| value.to_str().unwrap());
            Some((one.line, values.collect::<Vec<_>>()))
        };
        assert_eq!(found("interface"), Some((2, vec!["eth0"])));
        assert_eq!(found("filter"), Some((3, vec!["not port 22"])));
        assert_eq!(found("no-promiscuous"), Some((4, vec![])));
        assert_eq!(found("only-new"), None);
        assert_eq!(
            found("local"),
            Some((6, vec!["192.0.2.0/24", "2001:db8::/32"]))
        );
        assert_eq!(found("budget"), Some((7, vec!["2.5"])));
        assert_eq!(found("keep-packets"), Some((8, vec!["0"])));
        assert_eq!(found("save-every"), Some((9, vec!["16"])));
        assert_eq!(found("collect"), None);
        assert_eq!(found("state"), Some((11, vec!["/var/lib/thymus"])));
        assert_eq!(
            found("console-tls-cert"),
            Some((12, vec!["/etc/thymus/tls/cert.pem"]))
        );
        assert_eq!(found("indicators"), Some((13, vec!["/etc/thymus/bad.csv"])));
    }

    #[test]
    fn all_that_is_wrong_is_told_with_its_place_and_the_remedy() {
        let text = "buget = 5\n\
             budget = -1\n\
             local = [\"10.0.0.0/8\", \"10.0.0\"]\n\
             quiet = true\n\
             filter = \"tcp port http\"\n\
             only-new = 1\n\
             interface = [\"eth0\"]\n\
             console = true\n\
             buffer = 2026-01-01\n\
             keep_packets = 5\n\
             interfaces = \"a\\u0000b\"\n\
             state = \"a\\u0000b\"\n\
             [console-host]\n\
             x = 1\n";
        let told = parsed(text).unwrap_err();
        for part in [
            "1:1: there is no setting buget; did you mean budget?",
            "2:10: budget: -1: a number between 0.1 and 1000",
            "3:24: local: 10.0.0: ",
            "4:1: quiet is an option of the command line only",
            "5:10: filter: tcp port http: at character 10",
            "6:12: only-new: write true or false",
            "7:13: interface: takes one value, not a list",
            "8:11: console: takes a value, not true or false",
            "9:10: buffer: takes a value, not a date",
            "10:1: there is no setting keep_packets; did you mean keep-packets?",
            "11:1: there is no setting interfaces; did you mean interface?",
            "12:9: state: no value holds a NUL",
            "console-host: takes a value, not a table",
        ] {
            assert!(told.contains(part), "{part} not in:\n{told}");
        }
        assert_eq!(told.lines().count(), 13, "{told}");
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        let told = parsed("budget = 5\nlocal = [\n").unwrap_err();
        assert!(told.starts_with("2:") || told.starts_with("3:"), "{told}");
        let told = parsed("budget = 5\nbudget = 6\n").unwrap_err();
        assert!(told.starts_with("2:1: "), "{told}");
    }
}
