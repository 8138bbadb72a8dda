//! What a detector may ask and say while it looks at an event.

use std::cell::OnceCell;
use std::net::IpAddr;

use thymus_schema::{
    DnsTransaction, Event, EventId, LocalNetworks, Peer, Phase, Scope, Statement, Technique,
    Timestamp,
};

use crate::entities::Entities;
use crate::party::{DeviceIdx, Party};
use crate::prepared::Prepared;
use crate::sweep::Attempt;

/// A score with its evidence. Findings of one detector with the same entity and `key` are the same
/// alert growing: the highest score's evidence is kept.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Whom it is about: the side that acts or is infected.
    pub entity: Party,
    /// What distinguishes it from other findings of this detector about the entity in the same
    /// hour, e.g. a hash of the destination; 0 when one at a time is enough.
    pub key: u64,
    /// The raw score; see [`crate::Detector`].
    pub score: f64,
    /// Who else takes part.
    pub peers: Vec<Peer>,
    /// The first event of the evidence.
    pub first_event: EventId,
    /// When the behaviour began.
    pub first_seen: Timestamp,
    /// When it was last seen.
    pub last_seen: Timestamp,
    /// Phase, when it differs from the detector's own.
    pub phase: Option<Phase>,
    /// Techniques, when they differ from the detector's own; empty means the detector's.
    pub techniques: Vec<Technique>,
    /// What was seen. The subject is the entity, the sentence starts with a verb in the past tense:
    /// `"called {server} {count} times, every {period}"`.
    pub statement: Statement,
    /// What would have been normal: a full sentence.
    pub counterfactual: Statement,
}

/// The registered domain below which a name was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AskedDomain<'e> {
    pub(crate) domain: &'e str,
    /// [`crate::trail::key_of`] the domain.
    pub(crate) digest: u64,
    /// [`crate::trail::key_of`] the whole name.
    pub(crate) name: u64,
}

/// The context of one call.
pub struct DetectCx<'a> {
    pub(crate) now: Timestamp,
    pub(crate) entities: &'a Entities,
    pub(crate) client: Option<Party>,
    pub(crate) server: Option<Party>,
    /// What was worked out from the event alone.
    pub(crate) prepared: Option<&'a Prepared>,
    /// The attempt the event stands for, once somebody asked.
    pub(crate) attempt: OnceCell<Option<Attempt>>,
    pub(crate) findings: &'a mut Vec<(usize, Finding)>,
    /// Index of the detector being called.
    pub(crate) detector: usize,
    /// Scores below this cannot matter; see [`DetectCx::matters`].
    pub(crate) floor: f64,
}

impl DetectCx<'_> {
    /// Event time.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The client of the event's conversation, resolved; `None` without a conversation.
    pub fn client(&self) -> Option<Party> {
        self.client
    }

    /// The server of the event's conversation, resolved.
    pub fn server(&self) -> Option<Party> {
        self.server
    }

    /// Resolves an address as of now.
    pub fn party(&self, addr: IpAddr, scope: Scope) -> Party {
        self.entities.party(addr, scope)
    }

    /// What is registered of the name this event asks for; see [`crate::domains::registered`].
    pub(crate) fn asked_domain<'e>(&self, dns: &'e DnsTransaction) -> Option<AskedDomain<'e>> {
        let prepared = self.prepared?;
        let start = dns.query.len().checked_sub(prepared.registered?)?;
        Some(AskedDomain {
            domain: dns.query.get(start..)?,
            digest: prepared.domain,
            name: prepared.name,
        })
    }

    /// The local networks.
    pub fn local(&self) -> &LocalNetworks {
        self.entities.local()
    }

    /// Whether `addr` is ours.
    pub fn is_local(&self, addr: IpAddr) -> bool {
        self.entities.local().contains(addr)
    }

    /// How many devices are known.
    pub fn devices(&self) -> usize {
        self.entities.devices()
    }

    /// Everything known about who is who: names, roles, age, peer groups.
    pub fn entities(&self) -> &Entities {
        self.entities
    }

    /// Whether a score of this size can matter. Ask before building costly evidence; but hand over
    /// every score that does, also unalarming ones: the calibration learns from them.
    pub fn matters(&self, score: f64) -> bool {
        score >= self.floor
    }

    /// Hands over a score with its evidence.
    pub fn raise(&mut self, finding: Finding) {
        if finding.score.is_finite() && finding.score > 0.0 {
            self.findings.push((self.detector, finding));
        }
    }

    /// How long the device has been watched, in seconds of event time; 0 for outsiders.
    pub fn age_secs(&self, device: Option<DeviceIdx>) -> f64 {
        device.map_or(0.0, |idx| {
            self.now.secs_since(self.entities.first_seen(idx))
        })
    }
}

/// Convenience for detectors that read the event's own identity.
impl Finding {
    /// A finding about `entity` founded on `event`, with no peers; fill in the rest with struct
    /// update syntax.
    pub fn new(
        entity: Party,
        score: f64,
        event: &Event,
        statement: Statement,
        counterfactual: Statement,
    ) -> Self {
        Self {
            entity,
            key: 0,
            score,
            peers: Vec::new(),
            first_event: event.id,
            first_seen: event.ts,
            last_seen: event.ts,
            phase: None,
            techniques: Vec::new(),
            statement,
            counterfactual,
        }
    }
}
