//! Incidents with names that an attacker would choose, for tests and for fuzzing.

use serde_json::json;

use crate::escape::is_unsafe;
use crate::format::FORMATS;
use crate::record::{Kind, Record};

/// An incident whose every text is `name`.
pub fn hostile(name: &str) -> Record {
    let device = json!({
        "entity": "device:10.0.0.7", "name": name, "suspected": true,
        "aliases": ["10.0.0.7", "fe80::1", "00:50:56:5b:6c:cb", name],
    });
    let outside = json!({
        "entity": format!("external:{name}"), "name": name, "suspected": true, "aliases": [],
    });
    let user = json!({
        "entity": format!("user:{name}"), "name": name, "suspected": false, "aliases": [],
    });
    let alert = json!({
        "id": "bb", "detector": "beacon", "entity": "device:10.0.0.7", "phase": "control",
        "peers": [
            { "role": "controller", "entity": format!("external:{name}") },
            { "role": "account", "entity": format!("user:{name}") },
        ],
        "techniques": ["T1071.001", "T9999", name], "p_value": 7.25, "statement": name,
        "first_seen": "2024-05-06T09:00:00Z", "last_seen": "2024-05-06T10:00:00.000000001Z",
        "counterfactual": name,
        "evidence": [{ "key": "n", "type": "name", "value": name, "text": name }],
    });
    let body = json!({
        "id": "aa", "title": name, "hypothesis": name, "confidence": "medium", "p_value": 7.25,
        "shown": true, "affected": [device, outside, user], "techniques": ["T0855", "T1071.001"],
        "first_seen": "2024-05-06T09:00:00Z", "last_seen": "2024-05-06T10:00:00Z",
        "narrative": name, "next_steps": [name], "merged_from": [], "alerts": [alert],
    });
    Record::new(Kind::Incident, false, body)
}

/// A decision about the incident of [`hostile`], whose every text is `name`.
pub fn hostile_decision(name: &str, state: &str) -> Record {
    let is_over = !matches!(state, "pending" | "active");
    let until = (!is_over).then_some("2024-05-06T11:00:00Z");
    let body = json!({
        "id": "d7", "title": name, "text": format!("{name}\n\n{name}"), "state": state,
        "verb": "block_pattern", "device": "device:10.0.0.7", "incident": "aa",
        "confidence": "high", "mode": "approve", "reason": name,
        "cuts": [{ "what": "pattern", "client": "10.0.0.7/32", "server": "192.0.2.1/32",
            "port": { "transport": "tcp", "port": 443 } }],
        "cuts_in_words": ["10.0.0.7 to 192.0.2.1 by tcp/443", name],
        "rehearsal": { "days": 7, "flows": 10, "cut": 0 },
        "proposed_at": "2024-05-06T10:00:00Z", "until": until, "confirm_by": null,
        "began_at": (state == "active").then_some("2024-05-06T10:00:10Z"),
        "by": name, "why": name, "at": "2024-05-06T10:00:10Z",
        "link": (state == "pending").then_some("https://thymus.example.org/approve/0"),
    });
    Record::new(Kind::Decision, state != "pending", body)
}

/// Writes an incident and a decision with these bytes for names in every format, for the fuzzer.
///
/// # Panics
/// When a name leaves its line, or something gets through that steers a terminal.
pub fn fuzz(bytes: &[u8]) {
    let name = String::from_utf8_lossy(bytes);
    let records = [hostile(&name), hostile_decision(&name, "pending")];
    for (record, format) in records
        .iter()
        .flat_map(|one| FORMATS.iter().map(move |f| (one, f)))
        .filter(|(record, format)| format.takes(record.kind))
    {
        let text = format.one(record).unwrap_or_default();
        assert!(!text.is_empty(), "{} wrote nothing", format.id);
        assert!(!text.chars().any(is_unsafe), "{}: {text:?}", format.id);
    }
}
