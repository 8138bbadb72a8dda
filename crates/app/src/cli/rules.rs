//! `thymus rules` as data.

use std::path::PathBuf;

use clap::{Args, Subcommand};

const EXAMPLES: &str = "\
Examples:
  thymus rules check own.yar                  does every rule compile
  thymus rules check rules/                   every *.yar and *.yara in a folder
  thymus scan --rules rules/ ~/Downloads      look for them

External variables: filename, filepath (the whole path), extension (lower case, with its dot).
`include` is refused: name the files.

Exit codes: 0 every rule compiles, 2 one does not, or an error.";

/// `thymus rules`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct RulesArgs {
    /// What to do
    #[command(subcommand)]
    pub action: RulesAction,
}

/// What can be done.
#[derive(Clone, Debug, Subcommand)]
pub enum RulesAction {
    /// Say whether YARA rules compile, with what is wrong and what is slow
    Check {
        /// Files of rules, or folders of *.yar and *.yara
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
}
