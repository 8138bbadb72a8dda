//! One detector's calibrated claim about one entity.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{AlertId, EntityId, EventId, PValue, Statement, Technique, Timestamp};

/// Where in an attack a behaviour belongs; ordered as attacks go. Follows the ATT&CK tactics, merged
/// to what the wire can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Unusual, with no attack step to name.
    Unusual,
    /// Looking around.
    Reconnaissance,
    /// Getting in, or bringing tools in.
    Access,
    /// Getting accounts.
    Credentials,
    /// Being steered from outside.
    Control,
    /// Moving to other devices.
    Lateral,
    /// Taking data out.
    Exfiltration,
    /// Breaking things.
    Impact,
}

impl Phase {
    /// A title for reports.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Unusual => "Unusual behaviour",
            Self::Reconnaissance => "Reconnaissance",
            Self::Access => "Initial access",
            Self::Credentials => "Credential access",
            Self::Control => "Command and control",
            Self::Lateral => "Lateral movement",
            Self::Exfiltration => "Exfiltration",
            Self::Impact => "Impact",
        }
    }
}

/// What part another entity plays in an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerRole {
    /// Something is done to it.
    Target,
    /// It steers, or takes what is sent.
    Controller,
    /// It carries the traffic (proxy, resolver) and is itself not suspect.
    Relay,
    /// The account used.
    Account,
}

/// Another entity in an alert.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Peer {
    /// Its part.
    pub role: PeerRole,
    /// Who.
    pub entity: EntityId,
}

/// One detector's claim about one entity, calibrated. An alert that grows keeps its id: a later
/// [`Alert`] with the same id replaces the earlier one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Digest of detector, entity and first event.
    pub id: AlertId,
    /// The detector's id.
    pub detector: Cow<'static, str>,
    /// Whom it is about: the one that acts or is infected.
    pub entity: EntityId,
    /// All addresses and names the entity held in the window, for people and for matching.
    pub aliases: Vec<Box<str>>,
    /// Who else takes part, most important first, at most 16.
    pub peers: Vec<Peer>,
    /// Phase of an attack it would belong to.
    pub phase: Phase,
    /// Techniques it would be.
    pub techniques: Vec<Technique>,
    /// First event.
    pub first_seen: Timestamp,
    /// Last event.
    pub last_seen: Timestamp,
    /// The detector's raw score; comparable only within the detector.
    pub score: f64,
    /// The calibrated p-value of the score, per entity and window.
    pub p_value: PValue,
    /// Which reference gave the p-value: `entity`, `peers`, `site` or `shipped`.
    pub calibrated_by: Cow<'static, str>,
    /// Whether the online false-discovery control let it pass.
    pub discovered: bool,
    /// What was seen, as a sentence whose subject is the entity.
    pub statement: Statement,
    /// What would have been normal, as a sentence.
    pub counterfactual: Statement,
    /// The founding event.
    pub first_event: EventId,
}
