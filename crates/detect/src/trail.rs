//! What a piece of evidence was counted from: the first few event ids, how many in all, from when
//! until when.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};

use rustc_hash::FxHasher;
use smallvec::SmallVec;
use thymus_schema::{
    Event, EventBody, EventId, Fact, InputId, Scope, SnapshotError, SnapshotReader, SnapshotWriter,
    Statement, Timestamp, Value,
};

use crate::cx::Finding;
use crate::party::{DeviceIdx, Party};

/// When what the event tells of began: the first packet of a flow, else the event's own time.
pub(crate) fn began(event: &Event) -> Timestamp {
    match &event.body {
        EventBody::Flow(flow) if flow.start > Timestamp::default() => flow.start.min(event.ts),
        _ => event.ts,
    }
}

/// Where evidence comes from, in bounded space.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail {
    /// Most trails are of one event.
    ids: SmallVec<[EventId; 2]>,
    total: u64,
    first: Timestamp,
    last: Timestamp,
}

impl Trail {
    /// Ids kept; the rest are only counted.
    const IDS_MAX: usize = 8;

    /// Adds an event. A flow is told when it is over, which may be long after it happened: its own
    /// times count.
    pub(crate) fn push(&mut self, event: &Event) {
        self.note(event.id, began(event));
        if let EventBody::Flow(flow) = &event.body {
            self.last = self.last.max(flow.start.plus(flow.duration).min(event.ts));
        }
    }

    /// Adds an event by its id and time.
    pub(crate) fn note(&mut self, id: EventId, ts: Timestamp) {
        if self.total == 0 {
            self.first = ts;
        }
        if self.ids.len() < Self::IDS_MAX {
            self.ids.push(id);
        }
        self.total += 1;
        self.first = self.first.min(ts);
        self.last = self.last.max(ts);
    }

    /// How many events.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The first event's time.
    pub(crate) fn first(&self) -> Timestamp {
        self.first
    }

    /// The last event's time.
    pub(crate) fn last(&self) -> Timestamp {
        self.last
    }

    /// A fact counted from these events.
    pub(crate) fn fact(&self, key: &'static str, value: Value) -> Fact {
        Fact::new(key, value, &self.ids).of_total(self.total)
    }

    /// What would have been normal, told by what is remembered: the sentence `known` with its slot
    /// `{usual}`, or, where nothing earlier is there to compare with, the sentence `unknown`.
    pub(crate) fn normal(
        &self,
        usual: f64,
        known: &'static str,
        unknown: &'static str,
    ) -> Statement {
        if usual > 0.0 {
            // Memory fades: less than one means that it was one or more long ago.
            let usual = Value::Count(usual.ceil() as u64);
            Statement::new(known, vec![self.fact("usual", usual)])
        } else {
            Statement::new(unknown, Vec::new())
        }
    }

    /// Writes the trail.
    pub(crate) fn write(&self, out: &mut SnapshotWriter) {
        out.u64(self.ids.len() as u64);
        for id in &self.ids {
            out.u64(id.input.0).u64(id.index);
        }
        out.u64(self.total)
            .i64(self.first.as_nanos())
            .i64(self.last.as_nanos());
    }

    /// Reads a trail.
    pub(crate) fn read(from: &mut SnapshotReader<'_>) -> Result<Self, SnapshotError> {
        let mut ids = SmallVec::new();
        for _ in 0..from.count(16)? {
            ids.push(EventId {
                input: InputId(from.u64()?),
                index: from.u64()?,
            });
        }
        let total = from.u64()?;
        let first = Timestamp::from_nanos(from.i64()?);
        let last = Timestamp::from_nanos(from.i64()?);
        Ok(Self {
            ids,
            total,
            first,
            last,
        })
    }

    /// A finding founded on these events; `key` tells it from others about the same entity.
    pub(crate) fn finding(
        &self,
        entity: Party,
        key: u64,
        score: f64,
        statement: Statement,
        counterfactual: Statement,
    ) -> Finding {
        Finding {
            entity,
            key,
            score,
            peers: Vec::new(),
            first_event: self.ids.first().copied().unwrap_or_default(),
            first_seen: self.first,
            last_seen: self.last,
            phase: None,
            techniques: Vec::new(),
            statement,
            counterfactual,
        }
    }
}

/// A stable number for what tells one finding from another.
pub(crate) fn key_of(what: impl Hash) -> u64 {
    let mut hasher = FxHasher::default();
    what.hash(&mut hasher);
    hasher.finish()
}

/// Writes a party.
pub(crate) fn write_party(out: &mut SnapshotWriter, party: Party) {
    out.str(&party.addr.to_string())
        .u64(u64::from(party.scope.0))
        .i64(party.device.map_or(-1, |idx| i64::from(idx.0)));
}

/// Reads a party; an address that is none becomes the unspecified one.
pub(crate) fn read_party(from: &mut SnapshotReader<'_>) -> Result<Party, SnapshotError> {
    let addr = from
        .str()?
        .parse()
        .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let scope = Scope(from.u64()? as u32);
    let device = u32::try_from(from.i64()?).ok().map(DeviceIdx);
    Ok(Party {
        addr,
        scope,
        device,
    })
}
