//! Alerts that grow. A finding with the same detector, entity and key as an earlier one within a day
//! is the same alert: its highest score speaks, its time stretches.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use thymus_schema::{Alert, AlertId, PValue, Timestamp};

use crate::cx::Finding;
use crate::detector::DetectorSpec;
use crate::entities::Entities;
use crate::party::Party;

/// Alerts held open at once; the one that has been silent longest makes room.
const OPEN_MAX: usize = 50_000;
/// How long after its last finding an alert can still grow.
const QUIET: Duration = Duration::from_hours(24);
/// Days after its last finding that an alert is held, for what is told late: of a long connection,
/// or of a slow scan.
const DAYS_HELD: i64 = 31;
/// The largest p-value, per entity and hour over all detectors, that is kept as an alert at all:
/// enough to fill the list below the line, not so much that everything ordinary is carried along.
const KEPT: f64 = 0.5;
const PEERS_MAX: usize = 16;

#[derive(Debug)]
struct Open {
    alert: Alert,
    party: Party,
    changed: bool,
}

/// The alerts of a run.
#[derive(Debug, Default)]
pub(crate) struct AlertBook {
    /// By detector, entity key and the finding's own key.
    open: BTreeMap<(&'static str, u64, u64), Open>,
    /// Keys that changed, in order of change.
    changed: Vec<(&'static str, u64, u64)>,
    dropped: u64,
}

impl AlertBook {
    /// Takes in a calibrated finding.
    pub(crate) fn grow(
        &mut self,
        spec: &DetectorSpec,
        finding: Finding,
        p_value: PValue,
        calibrated_by: &'static str,
        discovered: bool,
        entities: &Entities,
    ) {
        let at = (spec.id, finding.entity.key(), finding.key);
        if let Some(open) = self.open.get_mut(&at)
            && open.alert.last_seen.plus(QUIET) >= finding.first_seen
        {
            if !open.changed {
                open.changed = true;
                self.changed.push(at);
            }
            merge(&mut open.alert, finding, p_value, calibrated_by, discovered);
            return;
        }
        if p_value < PValue::from_probability(KEPT) {
            return;
        }
        if self.open.len() >= OPEN_MAX {
            self.evict();
        }
        let party = finding.entity;
        let alert = found(spec, finding, p_value, calibrated_by, discovered, entities);
        self.open.insert(
            at,
            Open {
                alert,
                party,
                changed: true,
            },
        );
        self.changed.push(at);
    }

    /// Lets go of the quarter that has been silent longest.
    fn evict(&mut self) {
        let mut ages: Vec<Timestamp> = self
            .open
            .values()
            .map(|open| open.alert.last_seen)
            .collect();
        ages.sort_unstable();
        let Some(cut) = ages.get(ages.len() / 4).copied() else {
            return;
        };
        let before = self.open.len();
        self.open
            .retain(|_, open| open.changed || open.alert.last_seen > cut);
        self.dropped += (before - self.open.len()) as u64;
    }

    /// Lets go of the alerts that nothing can be added to any more.
    pub(crate) fn pass(&mut self, today: i64) {
        let line = today.saturating_sub(DAYS_HELD);
        self.open
            .retain(|_, open| open.changed || open.alert.last_seen.day() >= line);
    }

    /// Alerts that appeared or grew since the last call.
    pub(crate) fn take_changed(&mut self, entities: &Entities) -> Vec<Alert> {
        let mut out = Vec::with_capacity(self.changed.len());
        for at in self.changed.drain(..) {
            if let Some(open) = self.open.get_mut(&at) {
                open.changed = false;
                open.alert.aliases = entities.aliases(open.party);
                out.push(open.alert.clone());
            }
        }
        out
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

fn found(
    spec: &DetectorSpec,
    finding: Finding,
    p_value: PValue,
    calibrated_by: &'static str,
    discovered: bool,
    entities: &Entities,
) -> Alert {
    let entity = entities.id(finding.entity);
    let first = finding.first_event;
    let id = AlertId::digest(&[
        spec.id.as_bytes(),
        entity.to_string().as_bytes(),
        &finding.key.to_le_bytes(),
        &first.input.0.to_le_bytes(),
        &first.index.to_le_bytes(),
    ]);
    let mut peers = finding.peers;
    peers.truncate(PEERS_MAX);
    Alert {
        id,
        detector: Cow::Borrowed(spec.id),
        entity,
        aliases: entities.aliases(finding.entity),
        peers,
        phase: finding.phase.unwrap_or(spec.phase),
        techniques: if finding.techniques.is_empty() {
            spec.techniques.to_vec()
        } else {
            finding.techniques
        },
        first_seen: finding.first_seen,
        last_seen: finding.last_seen,
        score: finding.score,
        p_value,
        calibrated_by: Cow::Borrowed(calibrated_by),
        discovered,
        statement: finding.statement,
        counterfactual: finding.counterfactual,
        first_event: first,
    }
}

/// Lets an alert grow by a later finding: the stronger evidence speaks, the time stretches.
fn merge(
    alert: &mut Alert,
    finding: Finding,
    p_value: PValue,
    calibrated_by: &'static str,
    discovered: bool,
) {
    alert.discovered |= discovered;
    alert.first_seen = alert.first_seen.min(finding.first_seen);
    alert.last_seen = alert.last_seen.max(finding.last_seen);
    if finding.score > alert.score {
        alert.score = finding.score;
        alert.statement = finding.statement;
        alert.counterfactual = finding.counterfactual;
        if let Some(phase) = finding.phase {
            alert.phase = phase;
        }
    }
    if p_value > alert.p_value {
        alert.p_value = p_value;
        alert.calibrated_by = Cow::Borrowed(calibrated_by);
    }
    for technique in finding.techniques {
        if !alert.techniques.contains(&technique) {
            alert.techniques.push(technique);
        }
    }
    for peer in finding.peers {
        if alert.peers.len() < PEERS_MAX && !alert.peers.contains(&peer) {
            alert.peers.push(peer);
        }
    }
}
