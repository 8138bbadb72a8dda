//! What exceptions are about, and how an incident stands to them.

use std::collections::BTreeSet;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thymus_schema::{Alert, Value as FactValue};
use utoipa::ToSchema;

use super::super::error::DatabaseError;
use super::super::ingest::{list, text};
use super::super::{assets, is_short};

const NAME_MAX: usize = 256;
const FACTS_MAX: usize = 8;

/// What an exception is about: all of what is named has to be so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExceptionScope {
    /// The detector that speaks.
    #[schema(max_length = 64, pattern = "^[a-z0-9_]+$")]
    pub detector: String,
    /// Of whom, as an entity.
    #[serde(default)]
    #[schema(max_length = 256)]
    pub device: Option<String>,
    /// Of devices with this label.
    #[serde(default)]
    #[schema(max_length = 64)]
    pub label: Option<String>,
    /// With this entity taking part.
    #[serde(default)]
    #[schema(max_length = 256)]
    pub peer: Option<String>,
    /// With these facts in the evidence.
    #[serde(default)]
    #[schema(max_items = 8)]
    pub facts: Vec<ScopeFact>,
}

/// A fact that has to be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScopeFact {
    /// Its name in the evidence.
    #[schema(max_length = 64)]
    pub key: String,
    /// Its value, as text.
    #[schema(max_length = 256)]
    pub text: String,
}

/// An exception at an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExceptionUse {
    /// Its number.
    pub id: u64,
    /// The alerts it is about.
    pub alerts: Vec<String>,
}

/// What an alert says, wherever it was kept.
pub(super) struct Claim {
    pub(super) id: String,
    detector: String,
    pub(super) entity: String,
    peers: Vec<String>,
    facts: Vec<(String, String)>,
    discovered: bool,
}

impl Claim {
    /// Of an alert of an incident.
    fn of_object(alert: &Value) -> Option<Self> {
        let owned = |key: &str| text(alert, key).map(str::to_owned);
        let facts = list(alert, "evidence").filter_map(|fact| {
            let value: FactValue = serde_json::from_value(fact.clone()).ok()?;
            Some((text(fact, "key")?.to_owned(), value.to_string()))
        });
        let peers = list(alert, "peers").filter_map(|peer| text(peer, "entity"));
        Some(Self {
            id: owned("id")?,
            detector: owned("detector")?,
            entity: owned("entity")?,
            peers: peers.map(str::to_owned).collect(),
            facts: facts.collect(),
            discovered: alert.get("discovered").and_then(Value::as_bool) == Some(true),
        })
    }

    pub(super) fn of_alert(alert: &Alert) -> Self {
        let facts = alert.statement.facts.iter();
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
                .map(|fact| (fact.key.to_string(), fact.value.to_string()))
                .collect(),
            discovered: alert.discovered,
        }
    }
}

impl ExceptionScope {
    pub(super) fn matches(
        &self,
        connection: &Connection,
        claim: &Claim,
    ) -> Result<bool, rusqlite::Error> {
        let is_it = self.detector == claim.detector
            && self
                .device
                .as_ref()
                .is_none_or(|device| *device == claim.entity)
            && self
                .peer
                .as_ref()
                .is_none_or(|peer| claim.peers.contains(peer))
            && self.facts.iter().all(|wanted| {
                let mut facts = claim.facts.iter();
                facts.any(|(key, text)| *key == wanted.key && *text == wanted.text)
            });
        match &self.label {
            Some(label) if is_it => Ok(assets::asset(connection, &claim.entity)?
                .labels
                .contains(label)),
            _ => Ok(is_it),
        }
    }

    pub(super) fn check(&self) -> Result<(), DatabaseError> {
        let refused = |why: &str| Err(DatabaseError::Refused(why.to_owned()));
        let named = [&self.device, &self.label, &self.peer];
        let names = named.into_iter().flatten();
        let facts = self.facts.iter().flat_map(|fact| [&fact.key, &fact.text]);
        let mut all = names.clone().chain(facts).chain([&self.detector]);
        if !all.all(|text| is_short(text, NAME_MAX)) || self.facts.len() > FACTS_MAX {
            return refused("an exception names 8 facts at most, in 256 characters each");
        }
        if self.detector.is_empty() || (names.count() == 0 && self.facts.is_empty()) {
            return refused(
                "an exception names a detector and something it is about: a device, a label, a peer or a fact",
            );
        }
        Ok(())
    }
}

/// How an incident stands to the exceptions that are live, and to one that is only thought of.
#[derive(Default)]
pub(in super::super) struct Standing {
    /// Whether it stays below the line for them.
    pub(in super::super) is_held: bool,
    /// Which.
    pub(in super::super) uses: Vec<ExceptionUse>,
}

impl Standing {
    pub(in super::super) fn of(
        connection: &Connection,
        incident: &Value,
        thought_of: Option<&ExceptionScope>,
    ) -> Result<Self, rusqlite::Error> {
        let claims: Vec<Claim> = list(incident, "alerts")
            .filter_map(Claim::of_object)
            .collect();
        let detectors: BTreeSet<&str> =
            claims.iter().map(|claim| claim.detector.as_str()).collect();
        let mut live: Vec<(u64, ExceptionScope)> = Vec::new();
        let mut query = connection
            .prepare_cached("SELECT id, scope FROM exceptions WHERE is_live AND detector = ?")?;
        for detector in detectors {
            let found = query.query_map([detector], |row| {
                Ok((row.get(0)?, row.get::<_, String>(1)?))
            })?;
            for one in found {
                let (id, scope): (u64, String) = one?;
                live.extend(serde_json::from_str(&scope).ok().map(|scope| (id, scope)));
            }
        }
        live.extend(thought_of.map(|scope| (0, scope.clone())));
        let mut matched = BTreeSet::new();
        let mut uses = Vec::new();
        for (id, scope) in live {
            let mut alerts = Vec::new();
            for claim in &claims {
                if scope.matches(connection, claim)? {
                    alerts.push(claim.id.clone());
                    matched.insert(claim.id.as_str());
                }
            }
            if !alerts.is_empty() {
                uses.push(ExceptionUse { id, alerts });
            }
        }
        let has_leading = claims.iter().any(|claim| claim.discovered);
        let mut leading = claims
            .iter()
            .filter(|claim| claim.discovered || !has_leading);
        Ok(Self {
            is_held: !uses.is_empty() && leading.all(|claim| matched.contains(claim.id.as_str())),
            uses,
        })
    }

    /// As it is kept; nothing for none.
    pub(in super::super) fn kept(&self) -> String {
        match self.uses.as_slice() {
            [] => String::new(),
            uses => serde_json::to_string(uses).unwrap_or_default(),
        }
    }
}

/// What was kept.
pub(in super::super) fn uses_of(kept: &str) -> Vec<ExceptionUse> {
    serde_json::from_str(kept).unwrap_or_default()
}
