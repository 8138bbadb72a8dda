//! `thymus packets` as data.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args};

const EXAMPLES: &str = "\
Examples:
  thymus packets --state DIR --incident 9cf6a7424bbdfb82 --output evidence.pcapng
  thymus packets --state DIR --host 10.0.0.7 --from 1h | tshark -r - -q -z conv,ip
  thymus packets --state DIR --host 10.0.0.7 --host 192.0.2.1 --port 443 --from 2026-11-23T10:00:00Z --to 2026-11-23T10:05:00Z -o a.pcapng

`thymus run --interface IF --state DIR` keeps the last packets, as many as fit in --keep-packets. Of an incident
it is what the device of each alert exchanged with the peers of that alert, from a minute before to a minute after.
The files in DIR/packets are pcapng too, which other tools read.

Exit codes: 0 written, 2 an error or no such packets.";

/// `thymus packets`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
#[command(group = ArgGroup::new("which").required(true).args(["incident", "host"]))]
pub struct PacketsArgs {
    /// The state folder
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Those behind this incident
    #[arg(long, value_name = "ID")]
    pub incident: Option<String>,
    /// Those from and to this address; with a second one and more, those between the first and any of these
    #[arg(long, value_name = "ADDR")]
    pub host: Vec<IpAddr>,
    /// Only with this port on either side
    #[arg(long, value_name = "PORT", requires = "host")]
    pub port: Option<u16>,
    /// Only from then on: 2026-01-31, 2026-01-31T08:00:00Z, or an age such as 36h or 7d
    #[arg(long, value_name = "WHEN", requires = "host")]
    pub from: Option<String>,
    /// Only before then
    #[arg(long, value_name = "WHEN", requires = "host")]
    pub to: Option<String>,
    /// Where to write them (pcapng) [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}
