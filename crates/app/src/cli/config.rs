//! `thymus config` and `thymus reload` on the command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

const CONFIG_EXAMPLES: &str = "\
Examples:
  thymus config check /etc/thymus/thymus.toml      is all of it understood, and can it be used
  thymus config show /etc/thymus/thymus.toml       every setting, with where it comes from
  thymus config show thymus.toml -- --interface eth0 --budget 3
                                                   as a run with these options takes it

A file is TOML. Its keys are options of `thymus run` without their dashes; the command line wins:
  interface = \"eth0\"
  state = \"/var/lib/thymus\"                # a path without a folder is beside the file
  local = [\"192.0.2.0/24\", \"2001:db8::/32\"]
  budget = 3
  console = \"127.0.0.1:8642\"

Exit codes of check: 0 it can be used, 1 it cannot, and why was said.";

/// `thymus config`.
#[derive(Args, Clone, Debug)]
#[command(after_help = CONFIG_EXAMPLES)]
pub struct ConfigArgs {
    /// What to do
    #[command(subcommand)]
    pub action: ConfigAction,
}

/// What can be done.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigAction {
    /// Say whether a file is understood, and what it names can be used
    Check {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Options of the run that it is for
        #[arg(last = true, value_name = "OPTION")]
        options: Vec<OsString>,
    },
    /// Print every setting with its origin, and when a change of it takes effect
    Show {
        /// The file; without it, what is so when nobody says anything
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Print one JSON object instead of text
        #[arg(long)]
        json: bool,
        /// Options of the run that it is for
        #[arg(last = true, value_name = "OPTION")]
        options: Vec<OsString>,
    },
}

const RELOAD_EXAMPLES: &str = "\
Examples:
  thymus reload --state /var/lib/thymus/eth0     systemctl reload thymus@eth0 does this

What changed is taken over without losing a packet or an event; what needs a restart is named and stays as it
is. When something is wrong in the file, nothing changes.

Exit codes: 0 it was read, 2 nothing was taken over, and why was said.";

/// `thymus reload`.
#[derive(Args, Clone, Debug)]
#[command(after_help = RELOAD_EXAMPLES)]
pub struct ReloadArgs {
    /// The state folder of the run
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
}
