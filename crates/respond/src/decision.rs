//! Decisions and what becomes of them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thymus_schema::{EntityId, Timestamp};

use crate::book::Rehearsal;
use crate::cut::Cut;

/// A decision's number, in the order they were made: `d1`, `d2`, …
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DecisionId(pub u64);

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "d{}", self.0)
    }
}

impl FromStr for DecisionId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix('d').unwrap_or(text).parse();
        number
            .map(Self)
            .map_err(|_| format!("{text:?} is no decision: they are named d1, d2, …"))
    }
}

/// What an action takes hold of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Realm {
    /// Traffic, on this machine or elsewhere.
    Traffic,
    /// Processes of this machine.
    Processes,
    /// Files of this machine.
    Files,
}

/// What is done, from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Somebody is told.
    Notify,
    /// One service between two addresses is cut.
    BlockPattern,
    /// All between a device and an address is cut.
    BlockDestination,
    /// A file is moved to where nobody opens it.
    QuarantineFile,
    /// A process is stopped where it stands.
    FreezeProcess,
    /// A device may do what it usually does, and nothing else.
    EnforceLife,
    /// A device may do what devices of its kind usually do.
    EnforcePeerLife,
    /// Nobody may begin a conversation with the device.
    OutboundOnly,
    /// The device may begin none.
    InboundOnly,
    /// The device talks with nobody.
    Quarantine,
}

impl Verb {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Notify,
        Self::BlockPattern,
        Self::BlockDestination,
        Self::QuarantineFile,
        Self::FreezeProcess,
        Self::EnforceLife,
        Self::EnforcePeerLife,
        Self::OutboundOnly,
        Self::InboundOnly,
        Self::Quarantine,
    ];

    /// The word used in policies and output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Notify => "notify",
            Self::BlockPattern => "block_pattern",
            Self::BlockDestination => "block_destination",
            Self::QuarantineFile => "quarantine_file",
            Self::FreezeProcess => "freeze_process",
            Self::EnforceLife => "enforce_life",
            Self::EnforcePeerLife => "enforce_peer_life",
            Self::OutboundOnly => "outbound_only",
            Self::InboundOnly => "inbound_only",
            Self::Quarantine => "quarantine",
        }
    }

    /// What it takes hold of, if anything.
    pub const fn realm(self) -> Option<Realm> {
        match self {
            Self::Notify => None,
            Self::QuarantineFile => Some(Realm::Files),
            Self::FreezeProcess => Some(Realm::Processes),
            Self::BlockPattern
            | Self::BlockDestination
            | Self::EnforceLife
            | Self::EnforcePeerLife
            | Self::OutboundOnly
            | Self::InboundOnly
            | Self::Quarantine => Some(Realm::Traffic),
        }
    }

    /// What it does, as a sentence for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Notify => "tell somebody",
            Self::BlockPattern => "block one connection pattern",
            Self::BlockDestination => "block a destination",
            Self::QuarantineFile => "quarantine a file",
            Self::FreezeProcess => "freeze a process",
            Self::EnforceLife => "hold the device to its pattern of life",
            Self::EnforcePeerLife => "hold the device to the pattern of life of its group",
            Self::OutboundOnly => "let nobody begin a conversation with the device",
            Self::InboundOnly => "let the device begin no conversation",
            Self::Quarantine => "quarantine the device",
        }
    }
}

/// Who decides.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Nothing is done; what would have been is written down.
    #[default]
    Simulate,
    /// A person is asked.
    Approve,
    /// It is done, and can be taken back.
    Act,
}

/// Where a decision stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It was only written down.
    Simulated,
    /// It waits for a person, until `until`.
    Pending,
    /// It holds, until `until`.
    Active,
    /// A person said no.
    Denied,
    /// Nobody answered in time.
    Lapsed,
    /// A person took it back.
    Cleared,
    /// Its time is over.
    Expired,
    /// A guardrail said no.
    Refused,
    /// It was not confirmed in time, or a health probe failed: taken back by itself.
    Undone,
}

impl State {
    /// The word used in output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Simulated => "simulated",
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Denied => "denied",
            Self::Lapsed => "lapsed",
            Self::Cleared => "cleared",
            Self::Expired => "expired",
            Self::Refused => "refused",
            Self::Undone => "undone",
        }
    }

    /// Whether it can become active again.
    pub const fn is_over(self) -> bool {
        !matches!(self, Self::Pending | Self::Active)
    }
}

/// Who did something.
pub type Actor = Box<str>;

/// A line of a decision's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// Who: a user, or `thymus`.
    pub by: Actor,
    /// What.
    pub what: Box<str>,
}

/// Something to do about an incident, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Its number.
    pub id: DecisionId,
    /// The incident it is about.
    pub incident: Box<str>,
    /// Whom it is about.
    pub device: EntityId,
    /// What is done.
    pub verb: Verb,
    /// Which traffic is cut.
    pub cuts: Vec<Cut>,
    /// Why, and why this, for people.
    pub reason: String,
    /// Who decides.
    pub mode: Mode,
    /// What it would have cut of the last days.
    pub rehearsal: Rehearsal,
    /// When it was proposed.
    pub proposed_at: Timestamp,
    /// For how long it is to hold.
    pub duration: Duration,
    /// How far it goes beyond what was tried first: 0 is the first, least action.
    #[serde(default)]
    pub stage: u8,
    /// Where it stands.
    pub state: State,
    /// Since when it holds, or held last.
    #[serde(default)]
    pub began_at: Option<Timestamp>,
    /// Until when it stands there, of pending and active ones.
    pub until: Option<Timestamp>,
    /// It is taken back at this time unless it was confirmed before.
    pub confirm_by: Option<Timestamp>,
    /// What became of it, oldest first, at most 64 lines.
    pub history: Vec<Event>,
}

/// Lines of history that a decision keeps: the first and the latest.
const HISTORY_MAX: usize = 64;

impl Decision {
    pub(crate) fn remember(&mut self, at: Timestamp, by: &str, what: impl Into<Box<str>>) {
        if self.history.len() >= HISTORY_MAX {
            self.history.remove(1);
        }
        self.history.push(Event {
            at,
            by: by.into(),
            what: what.into(),
        });
    }
}

/// A step in the life of decisions. The journal is a list of these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// A decision was made: simulated, pending, active or refused.
    Made {
        /// As it stands.
        decision: Box<Decision>,
    },
    /// A pending one was approved, or one that was over is active again.
    Began {
        /// Which.
        id: DecisionId,
        /// When.
        at: Timestamp,
        /// Who said so.
        by: Actor,
        /// Until when.
        until: Timestamp,
        /// To be confirmed by then.
        confirm_by: Option<Timestamp>,
    },
    /// An active one holds longer, or shorter.
    Extended {
        /// Which.
        id: DecisionId,
        /// When.
        at: Timestamp,
        /// Who said so.
        by: Actor,
        /// Until when now.
        until: Timestamp,
    },
    /// It was seen to do no harm.
    Confirmed {
        /// Which.
        id: DecisionId,
        /// When.
        at: Timestamp,
        /// Who said so.
        by: Actor,
    },
    /// A pending or active one is over.
    Ended {
        /// Which.
        id: DecisionId,
        /// When.
        at: Timestamp,
        /// Who said so.
        by: Actor,
        /// What it is now.
        state: State,
        /// Why.
        why: Box<str>,
    },
    /// Everything was taken back at once, and nothing is done until somebody resumes.
    Panicked {
        /// When.
        at: Timestamp,
        /// Who said so.
        by: Actor,
    },
    /// Decisions are carried out again.
    Resumed {
        /// When.
        at: Timestamp,
        /// Who said so.
        by: Actor,
    },
}
