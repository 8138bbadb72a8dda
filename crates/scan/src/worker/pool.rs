//! The parent's side: starts workers, hands them files, ends those that take too long.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::confine::Confinement;
use super::protocol::{
    Limits, REPORT_BYTES_MAX, Ready, Start, Task, receive, receive_report, send, send_blob,
    send_task,
};
use crate::{FileReport, Reason, ScanPolicy};

/// Files after which a worker is replaced: whoever took it over has had it for so long at most.
const FILES_MAX: u32 = 512;
/// Milliseconds in which a worker has to be ready.
const START_MILLIS_MAX: u64 = 10_000;
/// Milliseconds that a worker may take beyond the time for a file, to say by itself that it is over.
const GRACE_MILLIS: u64 = 2_000;
/// Bytes that a worker may use besides what the policy lets it hold: the program and its decoders.
const MEMORY_BYTES: u64 = 256 << 20;
/// Bytes that looking for rules may take besides the rules: what runs them, and what was found so far.
const RULES_BYTES: u64 = 256 << 20;

impl Limits {
    /// What files under `policy` can take at the worst. Processor time is the last resort, should nobody
    /// be left to stop a worker: that is replaced once it worked for half of it.
    pub fn of(policy: &ScanPolicy) -> Self {
        let held = policy.file_bytes_max.saturating_add(policy.open_bytes_max);
        let twice = held
            .saturating_add(policy.member_bytes_max)
            .saturating_mul(2);
        Self {
            memory_bytes_max: MEMORY_BYTES
                .saturating_add(REPORT_BYTES_MAX as u64)
                .saturating_add(twice),
            cpu_secs_max: deadline(policy).saturating_mul(2) / 1000 + 10,
            threads: 1,
        }
    }
}

/// Milliseconds after which a worker is ended.
fn deadline(policy: &ScanPolicy) -> u64 {
    let grace = GRACE_MILLIS.saturating_add(policy.millis_max / 10);
    policy.millis_max.saturating_add(grace)
}

/// Why no worker could be started.
#[derive(Debug)]
pub enum StartError {
    /// The process could not be started, or said nothing.
    Process(io::Error),
    /// It could not be confined.
    NotConfined(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(error) => write!(f, "a worker did not start: {error}"),
            Self::NotConfined(why) => write!(f, "a worker cannot be confined: {why}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Process(error)
    }
}

/// Starts workers.
pub struct Workers<'a> {
    command: &'a (dyn Fn() -> Command + Sync),
    policy: &'a ScanPolicy,
    limits: Limits,
    models: &'a [Vec<u8>],
    rules: Option<&'a [u8]>,
    clock: &'a (dyn Fn() -> u64 + Sync),
    spare: Mutex<Option<Process>>,
    /// The most that a process had in memory, in bytes, of those that have ended.
    memory_peak: AtomicU64,
}

impl<'a> Workers<'a> {
    /// Starts processes by `command`, which must end in [`super::serve`], for files under `policy`.
    /// `clock` tells milliseconds since some moment.
    pub fn new(
        command: &'a (dyn Fn() -> Command + Sync),
        policy: &'a ScanPolicy,
        limits: Limits,
        clock: &'a (dyn Fn() -> u64 + Sync),
    ) -> Self {
        Self {
            command,
            policy,
            limits,
            models: &[],
            rules: None,
            clock,
            spare: Mutex::new(None),
            memory_peak: AtomicU64::new(0),
        }
    }

    /// Gives each process these models, as they are in their files, before it reads anything else, and the
    /// memory to hold them.
    #[must_use]
    pub fn with_models(mut self, models: &'a [Vec<u8>]) -> Self {
        self.models = models;
        let bytes: u64 = models.iter().map(|model| model.len() as u64).sum();
        let most = &mut self.limits.memory_bytes_max;
        *most = most.saturating_add(bytes.saturating_mul(2));
        self
    }

    /// Gives each process these rules, as [`super::serve`] reads them, and the memory to hold and use them.
    #[must_use]
    pub fn with_rules(mut self, rules: Option<&'a [u8]>) -> Self {
        self.rules = rules;
        let bytes = rules.map_or(0, |rules| {
            RULES_BYTES.saturating_add((rules.len() as u64).saturating_mul(16))
        });
        let most = &mut self.limits.memory_bytes_max;
        *most = most.saturating_add(bytes);
        self
    }

    /// The most that one of the processes that have ended had in memory, in bytes.
    pub fn memory_peak(&self) -> u64 {
        self.memory_peak.load(Ordering::Relaxed)
    }

    /// What files may cost.
    pub const fn policy(&self) -> &'a ScanPolicy {
        self.policy
    }

    /// Starts the first process ahead of its use, and tells how far it is confined. It ends with the
    /// thread that calls.
    ///
    /// # Errors
    /// When none could be started or confined.
    pub fn start(&self) -> Result<Confinement, StartError> {
        let process = self.launch()?;
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(spare.insert(process).confinement)
    }

    /// A worker that has not been started. It belongs to the thread that calls: when that ends, so do
    /// the processes it started.
    pub fn worker(&self) -> Worker<'_> {
        Worker {
            workers: self,
            process: None,
            ended: Vec::new(),
        }
    }
}

/// One worker after the other, each in a process of its own.
pub struct Worker<'w> {
    workers: &'w Workers<'w>,
    process: Option<Process>,
    ended: Vec<Child>,
}

struct Process {
    child: Child,
    stream: UnixStream,
    confinement: Confinement,
    files: u32,
    millis: u64,
}

/// How a question to a worker ended.
enum Answer {
    Report(Box<FileReport>),
    OutOfTime,
    Died { had_others: bool },
}

impl Worker<'_> {
    /// Starts a process, unless one is there, and tells how far it is confined.
    ///
    /// # Errors
    /// When none could be started or confined.
    pub fn start(&mut self) -> Result<Confinement, StartError> {
        if let Some(process) = &self.process {
            return Ok(process.confinement);
        }
        self.ended
            .retain_mut(|child| !matches!(child.try_wait(), Ok(Some(_))));
        let spare = self.workers.spare.lock();
        let spare = spare.unwrap_or_else(PoisonError::into_inner).take();
        let process = spare.map_or_else(|| self.workers.launch(), Ok)?;
        Ok(self.process.insert(process).confinement)
    }

    /// The number of the process, while one is there.
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(|process| process.child.id())
    }

    /// What is found about the open `file` of so many `bytes` that was at `path`. When the process dies over it though it
    /// had others before, a fresh one is asked: what is said of a file must not hang on those before it.
    pub fn look(&mut self, path: &str, file: &File, bytes: u64) -> FileReport {
        let mut answer = self.ask(path, file, bytes);
        if let Answer::Died { had_others: true } = answer {
            answer = self.ask(path, file, bytes);
        }
        match answer {
            Answer::Report(report) => *report,
            Answer::OutOfTime => FileReport::not_judged(bytes, Reason::OutOfTime),
            Answer::Died { .. } => FileReport::not_judged(bytes, Reason::WorkerDied),
        }
    }

    fn ask(&mut self, path: &str, mut file: &File, bytes: u64) -> Answer {
        let policy = self.workers.policy;
        let deadline = deadline(policy);
        if self.start().is_err() || file.rewind().is_err() {
            return Answer::Died { had_others: false };
        }
        let Some(process) = &mut self.process else {
            return Answer::Died { had_others: false };
        };
        let clock = self.workers.clock;
        let began = clock();
        let had_others = process.files > 0;
        let task = Task {
            path: path.to_owned(),
            bytes,
        };
        let mut stream = BufReader::new(Timed {
            stream: &process.stream,
            clock,
            until: began.saturating_add(deadline),
        });
        let answer = send_task(&process.stream, &task, file.as_fd())
            .and_then(|()| receive_report(&mut stream, policy));
        process.files += 1;
        process.millis += clock().saturating_sub(began);
        match answer {
            Ok(report) => {
                let is_shaken = report
                    .verdicts()
                    .any(|verdict| verdict.outcome.reason() == Some(Reason::DecoderPanicked));
                if is_shaken || process.files >= FILES_MAX || process.millis >= deadline {
                    self.end();
                }
                Answer::Report(Box::new(report))
            }
            Err(error) => {
                self.end();
                if error.kind() == io::ErrorKind::TimedOut {
                    return Answer::OutOfTime;
                }
                Answer::Died { had_others }
            }
        }
    }

    /// Ends the process. It is not waited for: one that hangs in the system would take the scan along.
    fn end(&mut self) {
        if let Some(mut process) = self.process.take() {
            let peak = memory_peak(process.child.id()).unwrap_or_default();
            self.workers.memory_peak.fetch_max(peak, Ordering::Relaxed);
            // It may be gone already.
            let _was_there = process.child.kill().is_ok();
            if !matches!(process.child.try_wait(), Ok(Some(_))) {
                self.ended.push(process.child);
            }
        }
    }
}

/// The most that a process had in memory, in bytes (VmHWM, proc_pid_status(5)).
fn memory_peak(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes.saturating_mul(1024))
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

impl Workers<'_> {
    fn launch(&self) -> Result<Process, StartError> {
        let (stream, theirs) = UnixStream::pair()?;
        let mut child = (self.command)()
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .env_clear()
            // Else the allocator takes a gigabyte at once, which counts as used.
            .env("MIMALLOC_ARENA_EAGER_COMMIT", "0")
            .current_dir("/")
            .spawn()?;
        let start = Start {
            policy: self.policy.clone(),
            limits: self.limits,
            models: self.models.len() as u32,
            has_rules: self.rules.is_some(),
        };
        // One that does not read would hold up its parent for good.
        stream.set_write_timeout(Some(Duration::from_millis(START_MILLIS_MAX)))?;
        let mut timed = Timed {
            stream: &stream,
            clock: self.clock,
            until: (self.clock)().saturating_add(START_MILLIS_MAX),
        };
        let mut blobs = self.models.iter().map(Vec::as_slice).chain(self.rules);
        let mut send_blobs = || blobs.try_for_each(|blob| send_blob(&stream, blob));
        let sent = send(&stream, &start).and_then(|()| send_blobs());
        let ready = sent.and_then(|()| receive(&mut timed));
        let trouble = match ready {
            Ok(Ready::Confined(confinement)) => {
                return Ok(Process {
                    child,
                    stream,
                    confinement,
                    files: 0,
                    millis: 0,
                });
            }
            Ok(Ready::Failed(why)) => StartError::NotConfined(why),
            Err(error) => StartError::Process(error),
        };
        child.kill()?;
        child.wait()?;
        Err(trouble)
    }
}

/// What comes from a worker until a moment.
struct Timed<'t> {
    stream: &'t UnixStream,
    clock: &'t (dyn Fn() -> u64 + Sync),
    until: u64,
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_sub((self.clock)());
        if left == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream
            .set_read_timeout(Some(Duration::from_millis(left)))?;
        self.stream
            .read(buffer)
            .map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
                _ => error,
            })
    }
}
