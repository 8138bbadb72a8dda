//! Many files on several threads, with the results in the order of the walk.

use std::fs::{File, Metadata};
use std::io::{Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::order::Order;
use crate::read::{open, take};
use crate::{Entry, FileReport, Found, Reason, ScanPolicy, Scanner, Walker, Worker, Workers};

/// Stack of a thread: archives nest, and decoders take what they like.
pub(crate) const STACK_BYTES: usize = 8 << 20;

/// Where files are looked at.
#[derive(Clone, Copy)]
pub enum Engine<'a> {
    /// In this process, with nothing between it and the bytes.
    Here(&'a Scanner<'a>),
    /// In workers, one for each thread.
    Workers(&'a Workers<'a>),
    /// In workers of two kinds, one after the other, with what the second kind finds beside what the first
    /// does. Which kind is first to read a file changes from file to file.
    Both(&'a Workers<'a>, &'a Workers<'a>),
}

impl<'a> Engine<'a> {
    const fn policy(self) -> &'a ScanPolicy {
        match self {
            Self::Here(scanner) => scanner.policy(),
            Self::Workers(workers) | Self::Both(workers, _) => workers.policy(),
        }
    }

    fn hand(self) -> Hand<'a> {
        match self {
            Self::Here(scanner) => Hand::Here(scanner),
            Self::Workers(workers) => Hand::Worker(workers.worker()),
            Self::Both(first, second) => Hand::Both(first.worker(), second.worker()),
        }
    }
}

/// What looks at the files of one thread.
enum Hand<'a> {
    Here(&'a Scanner<'a>),
    Worker(Worker<'a>),
    Both(Worker<'a>, Worker<'a>),
}

impl Hand<'_> {
    fn look(
        &mut self,
        path: &str,
        file: File,
        bytes: u64,
        is_over: &dyn Fn() -> bool,
        look: Look<'_>,
    ) -> (FileReport, Option<Beside>) {
        match self {
            Self::Worker(worker) => (worker.look(path, &file, bytes), None),
            Self::Here(scanner) => match take(file, bytes, scanner.policy().file_bytes_max) {
                Ok(bytes) => (scanner.scan(path, &bytes, is_over), None),
                Err((bytes, reason)) => (FileReport::not_judged(bytes, reason), None),
            },
            Self::Both(first, second) => {
                let timed = |worker: &mut Worker<'_>| {
                    let began = (look.clock)();
                    let report = worker.look(path, &file, bytes);
                    (report, (look.clock)().saturating_sub(began))
                };
                let early = look.is_turned.then(|| timed(second));
                let report = timed(first).0;
                let (beside, millis) = early.unwrap_or_else(|| timed(second));
                let beside = Beside {
                    report: beside,
                    millis,
                };
                (report, Some(beside))
            }
        }
    }
}

/// How two kinds of workers look at a file.
#[derive(Clone, Copy)]
struct Look<'l> {
    clock: &'l dyn Fn() -> u64,
    /// Whether the second kind is first.
    is_turned: bool,
}

/// What to scan and how.
pub struct Job<'a> {
    /// Judges each file.
    pub engine: Engine<'a>,
    /// Names them.
    pub walker: Walker,
    /// Files looked at at one time.
    pub threads: usize,
    /// Milliseconds that have passed since some moment.
    pub clock: &'a (dyn Fn() -> u64 + Sync),
}

/// Which file it is, whatever name leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    /// The file system it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

/// One file with what was found.
pub struct Scanned {
    /// Its path, `-` for standard input.
    pub path: PathBuf,
    /// What was found.
    pub report: FileReport,
    /// How long it took, without what stands beside it.
    pub millis: u64,
    /// What the second kind of workers found, where there are two.
    pub beside: Option<Beside>,
    /// Which file was looked at, where one was.
    pub id: Option<FileId>,
}

/// What the second kind of workers found about a file.
pub struct Beside {
    /// What was found.
    pub report: FileReport,
    /// How long it took.
    pub millis: u64,
}

/// Scans everything that the walk names and calls `emit` with each file, in the order of the walk,
/// until that returns false. Gives the walker back, which knows what it left out.
pub fn scan_all(job: Job<'_>, emit: &mut dyn FnMut(Scanned) -> bool) -> Walker {
    let Job {
        engine,
        walker,
        threads,
        clock,
    } = job;
    let walk = Mutex::new((walker, 0_u64));
    let order = Order::new();
    thread::scope(|scope| {
        let work = || {
            let mut hand = engine.hand();
            while let Some((number, entry)) = next(&walk) {
                if !order.begin(number) {
                    return;
                }
                let look = Look {
                    clock,
                    is_turned: number % 2 == 1,
                };
                let scanned = one(engine.policy(), &mut hand, entry, look);
                let weight = 1 + scanned.report.members.len();
                order.put(number, scanned, weight);
            }
            let count = walk.lock().unwrap_or_else(PoisonError::into_inner).1;
            order.end(count);
        };
        for _ in 0..threads.max(1) {
            let spawned = thread::Builder::new()
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, work);
            if spawned.is_err() {
                break;
            }
        }
        while let Some(scanned) = order.take() {
            if !emit(scanned) {
                order.stop();
            }
        }
        order.stop();
    });
    walk.into_inner().unwrap_or_else(PoisonError::into_inner).0
}

fn next(walk: &Mutex<(Walker, u64)>) -> Option<(u64, Entry)> {
    let mut walk = walk.lock().unwrap_or_else(PoisonError::into_inner);
    let entry = walk.0.next()?;
    let number = walk.1;
    walk.1 += 1;
    Some((number, entry))
}

fn one(policy: &ScanPolicy, hand: &mut Hand<'_>, entry: Entry, how: Look<'_>) -> Scanned {
    let began = (how.clock)();
    let passed = || (how.clock)().saturating_sub(began);
    let is_over = || passed() > policy.millis_max;
    let mut id = None;
    let look = || {
        let (file, bytes) = match opened(policy, &entry) {
            Ok((file, metadata)) => {
                id = Some(FileId {
                    device: metadata.dev(),
                    inode: metadata.ino(),
                });
                (file, metadata.len())
            }
            Err((bytes, reason)) => return (FileReport::not_judged(bytes, reason), None),
        };
        let path = match entry.found {
            Found::StandardInput => entry.path.clone(),
            // Rules ask for folders, too.
            _ => std::path::absolute(&entry.path).unwrap_or_else(|_| entry.path.clone()),
        };
        hand.look(&path.to_string_lossy(), file, bytes, &is_over, how)
    };
    let (report, beside) = catch_unwind(AssertUnwindSafe(look))
        .unwrap_or_else(|_| (FileReport::not_judged(0, Reason::DecoderPanicked), None));
    let millis_beside = beside.as_ref().map_or(0, |beside| beside.millis);
    Scanned {
        report,
        millis: passed().saturating_sub(millis_beside),
        beside,
        id: id.filter(|_| entry.found != Found::StandardInput),
        path: entry.path,
    }
}

fn opened(policy: &ScanPolicy, entry: &Entry) -> Result<(File, Metadata), (u64, Reason)> {
    let most = policy.file_bytes_max;
    match entry.found {
        Found::File { may_follow } => open(&entry.path, may_follow, most),
        Found::NotReadable(reason) => Err((0, reason)),
        Found::StandardInput => {
            let failed = |_| (0, Reason::Unreadable);
            // In memory, as everything that is looked at.
            let held = memfd_create(c"standard input", MFdFlags::MFD_CLOEXEC);
            let mut held = File::from(held.map_err(|_| (0, Reason::Unreadable))?);
            let mut input = std::io::stdin().lock().take(most + 1);
            let read = std::io::copy(&mut input, &mut held).map_err(failed)?;
            if read > most {
                return Err((read, Reason::TooLarge));
            }
            held.rewind().map_err(failed)?;
            let metadata = held.metadata().map_err(failed)?;
            Ok((held, metadata))
        }
    }
}
