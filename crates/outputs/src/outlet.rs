//! An output at work: a bounded queue, a thread that puts what comes onto the disk, and a thread that delivers it.
//! Whoever offers a record never waits: not for the disk, and not for a receiver that is slow, hangs or is gone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Serialize;
use thymus_schema::Timestamp;

use crate::escape::{clip, plain};
use crate::record::{Kind, Level, Record};
use crate::sink::{Blame, Failure, Sink};
use crate::spool::{Mark, Spool};

/// Records that may wait for the disk.
const QUEUE_MAX: usize = 1_024;
/// Records that are handed to a sink at a time, and their bytes.
const BATCH_MAX: usize = 32;
const BATCH_BYTES_MAX: usize = 4 << 20;
/// The first pause after a failure; each doubles it.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_mins(5);
/// How often a record is tried that the receiver does not want, before it is given up.
const REJECTED_MAX: u32 = 10;
/// How often a sink looks after its connection when there is nothing to send.
const CHECK_EVERY: Duration = Duration::from_secs(10);
/// How long to wait for a disk that takes nothing.
const DISK_PAUSE: Duration = Duration::from_secs(1);
const WHY_MAX: usize = 300;

/// The time of day; only the program around may ask for it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What an output needs of the program around it.
#[derive(Clone)]
pub struct Surroundings {
    /// The time of day, for signatures and for `since`.
    pub clock: Clock,
    /// A number between 0 and 1, another each time, so that many who wait do not come back at once.
    pub jitter: Arc<dyn Fn() -> f64 + Send + Sync>,
}

/// Which records an output wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wants {
    /// Incidents.
    pub incidents: bool,
    /// The alerts of incidents.
    pub alerts: bool,
    /// What is done about incidents.
    pub decisions: bool,
    /// Nothing less sure than this.
    pub level_min: Level,
}

impl Wants {
    fn takes(self, record: &Record) -> bool {
        let is_kind = match record.kind {
            Kind::Incident => self.incidents,
            Kind::Alert => self.alerts,
            Kind::Decision => self.decisions,
        };
        is_kind && record.level() >= self.level_min
    }
}

/// What became of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It is on its way to the disk.
    Taken,
    /// The output does not want such records.
    NotWanted,
    /// There is no room now: to be offered again.
    Busy,
}

/// How an output stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Health {
    /// Its name.
    pub name: String,
    /// Where it goes, without secrets.
    pub target: String,
    /// Records delivered, over all starts.
    pub delivered: u64,
    /// Records that wait.
    pub waiting: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// Records that went because there was no room for more.
    pub dropped: u64,
    /// Records that will never be taken: refused by the receiver, or too large for it.
    pub refused: u64,
    /// Records that were damaged on the disk.
    pub damaged: u64,
    /// Since when nothing gets through.
    pub failing_since: Option<Timestamp>,
    /// What went wrong last, also when it is over.
    pub last_error: Option<String>,
    /// When.
    pub last_error_at: Option<Timestamp>,
    /// When something was delivered last.
    pub last_delivered_at: Option<Timestamp>,
}

/// An output at work.
pub struct Outlet {
    wants: Wants,
    offers: Option<SyncSender<(Mark, Record)>>,
    shared: Arc<Shared>,
    keeping: Option<JoinHandle<()>>,
    delivering: Option<JoinHandle<()>>,
}

struct Shared {
    spool: Mutex<Spool>,
    state: Mutex<State>,
    changed: Condvar,
    around: Surroundings,
}

#[derive(Default)]
struct State {
    health: Health,
    /// The last record that is on the disk.
    kept: Mark,
    is_ending: bool,
}

impl Outlet {
    /// Sets an output to work.
    pub fn start(
        name: &str,
        target: &str,
        wants: Wants,
        spool: Spool,
        sink: Box<dyn Sink>,
        around: Surroundings,
    ) -> Self {
        let state = State {
            health: Health {
                name: name.to_owned(),
                target: target.to_owned(),
                ..Health::default()
            },
            ..State::default()
        };
        let shared = Arc::new(Shared {
            spool: Mutex::new(spool),
            state: Mutex::new(state),
            changed: Condvar::new(),
            around,
        });
        shared.count(&shared.spool());
        let (offers, taken) = sync_channel(QUEUE_MAX);
        let theirs = Arc::clone(&shared);
        let keeping = thread::spawn(move || keep(&theirs, &taken));
        let theirs = Arc::clone(&shared);
        let delivering = thread::spawn(move || deliver(&theirs, sink));
        Self {
            wants,
            offers: Some(offers),
            shared,
            keeping: Some(keeping),
            delivering: Some(delivering),
        }
    }

    /// Offers a record. Never waits.
    pub fn offer(&self, mark: Mark, record: &Record) -> Offered {
        if !self.wants.takes(record) {
            return Offered::NotWanted;
        }
        let sent = self
            .offers
            .as_ref()
            .map(|offers| offers.try_send((mark, record.clone())));
        match sent {
            Some(Ok(())) => Offered::Taken,
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => {
                Offered::Busy
            }
        }
    }

    /// The last record that is on the disk: up to it nothing has to be offered again after a kill.
    pub fn kept(&self) -> Mark {
        self.shared.state().kept
    }

    /// How it stands.
    pub fn health(&self) -> Health {
        self.shared.state().health.clone()
    }

    /// Ends it: what was offered is put on the disk, and what waits there is delivered as far as `patience` and the
    /// receiver allow. The rest is delivered by the next start.
    pub fn end(mut self, patience: Duration) {
        const SLICE: Duration = Duration::from_millis(20);
        self.offers = None;
        join(self.keeping.take());
        let mut left = patience;
        let mut state = self.shared.state();
        while state.health.waiting > 0 && state.health.failing_since.is_none() && !left.is_zero() {
            state = self.shared.wait(state, SLICE);
            left = left.saturating_sub(SLICE);
        }
        let is_done = state.health.waiting == 0;
        state.is_ending = true;
        drop(state);
        self.shared.changed.notify_all();
        // One that hangs in a receiver ends with the process.
        if is_done {
            join(self.delivering.take());
        }
    }
}

fn join(thread: Option<JoinHandle<()>>) {
    if let Some(thread) = thread {
        // It has said what went wrong by its health.
        drop(thread.join());
    }
}

impl Shared {
    fn spool(&self) -> MutexGuard<'_, Spool> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout(state, time);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits until the time is over or the output is to end; whether it is.
    fn pause(&self, time: Duration) -> bool {
        let state = self.state();
        let waited = self
            .changed
            .wait_timeout_while(state, time, |state| !state.is_ending);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_ending
    }

    /// Takes over what the spool counts.
    fn count(&self, spool: &Spool) {
        let (totals, (waiting, waiting_bytes)) = (spool.totals(), spool.waiting());
        let mut state = self.state();
        state.kept = spool.mark();
        let health = &mut state.health;
        (health.waiting, health.waiting_bytes) = (waiting, waiting_bytes);
        health.delivered = totals.delivered;
        health.dropped = totals.dropped;
        health.refused = totals.refused;
        health.damaged = totals.damaged;
        drop(state);
        self.changed.notify_all();
    }

    fn failed(&self, why: &str) {
        let at = (self.around.clock)();
        let mut state = self.state();
        let health = &mut state.health;
        health.failing_since.get_or_insert(at);
        health.last_error = Some(clip(&plain(why), WHY_MAX));
        health.last_error_at = Some(at);
        drop(state);
        self.changed.notify_all();
    }

    fn worked(&self, has_delivered: bool) {
        let at = (self.around.clock)();
        let mut state = self.state();
        state.health.failing_since = None;
        if has_delivered {
            state.health.last_delivered_at = Some(at);
        }
    }
}

/// From the queue onto the disk, until nobody offers any more.
fn keep(shared: &Shared, offers: &Receiver<(Mark, Record)>) {
    let mut is_clean = true;
    loop {
        // What came together is put on the disk together.
        let patience = if is_clean {
            CHECK_EVERY
        } else {
            Duration::ZERO
        };
        match offers.recv_timeout(patience) {
            Ok((mark, record)) => {
                let Ok(payload) = serde_json::to_vec(&record) else {
                    continue;
                };
                let mut spool = shared.spool();
                while let Err(error) = spool.append(mark, &payload) {
                    drop(spool);
                    shared.failed(&format!("the spool cannot be written: {error}"));
                    if shared.pause(DISK_PAUSE) {
                        return;
                    }
                    spool = shared.spool();
                }
                is_clean = false;
            }
            Err(RecvTimeoutError::Timeout) if is_clean => {}
            Err(end) => {
                let mut spool = shared.spool();
                if let Err(error) = spool.sync() {
                    drop(spool);
                    shared.failed(&format!("the spool cannot be written: {error}"));
                    spool = shared.spool();
                }
                shared.count(&spool);
                is_clean = true;
                if end == RecvTimeoutError::Disconnected {
                    return;
                }
            }
        }
    }
}

/// Failures in a row.
#[derive(Default)]
struct Tries {
    pauses: u32,
    /// Of the record in front, for its own sake.
    rejected: u32,
}

/// From the disk to the receiver, until it is to end.
fn deliver(shared: &Shared, mut sink: Box<dyn Sink>) {
    let mut tries = Tries::default();
    while !shared.state().is_ending {
        let mut spool = shared.spool();
        let batch = spool.peek(BATCH_MAX, BATCH_BYTES_MAX);
        shared.count(&spool);
        drop(spool);
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                shared.failed(&format!("the spool cannot be read: {error}"));
                shared.pause(DISK_PAUSE);
                continue;
            }
        };
        if batch.is_empty() {
            idle(shared, &mut *sink);
        } else {
            hand_over(shared, &mut *sink, batch, &mut tries);
        }
    }
}

/// Waits for something to do, and looks after the connection when that takes long.
fn idle(shared: &Shared, sink: &mut dyn Sink) {
    let state = shared.state();
    let is_idle = |state: &mut State| state.health.waiting == 0 && !state.is_ending;
    let waited = shared
        .changed
        .wait_timeout_while(state, CHECK_EVERY, is_idle);
    let (state, time) = waited.unwrap_or_else(PoisonError::into_inner);
    drop(state);
    if time.timed_out() {
        match guarded(|| sink.check()) {
            Ok(()) => shared.worked(false),
            Err(failure) => shared.failed(&failure.why),
        }
    }
}

fn hand_over(shared: &Shared, sink: &mut dyn Sink, batch: Vec<(u64, Vec<u8>)>, tries: &mut Tries) {
    let mut numbers = Vec::with_capacity(batch.len());
    let mut records = Vec::with_capacity(batch.len());
    for (number, payload) in batch {
        // One that is no record was written by another version; it is passed over like a damaged one.
        if let Ok(record) = serde_json::from_slice::<Record>(&payload) {
            numbers.push(number);
            records.push(record);
        } else if records.is_empty() {
            settle(shared, number, true);
            return;
        } else {
            break;
        }
    }
    let Err(failure) = guarded(|| sink.send(&records)) else {
        *tries = Tries::default();
        shared.worked(true);
        if let Some(last) = numbers.last() {
            settle(shared, *last, false);
        }
        return;
    };
    if let Some(last) = failure.done.checked_sub(1).and_then(|at| numbers.get(at)) {
        *tries = Tries::default();
        settle(shared, *last, false);
    }
    tries.rejected += u32::from(failure.blame == Blame::Rejected);
    let is_given_up = failure.blame == Blame::Never || tries.rejected >= REJECTED_MAX;
    shared.failed(&failure.why);
    if let Some(number) = numbers.get(failure.done).filter(|_| is_given_up) {
        *tries = Tries::default();
        settle(shared, *number, true);
        shared.worked(false);
        return;
    }
    let doubled = PAUSE
        .saturating_mul(1 << tries.pauses.min(16))
        .min(PAUSE_MAX);
    tries.pauses += 1;
    let jitter = (shared.around.jitter)().clamp(0.0, 1.0);
    let pause = doubled.mul_f64(0.5 + jitter / 2.0);
    shared.pause(
        failure
            .not_before
            .map_or(pause, |wish| pause.max(wish.min(PAUSE_MAX))),
    );
}

/// Writes down that everything up to `number` is done.
fn settle(shared: &Shared, number: u64, was_refused: bool) {
    let mut spool = shared.spool();
    if let Err(error) = spool.done(number, was_refused) {
        shared.failed(&format!("the spool cannot be written: {error}"));
    }
    shared.count(&spool);
}

/// A sink that panics has failed; it is tried again like any other.
fn guarded(act: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|_| {
        Err(Failure::unreachable(
            "the sink panicked, which is a fault of Thymus",
        ))
    })
}

#[cfg(test)]
mod tests;
