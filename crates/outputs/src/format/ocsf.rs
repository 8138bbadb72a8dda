//! Open Cybersecurity Schema Framework: an incident is an Incident Finding (2005), an alert a Detection Finding
//! (2004), a decision a Network Remediation Activity (7004).

use serde_json::{Value, json};
use thymus_schema::Timestamp;

use super::{ATTACK_VERSION, Format, FormatError, PRODUCT, Shape, VERSION, read};
use crate::escape;
use crate::record::{
    Claim, Kind, Level, Record, Story, Verdict, Who, everybody, millis, tactic, technique_url,
    techniques,
};

pub(super) const FORMAT: Format = Format {
    id: "ocsf",
    about: "OCSF 1.8.0: Incident Finding (2005), Detection Finding (2004), Network Remediation Activity (7004)",
    content_type: "application/json",
    kinds: super::EVERYTHING,
    shape: Shape::Line(line),
};

/// The version of the schema.
const OCSF_VERSION: &str = "1.8.0";
const FINDINGS: u32 = 2;
const DETECTION_FINDING: u32 = 2004;
const INCIDENT_FINDING: u32 = 2005;
const REMEDIATION: u32 = 7;
const NETWORK_REMEDIATION: u32 = 7004;

/// Types of observables.
const HOST_NAME: u32 = 1;
const IP_ADDRESS: u32 = 2;
const MAC_ADDRESS: u32 = 3;
const USER_NAME: u32 = 4;
/// The kind of analysis: behaviour.
const BEHAVIORAL: u32 = 2;

fn line(record: &Record) -> Result<String, FormatError> {
    let object = match record.kind {
        Kind::Incident => incident(record, &read(record)?),
        Kind::Alert => alert(record, &read(record)?),
        Kind::Decision => decision(record, &read(record)?),
    };
    Ok(escape::json(&object))
}

fn incident(record: &Record, story: &Story) -> Value {
    let span = (story.first_seen, story.last_seen);
    let mut object = base(
        record,
        (INCIDENT_FINDING, "Incident Finding"),
        span,
        &story.id,
    );
    let mut findings: Vec<Value> = story.alerts.iter().map(finding).collect();
    if findings.is_empty() {
        findings.push(json!({
            "uid": story.id, "title": story.title, "desc": story.hypothesis,
            "attacks": attacks(&story.techniques, ""),
        }));
    }
    let people: Vec<Value> = story
        .affected
        .iter()
        .map(|party| {
            json!({ "entity": party.entity, "name": party.name, "suspected": party.suspected })
        })
        .collect();
    let more = json!({
        "message": story.title,
        "desc": story.hypothesis,
        "status_id": 1,
        "status": "New",
        // The class asks for one of the two; nobody has it yet.
        "assignee_group": { "name": "unassigned" },
        "finding_info_list": findings,
        "attacks": attacks(&story.techniques, ""),
        "observables": observables(everybody(story).iter().map(|(who, _)| who)),
        "unmapped": {
            "affected": people, "narrative": story.narrative, "next_steps": story.next_steps,
            "merged_from": story.merged_from, "minus_log10_p": story.p_value,
        },
    });
    extend(&mut object, more);
    object
}

fn alert(record: &Record, claim: &Claim) -> Value {
    let span = (claim.first_seen, claim.last_seen);
    let mut object = base(
        record,
        (DETECTION_FINDING, "Detection Finding"),
        span,
        &claim.incident,
    );
    let subject = Who::of(&claim.entity, "", &[]);
    let peers: Vec<Who> = claim
        .peers
        .iter()
        .map(|peer| Who::of(&peer.entity, "", &[]))
        .collect();
    let mut evidences: Vec<Value> = peers
        .iter()
        .map(|peer| json!({ "src_endpoint": end_point(&subject), "dst_endpoint": end_point(peer) }))
        .collect();
    let facts = &record.body["evidence"];
    if facts.is_array() {
        evidences.push(json!({ "name": "facts", "data": facts }));
    }
    let more = json!({
        "message": claim.sentence(),
        "status_id": 1,
        "status": "New",
        "is_alert": true,
        "finding_info": finding(claim),
        "resources": [resource(&subject, &claim.entity)],
        "observables": observables(std::iter::once(&subject).chain(&peers)),
        "unmapped": {
            "phase": claim.phase, "normal": claim.counterfactual, "minus_log10_p": claim.p_value,
        },
    });
    extend(&mut object, more);
    if !evidences.is_empty() {
        object["evidences"] = json!(evidences);
    }
    object
}

/// What was decided. The class knows only what was done or failed, so what waits or was never done has the status
/// Other, with Thymus' own word for it.
fn decision(record: &Record, said: &Verdict) -> Value {
    let (activity, word) = match (&*said.verb, &*said.state) {
        // Of the network nothing is cut by these.
        (verb @ ("notify" | "freeze_process" | "quarantine_file"), _) => (99, verb),
        (_, "cleared" | "expired" | "undone") => (3, "Restore"),
        _ => (1, "Isolate"),
    };
    let (status_id, status) = match &*said.state {
        "active" | "cleared" | "expired" | "undone" => (1, "Success"),
        "refused" => (2, "Failure"),
        other => (99, other),
    };
    let name = "Network Remediation Activity";
    let (severity_id, severity) = severity(record);
    let subject = Who::of(&said.device, "", &[]);
    let mut object = json!({
        "activity_id": activity, "activity_name": word,
        "category_uid": REMEDIATION, "category_name": "Remediation",
        "class_uid": NETWORK_REMEDIATION, "class_name": name,
        "type_uid": NETWORK_REMEDIATION * 100 + activity, "type_name": format!("{name}: {word}"),
        "severity_id": severity_id, "severity": severity,
        "time": millis(said.at), "start_time": millis(said.began_at.unwrap_or(said.proposed_at)),
        "metadata": metadata(record, &said.incident),
        "command_uid": said.id,
        // It is about many connections, in both directions.
        "connection_info": { "direction_id": 0, "direction": "Unknown" },
        "message": said.title,
        "status_id": status_id, "status": status, "status_code": said.state, "status_detail": said.why(),
        "remediation": { "desc": said.reason },
        "observables": observables(std::iter::once(&subject)),
        "unmapped": {
            "device": said.device, "incident": said.incident, "verb": said.verb, "by": said.by,
            "until": said.until.map(millis), "cuts": record.body["cuts"], "cuts_in_words": said.cuts_in_words,
        },
    });
    if activity == 1 {
        object["countermeasures"] = json!([{
            "d3f_tactic": { "name": "Isolate" },
            "d3f_technique": { "uid": "D3-NTF", "name": "Network Traffic Filtering",
                "src_url": "https://d3fend.mitre.org/technique/d3f:NetworkTrafficFiltering/" },
        }]);
    }
    object
}

fn severity(record: &Record) -> (u32, &'static str) {
    match record.level() {
        Level::Low => (2, "Low"),
        Level::Medium => (3, "Medium"),
        Level::High => (4, "High"),
    }
}

fn metadata(record: &Record, incident: &str) -> Value {
    json!({
        "version": OCSF_VERSION, "uid": record.id, "correlation_uid": incident,
        "product": { "name": PRODUCT, "vendor_name": PRODUCT, "version": VERSION },
    })
}

fn base(
    record: &Record,
    (class, name): (u32, &str),
    (first, last): (Timestamp, Timestamp),
    incident: &str,
) -> Value {
    let (activity, word) = if record.is_update {
        (2, "Update")
    } else {
        (1, "Create")
    };
    let (severity_id, severity) = severity(record);
    let (confidence_id, confidence) = match record.level() {
        Level::Low => (1, "Low"),
        Level::Medium => (2, "Medium"),
        Level::High => (3, "High"),
    };
    json!({
        "activity_id": activity, "activity_name": word,
        "category_uid": FINDINGS, "category_name": "Findings",
        "class_uid": class, "class_name": name,
        "type_uid": class * 100 + activity, "type_name": format!("{name}: {word}"),
        "severity_id": severity_id, "severity": severity,
        "confidence_id": confidence_id, "confidence": confidence,
        "time": millis(last), "start_time": millis(first), "end_time": millis(last),
        "metadata": metadata(record, incident),
    })
}

fn extend(object: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (object, more) {
        into.extend(more);
    }
}

fn finding(claim: &Claim) -> Value {
    json!({
        "uid": claim.id,
        "title": claim.title(),
        "desc": claim.sentence(),
        "analytic": { "name": claim.detector, "uid": claim.detector, "type_id": BEHAVIORAL, "type": "Behavioral" },
        "attacks": attacks(&claim.techniques, &claim.phase),
        "first_seen_time": millis(claim.first_seen),
        "last_seen_time": millis(claim.last_seen),
    })
}

/// A technique says nothing of the tactic it served here, so the phase stands by itself.
fn attacks(ids: &[String], phase: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for technique in techniques(ids) {
        let named = json!({
            "uid": technique.id(), "name": technique.name(), "src_url": technique_url(technique.id()),
        });
        let mut attack = json!({ "version": ATTACK_VERSION });
        match technique.id().split_once('.') {
            Some((whole, _)) => {
                attack["technique"] = json!({ "uid": whole });
                attack["sub_technique"] = named;
            }
            None => attack["technique"] = named,
        }
        all.push(attack);
    }
    if let Some(tactic) = tactic(phase) {
        all.push(json!({
            "version": ATTACK_VERSION, "tactic": { "uid": tactic.id, "name": tactic.name },
        }));
    }
    all
}

fn end_point(who: &Who) -> Value {
    let mut end = json!({ "name": who.label });
    if let Some(address) = who.ips.first() {
        end["ip"] = json!(address);
    }
    if let Some(host) = who.host_name() {
        end["hostname"] = json!(host);
    }
    end
}

fn resource(who: &Who, entity: &str) -> Value {
    let mut resource = json!({ "uid": entity, "name": who.label });
    if let Some(address) = who.ips.first() {
        resource["ip"] = json!(address);
    }
    if let Some(host) = who.host_name() {
        resource["hostname"] = json!(host);
    }
    resource
}

fn observables<'a>(all: impl Iterator<Item = &'a Who>) -> Vec<Value> {
    let mut found: Vec<(u32, &str, String)> = Vec::new();
    for who in all {
        found.extend(
            who.ips
                .iter()
                .map(|ip| (IP_ADDRESS, "IP Address", ip.to_string())),
        );
        found.extend(
            who.host_name()
                .map(|host| (HOST_NAME, "Hostname", host.to_owned())),
        );
        found.extend(who.macs.iter().map(|mac| {
            let mac = mac.replace('-', ":").to_ascii_lowercase();
            (MAC_ADDRESS, "MAC Address", mac)
        }));
        found.extend(
            who.user
                .iter()
                .map(|user| (USER_NAME, "User Name", user.clone())),
        );
    }
    found.sort();
    found.dedup();
    found
        .into_iter()
        .map(|(id, kind, value)| json!({ "type_id": id, "type": kind, "value": value }))
        .collect()
}
