//! Ties alerts into stories by entity, time and path.
//!
//! 1. *Entity and time*: alerts of one entity whose intervals are no further apart than the window
//!    are one part. A weak alert belongs to it only when it is close to a strong one: the small
//!    oddities of the day before explain nothing.
//! 2. *Path*: an entity that was the target of an attack step and acts itself afterwards belongs
//!    to the story of the attacker; only the best-fitting earlier step counts, so a much-used
//!    server does not glue its visitors together. Getting in somewhere may look weak by itself when
//!    the one who does it has been found out otherwise. Being looked at makes nobody a suspect: a
//!    look explains only that one of its few targets is steered, robbed or broken later, and a look
//!    at many explains nothing.
//! 3. *Controller*: entities steered from the same outside place belong together, unless so many
//!    use the place that it must be a popular service; a controller that acts itself belongs too.
//! 4. *Swarm*: outside addresses that do the same to the same target are one attack.
//!
//! Relays and accounts never tie. Every tie that would make a story too large is refused and
//! counted.

use std::collections::{BTreeMap, BTreeSet};

use thymus_schema::{Alert, EntityId, EntityKind, PeerRole, Phase, Timestamp};

use crate::analyst::{AnalystConfig, Site};

/// Weak alerts within this share of the window around a strong one belong to its part.
const COMPANY_SHARE: f64 = 1.0 / 12.0;
/// Strength, in −log10 p, from which getting in ties when its actor has been discovered.
const WEAK_STEP_NEG_LOG10: f64 = 1.0;

/// Stories, each as its parts: alerts of one entity, as indices; the oldest part first.
#[derive(Debug)]
pub(crate) struct Correlated {
    pub(crate) stories: Vec<Vec<Vec<usize>>>,
    pub(crate) ties_refused: u64,
}

/// Alerts of one entity in one stretch of time.
#[derive(Debug)]
struct Part<'a> {
    entity: &'a EntityId,
    alerts: Vec<usize>,
    first: Timestamp,
    last: Timestamp,
}

/// Ties `alerts`, which are in order of first event.
pub(crate) fn correlate(alerts: &[Alert], config: &AnalystConfig, site: &Site) -> Correlated {
    let scene = Scene::new(alerts, config, site);
    let mut ties = scene.paths();
    ties.extend(scene.controllers());
    ties.extend(scene.swarms());
    let mut forest = Forest::new(scene.parts.len(), config.entities_max);
    for (a, b) in ties {
        forest.join(a, b);
    }
    let mut stories: BTreeMap<usize, Vec<Vec<usize>>> = BTreeMap::new();
    for index in 0..scene.parts.len() {
        let root = forest.root(index);
        if let Some(part) = scene.parts.get(index) {
            stories.entry(root).or_default().push(part.alerts.clone());
        }
    }
    Correlated {
        stories: stories.into_values().collect(),
        ties_refused: forest.refused,
    }
}

/// Everything the rules look things up in.
struct Scene<'a> {
    alerts: &'a [Alert],
    config: &'a AnalystConfig,
    site: &'a Site,
    parts: Vec<Part<'a>>,
    by_entity: BTreeMap<&'a EntityId, Vec<usize>>,
    by_alias: BTreeMap<&'a str, &'a EntityId>,
    part_of: Vec<usize>,
}

impl<'a> Scene<'a> {
    fn new(alerts: &'a [Alert], config: &'a AnalystConfig, site: &'a Site) -> Self {
        let mut parts: Vec<Part<'a>> = Vec::new();
        let mut by_entity: BTreeMap<&EntityId, Vec<usize>> = BTreeMap::new();
        let mut by_alias: BTreeMap<&str, &EntityId> = BTreeMap::new();
        let mut part_of = Vec::with_capacity(alerts.len());
        let mut apart: BTreeMap<&EntityId, Vec<usize>> = BTreeMap::new();
        let company = company(alerts, config);
        for ((index, alert), in_company) in alerts.iter().enumerate().zip(company) {
            if alert.entity.kind == EntityKind::External {
                for alias in &alert.aliases {
                    by_alias.entry(alias).or_insert(&alert.entity);
                }
            }
            let own = if in_company {
                by_entity.entry(&alert.entity).or_default()
            } else {
                apart.entry(&alert.entity).or_default()
            };
            let open = own.last().copied().filter(|&at| {
                parts.get(at).is_some_and(|part| {
                    near(part.last, alert.first_seen, config)
                        && alert.first_seen.secs_since(part.first) <= config.span_secs_max
                })
            });
            let at = open.unwrap_or(parts.len());
            if let Some(part) = parts.get_mut(at) {
                part.alerts.push(index);
                part.last = part.last.max(alert.last_seen);
            } else {
                own.push(at);
                parts.push(Part {
                    entity: &alert.entity,
                    alerts: vec![index],
                    first: alert.first_seen,
                    last: alert.last_seen,
                });
            }
            part_of.push(at);
        }
        for (entity, parts) in apart {
            by_entity.entry(entity).or_default().extend(parts);
        }
        Self {
            alerts,
            config,
            site,
            parts,
            by_entity,
            by_alias,
            part_of,
        }
    }

    /// Alerts strong enough to tie entities together, with their part.
    fn tying(&self) -> impl Iterator<Item = (usize, &'a Alert)> {
        let parts = self.part_of.iter().copied();
        let alerts = parts.zip(self.alerts);
        alerts.filter(|(_, alert)| self.ties(alert))
    }

    fn ties(&self, alert: &Alert) -> bool {
        ties(alert, self.config)
    }

    /// Alerts that can explain what their targets do, with their part: of somebody found out only,
    /// or every first visit to a server would make the visitor its attacker.
    fn leading(&self) -> impl Iterator<Item = (usize, &'a Alert)> {
        let gets_in = |alert: &Alert| {
            matches!(alert.phase, Phase::Access | Phase::Lateral)
                && alert.p_value.neg_log10() >= WEAK_STEP_NEG_LOG10
        };
        let alerts = self.part_of.iter().copied().zip(self.alerts);
        alerts.filter(move |(part, alert)| {
            (self.ties(alert) || gets_in(alert)) && self.is_discovered(*part)
        })
    }

    fn is_discovered(&self, part: usize) -> bool {
        let alerts = self.parts.get(part).map_or(&[][..], |part| &part.alerts);
        let mut alerts = alerts.iter().filter_map(|&at| self.alerts.get(at));
        alerts.any(|alert| alert.discovered && alert.phase != Phase::Unusual)
    }

    /// Rule 2.
    fn paths(&self) -> Vec<(usize, usize)> {
        let mut aimed_at: BTreeMap<&EntityId, Vec<(usize, &Alert)>> = BTreeMap::new();
        for (part, alert) in self.leading() {
            for peer in alert
                .peers
                .iter()
                .filter(|peer| peer.role == PeerRole::Target)
            {
                aimed_at
                    .entry(&peer.entity)
                    .or_default()
                    .push((part, alert));
            }
        }
        let mut ties = Vec::new();
        for (index, part) in self.parts.iter().enumerate() {
            let Some(steps) = aimed_at.get(part.entity) else {
                continue;
            };
            let attackers: BTreeSet<&EntityId> = steps.iter().map(|step| &step.1.entity).collect();
            let is_popular = attackers.len() > self.config.shared_entities_max
                || self.site.popular.contains(part.entity);
            let acts = part.alerts.iter().filter_map(|&at| self.alerts.get(at));
            let parent = acts.filter(|act| self.ties(act)).find_map(|act| {
                steps
                    .iter()
                    .filter(|step| step.1.entity != *part.entity)
                    .filter(|step| self.leads_to(step.0, step.1, act, is_popular))
                    .max_by(|a, b| fit(a.1).total_cmp(&fit(b.1)).then(a.1.id.cmp(&b.1.id)))
                    .map(|step| step.0)
            });
            ties.extend(parent.map(|parent| (parent, index)));
        }
        ties
    }

    /// Whether what was done to an entity can explain what the entity did then.
    fn leads_to(&self, part: usize, step: &Alert, act: &Alert, is_popular: bool) -> bool {
        let in_time =
            step.first_seen <= act.first_seen && near(step.last_seen, act.first_seen, self.config);
        let gets_in = matches!(step.phase, Phase::Access | Phase::Lateral);
        let can_lead = match step.phase {
            Phase::Unusual => false,
            Phase::Reconnaissance => {
                let is_taken = matches!(
                    act.phase,
                    Phase::Control | Phase::Exfiltration | Phase::Impact
                );
                is_taken && self.looked_at(part) <= self.config.scan_targets_max
            }
            _ => true,
        };
        in_time
            && can_lead
            && act.phase != Phase::Unusual
            && (!is_popular || (gets_in && act.phase >= Phase::Control))
    }

    /// How many entities the reconnaissance of `part` was aimed at.
    fn looked_at(&self, part: usize) -> usize {
        let alerts = self.parts.get(part).map_or(&[][..], |part| &part.alerts);
        let targets: BTreeSet<&EntityId> = alerts
            .iter()
            .filter_map(|&at| self.alerts.get(at))
            .filter(|alert| alert.phase == Phase::Reconnaissance)
            .flat_map(|alert| &alert.peers)
            .filter(|peer| peer.role == PeerRole::Target)
            .map(|peer| &peer.entity)
            .collect();
        targets.len()
    }

    /// Rule 3.
    fn controllers(&self) -> Vec<(usize, usize)> {
        let mut steered: BTreeMap<&EntityId, Vec<usize>> = BTreeMap::new();
        for (part, alert) in self
            .tying()
            .filter(|(_, alert)| alert.phase != Phase::Unusual)
        {
            for peer in alert
                .peers
                .iter()
                .filter(|peer| peer.role == PeerRole::Controller)
            {
                let known = self.by_alias.get(&*peer.entity.key).copied();
                steered
                    .entry(known.unwrap_or(&peer.entity))
                    .or_default()
                    .push(part);
            }
        }
        let mut ties = Vec::new();
        for (controller, mut parts) in steered {
            let entities: BTreeSet<&EntityId> = parts
                .iter()
                .filter_map(|&at| self.parts.get(at))
                .map(|p| p.entity)
                .collect();
            if entities.len() > self.config.shared_entities_max
                || self.site.popular.contains(controller)
            {
                continue;
            }
            parts.extend(self.by_entity.get(controller).into_iter().flatten());
            ties.extend(self.chain(parts));
        }
        ties
    }

    /// Rule 4.
    fn swarms(&self) -> Vec<(usize, usize)> {
        let mut same: BTreeMap<(&str, &EntityId), Vec<usize>> = BTreeMap::new();
        let outside = self
            .tying()
            .filter(|(_, a)| a.entity.kind == EntityKind::External);
        for (part, alert) in outside.filter(|(_, alert)| alert.phase != Phase::Unusual) {
            for peer in alert
                .peers
                .iter()
                .filter(|peer| peer.role == PeerRole::Target)
            {
                same.entry((&alert.detector, &peer.entity))
                    .or_default()
                    .push(part);
            }
        }
        same.into_values()
            .flat_map(|parts| self.chain(parts))
            .collect()
    }

    /// Ties each part to the next in time when they are near.
    fn chain(&self, mut parts: Vec<usize>) -> Vec<(usize, usize)> {
        parts.sort_by_key(|&at| (self.parts.get(at).map(|part| part.first), at));
        parts.dedup();
        let mut ties = Vec::new();
        let mut open: Option<(usize, Timestamp)> = None;
        for at in parts {
            let Some(part) = self.parts.get(at) else {
                continue;
            };
            open = match open {
                Some((previous, last)) if near(last, part.first, self.config) => {
                    ties.push((previous, at));
                    Some((at, last.max(part.last)))
                }
                _ => Some((at, part.last)),
            };
        }
        ties
    }
}

/// Whether an alert is strong enough to tie entities together.
pub(crate) fn ties(alert: &Alert, config: &AnalystConfig) -> bool {
    alert.discovered || alert.p_value.neg_log10() >= config.link_neg_log10_min
}

/// For each alert whether it is strong or near a strong one of its entity; an entity that has no
/// strong alert at all keeps its weak ones together.
fn company(alerts: &[Alert], config: &AnalystConfig) -> Vec<bool> {
    let mut strong: BTreeMap<&EntityId, Vec<(Timestamp, Timestamp)>> = BTreeMap::new();
    for alert in alerts.iter().filter(|alert| ties(alert, config)) {
        let spans = strong.entry(&alert.entity).or_default();
        spans.push((alert.first_seen, alert.last_seen));
    }
    let reach = config.window_secs * COMPANY_SHARE;
    let is_near = |alert: &Alert, spans: &[(Timestamp, Timestamp)]| {
        spans.iter().any(|(first, last)| {
            first.secs_since(alert.last_seen) <= reach
                && alert.first_seen.secs_since(*last) <= reach
        })
    };
    alerts
        .iter()
        .map(|alert| match strong.get(&alert.entity) {
            Some(spans) => ties(alert, config) || is_near(alert, spans),
            None => true,
        })
        .collect()
}

/// How well a step explains what its target did: getting in explains best, then strength.
fn fit(step: &Alert) -> f64 {
    let kind = match step.phase {
        Phase::Lateral | Phase::Access => 2.0,
        Phase::Credentials | Phase::Control => 1.0,
        _ => 0.0,
    };
    kind * 100.0 + step.p_value.neg_log10()
}

fn near(last: Timestamp, next: Timestamp, config: &AnalystConfig) -> bool {
    next.secs_since(last) <= config.window_secs
}

/// Union-find whose root is the oldest member and which counts members.
struct Forest {
    parent: Vec<usize>,
    size: Vec<usize>,
    size_max: usize,
    refused: u64,
}

impl Forest {
    fn new(n: usize, size_max: usize) -> Self {
        Self {
            parent: (0..n).collect(),
            size: vec![1; n],
            size_max,
            refused: 0,
        }
    }

    fn root(&self, mut at: usize) -> usize {
        while let Some(&up) = self.parent.get(at)
            && up != at
        {
            at = up;
        }
        at
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        let (old, young) = (a.min(b), a.max(b));
        let size = |at: usize| self.size.get(at).copied().unwrap_or(0);
        let both = size(old) + size(young);
        if old == young {
            return;
        }
        if both > self.size_max {
            self.refused += 1;
            return;
        }
        if let (Some(parent), Some(size)) = (self.parent.get_mut(young), self.size.get_mut(old)) {
            *parent = old;
            *size = both;
        }
    }
}

#[cfg(test)]
#[path = "correlate_tests.rs"]
mod tests;
