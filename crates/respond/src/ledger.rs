//! All decisions, as the fold of what happened to them. Every step is checked here first, journaled, and only then
//! taken; the same journal gives the same ledger.

mod asked;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thymus_schema::{EntityId, Timestamp};

use crate::decision::{Change, Decision, DecisionId, Mode, State};
use crate::guard::Refusal;
use crate::plan::Proposal;

/// Decisions that are over and still known.
const OVER_MAX: usize = 20_000;
/// Decisions that wait for a person.
const PENDING_MAX: usize = 1_000;
/// No action holds longer, however often it is extended.
const LONGEST: Duration = Duration::from_hours(24 * 90);
/// What happens this long after an action is not stopped by it.
const PATIENCE: Duration = Duration::from_mins(1);
/// What was refused is not asked again for so long.
const REFUSED_FOR: Duration = Duration::from_mins(10);
/// Who does what nobody asked for.
const SELF: &str = "thymus";

/// Why a step cannot be taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LedgerError {
    /// There is none with this number.
    #[error("there is no decision {0}; see thymus decisions")]
    Unknown(DecisionId),
    /// It stands elsewhere.
    #[error("decision {id} is {is}, so it cannot be {wanted}")]
    State {
        /// Which.
        id: DecisionId,
        /// What it is.
        is: &'static str,
        /// What was wanted.
        wanted: &'static str,
    },
    /// Everything was taken back.
    #[error(
        "all actions were taken back at once and none is carried out until thymus panic --resume"
    )]
    Halted,
    /// There are too many.
    #[error("{0} decisions wait for a person already; answer some")]
    Full(usize),
    /// It would hold for too long.
    #[error("no action holds longer than 90 days at a stretch")]
    TooLong,
}

/// How long a new decision stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// An action holds.
    pub duration: Duration,
    /// A question waits.
    pub wait: Duration,
    /// An action is taken back unless it is confirmed.
    pub confirm: Option<Duration>,
}

/// The decisions.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    decisions: BTreeMap<DecisionId, Decision>,
    /// Those that are over, and those that are not.
    over: BTreeSet<DecisionId>,
    live: BTreeSet<DecisionId>,
    by_incident: BTreeMap<Box<str>, BTreeSet<DecisionId>>,
    last: u64,
    is_halted: bool,
    now: Timestamp,
}

impl Ledger {
    /// From what was journaled; steps that do not fit are left out and counted.
    pub fn replay(changes: impl IntoIterator<Item = Change>) -> (Self, usize) {
        let mut ledger = Self::default();
        let mut unfit = 0;
        for change in changes {
            unfit += usize::from(ledger.apply(&change).is_err());
        }
        (ledger, unfit)
    }

    /// The latest time that is known: no clock that was set back goes behind it.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Whether everything was taken back and nothing is carried out.
    pub fn is_halted(&self) -> bool {
        self.is_halted
    }

    /// All decisions, oldest first.
    pub fn decisions(&self) -> impl DoubleEndedIterator<Item = &Decision> {
        self.decisions.values()
    }

    /// One of them.
    ///
    /// # Errors
    /// When there is none with this number.
    pub fn get(&self, id: DecisionId) -> Result<&Decision, LedgerError> {
        self.decisions.get(&id).ok_or(LedgerError::Unknown(id))
    }

    /// Those that hold.
    pub fn active(&self) -> impl Iterator<Item = &Decision> {
        self.live().filter(|one| one.state == State::Active)
    }

    /// Those that hold or wait for an answer.
    pub fn live(&self) -> impl Iterator<Item = &Decision> {
        self.live.iter().filter_map(|id| self.decisions.get(id))
    }

    /// All about an incident.
    pub fn of_incident(&self, incident: &str) -> impl Iterator<Item = &Decision> {
        let ids = self.by_incident.get(incident).into_iter().flatten();
        ids.filter_map(|id| self.decisions.get(id))
    }

    /// Devices that are acted upon.
    pub fn devices_held(&self) -> BTreeSet<&EntityId> {
        self.active().map(|decision| &decision.device).collect()
    }

    /// Whether a proposal is worth a decision: nobody decided on it yet, or what was decided is over by itself
    /// and it went on, or was refused a while ago, or only simulated and now is not; a further stage only when the
    /// one before holds and did not help.
    pub fn wants(&self, proposal: &Proposal, mode: Mode, now: Timestamp) -> bool {
        let of_incident = self.of_incident(&proposal.incident);
        let of_incident: Vec<&Decision> = of_incident
            .filter(|one| one.device == proposal.device)
            .collect();
        for one in &of_incident {
            let covers =
                one.verb == proposal.verb && proposal.cuts.iter().all(|cut| one.cuts.contains(cut));
            let last = one.history.last().map_or(one.proposed_at, |line| line.at);
            let is_open = match one.state {
                State::Expired | State::Lapsed => proposal.evidence_at > last,
                State::Refused => now.since(last) > REFUSED_FOR,
                State::Simulated => mode != Mode::Simulate,
                _ => false,
            };
            if covers && !is_open {
                return false;
            }
        }
        let Some(before) = proposal.stage.checked_sub(1) else {
            return true;
        };
        let held_since = of_incident
            .iter()
            .filter(|one| one.state == State::Active && one.stage == before)
            .filter_map(|one| one.began_at)
            .max();
        held_since.is_some_and(|since| proposal.evidence_at > since.plus(PATIENCE))
    }

    /// A decision about a proposal: what the policy says, unless a guardrail or a halt says less. So many made
    /// `ahead` of it are not applied yet.
    pub fn made(
        &self,
        proposal: Proposal,
        mode: Mode,
        refusal: Option<&Refusal>,
        at: Timestamp,
        times: Times,
        ahead: u64,
    ) -> Change {
        let pending = self.live().filter(|one| one.state == State::Pending);
        let pending = pending.count() + ahead as usize;
        let (state, note) = match (refusal, mode) {
            (Some(refusal), _) => (State::Refused, refusal.to_string()),
            (None, Mode::Simulate) => (State::Simulated, "the policy simulates".to_owned()),
            (None, _) if self.is_halted => (State::Simulated, LedgerError::Halted.to_string()),
            (None, Mode::Approve) if pending >= PENDING_MAX => {
                (State::Refused, LedgerError::Full(pending).to_string())
            }
            (None, Mode::Approve) => (State::Pending, "asked".to_owned()),
            (None, Mode::Act) => (State::Active, "the policy acts".to_owned()),
        };
        let until = match state {
            State::Pending => Some(at.plus(times.wait)),
            State::Active => Some(at.plus(times.duration.min(LONGEST))),
            _ => None,
        };
        let mut decision = Decision {
            id: DecisionId(self.last + 1 + ahead),
            incident: proposal.incident,
            device: proposal.device,
            verb: proposal.verb,
            cuts: proposal.cuts,
            reason: proposal.reason,
            mode,
            rehearsal: proposal.rehearsal,
            proposed_at: at,
            duration: times.duration.min(LONGEST),
            stage: proposal.stage,
            state,
            began_at: (state == State::Active).then_some(at),
            until,
            confirm_by: times
                .confirm
                .filter(|_| state == State::Active)
                .map(|within| at.plus(within)),
            history: Vec::new(),
        };
        decision.remember(at, SELF, format!("{}: {note}", state.as_str()));
        Change::Made {
            decision: Box::new(decision),
        }
    }

    /// What is over at `now` by itself.
    pub fn due(&self, now: Timestamp) -> Vec<Change> {
        let over = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        self.live()
            .filter_map(|one| match one.state {
                State::Active if over(one.until) => {
                    Some(ended(one.id, now, SELF, State::Expired, "its time is over"))
                }
                State::Active if over(one.confirm_by) => Some(ended(
                    one.id,
                    now,
                    SELF,
                    State::Undone,
                    "nobody confirmed it in time",
                )),
                State::Pending if over(one.until) => Some(ended(
                    one.id,
                    now,
                    SELF,
                    State::Lapsed,
                    "nobody answered in time",
                )),
                _ => None,
            })
            .collect()
    }

    /// When something is over next.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.live()
            .flat_map(|one| [one.until, one.confirm_by])
            .flatten()
            .min()
    }

    /// Takes a step.
    ///
    /// # Errors
    /// When it does not fit what is known; nothing is changed then.
    pub fn apply(&mut self, change: &Change) -> Result<(), LedgerError> {
        match change {
            Change::Made { decision } => {
                self.last = self.last.max(decision.id.0);
                self.now = self.now.max(decision.proposed_at);
                for line in &decision.history {
                    self.now = self.now.max(line.at);
                }
                self.sort(decision.id, decision.state);
                let of_incident = self.by_incident.entry(decision.incident.clone());
                of_incident.or_default().insert(decision.id);
                self.decisions.insert(decision.id, (**decision).clone());
                self.forget();
            }
            Change::Began {
                id,
                at,
                by,
                until,
                confirm_by,
            } => {
                let decision = self.step(*id, *at)?;
                let was = decision.state;
                decision.state = State::Active;
                decision.began_at = Some(*at);
                decision.until = Some(*until);
                decision.confirm_by = *confirm_by;
                let again = if was == State::Pending { "" } else { " again" };
                decision.remember(*at, by, format!("active{again} until {until}"));
                self.sort(*id, State::Active);
            }
            Change::Extended { id, at, by, until } => {
                let decision = self.step(*id, *at)?;
                decision.until = Some(*until);
                decision.remember(*at, by, format!("holds until {until}"));
            }
            Change::Confirmed { id, at, by } => {
                let decision = self.step(*id, *at)?;
                decision.confirm_by = None;
                decision.remember(*at, by, "confirmed");
            }
            Change::Ended {
                id,
                at,
                by,
                state,
                why,
            } => {
                self.step(*id, *at)?.end(*at, by, *state, why);
                self.sort(*id, *state);
                self.forget();
            }
            Change::Panicked { at, by } => {
                self.now = self.now.max(*at);
                self.is_halted = true;
                for id in std::mem::take(&mut self.live) {
                    if let Some(decision) = self.decisions.get_mut(&id) {
                        decision.end(*at, by, State::Cleared, "everything was taken back at once");
                    }
                    self.over.insert(id);
                }
            }
            Change::Resumed { at, .. } => {
                self.now = self.now.max(*at);
                self.is_halted = false;
            }
        }
        Ok(())
    }

    fn step(&mut self, id: DecisionId, at: Timestamp) -> Result<&mut Decision, LedgerError> {
        self.now = self.now.max(at);
        self.decisions.get_mut(&id).ok_or(LedgerError::Unknown(id))
    }

    fn sort(&mut self, id: DecisionId, state: State) {
        let (to, from) = if state.is_over() {
            (&mut self.over, &mut self.live)
        } else {
            (&mut self.live, &mut self.over)
        };
        from.remove(&id);
        to.insert(id);
    }

    /// The oldest that are over go.
    fn forget(&mut self) {
        while self.over.len() > OVER_MAX {
            let Some(id) = self.over.pop_first() else {
                return;
            };
            let Some(gone) = self.decisions.remove(&id) else {
                continue;
            };
            if let Some(of_incident) = self.by_incident.get_mut(&gone.incident) {
                of_incident.remove(&id);
                if of_incident.is_empty() {
                    self.by_incident.remove(&gone.incident);
                }
            }
        }
    }

    /// The shortest journal that gives this ledger.
    pub fn snapshot(&self) -> Vec<Change> {
        let made = self.decisions.values().map(|decision| Change::Made {
            decision: Box::new(decision.clone()),
        });
        let mut all: Vec<Change> = made.collect();
        if self.is_halted {
            all.push(Change::Panicked {
                at: self.now,
                by: SELF.into(),
            });
        }
        all
    }
}

impl Decision {
    fn end(&mut self, at: Timestamp, by: &str, state: State, why: &str) {
        self.state = state;
        self.until = None;
        self.confirm_by = None;
        let word = state.as_str();
        let said = if why.is_empty() {
            word.to_owned()
        } else {
            format!("{word}: {why}")
        };
        self.remember(at, by, said);
    }
}

fn ended(id: DecisionId, at: Timestamp, by: &str, state: State, why: &str) -> Change {
    Change::Ended {
        id,
        at,
        by: by.into(),
        state,
        why: why.into(),
    }
}
