//! What is done about incidents, as the program around the server tells it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thymus_schema::Timestamp;
use utoipa::ToSchema;

use crate::state::HostError;

/// Which decisions are wanted, by where they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecisionState {
    /// They wait for a person.
    Pending,
    /// They hold.
    Active,
    /// They are over, or were only written down.
    Over,
    /// All of them.
    #[default]
    All,
}

/// Which decisions are wanted.
#[derive(Clone, Debug, Default)]
pub struct DecisionFilter {
    /// By where they stand.
    pub state: DecisionState,
    /// Only this one.
    pub id: Option<String>,
    /// About this incident.
    pub incident: Option<String>,
    /// About this device.
    pub device: Option<String>,
    /// So many are left out.
    pub offset: usize,
    /// Items at most.
    pub limit: usize,
}

/// A usual conversation that would have been cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CutTalk {
    /// Who begins it.
    pub client: String,
    /// Who answers.
    pub server: String,
    /// By what, such as `tcp/443`.
    pub service: String,
    /// How often it was seen.
    pub flows: u64,
}

/// What would have been cut of the last days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct RehearsalView {
    /// As a sentence.
    pub sentence: String,
    /// Days that were looked at.
    pub days: u32,
    /// Usual conversations of the devices it is about.
    pub flows: u64,
    /// Of them, those it would have cut.
    pub cut: u64,
    /// Devices that would have missed something.
    pub devices: u64,
    /// The most frequent of those that it would have cut.
    pub named: Vec<CutTalk>,
    /// Conversations that were not kept apart, so that nobody can say.
    pub unknown: u64,
}

/// A line of a decision's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DecisionLine {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who: a user, or `thymus`.
    pub by: String,
    /// What.
    pub what: String,
}

/// Something that is done, or could be, about an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DecisionView {
    /// `d7`.
    pub id: String,
    /// The incident it is about.
    pub incident: String,
    /// Its title; none when the incident is not kept, or was never one.
    pub incident_title: Option<String>,
    /// Whom it is about.
    pub device: String,
    /// What is done, for programs.
    pub verb: String,
    /// What is done, for people.
    pub title: String,
    /// Which traffic is cut, for people, at most fifty lines.
    pub cuts: Vec<String>,
    /// How many lines there are.
    pub cuts_total: u64,
    /// Why, and why this.
    pub reason: String,
    /// Who decides: `simulate`, `approve` or `act`.
    pub mode: String,
    /// Where it stands.
    pub state: String,
    /// Whether it neither holds nor waits.
    pub is_over: bool,
    /// 0 is the first, least action.
    pub stage: u8,
    /// What it would have cut of the last days.
    pub rehearsal: RehearsalView,
    /// When it was proposed.
    #[schema(value_type = String, format = DateTime)]
    pub proposed_at: Timestamp,
    /// For how long it is to hold, in seconds.
    pub duration_secs: u64,
    /// Since when it holds, or held last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub began_at: Option<Timestamp>,
    /// Until when it stands where it does.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// It is taken back at this time unless somebody confirms it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub confirm_by: Option<Timestamp>,
    /// Packets that it has cut so far; none when that is not known.
    pub packets: Option<u64>,
    /// Bytes that it has cut so far.
    pub bytes: Option<u64>,
    /// What became of it, oldest first.
    pub history: Vec<DecisionLine>,
}

/// Something that is never acted upon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct NeverView {
    /// An address, a network or a service.
    pub what: String,
    /// Why.
    pub why: String,
}

/// How the response stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ResponseView {
    /// Whether there was ever an enforcer here.
    pub is_set_up: bool,
    /// Whether it answers now.
    pub is_running: bool,
    /// Why it does not.
    pub why_not: Option<String>,
    /// Who decides where no rule of the policy fits.
    pub mode: Option<String>,
    /// Whether the policy does or asks anything at all.
    pub acts: Option<bool>,
    /// Whether everything was taken back and nothing is carried out.
    pub is_halted: bool,
    /// What does not work.
    pub trouble: Option<String>,
    /// What is wrong with the policy file; the policy before goes on.
    pub policy_trouble: Option<String>,
    /// Decisions that wait for a person.
    pub pending: u64,
    /// Those that hold.
    pub active: u64,
    /// Those that are over.
    pub over: u64,
    /// Devices of the network, as the caps count them.
    pub devices: u64,
    /// What is never acted upon, whoever asks.
    pub never: Vec<NeverView>,
}

/// What a person wants of the response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseAsk {
    /// Carry it out, also one again that is over.
    Approve(String),
    /// Do not.
    Deny(String, String),
    /// Take it back.
    Undo(String, String),
    /// Let it hold for so long from now on.
    Extend(String, Duration),
    /// It does no harm.
    Confirm(String),
    /// Take everything back.
    Panic,
    /// Carry out decisions again.
    Resume,
}

/// A link by which somebody may answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalLink {
    /// `d7`.
    pub decision: String,
    /// It is over then.
    pub until: Timestamp,
    /// What it is known by; its secret is kept nowhere.
    pub digest: String,
}

/// Why nothing was done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ResponseError {
    /// There is no such decision.
    #[error("{0}")]
    Unknown(String),
    /// The enforcer said no.
    #[error("{0}")]
    Refused(String),
    /// Nobody carries anything out.
    #[error("{0}")]
    Nobody(String),
    /// What was decided cannot be read.
    #[error(transparent)]
    Host(#[from] HostError),
}
