//! `thymus run` on the command line.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};

use super::{OutputArgs, RunArgs};

const RUN_EXAMPLES: &str = "\
Examples:
  sudo thymus run --interface eth0 --state /var/lib/thymus
  thymus run --interface eth0 --json | jq 'select(.kind == \"incident\").title'
  thymus run --interface eth0 --record today.pcapng   then replay it: the same incidents
  thymus run --follow /opt/zeek/logs --follow /var/log/suricata --state ~/thymus   no root needed

It goes on until Ctrl-C or SIGTERM (a second one does not wait), then saves the state and prints the report
that replay prints. What dies of its processes on the way is started again. Each incident is
printed when it appears, and again when it changes. With --json that is one object a line, of kind \"incident\", and last one of kind \"summary\".
To capture without root: sudo setcap cap_net_raw+ep $(command -v thymus)

Exit codes: 0 nothing to show, 1 something to show, 2 an error or nothing judged.";

/// `thymus run`.
#[derive(Args, Clone, Debug)]
#[command(after_help = RUN_EXAMPLES)]
#[command(group = ArgGroup::new("source").required(true).args(["interface", "follow"]))]
pub struct LiveArgs {
    /// The interface to watch
    #[arg(long, short, value_name = "IF")]
    pub interface: Option<String>,
    /// Watch logs of Zeek, Suricata or other tools while they are written: a folder or a file; repeat for several
    #[arg(long, short, value_name = "PATH")]
    pub follow: Vec<PathBuf>,
    /// Of logs that are there already, read only what is added from now on
    #[arg(long, requires = "follow")]
    pub only_new: bool,
    /// Only packets from and to this machine, where the card can tell
    #[arg(long, requires = "interface")]
    pub no_promiscuous: bool,
    /// Memory for packets that wait for the analysis, in MiB: so much in the kernel, and as much again here
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub buffer: u32,
    /// Save what was learned every so many minutes, with --state
    #[arg(long, value_name = "MINUTES", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1440), requires = "state")]
    pub save_every: u32,
    /// End after so many seconds
    #[arg(long, value_name = "SECS")]
    pub stop_after: Option<u64>,
    /// Also write the packets that were analysed to this file (pcapng)
    #[arg(long, value_name = "FILE", requires = "interface")]
    pub record: Option<PathBuf>,
    /// Disk for the recording, in MiB; the oldest half goes first
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..), requires = "record")]
    pub record_size: u32,
    /// Keep all the rights the program was started with; for finding faults only
    #[arg(long)]
    pub no_sandbox: bool,
    /// Which of the processes this is
    #[arg(long, hide = true)]
    pub role: Option<Role>,
    /// How often this process was started before
    #[arg(long, hide = true, default_value_t = 0)]
    pub restarts: u64,
    /// Who started it, and is not to be outlived
    #[arg(long, hide = true)]
    pub parent: Option<i32>,
    /// How the run goes
    #[command(flatten)]
    pub run: RunArgs,
    /// What comes out
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What a process of a live run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// It passes packets on.
    Capture,
    /// It makes events of them, and judges.
    Analysis,
}

impl Role {
    /// The word on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Analysis => "analysis",
        }
    }
}
