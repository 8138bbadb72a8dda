//! What a live run tells those who come after it, by the journal: every event, alert, incident and device,
//! and how the run stands. A thread of its own packs and writes, so that a slow disk holds up nothing;
//! events that it has no room for are left out and counted.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;
use thymus_schema::{Alert, Event, EventId};
use thymus_store::journal::{FrameKind, JournalOptions, JournalWriter};

use crate::replay::now;
use crate::tell;

/// Events of so many bytes, or of so long, make a frame.
const FRAME_BYTES: usize = 256 << 10;
const FRAME_EVERY: Duration = Duration::from_millis(500);
/// Frames that may wait for the disk: 64 MiB of events.
const WAITING_MAX: usize = 256;
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// A disk that does not take anything is complained about this often.
const COMPLAIN_EVERY: Duration = Duration::from_mins(1);

enum Item {
    /// Its number, how many events are in it, its kind, its JSON.
    Frame(u64, u64, FrameKind, Vec<u8>),
    /// What is up to here is in a snapshot.
    Kept(u64),
}

/// The journal of a run.
pub(super) struct Chronicle {
    sender: Option<SyncSender<Item>>,
    thread: Option<JoinHandle<()>>,
    next: u64,
    events: Vec<u8>,
    events_waiting: u64,
    began: Option<Instant>,
    dropped: Arc<AtomicU64>,
    /// Events that are in the journal already, when reading begins again before its end.
    known: Option<Known>,
    /// What was told of each device and each incident.
    devices: Told,
    incidents: Told,
}

/// Digests by id.
type Told = BTreeMap<String, blake3::Hash>;

/// Incidents remembered as told.
const TOLD_MAX: usize = 10_000;

/// What is new or not what it was.
fn changed(told: &mut Told, all: Vec<(String, Value)>) -> Vec<Value> {
    let mut changed = Vec::new();
    for (id, value) in all {
        let digest = blake3::hash(value.to_string().as_bytes());
        if told.insert(id, digest) != Some(digest) {
            changed.push(value);
        }
    }
    changed
}

/// Events of a run that was killed.
#[derive(Default)]
pub(super) struct Known {
    pub(super) ids: rustc_hash::FxHashSet<EventId>,
}

impl Chronicle {
    /// Goes on with the journal below the state folder `state`, at least behind the frame `after`, and keeps in it
    /// what was not told yet where outputs are to tell it.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub(super) fn open(
        state: &Path,
        after: u64,
        known: Option<Known>,
        is_told: bool,
    ) -> Result<Self> {
        let dir = state.join("journal");
        let mut writer = JournalWriter::open(&dir, JournalOptions::default(), after)
            .with_context(|| format!("cannot use the journal {}", dir.display()))?;
        if is_told {
            writer.heed(tell::position(state));
        }
        let next = writer.position() + 1;
        let (sender, receiver) = sync_channel(WAITING_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let theirs = Arc::clone(&dropped);
        Ok(Self {
            sender: Some(sender),
            thread: Some(spawn(move || write(writer, &receiver, &theirs))),
            next,
            events: Vec::new(),
            events_waiting: 0,
            began: None,
            dropped,
            known: known.filter(|known| !known.ids.is_empty()),
            devices: Told::new(),
            incidents: Told::new(),
        })
    }

    /// Adds events; they are in the journal half a second later, or when it is asked for.
    pub(super) fn events(&mut self, events: &[Event]) {
        for event in events {
            if let Some(known) = &mut self.known {
                if known.ids.remove(&event.id) {
                    continue;
                }
                if known.ids.is_empty() {
                    self.known = None;
                }
            }
            if serde_json::to_writer(&mut self.events, event).is_ok() {
                self.events.push(b'\n');
                self.events_waiting += 1;
                self.began.get_or_insert_with(now);
            }
        }
        let is_old = self.began.is_some_and(|at| at.elapsed() >= FRAME_EVERY);
        if is_old || self.events.len() >= FRAME_BYTES {
            self.flush();
        }
    }

    /// Hands the events over that wait for a frame to be full.
    pub(super) fn flush(&mut self) {
        self.began = None;
        let count = std::mem::take(&mut self.events_waiting);
        if count == 0 {
            return;
        }
        let item = Item::Frame(
            self.next,
            count,
            FrameKind::Events,
            std::mem::take(&mut self.events),
        );
        self.next += 1;
        let sent = self.sender.as_ref().map(|sender| sender.try_send(item));
        if let Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) = sent {
            self.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Adds an alert.
    pub(super) fn alert(&mut self, alert: &Alert) {
        self.frame(FrameKind::Alerts, &[alert]);
    }

    /// Adds those of the incidents that are new or not what they were.
    pub(super) fn incidents(&mut self, all: Vec<(String, Value)>) {
        if self.incidents.len() > TOLD_MAX {
            self.incidents.clear();
        }
        let changed = changed(&mut self.incidents, all);
        if !changed.is_empty() {
            self.frame(FrameKind::Incidents, &changed);
        }
    }

    /// Adds files with what was made of them.
    pub(super) fn files(&mut self, files: &[Value]) {
        if !files.is_empty() {
            self.frame(FrameKind::Files, files);
        }
    }

    /// Adds how the run stands.
    pub(super) fn status(&mut self, status: &Value) {
        self.frame(FrameKind::Status, status);
    }

    /// Adds those of all devices that are new or not what they were.
    pub(super) fn devices(&mut self, all: Vec<(String, Value)>) {
        let changed = changed(&mut self.devices, all);
        if !changed.is_empty() {
            self.frame(FrameKind::Devices, &changed);
        }
    }

    /// The number of the last frame: what was handed over until now is up to it.
    pub(super) fn position(&mut self) -> u64 {
        self.flush();
        self.next - 1
    }

    /// What is up to the frame `seq` is in a snapshot.
    pub(super) fn kept(&mut self, seq: u64) {
        self.frame(FrameKind::Mark, &serde_json::json!({ "snapshot": seq }));
        self.send(Item::Kept(seq));
    }

    /// Events that the disk was too slow or too full for.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn frame<T: Serialize + ?Sized>(&mut self, kind: FrameKind, value: &T) {
        // In the order in which things happened.
        self.flush();
        if let Ok(json) = serde_json::to_vec(value) {
            let item = Item::Frame(self.next, 0, kind, json);
            self.next += 1;
            self.send(item);
        }
    }

    /// Waits for room: what was found is not left out.
    fn send(&mut self, item: Item) {
        let sent = self.sender.as_ref().map(|sender| sender.send(item));
        if sent.is_some_and(|sent| sent.is_err()) {
            self.sender = None;
        }
    }
}

/// All of it is in the journal then.
impl Drop for Chronicle {
    fn drop(&mut self) {
        self.flush();
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn write(mut journal: JournalWriter, items: &Receiver<Item>, dropped: &AtomicU64) {
    let mut synced = now();
    let mut complained: Option<Instant> = None;
    let mut is_clean = true;
    loop {
        match items.recv_timeout(SYNC_EVERY) {
            Ok(Item::Frame(seq, events, kind, json)) => {
                journal.skip_to(seq);
                is_clean = false;
                if let Err(error) = journal.write(kind, &json) {
                    dropped.fetch_add(events, Ordering::Relaxed);
                    if complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
                        eprintln!(
                            "thymus: the journal cannot be written ({error}); watching goes on, what is \
                             not in it cannot be looked up later"
                        );
                        complained = Some(now());
                    }
                }
            }
            Ok(Item::Kept(seq)) => journal.keep_after(seq),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if !is_clean && synced.elapsed() >= SYNC_EVERY {
            let _is_synced = journal.sync().is_ok();
            synced = now();
            is_clean = true;
        }
    }
    let _is_synced = journal.sync().is_ok();
}
