//! Steps that somebody asks for, each checked against where the decision stands.

use std::time::Duration;

use thymus_schema::Timestamp;

use super::{LONGEST, Ledger, LedgerError, SELF, ended};
use crate::decision::{Change, Decision, DecisionId, State};

impl Ledger {
    /// A person says yes to a pending decision, or wants one again that is over.
    ///
    /// # Errors
    /// When there is none, or it holds already, or everything is halted.
    pub fn begin(
        &self,
        id: DecisionId,
        by: &str,
        at: Timestamp,
        confirm: Option<Duration>,
    ) -> Result<Change, LedgerError> {
        let decision = self.get(id)?;
        if self.is_halted {
            return Err(LedgerError::Halted);
        }
        if decision.state == State::Active {
            return Err(unfit(decision, "approved"));
        }
        Ok(Change::Began {
            id,
            at,
            by: by.into(),
            until: at.plus(decision.duration),
            confirm_by: confirm.map(|within| at.plus(within)),
        })
    }

    /// A person says no.
    ///
    /// # Errors
    /// When there is none that waits under this number.
    pub fn deny(
        &self,
        id: DecisionId,
        by: &str,
        at: Timestamp,
        why: &str,
    ) -> Result<Change, LedgerError> {
        let decision = self.get(id)?;
        if decision.state != State::Pending {
            return Err(unfit(decision, "denied"));
        }
        Ok(ended(id, at, by, State::Denied, why))
    }

    /// A person takes it back.
    ///
    /// # Errors
    /// When it does not hold.
    pub fn clear(
        &self,
        id: DecisionId,
        by: &str,
        at: Timestamp,
        why: &str,
    ) -> Result<Change, LedgerError> {
        let decision = self.get(id)?;
        if decision.state != State::Active {
            return Err(unfit(decision, "undone"));
        }
        Ok(ended(id, at, by, State::Cleared, why))
    }

    /// It was found to do harm, or cannot be done.
    ///
    /// # Errors
    /// When it does not hold.
    pub fn undo(&self, id: DecisionId, at: Timestamp, why: &str) -> Result<Change, LedgerError> {
        let decision = self.get(id)?;
        if decision.state != State::Active {
            return Err(unfit(decision, "undone"));
        }
        Ok(ended(id, at, SELF, State::Undone, why))
    }

    /// Another action does it as well.
    ///
    /// # Errors
    /// When it does not hold.
    pub fn replaced(
        &self,
        id: DecisionId,
        at: Timestamp,
        why: &str,
    ) -> Result<Change, LedgerError> {
        self.clear(id, SELF, at, why)
    }

    /// It holds for `more` from now on.
    ///
    /// # Errors
    /// When it does not hold, or for too long.
    pub fn extend(
        &self,
        id: DecisionId,
        by: &str,
        at: Timestamp,
        more: Duration,
    ) -> Result<Change, LedgerError> {
        let decision = self.get(id)?;
        if decision.state != State::Active {
            return Err(unfit(decision, "extended"));
        }
        if more > LONGEST {
            return Err(LedgerError::TooLong);
        }
        Ok(Change::Extended {
            id,
            at,
            by: by.into(),
            until: at.plus(more),
        })
    }

    /// Somebody, or a probe, saw that it does no harm.
    ///
    /// # Errors
    /// When it does not wait for that.
    pub fn confirm(&self, id: DecisionId, by: &str, at: Timestamp) -> Result<Change, LedgerError> {
        let decision = self.get(id)?;
        if decision.state != State::Active || decision.confirm_by.is_none() {
            return Err(unfit(decision, "confirmed"));
        }
        Ok(Change::Confirmed {
            id,
            at,
            by: by.into(),
        })
    }
}

fn unfit(decision: &Decision, wanted: &'static str) -> LedgerError {
    LedgerError::State {
        id: decision.id,
        is: decision.state.as_str(),
        wanted,
    }
}
