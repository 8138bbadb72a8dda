//! What of the incidents in the journal is news. The journal has an incident again whenever anything of it changed, a
//! rank or a digit of a probability; people and their ticket systems want to hear when the story changed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thymus_schema::Timestamp;

use crate::record::{Claim, Kind, Record, Story};

/// Incidents remembered; the ones told longest ago are forgotten first.
const TOLD_MAX: usize = 10_000;
/// An incident that goes on without changing is told again after so long.
const REMIND: Duration = Duration::from_hours(24);

/// What was told. It is plain data, so that it can be kept with the place in the journal that it belongs to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tracker {
    told: BTreeMap<String, Told>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Told {
    /// Of what makes the story.
    digest: u64,
    last_seen: Timestamp,
    /// The frame that told it last.
    frame: u64,
    /// Digests of its alerts, by id.
    alerts: BTreeMap<String, u64>,
}

impl Tracker {
    /// The news in incidents of the frame `frame`: an incident when it is first shown, and again when its story
    /// changed; each of its alerts with it. The same frames in the same order give the same records.
    pub fn news(&mut self, frame: u64, incidents: &[Value]) -> Vec<Record> {
        let mut records = Vec::new();
        for incident in incidents {
            if let Ok(story) = serde_json::from_value::<Story>(incident.clone()) {
                self.one(frame, incident, &story, &mut records);
            }
        }
        self.forget();
        records
    }

    fn one(&mut self, frame: u64, incident: &Value, story: &Story, records: &mut Vec<Record>) {
        let known = self.told.get(&story.id);
        // Below the line is told of who was above it, and of nobody else.
        if known.is_none() && !story.shown {
            return;
        }
        let digest = story_digest(story);
        let goes_on = |told: &Told| story.last_seen.since(told.last_seen) >= REMIND;
        let is_news = known.is_none_or(|told| told.digest != digest || goes_on(told));
        if !is_news {
            return;
        }
        records.push(Record::new(
            Kind::Incident,
            known.is_some(),
            incident.clone(),
        ));
        let mut alerts = BTreeMap::new();
        for (value, claim) in values(incident).zip(&story.alerts) {
            let digest = claim_digest(claim);
            let before = known.and_then(|told| told.alerts.get(&claim.id));
            if before != Some(&digest) {
                let mut body = value.clone();
                if let Value::Object(fields) = &mut body {
                    fields.insert("incident".to_owned(), json!(story.id));
                    fields.insert("confidence".to_owned(), json!(story.confidence));
                }
                records.push(Record::new(Kind::Alert, before.is_some(), body));
            }
            alerts.insert(claim.id.clone(), digest);
        }
        let told = Told {
            digest,
            last_seen: story.last_seen,
            frame,
            alerts,
        };
        for merged in &story.merged_from {
            self.told.remove(merged);
        }
        self.told.insert(story.id.clone(), told);
    }

    fn forget(&mut self) {
        while self.told.len() > TOLD_MAX {
            let oldest = self.told.iter().min_by_key(|(_, told)| told.frame);
            let Some(id) = oldest.map(|(id, _)| id.clone()) else {
                return;
            };
            self.told.remove(&id);
        }
    }
}

fn values(incident: &Value) -> impl Iterator<Item = &Value> {
    incident["alerts"].as_array().into_iter().flatten()
}

/// Of what makes a person look again: not of ranks, probabilities, times and counts.
fn story_digest(story: &Story) -> u64 {
    let who: Vec<_> = story
        .affected
        .iter()
        .map(|party| (&party.entity, party.suspected))
        .collect();
    let alerts: Vec<_> = story.alerts.iter().map(|claim| &claim.id).collect();
    digest(&json!([
        story.title,
        story.hypothesis,
        story.confidence,
        story.shown,
        who,
        story.techniques,
        alerts
    ]))
}

fn claim_digest(claim: &Claim) -> u64 {
    let peers: Vec<_> = claim.peers.iter().map(|peer| &peer.entity).collect();
    digest(&json!([claim.phase, peers, claim.techniques]))
}

fn digest(value: &Value) -> u64 {
    let whole = blake3::hash(value.to_string().as_bytes());
    u64::from_le_bytes(*whole.as_bytes().first_chunk().unwrap_or(&[0; 8]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident(shown: bool, last_seen: &str, alerts: &[&str]) -> Value {
        let alerts: Vec<Value> = alerts
            .iter()
            .map(|id| json!({"id": id, "detector": "beacon", "phase": "control", "p_value": 4.0}))
            .collect();
        json!({"id": "aa", "rank": 1, "shown": shown, "title": "t", "confidence": "low", "p_value": 4.0,
            "first_seen": "2024-05-06T09:00:00Z", "last_seen": last_seen, "alerts": alerts})
    }

    fn ids(records: &[Record]) -> Vec<(Kind, bool, String)> {
        let each = records.iter();
        each.map(|record| {
            let id = record.body["id"].as_str().unwrap().to_owned();
            (record.kind, record.is_update, id)
        })
        .collect()
    }

    #[test]
    fn a_story_is_told_when_it_changes_and_not_when_a_digit_does() {
        let mut tracker = Tracker::default();
        let below = incident(false, "2024-05-06T10:00:00Z", &["b"]);
        assert_eq!(tracker.news(1, &[below]), []);
        let mut shown = incident(true, "2024-05-06T10:00:00Z", &["b"]);
        let first = tracker.news(2, &[shown.clone()]);
        assert_eq!(
            ids(&first),
            [
                (Kind::Incident, false, "aa".into()),
                (Kind::Alert, false, "b".into())
            ]
        );
        assert_eq!(first[1].body["incident"], "aa");
        shown["p_value"] = json!(4.5);
        shown["rank"] = json!(7);
        shown["last_seen"] = json!("2024-05-06T11:00:00Z");
        assert_eq!(tracker.news(3, &[shown]), []);
        let more = incident(true, "2024-05-06T11:00:00Z", &["b", "c"]);
        assert_eq!(
            ids(&tracker.news(4, &[more])),
            [
                (Kind::Incident, true, "aa".into()),
                (Kind::Alert, false, "c".into())
            ]
        );
        let gone = incident(false, "2024-05-06T11:00:00Z", &["b", "c"]);
        assert_eq!(
            ids(&tracker.news(5, &[gone])),
            [(Kind::Incident, true, "aa".into())]
        );
    }

    #[test]
    fn an_incident_that_goes_on_is_told_once_a_day() {
        let mut tracker = Tracker::default();
        let at = |day: u32| incident(true, &format!("2024-05-{day:02}T10:00:00Z"), &["b"]);
        let told: Vec<usize> = [6, 6, 7, 7, 8]
            .map(|day| tracker.news(u64::from(day), &[at(day)]).len())
            .into();
        assert_eq!(told, [2, 0, 1, 0, 1]);
    }

    #[test]
    fn what_was_told_is_kept_as_data_and_bounded() {
        let mut tracker = Tracker::default();
        let many: Vec<Value> = (0..TOLD_MAX + 5)
            .map(|n| {
                let mut one = incident(true, "2024-05-06T10:00:00Z", &[]);
                one["id"] = json!(format!("{n:016x}"));
                one
            })
            .collect();
        assert_eq!(tracker.news(1, &many).len(), TOLD_MAX + 5);
        assert_eq!(tracker.told.len(), TOLD_MAX);
        let text = serde_json::to_string(&tracker).unwrap();
        assert_eq!(serde_json::from_str::<Tracker>(&text).unwrap(), tracker);
        assert_eq!(
            tracker.news(2, &[json!("no incident"), json!({"id": 7})]),
            []
        );
    }
}
