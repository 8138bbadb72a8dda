//! Elastic Common Schema.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Map, Value, json};
use thymus_schema::Timestamp;

use super::{Format, FormatError, PRODUCT, Shape, VERSION, read};
use crate::escape;
use crate::record::{
    Claim, Kind, Level, Record, Story, Tactic, Verdict, Who, everybody, tactic, tactics,
    technique_url, techniques,
};

pub(super) const FORMAT: Format = Format {
    id: "ecs",
    about: "Elastic Common Schema 9.4.0",
    content_type: "application/json",
    kinds: super::EVERYTHING,
    shape: Shape::Line(line),
};

/// The version of the schema.
pub(super) const ECS_VERSION: &str = "9.4.0";

fn line(record: &Record) -> Result<String, FormatError> {
    let object = match record.kind {
        Kind::Incident => incident(record, &read(record)?),
        Kind::Alert => alert(record, &read(record)?),
        Kind::Decision => decision(record, &read(record)?),
    };
    Ok(escape::json(&object))
}

fn incident(record: &Record, story: &Story) -> Value {
    let everybody = everybody(story);
    let mut object = base(record, (story.first_seen, story.last_seen));
    object.insert("message".to_owned(), json!(story.title));
    merge(
        &mut object,
        "event",
        json!({
            "action": if record.is_update { "incident-updated" } else { "incident-created" },
            "dataset": "thymus.incident",
            "reason": story.hypothesis,
            "original": escape::json(&record.body),
        }),
    );
    object.insert(
        "rule".to_owned(),
        json!({ "id": story.id, "name": story.hypothesis, "ruleset": "thymus.analyst",
            "description": story.narrative }),
    );
    threat(&mut object, &tactics(story), &story.techniques);
    let suspect = everybody.iter().find(|(_, party)| party.suspected);
    host(&mut object, suspect.map(|(who, _)| who));
    related(&mut object, everybody.iter().map(|(who, _)| who));
    Value::Object(object)
}

fn alert(record: &Record, claim: &Claim) -> Value {
    let subject = Who::of(&claim.entity, "", &[]);
    let peers: Vec<Who> = claim
        .peers
        .iter()
        .map(|peer| Who::of(&peer.entity, "", &[]))
        .collect();
    let mut object = base(record, (claim.first_seen, claim.last_seen));
    object.insert("message".to_owned(), json!(claim.sentence()));
    merge(
        &mut object,
        "event",
        json!({
            "action": claim.detector,
            "dataset": "thymus.alert",
            "reason": claim.sentence(),
            "original": escape::json(&record.body),
        }),
    );
    object.insert(
        "rule".to_owned(),
        json!({ "id": claim.detector, "name": claim.title(), "ruleset": "thymus.detectors",
            "uuid": claim.id }),
    );
    object.insert("labels".to_owned(), json!({ "incident": claim.incident }));
    let tactic = tactic(&claim.phase);
    threat(&mut object, tactic.as_slice(), &claim.techniques);
    host(&mut object, Some(&subject));
    related(&mut object, std::iter::once(&subject).chain(&peers));
    Value::Object(object)
}

fn decision(record: &Record, said: &Verdict) -> Value {
    let subject = Who::of(&said.device, "", &[]);
    let began = said.began_at.unwrap_or(said.proposed_at);
    let mut object = base(record, (began, said.at));
    object.insert("message".to_owned(), json!(said.title));
    let (types, outcome) = match &*said.state {
        "active" => (json!(["denied", "start"]), "success"),
        "pending" => (json!(["info"]), "unknown"),
        "denied" | "lapsed" | "refused" => (json!(["info"]), "failure"),
        _ => (json!(["end"]), "success"),
    };
    // Until it is over nobody knows when it ends; what is planned is in `original`.
    if matches!(&*said.state, "active" | "pending")
        && let Some(Value::Object(event)) = object.get_mut("event")
    {
        event.remove("end");
    }
    merge(
        &mut object,
        "event",
        json!({
            "kind": "event", "category": ["network"], "type": types, "outcome": outcome,
            "action": format!("decision-{}", said.state),
            "dataset": "thymus.decision",
            "reason": said.why(),
            "original": escape::json(&record.body),
        }),
    );
    object.insert(
        "rule".to_owned(),
        json!({ "id": said.id, "name": said.verb, "ruleset": "thymus.respond",
            "description": said.reason }),
    );
    object.insert(
        "labels".to_owned(),
        json!({ "incident": said.incident, "cuts": said.cuts_in_words.join("; ") }),
    );
    host(&mut object, Some(&subject));
    related(&mut object, std::iter::once(&subject));
    Value::Object(object)
}

fn base(record: &Record, (first, last): (Timestamp, Timestamp)) -> Map<String, Value> {
    let severity = match record.level() {
        Level::Low => 21,
        Level::Medium => 47,
        Level::High => 73,
    };
    let object = json!({
        "@timestamp": last,
        "ecs": { "version": ECS_VERSION },
        "event": {
            "kind": "alert", "category": ["intrusion_detection", "network"], "type": ["info"],
            "module": "thymus", "provider": "thymus", "id": record.id, "start": first, "end": last,
            "severity": severity, "risk_score": record.body["p_value"].as_f64().unwrap_or_default(),
        },
        "observer": { "vendor": PRODUCT, "product": PRODUCT, "type": "ids", "version": VERSION },
        "tags": ["thymus"],
    });
    match object {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn merge(object: &mut Map<String, Value>, key: &str, more: Value) {
    if let (Some(Value::Object(into)), Value::Object(more)) = (object.get_mut(key), more) {
        into.extend(more);
    }
}

fn threat(object: &mut Map<String, Value>, tactics: &[Tactic], ids: &[String]) {
    let techniques = techniques(ids);
    if tactics.is_empty() && techniques.is_empty() {
        return;
    }
    // A parent and its part are fields of their own, each a list without pairs.
    let (parts, wholes): (Vec<_>, Vec<_>) = techniques
        .iter()
        .partition(|technique| technique.id().contains('.'));
    let mut of_attack = json!({ "framework": "MITRE ATT&CK" });
    if !tactics.is_empty() {
        of_attack["tactic"] = json!({
            "id": each(tactics, |tactic| tactic.id.to_owned()),
            "name": each(tactics, |tactic| tactic.name.to_owned()),
        });
    }
    let named = |all: &[thymus_schema::Technique]| {
        json!({
            "id": each(all, |one| one.id().to_owned()),
            "name": each(all, |one| one.name().to_owned()),
            "reference": each(all, |one| technique_url(one.id())),
        })
    };
    if !techniques.is_empty() {
        of_attack["technique"] = if wholes.is_empty() {
            json!({})
        } else {
            named(&wholes)
        };
    }
    if !parts.is_empty() {
        of_attack["technique"]["subtechnique"] = named(&parts);
    }
    object.insert("threat".to_owned(), of_attack);
}

fn each<T>(all: &[T], of: impl Fn(&T) -> String) -> Vec<String> {
    all.iter().map(of).collect()
}

fn host(object: &mut Map<String, Value>, who: Option<&Who>) {
    let Some(who) = who.filter(|who| !who.is_external && who.user.is_none()) else {
        return;
    };
    let mut host = json!({ "name": who.hosts.first().unwrap_or(&who.label) });
    if !who.ips.is_empty() {
        host["ip"] = json!(who.ips);
    }
    if !who.macs.is_empty() {
        host["mac"] = json!(who.macs);
    }
    object.insert("host".to_owned(), host);
}

fn related<'a>(object: &mut Map<String, Value>, all: impl Iterator<Item = &'a Who>) {
    let mut ips: BTreeSet<IpAddr> = BTreeSet::new();
    let mut hosts: BTreeSet<&str> = BTreeSet::new();
    let mut users: BTreeSet<&str> = BTreeSet::new();
    for who in all {
        ips.extend(&who.ips);
        hosts.extend(who.hosts.iter().map(String::as_str));
        users.extend(who.user.as_deref());
    }
    let mut related = Map::new();
    for (key, values, is_empty) in [
        ("ip", json!(ips), ips.is_empty()),
        ("hosts", json!(hosts), hosts.is_empty()),
        ("user", json!(users), users.is_empty()),
    ] {
        if !is_empty {
            related.insert(key.to_owned(), values);
        }
    }
    if !related.is_empty() {
        object.insert("related".to_owned(), Value::Object(related));
    }
}
