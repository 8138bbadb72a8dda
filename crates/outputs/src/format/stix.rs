//! A STIX 2.1 bundle: the incident, who takes part as observables, what each alert saw as observed data, the
//! techniques as attack patterns, and indicators for suspects outside; a decision is a course of action. Ids are made of the content (UUID version 5), so
//! the same incident exported twice is the same objects.

use std::collections::BTreeMap;

use ring::digest;
use serde_json::{Value, json};
use thymus_schema::Timestamp;

use super::{Format, FormatError, PRODUCT, Shape, read};
use crate::escape;
use crate::record::{
    Claim, Kind, Level, Record, Story, Verdict, Who, everybody, technique_url, techniques, who,
};

pub(super) const FORMAT: Format = Format {
    id: "stix",
    about: "STIX 2.1 bundle",
    content_type: "application/stix+json;version=2.1",
    kinds: &[Kind::Incident, Kind::Decision],
    shape: Shape::Document(document),
};

/// The namespace of observables, by the standard (2.9).
const OBSERVABLES: [u8; 16] = [
    0x00, 0xab, 0xed, 0xb4, 0xaa, 0x42, 0x46, 0x6c, 0x9c, 0x01, 0xfe, 0xd2, 0x33, 0x15, 0xa9, 0xb7,
];
/// Ours, for all other objects.
const OURS: [u8; 16] = *b"thymus-stix-2.1\0";
/// When what is always the same was written.
const EPOCH: &str = "2026-01-01T00:00:00.000Z";

fn document(records: &[&Record]) -> Result<String, FormatError> {
    let mut bundle = Bundle::default();
    let author = bundle.author();
    let mut ids = String::new();
    for record in records {
        ids.push_str(&record.id);
        ids.push(' ');
        match record.kind {
            Kind::Decision => bundle.decision(&author, record.level(), &read(record)?),
            _ => bundle.incident(&author, record.level(), &read(record)?),
        }
    }
    let objects: Vec<Value> = bundle.objects.into_values().collect();
    let id = format!("bundle--{}", uuid(OURS, &ids));
    Ok(escape::json(
        &json!({ "type": "bundle", "id": id, "objects": objects }),
    ))
}

/// Objects by id, so that what several incidents share is there once.
#[derive(Default)]
struct Bundle {
    objects: BTreeMap<String, Value>,
}

impl Bundle {
    /// Adds an object and gives its id back.
    fn add(&mut self, object: Value) -> String {
        let id = object["id"].as_str().unwrap_or_default().to_owned();
        self.objects.insert(id.clone(), object);
        id
    }

    fn author(&mut self) -> String {
        self.add(json!({
            "type": "identity", "spec_version": "2.1", "id": named("identity", PRODUCT),
            "created": EPOCH, "modified": EPOCH, "name": PRODUCT, "identity_class": "system",
        }))
    }

    /// The standard has no words for what became of a course of action: its state and verb are labels. The same
    /// decision told later is a later version of the same object.
    fn decision(&mut self, author: &str, level: Level, said: &Verdict) {
        let common = common(author, level, said.proposed_at, said.at);
        let name = format!("{} {} {}", said.incident, said.id, stamp(said.proposed_at));
        let action = self.add(with(
            &common,
            json!({
                "type": "course-of-action", "id": named("course-of-action", &name), "name": said.title,
                "description": said.text, "labels": [label(&said.state), label(&said.verb)],
                "external_references": [{ "source_name": "thymus", "external_id": label(&said.id),
                    "description": said.why() }],
            }),
        ));
        for seen in self.observables(&Who::of(&said.device, "", &[])) {
            self.relate(&common, &action, "related-to", &seen);
        }
        // By its id alone: who has the incident knows it, and an empty one would take its place.
        if !said.incident.is_empty() {
            let incident = named("incident", &said.incident);
            self.relate(&common, &action, "related-to", &incident);
        }
    }

    fn incident(&mut self, author: &str, level: Level, story: &Story) {
        let last = stamp(story.last_seen);
        let common = common(author, level, story.first_seen, story.last_seen);
        let incident = self.add(with(
            &common,
            json!({
                "type": "incident", "id": named("incident", &story.id), "name": story.title,
                "description": format!("{}\n\n{}", story.hypothesis, story.narrative),
                "external_references": [{ "source_name": "thymus", "external_id": story.id }],
            }),
        ));
        let mut about = vec![incident.clone()];
        for technique in techniques(&story.techniques) {
            let pattern = self.add(json!({
                "type": "attack-pattern", "spec_version": "2.1",
                "id": named("attack-pattern", technique.id()), "created_by_ref": author,
                "created": EPOCH, "modified": EPOCH, "name": technique.name(),
                "external_references": [{ "source_name": "mitre-attack", "external_id": technique.id(),
                    "url": technique_url(technique.id()) }],
            }));
            about.push(self.relate(&common, &incident, "related-to", &pattern));
            about.push(pattern);
        }
        for (who, _) in everybody(story) {
            about.extend(self.observables(&who));
        }
        let mut observed = BTreeMap::new();
        for claim in &story.alerts {
            if let Some(id) = self.observed(&common, claim) {
                about.push(self.relate(&common, &incident, "related-to", &id));
                for entity in entities(claim) {
                    observed
                        .entry(entity.to_owned())
                        .or_insert_with(|| id.clone());
                }
                about.push(id);
            }
        }
        about.extend(self.indicators(&common, &incident, &observed, story));
        about.sort();
        about.dedup();
        self.add(with(
            &common,
            json!({
                "type": "report", "id": named("report", &story.id), "name": story.title,
                "description": story.next_steps.join("\n"), "report_types": ["threat-report"],
                "published": last, "object_refs": about,
            }),
        ));
    }

    /// What an alert saw; none when it names nobody that has an observable.
    fn observed(&mut self, common: &Value, claim: &Claim) -> Option<String> {
        let mut refs = Vec::new();
        for entity in entities(claim) {
            refs.extend(self.observables(&Who::of(entity, "", &[])));
        }
        refs.sort();
        refs.dedup();
        if refs.is_empty() {
            return None;
        }
        let (first, last) = (stamp(claim.first_seen), stamp(claim.last_seen));
        let mut object = with(
            common,
            json!({
                "type": "observed-data", "id": named("observed-data", &claim.id),
                "first_observed": first, "last_observed": last, "number_observed": 1,
                "object_refs": refs,
                "external_references": [{ "source_name": "thymus", "external_id": claim.id,
                    "description": claim.sentence() }],
            }),
        );
        object["created"] = json!(first);
        object["modified"] = json!(last);
        Some(self.add(object))
    }

    /// Suspects outside the local networks can be looked for elsewhere.
    fn indicators(
        &mut self,
        common: &Value,
        incident: &str,
        observed: &BTreeMap<String, String>,
        story: &Story,
    ) -> Vec<String> {
        let kind = if common["confidence"].as_u64() >= Some(85) {
            "malicious-activity"
        } else {
            "anomalous-activity"
        };
        let mut ids = Vec::new();
        for party in story.affected.iter().filter(|party| party.suspected) {
            let who = who(party);
            let Some(pattern) = pattern(&who).filter(|_| who.is_external) else {
                continue;
            };
            let id = self.add(with(
                common,
                json!({
                    "type": "indicator", "id": named("indicator", &format!("{} {pattern}", story.id)),
                    "name": who.label, "description": story.hypothesis, "indicator_types": [kind], "pattern": pattern,
                    "pattern_type": "stix", "valid_from": stamp(story.first_seen),
                }),
            ));
            ids.push(self.relate(common, incident, "related-to", &id));
            if let Some(seen) = observed.get(&party.entity) {
                ids.push(self.relate(common, &id, "based-on", seen));
            }
            ids.push(id);
        }
        ids
    }

    fn relate(&mut self, common: &Value, from: &str, how: &str, to: &str) -> String {
        self.add(with(
            common,
            json!({
                "type": "relationship", "id": named("relationship", &format!("{from} {how} {to}")),
                "relationship_type": how, "source_ref": from, "target_ref": to,
            }),
        ))
    }

    fn observables(&mut self, who: &Who) -> Vec<String> {
        let mut ids = Vec::new();
        for ip in &who.ips {
            let kind = if ip.is_ipv4() {
                "ipv4-addr"
            } else {
                "ipv6-addr"
            };
            ids.push(self.observable(kind, "value", &ip.to_string()));
        }
        for mac in &who.macs {
            let mac = mac.replace('-', ":").to_ascii_lowercase();
            ids.push(self.observable("mac-addr", "value", &mac));
        }
        if let Some(host) = who.host_name() {
            ids.push(self.observable("domain-name", "value", host));
        }
        if let Some(user) = &who.user {
            ids.push(self.observable("user-account", "account_login", user));
        }
        ids
    }

    fn observable(&mut self, kind: &str, key: &str, value: &str) -> String {
        let contents = json!({ key: value });
        let id = format!("{kind}--{}", uuid(OBSERVABLES, &contents.to_string()));
        self.add(with(
            &contents,
            json!({ "type": kind, "spec_version": "2.1", "id": id }),
        ))
    }
}

/// What all objects of an incident or a decision have.
fn common(author: &str, level: Level, created: Timestamp, modified: Timestamp) -> Value {
    let confidence = match level {
        Level::Low => 15,
        Level::Medium => 50,
        Level::High => 85,
    };
    json!({
        "spec_version": "2.1", "created_by_ref": author, "created": stamp(created),
        "modified": stamp(modified.max(created)), "confidence": confidence,
    })
}

/// Texts that the standard wants, also where there is none.
fn label(text: &str) -> &str {
    if text.is_empty() { "unknown" } else { text }
}

fn entities(claim: &Claim) -> impl Iterator<Item = &str> {
    let peers = claim.peers.iter().map(|peer| &*peer.entity);
    std::iter::once(&*claim.entity).chain(peers)
}

fn pattern(who: &Who) -> Option<String> {
    let (kind, value) = match (who.ips.first(), who.host_name()) {
        (Some(ip), _) if ip.is_ipv4() => ("ipv4-addr", ip.to_string()),
        (Some(ip), _) => ("ipv6-addr", ip.to_string()),
        (None, Some(host)) => ("domain-name", host.to_owned()),
        (None, None) => return None,
    };
    Some(format!(
        "[{kind}:value = '{}']",
        escape::stix_string(&value)
    ))
}

fn with(common: &Value, own: Value) -> Value {
    let mut object = common.clone();
    if let (Value::Object(into), Value::Object(own)) = (&mut object, own) {
        into.extend(own);
    }
    object
}

/// The id of an object of ours.
fn named(kind: &str, name: &str) -> String {
    format!("{kind}--{}", uuid(OURS, &format!("{kind} {name}")))
}

/// A UUID of version 5 (RFC 9562, 5.5).
fn uuid(namespace: [u8; 16], name: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(&namespace);
    context.update(name.as_bytes());
    let digest = context.finish();
    let mut bytes = *digest.as_ref().first_chunk::<16>().unwrap_or(&[0; 16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x50;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let mut out = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        out.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    out
}

/// A time with milliseconds, as the standard wants it.
fn stamp(ts: Timestamp) -> String {
    let millis = ts.as_nanos().div_euclid(1_000_000).rem_euclid(1_000);
    let whole = Timestamp::from_secs(ts.as_secs()).to_string();
    format!("{}.{millis:03}Z", whole.trim_end_matches('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_that_others_make_of_the_same_observable() {
        // Python: uuid.uuid5(UUID("00abedb4-..."), text).
        let id = uuid(OBSERVABLES, r#"{"value":"198.51.100.3"}"#);
        assert_eq!(id, "28bb3599-77cd-5a82-a950-b5bc3caf07c4");
    }

    #[test]
    fn times_have_three_digits() {
        let at = Timestamp::parse("2025-05-13T11:43:23.424243Z").unwrap();
        assert_eq!(stamp(at), "2025-05-13T11:43:23.424Z");
        assert_eq!(stamp(Timestamp::from_secs(0)), "1970-01-01T00:00:00.000Z");
    }
}
