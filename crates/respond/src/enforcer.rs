//! The one place where decisions become deeds: checked, journaled, carried out, looked after, taken back.
//!
//! It is a part of the process that may change the packet filter. Whoever asks, the guardrails are looked at here;
//! whatever happens, what can be taken back is: a journal that cannot be written stops new actions and never the end
//! of old ones.

mod grasp;
mod people;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use thymus_schema::{EntityId, Timestamp};

use crate::decision::{Change, Decision, DecisionId, Mode, State};
use crate::guard::{Guard, NeverAct, Refusal};
use crate::journal::{Journal, JournalError};
use crate::ledger::{Ledger, LedgerError, Times};
use crate::plan::Proposal;
use crate::policy::Policy;
use crate::responder::{Receipt, Responder, ResponderError};
use crate::table::Table;

/// The journal's name in the folder of the response.
const JOURNAL: &str = "decisions.jnl";
/// While this lies in the folder, nothing is carried out: `thymus panic` puts it there when nothing else works.
const PANIC: &str = "panic";
/// The world is looked at this often, where that is cheap.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum EnforcerError {
    /// The decision does not allow it.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// It could not be written down, so it was not done.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A guardrail says no.
    #[error("{0}")]
    Guard(Refusal),
    /// It was taken back, because it could not be carried out.
    #[error("it was taken back: {0}")]
    Responder(#[from] ResponderError),
}

/// How the response stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// What does not work, for people.
    pub trouble: Option<String>,
    /// What somebody else changed and was put right, the latest.
    pub repaired: Vec<String>,
    /// Packets and bytes that each decision has cut so far.
    pub cut: BTreeMap<DecisionId, (u64, u64)>,
    /// Processes and files of this machine that each decision holds, for people.
    pub held: BTreeMap<DecisionId, Vec<String>>,
    /// Elements that the packet filter holds.
    pub elements: usize,
}

/// See the module.
pub struct Enforcer {
    dir: PathBuf,
    ledger: Ledger,
    journal: Journal,
    policy: Policy,
    never: NeverAct,
    responder: Box<dyn Responder>,
    devices_known: u64,
    standing: Standing,
    looked: Option<Timestamp>,
    look_every: Duration,
    /// Whether the responder was ever used, so that a policy that only simulates touches nothing.
    is_used: bool,
}

impl Enforcer {
    /// Goes on with what the folder `dir` holds, and makes it so. With it come words about what was found.
    ///
    /// # Errors
    /// When the journal cannot be used.
    pub fn open(
        dir: &Path,
        policy: Policy,
        responder: Box<dyn Responder>,
        now: Timestamp,
    ) -> Result<(Self, Vec<String>), EnforcerError> {
        let (journal, held) = Journal::open(&dir.join(JOURNAL))?;
        let mut remarks = Vec::new();
        if held.damaged > 0 {
            let damaged = held.damaged;
            remarks.push(format!(
                "{damaged} places of the journal of decisions were damaged and left out"
            ));
        }
        let (ledger, unfit) = Ledger::replay(held.changes);
        if unfit > 0 {
            remarks.push(format!(
                "{unfit} steps in the journal of decisions fit no decision and were left out"
            ));
        }
        let never = NeverAct::of(&policy);
        let mut enforcer = Self {
            dir: dir.to_path_buf(),
            ledger,
            journal,
            policy,
            never,
            responder,
            devices_known: 0,
            standing: Standing::default(),
            looked: None,
            look_every: LOOK_EVERY,
            is_used: false,
        };
        // What an earlier process left in the kernel is looked at, even when nothing holds any more.
        enforcer.is_used = enforcer.policy.acts() || enforcer.ledger.decisions().next().is_some();
        enforcer.tick(now);
        Ok((enforcer, remarks))
    }

    /// The decisions.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// How the response stands.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// What may be done.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What is never acted upon: what the policy names, and what was learned since.
    pub fn never(&self) -> &NeverAct {
        &self.never
    }

    /// What was learned about who is never acted upon, and how many devices there are. What holds against it ends.
    pub fn learned(&mut self, never: NeverAct, devices_known: u64, now: Timestamp) {
        self.devices_known = devices_known;
        if never != self.never {
            self.never = never;
            self.make(now, false);
        }
    }

    /// Another policy from now on. What holds goes on, unless it is never to be done now.
    pub fn policy_changed(&mut self, policy: Policy, now: Timestamp) {
        let mut never = NeverAct::of(&policy);
        for ((server, port), why) in self.never.relied_on() {
            never.service(*server, *port, why);
        }
        self.policy = policy;
        self.never = never;
        self.make(now, false);
    }

    /// Has others carry out from now on what holds; those before take back what they did.
    pub fn carried_out_by(&mut self, responder: Box<dyn Responder>, now: Timestamp) {
        if let Err(error) = self.leave() {
            self.standing.trouble = Some(error.to_string());
        }
        self.responder = responder;
        self.make(now, true);
    }

    /// Decides about proposals, all at once; the decisions made.
    ///
    /// # Errors
    /// When nothing could be written down, and nothing was done; or when what was done was taken back.
    pub fn propose(
        &mut self,
        proposals: Vec<Proposal>,
        now: Timestamp,
    ) -> Result<Vec<DecisionId>, EnforcerError> {
        let now = self.time(now);
        let mut held: BTreeSet<EntityId> =
            self.ledger.devices_held().into_iter().cloned().collect();
        let mut guard = self.guard();
        let mut changes = Vec::new();
        let mut asked = BTreeSet::new();
        for mut proposal in proposals {
            let what = (
                proposal.incident.clone(),
                proposal.device.clone(),
                proposal.verb,
                proposal.cuts.clone(),
            );
            let mode = self.mode(&proposal, now);
            let verbs = self.policy.verbs.as_ref();
            if verbs.is_some_and(|verbs| !verbs.contains(&proposal.verb))
                || !self.policy.carries_out(proposal.verb)
                || !self.ledger.wants(&proposal, mode, now)
                || !asked.insert(what)
            {
                continue;
            }
            let Ok(spared) = self.reaches(&mut proposal) else {
                continue;
            };
            let refusal = spared.or_else(|| self.refusal(&proposal, &guard, &held));
            let asks = mode == Mode::Act
                && guard
                    .wants_person(&proposal.rehearsal, proposal.harms)
                    .is_some();
            let mode = if asks { Mode::Approve } else { mode };
            let (times, ahead) = (self.times(self.policy.duration()), changes.len() as u64);
            let change = self
                .ledger
                .made(proposal, mode, refusal.as_ref(), now, times, ahead);
            if let Change::Made { decision } = &change
                && decision.state == State::Active
            {
                guard.actions += 1;
                guard.flows_held += decision.rehearsal.cut;
                held.insert(decision.device.clone());
                guard.devices_held = held.len() as u64;
            }
            changes.push(change);
        }
        let replaced: Vec<Change> = changes
            .iter()
            .flat_map(|change| self.replaced(change, now))
            .collect();
        let made: Vec<DecisionId> = changes.iter().filter_map(made).collect();
        changes.extend(replaced);
        self.carry_out(&changes, now)?;
        Ok(made)
    }

    /// What a new action does as well: it ends, so that one incident has one action of a kind.
    fn replaced(&self, change: &Change, now: Timestamp) -> Vec<Change> {
        let Change::Made { decision } = change else {
            return Vec::new();
        };
        if decision.state != State::Active || decision.cuts.is_empty() {
            return Vec::new();
        }
        let covers = |one: &&Decision| {
            let mut cuts = one.cuts.iter();
            one.device == decision.device
                && one.verb.realm() == decision.verb.realm()
                && cuts.all(|cut| decision.cuts.contains(cut))
        };
        let before = self.ledger.of_incident(&decision.incident);
        let before = before
            .filter(|one| one.state == State::Active)
            .filter(covers);
        let why = format!("{} does it as well, and more", decision.id);
        before
            .filter_map(|one| self.ledger.replaced(one.id, now, &why).ok())
            .collect()
    }

    fn refusal(
        &self,
        proposal: &Proposal,
        guard: &Guard,
        held: &BTreeSet<EntityId>,
    ) -> Option<Refusal> {
        if proposal.confidence < self.policy.confidence {
            // Not sure enough is no reason to refuse what is only written down; the mode sees to it.
            return None;
        }
        if self.policy.never_devices.contains(&proposal.device) {
            return Some(Refusal::Never {
                what: proposal.device.to_string().into(),
                why: "the policy names it".into(),
            });
        }
        guard.refuses(
            &proposal.cuts,
            !held.contains(&proposal.device),
            &proposal.rehearsal,
        )
    }

    fn mode(&self, proposal: &Proposal, now: Timestamp) -> Mode {
        if proposal.confidence < self.policy.confidence {
            return Mode::Simulate;
        }
        let Proposal {
            verb,
            device,
            addrs,
            confidence,
            ..
        } = proposal;
        self.policy.mode(*verb, device, addrs, *confidence, now)
    }

    fn guard(&self) -> Guard {
        Guard {
            never: self.never.clone(),
            caps: self.policy.caps,
            devices_held: self.ledger.devices_held().len() as u64,
            devices_known: self.devices_known,
            actions: self.ledger.active().count() as u64,
            flows_held: self.ledger.active().map(|one| one.rehearsal.cut).sum(),
        }
    }

    fn times(&self, duration: Duration) -> Times {
        Times {
            duration,
            wait: Duration::from_mins(u64::from(self.policy.answer_minutes)),
            confirm: self.confirm(),
        }
    }

    fn confirm(&self) -> Option<Duration> {
        let secs = u64::from(self.policy.confirm_seconds);
        (secs > 0).then(|| Duration::from_secs(secs))
    }

    /// Ends what is over, and now and then looks whether the world is as it should be; whether it looked.
    pub fn tick(&mut self, now: Timestamp) -> bool {
        let now = self.time(now);
        if !self.ledger.is_halted() && self.dir.join(PANIC).exists() {
            let by = "thymus panic".into();
            let _is_removed = self.responder.remove().is_ok();
            self.take(&[Change::Panicked { at: now, by }], now);
        }
        let due = self.ledger.due(now);
        if !due.is_empty() {
            self.take(&due, now);
        }
        let looks = self
            .looked
            .is_none_or(|at| now.since(at) >= self.look_every);
        if looks {
            self.looked = Some(now);
            self.make(now, true);
            if self.journal.is_long()
                && let Err(error) = self.journal.rewrite(&self.ledger.snapshot())
            {
                self.standing.trouble = Some(error.to_string());
            }
        }
        looks
    }

    /// What the last look cost: with ten thousand elements a list takes a second, and looking is not to be all that is
    /// done.
    pub fn looking_took(&mut self, took: Duration) {
        const SHARE: u32 = 20;
        self.look_every = LOOK_EVERY.max(took * SHARE);
    }

    /// When there is something to do next.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.ledger.next_due()
    }

    /// Takes everything out of the packet filter, and leaves the decisions as they are: for the end of the process
    /// when nobody will look after them.
    ///
    /// # Errors
    /// When something is left.
    pub fn leave(&mut self) -> Result<(), ResponderError> {
        if self.is_used {
            self.responder.remove()
        } else {
            Ok(())
        }
    }

    /// A clock that was set back does not make anything hold longer.
    fn time(&self, now: Timestamp) -> Timestamp {
        now.max(self.ledger.now())
    }

    /// Writes down, then does. What cannot be done is taken back.
    fn carry_out(&mut self, changes: &[Change], now: Timestamp) -> Result<(), EnforcerError> {
        if changes.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.journal.append(changes) {
            self.standing.trouble = Some(error.to_string());
            if changes.iter().all(only_releases) {
                self.release(changes, now);
            }
            return Err(error.into());
        }
        for change in changes {
            self.ledger.apply(change)?;
        }
        self.is_used |= self.ledger.active().next().is_some();
        if !self.is_used {
            return Ok(());
        }
        match self.realise(now, false) {
            Ok(receipt) => {
                self.done(receipt, false);
                Ok(())
            }
            Err(error) => {
                let why = error.to_string();
                let began = changes.iter().filter_map(begun);
                let back: Vec<Change> = began
                    .filter_map(|id| self.ledger.undo(id, now, &why).ok())
                    .collect();
                self.standing.trouble = Some(why);
                self.take(&back, now);
                Err(error.into())
            }
        }
    }

    /// Does what only releases, whether it can be written down or not.
    fn take(&mut self, changes: &[Change], now: Timestamp) {
        if let Err(error) = self.journal.append(changes) {
            self.standing.trouble = Some(error.to_string());
        }
        self.release(changes, now);
    }

    fn release(&mut self, changes: &[Change], now: Timestamp) {
        for change in changes {
            // One that fits no decision changes nothing.
            let _fits = self.ledger.apply(change).is_ok();
        }
        self.make(now, false);
    }

    /// Makes the world as it should be.
    fn make(&mut self, now: Timestamp, looks: bool) {
        if !self.is_used {
            return;
        }
        match self.realise(now, looks) {
            Ok(receipt) => self.done(receipt, looks),
            Err(error) => self.standing.trouble = Some(error.to_string()),
        }
    }

    /// Has the responder do what is wanted now. After a panic that is nothing, not even an empty table.
    fn realise(&mut self, now: Timestamp, looks: bool) -> Result<Receipt, ResponderError> {
        let wanted = Table::of(&self.ledger, &self.never);
        self.standing.elements = wanted.len();
        if self.ledger.is_halted() && wanted_is_empty(&self.ledger) {
            self.responder.remove().map(|()| Receipt::default())
        } else if looks {
            self.responder.reconcile(&wanted, now)
        } else {
            self.responder.apply(&wanted, now)
        }
    }

    fn done(&mut self, receipt: Receipt, looked: bool) {
        if !receipt.repaired.is_empty() {
            self.standing.repaired = receipt.repaired;
        }
        self.standing.held = receipt.held;
        if looked {
            self.standing.trouble = receipt.trouble;
            self.standing.cut = receipt.cut;
        }
    }
}

fn wanted_is_empty(ledger: &Ledger) -> bool {
    ledger.active().next().is_none()
}

fn made(change: &Change) -> Option<DecisionId> {
    match change {
        Change::Made { decision } => Some(decision.id),
        _ => None,
    }
}

/// The decision that a change makes hold.
fn begun(change: &Change) -> Option<DecisionId> {
    match change {
        Change::Made { decision } if decision.state == State::Active => Some(decision.id),
        Change::Began { id, .. } => Some(*id),
        _ => None,
    }
}

/// Whether a change only takes back.
fn only_releases(change: &Change) -> bool {
    matches!(change, Change::Ended { .. } | Change::Panicked { .. })
}
