//! Keys of bouncers from the command line; also while a console serves the folder.

use std::io::{Write, stdout};

use anyhow::{Context, Result};
use thymus_store::Database;

use super::accounts::{actor, open};
use super::now;
use crate::Found;
use crate::cli::{BouncerAction, BouncerArgs};
use crate::respond;

/// Runs `thymus bouncer`.
///
/// # Errors
/// When what is asked for cannot be.
pub(crate) fn bouncer(args: &BouncerArgs) -> Result<Found> {
    let database = open(args.state.as_deref())?;
    match &args.action {
        BouncerAction::Add { name } => {
            let key = database.add_bouncer(&actor(), name)?;
            writeln!(stdout().lock(), "{key}")?;
        }
        BouncerAction::Remove { name } => database.remove_bouncer(&actor(), name)?,
        BouncerAction::List => list(args, &database)?,
    }
    Ok(Found::Nothing)
}

fn list(args: &BouncerArgs, database: &Database) -> Result<()> {
    let state = args.state.as_deref().context("--state is needed")?;
    let mut out = stdout().lock();
    for bouncer in database.bouncers()? {
        writeln!(out, "{}", bouncer.name)?;
        if bouncer.pulls.is_empty() {
            writeln!(out, "       has not asked yet")?;
        }
        for pull in bouncer.pulls {
            writeln!(
                out,
                "       {}  last {}  holds {}  {}",
                pull.address, pull.last_pull, pull.held, pull.agent
            )?;
        }
    }
    for stranger in database.bouncer_strangers()? {
        writeln!(
            out,
            "Refused, as its key is none of these: {}  {} times, last {}  {}",
            stranger.address, stranger.tries, stranger.last_try, stranger.agent
        )?;
    }
    let bans = respond::bans(state, &respond::Reader::new(state), now())?;
    writeln!(out, "Addresses and networks to ban: {}", bans.bans.len())?;
    writeln!(
        out,
        "Decisions not expressible to bouncers: {}",
        bans.not_expressible
    )?;
    if bans.withheld > 0 {
        writeln!(
            out,
            "Bans withheld, as they are about what is never acted upon: {}",
            bans.withheld
        )?;
    }
    if let Some(trouble) = bans.trouble {
        writeln!(out, "Trouble: {trouble}")?;
    }
    Ok(())
}
