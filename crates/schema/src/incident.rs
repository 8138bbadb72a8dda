//! What a person reads: a few alerts tied into one story.

use serde::{Deserialize, Serialize};

use crate::{AlertId, EntityId, IncidentId, PValue, Phase, Statement, Technique, Timestamp};

/// How sure the analyst is, in words a person can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Worth knowing.
    Low,
    /// Worth a look today.
    Medium,
    /// Look now.
    High,
}

impl Confidence {
    /// Lower-case word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// A device, user or name in an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affected {
    /// Who.
    pub entity: EntityId,
    /// Addresses and names it held.
    pub aliases: Vec<Box<str>>,
    /// Whether it acts in the incident (suspected) or is acted on (affected).
    pub suspected: bool,
}

/// One step of the story.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// When it began.
    pub at: Timestamp,
    /// Until when it went on.
    pub until: Timestamp,
    /// Where in an attack it belongs.
    pub phase: Phase,
    /// Who did it.
    pub entity: EntityId,
    /// To whom.
    pub peers: Vec<EntityId>,
    /// The alert behind it.
    pub alert: AlertId,
    /// What was seen.
    pub statement: Statement,
    /// What would have been normal.
    pub counterfactual: Statement,
}

/// A story made of alerts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Digest of the founding alert.
    pub id: IncidentId,
    /// Incidents that were merged into this one.
    pub merged_from: Vec<IncidentId>,
    /// One line for a list.
    pub title: String,
    /// What it most likely is.
    pub hypothesis: String,
    /// How sure.
    pub confidence: Confidence,
    /// The combined p-value that ranks it.
    pub p_value: PValue,
    /// Position among all incidents of the run, 1 = first.
    pub rank: u32,
    /// Whether it is inside the budget of its day.
    pub shown: bool,
    /// Who is in it, suspected first.
    pub affected: Vec<Affected>,
    /// Techniques, sorted.
    pub techniques: Vec<Technique>,
    /// First event.
    pub first_seen: Timestamp,
    /// Last event.
    pub last_seen: Timestamp,
    /// The story in order of time.
    pub steps: Vec<Step>,
    /// What to do next, most useful first.
    pub next_steps: Vec<String>,
}
