//! `thymus tell` and `thymus export` on the command line.

use std::path::PathBuf;

use clap::Args;
use thymus_outputs::FORMATS;

const TELL_EXAMPLES: &str = "\
Examples:
  thymus tell --state DIR --output 'file:///var/log/thymus.jsonl?format=ecs'
  thymus tell --state DIR --output 'syslog+tls://siem.example.org:6514?format=cef&ca=/etc/ssl/siem.pem'
  thymus tell --state DIR --output 'https://hook.example.org/thymus?secret-file=/etc/thymus/hook.secret&min=medium'
  thymus tell --state DIR --output 'smtp://mail.example.org?from=thymus@example.org&to=soc@example.org&min=high'

It reads what `thymus run --state` writes to the same folder, and can be started and ended at any time; `thymus run
--output` starts it. What a receiver does not take waits on the disk, in DIR/outputs.";

/// `thymus tell`.
#[derive(Args, Clone, Debug)]
#[command(after_help = TELL_EXAMPLES)]
pub struct TellArgs {
    /// The folder that `thymus run --state` writes to
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Where incidents are told, and how; repeat for several
    #[arg(long = "output", value_name = "URL", required = true)]
    pub outputs: Vec<String>,
    /// Where people reach the console: links by which they answer decisions begin with it
    #[arg(long, value_name = "URL", value_parser = console_url)]
    pub console_url: Option<String>,
    /// Tell what is there, and end
    #[arg(long)]
    pub once: bool,
    /// Keep all the rights the program was started with; for finding faults only
    #[arg(long)]
    pub no_sandbox: bool,
    /// Who started it, and is not to be outlived
    #[arg(long, hide = true)]
    pub parent: Option<i32>,
}

/// An address that a browser opens, and nothing behind its path.
pub(crate) fn console_url(text: &str) -> Result<String, String> {
    let rest = ["https://", "http://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let is_one = rest.is_some_and(|rest| {
        !rest.is_empty()
            && !rest.starts_with('/')
            && rest
                .chars()
                .all(|c| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '"' | '<' | '>' | '@'))
    });
    if is_one {
        Ok(text.to_owned())
    } else {
        Err("write https://thymus.example.org:8642".to_owned())
    }
}

const EXPORT_EXAMPLES: &str = "\
Examples:
  thymus export --state DIR --format stix dde4e9340f7e9e79 > incident.json
  thymus export --state DIR --format navigator > layer.json        the techniques of all incidents that are shown
  thymus replay --json capture.pcap | thymus export --format ocsf --alerts -
  thymus demo --json | thymus export --format cef -

Exit codes: 0 written, 2 an error.";

/// `thymus export`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXPORT_EXAMPLES)]
pub struct ExportArgs {
    /// Ids of incidents [default: all that are shown]; `-` reads the report of `thymus replay --json`
    #[arg(value_name = "INCIDENT")]
    pub incidents: Vec<String>,
    /// The folder that `thymus run --state` writes to
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// How they are written
    #[arg(long, value_name = "FORMAT", value_parser = formats())]
    pub format: String,
    /// Also the alerts of incidents, where the format has something for them
    #[arg(long)]
    pub alerts: bool,
}

fn formats() -> clap::builder::PossibleValuesParser {
    let each = FORMATS.iter();
    each.map(|format| clap::builder::PossibleValue::new(format.id).help(format.about))
        .collect::<Vec<_>>()
        .into()
}
