//! `thymus run` on the command line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgGroup, Args, ValueEnum};
use thymus_ingest::Export;
use thymus_sensor::Filter;

use super::{KeepArgs, OutputArgs, RunArgs};
use crate::config::Settings;

const RUN_EXAMPLES: &str = "\
Examples:
  sudo thymus run --interface eth0 --state /var/lib/thymus --console
  thymus run --interface eth0 --json | jq 'select(.kind == \"incident\").title'
  thymus run --interface eth0 --record today.pcapng   then replay it: the same incidents
  thymus run --follow /opt/zeek/logs --follow /var/log/suricata --state ~/thymus   no root needed
  thymus run --collect netflow://0.0.0.0:2055 --collect syslog://0.0.0.0:5514      what routers and servers send
  thymus run --config /etc/thymus/thymus.toml         with settings from a file

It goes on until Ctrl-C or SIGTERM (a second one does not wait), then saves the state and prints the report
that replay prints. What dies of its processes on the way is started again. Each incident is
printed when it appears, and again when it changes. With --json that is one object a line, of kind \"incident\", and last one of kind \"summary\".
To capture without root: sudo setcap cap_net_raw+ep $(command -v thymus)

Exit codes: 0 nothing to show, 1 something to show, 2 an error or nothing judged.";

/// `thymus run`.
#[derive(Args, Clone, Debug)]
#[command(after_help = RUN_EXAMPLES)]
#[command(group = ArgGroup::new("source").required(true).args(["interface", "follow", "collect"]))]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one for each switch of the command line"
)]
pub struct LiveArgs {
    /// Settings in a file (TOML), which options win over; `thymus config --help` tells more
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The interface to watch
    #[arg(long, short, value_name = "IF")]
    pub interface: Option<String>,
    /// Watch logs of Zeek, Suricata or other tools while they are written: a folder or a file; repeat for several
    #[arg(long, short, value_name = "PATH")]
    pub follow: Vec<PathBuf>,
    /// Take what others send: netflow (v5, v9, IPFIX), sflow or syslog, as KIND://ADDRESS:PORT; repeat for several
    ///
    /// Without an address it is 127.0.0.1, without a port the usual one (2055, 6343, 514). Syslog comes in
    /// datagrams and over connections.
    #[arg(long, short, value_name = "URL")]
    pub collect: Vec<CollectOn>,
    /// Of logs that are there already, read only what is added from now on
    #[arg(long, requires = "follow")]
    pub only_new: bool,
    /// Only packets from and to this machine, where the card can tell
    #[arg(long, requires = "interface")]
    pub no_promiscuous: bool,
    /// Only these packets, in the words of tcpdump: 'not (host 10.0.0.9 and tcp port 9100)'; others are a blind spot
    #[arg(long, value_name = "EXPR", requires = "interface")]
    pub filter: Option<Filter>,
    /// Memory for packets that wait for the analysis, in MiB: so much in the kernel, and as much again here
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub buffer: u32,
    /// Sockets that capture, each filled by other cores (PACKET_FANOUT); they share the memory in the kernel. More than
    /// one helps where a card spreads its packets over cores and kernel_ring_full is counted
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64), requires = "interface")]
    pub capture_sockets: u8,
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
    /// Disk for raw packets in the state folder, in MiB, for evidence; the oldest go first, 0 keeps none
    #[arg(long, value_name = "MIB", default_value_t = 1024, requires = "state")]
    pub keep_packets: u32,
    /// Also serve the console, of which `thymus console --help` tells
    #[arg(long, value_name = "ADDR:PORT", num_args = 0..=1, default_missing_value = "127.0.0.1:8642", requires = "state")]
    pub console: Option<SocketAddr>,
    /// A name the console is reached by, beside addresses and localhost; repeat for several
    #[arg(long, value_name = "NAME", requires = "console")]
    pub console_host: Vec<String>,
    /// The console's certificate (PEM), where it is not to make its own
    #[arg(long, value_name = "FILE", requires_all = ["console", "console_tls_key"])]
    pub console_tls_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE", requires = "console_tls_cert")]
    pub console_tls_key: Option<PathBuf>,
    /// Where incidents are told, and how, of which `thymus tell --help` tells; repeat for several
    #[arg(long = "output", value_name = "URL", requires = "state")]
    pub outputs: Vec<String>,
    /// Where people reach the console: links by which they answer decisions begin with it
    #[arg(long, value_name = "URL", requires = "outputs", value_parser = super::tell::console_url)]
    pub console_url: Option<String>,
    /// How much the console keeps
    #[command(flatten)]
    pub keep: KeepArgs,
    /// Decide what is to be done about incidents, by this policy (TOML); see `thymus policy --help`
    #[arg(long, value_name = "POLICY", requires = "state")]
    pub respond: Option<PathBuf>,
    /// Keep all the rights the program was started with; for finding faults only
    #[arg(long)]
    pub no_sandbox: bool,
    /// Which of the processes this is
    #[arg(long, hide = true)]
    pub role: Option<Role>,
    /// How often this process was started before
    #[arg(long, hide = true, default_value_t = 0)]
    pub restarts: u64,
    /// The one before it made room for it, and finished what it wrote
    #[arg(long, hide = true)]
    pub goes_on: bool,
    /// Who started it, and is not to be outlived
    #[arg(long, hide = true)]
    pub parent: Option<i32>,
    /// How the run goes
    #[command(flatten)]
    pub run: RunArgs,
    /// What comes out
    #[command(flatten)]
    pub output: OutputArgs,
    /// All of it, with where it comes from
    #[arg(skip)]
    pub(crate) settings: Option<Settings>,
}

impl LiveArgs {
    /// Whether there is a file to read settings from again.
    pub(crate) fn has_file(&self) -> bool {
        let settings = self.settings.as_ref();
        settings.is_some_and(|settings| settings.file().is_some())
    }
}

/// What a process of a live run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// It passes packets on.
    Capture,
    /// It makes events of them, and judges.
    Analysis,
    /// It shows what was found; a command of its own.
    #[value(skip)]
    Console,
    /// It tells others what was found; a command of its own.
    #[value(skip)]
    Teller,
    /// It carries decisions out; a command of its own.
    #[value(skip)]
    Enforcer,
}

impl Role {
    /// The word on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Analysis => "analysis",
            Self::Console => "console",
            Self::Teller => "teller",
            Self::Enforcer => "enforcer",
        }
    }
}

/// An address to take exports at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CollectOn {
    /// What comes there.
    pub export: Export,
    /// Where.
    pub address: SocketAddr,
}

impl FromStr for CollectOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, place) = text.split_once("://").unwrap_or((text, ""));
        let export: Export = kind.parse()?;
        let place = place.trim_end_matches('/');
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let address = match place.strip_prefix(':') {
            _ if place.is_empty() => Some(SocketAddr::new(loopback, export.usual_port())),
            Some(port) => port
                .parse()
                .ok()
                .map(|port| SocketAddr::new(loopback, port)),
            None => place.parse().ok().or_else(|| {
                let bare = place.trim_start_matches('[').trim_end_matches(']');
                let addr: IpAddr = bare.parse().ok()?;
                Some(SocketAddr::new(addr, export.usual_port()))
            }),
        };
        let address = address.filter(|address| address.port() != 0);
        let address = address.ok_or_else(|| {
            format!("{place} is no address with a port; write {kind}://192.0.2.1:2055")
        })?;
        Ok(Self { export, address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_the_usual_port_are_meant_where_nothing_is_said() {
        let on = |text: &str| {
            let on: CollectOn = text.parse().unwrap();
            format!("{} {}", on.export.as_str(), on.address)
        };
        assert_eq!(on("netflow"), "netflow 127.0.0.1:2055");
        assert_eq!(on("ipfix://:4739"), "netflow 127.0.0.1:4739");
        assert_eq!(on("sflow://0.0.0.0"), "sflow 0.0.0.0:6343");
        assert_eq!(on("syslog://[::]:5514/"), "syslog [::]:5514");
        assert_eq!(on("syslog://[::1]"), "syslog [::1]:514");
        for wrong in [
            "",
            "http://0.0.0.0:80",
            "netflow://router:2055",
            "sflow://0.0.0.0:0",
        ] {
            assert!(wrong.parse::<CollectOn>().is_err(), "{wrong}");
        }
    }
}
