//! The command line of Thymus: it wires sources, detection, analyst and reports together.
//!
//! Results go to standard output, progress and remarks to standard error. The exit code says what
//! was found: 0 nothing to show, 1 something to show, 2 an error.
//!
//! Must not: judge, parse packets, or let a clock reach a result. Timings are printed only when
//! asked for, and on standard error.
//!
//! Reading order: the command line ([`cli`]), the run from paths to a report ([`pipeline`]), the
//! reports ([`output`]), then the commands.

#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the one crate that talks to people"
)]

pub mod cli;
mod config;
mod console;

pub mod pipeline;

pub mod output;

mod backup;
mod bench;
mod carved;
mod catalogue;
mod demo;
mod drill;
pub mod evaluate;
mod lists;
mod model;
mod packets;
mod quarantine;
mod query;
mod replay;
mod respond;
mod rules;
mod run;
mod scan;
mod serve;
mod tell;

use std::process::ExitCode;

use crate::cli::{Cli, Command};

/// What a command found, which becomes the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing a person must see.
    Nothing,
    /// Something.
    Something,
    /// What there was could not be looked at, and why has been said.
    Trouble,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    match config::command_line().and_then(|cli| run(&cli)) {
        Ok(Found::Nothing) => ExitCode::SUCCESS,
        Ok(Found::Something) => ExitCode::from(1),
        Ok(Found::Trouble) => ExitCode::from(2),
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("thymus: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs one command.
///
/// # Errors
/// When the command could not do its work; the message names the input and the remedy.
pub fn run(cli: &Cli) -> anyhow::Result<Found> {
    match &cli.command {
        Command::Replay(args) => replay::run(args),
        Command::Run(args) => run::run(args),
        Command::Reload(args) => run::reload(args),
        Command::Config(args) => config::run(args),
        Command::Console(args) => serve::run(args),
        Command::User(args) => serve::accounts::user(args),
        Command::Token(args) => serve::accounts::token(args),
        Command::Bouncer(args) => serve::bouncers::bouncer(args),
        Command::Audit(args) => serve::accounts::audit(args),
        Command::Tell(args) => tell::run(args),
        Command::Export(args) => tell::export::run(args),
        Command::Decisions(args) => respond::decisions(args),
        Command::Contain(args) => respond::contain(args),
        Command::Life(args) => respond::life(args),
        Command::Approve(args) => respond::answer(args, respond::approve),
        Command::Deny(args) => respond::answer(args, respond::deny),
        Command::Undo(args) => respond::answer(args, respond::undo),
        Command::Extend(args) => respond::answer(args, respond::extend),
        Command::Confirm(args) => respond::answer(args, respond::confirm),
        Command::Panic(args) => respond::panic(args),
        Command::Policy(args) => respond::policy(args),
        Command::Enforce(args) => respond::enforce(args),
        Command::Query(args) => query::run(args),
        Command::Packets(args) => packets::run(args),
        Command::Backup(args) => backup::take(args),
        Command::Restore(args) => backup::give(args),
        Command::Scan(args) => scan::run(args),
        Command::Quarantine(args) => quarantine::run(args),
        Command::Lists(args) => lists::run(args),
        Command::Rules(args) => rules::run(args),
        Command::ResponseDoor(args) => respond::door(args),
        Command::ResponseFreezer(args) => respond::freezer(args),
        Command::ScanWorker => scan::worker::serve(),
        Command::Model(args) => model::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Drill(args) => drill::run(args),
        Command::Eval(args) => evaluate::run(args),
        Command::Bench(args) => bench::run(args),
        Command::List(args) => catalogue::list(args),
        Command::Explain(args) => catalogue::explain(args),
        Command::Completions(args) => {
            cli::completions(args.shell);
            Ok(Found::Nothing)
        }
    }
}

/// Whether the reader of our output went away (`thymus … | head`), which is not our error.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let kind = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<std::io::Error>());
    kind.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
