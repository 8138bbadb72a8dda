//! The processes that look at files: how this program starts itself as one, and is one.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use thymus_scan::{Judge, Landlock, Limits, ScanPolicy, Workers};

use crate::Found;
use crate::model::shipped;
use crate::replay::now;
use crate::rules;

/// This program, also when its file was replaced meanwhile.
const THIS: &str = "/proc/self/exe";

/// Is a worker: looks at what comes over standard input, until that ends.
///
/// # Errors
/// When standard input is no `thymus scan`, or the system does not confine this process.
pub(crate) fn serve() -> Result<Found> {
    let began = now();
    let clock = move || began.elapsed().as_millis() as u64;
    let networks = shipped()?;
    let judge = |policy: &ScanPolicy, models| -> io::Result<Box<dyn Judge>> {
        let networks = networks
            .with(models)
            .map_err(|(_, why)| io::Error::other(why))?;
        Ok(Box::new(networks.calibrated(&policy.calibrations)))
    };
    thymus_scan::serve(judge, rules::read, &clock)
        .context("a worker is started by thymus scan only")?;
    Ok(Found::Nothing)
}

fn command() -> Command {
    let mut command = Command::new(THIS);
    command.arg0("thymus").arg("scan-worker");
    command
}

/// What starts workers of so many threads each, with `models` in the place of embedded ones, after the first
/// one told how far it is confined; `rules` are compiled ones to look for.
///
/// # Errors
/// When none can be started or confined.
pub(crate) fn workers<'a>(
    policy: &'a ScanPolicy,
    models: &'a [Vec<u8>],
    rules: Option<&'a [u8]>,
    threads: usize,
    clock: &'a (dyn Fn() -> u64 + Sync),
) -> Result<Workers<'a>> {
    let limits = Limits {
        threads,
        ..Limits::of(policy)
    };
    let workers = Workers::new(&command, policy, limits, clock)
        .with_models(models)
        .with_rules(rules);
    let confinement = workers.start().context(
        "hostile bytes are read in confined processes; --no-sandbox does without, at your risk",
    )?;
    if confinement.landlock == Landlock::Absent {
        eprintln!("thymus: this kernel has no Landlock: workers are confined by seccomp alone");
    }
    Ok(workers)
}
