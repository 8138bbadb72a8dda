//! `thymus drill` on the command line.

use std::path::PathBuf;

use clap::Args;
use ipnet::IpNet;

const EXAMPLES: &str = "\
Examples:
  thymus drill --state /var/lib/thymus                     what would be found here, and how soon
  thymus drill --state ~/thymus --device 10.0.0.7 --json   of one device
  thymus drill --state ~/thymus --scenario beacon --scenario upload

Nothing is sent, and nothing is learned, stored or told to anybody: events that such an attack would have
made are mixed into the last hours of real events, and a copy of what was learned judges them. Each size is
tried on each device; the smallest one that is found says how large an attack must be to be seen here.

Exit codes: 0 done, 2 an error.";

/// `thymus drill`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one for each switch of the command line"
)]
pub struct DrillArgs {
    /// The folder in which a run keeps what it learned; the run may go on meanwhile
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Only this device (address, name or id); repeat for several
    #[arg(long, value_name = "DEVICE")]
    pub device: Vec<String>,
    /// At most so many devices, those known longest
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub devices: u32,
    /// Only this attack; repeat for several (see --list)
    #[arg(long, value_name = "ID")]
    pub scenario: Vec<String>,
    /// List the attacks and their sizes
    #[arg(long)]
    pub list: bool,
    /// Captures or logs to mix the attacks into, where the journal of a live run holds too little
    #[arg(long, value_name = "PATH")]
    pub background: Vec<PathBuf>,
    /// A network of yours; repeat for several. Without it those of the run that learned are taken
    #[arg(long, value_name = "NET")]
    pub local: Vec<IpNet>,
    /// Incidents shown per day for each hundred devices
    #[arg(long, value_name = "N", default_value_t = 5.0, value_parser = super::budget)]
    pub budget: f64,
    /// Do not keep what is found for the console
    #[arg(long)]
    pub no_keep: bool,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// No progress
    #[arg(long, short)]
    pub quiet: bool,
}
