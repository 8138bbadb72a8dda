//! What exceptions are about.

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::claim::Claim;
use super::super::error::DatabaseError;
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
