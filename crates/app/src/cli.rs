//! The command line as data.

mod backup;
mod config;
mod console;
mod drill;
mod lists;
mod model;
mod packets;
mod quarantine;
mod query;
mod respond;
mod rules;
mod run;
mod tell;

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;

pub use backup::{BackupArgs, RestoreArgs};
pub use config::{ConfigAction, ConfigArgs, ReloadArgs};
pub use console::{
    AuditAction, AuditArgs, BouncerAction, BouncerArgs, ConsoleArgs, ConsoleRole, KeepArgs,
    TokenAction, TokenArgs, UserAction, UserArgs,
};
pub use drill::DrillArgs;
pub use lists::{ListsAction, ListsArgs, ListsTestArgs};
pub use model::{ModelArgs, ModelCommand, ShadowArgs};
pub use packets::PacketsArgs;
pub use quarantine::{QuarantineAction, QuarantineArgs};
pub use query::QueryArgs;
pub use respond::{
    AnswerArgs, ContainArgs, DecisionsArgs, DoorArgs, EnforceArgs, LifeArgs, PanicArgs, PolicyArgs,
};
pub use rules::{RulesAction, RulesArgs};
pub use run::{CollectOn, LiveArgs, Role};
pub use tell::{ExportArgs, TellArgs};

const EXAMPLES: &str = "\
Examples:
  thymus demo                               replay the capture that comes with Thymus
  thymus replay capture.pcapng              tell what happened in a capture
  thymus replay /var/log/zeek eve.json      any mixture of captures and logs
  thymus replay --json --html report.html traffic/ > report.json
  thymus replay --state ~/.thymus monday/   learn from day to day
  thymus run --interface eth0               watch a network as it lives
  thymus scan ~/Downloads                   judge files, also those inside archives
  thymus explain beacon                     what a detector looks at, and its known false alarms

Exit codes: 0 nothing to show, 1 something to show, 2 an error or nothing judged.";

/// Tells from captures and logs what does not belong on your network, in plain words.
#[derive(Debug, Parser)]
#[command(name = "thymus", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read captures and logs and tell what happened
    Replay(ReplayArgs),
    /// Watch a network interface and tell what happens
    Run(Box<LiveArgs>),
    /// Have a run read its configuration file again
    Reload(ReloadArgs),
    /// Check the settings of a run in a file, and show them
    Config(ConfigArgs),
    /// Show what was found in a browser
    Console(ConsoleArgs),
    /// Add, list and remove users of the console
    User(UserArgs),
    /// Make, list and remove tokens for programs that use the console
    Token(TokenArgs),
    /// Make, list and remove keys for bouncers, which ban addresses elsewhere
    Bouncer(BouncerArgs),
    /// Print or check the log of who changed what in the console
    Audit(AuditArgs),
    /// Tell others what is found: SIEM, syslog, webhook, mail, files
    Tell(TellArgs),
    /// Write incidents as others read them: OCSF, ECS, CEF, STIX, ATT&CK Navigator
    Export(ExportArgs),
    /// List what was decided about incidents, and what is cut now
    Decisions(DecisionsArgs),
    /// Cut off a device or a destination by hand, after a rehearsal
    Contain(ContainArgs),
    /// Say of which devices the pattern of life is known well enough to be enforced
    Life(LifeArgs),
    /// Carry out decisions that wait, or again some that are over
    Approve(AnswerArgs),
    /// Say no to decisions that wait
    Deny(AnswerArgs),
    /// Take actions back
    Undo(AnswerArgs),
    /// Let actions hold for longer
    Extend(AnswerArgs),
    /// Say of actions that they do no harm, so that they are not taken back
    Confirm(AnswerArgs),
    /// Take everything back at once, whatever else works
    Panic(PanicArgs),
    /// Check a policy: what may be done, and who decides
    Policy(PolicyArgs),
    /// Carry decisions out: the process that `thymus run --respond` starts
    Enforce(EnforceArgs),
    /// Ask the events that were kept, in SQL
    Query(QueryArgs),
    /// Get the raw packets that were kept, of an incident or of a host
    Packets(PacketsArgs),
    /// Put a whole state folder into one file, also while it is in use
    Backup(BackupArgs),
    /// Put a backup back
    Restore(RestoreArgs),
    /// Judge files, and what is inside them
    Scan(ScanArgs),
    /// Keep malicious files where they do no harm, and give them back
    Quarantine(QuarantineArgs),
    /// Check what is allowed and blocked, and try it out
    Lists(ListsArgs),
    /// Check YARA rules
    Rules(RulesArgs),
    /// Show the networks that judge files, fit them to your own files, install others
    Model(ModelArgs),
    /// Replay the capture that comes with Thymus
    Demo(DemoArgs),
    /// Tell what would be found on this network, how soon, and from what size on
    Drill(DrillArgs),
    /// Measure detection on labelled captures
    Eval(EvalArgs),
    /// Measure speed and memory
    Bench(BenchArgs),
    /// List detectors, sources or protocols
    List(ListArgs),
    /// Explain a detector, an attack technique or a protocol
    Explain(ExplainArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
    /// Looks at files for `thymus scan`, which starts it
    #[command(hide = true)]
    ScanWorker,
    /// Passes on what the console asks of the enforcer
    #[command(hide = true)]
    ResponseDoor(DoorArgs),
    /// Stops processes for the enforcer, which starts it
    #[command(hide = true)]
    ResponseFreezer(DoorArgs),
}

/// `thymus replay`.
#[derive(Args, Clone, Debug)]
pub struct ReplayArgs {
    /// Captures (pcap, pcapng), Zeek logs, Suricata's eve.json, or folders of them
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// How the run goes
    #[command(flatten)]
    pub run: RunArgs,
    /// What comes out
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options that change what is found.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// A network of yours; repeat for several. Without it they are found from the traffic
    #[arg(long, value_name = "NET")]
    pub local: Vec<IpNet>,
    /// Incidents shown per day for each hundred devices, at least one a day
    #[arg(long, value_name = "N", default_value_t = 5.0, value_parser = budget)]
    pub budget: f64,
    /// A list of your own indicators (CSV, STIX, MISP, or one a line); repeat for several
    #[arg(long, value_name = "FILE")]
    pub indicators: Vec<PathBuf>,
    /// A folder in which what was learned is kept for the next run
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

/// Options that change what is written.
#[derive(Args, Clone, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one for each switch of the command line"
)]
pub struct OutputArgs {
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// Also write a report as one self-contained HTML page
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Also write every event, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
    /// Also write every alert, shown or not, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub alerts: Option<PathBuf>,
    /// Print to standard error how long the parts took and how much memory was used
    #[arg(long)]
    pub timings: bool,
    /// Print only the incidents
    #[arg(long, short, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print the evidence of every step, and what became of every input
    #[arg(long, short)]
    pub verbose: bool,
}

const SCAN_EXAMPLES: &str = "\
Examples:
  thymus scan invoice.docm                    one file
  thymus scan /srv/uploads --since 1d         what changed there since yesterday
  thymus scan --explain report.pdf            the bytes that decided, and what would turn it around
  thymus scan --json mail/ | jq .outcome      one line for each file and member
  thymus scan --password infected sample.zip  a locked archive; repeat for several passwords
  thymus scan --exclude '*.iso' --sarif found.sarif .
  thymus scan --lists lists.toml ~/Downloads  heed what is allowed and what is blocked
  thymus scan --no-models ~/Downloads         with the embedded models, whatever is installed
  thymus scan --rules rules/ --fail-on rule .  look for YARA rules beside, and heed what they find
  thymus scan --quarantine ~/Downloads        keep what is malicious where it does no harm
  curl -s https://example.org/x | thymus scan -

What is not judged is never called clean: the totals say how much was judged, and why the rest was not.
Bytes are read in worker processes that can open, reach and start nothing; one that hangs or dies is ended,
and its file is \"not judged: out of time\" or \"worker died\".
A .thymusignore in a folder that you name leaves out what it lists, unless others can write it.

Exit codes: 0 nothing found, 1 something malicious or suspicious, or what --fail-on names,
2 an error or a file that could not be quarantined.";

/// `thymus scan`.
#[derive(Args, Clone, Debug)]
#[command(after_help = SCAN_EXAMPLES)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one for each switch of the command line"
)]
pub struct ScanArgs {
    /// Files or folders; `-` is standard input. Links inside folders are not followed
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Print one JSON object a line, for each file and member, then a summary
    #[arg(long)]
    pub json: bool,
    /// Also write the findings as a SARIF 2.1.0 log
    #[arg(long, value_name = "FILE")]
    pub sarif: Option<PathBuf>,
    /// Only files changed since then: 2026-01-31, 2026-01-31T08:00:00Z, or an age such as 36h or 7d
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Leave out what matches, as in a .gitignore; repeat for several
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// Do not heed .thymusignore
    #[arg(long)]
    pub no_ignore: bool,
    /// Do not read files larger than this, such as 500K, 64M or 1G [default: 64M]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_size: Option<u64>,
    /// Open archives and documents so deep inside one another [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=32))]
    pub depth: Option<u32>,
    /// Seconds that one file may take
    #[arg(long, value_name = "SECS", default_value_t = 30)]
    pub max_time: u64,
    /// A password to try on locked archives; repeat for several
    #[arg(long, value_name = "TEXT")]
    pub password: Vec<String>,
    /// What is rare on your own files, as `thymus model calibrate` wrote it
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// The folder of installed models [default: as of `thymus model`]
    #[arg(long, value_name = "DIR")]
    pub models: Option<PathBuf>,
    /// Judge with the embedded models only
    #[arg(long, conflicts_with = "models")]
    pub no_models: bool,
    /// What besides a finding ends with exit code 1
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    pub fail_on: Vec<FailOn>,
    /// Files looked at at the same time
    #[arg(long, short, value_name = "N", default_value_t = 2, value_parser = jobs)]
    pub jobs: usize,
    /// Read hostile bytes in this process, not in confined workers; for finding faults only
    #[arg(long)]
    pub no_sandbox: bool,
    /// What is allowed and what is blocked; see `thymus lists --help` [default: thymus/lists.toml in
    /// $XDG_CONFIG_HOME or ~/.config, where it is]
    #[arg(long, value_name = "FILE")]
    pub lists: Option<PathBuf>,
    /// Heed no lists
    #[arg(long, conflicts_with = "lists")]
    pub no_lists: bool,
    /// Also look for these YARA rules, from a file, or from *.yar and *.yara in a folder; repeat for several.
    /// A match is told beside the verdict and does not change it
    #[arg(long, value_name = "FILE|DIR")]
    pub rules: Vec<PathBuf>,
    /// Go on with the rules that compile where others do not
    #[arg(long, requires = "rules")]
    pub rules_lenient: bool,
    /// Put what is malicious into the quarantine, whole archives too; see `thymus quarantine --help`
    #[arg(long)]
    pub quarantine: bool,
    /// Also what is suspicious
    #[arg(long, requires = "quarantine")]
    pub quarantine_suspicious: bool,
    /// The quarantine's folder [default: as of `thymus quarantine`]
    #[arg(long, value_name = "DIR", requires = "quarantine")]
    pub store: Option<PathBuf>,
    /// Say how long it took: on standard error, and with --json in each file's line
    #[arg(long)]
    pub timings: bool,
    /// Show the bytes that decided, and look for the fewest that would turn a finding around, which
    /// takes longer; the latter also with --json and --sarif
    #[arg(long)]
    pub explain: bool,
    /// Print only what was found
    #[arg(long, short, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print a line for everything, also for what is clean or not judged
    #[arg(long, short)]
    pub verbose: bool,
}

/// What besides a finding is a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// A file that was not judged, or for which not every rule had its turn
    NotJudged,
    /// A YARA rule that matches
    Rule,
}

/// `thymus demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// What comes out
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `thymus eval`.
#[derive(Args, Clone, Debug)]
pub struct EvalArgs {
    /// Manifests of labelled cases
    #[arg(required = true, value_name = "MANIFEST")]
    pub manifests: Vec<PathBuf>,
    /// Where the inputs are, when not beside the manifest; `{name}` stands for the manifest's name
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Only cases whose name contains this; repeat for several
    #[arg(long, value_name = "TEXT")]
    pub only: Vec<String>,
    /// Incidents shown per day in the headline; 1, 5 and 10 are reported too
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub budget: u64,
    /// Cases run at the same time
    #[arg(long, short, value_name = "N", default_value_t = 1)]
    pub jobs: usize,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// Write the alerts and incidents of every case into this folder
    #[arg(long, value_name = "DIR")]
    pub details: Option<PathBuf>,
    /// Write per detector the highest score of every benign device-hour, as JSON
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// Print to standard error how long it took
    #[arg(long)]
    pub timings: bool,
}

/// `thymus bench`.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// Captures or logs to measure with; without any, traffic is generated
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Conversations to generate
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    pub flows: u64,
    /// Feed the one capture named so often into one engine, each copy with other addresses and a
    /// day later; tells time and memory after each
    #[arg(long, value_name = "N", conflicts_with_all = ["peers", "log_records"])]
    pub copies: Option<u32>,
    /// Compare with tcpdump, ndpiReader, Zeek and Suricata, as far as they are installed
    #[arg(long, conflicts_with = "log_records")]
    pub peers: bool,
    /// Measure the reading of a generated Zeek connection log with so many records instead
    #[arg(long, value_name = "N")]
    pub log_records: Option<u64>,
    /// Repeat so often and print the median
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub runs: usize,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListKind {
    /// What behaviour is watched for
    Detectors,
    /// What can be read
    Sources,
    /// What is understood on the wire
    Protocols,
}

/// `thymus list`.
#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    /// What to list
    #[arg(value_enum)]
    pub kind: ListKind,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// `thymus explain`.
#[derive(Args, Clone, Debug)]
pub struct ExplainArgs {
    /// Id of a detector, a technique (T1071.001) or a protocol (dns)
    pub id: String,
}

/// `thymus completions`.
#[derive(Args, Clone, Debug)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

fn budget(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(n) if (0.1..=1000.0).contains(&n) => Ok(n),
        _ => Err("a number between 0.1 and 1000".to_owned()),
    }
}

fn jobs(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(n) if (1..=64).contains(&n) => Ok(n),
        _ => Err("a number from 1 to 64".to_owned()),
    }
}

/// Bytes: a number, with K, M or G for powers of 1,024.
fn size(text: &str) -> Result<u64, String> {
    let wrong = || "a size such as 500K, 64M or 1G".to_owned();
    let (digits, shift) = match text.to_ascii_uppercase().chars().last() {
        Some('K') => (text.get(..text.len() - 1), 10),
        Some('M') => (text.get(..text.len() - 1), 20),
        Some('G') => (text.get(..text.len() - 1), 30),
        _ => (Some(text), 0),
    };
    let number: u64 = digits.unwrap_or_default().parse().map_err(|_| wrong())?;
    // Files are read whole, so what does not fit into memory is no size.
    let size = number.checked_mul(1 << shift).ok_or_else(wrong)?;
    (1..=2 << 30)
        .contains(&size)
        .then_some(size)
        .ok_or_else(|| "between 1 byte and 2G: files are read into memory".to_owned())
}

/// Prints the completions for `shell` to standard output.
pub fn completions(shell: clap_complete::Shell) {
    clap_complete::generate(shell, &mut Cli::command(), "thymus", &mut std::io::stdout());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_are_read_and_nonsense_is_refused() {
        assert_eq!(size("1"), Ok(1));
        assert_eq!(size("500k"), Ok(500 << 10));
        assert_eq!(size("2G"), Ok(2 << 30));
        for wrong in ["", "0", "K", "3G", "-1", "1.5M", "99999999999G"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
