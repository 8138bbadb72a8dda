//! Several sockets on one interface, each filled by other cores (PACKET_FANOUT_CPU, packet(7)), read as one capture:
//! their packets are put in the order of their stamps.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::block::PacketBlock;
use crate::error::SensorError;
use crate::filter::Filter;
use crate::interface::Interface;
use crate::sensor::{Catch, Change};
use crate::tap::{Filled, RING_BLOCK_BYTES, Tap, TapOptions, now_nanos};

/// A socket that has nothing may still bring what it has taken in so many times the time after which the kernel hands
/// a block over.
const HOLD_HAND_OVERS: u32 = 2;
/// And so much more, for a kernel that is busy.
const HOLD_MORE: Duration = Duration::from_millis(5);

/// An open capture by one socket or several.
#[derive(Debug)]
pub struct Fan {
    interface: Interface,
    taps: Vec<Tap>,
    /// What each of them brought and is not handed on yet.
    waiting: Vec<Waiting>,
    filter: Option<Filter>,
    hold: Duration,
    /// Why there will be no more, told when all that came was handed on.
    trouble: Option<SensorError>,
}

/// Packets of one socket, of which those before `next` were handed on.
#[derive(Debug, Default)]
struct Waiting {
    block: PacketBlock,
    next: usize,
}

impl Waiting {
    fn next_ts(&self) -> Option<i64> {
        self.block.records().get(self.next).map(|record| record.ts)
    }

    /// Hands the next packet on.
    fn hand_on(&mut self, to: &mut PacketBlock) {
        if let Some(record) = self.block.records().get(self.next) {
            to.push(record.ts, record.wire_len, self.block.packet(record), None);
            self.next += 1;
        }
    }
}

impl Fan {
    /// Opens so many sockets as the options say; their rings share the bytes.
    ///
    /// # Errors
    /// As [`Tap::open`].
    pub fn open(options: &TapOptions) -> Result<Self, SensorError> {
        let sockets = options.sockets.max(1);
        let each = TapOptions {
            ring_bytes: options.ring_bytes / sockets,
            ..options.clone()
        };
        let taps: Result<Vec<Tap>, SensorError> = (0..sockets).map(|_| Tap::open(&each)).collect();
        let taps = taps?;
        let interface = match taps.first() {
            Some(tap) => tap.interface().clone(),
            None => Interface::find(&options.interface)?,
        };
        let hand_over = Duration::from_millis(u64::from(options.hand_over_millis));
        Ok(Self {
            waiting: (0..sockets).map(|_| Waiting::default()).collect(),
            interface,
            taps,
            filter: options.filter.clone(),
            hold: hand_over * HOLD_HAND_OVERS + HOLD_MORE,
            trouble: None,
        })
    }

    /// Takes the next block of each socket of which nothing waits.
    fn refill(&mut self) -> Result<(), SensorError> {
        for (tap, waiting) in self.taps.iter_mut().zip(&mut self.waiting) {
            tap.look()?;
            refill(tap, waiting);
        }
        Ok(())
    }

    fn is_waiting(&self) -> bool {
        self.waiting.iter().any(|one| one.next_ts().is_some())
    }

    /// Hands on what is next by its stamp, as long as no socket can bring anything earlier; `now` is a time before
    /// the sockets were looked at. Whether there was anything.
    fn merge(&mut self, block: &mut PacketBlock, now: i64, all: bool) -> bool {
        let hold = i64::try_from(self.hold.as_nanos()).unwrap_or(i64::MAX);
        let safe = now.saturating_sub(hold);
        while block.size() < RING_BLOCK_BYTES {
            let is_open = !all && self.waiting.iter().any(|one| one.next_ts().is_none());
            let next = self.waiting.iter_mut().zip(&mut self.taps);
            let next = next.filter_map(|pair| Some((pair.0.next_ts()?, pair)));
            let Some((ts, (waiting, tap))) = next.min_by_key(|(ts, _)| *ts) else {
                break;
            };
            // A stamp after now is of before a clock was set back: nothing is earlier than that for sure.
            if is_open && (safe..=now).contains(&ts) {
                break;
            }
            waiting.hand_on(block);
            if waiting.next_ts().is_none() {
                refill(tap, waiting);
            }
        }
        !block.is_empty()
    }

    /// Waits for packets of those sockets of which nothing waits.
    fn wait(&mut self, wait: Duration) -> Result<(), SensorError> {
        let empty = |waiting: &Waiting| waiting.next_ts().is_none();
        let pairs = self.taps.iter().zip(&self.waiting);
        let asked: Vec<usize> = pairs
            .enumerate()
            .filter_map(|(at, (_, waiting))| empty(waiting).then_some(at))
            .collect();
        let broken = {
            let taps = asked.iter().filter_map(|at| self.taps.get(*at));
            let mut polled: Vec<PollFd<'_>> = taps
                .map(|tap| PollFd::new(tap.as_fd(), PollFlags::POLLIN))
                .collect();
            let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
            match poll(&mut polled, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => {
                    return Err(SensorError::System {
                        name: self.interface.name.clone(),
                        step: "wait for packets",
                        source: errno.into(),
                    });
                }
            }
            let broken = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
            let is_broken = |one: &PollFd<'_>| one.revents().is_some_and(|r| r.intersects(broken));
            polled.iter().map(is_broken).collect::<Vec<bool>>()
        };
        for (at, _) in asked.iter().zip(broken).filter(|(_, broken)| *broken) {
            if let Some(tap) = self.taps.get_mut(*at) {
                tap.look_at_error()?;
            }
        }
        Ok(())
    }

    fn fill_many(
        &mut self,
        block: &mut PacketBlock,
        wait: Duration,
    ) -> Result<Filled, SensorError> {
        let mut waited = false;
        loop {
            let now = now_nanos();
            self.refill()?;
            if self.merge(block, now, false) {
                return Ok(Filled::Packets);
            }
            let is_waiting = self.is_waiting();
            if waited && !is_waiting {
                return Ok(Filled::Nothing);
            }
            self.wait(if is_waiting { self.hold } else { wait })?;
            waited = true;
        }
    }
}

/// Takes the next block of a socket of which nothing waits.
fn refill(tap: &mut Tap, waiting: &mut Waiting) {
    if waiting.next_ts().is_none() {
        waiting.block.clear();
        waiting.next = 0;
        // It may hold packets that are not ours.
        while waiting.block.is_empty() && tap.take(&mut waiting.block) {}
    }
}

impl Catch for Fan {
    fn interface(&self) -> &Interface {
        &self.interface
    }

    fn is_down(&self) -> bool {
        self.taps.iter().any(Tap::is_down)
    }

    fn fill(&mut self, block: &mut PacketBlock, wait: Duration) -> Result<Filled, SensorError> {
        if let [tap] = self.taps.as_mut_slice() {
            return tap.fill(block, wait);
        }
        block.clear();
        if let Some(trouble) = self.trouble.take() {
            return Err(trouble);
        }
        self.fill_many(block, wait).or_else(|trouble| {
            // What came before it is not lost.
            if self.merge(block, now_nanos(), true) {
                self.trouble = Some(trouble);
                Ok(Filled::Packets)
            } else {
                Err(trouble)
            }
        })
    }

    /// One after another: for a moment some of the sockets take by the new filter and some by the old one. Where one
    /// does not take it, all go on with the old one.
    fn change(&mut self, change: &Change) -> Result<(), SensorError> {
        let before = Change::Filter(self.filter.clone());
        for at in 0..self.taps.len() {
            let done = self
                .taps
                .get_mut(at)
                .map_or(Ok(()), |tap| tap.change(change));
            if let Err(error) = done {
                for tap in self.taps.iter_mut().take(at) {
                    let _is_back = tap.change(&before).is_ok();
                }
                return Err(error);
            }
        }
        let Change::Filter(filter) = change;
        self.filter.clone_from(filter);
        Ok(())
    }

    fn kernel_dropped(&mut self) -> u64 {
        self.taps.iter_mut().map(Tap::kernel_dropped).sum()
    }
}
