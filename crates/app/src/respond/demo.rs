//! Decisions of the demo: its incidents planned, rehearsed and held against the guardrails like others, by an enforcer
//! that nobody carries anything out for and that ends at once.

use std::path::Path;

use anyhow::Result;
use thymus_detect::DeviceCard;
use thymus_respond::{Enforcer, Mode, ModeRule, Place, Policy, Responders, Verb};
use thymus_schema::{LocalNetworks, Timestamp};

use super::{Planner, folder};
use crate::output::Findings;

/// The longest that a policy allows.
const WEEK: u32 = 7 * 24 * 60;

/// Decides about the incidents of the demo, in the folder of its state.
///
/// # Errors
/// When it cannot be written down.
pub(crate) fn decide(
    state: &Path,
    planner: &Planner,
    findings: &Findings<'_>,
    cards: &[DeviceCard],
    local: &LocalNetworks,
    now: Timestamp,
) -> Result<()> {
    let policy = Policy {
        mode: Mode::Approve,
        minutes: WEEK,
        answer_minutes: WEEK,
        responders: vec!["bouncers".into()],
        rules: vec![ModeRule {
            mode: Mode::Act,
            verbs: vec![Verb::BlockDestination],
            ..ModeRule::default()
        }],
        ..Policy::default()
    };
    let responders = Responders::of(&policy, &Place::default()).map_err(anyhow::Error::msg)?;
    let (mut enforcer, _) = Enforcer::open(&folder(state), policy, Box::new(responders), now)?;
    let (proposals, never) = planner.all(findings, cards, local);
    enforcer.learned(never, cards.len() as u64, now);
    enforcer.propose(proposals, now)?;
    Ok(())
}
