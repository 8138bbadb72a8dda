//! How an incident stands to the exceptions, and the tripwire inside them: what is clearly worse than what was
//! seen when an exception was made is shown all the same, and says why.

use std::collections::BTreeSet;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use thymus_schema::Phase;
use utoipa::ToSchema;

use super::super::claim::{Claim, Level};
use super::scope::ExceptionScope;

/// So many times the most bytes or counts an hour that were seen trip the wire.
pub(super) const AMOUNT_FACTOR: f64 = 3.0;
/// And so much rarer than the rarest that was seen, as −log10: a hundred times.
pub(super) const RARITY_STEP: f64 = 2.0;

/// What was seen of that which an exception is about when it was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SeenBefore {
    /// Alerts, of all stored history; without any there is no tripwire by rarity and amounts.
    pub alerts: u64,
    /// The most of each.
    #[serde(flatten)]
    pub most: Level,
}

impl SeenBefore {
    pub(in super::super) fn include(&mut self, level: &Level) {
        self.alerts += 1;
        self.most.include(level);
    }

    /// Why this is clearly worse than all of it, which was seen `when`.
    pub(in super::super) fn exceeded_by(&self, level: &Level, when: &str) -> Option<String> {
        if self.alerts == 0 {
            return None;
        }
        let amounts = level.amounts.iter().filter_map(|(key, amount)| {
            let most = self.most.amounts.get(key)?;
            Some((key, amount / most.max(1.0)))
        });
        let worst = amounts.max_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((key, times)) = worst.filter(|(_, times)| *times > AMOUNT_FACTOR) {
            let key = key.replace('_', " ");
            return Some(format!(
                "{key} in an hour is {times:.0} times the most that was seen {when}"
            ));
        }
        let rarer = level.rarity - self.most.rarity;
        (rarer > RARITY_STEP).then(|| {
            let times = 10f64.powf(rarer.min(12.0));
            format!("it is {times:.0} times rarer than what was seen {when}")
        })
    }
}

/// An exception at an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExceptionUse {
    /// Its number.
    pub id: u64,
    /// The alerts it is about.
    pub alerts: Vec<String>,
    /// Why the incident is shown all the same: what in it is worse than, or besides, what the exception is about.
    #[serde(default)]
    pub tripped: Option<String>,
}

/// How an incident stands to the exceptions that are live, and to one that is only thought of.
#[derive(Default)]
pub(in super::super) struct Standing {
    /// Whether it stays below the line for them.
    pub(in super::super) is_held: bool,
    /// Which.
    pub(in super::super) uses: Vec<ExceptionUse>,
}

struct Live {
    id: u64,
    scope: ExceptionScope,
    seen: SeenBefore,
}

impl Standing {
    pub(in super::super) fn of(
        connection: &Connection,
        claims: &[Claim],
        thought_of: Option<&ExceptionScope>,
    ) -> Result<Self, rusqlite::Error> {
        let mut live = live(connection, claims)?;
        live.extend(thought_of.map(|scope| Live {
            id: 0,
            scope: scope.clone(),
            seen: SeenBefore::default(),
        }));
        let (mut held, mut worse) = (BTreeSet::new(), BTreeSet::new());
        let mut uses = Vec::new();
        for Live { id, scope, seen } in live {
            let mut alerts = Vec::new();
            let mut tripped = None;
            for claim in claims {
                if !scope.matches(connection, claim)? {
                    continue;
                }
                alerts.push(claim.id.clone());
                match seen.exceeded_by(&claim.level, "when it was made") {
                    None => held.insert(claim.id.as_str()),
                    Some(why) => {
                        tripped.get_or_insert(why);
                        worse.insert(claim.id.as_str())
                    }
                };
            }
            if !alerts.is_empty() {
                uses.push(ExceptionUse {
                    id,
                    alerts,
                    tripped,
                });
            }
        }
        if uses.is_empty() {
            return Ok(Self::default());
        }
        let besides = besides(claims, &held, &worse);
        let is_held = besides.is_none() && worse.is_subset(&held);
        for one in &mut uses {
            if is_held {
                one.tripped = None;
            } else if one.tripped.is_none() {
                one.tripped.clone_from(&besides);
            }
        }
        Ok(Self { is_held, uses })
    }

    /// As it is kept; nothing for none.
    pub(in super::super) fn kept(&self) -> String {
        match self.uses.as_slice() {
            [] => String::new(),
            uses => serde_json::to_string(uses).unwrap_or_default(),
        }
    }
}

/// What no exception is about: another leading alert, or one of another detector that goes further into an attack
/// than what is excepted, be it rare enough by itself or not.
fn besides(claims: &[Claim], held: &BTreeSet<&str>, worse: &BTreeSet<&str>) -> Option<String> {
    let is_about =
        |claim: &Claim| held.contains(claim.id.as_str()) || worse.contains(claim.id.as_str());
    let excepted = || claims.iter().filter(|claim| is_about(claim));
    let furthest: Option<Phase> = excepted().filter_map(|claim| claim.phase).max();
    let detectors: BTreeSet<&str> = excepted().map(|claim| claim.detector.as_str()).collect();
    let goes_further = |claim: &&Claim| {
        !is_about(claim)
            && !detectors.contains(claim.detector.as_str())
            && claim.phase.is_some_and(|phase| furthest < Some(phase))
    };
    let said = |claim: &Claim| {
        let phase = claim.phase.unwrap_or(Phase::Unusual).title().to_lowercase();
        format!("{} ({phase})", claim.detector)
    };
    if let Some(further) = claims
        .iter()
        .filter(goes_further)
        .max_by_key(|claim| claim.phase)
    {
        let said = said(further);
        return Some(format!(
            "it is not about {said}, which goes further than what is excepted"
        ));
    }
    let other = Claim::leading(claims).find(|claim| !is_about(claim))?;
    Some(format!("it is not about {} that is in it too", said(other)))
}

fn live(connection: &Connection, claims: &[Claim]) -> Result<Vec<Live>, rusqlite::Error> {
    let detectors: BTreeSet<&str> = claims.iter().map(|claim| claim.detector.as_str()).collect();
    let mut query = connection
        .prepare_cached("SELECT id, scope, seen FROM exceptions WHERE is_live AND detector = ?")?;
    let mut live = Vec::new();
    for detector in detectors {
        let found = query.query_map([detector], |row| {
            let texts: (String, String) = (row.get(1)?, row.get(2)?);
            Ok((row.get(0)?, texts))
        })?;
        for one in found {
            let (id, (scope, seen)) = one?;
            let Ok(scope) = serde_json::from_str(&scope) else {
                continue;
            };
            let seen = seen_of(&seen).unwrap_or_default();
            live.push(Live { id, scope, seen });
        }
    }
    Ok(live)
}

/// What was seen, as it was kept; nothing for an exception of before there was a tripwire.
pub(super) fn seen_of(kept: &str) -> Option<SeenBefore> {
    serde_json::from_str(kept).ok()
}

/// What was kept.
pub(in super::super) fn uses_of(kept: &str) -> Vec<ExceptionUse> {
    serde_json::from_str(kept).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_wire_trips_by_amount_and_by_rarity_and_only_beyond_what_was_seen() {
        let level = |rarity: f64, up: f64| Level {
            rarity,
            amounts: BTreeMap::from([("up".to_owned(), up)]),
        };
        let seen = SeenBefore {
            alerts: 2,
            most: level(4.0, 100.0),
        };
        assert_eq!(seen.exceeded_by(&level(6.0, 300.0), "then"), None);
        let why = seen.exceeded_by(&level(4.0, 500.0), "then").unwrap();
        assert!(why.contains("up in an hour is 5 times"), "{why}");
        let why = seen.exceeded_by(&level(6.5, 1.0), "then").unwrap();
        assert!(why.contains("316 times rarer"), "{why}");
        assert_eq!(
            SeenBefore::default().exceeded_by(&level(9.0, 9e9), "then"),
            None
        );
    }
}
