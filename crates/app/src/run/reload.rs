//! Other settings while it runs: the file is read again, checked whole, and taken over by those whom it
//! concerns. What cannot change on the way stays as it is, by name; what is wrong changes nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use thymus_schema::Timestamp;
use thymus_sensor::{PacketBlock, RelayReceiver, RelaySender, Relayed};

use super::now_nanos;
use super::orders::{Answer, Orders};
use super::supervise::{House, PROCESSES};
use crate::Found;
use crate::cli::{LiveArgs, ReloadArgs, Role};
use crate::config::{self, Change, Settings, Takes};
use crate::replay::now;

/// Where it is written down by what a run goes, in the state folder.
pub(super) const CONFIGURATION: &str = "configuration.json";
/// Reloads that are told of.
const TOLD_MAX: usize = 32;
/// How long a process may take to hear.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long `thymus reload` waits for the run.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// What became of a reload.
#[derive(Debug, Default)]
struct Outcome {
    /// Why nothing was taken over.
    refused: Option<String>,
    /// What was, in words.
    changed: Vec<String>,
    /// What stays as it is, and why.
    stays: Vec<String>,
}

/// The reloads of a run.
#[derive(Debug)]
pub(super) struct Reloads {
    /// What is to be written down.
    note: Option<Value>,
    /// What became of the last reloads, the oldest first.
    told: Vec<Value>,
    /// What the analysis had no room for.
    pending: Option<Vec<u8>>,
    /// Files whose content is taken over too, as they were.
    files: Files,
}

/// Files with their length and when they were written.
type Files = Vec<(PathBuf, Option<(u64, SystemTime)>)>;

impl Reloads {
    pub(super) fn new(args: &LiveArgs) -> Self {
        Self {
            note: args.settings.as_ref().map(|all| noted(all, &[])),
            told: Vec::new(),
            pending: None,
            files: [certificates(args), indicators(args)].concat(),
        }
    }

    /// Has what is to be written down written, until it is.
    pub(super) fn write_down(&mut self, write: impl FnOnce(&Value) -> bool) {
        if self.note.as_ref().is_some_and(write) {
            self.note = None;
        }
    }

    /// Whether one of the files is not what it was.
    fn has_new(&self, files: &Files) -> bool {
        files.iter().any(|one| !self.files.contains(one))
    }
}

fn stamped<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Files {
    let stamp = |path: &PathBuf| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    };
    paths.map(|path| (path.clone(), stamp(path))).collect()
}

fn certificates(args: &LiveArgs) -> Files {
    let both = [&args.console_tls_cert, &args.console_tls_key];
    stamped(both.into_iter().flatten())
}

fn indicators(args: &LiveArgs) -> Files {
    stamped(args.run.indicators.iter())
}

/// For the file in the state folder: by what the run goes, and what became of its reloads.
fn noted(settings: &Settings, reloads: &[Value]) -> Value {
    json!({
        "at": Timestamp::from_nanos(now_nanos()),
        "file": settings.file().map(Path::to_string_lossy),
        "settings": config::all(settings),
        "reloads": reloads,
    })
}

impl Outcome {
    fn noted(&self) -> Value {
        let at = now_nanos();
        json!({
            "number": at,
            "at": Timestamp::from_nanos(at),
            "refused": self.refused,
            "changed": self.changed,
            "stays": self.stays,
        })
    }
}

/// What is to be done, worked out before any of it is.
struct Plan {
    args: LiveArgs,
    changes: Vec<Change>,
    stays: Vec<String>,
}

/// What settings become, as far as they can while a run goes on with `present`.
fn plan(present: &LiveArgs) -> Result<Plan> {
    let Some(before) = &present.settings else {
        bail!("this run has no settings that could be read again");
    };
    if before.file().is_none() {
        bail!("this run was started without --config, so there is no file to read again");
    }
    let mut wanted = before.again()?;
    let (mut changes, mut stays) = (Vec::new(), Vec::new());
    for change in before.changes(&wanted) {
        if let Some(why) = fixed(&change, present) {
            stays.push(format!("{} stays {}: {why}", change.name, change.from));
            wanted.take(change.name, before);
        } else {
            changes.push(change);
        }
    }
    let args = config::together(&wanted)?;
    config::rehearse(&args, Some(present))?;
    Ok(Plan {
        args,
        changes,
        stays,
    })
}

/// Why a setting cannot change while it runs.
fn fixed(change: &Change, present: &LiveArgs) -> Option<&'static str> {
    let logs = !present.follow.is_empty();
    let why = match (change.name, change.takes) {
        (_, Takes::NextStart) => "it needs a restart",
        ("local", _) if change.is_gone => {
            "networks are found at a start only, so it needs a restart"
        }
        ("follow", _) if !logs || change.is_gone => "what is watched needs a restart",
        (_, takes) if takes == Takes::Analysis || (change.name == "local" && logs) => {
            if present.run.state.is_some() {
                return None;
            }
            "without a state folder another analysis would know nothing, so it needs a restart"
        }
        _ => return None,
    };
    Some(why)
}

impl House {
    /// Reads the file again and takes over what can be.
    pub(super) fn reload(&mut self) -> Result<()> {
        let outcome = match plan(&self.args) {
            Ok(plan) => self.carry_out(plan)?,
            Err(error) => Outcome {
                refused: Some(format!("{error:#}")),
                ..Outcome::default()
            },
        };
        match &outcome.refused {
            Some(why) => {
                eprintln!("thymus: the settings were not taken over, all stays as it was: {why}");
            }
            None if outcome.changed.is_empty() => eprintln!("thymus: no setting has changed"),
            None => eprintln!(
                "thymus: settings taken over: {}",
                outcome.changed.join("; ")
            ),
        }
        for what in &outcome.stays {
            eprintln!("thymus: {what}");
        }
        let told = &mut self.reloads.told;
        told.drain(..told.len().saturating_sub(TOLD_MAX - 1));
        told.push(outcome.noted());
        let settings = self.args.settings.as_ref();
        self.reloads.note = settings.map(|all| noted(all, &self.reloads.told));
        self.write_note();
        Ok(())
    }

    fn carry_out(&mut self, plan: Plan) -> Result<Outcome> {
        let Plan {
            args,
            changes,
            mut stays,
        } = plan;
        let before = std::mem::replace(&mut self.args, args);
        let logs = !self.args.follow.is_empty();
        let is_any = |takes: Takes| changes.iter().any(|change| change.takes == takes);
        let mut changed: Vec<String> = changes.iter().map(ToString::to_string).collect();
        let (mut console, mut analysis) = (is_any(Takes::Console), is_any(Takes::Analysis));
        analysis |= logs && changes.iter().any(|change| change.name == "local");
        let (tls, lists) = (certificates(&self.args), indicators(&self.args));
        if !console && self.reloads.has_new(&tls) {
            changed.push("the console's certificate was read again".to_owned());
            console = true;
        }
        if !analysis && self.reloads.has_new(&lists) {
            if self.args.run.state.is_some() {
                changed.push("the indicators were read again".to_owned());
                analysis = true;
            } else {
                stays.push(
                    "the indicators stay as they were: without a state folder that needs a restart"
                        .to_owned(),
                );
            }
        }
        self.reloads.files = [tls, lists].concat();
        if is_any(Takes::AtOnce) {
            for (name, why) in self.tell_capture() {
                stays.push(format!("{name} stays as it was: {why}"));
                changed.retain(|what| !what.starts_with(&format!("{name} ")));
                self.keep_setting(name, &before)?;
            }
        }
        if analysis || is_any(Takes::AtOnce) {
            self.tell_analysis(analysis);
        }
        if console {
            self.change_console()?;
        }
        Ok(Outcome {
            refused: None,
            changed,
            stays,
        })
    }

    /// Goes back to what a setting was.
    fn keep_setting(&mut self, name: &str, before: &LiveArgs) -> Result<()> {
        if let (Some(settings), Some(old)) = (&mut self.args.settings, &before.settings) {
            settings.take(name, old);
            self.args = config::together(settings)?;
        }
        Ok(())
    }

    /// Tells the capture, and gives what it did not take over with the reason.
    fn tell_capture(&mut self) -> Vec<(&'static str, String)> {
        let message = Orders::of(&self.args).message();
        let Some(ear) = self
            .member(Role::Capture)
            .and_then(|capture| capture.ear.as_ref())
        else {
            return Vec::new();
        };
        let began = now();
        let mut block = PacketBlock::default();
        let mut receiver = RelayReceiver::new(ear);
        // An answer that came too late the last time.
        while matches!(
            receiver.read(&mut block, Duration::ZERO),
            Ok(Relayed::Told(_))
        ) {}
        let patient = || began.elapsed() < PATIENCE;
        // One that died meanwhile is started again with what is so now.
        let _is_told = RelaySender::new(ear).tell(&message, patient).is_ok();
        let Ok(Relayed::Told(answer)) = receiver.read(&mut block, PATIENCE) else {
            eprintln!(
                "thymus: the capture is busy; it takes the settings over when it has sent on what it holds"
            );
            return Vec::new();
        };
        let answer: Answer = serde_json::from_slice(&answer).unwrap_or_default();
        let both = [
            ("filter", answer.filter),
            ("keep-packets", answer.keep_packets),
        ];
        let refused = both.into_iter();
        refused
            .filter_map(|(name, why)| Some((name, why?)))
            .collect()
    }

    /// Tells the analysis, by the way that packets take; `hands_over` when another is to take its place.
    fn tell_analysis(&mut self, hands_over: bool) {
        let mut orders = Orders::of(&self.args);
        if hands_over && let Some(analysis) = self.member(Role::Analysis) {
            orders.hand_over = Some(analysis.restarts);
            analysis.leaves(now());
        }
        self.reloads.pending = Some(orders.message());
        self.tell_pending();
    }

    /// Sends what the analysis had no room for.
    pub(super) fn tell_pending(&mut self) {
        let Some(message) = self.reloads.pending.take() else {
            return;
        };
        let sent = RelaySender::new(&self.ends.0).tell(&message, || false);
        if matches!(sent, Ok(false)) {
            self.reloads.pending = Some(message);
        }
    }

    /// Has a console take the place of the one there is, or begin, or end.
    fn change_console(&mut self) -> Result<()> {
        let at = now();
        let is_wanted = self.args.console.is_some();
        match self.member(Role::Console) {
            Some(console) => {
                console.signal(Signal::SIGTERM);
                console.leaves(at);
                Ok(())
            }
            None if is_wanted => self.start(Role::Console),
            None => Ok(()),
        }
    }
}

/// Runs `thymus reload`: asks a run to read its file again, and says what became of it.
///
/// # Errors
/// When there is no run, or it does not answer.
pub(crate) fn reload(args: &ReloadArgs) -> Result<Found> {
    let state = &args.state;
    let id = supervisor(state)?;
    let before = answered(state);
    kill(Pid::from_raw(id), Signal::SIGUSR1)
        .with_context(|| format!("cannot ask the process {id} to read its settings again"))?;
    let asked = now();
    while asked.elapsed() < ANSWER_PATIENCE {
        let note = answered(state);
        if note["at"] != before["at"] {
            let last = note["reloads"].as_array().and_then(|all| all.last());
            return Ok(told(last.unwrap_or(&Value::Null)));
        }
        thread::sleep(Duration::from_millis(50));
    }
    bail!("the run does not answer; what it says is on its standard error");
}

/// The first process of the run that uses this folder.
fn supervisor(state: &Path) -> Result<i32> {
    let path = state.join(PROCESSES);
    let nobody = || format!("no `thymus run` uses the folder {}", state.display());
    let text = fs::read_to_string(&path).with_context(nobody)?;
    let note: Value = serde_json::from_str(&text).with_context(nobody)?;
    let id = note["processes"][0]["pid"].as_i64();
    let id = id
        .and_then(|id| i32::try_from(id).ok())
        .with_context(nobody)?;
    // A run that was killed leaves its note behind, and its number to another.
    let words = fs::read(format!("/proc/{id}/cmdline")).with_context(nobody)?;
    let word = words.split(|byte| *byte == 0).nth(1);
    if word != Some(b"run") {
        bail!(nobody());
    }
    Ok(id)
}

/// By what the run goes, as it says itself.
fn answered(state: &Path) -> Value {
    let text = fs::read_to_string(state.join(CONFIGURATION)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Says what became of a reload.
fn told(note: &Value) -> Found {
    let lines = |name: &str| {
        let all = note[name].as_array().cloned().unwrap_or_default();
        all.into_iter()
            .filter_map(|one| one.as_str().map(thymus_analyst::legible))
    };
    if let Some(why) = note["refused"].as_str() {
        eprintln!("thymus: nothing was taken over, all stays as it was:\n{why}");
        return Found::Trouble;
    }
    let changed: Vec<String> = lines("changed").collect();
    if changed.is_empty() {
        println!("no setting has changed");
    }
    for line in changed.into_iter().chain(lines("stays")) {
        println!("{line}");
    }
    Found::Nothing
}
