//! The thread that empties the ring, so that the kernel has room again whatever the analysis does.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::block::PacketBlock;
use crate::error::SensorError;
use crate::filter::Filter;
use crate::interface::Interface;
use crate::queue::{Queue, Waited};
use crate::ring::{RingKeeper, RingReport, TellRing};
use crate::tap::Filled;

/// How long the thread waits before it looks whether it is to stop.
const WAIT: Duration = Duration::from_millis(100);
/// Looks at the ring after it was asked to stop: it ends earlier where nothing comes any more.
const LAST_LOOKS: u32 = 128;

/// How long a change may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a capture takes over while it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only these packets from now on, or all.
    Filter(Option<Filter>),
}

/// A change, and where to say what became of it.
type Asked = (Change, SyncSender<Result<(), SensorError>>);

/// Where packets come from: an interface, or sockets that others send to.
pub trait Catch: Send + 'static {
    /// What is captured.
    fn interface(&self) -> &Interface;

    /// Whether it is switched off, so that nothing comes.
    fn is_down(&self) -> bool {
        false
    }

    /// Puts the next packets in the place of those in `block`, waiting for them at most `wait`.
    ///
    /// # Errors
    /// When nothing can come any more.
    fn fill(&mut self, block: &mut PacketBlock, wait: Duration) -> Result<Filled, SensorError>;

    /// Takes a change over without a gap.
    ///
    /// # Errors
    /// When it cannot; it goes on as it was then.
    fn change(&mut self, change: &Change) -> Result<(), SensorError> {
        match change {
            Change::Filter(_) => Err(SensorError::Unchanged {
                name: self.interface().name.clone(),
                why: "it has no filter".to_owned(),
            }),
        }
    }

    /// What the kernel had no room for since it was last asked.
    fn kernel_dropped(&mut self) -> u64;
}

/// Packets that were on the wire and not analysed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortfall {
    /// The kernel's ring had no room for them.
    pub kernel: u64,
    /// The queue before the analysis had no room for them.
    pub queue: u64,
}

/// A capture that goes on by itself.
#[derive(Debug)]
pub struct Sensor {
    interface: Interface,
    shared: Arc<Shared>,
    ring: Option<TellRing>,
    changes: Sender<Asked>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    queue: Queue,
    stop: AtomicBool,
    is_down: AtomicBool,
    kernel: AtomicU64,
    shed: AtomicU64,
    trouble: Mutex<Option<SensorError>>,
}

impl Sensor {
    /// Starts a thread that captures into a queue of at most `queue_bytes`. The `ring` keeps all that comes,
    /// also what the queue has no room for.
    pub fn start(tap: impl Catch, queue_bytes: usize, ring: Option<RingKeeper>) -> Self {
        let shared = Arc::new(Shared {
            queue: Queue::new(queue_bytes),
            stop: AtomicBool::new(false),
            is_down: AtomicBool::new(tap.is_down()),
            kernel: AtomicU64::new(0),
            shed: AtomicU64::new(0),
            trouble: Mutex::new(None),
        });
        let interface = tap.interface().clone();
        let theirs = Arc::clone(&shared);
        let tell = ring.as_ref().map(RingKeeper::tell);
        let (changes, asked) = channel();
        let thread = Some(spawn(move || theirs.run(tap, ring, &asked)));
        Self {
            interface,
            shared,
            ring: tell,
            changes,
            thread,
        }
    }

    /// The interface.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// Whether the interface is switched off, so that nothing comes.
    pub fn is_down(&self) -> bool {
        self.shared.is_down.load(Ordering::Relaxed)
    }

    /// Takes the next packets, waiting for them at most `wait`.
    pub fn next(&self, wait: Duration) -> Waited {
        self.shared.queue.pop(wait)
    }

    /// Gives a used block back, for its room.
    pub fn give_back(&self, block: PacketBlock) {
        self.shared.queue.give_back(block);
    }

    /// What was missed so far.
    pub fn shortfall(&self) -> Shortfall {
        Shortfall {
            kernel: self.shared.kernel.load(Ordering::Relaxed),
            queue: self.shared.shed.load(Ordering::Relaxed),
        }
    }

    /// How the keeping of packets stands, where they are kept.
    pub fn ring(&self) -> Option<RingReport> {
        self.ring.as_ref().and_then(TellRing::report)
    }

    /// Keeps so many bytes of packets from now on, 0 takes all away; `false` where there is no place for them.
    pub fn keep(&self, bytes_max: u64) -> bool {
        if let Some(ring) = &self.ring {
            ring.limit_to(bytes_max);
        }
        self.ring.is_some()
    }

    /// Has a change taken over, between two packets.
    ///
    /// # Errors
    /// When it was not, and all goes on as it was.
    pub fn change(&self, change: Change) -> Result<(), SensorError> {
        let unchanged = |why: &str| SensorError::Unchanged {
            name: self.interface.name.clone(),
            why: why.to_owned(),
        };
        let (answer, answered) = sync_channel(1);
        let asked = self.changes.send((change, answer));
        asked.map_err(|_| unchanged("it has ended"))?;
        let said = answered.recv_timeout(PATIENCE);
        said.map_err(|_| unchanged("it does not answer"))?
    }

    /// Asks the thread to end: what the ring holds by then is still captured.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Why the capture ended, when nobody asked it to; to be called after [`Waited::Ended`].
    pub fn take_trouble(&mut self) -> Option<SensorError> {
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
        let mut trouble = self
            .shared
            .trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        trouble.take()
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Ends the queue also when the thread panics.
struct Ending<'a>(&'a Queue);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Shared {
    /// The ring is a parameter, so the queue has ended by the time that it waits for the disk.
    fn run(&self, mut tap: impl Catch, mut ring: Option<RingKeeper>, asked: &Receiver<Asked>) {
        let _ending = Ending(&self.queue);
        let mut looks_left = LAST_LOOKS;
        while looks_left > 0 {
            // Asked before the look, so that what came before the request is seen by the last looks.
            let last = self.stop.load(Ordering::Relaxed);
            looks_left -= u32::from(last);
            for (change, answer) in asked.try_iter() {
                // Who asked may have lost patience.
                let _is_heard = answer.try_send(tap.change(&change)).is_ok();
            }
            let mut block = self.queue.spare();
            let filled = tap.fill(&mut block, WAIT);
            self.is_down.store(tap.is_down(), Ordering::Relaxed);
            self.kernel
                .fetch_add(tap.kernel_dropped(), Ordering::Relaxed);
            match filled {
                Ok(Filled::Packets) => {
                    if let Some(ring) = &mut ring {
                        ring.keep(&block);
                    }
                    self.hand_over(block);
                }
                Ok(Filled::Nothing) if last => return,
                Ok(Filled::Nothing) => self.queue.give_back(block),
                Err(error) => {
                    let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
                    *trouble = Some(error);
                    return;
                }
            }
        }
    }

    fn hand_over(&self, block: PacketBlock) {
        if block.is_empty() {
            self.queue.give_back(block);
        } else if let Err(block) = self.queue.push(block) {
            let lost = block.records().len() as u64;
            self.shed.fetch_add(lost, Ordering::Relaxed);
            self.queue.give_back(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::ring::{PacketRing, read_ring};

    /// Gives blocks of ten packets.
    struct Script {
        interface: Interface,
        blocks: i64,
    }

    impl Catch for Script {
        fn interface(&self) -> &Interface {
            &self.interface
        }

        fn fill(&mut self, block: &mut PacketBlock, _: Duration) -> Result<Filled, SensorError> {
            block.clear();
            let Some(left) = self.blocks.checked_sub(1).filter(|left| *left >= 0) else {
                let name = "script".to_owned();
                return Err(SensorError::Gone { name });
            };
            self.blocks = left;
            for n in 0..10 {
                block.push(1_000 - left * 10 + n, 60, &[7; 60], None);
            }
            Ok(Filled::Packets)
        }

        fn kernel_dropped(&mut self) -> u64 {
            0
        }
    }

    #[test]
    fn what_the_analysis_has_no_room_for_is_kept_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let ring = PacketRing::open(folder.path(), 1, 1 << 20).unwrap();
        let script = Script {
            interface: Interface::find("lo").unwrap(),
            blocks: 40,
        };
        let ring = RingKeeper::start(ring).unwrap();
        let mut sensor = Sensor::start(script, 1, Some(ring));
        // Nobody takes anything until it is over: one block waits, all others are shed.
        assert!(matches!(
            sensor.take_trouble(),
            Some(SensorError::Gone { .. })
        ));
        let shed = sensor.shortfall().queue;
        assert_eq!(shed, 390);
        assert_eq!(sensor.ring().unwrap().packets_not_kept, 0);
        let mut kept = 0;
        read_ring(folder.path(), 0, i64::MAX, |_| {
            kept += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(kept, 400);
    }
}
