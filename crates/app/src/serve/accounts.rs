//! Users, tokens and the audit log from the command line; also while a console serves the folder.

use std::io::{BufRead, IsTerminal, Write, stdin, stdout};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use thymus_store::Database;
use thymus_store::database::{Actor, Limits, NewToken, Role, UserChange};

use super::{folder, now};
use crate::Found;
use crate::cli::{
    AuditAction, AuditArgs, ConsoleRole, TokenAction, TokenArgs, UserAction, UserArgs,
};

const DAY: Duration = Duration::from_hours(24);
const PAGE: usize = 500;

/// Runs `thymus user`.
///
/// # Errors
/// When what is asked for cannot be.
pub(crate) fn user(args: &UserArgs) -> Result<Found> {
    let database = open(args.state.as_deref())?;
    let actor = actor();
    match &args.action {
        UserAction::Add { name, role } => {
            database.add_user(&actor, name, role_of(*role), &password()?)?;
        }
        UserAction::Passwd { name } => {
            let change = UserChange {
                password: Some(password()?),
                ..UserChange::default()
            };
            database.change_user(&actor, name, &change)?;
        }
        UserAction::Remove { name } => database.remove_user(&actor, name)?,
        UserAction::List => {
            let mut out = stdout().lock();
            for user in database.users()? {
                let state = if user.is_disabled { "  disabled" } else { "" };
                writeln!(out, "{}  {}{state}", user.name, user.role.as_str())?;
            }
        }
    }
    Ok(Found::Nothing)
}

/// Runs `thymus token`.
///
/// # Errors
/// When what is asked for cannot be.
pub(crate) fn token(args: &TokenArgs) -> Result<Found> {
    let database = open(args.state.as_deref())?;
    let actor = actor();
    let mut out = stdout().lock();
    match &args.action {
        TokenAction::Add { name, role, days } => {
            let new = NewToken {
                name: name.clone(),
                role: role_of(*role),
                expires_at: days.map(|days| actor.at.plus(DAY * days)),
                pseudonymised: false,
            };
            let (_, secret) = database.add_token(&actor, &new)?;
            writeln!(out, "{secret}")?;
        }
        TokenAction::Remove { id } => database.remove_token(&actor, id)?,
        TokenAction::List => {
            for token in database.tokens()? {
                let until = token
                    .expires_at
                    .map_or_else(|| "for good".to_owned(), |at| format!("until {at}"));
                let role = token.role.as_str();
                writeln!(out, "{}  {role}  {until}  {}", token.id, token.name)?;
            }
        }
    }
    Ok(Found::Nothing)
}

/// Runs `thymus audit`.
///
/// # Errors
/// When the log cannot be read.
pub(crate) fn audit(args: &AuditArgs) -> Result<Found> {
    let database = open(args.state.as_deref())?;
    let mut out = stdout().lock();
    if let Some(AuditAction::Verify) = args.action {
        let state = database.audit_state()?;
        return Ok(match state.broken_at {
            None => {
                writeln!(
                    out,
                    "{} entries, all as they were written; the last hash is {}",
                    state.entries, state.head
                )?;
                Found::Nothing
            }
            Some(seq) => {
                writeln!(
                    out,
                    "entry {seq} is not as it was written, or is missing; of {} entries",
                    state.entries
                )?;
                Found::Something
            }
        });
    }
    let mut before = None;
    loop {
        let page = database.audit(before, PAGE)?;
        for entry in &page.items {
            writeln!(out, "{}", serde_json::to_string(entry)?)?;
        }
        before = page.next_cursor.and_then(|cursor| cursor.parse().ok());
        if before.is_none() {
            return Ok(Found::Nothing);
        }
    }
}

pub(super) fn open(state: Option<&Path>) -> Result<Database> {
    let state = state.context("--state is needed: the folder that the console serves")?;
    ensure!(
        state.is_dir(),
        "there is no folder {}; `thymus console --state` makes it",
        state.display()
    );
    let database = Database::open_beside(&folder(state), Limits::default(), now())?;
    for remark in database.remarks() {
        eprintln!("thymus: {remark}");
    }
    Ok(database)
}

pub(super) fn actor() -> Actor {
    Actor {
        user: "command line".to_owned(),
        address: String::new(),
        at: now(),
    }
}

fn role_of(role: ConsoleRole) -> Role {
    match role {
        ConsoleRole::Viewer => Role::Viewer,
        ConsoleRole::Analyst => Role::Analyst,
        ConsoleRole::Admin => Role::Admin,
    }
}

/// The first line of standard input.
fn password() -> Result<String> {
    if stdin().is_terminal() {
        eprint!("password: ");
    }
    let mut line = String::new();
    stdin()
        .lock()
        .read_line(&mut line)
        .context("cannot read the password from standard input")?;
    let password = line.trim_end_matches(['\r', '\n']).to_owned();
    if password.is_empty() {
        bail!("the password is read from standard input, and there was none");
    }
    Ok(password)
}
