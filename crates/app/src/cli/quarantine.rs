//! `thymus quarantine` as data.

use std::path::PathBuf;

use clap::{Args, Subcommand};

const EXAMPLES: &str = "\
Examples:
  thymus quarantine add invoice.docm          seal a copy, then remove the original
  thymus quarantine list                      what is kept, since when and why
  thymus quarantine restore 3fa2c51b09de-1    put it back where it was, as it was
  thymus quarantine restore 3fa2c51b09de-1 --to /tmp/look.bin
  thymus quarantine delete 3fa2c51b09de-1     for good
  thymus scan --quarantine ~/Downloads        keep whatever is malicious

What is kept is encrypted (XChaCha20-Poly1305), with a key beside it in a folder that only you may enter:
that keeps programs and thumbs off, not whoever reads the folder. The original goes only when its copy is
on disk for good, and only if it is the very file that was read. Nothing is ever overwritten.

Exit codes: 0 done, 2 an error.";

/// `thymus quarantine`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct QuarantineArgs {
    /// What to do
    #[command(subcommand)]
    pub action: QuarantineAction,
    /// The folder things are kept in [default: thymus/quarantine in $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, global = true, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Print one JSON object a line
    #[arg(long, global = true)]
    pub json: bool,
}

/// What can be done.
#[derive(Clone, Debug, Subcommand)]
pub enum QuarantineAction {
    /// Keep files, and remove them where they are
    Add {
        /// Files; of one with several names the others stay
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// List what is kept
    List,
    /// Put files back, with their rights and times
    Restore {
        /// What `list` calls them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// Put it here instead of where it was
        #[arg(long, value_name = "PATH")]
        to: Option<PathBuf>,
    },
    /// Delete files for good
    Delete {
        /// What `list` calls them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}
