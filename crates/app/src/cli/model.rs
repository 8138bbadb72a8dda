//! `thymus model` as data.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::jobs;

const EXAMPLES: &str = "\
Examples:
  thymus model list                                   networks, types, versions, and where they come from
  thymus model card file_program                      data, figures and limits of one
  thymus model calibrate /srv/share --out mine.toml   what is rare among files you know to be harmless
  thymus scan --calibration mine.toml /srv/uploads    heed it

A model of your own, as `thymus-train files` writes it:
  thymus model keygen --out team                      team.key to sign with, team.pub to give away
  thymus model sign file_script.safetensors --key team.key
  thymus model trust team.pub                         on each machine, once
  thymus model verify file_script.safetensors         whose is it, and is it whole
  thymus model install file_script.safetensors        in shadow: it judges nothing yet
  thymus model shadow file_script /usr /srv           what would it say of the files of this machine
  thymus model activate file_script
  thymus scan ~/Downloads                             judges with it
  thymus model remove file_script                     judge with the embedded one again

Keys and signatures are minisign's, so `minisign -S` signs as well. An installed model takes the place of the
embedded one of its name, and is loaded only when a trusted key signed it: one that was changed ends the scan
with an error.
Calibrating raises what a verdict needs where your harmless files look worse than those that the networks were
tried on; it never lowers it. A type needs 100 different files.

A shadow run judges files that are taken to be harmless with the model in use and with the new one, and fails
when the new one calls so many of them bad that its promise can hardly be kept. Changes are named, so leave out
(--exclude) what turns out to be bad indeed. A model acts once it passed over 1,000 different files.

Exit codes: 0 done, 1 of list: an installed model is refused, of shadow: it did not pass, 2 an error.";

/// `thymus model`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ModelArgs {
    /// What to do
    #[command(subcommand)]
    pub command: ModelCommand,
    /// The folder of installed models [default: thymus/models in $XDG_DATA_HOME or ~/.local/share; without
    /// the one of yours, and for root, /var/lib/thymus/models]
    #[arg(long, global = true, value_name = "DIR")]
    pub models: Option<PathBuf>,
}

/// What to do with the networks.
#[derive(Clone, Debug, Subcommand)]
pub enum ModelCommand {
    /// List the networks that judge files: those in use, those replaced, those that wait
    List {
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Print the model card of a network in use: its data, figures and limits
    Card {
        /// Its name, or the beginning of it
        name: String,
    },
    /// Judge files known to be harmless, and write down what is rare among them
    Calibrate {
        /// Files or folders
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// File to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Files looked at at the same time
        #[arg(long, short, value_name = "N", default_value_t = 2, value_parser = jobs)]
        jobs: usize,
    },
    /// Make a pair of keys: one to sign models with, one to check them
    Keygen {
        /// Beginning of the names of both files: NAME.key and NAME.pub, which must not be there yet
        #[arg(long, value_name = "NAME", default_value = "thymus-model")]
        out: PathBuf,
        /// Lock the secret key with the first line of this file instead of asking for a password
        #[arg(long, value_name = "FILE", conflicts_with = "no_password")]
        password_file: Option<PathBuf>,
        /// Do not lock the secret key: whoever reads it can sign
        #[arg(long)]
        no_password: bool,
    },
    /// Sign a model file; the signature is written beside it
    Sign {
        /// The model
        #[arg(value_name = "MODEL")]
        model: PathBuf,
        /// The secret key, of `keygen` or of `minisign -G`
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Take the key's password from the first line of this file
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Say who signed a model file and whether it is whole
    Verify {
        /// The model; its signature is beside it
        #[arg(value_name = "MODEL")]
        model: PathBuf,
        /// Check against this public key, a file or its text, instead of those that are trusted
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Trust models that a key signed; without a key, list those that are trusted
    Trust {
        /// The public key: a file, or its text (RW…)
        #[arg(value_name = "KEY")]
        key: Option<String>,
    },
    /// Trust a key no more: models that it signed are refused from now on
    Distrust {
        /// Its number, as `trust` lists it
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Install a signed model: in shadow, or, when it passed a shadow run, in the place of the one of its name
    Install {
        /// The model; its signature is beside it
        #[arg(value_name = "MODEL")]
        model: PathBuf,
    },
    /// Judge files with a new model beside the one in use, and say what would change
    Shadow(ShadowArgs),
    /// Let an installed model judge that passed a shadow run over at least 1,000 different files
    Activate {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
        /// Without such a run, for this reason, which is noted
        #[arg(long, value_name = "REASON")]
        anyway: Option<String>,
    },
    /// Remove an installed model; the embedded one of its name judges again
    Remove {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// `thymus model shadow`.
#[derive(Args, Clone, Debug)]
pub struct ShadowArgs {
    /// Name of an installed model, of which the version that waits is taken, or a signed file
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// Files or folders, taken to be harmless
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Leave out what matches, as in a .gitignore; repeat for several
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// Files looked at at the same time
    #[arg(long, short, value_name = "N", default_value_t = 2, value_parser = jobs)]
    pub jobs: usize,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// No progress
    #[arg(long, short)]
    pub quiet: bool,
}
