//! `thymus decisions`, `approve`, `deny`, `undo`, `extend`, `confirm`, `panic` and `policy`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use thymus_respond::{Decision, DecisionId, Freezer, Nftables, Responder, ResponderError, State};
use thymus_schema::Timestamp;

use super::control::{Ask, ask};
use super::{Reader, folder, planner, policy as file, vault};
use crate::Found;
use crate::cli::{AnswerArgs, DecisionsArgs, PanicArgs, PolicyArgs};

/// What each decision has done so far, as the enforcer says.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Done {
    /// Packets and bytes.
    cut: BTreeMap<String, (u64, u64)>,
    /// Processes and files of this machine that it holds.
    held: BTreeMap<String, Vec<String>>,
}

/// Lists decisions, or tells all about one.
///
/// # Errors
/// When the journal cannot be read, or there is none with that number.
pub(crate) fn decisions(args: &DecisionsArgs) -> Result<Found> {
    let folder = folder(&args.state);
    let now = Timestamp::from_nanos(crate::run::now_nanos());
    let ledger = Reader::new(&args.state).ledger(now)?;
    let status = ask(&folder, &Ask::Status);
    let said = status.as_ref().ok().cloned();
    let done = said.and_then(|status| serde_json::from_value(status).ok());
    let done: Done = done.unwrap_or_default();
    let chosen: Vec<&Decision> = match args.id {
        Some(id) => vec![ledger.get(id)?],
        None => ledger
            .decisions()
            .rev()
            .filter(|one| args.all || !one.state.is_over())
            .collect(),
    };
    let mut out = std::io::stdout().lock();
    if args.json {
        for one in &chosen {
            let mut value = serde_json::to_value(one)?;
            if let Some(fields) = value.as_object_mut() {
                fields.insert("name".to_owned(), json!(one.id.to_string()));
                let (packets, bytes) = done
                    .cut
                    .get(&one.id.to_string())
                    .copied()
                    .unwrap_or_default();
                fields.insert(
                    "cut".to_owned(),
                    json!({"packets": packets, "bytes": bytes}),
                );
                let held = done.held.get(&one.id.to_string());
                fields.insert("held".to_owned(), json!(held.cloned().unwrap_or_default()));
            }
            writeln!(out, "{value}")?;
        }
        return Ok(Found::Nothing);
    }
    match (args.id, chosen.first()) {
        (Some(_), Some(one)) => tell(one, &done, &mut out)?,
        _ => list(&chosen, &done, now, &mut out)?,
    }
    if let Ok(status) = &status {
        stand(status, &mut out)?;
    } else if args.id.is_none() {
        writeln!(out, "No enforcer is running on this state folder.")?;
    }
    Ok(Found::Nothing)
}

fn list(chosen: &[&Decision], done: &Done, now: Timestamp, out: &mut impl Write) -> Result<()> {
    if chosen.is_empty() {
        writeln!(
            out,
            "No decision holds or waits. --all shows those that are over."
        )?;
        return Ok(());
    }
    for one in chosen {
        let left = one.until.map_or_else(String::new, |until| {
            let minutes = until.since(now).as_secs().div_ceil(60);
            format!(", {minutes} min left")
        });
        writeln!(
            out,
            "{:<6} {:<10} {}{left}",
            one.id.to_string(),
            one.state.as_str(),
            one.verb.title()
        )?;
        writeln!(
            out,
            "       {} · {}",
            plain(&one.device.to_string()),
            plain(&one.reason)
        )?;
        writeln!(out, "       {}", one.rehearsal.sentence())?;
        for held in done.held.get(&one.id.to_string()).into_iter().flatten() {
            writeln!(out, "       Holds {}", plain(held))?;
        }
        if let Some((packets, bytes)) = done
            .cut
            .get(&one.id.to_string())
            .filter(|(packets, _)| *packets > 0)
        {
            writeln!(
                out,
                "       Has cut {packets} packets, {bytes} bytes so far."
            )?;
        }
        if one.state == State::Refused
            && let Some(last) = one.history.last()
        {
            writeln!(out, "       {}", plain(&last.what))?;
        }
        if one.confirm_by.is_some() {
            writeln!(
                out,
                "       Is taken back unless confirmed: thymus confirm {}",
                one.id
            )?;
        }
        if one.state == State::Pending {
            writeln!(out, "       thymus approve {0}  ·  thymus deny {0}", one.id)?;
        }
    }
    Ok(())
}

fn tell(one: &Decision, done: &Done, out: &mut impl Write) -> Result<()> {
    writeln!(
        out,
        "{} · {} · {}",
        one.id,
        one.state.as_str(),
        one.verb.title()
    )?;
    writeln!(out, "Device    {}", plain(&one.device.to_string()))?;
    writeln!(out, "Incident  {}", plain(&one.incident))?;
    writeln!(out, "Why       {}", plain(&one.reason))?;
    if let Some(until) = one.until {
        writeln!(out, "Until     {until}")?;
    }
    for cut in one.cuts.iter().take(50) {
        writeln!(out, "Cuts      {cut}")?;
    }
    if one.cuts.len() > 50 {
        writeln!(out, "          and {} more", one.cuts.len() - 50)?;
    }
    writeln!(out, "Rehearsal {}", one.rehearsal.sentence())?;
    for (talk, flows) in &one.rehearsal.named {
        let service = thymus_respond::Port {
            transport: talk.transport,
            port: talk.port,
        };
        writeln!(
            out,
            "          {flows} × {} to {} by {service}",
            talk.client, talk.server
        )?;
    }
    for held in done.held.get(&one.id.to_string()).into_iter().flatten() {
        writeln!(out, "Holds     {}", plain(held))?;
    }
    if let Some((packets, bytes)) = done.cut.get(&one.id.to_string()) {
        writeln!(out, "So far    {packets} packets, {bytes} bytes cut")?;
    }
    for line in &one.history {
        writeln!(
            out,
            "{} · {} · {}",
            line.at,
            plain(&line.by),
            plain(&line.what)
        )?;
    }
    Ok(())
}

fn stand(status: &Value, out: &mut impl Write) -> Result<()> {
    let said = |key: &str| status.get(key).and_then(Value::as_str);
    if status.get("halted").and_then(Value::as_bool) == Some(true) {
        writeln!(
            out,
            "Everything was taken back and nothing is carried out until `thymus panic --resume`."
        )?;
    } else if status.get("acts").and_then(Value::as_bool) == Some(false) {
        writeln!(out, "The policy only simulates: nothing is cut.")?;
    }
    let delay = status.get("delay_ms");
    let millis = |key: &str| delay.and_then(|delay| delay.get(key)?.as_u64());
    if let (Some(actions), Some(p50), Some(p95)) = (millis("actions"), millis("p50"), millis("p95"))
    {
        writeln!(
            out,
            "From the packet that tipped the score to the cut: half within {p50} ms, 95 of 100 within {p95} ms \
             (the last {actions} actions)."
        )?;
    }
    for key in ["trouble", "policy_trouble"] {
        if let Some(what) = said(key) {
            writeln!(out, "Trouble: {}", plain(what))?;
        }
    }
    Ok(())
}

/// Text from the wire, safe for a terminal.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Answers a decision, or changes one that holds.
///
/// # Errors
/// When no enforcer answers, or it refuses.
pub(crate) fn answer(
    args: &AnswerArgs,
    how: fn(DecisionId, &AnswerArgs, String) -> Ask,
) -> Result<Found> {
    let folder = folder(&args.state);
    for id in &args.ids {
        ask(&folder, &how(*id, args, user()))?;
    }
    Ok(Found::Nothing)
}

/// Yes to one that waits.
pub(crate) fn approve(id: DecisionId, _: &AnswerArgs, by: String) -> Ask {
    Ask::Approve { id, by }
}

/// No to one that waits.
pub(crate) fn deny(id: DecisionId, args: &AnswerArgs, by: String) -> Ask {
    let why = args.why.clone();
    Ask::Deny { id, by, why }
}

/// One that holds is taken back.
pub(crate) fn undo(id: DecisionId, args: &AnswerArgs, by: String) -> Ask {
    let why = args.why.clone();
    let ids = vec![id];
    Ask::Undo { ids, by, why }
}

/// One that holds holds longer.
pub(crate) fn extend(id: DecisionId, args: &AnswerArgs, by: String) -> Ask {
    let secs = args.more.as_secs();
    Ask::Extend { id, by, secs }
}

/// One that holds does no harm.
pub(crate) fn confirm(id: DecisionId, _: &AnswerArgs, by: String) -> Ask {
    Ask::Confirm { id, by }
}

/// Who runs this.
pub(super) fn user() -> String {
    let by_name = ["SUDO_USER", "LOGNAME", "USER"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok());
    by_name
        .filter(|name| !name.is_empty() && name.len() <= 64)
        .unwrap_or_else(|| "somebody at this machine".to_owned())
}

/// Removes everything at once, by every way there is.
///
/// # Errors
/// When something may be left.
pub(crate) fn panic(args: &PanicArgs) -> Result<Found> {
    let folder = folder(&args.state);
    if args.resume {
        ask(&folder, &Ask::Resume { by: user() })?;
        eprintln!("thymus: decisions are carried out again");
        return Ok(Found::Nothing);
    }
    // An enforcer that is there, or comes back, sees this and does nothing; no other part has to work.
    let marked = planner::make(&folder).and_then(|()| {
        let path = folder.join("panic");
        std::fs::write(&path, user()).with_context(|| format!("cannot write {}", path.display()))
    });
    let removed = remove_all(&folder);
    let told = ask(&folder, &Ask::Panic { by: user() });
    // The enforcer may have put something back before it saw the mark.
    let again = remove_all(&folder);
    if let Err(error) = &marked {
        eprintln!("thymus: {error:#}; an enforcer that runs may carry out decisions again");
    }
    if let (Err(error), Err(_)) = (again.or(removed), &told) {
        bail!(
            "{error}; as root, `nft delete table inet thymus` removes what is cut, and {} names who is stopped and how",
            folder.join("frozen.json").display()
        );
    }
    eprintln!(
        "thymus: nothing is cut any more, and nothing will be until `thymus panic --resume`{}",
        if told.is_ok() {
            ""
        } else {
            "; no enforcer is running"
        }
    );
    if marked.is_err() {
        Ok(Found::Trouble)
    } else {
        Ok(Found::Nothing)
    }
}

/// Both tables, whoever made them, and whoever is stopped.
fn remove_all(folder: &Path) -> Result<(), ResponderError> {
    let freed = Freezer::new(folder, BTreeSet::new()).remove();
    let freed = freed.and(vault::give_all_back(folder));
    // A kernel without bridges has no table there, and says no.
    let _is_removed = Nftables::bridge().remove().is_ok();
    Nftables::default().remove().and(freed)
}

/// Checks a policy file, and shows what it amounts to.
///
/// # Errors
/// When it cannot be used.
pub(crate) fn policy(args: &PolicyArgs) -> Result<Found> {
    let path: &Path = &args.file;
    let policy = file::load(path)?;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_value(&policy)?)?;
        return Ok(Found::Nothing);
    }
    writeln!(
        out,
        "{} is a policy that {}.",
        path.display(),
        if policy.acts() {
            "acts or asks"
        } else {
            "only simulates"
        }
    )?;
    Ok(Found::Nothing)
}
