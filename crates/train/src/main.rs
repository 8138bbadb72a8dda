//! `thymus-train`: gathers corpora, trains the networks that ship in `thymus-nets` and writes their
//! model cards. Deterministic: the same inputs give the same bytes.

#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    reason = "the safetensors crate takes its metadata as a HashMap"
)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal"
)]

mod attack;
mod corpus;
mod files;
mod language;
mod lists;
mod measure;
mod name_models;
mod random_name;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Trains the networks that ship in thymus-nets.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Change malicious test files as attackers do, in memory, and count what is still found.
    ///
    /// Example: thymus-train attack --pack DATA/whole --key DATA/pack.key --only pdf
    Attack(attack::Arguments),
    /// Gather, audit and pack the corpora of the file networks.
    #[command(subcommand)]
    Corpus(corpus::Command),
    /// Train a network that judges files by their raw bytes.
    ///
    /// Example: thymus-train files --pack DATA/pack --key DATA/pack.key --group program --out file_program.safetensors
    Files(Box<files::Arguments>),
    /// Train the model that tells which script language a text is in.
    ///
    /// Example: thymus-train languages --pack DATA/scripts --key DATA/pack.key --others /usr/include --others
    /// /usr/share/doc --out language.safetensors
    Languages(language::Arguments),
    /// Train the network that tells machine-made names from names people chose.
    ///
    /// Example: thymus-train random-name --lists dga --out random_name.safetensors
    RandomName {
        /// Folder with benign/{train,tune,test}/*.txt and malicious/{train,tune,test}/*.txt, as
        /// eval/dga-lists makes it.
        #[arg(long)]
        lists: PathBuf,
        /// Model file to write; the model card is inside.
        #[arg(long)]
        out: PathBuf,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Attack(arguments) => attack::run(&arguments),
        Command::Corpus(command) => corpus::run(command),
        Command::Files(arguments) => files::run(&arguments),
        Command::Languages(arguments) => language::run(&arguments),
        Command::RandomName { lists, out } => random_name::run(&lists, &out),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
