//! What people and probes may ask of an enforcer.

use std::time::Duration;

use thymus_schema::Timestamp;

use super::{Enforcer, EnforcerError, PANIC};
use crate::decision::{Change, DecisionId, Mode};
use crate::guard::Refusal;
use crate::ledger::LedgerError;
use crate::plan::Proposal;

impl Enforcer {
    /// A person says yes to a pending decision, or wants one again that is over. Guardrails hold for people too.
    ///
    /// # Errors
    /// When it cannot be, with the reason.
    pub fn approve(
        &mut self,
        id: DecisionId,
        by: &str,
        now: Timestamp,
    ) -> Result<(), EnforcerError> {
        let now = self.time(now);
        let change = self.ledger.begin(id, by, now, self.confirm())?;
        let decision = self.ledger.get(id)?;
        let is_new = !self.ledger.devices_held().contains(&decision.device);
        if let Some(refusal) = self
            .guard()
            .refuses(&decision.cuts, is_new, &decision.rehearsal)
        {
            return Err(EnforcerError::Guard(refusal));
        }
        self.carry_out(&[change], now)
    }

    /// A person has something done that nobody proposed, for `duration`; the decision made. Guardrails hold for people
    /// too, but for the caps on how much of a device's usual traffic may be cut, which the rehearsal told them.
    ///
    /// # Errors
    /// When it cannot be, with the reason.
    pub fn order(
        &mut self,
        mut proposal: Proposal,
        by: &str,
        duration: Duration,
        now: Timestamp,
    ) -> Result<DecisionId, EnforcerError> {
        let now = self.time(now);
        if self.ledger.is_halted() {
            return Err(LedgerError::Halted.into());
        }
        let verb = proposal.verb;
        let verbs = self.policy.verbs.as_ref();
        if verbs.is_some_and(|verbs| !verbs.contains(&verb)) {
            return Err(EnforcerError::Guard(Refusal::Verb { verb }));
        }
        if self.policy.never_devices.contains(&proposal.device) {
            return Err(EnforcerError::Guard(Refusal::Never {
                what: proposal.device.to_string().into(),
                why: "the policy names it".into(),
            }));
        }
        if let Some(refusal) = self.possible(&mut proposal)? {
            return Err(EnforcerError::Guard(refusal));
        }
        let is_new = !self.ledger.devices_held().contains(&proposal.device);
        if let Some(refusal) = self
            .guard()
            .refuses(&proposal.cuts, is_new, &proposal.rehearsal)
        {
            return Err(EnforcerError::Guard(refusal));
        }
        let times = self.times(duration);
        let made = self
            .ledger
            .made(proposal, Mode::Approve, None, now, times, 0);
        let Change::Made { decision } = &made else {
            return Err(LedgerError::Halted.into());
        };
        let (id, duration) = (decision.id, decision.duration);
        let began = Change::Began {
            id,
            at: now,
            by: by.into(),
            until: now.plus(duration),
            confirm_by: times.confirm.map(|within| now.plus(within)),
        };
        self.carry_out(&[made, began], now)?;
        Ok(id)
    }

    /// A person says no.
    ///
    /// # Errors
    /// When it does not wait for an answer.
    pub fn deny(
        &mut self,
        id: DecisionId,
        by: &str,
        why: &str,
        now: Timestamp,
    ) -> Result<(), EnforcerError> {
        let now = self.time(now);
        let change = self.ledger.deny(id, by, now, why)?;
        self.carry_out(&[change], now)
    }

    /// A person takes actions back.
    ///
    /// # Errors
    /// When one does not hold; none is taken back then.
    pub fn undo(
        &mut self,
        ids: &[DecisionId],
        by: &str,
        why: &str,
        now: Timestamp,
    ) -> Result<(), EnforcerError> {
        let now = self.time(now);
        let changes: Result<Vec<_>, _> = ids
            .iter()
            .map(|id| self.ledger.clear(*id, by, now, why))
            .collect();
        self.carry_out(&changes?, now)
    }

    /// It holds for `more` from now on.
    ///
    /// # Errors
    /// When it does not hold, or for too long.
    pub fn extend(
        &mut self,
        id: DecisionId,
        by: &str,
        more: Duration,
        now: Timestamp,
    ) -> Result<(), EnforcerError> {
        let now = self.time(now);
        let change = self.ledger.extend(id, by, now, more)?;
        self.carry_out(&[change], now)
    }

    /// It was seen to do no harm.
    ///
    /// # Errors
    /// When it does not wait for that.
    pub fn confirm_it(
        &mut self,
        id: DecisionId,
        by: &str,
        now: Timestamp,
    ) -> Result<(), EnforcerError> {
        let now = self.time(now);
        let change = self.ledger.confirm(id, by, now)?;
        self.carry_out(&[change], now)
    }

    /// A health probe failed: what began last and waits for confirmation is taken back.
    pub fn harmed(&mut self, why: &str, now: Timestamp) {
        let now = self.time(now);
        let unconfirmed = self.ledger.active().filter(|one| one.confirm_by.is_some());
        let changes: Vec<Change> = unconfirmed
            .filter_map(|one| self.ledger.undo(one.id, now, why).ok())
            .collect();
        self.take(&changes, now);
    }

    /// Takes everything back at once, and carries nothing out until somebody resumes.
    ///
    /// # Errors
    /// When something is left in the packet filter.
    pub fn panic(&mut self, by: &str, now: Timestamp) -> Result<(), EnforcerError> {
        let now = self.time(now);
        let removed = self.responder.remove();
        self.take(
            &[Change::Panicked {
                at: now,
                by: by.into(),
            }],
            now,
        );
        Ok(removed?)
    }

    /// Decisions are carried out again.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn resume(&mut self, by: &str, now: Timestamp) -> Result<(), EnforcerError> {
        let now = self.time(now);
        let _was_there = std::fs::remove_file(self.dir.join(PANIC)).is_ok();
        self.carry_out(
            &[Change::Resumed {
                at: now,
                by: by.into(),
            }],
            now,
        )
    }
}
