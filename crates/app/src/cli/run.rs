//! `thymus run` on the command line.

use std::path::PathBuf;

use clap::Args;

use super::{OutputArgs, RunArgs};

const RUN_EXAMPLES: &str = "\
Examples:
  sudo thymus run --interface eth0 --state /var/lib/thymus
  thymus run --interface eth0 --json | jq 'select(.kind == \"incident\").title'
  thymus run --interface eth0 --record today.pcapng   then replay it: the same incidents

It goes on until Ctrl-C or SIGTERM, then saves the state and prints the report that replay prints. Each
incident is printed when it appears, and again when it changes. With --json that is one object a line, of
kind \"incident\", and last one of kind \"summary\".
To capture without root: sudo setcap cap_net_raw+ep $(command -v thymus)

Exit codes: 0 nothing to show, 1 something to show, 2 an error or nothing judged.";

/// `thymus run`.
#[derive(Args, Clone, Debug)]
#[command(after_help = RUN_EXAMPLES)]
pub struct LiveArgs {
    /// The interface to watch
    #[arg(long, short, value_name = "IF")]
    pub interface: String,
    /// Only packets from and to this machine, where the card can tell
    #[arg(long)]
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
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Disk for the recording, in MiB; the oldest half goes first
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..), requires = "record")]
    pub record_size: u32,
    /// Keep all the rights the program was started with; for finding faults only
    #[arg(long)]
    pub no_sandbox: bool,
    /// How the run goes
    #[command(flatten)]
    pub run: RunArgs,
    /// What comes out
    #[command(flatten)]
    pub output: OutputArgs,
}
