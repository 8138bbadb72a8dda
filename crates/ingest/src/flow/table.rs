//! The living flows: a slab with a bound, found by key, looked at by timer.

use thymus_schema::{Conn, Mac, Service, Transport};

use super::dispatch::App;
use super::key::{Key, KeyMap};
use super::reassembly::Stream;
use super::state::{Ends, History, datagram_state};
use super::traffic::Handle;
use super::wheel::{Ticket, Wheel};
use crate::analyzer::Side;

const SECOND: i64 = 1_000_000_000;
/// Silence after which an unanswered TCP attempt is over: longer than the fifth retry of a SYN.
const ATTEMPT_NANOS: i64 = 60 * SECOND;
/// Silence after which a TCP connection is over.
const ESTABLISHED_NANOS: i64 = 15 * 60 * SECOND;
/// Silence after which a TCP conversation is over that was joined in the middle or half closed.
const PARTIAL_NANOS: i64 = 5 * 60 * SECOND;
/// How long late packets of a closed connection are waited for.
const CLOSED_NANOS: i64 = 5 * SECOND;
/// How long late packets of an aborted connection are waited for.
const RESET_NANOS: i64 = 2 * SECOND;
/// Silence after which a conversation of datagrams is over.
const DATAGRAM_NANOS: i64 = 60 * SECOND;
/// How often a flow that lasts is reported.
pub(crate) const PART_NANOS: i64 = 5 * 60 * SECOND;

/// What one side did since the last part.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// The last packet of a side, to know its exact copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Print {
    pub(crate) digest: u64,
    pub(crate) ts: i64,
}

/// TCP's own part of a flow.
#[derive(Debug, Default)]
pub(crate) struct TcpFlow {
    pub(crate) ends: Ends,
    pub(crate) streams: [Stream; 2],
    /// First sequence number of each side (of its SYN, or what that would have been).
    pub(crate) first: [Option<u32>; 2],
    /// One past the highest sequence number of each side.
    pub(crate) highest: [u32; 2],
    pub(crate) closed_seen: bool,
}

/// A living flow.
pub(crate) struct Flow {
    pub(crate) key: Key,
    pub(crate) client_is_low: bool,
    pub(crate) conn: Conn,
    pub(crate) start: i64,
    pub(crate) last: i64,
    pub(crate) part_start: i64,
    pub(crate) part: u32,
    pub(crate) counts: [Counts; 2],
    pub(crate) spoke: [bool; 2],
    pub(crate) payload_seen: bool,
    pub(crate) missed: u64,
    pub(crate) macs: [Option<Mac>; 2],
    pub(crate) local: [bool; 2],
    pub(crate) traffic: [Handle; 2],
    pub(crate) peers: [u64; 2],
    pub(crate) prints: [Print; 2],
    pub(crate) history: History,
    pub(crate) service: Option<Service>,
    pub(crate) app: App,
    pub(crate) tcp: Option<Box<TcpFlow>>,
    pub(crate) quirks: u8,
    /// The second of the one ticket that counts.
    pub(crate) due: i64,
}

impl Flow {
    /// When it is over if nothing more comes, in nanoseconds.
    pub(crate) fn deadline(&self) -> i64 {
        let patience = match (&self.tcp, self.conn.transport) {
            (Some(tcp), _) => {
                let ends = &tcp.ends;
                if ends.is_closed() {
                    CLOSED_NANOS
                } else if ends.is_reset() {
                    RESET_NANOS
                } else if ends.is_attempt() {
                    ATTEMPT_NANOS
                } else if ends.is_established() {
                    ESTABLISHED_NANOS
                } else {
                    PARTIAL_NANOS
                }
            }
            (None, Transport::Sctp) => PARTIAL_NANOS,
            _ => DATAGRAM_NANOS,
        };
        self.last.saturating_add(patience)
    }

    /// When it is to be looked at next: its end, or its next part.
    pub(crate) fn next_look(&self) -> i64 {
        self.deadline()
            .min(self.part_start.saturating_add(PART_NANOS))
    }

    /// The connection's state so far.
    pub(crate) fn state(&self) -> thymus_schema::ConnState {
        match &self.tcp {
            Some(tcp) => tcp.ends.state(self.payload_seen, &self.history),
            None => datagram_state(self.conn.transport, self.spoke[0], self.spoke[1]),
        }
    }

    /// Which side sent a packet.
    pub(crate) fn side(&self, from_low: bool) -> Side {
        if from_low == self.client_is_low {
            Side::Client
        } else {
            Side::Server
        }
    }
}

/// The table.
pub(crate) struct Table {
    flows: Vec<Option<Box<Flow>>>,
    generations: Vec<u32>,
    free: Vec<u32>,
    keys: KeyMap,
    pub(crate) wheel: Wheel,
}

fn second_after(nanos: i64) -> i64 {
    nanos.div_euclid(SECOND) + 1
}

impl Table {
    pub(crate) fn new() -> Self {
        Self {
            flows: Vec::new(),
            generations: Vec::new(),
            free: Vec::new(),
            keys: KeyMap::default(),
            wheel: Wheel::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn find(&self, key: &Key) -> Option<u32> {
        self.keys.get(key)
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut Flow> {
        self.flows.get_mut(index as usize)?.as_deref_mut()
    }

    pub(crate) fn insert(&mut self, mut flow: Box<Flow>) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.flows.push(None);
            self.generations.push(0);
            self.flows.len() as u32 - 1
        });
        self.keys.insert(flow.key, index);
        flow.due = second_after(flow.next_look());
        let due = flow.due;
        if let Some(place) = self.flows.get_mut(index as usize) {
            *place = Some(flow);
        }
        self.wheel.schedule(self.ticket(index), due);
        index
    }

    pub(crate) fn remove(&mut self, index: u32) -> Option<Box<Flow>> {
        let flow = self.flows.get_mut(index as usize)?.take()?;
        if let Some(generation) = self.generations.get_mut(index as usize) {
            *generation = generation.wrapping_add(1);
        }
        self.keys.remove(&flow.key);
        self.free.push(index);
        Some(flow)
    }

    fn ticket(&self, index: u32) -> Ticket {
        let generation = self.generations.get(index as usize).copied().unwrap_or(0);
        Ticket { index, generation }
    }

    /// Has a flow looked at earlier than planned, because it ended.
    pub(crate) fn hurry(&mut self, index: u32) {
        let ticket = self.ticket(index);
        let Some(flow) = self.get_mut(index) else {
            return;
        };
        let due = second_after(flow.next_look());
        if due < flow.due {
            flow.due = due;
            self.wheel.schedule(ticket, due);
        }
    }

    /// The flow that a ticket speaks of, unless it is gone or a later ticket took its place.
    pub(crate) fn live(&mut self, ticket: Ticket, second: i64) -> Option<&mut Flow> {
        if self.generations.get(ticket.index as usize) != Some(&ticket.generation) {
            return None;
        }
        self.get_mut(ticket.index).filter(|flow| flow.due <= second)
    }

    /// Plans the next look at a flow.
    pub(crate) fn reschedule(&mut self, ticket: Ticket) {
        let Some(flow) = self.get_mut(ticket.index) else {
            return;
        };
        flow.due = second_after(flow.next_look());
        let due = flow.due;
        self.wheel.schedule(ticket, due);
    }

    /// The flow that has been silent longest among some that are due soonest.
    pub(crate) fn stalest(&mut self) -> Option<u32> {
        const LOOKED_AT: usize = 16;
        let mut stalest: Option<(i64, u32)> = None;
        while stalest.is_none() {
            let tickets = self.wheel.take_soonest(LOOKED_AT);
            if tickets.is_empty() {
                break;
            }
            for ticket in tickets {
                if self.live(ticket, i64::MAX).is_none() {
                    continue;
                }
                if let Some(flow) = self.get_mut(ticket.index) {
                    let candidate = (flow.last, ticket.index);
                    stalest = Some(stalest.map_or(candidate, |best| best.min(candidate)));
                }
                self.reschedule(ticket);
            }
        }
        stalest.map(|(_, index)| index)
    }

    /// Gives up all places; only right when no flow lives.
    pub(crate) fn clear(&mut self) {
        self.flows.clear();
        self.generations.clear();
        self.free.clear();
        self.wheel.clear();
    }

    /// All living flows, by place.
    pub(crate) fn indexes(&self) -> Vec<u32> {
        let living = self
            .flows
            .iter()
            .enumerate()
            .filter(|(_, flow)| flow.is_some());
        living.map(|(index, _)| index as u32).collect()
    }
}
