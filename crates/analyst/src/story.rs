//! One story as an incident: who is in it, what happened in which order, how sure, what next.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use thymus_schema::{
    Affected, Alert, Confidence, EntityId, EntityKind, Incident, IncidentId, PValue, PeerRole,
    Phase, Step,
};

use crate::advice::next_steps;
use crate::analyst::AnalystConfig;
use crate::budget::Candidate;
use crate::cast::Cast;
use crate::combine::combined;
use crate::hypothesis::hypothesis;
use crate::narrative::Names;

/// Most entities listed in an incident; more would help nobody.
const AFFECTED_MAX: usize = 10;
/// Most incidents named as merged.
const MERGED_MAX: usize = 32;

/// Tells the story made of `parts`, which are indices into `alerts`, the oldest part first.
pub(crate) fn tell(
    alerts: &[Alert],
    parts: &[Vec<usize>],
    names: &Names,
    config: &AnalystConfig,
) -> Candidate {
    let mut own: Vec<&Alert> = parts
        .iter()
        .flatten()
        .filter_map(|&at| alerts.get(at))
        .collect();
    own.sort_by(|a, b| a.first_seen.cmp(&b.first_seen).then(a.id.cmp(&b.id)));
    let founding: Vec<&Alert> = parts
        .iter()
        .filter_map(|part| part.first())
        .filter_map(|&at| alerts.get(at))
        .collect();
    let p_value = combined(own.iter().copied());
    let phases: BTreeSet<Phase> = own.iter().map(|alert| alert.phase).collect();
    let techniques: BTreeSet<_> = own
        .iter()
        .flat_map(|a| a.techniques.iter().copied())
        .collect();
    let cast = Cast::of(&own, names);
    let incident = Incident {
        id: founding
            .first()
            .map(|alert| incident_id(alert))
            .unwrap_or_default(),
        merged_from: founding
            .iter()
            .skip(1)
            .take(MERGED_MAX)
            .map(|a| incident_id(a))
            .collect(),
        title: title(&own, &cast, config),
        hypothesis: hypothesis(&phases, &techniques, &cast).unwrap_or_default(),
        confidence: confidence(p_value, &own, &phases),
        p_value,
        rank: 0,
        shown: false,
        affected: affected(&own),
        techniques: techniques.iter().copied().collect(),
        first_seen: own
            .iter()
            .map(|alert| alert.first_seen)
            .min()
            .unwrap_or_default(),
        last_seen: own
            .iter()
            .map(|alert| alert.last_seen)
            .max()
            .unwrap_or_default(),
        steps: steps(&own, config),
        next_steps: next_steps(&phases, &techniques, &cast),
    };
    let discovered = own.iter().any(|alert| alert.discovered);
    Candidate {
        incident,
        discovered,
        phases: phases.len(),
    }
}

/// The id: the founding alert's detector, entity and first event.
fn incident_id(alert: &Alert) -> IncidentId {
    IncidentId::digest(&[
        alert.detector.as_bytes(),
        alert.entity.to_string().as_bytes(),
        alert.first_event.to_string().as_bytes(),
    ])
}

/// `10.0.0.7 (anna-pc): beaconing, port scan and unusual upload`: of each phase the strongest kind, in
/// order of time.
fn title(alerts: &[&Alert], cast: &Cast, config: &AnalystConfig) -> String {
    const ACTS_MAX: usize = 4;
    let mut strongest: BTreeMap<Phase, &Alert> = BTreeMap::new();
    for alert in alerts {
        let known = strongest.entry(alert.phase).or_insert(alert);
        if alert.p_value > known.p_value {
            *known = alert;
        }
    }
    // Unusual behaviour is worth a word in the title only when there is nothing else.
    if strongest.len() > 1 {
        strongest.remove(&Phase::Unusual);
    }
    let mut told: Vec<&Alert> = strongest.into_values().rev().take(ACTS_MAX).collect();
    told.sort_by(|a, b| a.first_seen.cmp(&b.first_seen).then(a.phase.cmp(&b.phase)));
    let mut acts: Vec<String> = Vec::new();
    for alert in told {
        let act = config.titles.get(&*alert.detector).map_or_else(
            || alert.detector.replace('_', " "),
            |title| lower_first(title),
        );
        if !acts.contains(&act) {
            acts.push(act);
        }
    }
    let acts = match acts.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, head)) => format!("{} and {last}", head.join(", ")),
    };
    let acts = acts.replace(['{', '}'], "");
    let with_others = match cast.others() {
        0 => "{device}: ",
        1 => "{device} and {others} other: ",
        _ => "{device} and {others} others: ",
    };
    cast.say(&format!("{with_others}{acts}"), &[], &[])
        .unwrap_or(acts)
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next();
    let second_is_upper = chars.clone().next().is_some_and(|c| !c.is_lowercase());
    match first {
        Some(c) if !second_is_upper => c.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

/// High: so rare that it needs no second witness, or several phases that fit together. Medium: rare
/// enough for a look today.
fn confidence(p_value: PValue, alerts: &[&Alert], phases: &BTreeSet<Phase>) -> Confidence {
    let discovered: BTreeSet<Phase> = alerts
        .iter()
        .filter(|alert| alert.discovered && alert.phase != Phase::Unusual)
        .map(|alert| alert.phase)
        .collect();
    let only_unusual = phases.iter().all(|phase| *phase == Phase::Unusual);
    match p_value.neg_log10() {
        p if p >= 6.0 && !only_unusual => Confidence::High,
        p if p >= 5.0 && discovered.len() >= 2 => Confidence::High,
        p if p >= 4.0 => Confidence::Medium,
        _ => Confidence::Low,
    }
}

/// Who is in it: first the devices that act, then those that steer, then those acted on; among the
/// latter what suffered the later phase of an attack first, then the strongest; at most ten.
fn affected(alerts: &[&Alert]) -> Vec<Affected> {
    #[derive(Default)]
    struct Part {
        neg_log10: f64,
        aliases: Vec<Box<str>>,
        place: u8,
        /// What was done to it; of those that act, nothing.
        phase: Option<Phase>,
    }
    let mut parts: BTreeMap<&EntityId, Part> = BTreeMap::new();
    let mut add = |entity, place, phase: Option<Phase>, p: f64, aliases: &[Box<str>]| {
        let part = parts.entry(entity).or_insert_with(|| Part {
            place,
            ..Part::default()
        });
        part.place = part.place.min(place);
        part.neg_log10 = part.neg_log10.max(p);
        part.phase = part.phase.max(phase);
        for alias in aliases {
            if !part.aliases.contains(alias) {
                part.aliases.push(alias.clone());
            }
        }
    };
    for alert in alerts {
        let p = alert.p_value.neg_log10();
        add(&alert.entity, 0, None, p, &alert.aliases);
        for peer in &alert.peers {
            let place = match peer.role {
                PeerRole::Controller => 1,
                PeerRole::Target => 2,
                PeerRole::Account => 3,
                PeerRole::Relay => continue,
            };
            add(&peer.entity, place, Some(alert.phase), p, &[]);
        }
    }
    let mut order: Vec<(&EntityId, Part)> = parts.into_iter().collect();
    order.sort_by(|(a, x), (b, y)| {
        let place = x.place.cmp(&y.place);
        let gravity = if x.place == 0 {
            Ordering::Equal
        } else {
            y.phase.cmp(&x.phase)
        };
        place
            .then(gravity)
            .then(y.neg_log10.total_cmp(&x.neg_log10))
            .then(a.cmp(b))
    });
    order.truncate(AFFECTED_MAX);
    order
        .into_iter()
        .map(|(entity, part)| Affected {
            entity: entity.clone(),
            aliases: part.aliases,
            suspected: part.place <= 1 && entity.kind != EntityKind::Service,
        })
        .collect()
}

/// The strongest alerts, in order of time.
fn steps(alerts: &[&Alert], config: &AnalystConfig) -> Vec<Step> {
    let mut kept = alerts.to_vec();
    kept.sort_by(|a, b| {
        let p = |alert: &Alert| alert.p_value.neg_log10();
        b.discovered
            .cmp(&a.discovered)
            .then(p(b).total_cmp(&p(a)))
            .then(a.id.cmp(&b.id))
    });
    kept.truncate(config.steps_max);
    kept.sort_by(|a, b| {
        a.first_seen
            .cmp(&b.first_seen)
            .then(a.phase.cmp(&b.phase))
            .then(a.id.cmp(&b.id))
    });
    kept.into_iter()
        .map(|alert| Step {
            at: alert.first_seen,
            until: alert.last_seen,
            phase: alert.phase,
            entity: alert.entity.clone(),
            peers: alert.peers.iter().map(|peer| peer.entity.clone()).collect(),
            alert: alert.id,
            statement: alert.statement.clone(),
            counterfactual: alert.counterfactual.clone(),
        })
        .collect()
}
