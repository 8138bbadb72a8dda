//! `thymus quarantine`: keeps files, lists them, gives them back.

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use serde::Serialize;
use thymus_analyst::legible;
use thymus_store::{Kept, Quarantine, Request};

use crate::Found;
use crate::cli::{QuarantineAction, QuarantineArgs};
use crate::scan::escaped;

/// Runs the command.
///
/// # Errors
/// When the store cannot be used or one of the files could not be handled; the others are.
pub(crate) fn run(args: &QuarantineArgs) -> Result<Found> {
    let store = open(args.store.as_deref())?;
    let mut failed = 0;
    match &args.action {
        QuarantineAction::List => list(&store, args.json)?,
        QuarantineAction::Add { paths } => {
            for path in paths {
                let request = Request {
                    path,
                    id: None,
                    sha256: None,
                    verdict: "by hand",
                    time: now(),
                };
                let done = store.add(&request).map_err(anyhow::Error::new);
                failed += tell(done, |(id, kept)| print_kept(&id, &kept, args.json))?;
            }
        }
        QuarantineAction::Restore { ids, to } => {
            if to.is_some() && ids.len() > 1 {
                bail!("--to takes one file");
            }
            for id in ids {
                let done = store.restore(id, to.as_deref()).map_err(anyhow::Error::new);
                failed += tell(done, |restored| {
                    let (path, has_owner) = (restored.path, restored.has_owner);
                    if !has_owner {
                        eprintln!("thymus: {id} is yours now: only root can give files away");
                    }
                    print_restored(id, &path, has_owner, args.json)
                })?;
            }
        }
        QuarantineAction::Delete { ids } => {
            for id in ids {
                let done = store.delete(id).map_err(anyhow::Error::new);
                failed += tell(done, |()| print_deleted(id, args.json))?;
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of the files could not be handled");
    }
    Ok(Found::Nothing)
}

/// Opens the store in `dir`, or where it is by default.
///
/// # Errors
/// When there is no default, or it cannot be used.
pub(crate) fn open(dir: Option<&Path>) -> Result<Quarantine> {
    let dir = match dir {
        Some(dir) => dir.to_path_buf(),
        None => default_dir().context("there is no home folder: name a folder with --store")?,
    };
    Ok(Quarantine::open(&dir)?)
}

fn default_dir() -> Option<PathBuf> {
    let folder = |name: &str| {
        let folder = std::env::var_os(name).map(PathBuf::from);
        folder.filter(|folder| folder.is_absolute())
    };
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("thymus/quarantine"))
}

/// Seconds since 1970.
#[allow(
    clippy::disallowed_methods,
    reason = "when something was kept is asked of the clock"
)]
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs().cast_signed())
}

/// Prints what was done, or why it was not: how many failed.
fn tell<T>(done: Result<T>, print: impl FnOnce(T) -> Result<()>) -> Result<u32> {
    match done {
        Ok(done) => print(done).map(|()| 0),
        Err(error) => {
            eprintln!("thymus: {}", legible(&format!("{error:#}")));
            Ok(1)
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    path: &'a str,
    sha256: &'a str,
    bytes: u64,
    verdict: &'a str,
    time: String,
    mode: String,
    user: u32,
    group: u32,
    modified: String,
    other_names: u64,
}

fn moment(secs: i64, nanos: u32) -> String {
    let moment = Timestamp::new(secs, nanos.cast_signed());
    moment.map_or_else(|_| secs.to_string(), |moment| moment.to_string())
}

fn say(line: &impl Serialize, out: &mut dyn Write) -> Result<()> {
    Ok(writeln!(out, "{}", escaped(&serde_json::to_string(line)?))?)
}

fn list(store: &Quarantine, json: bool) -> Result<()> {
    let entries = store.list()?;
    let mut out = stdout().lock();
    for entry in &entries {
        match (&entry.kept, json) {
            (Ok(kept), _) => print_kept(&entry.id, kept, json)?,
            (Err(error), true) => say(
                &serde_json::json!({ "id": entry.id, "error": error.to_string() }),
                &mut out,
            )?,
            (Err(error), false) => writeln!(out, "{}  {}", entry.id, legible(&error.to_string()))?,
        }
    }
    if entries.is_empty() && !json {
        writeln!(out, "nothing is kept")?;
    }
    Ok(())
}

fn print_kept(id: &str, kept: &Kept, json: bool) -> Result<()> {
    let mut out = stdout().lock();
    let path = kept.path().to_string_lossy();
    let time = moment(kept.time, 0);
    if json {
        let line = Line {
            id,
            path: &path,
            sha256: &kept.sha256,
            bytes: kept.bytes,
            verdict: &kept.verdict,
            time,
            mode: format!("{:04o}", kept.mode),
            user: kept.user,
            group: kept.group,
            modified: moment(kept.modified.0, kept.modified.1),
            other_names: kept.other_names,
        };
        return say(&line, &mut out);
    }
    let others = match kept.other_names {
        0 => String::new(),
        1 => "; 1 other name of it stays".to_owned(),
        many => format!("; {many} other names of it stay"),
    };
    let (path, verdict) = (legible(&path), legible(&kept.verdict));
    let bytes = kept.bytes;
    writeln!(
        out,
        "{id}  {time}  {path}  ({bytes} bytes, {verdict}{others})"
    )?;
    Ok(())
}

fn print_restored(id: &str, path: &Path, has_owner: bool, json: bool) -> Result<()> {
    let mut out = stdout().lock();
    let path = path.to_string_lossy();
    if json {
        let line = serde_json::json!({ "id": id, "path": path, "has_owner": has_owner });
        return say(&line, &mut out);
    }
    Ok(writeln!(out, "{id} is {} again", legible(&path))?)
}

fn print_deleted(id: &str, json: bool) -> Result<()> {
    let mut out = stdout().lock();
    if json {
        return say(&serde_json::json!({ "id": id, "deleted": true }), &mut out);
    }
    Ok(writeln!(out, "{id} is deleted")?)
}
