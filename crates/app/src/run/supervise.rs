//! The first process of a live run: it starts the others, starts again what dies, passes on the wish to end,
//! and takes other settings over. It opens no socket, reads no packet and no log, so it needs no confinement
//! to keep the rights that a new capture takes.

use std::fs;
use std::io::IsTerminal;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use serde_json::{Value, json};
use thymus_sensor::{Interface, is_waiting, relay};

use super::member::{Ended, Member, TICK, resident};
use super::reload::{CONFIGURATION, Reloads};
use crate::Found;
use crate::cli::{CollectOn, LiveArgs, Role};
use crate::replay::now;
use crate::{respond, tell};

/// Who ends last, because they show and tell how it ended, and how long they may take when they are asked to.
const LAST: [Role; 2] = [Role::Console, Role::Teller];
const LAST_PATIENCE: Duration = Duration::from_secs(5);
/// How often what the processes take is written down.
const NOTE_EVERY: Duration = Duration::from_secs(5);
/// Where it is written, in the state folder.
pub(super) const PROCESSES: &str = "processes.json";

/// Runs the processes until one of them ends by itself or somebody asks for it.
pub(super) fn run(args: &LiveArgs) -> Result<Found> {
    tell::check(&args.outputs)?;
    if let Some(policy) = &args.respond {
        respond::check(policy)?;
    }
    let signals = signals()?;
    let ends = relay().context("cannot make a socket between processes")?;
    let mut house = House {
        deadline: args
            .stop_after
            .and_then(|secs| now().checked_add(Duration::from_secs(secs))),
        // A terminal that goes away ends what it started.
        hang_up_reloads: args.has_file() && !std::io::stderr().is_terminal(),
        stopping: false,
        members: Vec::new(),
        reloads: Reloads::new(args),
        noted: None,
        args: args.clone(),
        ends,
    };
    if args.interface.is_some() || !args.collect.is_empty() {
        house.start(Role::Capture)?;
        if !house.is_capturing(&signals)? {
            house.end_all();
            return Ok(Found::Trouble);
        }
    }
    if !args.output.quiet {
        let what = args
            .interface
            .clone()
            .unwrap_or_else(|| match args.collect.as_slice() {
                [] => "logs".to_owned(),
                all => {
                    let each = |on: &CollectOn| format!("{} at {}", on.export.as_str(), on.address);
                    all.iter().map(each).collect::<Vec<_>>().join(", ")
                }
            });
        eprintln!("thymus: watching {what}; Ctrl-C ends it and prints the report");
    }
    house.start(Role::Analysis)?;
    if args.console.is_some() {
        house.start(Role::Console)?;
    }
    if !args.outputs.is_empty() {
        house.start(Role::Teller)?;
    }
    if args.respond.is_some() {
        house.start(Role::Enforcer)?;
    }
    let found = house.watch(&signals);
    house.end_all();
    found
}

/// The signals that are waited for, which no thread and no default action gets any more.
fn signals() -> Result<Receiver<Signal>> {
    let mut set = SigSet::empty();
    for signal in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGUSR1,
        Signal::SIGCHLD,
    ] {
        set.add(signal);
    }
    set.thread_block().context("cannot wait for signals")?;
    let (sender, receiver) = channel();
    thread::spawn(move || {
        while let Ok(signal) = set.wait() {
            if sender.send(signal).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

/// All the processes of a run.
pub(super) struct House {
    /// What the run goes by now.
    pub(super) args: LiveArgs,
    /// The way of packets: where they are put in, and where they come out.
    pub(super) ends: (OwnedFd, OwnedFd),
    pub(super) members: Vec<Member>,
    pub(super) reloads: Reloads,
    deadline: Option<Instant>,
    hang_up_reloads: bool,
    stopping: bool,
    noted: Option<Instant>,
}

impl House {
    /// Starts a process for the first time.
    pub(super) fn start(&mut self, role: Role) -> Result<()> {
        let member = Member::start(&self.args, role, &self.ends)?;
        self.members.push(member);
        Ok(())
    }

    /// Waits until the capture says that it is there; `false` when it has said that it cannot, or when the
    /// run was asked to end before.
    fn is_capturing(&mut self, signals: &Receiver<Signal>) -> Result<bool> {
        loop {
            if is_waiting(&self.ends.1, Duration::from_millis(20))? {
                return Ok(true);
            }
            let passes = [Signal::SIGCHLD, Signal::SIGUSR1];
            let is_asked = signals.try_iter().any(|signal| !passes.contains(&signal));
            if is_asked
                || self
                    .member(Role::Capture)
                    .is_some_and(|member| member.ended().is_some())
            {
                return Ok(false);
            }
        }
    }

    /// The process of this role.
    pub(super) fn member(&mut self, role: Role) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.role == role)
    }

    /// Keeps the processes going until the run is over.
    fn watch(&mut self, signals: &Receiver<Signal>) -> Result<Found> {
        loop {
            self.write_note();
            let signal = match signals.recv_timeout(self.patience()) {
                Ok(signal) => Some(signal),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(Found::Trouble),
            };
            let is_late = self.deadline.is_some_and(|deadline| now() >= deadline);
            let reloads = match signal {
                Some(Signal::SIGUSR1) => true,
                Some(Signal::SIGHUP) => self.hang_up_reloads,
                _ => false,
            };
            match signal {
                Some(_) if reloads => {
                    if !self.stopping {
                        self.reload()?;
                    }
                }
                Some(Signal::SIGCHLD) | None if is_late && !self.stopping => self.ask_to_end(),
                Some(Signal::SIGCHLD) | None => {}
                Some(_) if self.stopping => return Ok(Found::Trouble),
                Some(_) => self.ask_to_end(),
            }
            if let Some(found) = self.look_after() {
                return Ok(found);
            }
            self.start_again()?;
            self.tell_pending();
        }
    }

    /// How long to wait for a signal.
    fn patience(&self) -> Duration {
        let again = self.members.iter().filter_map(|member| member.again);
        let first = again.chain(self.deadline.filter(|_| !self.stopping)).min();
        first.map_or(TICK, |at| at.saturating_duration_since(now()).min(TICK))
    }

    fn ask_to_end(&mut self) {
        self.stopping = true;
        let members = self.members.iter();
        for member in members.filter(|member| !LAST.contains(&member.role)) {
            member.signal(Signal::SIGTERM);
        }
    }

    /// Sees who has ended; the exit code of the run, when it is over.
    fn look_after(&mut self) -> Option<Found> {
        let (stopping, at) = (self.stopping, now());
        let mut over = None;
        for member in &mut self.members {
            if member.overstays() {
                member.signal(Signal::SIGKILL);
            }
            let Some(status) = member.ended() else {
                continue;
            };
            let role = member.role;
            match member.bury(status) {
                // Who was to make room has, and at the end of a run nobody takes it.
                Ended::Left if stopping && role == Role::Analysis => {
                    over = Some(status.code().map_or(Found::Trouble, found));
                }
                Ended::Left => member.again = Some(at),
                Ended::Over(code) if role == Role::Analysis => over = Some(found(code)),
                Ended::Over(_) if stopping => {}
                Ended::Died if stopping => {
                    if role == Role::Analysis {
                        over = Some(Found::Trouble);
                    }
                }
                Ended::Over(_) | Ended::Died => member.schedule(at, status),
            }
        }
        let is_wanted = self.args.console.is_some();
        self.members
            .retain(|member| member.child.is_some() || member.role != Role::Console || is_wanted);
        over
    }

    fn start_again(&mut self) -> Result<()> {
        let (at, stopping) = (now(), self.stopping);
        let interface = self.args.interface.as_deref();
        for member in &mut self.members {
            if stopping || member.again.is_none_or(|again| again > at) {
                continue;
            }
            let is_gone = interface.is_some_and(|name| Interface::find(name).is_err());
            if member.role == Role::Capture && is_gone {
                member.again = at.checked_add(TICK);
                continue;
            }
            member.start_again(&self.args, &self.ends)?;
            self.noted = None;
        }
        Ok(())
    }

    /// Nobody outlives the run.
    fn end_all(&mut self) {
        let asked = now();
        let last = self.members.iter_mut();
        let mut last: Vec<_> = last.filter(|member| LAST.contains(&member.role)).collect();
        for member in &last {
            member.signal(Signal::SIGTERM);
        }
        while asked.elapsed() < LAST_PATIENCE && last.iter_mut().any(|member| member.is_going()) {
            thread::sleep(Duration::from_millis(20));
        }
        for member in &mut self.members {
            if let Some(child) = &mut member.child {
                let _is_killed = child.kill().is_ok();
                let _is_reaped = child.wait().is_ok();
            }
        }
        for name in [PROCESSES, CONFIGURATION] {
            if let Some(note) = self.in_state(name) {
                let _is_gone = fs::remove_file(note).is_ok();
            }
        }
    }

    /// A file in the state folder, where there is one.
    fn in_state(&self, name: &str) -> Option<PathBuf> {
        let state = self.args.run.state.as_deref()?;
        Some(state.join(name))
    }

    /// Writes down who is there and by which settings, for the console and for who looks for trouble. A
    /// folder that is not there yet is the business of the analysis, which makes it.
    pub(super) fn write_note(&mut self) {
        if let Some(path) = self.in_state(CONFIGURATION) {
            let write = |value: &Value| write_beside(&path, value).is_ok();
            self.reloads.write_down(write);
        }
        let Some(path) = self.in_state(PROCESSES) else {
            return;
        };
        if self.noted.is_some_and(|at| at.elapsed() < NOTE_EVERY) {
            return;
        }
        let mut processes = vec![json!({
            "name": "supervisor", "pid": std::process::id(), "restarts": 0,
            "memory_bytes": resident("self"),
        })];
        processes.extend(self.members.iter().map(Member::note));
        let written = write_beside(&path, &json!({ "processes": processes }));
        self.noted = written.is_ok().then(now);
    }
}

fn write_beside(path: &Path, value: &Value) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, value.to_string())?;
    fs::rename(fresh, path)
}

fn found(code: i32) -> Found {
    match code {
        0 => Found::Nothing,
        1 => Found::Something,
        _ => Found::Trouble,
    }
}
