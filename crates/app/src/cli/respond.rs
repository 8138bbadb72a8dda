//! `thymus enforce`, `decisions` and what answers them.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use thymus_respond::{DecisionId, Port, Verb};

const ENFORCE_EXAMPLES: &str = "\
Examples:
  thymus enforce --state DIR                          write down what would be done, and do nothing
  thymus enforce --state DIR --policy policy.toml     do what the policy allows; see `thymus policy --help`

`thymus run --respond` starts it by itself. It needs the right to change the packet filter (CAP_NET_ADMIN) and the
program nft once the policy acts. What holds when it ends goes on holding until its time is over; `thymus panic`
removes everything.";

/// `thymus enforce`.
#[derive(Args, Clone, Debug)]
#[command(after_help = ENFORCE_EXAMPLES)]
pub struct EnforceArgs {
    /// The folder that `thymus run --state` writes to
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// What may be done (TOML); without it nothing is, and what would be is written down
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// A port at which this machine is managed, beside SSH: who is connected there is never cut off; repeat for several
    #[arg(long, value_name = "PORT")]
    pub managed: Vec<u16>,
    /// Do not confine this process (to find faults)
    #[arg(long)]
    pub no_sandbox: bool,
    /// Who started it, and is not to be outlived
    #[arg(long, hide = true)]
    pub parent: Option<i32>,
}

/// What stands between the console and the enforcer, or between the enforcer and other processes.
#[derive(Args, Clone, Debug)]
pub struct DoorArgs {
    /// The state folder
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Keep all rights
    #[arg(long)]
    pub no_sandbox: bool,
}

const DECISIONS_EXAMPLES: &str = "\
Examples:
  thymus decisions --state DIR            what holds and what waits for an answer, with what each would have cut
  thymus decisions --state DIR d7         all about one
  thymus decisions --state DIR --all --json";

/// `thymus decisions`.
#[derive(Args, Clone, Debug)]
#[command(after_help = DECISIONS_EXAMPLES)]
pub struct DecisionsArgs {
    /// The state folder
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// All about this one
    #[arg(value_name = "ID")]
    pub id: Option<DecisionId>,
    /// Those that are over too
    #[arg(long)]
    pub all: bool,
    /// A line of JSON for each
    #[arg(long)]
    pub json: bool,
}

const CONTAIN_EXAMPLES: &str = "\
Examples:
  thymus contain 10.0.0.5 --state DIR --dry-run                    what would be cut of its usual traffic
  thymus contain 10.0.0.5 --state DIR --for 2h --why 'ticket 4711'
  thymus contain 10.0.0.5 --state DIR --verb enforce_life
  thymus contain 10.0.0.5 --state DIR --verb block_pattern --to 198.51.100.7 --port tcp/443
  thymus contain 203.0.113.9 --state DIR --verb block_destination  an address outside, for everybody
  thymus contain --state DIR --verb freeze_process --pid 4711      a process of this machine stops where it stands
  thymus contain --state DIR --verb freeze_process --to 198.51.100.7 --port tcp/443    whoever talks with that
  thymus contain --state DIR --verb quarantine_file --file /srv/share/invoice.exe

Verbs: block_pattern, block_destination, enforce_life, outbound_only (nobody begins with it), inbound_only (it begins
nothing), quarantine; freeze_process and quarantine_file, on the machine of the enforcer. What is never acted upon is not, whoever asks; see docs/respond.md.";

/// `thymus contain`.
#[derive(Args, Clone, Debug)]
#[command(after_help = CONTAIN_EXAMPLES)]
pub struct ContainArgs {
    /// The state folder
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Whom it is about
    #[arg(value_name = "ADDRESS")]
    pub address: Option<IpAddr>,
    /// What is done
    #[arg(long, value_name = "VERB", default_value = "quarantine", value_parser = crate::respond::verb)]
    pub verb: Verb,
    /// Only towards this address
    #[arg(long, value_name = "ADDRESS")]
    pub to: Option<IpAddr>,
    /// A process of this machine, for freeze_process
    #[arg(long, value_name = "PID")]
    pub pid: Option<i32>,
    /// A file of this machine, for quarantine_file
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,
    /// Only this service of it, such as tcp/443
    #[arg(long, value_name = "SERVICE", value_parser = crate::respond::service)]
    pub port: Option<Port>,
    /// For how long: 30m, 2h, 1d
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = duration)]
    pub duration: Duration,
    /// Why, for the history
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub why: String,
    /// The incident it is about
    #[arg(long, value_name = "ID")]
    pub incident: Option<String>,
    /// Rehearse it, and do nothing
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// `thymus approve`, `deny`, `undo`, `extend` and `confirm`.
#[derive(Args, Clone, Debug)]
pub struct AnswerArgs {
    /// The state folder
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Which decisions, as `thymus decisions` names them: d7
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<DecisionId>,
    /// Why, for the history
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub why: String,
    /// How much longer from now on: 30m, 2h, 1d
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = duration)]
    pub more: Duration,
}

/// A number and a unit.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time; write 90s, 30m, 2h or 1d");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let unit = match text.strip_prefix(digits).unwrap_or_default() {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let secs = number.checked_mul(unit).filter(|secs| *secs > 0);
    secs.map(Duration::from_secs).ok_or_else(wrong)
}

const PANIC_EXAMPLES: &str = "\
It marks the state folder, removes the table of the packet filter itself, lets stopped processes go, gives files back, and
tells the enforcer: each alone is enough, and it works when nothing else does. Run it with the rights of the enforcer, usually as root.";

/// `thymus panic`.
#[derive(Args, Clone, Debug)]
#[command(after_help = PANIC_EXAMPLES)]
pub struct PanicArgs {
    /// The state folder
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Carry out decisions again
    #[arg(long)]
    pub resume: bool,
}

const LIFE_EXAMPLES: &str = "\
Examples:
  thymus life monday.pcap tuesday.pcap wednesday.pcap     each day held against the days before it
  thymus life logs/week-1/ --held logs/week-2/            the second held against the first
  thymus life --state DIR                                 what `thymus run --respond` has seen in the last seven days
  thymus life --state DIR --device 10.0.0.5               what it would have been cut off from

A pattern of life that is known well can be enforced on an attacked device (verb enforce_life) without harm. This
says of which devices that is so, before anything is enforced.

Exit codes: 0 every device within --limit, 1 some are not, 2 an error or nothing to judge.";

/// `thymus life`.
#[derive(Args, Clone, Debug)]
#[command(after_help = LIFE_EXAMPLES)]
pub struct LifeArgs {
    /// Captures and logs, or folders of them: what is learned
    #[arg(
        value_name = "PATH",
        required_unless_present = "state",
        conflicts_with = "state"
    )]
    pub paths: Vec<PathBuf>,
    /// Captures and logs that are held against it; without, each day is held against those before it
    #[arg(long, value_name = "PATH", num_args = 1.., conflicts_with = "state")]
    pub held: Vec<PathBuf>,
    /// The folder of a `thymus run --respond`
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// A network that counts as local; repeat for several. Without it they are found
    #[arg(long, value_name = "NETWORK")]
    pub local: Vec<ipnet::IpNet>,
    /// All about this one
    #[arg(long, value_name = "ADDRESS")]
    pub device: Option<IpAddr>,
    /// Percent of a device's conversations that may be cut for it to count as known well
    #[arg(long, value_name = "PERCENT", default_value_t = 0.1)]
    pub limit: f64,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// No progress
    #[arg(long, short)]
    pub quiet: bool,
}

const POLICY_EXAMPLES: &str = r#"A policy (TOML; every key has a default, and the default only simulates):
  mode = "simulate"              # who decides: simulate, approve (a person), act
  confidence = "high"            # how sure an incident has to be
  minutes = 60                   # how long an action holds
  confirm_seconds = 120          # taken back unless confirmed, by a person or by probes; 0: no confirmation
  probes = ["tcp://10.0.0.9:443"]
  never = ["10.0.0.0/28"]        # networks that are never acted upon
  responders = ["nftables"]      # what carries it out: nftables, bridge, reset, bouncers, freezer, quarantine; several
  never_processes = ["/usr/sbin/nginx"]    # programs that the freezer never stops
  file_roots = ["/srv/share"]    # where the responder quarantine may take files away
  [[rules]]                      # the first that fits says who decides
  mode = "act"
  networks = ["10.0.8.0/24"]
  verbs = ["block_pattern", "block_destination"]
  hours = { from = 18, to = 7 }  # UTC
  [caps]
  devices_share = 0.05           # of all devices at a time
  flows_share = 0.02             # of all usual conversations"#;

/// `thymus policy`.
#[derive(Args, Clone, Debug)]
#[command(after_help = POLICY_EXAMPLES)]
pub struct PolicyArgs {
    /// The file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The whole policy with its defaults, as JSON
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(duration("90s").unwrap(), Duration::from_secs(90));
        assert_eq!(duration("2h").unwrap(), Duration::from_hours(2));
        for wrong in ["", "90", "h", "0m", "1y", "99999999999999999999d", "-1h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
