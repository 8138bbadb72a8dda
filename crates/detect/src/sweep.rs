//! Counting what someone tries: targets that differ, and whether the tries come to something.
//!
//! The scan detectors share it. Each first contact with a new target is a success, a failure or
//! neither; ordinary clients mostly succeed, scanners mostly fail (Jung et al., *Fast Portscan
//! Detection Using Sequential Hypothesis Testing*, IEEE S&P 2004). The walk goes up by one for a
//! failure and down for a success and never below zero (a one-sided sequential test), so a long
//! honest past cannot pay for a scan.

use std::hash::Hash;
use std::net::IpAddr;

use smallvec::SmallVec;
use thymus_schema::{
    Conn, ConnState, Event, EventBody, EventId, FlowRecord, Peer, PeerRole, SnapshotError,
    SnapshotReader, SnapshotWriter, Timestamp, Transport,
};

use crate::cx::DetectCx;
use crate::party::Party;
use crate::table::Table;
use crate::trail::Trail;

/// How a first contact ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Success,
    Failure,
    Unclear,
}

/// An attempt to reach somebody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) src: Party,
    pub(crate) dst: Party,
    pub(crate) port: u16,
    pub(crate) transport: Transport,
    pub(crate) ending: Ending,
    /// Whether it was a bare segment that nobody answered: a scan's, or the last word of an old
    /// conversation.
    pub(crate) ignored: bool,
}

impl Attempt {
    /// The attempt a flow stands for; `None` for later parts of a flow, for traffic to groups, and
    /// where the side that began is in doubt.
    pub(crate) fn from_event(event: &Event, cx: &DetectCx<'_>) -> Option<Self> {
        *cx.attempt.get_or_init(|| Self::work_out(event, cx))
    }

    fn work_out(event: &Event, cx: &DetectCx<'_>) -> Option<Self> {
        let EventBody::Flow(flow) = &event.body else {
            return None;
        };
        let conn = event.conn.as_ref()?;
        let (src, dst) = (cx.client()?, cx.server()?);
        if flow.part != 0 || is_group(dst.addr) || is_group(src.addr) || is_answer(conn) {
            return None;
        }
        let talked = flow.server_bytes > 0 && flow.server_packets > 0;
        let ending = match conn.transport {
            Transport::Tcp => match flow.state {
                // A bare segment out of nowhere to a service's port, refused or ignored: a probe.
                ConnState::Rstrh | ConnState::Oth if is_bare_probe(conn, flow) => Ending::Failure,
                // No beginning was seen, so nobody can say who tried.
                ConnState::Oth | ConnState::Rstrh | ConnState::Shr => return None,
                state if state.is_failed() => Ending::Failure,
                _ if talked => Ending::Success,
                _ => Ending::Unclear,
            },
            _ if flow.server_packets == 0 => Ending::Failure,
            _ => Ending::Success,
        };
        Some(Self {
            src,
            dst,
            port: conn.server.port,
            transport: conn.transport,
            ending,
            ignored: flow.state == ConnState::Oth && conn.transport == Transport::Tcp,
        })
    }
}

/// Whether the conversation was an empty segment towards a service's port and its reset, or two that
/// were ignored: no end of an older conversation looks like this to more than a port or two. Of
/// ports outside the privileged range only those below the ephemeral ones count, and only from
/// above: old systems take client ports there.
fn is_bare_probe(conn: &Conn, flow: &FlowRecord) -> bool {
    let to_service = (conn.server.port < 1024 && conn.client.port >= 1024)
        || (conn.server.port < 32_768 && conn.client.port >= 32_768);
    let refused = flow.client_packets == 1 && flow.server_packets == 1;
    let ignored = (1..=2).contains(&flow.client_packets) && flow.server_packets == 0;
    to_service && (refused || ignored) && flow.client_bytes == 0 && flow.server_bytes == 0
}

/// Whether the address is not a single host's.
pub(crate) fn is_group(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast() || v4.is_unspecified(),
        IpAddr::V6(v6) => v6.is_multicast() || v6.is_unspecified(),
    }
}

/// Whether the "client" is more likely a server whose answers came without the question, as one-sided
/// captures and expired flows show them.
fn is_answer(conn: &Conn) -> bool {
    let known = |port| matches!(port, 1..1024 | 1900 | 3389 | 5060 | 5353 | 8080 | 8443);
    conn.transport != Transport::Icmp && known(conn.client.port) && conn.server.port >= 1024
}

/// How many keys differ: the first few exactly, then by linear counting over 4,096 bits (Whang et
/// al. 1990).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Distinct {
    few: SmallVec<[u64; 4]>,
    bits: Option<Box<[u64; 64]>>,
    set: u32,
}

impl Distinct {
    const FEW_MAX: usize = 16;

    /// Adds a key; for a new one, how many new ones it stands for (more than one when the sketch is
    /// so full that others went unseen).
    pub(crate) fn add(&mut self, key: u64) -> Option<f64> {
        if self.bits.is_none() {
            if self.few.contains(&key) {
                return None;
            }
            if self.few.len() < Self::FEW_MAX {
                self.few.push(key);
                return Some(1.0);
            }
            let few = std::mem::take(&mut self.few);
            self.bits = Some(Box::new([0; 64]));
            for old in few {
                self.mark(old);
            }
        }
        let free = 1.0 - f64::from(self.set) / 4096.0;
        (free > 0.02 && self.mark(key)).then(|| 1.0 / free)
    }

    fn mark(&mut self, key: u64) -> bool {
        let mixed = (key ^ (key >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52;
        let Some(word) = self
            .bits
            .as_mut()
            .and_then(|bits| bits.get_mut((mixed >> 6) as usize))
        else {
            return false;
        };
        let bit = 1 << (mixed & 63);
        let new = *word & bit == 0;
        *word |= bit;
        self.set += u32::from(new);
        new
    }
}

/// One source trying targets during an hour.
#[derive(Clone, Debug)]
pub(crate) struct Sweep {
    pub(crate) src: Party,
    since: Timestamp,
    targets: Distinct,
    walk: f64,
    /// The highest point of the walk.
    pub(crate) peak: f64,
    /// Targets that differ.
    pub(crate) distinct: f64,
    /// Of them, how many did not answer or refused.
    pub(crate) failed: f64,
    /// Of them, how many are ours.
    pub(crate) local: f64,
    /// The first few targets.
    pub(crate) sample: Vec<Party>,
    /// What earlier hours reached, slowly forgotten.
    pub(crate) usual_peak: f64,
    /// How many targets earlier hours had, slowly forgotten.
    pub(crate) usual_distinct: f64,
    pub(crate) trail: Trail,
    pub(crate) waiting: bool,
}

impl Sweep {
    const SAMPLE_MAX: usize = 8;
    const HOUR_SECS: f64 = 3600.0;
    /// What is left of the memory of an earlier hour after one more.
    const MEMORY: f64 = 0.9;

    pub(crate) fn new(src: Party, since: Timestamp) -> Self {
        Self {
            src,
            since,
            targets: Distinct::default(),
            walk: 0.0,
            peak: 0.0,
            distinct: 0.0,
            failed: 0.0,
            local: 0.0,
            sample: Vec::new(),
            usual_peak: 0.0,
            usual_distinct: 0.0,
            trail: Trail::default(),
            waiting: false,
        }
    }

    /// Notes a contact. `success_costs` is how many failures a success takes back. Returns whether
    /// the target was new.
    pub(crate) fn contact(
        &mut self,
        (id, ts): (EventId, Timestamp),
        target: u64,
        dst: Party,
        ending: Ending,
        success_costs: f64,
    ) -> bool {
        if ts.secs_since(self.since) > Self::HOUR_SECS {
            self.roll(ts);
        }
        let Some(new) = self.targets.add(target) else {
            return false;
        };
        self.trail.note(id, ts);
        self.distinct += new;
        self.local += if dst.is_local() { new } else { 0.0 };
        if self.sample.len() < Self::SAMPLE_MAX && !self.sample.contains(&dst) {
            self.sample.push(dst);
        }
        match ending {
            Ending::Failure => {
                self.failed += new;
                self.walk += new;
            }
            Ending::Success => self.walk = (self.walk - new * success_costs).max(0.0),
            Ending::Unclear => {}
        }
        self.peak = self.peak.max(self.walk);
        true
    }

    /// The peak in view of what this source does in other hours.
    pub(crate) fn surprising_peak(&self) -> f64 {
        self.peak / (1.0 + self.usual_peak / 4.0)
    }

    fn roll(&mut self, now: Timestamp) {
        let hours = (now.secs_since(self.since) / Self::HOUR_SECS).max(1.0);
        let left = Self::MEMORY.powf(hours.min(500.0));
        self.usual_peak = (self.usual_peak * left).max(self.peak * left);
        self.usual_distinct = (self.usual_distinct * left).max(self.distinct * left);
        *self = Self {
            usual_peak: self.usual_peak,
            usual_distinct: self.usual_distinct,
            waiting: self.waiting,
            ..Self::new(self.src, now)
        };
    }

    /// The first few targets, as peers.
    pub(crate) fn targets(&self, cx: &DetectCx<'_>) -> Vec<Peer> {
        let sample = self.sample.iter();
        sample
            .map(|dst| cx.entities().peer(PeerRole::Target, *dst))
            .collect()
    }

    /// Writes the sweeps that ever had `targets_min` targets, each after its key as `key` writes it.
    pub(crate) fn write_all<K: Copy + Ord + Hash>(
        sweeps: &Table<K, Self>,
        targets_min: f64,
        out: &mut SnapshotWriter,
        key: impl Fn(K, &mut SnapshotWriter),
    ) {
        sweeps.write(
            out,
            |_, sweep| sweep.usual_distinct.max(sweep.distinct) >= targets_min,
            |out, at, sweep| {
                key(at, out);
                sweep.write(out);
            },
        );
    }

    /// Reads what [`Sweep::write_all`] wrote into a table of at most `max` sweeps.
    pub(crate) fn read_all<'a, K: Copy + Ord + Hash>(
        max: usize,
        from: &mut SnapshotReader<'a>,
        key: impl Fn(&mut SnapshotReader<'a>) -> Result<K, SnapshotError>,
    ) -> Result<Table<K, Self>, SnapshotError> {
        Table::read(max, from, 56, |from| Ok((key(from)?, Self::read(from)?)))
    }

    /// Writes what earlier hours taught; the hour under way counts as one of them.
    pub(crate) fn write(&self, out: &mut SnapshotWriter) {
        crate::trail::write_party(out, self.src);
        out.i64(self.since.as_nanos());
        out.f64(self.usual_peak.max(self.peak))
            .f64(self.usual_distinct.max(self.distinct));
    }

    /// Reads what [`Sweep::write`] wrote.
    pub(crate) fn read(from: &mut SnapshotReader<'_>) -> Result<Self, SnapshotError> {
        let src = crate::trail::read_party(from)?;
        let mut sweep = Self::new(src, Timestamp::from_nanos(from.i64()?));
        sweep.usual_peak = from.f64()?;
        sweep.usual_distinct = from.f64()?;
        Ok(sweep)
    }
}

/// How surprising `failures` failed first contacts in a row are. Failures of one cause come together
/// (a dead network, a moved server), so each further one counts less than the first.
pub(crate) fn failures_score(failures: f64) -> f64 {
    0.6 * failures.max(0.0).powf(0.75)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_counts_are_right_within_a_tenth() {
        for wanted in [10_u64, 100, 1000, 6000] {
            let mut distinct = Distinct::default();
            let mut seen = 0.0;
            for round in 0..3 {
                for key in 0..wanted {
                    seen += distinct.add(key * 2_654_435_761).unwrap_or(0.0);
                }
                assert!(round == 0 || seen < wanted as f64 * 1.1);
            }
            assert!(
                (seen / wanted as f64 - 1.0).abs() < 0.1,
                "{seen} of {wanted}"
            );
        }
    }
}
