//! What an alert claims, in the form in which what people said of others is held against it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thymus_schema::{Alert, Phase, Timestamp, Value as FactValue};
use utoipa::ToSchema;

use super::ingest::{list, text, time};

/// Counts of what stands around an alert, not of what was done: a site that grows is no attack.
const SURROUNDINGS: [&str; 5] = ["days", "devices", "one_in", "others", "users"];

/// How much it is: how rare, and the amounts in its evidence.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Level {
    /// How rarely chance alone does this, as −log10 of the probability.
    pub rarity: f64,
    /// Bytes and counts by their name in the evidence, for each hour that the alert lasted.
    pub amounts: BTreeMap<String, f64>,
}

impl Level {
    /// Takes the most of both.
    pub(super) fn include(&mut self, other: &Self) {
        self.rarity = self.rarity.max(other.rarity);
        for (key, amount) in &other.amounts {
            let most = self.amounts.entry(key.clone()).or_insert(0.0);
            *most = most.max(*amount);
        }
    }
}

/// What an alert says, wherever it was kept.
pub(super) struct Claim {
    pub(super) id: String,
    pub(super) detector: String,
    pub(super) entity: String,
    pub(super) peers: Vec<String>,
    /// Key and value as text.
    pub(super) facts: Vec<(String, String)>,
    /// The names in the evidence, each with its key: which service, which account.
    pub(super) names: Vec<String>,
    pub(super) phase: Option<Phase>,
    pub(super) last_seen: Timestamp,
    /// Whether it was rare enough by itself.
    pub(super) discovered: bool,
    pub(super) level: Level,
}

impl Claim {
    /// Of an alert of an incident, as it was told.
    pub(super) fn of_object(alert: &Value) -> Option<Self> {
        let owned = |key: &str| text(alert, key).map(str::to_owned);
        let hours = hours(time(alert, "first_seen"), time(alert, "last_seen"));
        let (mut facts, mut names) = (Vec::new(), Vec::new());
        let mut amounts = BTreeMap::new();
        for fact in list(alert, "evidence") {
            let key = text(fact, "key");
            let value: Option<FactValue> = serde_json::from_value(fact.clone()).ok();
            if let (Some(key), Some(value)) = (key, value) {
                facts.push((key.to_owned(), value.to_string()));
                names.extend(named(key, &value));
                amounts.extend(amount(key, &value).map(|n| (key.to_owned(), n / hours)));
            }
        }
        let peers = list(alert, "peers").filter_map(|peer| text(peer, "entity"));
        let rarity = alert.get("p_value").and_then(Value::as_f64);
        let phase = alert.get("phase").cloned().unwrap_or_default();
        Some(Self {
            id: owned("id")?,
            detector: owned("detector")?,
            entity: owned("entity")?,
            peers: peers.map(str::to_owned).collect(),
            facts,
            names,
            last_seen: time(alert, "last_seen"),
            phase: serde_json::from_value(phase).ok(),
            discovered: alert.get("discovered").and_then(Value::as_bool) == Some(true),
            level: Level {
                rarity: rarity.filter(|rarity| rarity.is_finite()).unwrap_or(0.0),
                amounts,
            },
        })
    }

    /// Of an alert as the analysis wrote it.
    pub(super) fn of_alert(alert: &Alert) -> Self {
        let hours = hours(alert.first_seen, alert.last_seen);
        let facts = &alert.statement.facts;
        let amounts = facts.iter().filter_map(|fact| {
            let amount = amount(&fact.key, &fact.value)?;
            Some((fact.key.to_string(), amount / hours))
        });
        Self {
            id: alert.id.to_string(),
            detector: alert.detector.to_string(),
            entity: alert.entity.to_string(),
            peers: alert
                .peers
                .iter()
                .map(|peer| peer.entity.to_string())
                .collect(),
            facts: facts
                .iter()
                .map(|fact| (fact.key.to_string(), fact.value.to_string()))
                .collect(),
            names: facts
                .iter()
                .filter_map(|fact| named(&fact.key, &fact.value))
                .collect(),
            phase: Some(alert.phase),
            last_seen: alert.last_seen,
            discovered: alert.discovered,
            level: Level {
                rarity: alert.p_value.neg_log10(),
                amounts: amounts.collect(),
            },
        }
    }

    /// Of all alerts of an incident.
    pub(super) fn all_of(incident: &Value) -> Vec<Self> {
        list(incident, "alerts")
            .filter_map(Self::of_object)
            .collect()
    }

    /// Those that count for an incident: each that was rare enough by itself; all where none was.
    pub(super) fn leading(all: &[Self]) -> impl Iterator<Item = &Self> {
        let has_leading = all.iter().any(|claim| claim.discovered);
        all.iter()
            .filter(move |claim| claim.discovered || !has_leading)
    }
}

fn amount(key: &str, value: &FactValue) -> Option<f64> {
    match value {
        FactValue::Bytes(n) | FactValue::Count(n) if !SURROUNDINGS.contains(&key) => {
            Some(*n as f64)
        }
        _ => None,
    }
}

fn named(key: &str, value: &FactValue) -> Option<String> {
    match value {
        FactValue::Name(name) => Some(format!("{key}={name}")),
        _ => None,
    }
}

/// At least one: what is over within a minute is not sixty times as much.
fn hours(first: Timestamp, last: Timestamp) -> f64 {
    (last.secs_since(first) / 3_600.0).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn amounts_are_for_each_hour_and_leave_out_what_stands_around() {
        let alert = json!({"id": "a", "detector": "exfiltration", "entity": "device:10.0.0.7",
            "phase": "exfiltration", "p_value": 3.5, "discovered": true, "peers": [],
            "first_seen": "2024-05-06T08:00:00Z", "last_seen": "2024-05-06T12:00:00Z",
            "evidence": [{"key": "up", "type": "bytes", "value": 400}, {"key": "users", "type": "count", "value": 9},
                {"key": "destination", "type": "name", "value": "x.example"}]});
        let claim = Claim::of_object(&alert).unwrap();
        assert_eq!(claim.level.amounts, BTreeMap::from([("up".into(), 100.0)]));
        assert_eq!(claim.phase, Some(Phase::Exfiltration));
        assert_eq!(claim.facts.len(), 3);
        assert!((claim.level.rarity - 3.5).abs() < 1e-9);
    }
}
