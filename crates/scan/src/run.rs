//! Many files on several threads, with the results in the order of the walk.

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::order::Order;
use crate::{Entry, FileReport, Found, Reason, Scanner, Walker, read};

/// Stack of a thread: archives nest, and decoders take what they like.
const STACK_BYTES: usize = 8 << 20;

/// What to scan and how.
pub struct Job<'a, 's> {
    /// Judges each file.
    pub scanner: &'a Scanner<'s>,
    /// Names them.
    pub walker: Walker,
    /// Files looked at at one time.
    pub threads: usize,
    /// Milliseconds that have passed since some moment.
    pub clock: &'a (dyn Fn() -> u64 + Sync),
}

/// One file with what was found.
pub struct Scanned {
    /// Its path, `-` for standard input.
    pub path: PathBuf,
    /// What was found.
    pub report: FileReport,
    /// How long it took.
    pub millis: u64,
}

/// Scans everything that the walk names and calls `emit` with each file, in the order of the walk,
/// until that returns false. Gives the walker back, which knows what it left out.
pub fn scan_all(job: Job<'_, '_>, emit: &mut dyn FnMut(Scanned) -> bool) -> Walker {
    let Job {
        scanner,
        walker,
        threads,
        clock,
    } = job;
    let walk = Mutex::new((walker, 0_u64));
    let order = Order::new();
    thread::scope(|scope| {
        let work = || {
            while let Some((number, entry)) = next(&walk) {
                if !order.begin(number) {
                    return;
                }
                let scanned = one(scanner, entry, clock);
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

fn one(scanner: &Scanner<'_>, entry: Entry, clock: &dyn Fn() -> u64) -> Scanned {
    let began = clock();
    let passed = || clock().saturating_sub(began);
    let is_over = || passed() > scanner.policy().millis_max;
    let look = || match bytes_of(scanner, &entry) {
        Ok(bytes) => {
            let name = entry.path.file_name().unwrap_or_default();
            scanner.scan(&name.to_string_lossy(), &bytes, &is_over)
        }
        Err((bytes, reason)) => FileReport::not_judged(bytes, reason),
    };
    let report = catch_unwind(AssertUnwindSafe(look))
        .unwrap_or_else(|_| FileReport::not_judged(0, Reason::DecoderPanicked));
    Scanned {
        report,
        millis: passed(),
        path: entry.path,
    }
}

fn bytes_of(scanner: &Scanner<'_>, entry: &Entry) -> Result<Vec<u8>, (u64, Reason)> {
    let most = scanner.policy().file_bytes_max;
    match entry.found {
        Found::File { may_follow } => read(&entry.path, may_follow, most),
        Found::NotReadable(reason) => Err((0, reason)),
        Found::StandardInput => {
            let mut bytes = Vec::new();
            let input = std::io::stdin().lock();
            match input.take(most + 1).read_to_end(&mut bytes) {
                Err(_) => Err((0, Reason::Unreadable)),
                Ok(read) if read as u64 > most => Err((read as u64, Reason::TooLarge)),
                Ok(_) => Ok(bytes),
            }
        }
    }
}
