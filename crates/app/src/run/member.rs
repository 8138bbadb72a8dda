//! One process of a run, as its supervisor sees it: started, told, asked to make room, started again.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use thymus_schema::Timestamp;
use thymus_sensor::relay;

use super::now_nanos;
use crate::cli::{LiveArgs, Role};

/// The least pause after an end with an error.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// So many deaths in a minute are followed by a new start at once; each more doubles the pause.
const AT_ONCE_MAX: usize = 5;
const PAUSE_MAX: Duration = Duration::from_secs(30);
const MINUTE: Duration = Duration::from_mins(1);
/// How long a process may take to make room for another: to end what it serves, to save what was learned.
const ROOM_PATIENCE: Duration = Duration::from_mins(1);

/// A process that is to be there.
pub(super) struct Member {
    pub(super) role: Role,
    /// None while it is waited with.
    pub(super) child: Option<Child>,
    /// Where the capture is told what changes.
    pub(super) ear: Option<OwnedFd>,
    since: i64,
    deaths: Vec<Instant>,
    pub(super) restarts: u64,
    /// When it is to be started again.
    pub(super) again: Option<Instant>,
    /// Since when it is to make room for another.
    leaves: Option<Instant>,
    /// The last one made room for the next, and finished what it wrote.
    has_left: bool,
}

/// What the end of a process means.
pub(super) enum Ended {
    /// Start it again.
    Died,
    /// It has made room for another.
    Left,
    /// It has said what is to be said: the run is over with this exit code.
    Over(i32),
}

impl Member {
    /// Starts a process for the first time.
    pub(super) fn start(args: &LiveArgs, role: Role, ends: &(OwnedFd, OwnedFd)) -> Result<Self> {
        let (child, ear) = spawn(args, role, (0, false), ends)?;
        Ok(Self {
            role,
            child: Some(child),
            ear,
            since: now_nanos(),
            deaths: Vec::new(),
            restarts: 0,
            again: None,
            leaves: None,
            has_left: false,
        })
    }

    /// Starts it again.
    pub(super) fn start_again(&mut self, args: &LiveArgs, ends: &(OwnedFd, OwnedFd)) -> Result<()> {
        self.again = None;
        self.restarts += 1;
        let (child, ear) = spawn(args, self.role, (self.restarts, self.has_left), ends)?;
        self.child = Some(child);
        self.ear = ear;
        self.since = now_nanos();
        Ok(())
    }

    /// Whether it is there.
    pub(super) fn is_going(&mut self) -> bool {
        self.child.is_some() && self.ended().is_none()
    }

    /// Whether it has ended.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        let child = self.child.as_mut()?;
        child.try_wait().ok().flatten()
    }

    /// What its end means; it is waited with from then on.
    pub(super) fn bury(&mut self, status: ExitStatus) -> Ended {
        /// What a panic that nobody caught ends with.
        const PANIC: i32 = 101;
        self.child = None;
        self.has_left = self.leaves.is_some() && status.success();
        if self.leaves.take().is_some() {
            return Ended::Left;
        }
        match status.code() {
            None | Some(PANIC) => Ended::Died,
            Some(code) => Ended::Over(code),
        }
    }

    /// From now on it is to make room for another.
    pub(super) fn leaves(&mut self, at: Instant) {
        self.leaves = self.child.is_some().then_some(at);
    }

    /// Whether it was asked to and takes too long.
    pub(super) fn overstays(&self) -> bool {
        self.leaves.is_some_and(|at| at.elapsed() >= ROOM_PATIENCE)
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            let id = Pid::from_raw(child.id().cast_signed());
            let _is_there = kill(id, signal).is_ok();
        }
    }

    /// When to start it again, and a word about it.
    pub(super) fn schedule(&mut self, at: Instant, status: ExitStatus) {
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

    /// For the list of who is there.
    pub(super) fn note(&self) -> Value {
        let pid = self.child.as_ref().map(Child::id);
        json!({
            "name": self.role.as_str(), "pid": pid, "restarts": self.restarts,
            "since": Timestamp::from_nanos(self.since),
            "memory_bytes": pid.and_then(|pid| resident(&pid.to_string())),
        })
    }
}

/// Starts a process, which was started so often before. What it inherits: the packets' way in or out, and
/// where results go.
fn spawn(
    args: &LiveArgs,
    role: Role,
    (restarts, goes_on): (u64, bool),
    (into, out): &(OwnedFd, OwnedFd),
) -> Result<(Child, Option<OwnedFd>)> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(program);
    let mut ear = None;
    match role {
        Role::Capture => {
            let (ours, theirs) = relay().context("cannot make a socket between processes")?;
            ear = Some(ours);
            command
                .stdin(Stdio::from(theirs))
                .stdout(Stdio::from(into.try_clone()?))
        }
        Role::Analysis => command
            .stdin(Stdio::from(out.try_clone()?))
            .stdout(Stdio::inherit()),
        // Results have standard output for themselves.
        Role::Console | Role::Teller | Role::Enforcer => command
            .stdin(Stdio::null())
            .stdout(Stdio::from(std::io::stderr().as_fd().try_clone_to_owned()?)),
    };
    match role {
        Role::Console => console(&mut command, args),
        Role::Teller => teller(&mut command, args),
        Role::Enforcer => enforcer(&mut command, args),
        Role::Capture | Role::Analysis => {
            match &args.settings {
                Some(settings) => command.args(settings.words()),
                None => command.args(std::env::args_os().skip(1)),
            };
            command.args(["--role", role.as_str()]);
            command.args(["--restarts", &restarts.to_string()]);
            command.args(goes_on.then_some("--goes-on"));
        }
    }
    let child = command
        .args(["--parent", &std::process::id().to_string()])
        // What is typed at a terminal comes here alone, and is passed on once.
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start the {} process", role.as_str()))?;
    Ok((child, ear))
}

fn console(command: &mut Command, args: &LiveArgs) {
    command.arg("console");
    if let Some(address) = args.console {
        command.args(["--listen", &address.to_string()]);
    }
    if let Some(state) = &args.run.state {
        command.arg("--state").arg(state);
    }
    for name in &args.console_host {
        command.args(["--host", name]);
    }
    if let (Some(cert), Some(key)) = (&args.console_tls_cert, &args.console_tls_key) {
        command.arg("--tls-cert").arg(cert);
        command.arg("--tls-key").arg(key);
    }
    command.args(args.keep.words());
    command.args(args.no_sandbox.then_some("--no-sandbox"));
}

fn teller(command: &mut Command, args: &LiveArgs) {
    command.arg("tell");
    if let Some(state) = &args.run.state {
        command.arg("--state").arg(state);
    }
    for output in &args.outputs {
        command.args(["--output", output]);
    }
    if let Some(url) = &args.console_url {
        command.args(["--console-url", url]);
    }
    command.args(args.no_sandbox.then_some("--no-sandbox"));
}

fn enforcer(command: &mut Command, args: &LiveArgs) {
    command.arg("enforce");
    if let Some(state) = &args.run.state {
        command.arg("--state").arg(state);
    }
    if let Some(policy) = &args.respond {
        command.arg("--policy").arg(policy);
    }
    if let Some(address) = args.console {
        command.args(["--managed", &address.port().to_string()]);
    }
    command.args(args.no_sandbox.then_some("--no-sandbox"));
}

/// Memory of a process that is resident, in bytes.
pub(super) fn resident(process: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
