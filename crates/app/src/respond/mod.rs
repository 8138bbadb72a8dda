//! The response as processes and commands: the planner beside the analysis, the enforcer, and who talks to it.
//!
//! ```text
//! analysis ── proposals.jsonl ──► enforcer ──► packet filter
//!                                  ▲   └────► decisions.jnl ──► console, `thymus decisions`
//!  console ── door ──┬─► control ──┘
//!  `thymus approve` ─┘   (socket)
//!                          enforcer ── pipes ──► freezer ──► processes
//! ```
//! All of it lies in the folder `response` of the state folder. The analysis can open no connection, so what it
//! proposes goes through a file that the enforcer follows; nothing comes back.

mod bans;
mod commands;
mod contain;
mod control;
mod demo;
mod door;
mod enforce;
mod freezer;
mod host;
mod kept;
mod learned;
mod life;
mod planner;
mod policy;
mod probe;
mod read;
mod vault;
mod wire;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;

pub(crate) use bans::bans;
pub(crate) use commands::{answer, approve, confirm, decisions, deny, extend, panic, policy, undo};
pub(crate) use contain::{contain, service, verb};
pub(crate) use control::Ask;
pub(crate) use demo::decide as decide_demo;
pub(crate) use door::{Door, Unanswered, door};
pub(crate) use enforce::run as enforce;
pub(crate) use freezer::freezer;
pub(crate) use life::life;
pub(crate) use planner::{Planner, cards};
pub(crate) use read::Reader;

/// Whether a policy can be used.
///
/// # Errors
/// When it cannot, with the reason.
pub(crate) fn check(path: &Path) -> anyhow::Result<()> {
    policy::load(path).map(|_| ())
}

/// Makes the folder of the response, for whoever is to read there later.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn prepare(state: &Path) -> anyhow::Result<()> {
    planner::make(&folder(state))
}

/// The command of a process of its own, which is asked through pipes.
fn apart(name: &str, state: &Path, is_confined: bool) -> anyhow::Result<Command> {
    let program = std::env::current_exe().context("cannot find the program itself")?;
    let mut command = Command::new(program);
    command.arg(name).arg("--state").arg(state);
    if !is_confined {
        command.arg("--no-sandbox");
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    Ok(command)
}

/// Where the response keeps what is its own.
pub(crate) fn folder(state: &Path) -> PathBuf {
    state.join("response")
}
