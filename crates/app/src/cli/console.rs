//! `thymus console`, `user`, `token` and `audit` on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

const CONSOLE_EXAMPLES: &str = "\
Examples:
  thymus console --state ~/.thymus                     http://127.0.0.1:8642, on this machine only
  thymus console --state DIR --listen 0.0.0.0:8642     with TLS, by a certificate made at the first start
  thymus console --state DIR --listen 0.0.0.0:443 --host thymus.corp --tls-cert c.pem --tls-key k.pem

At the first start it prints a link with a token, by which the first admin is made. It shows what `thymus run
--state` writes to the same folder, and can be started and ended at any time.";

/// How much of what was seen the console keeps.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepArgs {
    /// Disk for events that the console keeps, in MiB; the oldest go first
    #[arg(long, value_name = "MIB", default_value_t = 20_480, value_parser = clap::value_parser!(u64).range(64..=1 << 30))]
    pub keep_events: u64,
    /// Days that the console keeps events
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub keep_event_days: u32,
    /// Days that it keeps all else, but what people wrote and the incidents that is about
    #[arg(long, value_name = "DAYS", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub keep_incident_days: u32,
}

impl KeepArgs {
    /// The same on the command line.
    pub(crate) fn words(&self) -> [String; 3] {
        let Self {
            keep_events,
            keep_event_days,
            keep_incident_days,
        } = self;
        [
            format!("--keep-events={keep_events}"),
            format!("--keep-event-days={keep_event_days}"),
            format!("--keep-incident-days={keep_incident_days}"),
        ]
    }
}

/// `thymus console`.
#[derive(Args, Clone, Debug)]
#[command(after_help = CONSOLE_EXAMPLES)]
pub struct ConsoleArgs {
    /// The folder that `thymus run --state` writes to
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Where to listen; anything but this machine takes TLS
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8642")]
    pub listen: SocketAddr,
    /// A name it is reached by, beside addresses and localhost; repeat for several
    #[arg(long, value_name = "NAME")]
    pub host: Vec<String>,
    /// A certificate of your own (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// How much is kept
    #[command(flatten)]
    pub keep: KeepArgs,
    /// Keep all the rights the program was started with; for finding faults only
    #[arg(long)]
    pub no_sandbox: bool,
    /// Who started it, and is not to be outlived
    #[arg(long, hide = true)]
    pub parent: Option<i32>,
}

/// A role in the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConsoleRole {
    /// Looks
    Viewer,
    /// Also works on cases, hunts, takes packets
    Analyst,
    /// Also users, tokens, settings, the audit log
    Admin,
}

/// `thymus user`.
#[derive(Args, Clone, Debug)]
pub struct UserArgs {
    /// The state folder
    #[arg(long, value_name = "DIR", global = true)]
    pub state: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub action: UserAction,
}

/// What to do with users.
#[derive(Clone, Debug, Subcommand)]
pub enum UserAction {
    /// Add one; the password is read from standard input
    Add {
        /// The name
        name: String,
        /// What they may do
        #[arg(long, value_enum)]
        role: ConsoleRole,
    },
    /// List them
    List,
    /// Give one a new password, read from standard input; their sessions end
    Passwd {
        /// The name
        name: String,
    },
    /// Remove one; what they wrote stays
    Remove {
        /// The name
        name: String,
    },
}

/// `thymus token`.
#[derive(Args, Clone, Debug)]
pub struct TokenArgs {
    /// The state folder
    #[arg(long, value_name = "DIR", global = true)]
    pub state: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub action: TokenAction,
}

/// What to do with tokens.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenAction {
    /// Make one, and print its secret this once
    Add {
        /// What it is for
        name: String,
        /// What it may do
        #[arg(long, value_enum)]
        role: ConsoleRole,
        /// Good for so many days; for good without
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: Option<u32>,
    },
    /// List them
    List,
    /// Take one away
    Remove {
        /// Its id
        id: String,
    },
}

const BOUNCER_EXAMPLES: &str = "\
Examples:
  thymus bouncer --state DIR add edge-firewall     print a key, for api_key in its configuration
  thymus bouncer --state DIR list                  who asks, when last, and what they are told

Bouncers made for CrowdSec ask the console as they would ask its local API: api_url is the console's address.";

/// `thymus bouncer`.
#[derive(Args, Clone, Debug)]
#[command(after_help = BOUNCER_EXAMPLES)]
pub struct BouncerArgs {
    /// The state folder
    #[arg(long, value_name = "DIR", global = true)]
    pub state: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub action: BouncerAction,
}

/// What to do with bouncers.
#[derive(Clone, Debug, Subcommand)]
pub enum BouncerAction {
    /// Make a key for one, and print it this once
    Add {
        /// Its name
        name: String,
    },
    /// List them, who asked with a wrong key, and what they are told
    List,
    /// Take a key away
    Remove {
        /// Its name
        name: String,
    },
}

/// `thymus audit`.
#[derive(Args, Clone, Debug)]
pub struct AuditArgs {
    /// The state folder
    #[arg(long, value_name = "DIR", global = true)]
    pub state: Option<PathBuf>,
    /// What to do; without it the log is printed
    #[command(subcommand)]
    pub action: Option<AuditAction>,
}

/// What to do with the audit log.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum AuditAction {
    /// Check that it is as it was written, and print its last hash
    Verify,
}
