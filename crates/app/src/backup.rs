//! `thymus backup` and `thymus restore`.

use std::io::{Write, stdout};
use std::path::Path;

use anyhow::{Context, Result};
use thymus_schema::Timestamp;
use thymus_store::backup::{BackupReport, backup, restore, verify};

use crate::Found;
use crate::cli::{BackupArgs, RestoreArgs};

/// Takes a backup.
///
/// # Errors
/// When there is nothing to back up, or it cannot be written.
#[expect(clippy::disallowed_methods, reason = "a backup says when it was made")]
pub(crate) fn take(args: &BackupArgs) -> Result<Found> {
    let now = jiff::Timestamp::try_from(std::time::SystemTime::now())?;
    let now = i64::try_from(now.as_nanosecond()).context("the clock is outside of all time")?;
    let report = backup(
        &args.state,
        &args.file,
        args.packets,
        Timestamp::from_nanos(now),
    )?;
    tell("backed up to", &args.file, &report, args.json)
}

/// Puts a backup back, or only checks it.
///
/// # Errors
/// When it is not whole, or something is in the way.
pub(crate) fn give(args: &RestoreArgs) -> Result<Found> {
    match &args.state {
        Some(state) => tell(
            "restored to",
            state,
            &restore(&args.file, state)?,
            args.json,
        ),
        None => tell("whole:", &args.file, &verify(&args.file)?, args.json),
    }
}

fn tell(what: &str, path: &Path, report: &BackupReport, as_json: bool) -> Result<Found> {
    let mut out = stdout().lock();
    if as_json {
        writeln!(out, "{}", serde_json::to_string(report)?)?;
        return Ok(Found::Nothing);
    }
    writeln!(
        out,
        "{what} {}: {} files, {:.1} MB, of {} (thymus {})",
        path.display(),
        report.files,
        report.bytes as f64 / 1e6,
        report.head.made_at,
        report.head.thymus
    )?;
    for left in &report.left_out {
        writeln!(out, "left out: {left}")?;
    }
    Ok(Found::Nothing)
}
