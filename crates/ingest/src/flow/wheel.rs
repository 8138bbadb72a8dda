//! Timers in event time, checked lazily: an entry says when a flow is to be looked at, and the flow
//! itself knows whether it is really over. A packet so costs no timer work at all.

/// A flow's place in the table, with a generation so that a reused place is not mistaken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// Slots of one second.
pub(crate) const SPAN_SECS: i64 = 1024;

/// A timer wheel with slots of one second.
pub(crate) struct Wheel {
    slots: Vec<Vec<Ticket>>,
    /// The second up to which everything was looked at.
    second: i64,
}

impl Wheel {
    pub(crate) fn new() -> Self {
        Self {
            slots: vec![Vec::new(); SPAN_SECS as usize],
            second: i64::MIN,
        }
    }

    /// The second up to which everything was looked at; `i64::MIN` before the first packet.
    pub(crate) const fn second(&self) -> i64 {
        self.second
    }

    /// Moves the wheel without looking at anything: only right when it is empty or time jumped.
    pub(crate) fn jump(&mut self, second: i64) {
        self.second = second;
    }

    /// Steps one second on and takes what is due.
    pub(crate) fn step(&mut self) -> Vec<Ticket> {
        self.second += 1;
        std::mem::take(self.slot(self.second))
    }

    /// Puts a used list back, so that its memory is not given up at each step.
    pub(crate) fn reuse(&mut self, mut used: Vec<Ticket>) {
        used.clear();
        let slot = self.slot(self.second);
        if slot.is_empty() && used.capacity() <= 4096 {
            *slot = used;
        }
    }

    /// Has a flow looked at in `second`, or at the wheel's ends when that is out of its reach.
    pub(crate) fn schedule(&mut self, ticket: Ticket, second: i64) {
        let at = second.clamp(self.second + 1, self.second + SPAN_SECS - 1);
        self.slot(at).push(ticket);
    }

    /// Takes some tickets that are due soonest, for eviction.
    pub(crate) fn take_soonest(&mut self, count_max: usize) -> Vec<Ticket> {
        let mut taken = Vec::new();
        for ahead in 1..SPAN_SECS {
            if taken.len() >= count_max {
                break;
            }
            let want = count_max - taken.len();
            let slot = self.slot(self.second + ahead);
            let keep = slot.len().saturating_sub(want);
            taken.extend(slot.drain(keep..));
        }
        taken
    }

    pub(crate) fn clear(&mut self) {
        self.slots.iter_mut().for_each(Vec::clear);
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the remainder is below the number of slots"
    )]
    fn slot(&mut self, second: i64) -> &mut Vec<Ticket> {
        &mut self.slots[second.rem_euclid(SPAN_SECS) as usize]
    }
}
