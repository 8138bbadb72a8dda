//! `thymus lists` as data.

use std::path::PathBuf;

use clap::{Args, Subcommand};

const EXAMPLES: &str = "\
Examples:
  thymus lists check lists.toml               is every entry understood, and which have expired
  thymus lists test --lists lists.toml ~/Downloads
                                              which entry names which file or member
  thymus scan --lists lists.toml ~/Downloads  heed them

An entry of the file (TOML 1.0); each needs these five keys:
  [[allow]]                     # or [[block]], which outweighs it
  sha256 = \"64 hexadecimal digits\"    # or path = \"/srv/*.pdf\", or member = \"*/setup.exe\",
                                # or signer = \"SHA-256 of a certificate\", with subject = \"Example Ltd\"
  scope = \"/srv\"                # acts in this folder; / is everywhere
  owner = \"ann@example.org\"
  reason = \"our own forms, ticket 4711\"
  expires = 2027-01-31          # its last day, UTC

A signer is the certificate of who signed a Windows program, or of one that vouches for it; subject, which
may be left out, is the signer's common name or organisation. `thymus scan -v PROGRAM` tells them.

Exit codes of check: 0 all acts, 1 something has expired, 2 an error in the file.
Exit codes of test: 0 no entry names anything, 1 one does, 2 an error.";

/// `thymus lists`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ListsArgs {
    /// What to do
    #[command(subcommand)]
    pub action: ListsAction,
}

/// What can be done.
#[derive(Clone, Debug, Subcommand)]
pub enum ListsAction {
    /// Say whether lists are understood, and what in them has expired
    Check {
        /// The lists
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Say which entry names a file or what is in it, and why one for a signer does not
    Test(ListsTestArgs),
}

/// `thymus lists test`.
#[derive(Args, Clone, Debug)]
pub struct ListsTestArgs {
    /// Files or folders
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The lists [default: thymus/lists.toml in $XDG_CONFIG_HOME or ~/.config]
    #[arg(long, value_name = "FILE")]
    pub lists: Option<PathBuf>,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}
