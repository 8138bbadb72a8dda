//! Blocks that wait for the analysis, within a bound of memory.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::block::PacketBlock;

/// Empty blocks kept for their room.
const SPARE_MAX: usize = 16;
/// A block counts for at least so much, so that many small ones are bounded too.
const BLOCK_SIZE_MIN: usize = 1 << 10;

/// What waiting for a block gave.
#[derive(Debug)]
pub enum Waited {
    /// The next packets.
    Block(PacketBlock),
    /// None in that time.
    Nothing,
    /// There will be none any more.
    Ended,
}

/// The queue between the capturing and the analysing thread.
#[derive(Debug)]
pub(crate) struct Queue {
    inside: Mutex<Inside>,
    changed: Condvar,
    size_max: usize,
}

#[derive(Debug, Default)]
struct Inside {
    blocks: VecDeque<PacketBlock>,
    size: usize,
    spare: Vec<PacketBlock>,
    ended: bool,
}

fn size_of_block(block: &PacketBlock) -> usize {
    block.size().max(BLOCK_SIZE_MIN)
}

impl Queue {
    /// A queue of so many bytes.
    pub(crate) fn new(size_max: usize) -> Self {
        Self {
            inside: Mutex::default(),
            changed: Condvar::new(),
            size_max,
        }
    }

    /// Puts a block at the end; gives it back when there is no room. One block always fits.
    pub(crate) fn push(&self, block: PacketBlock) -> Result<(), PacketBlock> {
        let mut inside = self.inside();
        let size = size_of_block(&block);
        if !inside.blocks.is_empty() && inside.size + size > self.size_max {
            return Err(block);
        }
        inside.size += size;
        inside.blocks.push_back(block);
        drop(inside);
        self.changed.notify_one();
        Ok(())
    }

    /// Takes the first block, waiting for one at most `wait`.
    pub(crate) fn pop(&self, wait: Duration) -> Waited {
        let waits = |inside: &mut Inside| inside.blocks.is_empty() && !inside.ended;
        let waited = self
            .changed
            .wait_timeout_while(self.inside(), wait, waits)
            .unwrap_or_else(PoisonError::into_inner);
        let mut inside = waited.0;
        match inside.blocks.pop_front() {
            Some(block) => {
                inside.size = inside.size.saturating_sub(size_of_block(&block));
                Waited::Block(block)
            }
            None if inside.ended => Waited::Ended,
            None => Waited::Nothing,
        }
    }

    /// An empty block, with room where there is one.
    pub(crate) fn spare(&self) -> PacketBlock {
        self.inside().spare.pop().unwrap_or_default()
    }

    /// Takes a used block back for its room.
    pub(crate) fn give_back(&self, mut block: PacketBlock) {
        block.clear();
        let mut inside = self.inside();
        if inside.spare.len() < SPARE_MAX {
            inside.spare.push(block);
        }
    }

    /// No more blocks come.
    pub(crate) fn end(&self) {
        self.inside().ended = true;
        self.changed.notify_all();
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(bytes: usize) -> PacketBlock {
        let mut block = PacketBlock::default();
        block.push(0, 0, &vec![0; bytes], None);
        block
    }

    #[test]
    fn what_has_no_room_comes_back_and_what_is_taken_makes_room() {
        let queue = Queue::new(10_000);
        assert!(queue.push(block(6_000)).is_ok());
        assert!(queue.push(block(6_000)).is_err());
        assert!(queue.push(block(2_000)).is_ok());
        assert!(matches!(queue.pop(Duration::ZERO), Waited::Block(_)));
        assert!(queue.push(block(6_000)).is_ok());
    }

    #[test]
    fn one_block_larger_than_the_queue_still_goes_through() {
        let queue = Queue::new(10);
        assert!(queue.push(block(6_000)).is_ok());
        assert!(queue.push(block(1)).is_err());
    }

    #[test]
    fn what_waited_when_it_ended_is_still_given_out() {
        let queue = Queue::new(10_000);
        assert!(matches!(queue.pop(Duration::ZERO), Waited::Nothing));
        assert!(queue.push(block(1)).is_ok());
        queue.end();
        assert!(matches!(queue.pop(Duration::ZERO), Waited::Block(_)));
        assert!(matches!(queue.pop(Duration::ZERO), Waited::Ended));
    }
}
