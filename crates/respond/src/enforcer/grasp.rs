//! What an action would take hold of on this machine, looked up by who would carry it out.

use super::{Enforcer, EnforcerError};
use crate::decision::Realm;
use crate::guard::Refusal;
use crate::plan::Proposal;
use crate::responder::ResponderError;

/// There is nothing to be done.
pub(super) struct Idle;

impl Enforcer {
    /// Rehearses an action that nobody has decided about: what it would take hold of stands in its rehearsal then.
    ///
    /// # Errors
    /// When it could not be done, with the reason.
    pub fn rehearse(&mut self, mut proposal: Proposal) -> Result<Proposal, EnforcerError> {
        match self.possible(&mut proposal)? {
            Some(refusal) => Err(EnforcerError::Guard(refusal)),
            None => Ok(proposal),
        }
    }

    /// Why nobody here can do this, if so.
    pub(super) fn possible(
        &mut self,
        proposal: &mut Proposal,
    ) -> Result<Option<Refusal>, ResponderError> {
        let verb = proposal.verb;
        if !self.policy.carries_out(verb) {
            return Ok(Some(Refusal::Means { verb }));
        }
        self.grasp(proposal)
    }

    /// The same for what nobody ordered: nothing when there is nothing to take hold of, or nobody can say.
    pub(super) fn reaches(&mut self, proposal: &mut Proposal) -> Result<Option<Refusal>, Idle> {
        match self.grasp(proposal) {
            // Such a file may lie anywhere in the network.
            Ok(None) if proposal.verb.realm() == Some(Realm::Files) => {
                let is_there = !proposal.rehearsal.held.is_empty();
                is_there.then_some(None).ok_or(Idle)
            }
            Ok(spared) => Ok(spared),
            Err(error) => {
                self.standing.trouble = Some(error.to_string());
                Err(Idle)
            }
        }
    }

    /// Looks up what it would take hold of. A refusal when all of that is never to be touched.
    fn grasp(&mut self, proposal: &mut Proposal) -> Result<Option<Refusal>, ResponderError> {
        let grasp = self.responder.rehearse(proposal.verb, &proposal.cuts)?;
        let mut spared = grasp.spared.into_iter();
        let refusal = spared.next().map(|(what, why)| Refusal::Never {
            what: what.into(),
            why: why.into(),
        });
        let refusal = refusal.filter(|_| grasp.held.is_empty());
        proposal.rehearsal.held = grasp.held;
        Ok(refusal)
    }
}
