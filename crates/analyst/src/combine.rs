//! One p-value for a story out of those of its alerts.
//!
//! The rule, in −log10 p:
//!
//! 1. Each phase of the story has the strength of its strongest alert. Repeating a behaviour, or
//!    seeing it with a second detector of the same phase, adds nothing: such alerts are dependent.
//! 2. The story has the strength of one phase, the anchor, plus a bonus for every *other* phase
//!    that does not contradict the order in which attacks go: half of what that phase has beyond
//!    log10 8 (the Bonferroni price of having eight phases to look into), at most 3 each.
//!    Phase *unusual* names no attack step: it neither earns nor gives a bonus.
//! 3. Of all possible anchors the one that gives most is taken.
//!
//! With one phase this is the minimum of the alerts' p-values, each of which is already per entity
//! and window; the multiplicity over windows is paid by the false-discovery control before.
//! The bonus ranks stories of several steps above single oddities; it is half of the evidence
//! because behaviours of one device are not independent. The value never falls when an alert is
//! added or grows: strengths only rise, and the first and last times of a phase only move apart,
//! which can only remove a contradiction.

use std::collections::BTreeMap;

use thymus_schema::{Alert, PValue, Phase, Timestamp};

/// What one phase contributes.
#[derive(Clone, Copy, Debug)]
struct Strength {
    neg_log10: f64,
    first: Timestamp,
    last: Timestamp,
}

const PHASES: f64 = 8.0;
const SHARE: f64 = 0.5;
const BONUS_MAX: f64 = 3.0;

/// The combined p-value of the alerts of one story; 1 when there are none.
pub fn combined<'a>(alerts: impl IntoIterator<Item = &'a Alert>) -> PValue {
    let mut phases: BTreeMap<Phase, Strength> = BTreeMap::new();
    for alert in alerts {
        let own = Strength {
            neg_log10: alert.p_value.neg_log10(),
            first: alert.first_seen,
            last: alert.last_seen,
        };
        phases
            .entry(alert.phase)
            .and_modify(|known| {
                known.neg_log10 = known.neg_log10.max(own.neg_log10);
                known.first = known.first.min(own.first);
                known.last = known.last.max(own.last);
            })
            .or_insert(own);
    }
    let strongest = phases.iter().map(|(anchor, strength)| {
        let bonus: f64 = phases
            .iter()
            .filter(|(phase, other)| {
                *phase != anchor
                    && *anchor != Phase::Unusual
                    && **phase != Phase::Unusual
                    && !contradicts((*anchor, strength), (**phase, other))
            })
            .map(|(_, other)| (SHARE * (other.neg_log10 - PHASES.log10())).clamp(0.0, BONUS_MAX))
            .sum();
        strength.neg_log10 + bonus
    });
    PValue::from_neg_log10(strongest.fold(0.0, f64::max))
}

/// Whether the later stage was over before the earlier one began.
fn contradicts(a: (Phase, &Strength), b: (Phase, &Strength)) -> bool {
    let (Some(stage_a), Some(stage_b)) = (stage(a.0), stage(b.0)) else {
        return false;
    };
    match stage_a.cmp(&stage_b) {
        std::cmp::Ordering::Less => b.1.last < a.1.first,
        std::cmp::Ordering::Greater => a.1.last < b.1.first,
        std::cmp::Ordering::Equal => false,
    }
}

/// Attacks get in, then work from inside in any order, then take or break; looking around happens
/// at any time.
fn stage(phase: Phase) -> Option<u8> {
    match phase {
        Phase::Unusual | Phase::Reconnaissance => None,
        Phase::Access => Some(0),
        Phase::Credentials | Phase::Control | Phase::Lateral => Some(1),
        Phase::Exfiltration | Phase::Impact => Some(2),
    }
}
