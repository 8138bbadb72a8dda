//! Who plays which part in a story, as facts that fill the slots of titles, hypotheses and advice.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use thymus_schema::{Alert, EntityId, Fact, PeerRole, Phase, Statement, Technique, Value};

use crate::hypothesis::named;
use crate::narrative::{Names, sentence};

/// The facts of one story.
pub(crate) struct Cast {
    /// What each alert says, the strongest alert first.
    alerts: Vec<Part>,
    /// What the story as a whole says.
    whole: Vec<Fact>,
    others: usize,
}

struct Part {
    entity: EntityId,
    phase: Phase,
    techniques: BTreeSet<Technique>,
    facts: Vec<Fact>,
}

impl Cast {
    /// The cast of `alerts`, which are in order of time.
    pub(crate) fn of(alerts: &[&Alert], names: &Names) -> Self {
        let mut strongest = alerts.to_vec();
        strongest.sort_by(|a, b| {
            let p = |alert: &Alert| alert.p_value.neg_log10();
            b.discovered
                .cmp(&a.discovered)
                .then(p(b).total_cmp(&p(a)))
                .then(a.id.cmp(&b.id))
        });
        let actors: BTreeSet<&EntityId> = alerts.iter().map(|alert| &alert.entity).collect();
        let others = actors.len().saturating_sub(1);
        let mut whole = Vec::new();
        if let (true, Some(first)) = (others > 0, alerts.first()) {
            let events: Vec<_> = alerts.iter().map(|alert| alert.first_event).collect();
            whole.push(Fact::new("others", Value::Count(others as u64), &events));
            whole.push(Fact::new(
                "origin",
                Value::Name(names.of(&first.entity).into()),
                &events,
            ));
        }
        Self {
            alerts: strongest.iter().map(|alert| part(alert, names)).collect(),
            whole,
            others,
        }
    }

    /// Entities that act beside the one that stands out most.
    pub(crate) fn others(&self) -> usize {
        self.others
    }

    /// The template filled from the cast; `None` when a slot has nobody to fill it. Alerts with one
    /// of `techniques` fill a slot first, then those of one of `phases`, the later phase first, then
    /// the rest, the strongest first; the entity of the best alert leads and its other alerts come
    /// before those of others.
    pub(crate) fn say(
        &self,
        template: &str,
        phases: &[Phase],
        techniques: &[&str],
    ) -> Option<String> {
        let fit = |part: &Part| {
            let fits = !techniques.is_empty() && named(techniques, &part.techniques);
            let phase = phases.contains(&part.phase).then_some(part.phase);
            (fits, phase)
        };
        let mut order: Vec<&Part> = self.alerts.iter().collect();
        order.sort_by_key(|part| Reverse(fit(part)));
        // What is said of the one who leads must be true of it: its own alerts fill the slots first.
        let lead = order.first().map(|part| part.entity.clone());
        order.sort_by_key(|part| Reverse((Some(&part.entity) == lead.as_ref(), fit(part))));
        let mut facts: BTreeMap<&str, &Fact> = BTreeMap::new();
        let said = order
            .into_iter()
            .flat_map(|part| &part.facts)
            .chain(&self.whole);
        for fact in said {
            facts.entry(&fact.key).or_insert(fact);
        }
        let facts = facts.into_values().cloned().collect();
        let statement = Statement {
            template: template.to_owned().into(),
            facts,
        };
        sentence(&statement, &Names::default())
    }
}

fn part(alert: &Alert, names: &Names) -> Part {
    let fact = |key, entity: &EntityId| {
        Fact::new(
            key,
            Value::Name(names.of(entity).into()),
            &[alert.first_event],
        )
    };
    let mut facts = vec![fact("device", &alert.entity)];
    for (role, key) in [
        (PeerRole::Target, "target"),
        (PeerRole::Controller, "controller"),
        (PeerRole::Account, "account"),
    ] {
        let first = alert.peers.iter().find(|peer| peer.role == role);
        facts.extend(first.map(|peer| fact(key, &peer.entity)));
    }
    Part {
        entity: alert.entity.clone(),
        phase: alert.phase,
        techniques: alert.techniques.iter().copied().collect(),
        facts,
    }
}
