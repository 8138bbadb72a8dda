//! Event time: how it runs, and what it makes due.

use super::table::PART_NANOS;
use super::wheel::SPAN_SECS;
use super::{FlowEngine, SECOND, WINDOW_SECS};

/// Steps back up to this are packets out of order; beyond it the capture began again.
const REORDER_NANOS: i64 = 60 * SECOND;
/// Steps forward beyond this are believed only when the next packet agrees.
const LEAP_NANOS: i64 = 86_400 * SECOND;

/// The time of the latest packet.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    now: Option<i64>,
    /// Times the capture began again in the past.
    pub(crate) jumps_back: u64,
    /// Packets whose time fits neither the packet before nor the one after; they were given the
    /// time of the packet before.
    pub(crate) outliers: u64,
}

impl Clock {
    /// Nanoseconds since the epoch; 0 before the first packet.
    pub(crate) fn now(&self) -> i64 {
        self.now.unwrap_or(0)
    }
}

fn is_leap(from: i64, to: i64) -> bool {
    to < from.saturating_sub(REORDER_NANOS) || to > from.saturating_add(LEAP_NANOS)
}

impl FlowEngine {
    /// Moves the clock to a packet's time and does what became due.
    pub(super) fn advance(&mut self, ts: i64, next_ts: Option<i64>) {
        let Some(now) = self.clock.now else {
            self.clock.now = Some(ts);
            self.table.wheel.jump(ts.div_euclid(SECOND));
            return;
        };
        if ts <= now {
            if ts < now.saturating_sub(REORDER_NANOS) {
                self.leap(now, ts, next_ts);
            }
            return;
        }
        if is_leap(now, ts) {
            self.leap(now, ts, next_ts);
            return;
        }
        self.clock.now = Some(ts);
        self.run_to(ts.div_euclid(SECOND));
    }

    /// A step too large to be believed on one packet's word.
    fn leap(&mut self, now: i64, ts: i64, next_ts: Option<i64>) {
        if next_ts.is_some_and(|next| !is_leap(now, next)) {
            self.clock.outliers += 1;
            return;
        }
        if ts > now {
            self.clock.now = Some(ts);
            self.run_to(ts.div_euclid(SECOND));
            return;
        }
        self.clock.jumps_back += 1;
        self.finish();
        self.clock.now = Some(ts);
        self.table.wheel.jump(ts.div_euclid(SECOND));
    }

    /// Looks at every flow that is due up to `second`, second by second.
    fn run_to(&mut self, second: i64) {
        // No timer reaches further than the wheel, and looking twice at a span ends all silent flows.
        let mut steps = 0;
        while self.table.wheel.second() < second {
            let nothing_due = self.table.len() == 0 && self.traffic.is_idle();
            if nothing_due || steps > 2 * SPAN_SECS {
                self.table.wheel.jump(second);
                break;
            }
            steps += 1;
            let due = self.table.wheel.step();
            let at = self.table.wheel.second();
            for ticket in &due {
                self.look(*ticket, at);
            }
            self.table.wheel.reuse(due);
            if at.rem_euclid(WINDOW_SECS) == 0 {
                self.close_windows(at.saturating_mul(SECOND));
            }
        }
    }

    /// Looks at a flow: ends it, reports a part of it, or lets it be.
    fn look(&mut self, ticket: super::wheel::Ticket, second: i64) {
        let at = second.saturating_mul(SECOND);
        let Some(flow) = self.table.live(ticket, second) else {
            return;
        };
        if flow.deadline() <= at {
            self.end_flow(ticket.index, at);
            return;
        }
        if flow.part_start.saturating_add(PART_NANOS) <= at {
            flow.part_start = at;
            let active = flow.counts.iter().any(|counts| counts.packets > 0);
            let conn = flow.conn;
            let record = active.then(|| flow.record(false));
            if let Some(record) = record {
                let body = thymus_schema::EventBody::Flow(Box::new(record));
                self.emit_at(Some(conn), body, at);
            }
        }
        self.table.reschedule(ticket);
    }
}
