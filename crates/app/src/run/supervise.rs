//! The first process of a live run: it starts the others, starts again what dies, and passes on the wish
//! to end. It opens no socket, reads no packet and no log, so it needs no confinement to keep the rights
//! that a new capture takes.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use thymus_schema::Timestamp;
use thymus_sensor::{Interface, is_waiting, relay};

use super::now_nanos;
use crate::Found;
use crate::cli::{CollectOn, LiveArgs, Role};
use crate::replay::now;
use crate::tell;

/// Nothing is looked at more often than this while all goes well.
const TICK: Duration = Duration::from_secs(1);
/// So many deaths in a minute are followed by a new start at once; each more doubles the pause.
const AT_ONCE_MAX: usize = 5;
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Who ends last, because they show and tell how it ended, and how long they may take when they are asked to.
const LAST: [Role; 2] = [Role::Console, Role::Teller];
const LAST_PATIENCE: Duration = Duration::from_secs(5);
const MINUTE: Duration = Duration::from_mins(1);
/// How often what the processes take is written down.
const NOTE_EVERY: Duration = Duration::from_secs(5);

/// Runs the processes until one of them ends by itself or somebody asks for it.
pub(super) fn run(args: &LiveArgs) -> Result<Found> {
    tell::check(&args.outputs)?;
    let signals = signals()?;
    let (into, out) = relay().context("cannot make a socket between processes")?;
    let mut house = House {
        args,
        deadline: args
            .stop_after
            .and_then(|secs| now().checked_add(Duration::from_secs(secs))),
        stopping: false,
        members: Vec::new(),
        note: args
            .run
            .state
            .as_deref()
            .map(|dir| dir.join("processes.json")),
        noted: None,
    };
    if args.interface.is_some() || !args.collect.is_empty() {
        house.start(Role::Capture, (&into, &out))?;
        if !house.is_capturing(&out, &signals)? {
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
    house.start(Role::Analysis, (&into, &out))?;
    if args.console.is_some() {
        house.start(Role::Console, (&into, &out))?;
    }
    if !args.outputs.is_empty() {
        house.start(Role::Teller, (&into, &out))?;
    }
    let found = house.watch(&signals, &into, &out);
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

struct House<'a> {
    args: &'a LiveArgs,
    deadline: Option<Instant>,
    stopping: bool,
    members: Vec<Member>,
    /// Where it is written down who is there.
    note: Option<PathBuf>,
    noted: Option<Instant>,
}

/// A process that is to be there.
struct Member {
    role: Role,
    /// None while it is waited with.
    child: Option<Child>,
    since: i64,
    deaths: Vec<Instant>,
    restarts: u64,
    /// When it is to be started again.
    again: Option<Instant>,
}

/// What the end of a process means.
enum Ended {
    /// Start it again.
    Died,
    /// It has said what is to be said: the run is over with this exit code.
    Over(i32),
}

impl House<'_> {
    /// Starts a process for the first time.
    fn start(&mut self, role: Role, ends: (&OwnedFd, &OwnedFd)) -> Result<()> {
        let child = spawn(self.args, role, 0, ends)?;
        self.members.push(Member {
            role,
            child: Some(child),
            since: now_nanos(),
            deaths: Vec::new(),
            restarts: 0,
            again: None,
        });
        Ok(())
    }

    /// Waits until the capture says that it is there; `false` when it has said that it cannot, or when the
    /// run was asked to end before.
    fn is_capturing(&mut self, out: &OwnedFd, signals: &Receiver<Signal>) -> Result<bool> {
        loop {
            if is_waiting(out, Duration::from_millis(20))? {
                return Ok(true);
            }
            let is_asked = signals.try_iter().any(|signal| signal != Signal::SIGCHLD);
            if is_asked
                || self
                    .member(Role::Capture)
                    .is_some_and(|member| member.ended().is_some())
            {
                return Ok(false);
            }
        }
    }

    fn member(&mut self, role: Role) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.role == role)
    }

    /// Keeps the processes going until the run is over.
    fn watch(
        &mut self,
        signals: &Receiver<Signal>,
        into: &OwnedFd,
        out: &OwnedFd,
    ) -> Result<Found> {
        loop {
            self.write_note();
            let signal = match signals.recv_timeout(self.patience()) {
                Ok(signal) => Some(signal),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(Found::Trouble),
            };
            let is_late = self.deadline.is_some_and(|deadline| now() >= deadline);
            match signal {
                Some(Signal::SIGCHLD) | None if is_late && !self.stopping => self.ask_to_end(),
                Some(Signal::SIGCHLD) | None => {}
                Some(_) if self.stopping => return Ok(Found::Trouble),
                Some(_) => self.ask_to_end(),
            }
            if let Some(found) = self.look_after() {
                return Ok(found);
            }
            self.start_again(into, out)?;
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
            let Some(status) = member.ended() else {
                continue;
            };
            member.child = None;
            match meaning(member.role, status) {
                Ended::Over(code) if member.role == Role::Analysis => over = Some(found(code)),
                Ended::Over(_) if stopping || member.role == Role::Analysis => {}
                Ended::Died if stopping => {
                    if member.role == Role::Analysis {
                        over = Some(Found::Trouble);
                    }
                }
                Ended::Over(_) | Ended::Died => member.schedule(at, status),
            }
        }
        over
    }

    fn start_again(&mut self, into: &OwnedFd, out: &OwnedFd) -> Result<()> {
        let (at, stopping) = (now(), self.stopping);
        let interface = self.args.interface.as_deref();
        for index in 0..self.members.len() {
            let Some(member) = self.members.get_mut(index) else {
                continue;
            };
            if stopping || member.again.is_none_or(|again| again > at) {
                continue;
            }
            let role = member.role;
            if role == Role::Capture && interface.is_some_and(|name| Interface::find(name).is_err())
            {
                member.again = at.checked_add(TICK);
                continue;
            }
            member.again = None;
            member.restarts += 1;
            let restarts = member.restarts;
            let child = spawn(self.args, role, restarts, (into, out))?;
            if let Some(member) = self.members.get_mut(index) {
                member.child = Some(child);
                member.since = now_nanos();
            }
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
        if let Some(note) = &self.note {
            let _is_gone = fs::remove_file(note).is_ok();
        }
    }

    /// Writes down who is there, for the console and for who looks for trouble.
    fn write_note(&mut self) {
        let Some(path) = &self.note else {
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
        // A folder that is not there yet is the business of the analysis, which makes it.
        let _is_written = write_beside(path, &json!({ "processes": processes })).is_ok();
        self.noted = Some(now());
    }
}

/// Starts a process. What it inherits: the packets' way in or out, and where results go.
fn spawn(
    args: &LiveArgs,
    role: Role,
    restarts: u64,
    (into, out): (&OwnedFd, &OwnedFd),
) -> Result<Child> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(program);
    match role {
        Role::Capture => command
            .stdin(Stdio::null())
            .stdout(Stdio::from(into.try_clone()?)),
        Role::Analysis => command
            .stdin(Stdio::from(out.try_clone()?))
            .stdout(Stdio::inherit()),
        // Results have standard output for themselves.
        Role::Console | Role::Teller => command
            .stdin(Stdio::null())
            .stdout(Stdio::from(std::io::stderr().as_fd().try_clone_to_owned()?)),
    };
    if let (Role::Console, Some(address), Some(state)) = (role, args.console, &args.run.state) {
        command.args(["console", "--listen", &address.to_string(), "--state"]);
        command.arg(state);
        for name in &args.console_host {
            command.args(["--host", name]);
        }
        if let (Some(cert), Some(key)) = (&args.console_tls_cert, &args.console_tls_key) {
            command.arg("--tls-cert").arg(cert);
            command.arg("--tls-key").arg(key);
        }
        command.args(args.keep.words());
        command.args(args.no_sandbox.then_some("--no-sandbox"));
    } else if let (Role::Teller, Some(state)) = (role, &args.run.state) {
        command.args(["tell", "--state"]).arg(state);
        for output in &args.outputs {
            command.args(["--output", output]);
        }
        command.args(args.no_sandbox.then_some("--no-sandbox"));
    } else {
        match &args.settings {
            Some(settings) => command.args(settings.words()),
            None => command.args(std::env::args_os().skip(1)),
        };
        command.args(["--role", role.as_str()]);
        command.args(["--restarts", &restarts.to_string()]);
    }
    command
        .args(["--parent", &std::process::id().to_string()])
        // What is typed at a terminal comes here alone, and is passed on once.
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start the {} process", role.as_str()))
}

fn write_beside(path: &Path, value: &Value) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, value.to_string())?;
    fs::rename(fresh, path)
}

impl Member {
    fn is_going(&mut self) -> bool {
        self.child.is_some() && self.ended().is_none()
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        let child = self.child.as_mut()?;
        child.try_wait().ok().flatten()
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            let id = Pid::from_raw(child.id().cast_signed());
            let _is_there = kill(id, signal).is_ok();
        }
    }

    /// When to start it again, and a word about it.
    fn schedule(&mut self, at: Instant, status: ExitStatus) {
        self.deaths
            .retain(|death| at.duration_since(*death) < MINUTE);
        self.deaths.push(at);
        let more = self.deaths.len().saturating_sub(AT_ONCE_MAX);
        let mut pause = match more {
            0 => Duration::ZERO,
            more => PAUSE_MAX.min(Duration::from_secs(1 << more.min(5))),
        };
        // What could not capture has said why; the reason is seldom gone at once.
        if self.role != Role::Analysis && status.code() == Some(2) {
            pause = pause.max(TICK);
        } else {
            eprintln!(
                "thymus: the {} process ended ({status}); starting it again",
                self.role.as_str()
            );
        }
        self.again = at.checked_add(pause);
    }

    fn note(&self) -> Value {
        let pid = self.child.as_ref().map(Child::id);
        json!({
            "name": self.role.as_str(), "pid": pid, "restarts": self.restarts,
            "since": Timestamp::from_nanos(self.since),
            "memory_bytes": pid.and_then(|pid| resident(&pid.to_string())),
        })
    }
}

/// Memory of a process that is resident, in bytes.
fn resident(process: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// A process that was killed, or fell over its own fault, is started again; one that ends with a code has
/// come to an end by itself.
fn meaning(role: Role, status: ExitStatus) -> Ended {
    /// What a panic that nobody caught ends with.
    const PANIC: i32 = 101;
    match (role, status.code()) {
        (_, None | Some(PANIC)) => Ended::Died,
        (_, Some(code)) => Ended::Over(code),
    }
}

fn found(code: i32) -> Found {
    match code {
        0 => Found::Nothing,
        1 => Found::Something,
        _ => Found::Trouble,
    }
}
