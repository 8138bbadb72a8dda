//! `thymus backup` and `thymus restore` as data.

use std::path::PathBuf;

use clap::Args;

const EXAMPLES: &str = "\
Examples:
  thymus backup --state /var/lib/thymus /backup/monday.thymus   also while it runs
  thymus restore --check /backup/monday.thymus                  is it whole?
  thymus restore /backup/monday.thymus --state /var/lib/thymus  into an empty folder

One file holds what was learned, the journal, the database and the events; raw packets only with --packets.
It is a tar archive, compressed with zstd, with a digest of every file. Only you may read it: it holds what
was seen, and the digests of passwords. Nothing is ever overwritten, and a backup is checked to its end
before anything is put in its place.

Exit codes: 0 done, 2 an error.";

/// `thymus backup`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct BackupArgs {
    /// The file to write
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The state folder
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Raw packets too
    #[arg(long)]
    pub packets: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `thymus restore`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct RestoreArgs {
    /// The backup
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The state folder, which must be empty or not there
    #[arg(long, value_name = "DIR", required_unless_present = "check")]
    pub state: Option<PathBuf>,
    /// Read it to its end and say whether it is whole; write nothing
    #[arg(long, conflicts_with = "state")]
    pub check: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
