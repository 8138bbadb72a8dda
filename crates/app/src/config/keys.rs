//! What a configuration file may set: options of `thymus run` by their long names, and for each when a change
//! takes effect while a run goes on.

/// An option that a file may set.
#[derive(Debug)]
pub(crate) struct Key {
    /// The option without its dashes.
    pub(crate) name: &'static str,
    /// Whether its values are paths, which are relative to the file.
    pub(crate) is_path: bool,
    /// When a change takes effect.
    pub(crate) takes: Takes,
}

/// When a setting that was changed takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// With a reload, in the processes as they run.
    AtOnce,
    /// With a reload, by a console that takes the place of the other.
    Console,
    /// With a reload, by an analysis that takes the place of the other and goes on from the state.
    Analysis,
    /// With the next start of `thymus run`.
    NextStart,
}

impl Takes {
    /// In words.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::AtOnce => "reload",
            Self::Console => "reload, by another console process",
            Self::Analysis => "reload, by another analysis process",
            Self::NextStart => "restart",
        }
    }
}

const fn key(name: &'static str, takes: Takes) -> Key {
    Key {
        name,
        is_path: false,
        takes,
    }
}

const fn path(name: &'static str, takes: Takes) -> Key {
    Key {
        name,
        is_path: true,
        takes,
    }
}

/// All of them, in the order in which they are shown.
pub(crate) const KEYS: &[Key] = &[
    key("interface", Takes::NextStart),
    path("follow", Takes::Analysis),
    key("collect", Takes::NextStart),
    key("only-new", Takes::NextStart),
    key("no-promiscuous", Takes::NextStart),
    key("filter", Takes::AtOnce),
    key("buffer", Takes::NextStart),
    key("capture-sockets", Takes::NextStart),
    key("local", Takes::AtOnce),
    key("budget", Takes::AtOnce),
    path("indicators", Takes::Analysis),
    path("state", Takes::NextStart),
    key("save-every", Takes::AtOnce),
    path("record", Takes::NextStart),
    key("record-size", Takes::NextStart),
    key("keep-packets", Takes::AtOnce),
    key("keep-events", Takes::Console),
    key("keep-event-days", Takes::Console),
    key("keep-incident-days", Takes::Console),
    path("respond", Takes::NextStart),
    key("console", Takes::Console),
    key("console-host", Takes::Console),
    path("console-tls-cert", Takes::Console),
    path("console-tls-key", Takes::Console),
    key("output", Takes::NextStart),
    key("console-url", Takes::NextStart),
];

/// Options that name what is watched: who names one on the command line means no other.
pub(crate) const SOURCES: [&str; 3] = ["interface", "follow", "collect"];

/// Options of `thymus run` that are of the command line only: they say what comes out of one run, or are for
/// finding faults.
pub(crate) const NOT_IN_FILES: &[&str] = &[
    "config",
    "stop-after",
    "no-sandbox",
    "role",
    "restarts",
    "goes-on",
    "parent",
    "json",
    "html",
    "events",
    "alerts",
    "timings",
    "quiet",
    "verbose",
];

/// The key of this name.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The key that is most like this name.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    /// Less alike than this is another word.
    const ALIKE: f64 = 0.8;
    let name = name.replace('_', "-").to_lowercase();
    let alike = |key: &'static Key| (strsim::jaro_winkler(&name, key.name), key.name);
    let best = KEYS.iter().map(alike).max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(alike, _)| *alike >= ALIKE)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_option_of_a_run_is_either_in_files_or_not() {
        let cli = Cli::command();
        let run = cli.find_subcommand("run").unwrap();
        let mut options: Vec<&str> = run.get_arguments().filter_map(|a| a.get_long()).collect();
        options.retain(|name| *name != "help");
        options.sort_unstable();
        let mut known: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
        known.extend(NOT_IN_FILES);
        known.sort_unstable();
        assert_eq!(known, options);
    }

    #[test]
    fn a_slip_is_told_the_right_name() {
        assert_eq!(nearest("keep_packets"), Some("keep-packets"));
        assert_eq!(nearest("buget"), Some("budget"));
        assert_eq!(nearest("Locals"), Some("local"));
        assert_eq!(nearest("zzz"), None);
    }
}
