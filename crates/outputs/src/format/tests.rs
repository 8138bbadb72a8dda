//! Each format against the schema that its authors publish, over an intrusion of the demo and over names that an
//! attacker would choose.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::syslog::{self, Sender};
use super::*;
use crate::probe::{hostile, hostile_decision};
use crate::record::Record;

const INTRUSION: &str = include_str!("../../cases/intrusion.json");
const HOSTILE: &str = "x\r\n<14>1 - evil|a=b\\]\" \u{1b}[2J\u{202e}\u{9b}\u{0}' 企業";

fn intrusion() -> Record {
    Record::new(
        Kind::Incident,
        false,
        serde_json::from_str(INTRUSION).unwrap(),
    )
}

/// The alerts of an incident, as they are told.
fn alerts(incident: &Record) -> Vec<Record> {
    let body = &incident.body;
    let each = body["alerts"].as_array().unwrap().iter();
    each.map(|alert| {
        let mut alert = alert.clone();
        alert["incident"] = body["id"].clone();
        alert["confidence"] = body["confidence"].clone();
        Record::new(Kind::Alert, true, alert)
    })
    .collect()
}

/// A decision in each of its states, and one by hand about a whole device that no incident names.
fn decisions() -> Vec<Record> {
    let states = [
        "pending", "active", "denied", "lapsed", "cleared", "expired", "undone", "refused",
    ];
    let mut all: Vec<Record> = states.map(|state| hostile_decision(HOSTILE, state)).into();
    let bare = json!({"id": "d8", "title": "d8 holds: tell somebody, x", "state": "active", "verb": "notify",
        "device": "device:reception", "incident": "", "at": "2024-05-06T09:00:00Z",
        "proposed_at": "2024-05-06T09:00:00Z", "by": null, "why": null});
    all.push(Record::new(Kind::Decision, false, bare));
    all
}

/// What the tests look at: incidents, alerts and decisions, real and hostile, and an incident with next to nothing in
/// it.
fn everything() -> Vec<Record> {
    let (real, forged) = (intrusion(), hostile(HOSTILE));
    let bare = json!({"id": "cc", "title": "t", "first_seen": "2024-05-06T09:00:00Z",
        "last_seen": "2024-05-06T09:00:00Z"});
    let mut all = alerts(&real);
    all.extend(alerts(&forged));
    all.extend([real, forged, Record::new(Kind::Incident, true, bare)]);
    all.extend(decisions());
    let smaller: Vec<Record> = all
        .iter()
        .flat_map(|record| (1..=Record::STEPS).map(|step| record.smaller(step)))
        .collect();
    all.extend(smaller);
    all
}

fn format(id: &str) -> &'static Format {
    Format::by_id(id).unwrap()
}

fn object(id: &str, record: &Record) -> Value {
    serde_json::from_str(&format(id).one(record).unwrap()).unwrap()
}

#[test]
fn the_table_is_sorted_and_the_same_record_gives_the_same_bytes() {
    assert!(FORMATS.windows(2).all(|pair| pair[0].id < pair[1].id));
    for format in FORMATS {
        for record in everything()
            .iter()
            .filter(|record| format.takes(record.kind))
        {
            let once = format.one(record).unwrap();
            assert_eq!(once, format.one(&record.clone()).unwrap());
            assert_eq!(once.lines().count(), 1, "{}: {once}", format.id);
            assert!(
                !once.chars().any(crate::escape::is_unsafe),
                "{}: {once}",
                format.id
            );
        }
    }
}

#[test]
fn what_is_no_incident_is_refused_by_name() {
    let record = Record::new(Kind::Incident, false, json!({"id": "aa", "alerts": "none"}));
    let error = format("cef").one(&record).unwrap_err();
    assert!(error.to_string().starts_with("incident aa-"), "{error}");
}

#[test]
fn ocsf_is_valid_by_the_published_schema() {
    let schema = |text: &str| {
        let schema: Value = serde_json::from_str(text).unwrap();
        jsonschema::validator_for(&schema).unwrap()
    };
    let incident = schema(include_str!(
        "../../schemas/ocsf-1.8.0-incident_finding.json"
    ));
    let detection = schema(include_str!(
        "../../schemas/ocsf-1.8.0-detection_finding.json"
    ));
    let remediation = schema(include_str!(
        "../../schemas/ocsf-1.8.0-network_remediation_activity.json"
    ));
    for record in everything() {
        let found = object("ocsf", &record);
        let (validator, class) = match record.kind {
            Kind::Incident => (&incident, 2005),
            Kind::Alert => (&detection, 2004),
            Kind::Decision => (&remediation, 7004),
        };
        let wrong: Vec<String> = validator
            .iter_errors(&found)
            .map(|e| e.to_string())
            .collect();
        assert!(wrong.is_empty(), "{wrong:?} in {found}");
        assert_eq!(found["class_uid"], class);
        let activity = found["activity_id"].as_i64().unwrap();
        assert_eq!(found["type_uid"], class * 100 + activity);
        if record.kind != Kind::Decision {
            assert_eq!(activity, 1 + i64::from(record.is_update));
        }
    }
    let done = object("ocsf", &hostile_decision("x", "active"));
    assert_eq!(
        (&done["activity_name"], &done["status"]),
        (&json!("Isolate"), &json!("Success"))
    );
    assert_eq!(done["unmapped"]["until"], 1_714_993_200_000_i64);
    let over = object("ocsf", &hostile_decision("x", "cleared"));
    assert_eq!(
        (&over["activity_name"], &over["status_code"]),
        (&json!("Restore"), &json!("cleared"))
    );
    let asked = object("ocsf", &hostile_decision("x", "pending"));
    assert_eq!(
        (&asked["status_id"], &asked["status"]),
        (&json!(99), &json!("pending"))
    );
    let found = object("ocsf", &intrusion());
    assert_eq!(found["severity"], "High");
    assert_eq!(found["end_time"], 1_747_153_155_826_i64);
    assert_eq!(found["finding_info_list"].as_array().unwrap().len(), 12);
}

/// The fields of a published list, with their type and whether they are lists.
fn ecs_fields() -> BTreeMap<&'static str, (&'static str, bool)> {
    let list = include_str!("../../schemas/ecs-9.4.0.csv");
    let each = list
        .lines()
        .skip(1)
        .map(|line| line.split(',').collect::<Vec<_>>());
    each.map(|row| (row[0], (row[1], row[2] == "array")))
        .collect()
}

/// Compares an object with the list, field by field.
fn check_ecs(fields: &BTreeMap<&str, (&str, bool)>, path: &str, value: &Value) {
    if let (Some(inside), None | Some(("object", _))) = (value.as_object(), fields.get(path)) {
        for (key, value) in inside {
            let below = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            if path == "labels" {
                assert!(value.is_string(), "labels are keywords");
            } else {
                check_ecs(fields, &below, value);
            }
        }
        return;
    }
    let (kind, is_list) = fields
        .get(path)
        .unwrap_or_else(|| panic!("{path} is no field of ECS"));
    assert_eq!(value.is_array(), *is_list, "{path}: {value}");
    let one = if *is_list {
        value.as_array().unwrap().clone()
    } else {
        vec![value.clone()]
    };
    for value in one {
        let is_right = match *kind {
            "long" => value.is_i64(),
            "float" => value.is_number(),
            "boolean" => value.is_boolean(),
            "ip" => value
                .as_str()
                .is_some_and(|ip| ip.parse::<std::net::IpAddr>().is_ok()),
            "date" => value
                .as_str()
                .and_then(thymus_schema::Timestamp::parse)
                .is_some(),
            _ => value.is_string(),
        };
        assert!(is_right, "{path} is no {kind}: {value}");
    }
}

#[test]
fn ecs_has_only_published_fields_of_their_types() {
    let fields = ecs_fields();
    for record in everything() {
        let found = object("ecs", &record);
        check_ecs(&fields, "", &found);
        assert_eq!(found["ecs"]["version"], ecs::ECS_VERSION);
    }
    let found = object("ecs", &intrusion());
    assert_eq!(found["host"]["ip"], json!(["10.69.189.29"]));
    assert_eq!(found["host"]["mac"], json!(["54-EE-75-1A-A8-DE"]));
    let original: Value =
        serde_json::from_str(found["event"]["original"].as_str().unwrap()).unwrap();
    assert_eq!(original, intrusion().body);
}

#[test]
fn stix_is_valid_by_the_published_schemas() {
    let all: BTreeMap<String, Value> =
        serde_json::from_str(include_str!("../../schemas/stix-2.1.json")).unwrap();
    let mut registry = jsonschema::Registry::new();
    for schema in all.values() {
        let id = schema["$id"].as_str().unwrap().to_owned();
        registry = registry.add(id, schema.clone()).unwrap();
    }
    let registry = registry.prepare().unwrap();
    let by = |schema: &str| {
        let options = jsonschema::options().with_registry(&registry);
        options.build(&all[schema]).unwrap()
    };
    let validator = by("schemas/common/bundle.json");
    let everything = everything();
    let records = everything
        .iter()
        .filter(|record| format("stix").takes(record.kind));
    let records: Vec<&Record> = records.collect();
    let bundle: Value = serde_json::from_str(&format("stix").file(&records).unwrap()).unwrap();
    // The schema of bundles does not name incidents, and takes no object for what it does not name: the branch for
    // those asks for exactly one of two schemas that both fit. So they are validated by their own.
    let mut others = bundle.clone();
    let others_in = others["objects"].as_array_mut().unwrap();
    let incidents: Vec<Value> = others_in
        .extract_if(.., |one| one["type"] == "incident")
        .collect();
    let of_incidents = by("schemas/sdos/incident.json");
    let of_each = incidents
        .iter()
        .flat_map(|one| of_incidents.iter_errors(one));
    let wrong = validator.iter_errors(&others).chain(of_each);
    let wrong: Vec<String> = wrong.map(|error| error.to_string()).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let objects = bundle["objects"].as_array().unwrap();
    let ids: BTreeSet<&str> = objects
        .iter()
        .map(|one| one["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), objects.len(), "each object once");
    // Whatever is referred to is there.
    for object in objects {
        for (key, value) in object.as_object().unwrap() {
            let refs = match value {
                Value::String(id) if key.ends_with("_ref") => vec![id.as_str()],
                Value::Array(ids) if key.ends_with("_refs") => {
                    ids.iter().filter_map(Value::as_str).collect()
                }
                _ => continue,
            };
            assert!(refs.iter().all(|id| ids.contains(id)), "{key} of {object}");
        }
    }
    let of_type = |kind: &str| objects.iter().filter(|one| one["type"] == kind).count();
    assert!(of_type("observed-data") > 10 && of_type("indicator") >= 4);
    assert_eq!(of_type("incident"), 3);
    // Of a decision the latest version is there, under the id of the first.
    assert_eq!(of_type("course-of-action"), 2);
}

/// A table of the specification of layers: name, type, whether it must be there.
type Table = &'static [(&'static str, char, bool)];
const LAYER: Table = &[
    ("versions", 'o', false),
    ("name", 's', true),
    ("description", 's', false),
    ("domain", 's', true),
    ("customDataURL", 's', false),
    ("filters", 'o', false),
    ("sorting", 'n', false),
    ("layout", 'o', false),
    ("hideDisabled", 'b', false),
    ("techniques", 'a', false),
    ("gradient", 'o', false),
    ("legendItems", 'a', false),
    ("showTacticRowBackground", 'b', false),
    ("tacticRowBackground", 's', false),
    ("selectTechniquesAcrossTactics", 'b', false),
    ("selectSubtechniquesWithParent", 'b', false),
    ("selectVisibleTechniques", 'b', false),
    ("metadata", 'a', false),
    ("links", 'a', false),
];
const VERSIONS: Table = &[
    ("attack", 's', false),
    ("navigator", 's', true),
    ("layer", 's', true),
];
const TECHNIQUE: Table = &[
    ("techniqueID", 's', true),
    ("tactic", 's', false),
    ("comment", 's', false),
    ("enabled", 'b', false),
    ("score", 'n', false),
    ("color", 's', false),
    ("metadata", 'a', false),
    ("links", 'a', false),
    ("showSubtechniques", 'b', false),
];
const GRADIENT: Table = &[
    ("colors", 'a', true),
    ("minValue", 'n', true),
    ("maxValue", 'n', true),
];
const LEGEND: Table = &[("label", 's', true), ("color", 's', true)];
const METADATA: Table = &[("name", 's', true), ("value", 's', true)];

fn check_table(table: Table, object: &Value) {
    let fields = object.as_object().unwrap();
    for (name, value) in fields {
        let row = table.iter().find(|row| row.0 == name);
        let (_, kind, _) = row.unwrap_or_else(|| panic!("{name} is not in the specification"));
        let is_right = match kind {
            'o' => value.is_object(),
            's' => value.is_string(),
            'n' => value.is_number(),
            'b' => value.is_boolean(),
            _ => value.is_array(),
        };
        assert!(is_right, "{name}: {value}");
    }
    for (name, _, is_needed) in table {
        assert!(
            !is_needed || fields.contains_key(*name),
            "{name} is missing"
        );
    }
}

#[test]
fn layers_are_what_the_specification_says() {
    let (real, forged) = (intrusion(), hostile(HOSTILE));
    let text = format("navigator").file(&[&real, &forged]).unwrap();
    let layers: Value = serde_json::from_str(&text).unwrap();
    let domains: Vec<&Value> = layers
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["domain"])
        .collect();
    assert_eq!(domains, ["enterprise-attack", "ics-attack"]);
    for layer in layers.as_array().unwrap() {
        check_table(LAYER, layer);
        check_table(VERSIONS, &layer["versions"]);
        check_table(GRADIENT, &layer["gradient"]);
        assert!(layer["gradient"]["maxValue"].as_u64() > layer["gradient"]["minValue"].as_u64());
        for technique in layer["techniques"].as_array().unwrap() {
            check_table(TECHNIQUE, technique);
            technique["metadata"]
                .as_array()
                .unwrap()
                .iter()
                .for_each(|one| check_table(METADATA, one));
        }
        layer["legendItems"]
            .as_array()
            .unwrap()
            .iter()
            .for_each(|one| check_table(LEGEND, one));
    }
    let web = layers[0]["techniques"].as_array().unwrap();
    let web = web
        .iter()
        .find(|one| one["techniqueID"] == "T1071.001")
        .unwrap();
    assert_eq!(web["score"], 2);
    check_table(LAYER, &object("navigator", &real));
    let none = format("navigator").file(&[]).unwrap();
    check_table(LAYER, &serde_json::from_str(&none).unwrap());
}

/// Reads a CEF record by the rules of its standard; nothing when it breaks one.
fn read_cef(line: &str) -> Option<(Vec<String>, BTreeMap<String, String>)> {
    let mut head = Vec::new();
    let mut field = String::new();
    let mut chars = line.chars();
    while head.len() < 7 {
        match chars.next()? {
            '\\' => field.push(chars.next().filter(|c| matches!(c, '\\' | '|'))?),
            '|' => head.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    // A key is a word before an equals sign that nothing escapes.
    let rest: Vec<char> = chars.collect();
    let (mut fields, mut key, mut value) = (BTreeMap::new(), String::new(), String::new());
    let mut at = 0;
    while at < rest.len() {
        match rest[at] {
            '\\' => {
                at += 1;
                value.push(match rest.get(at)? {
                    'n' => '\n',
                    'r' => '\r',
                    c @ ('\\' | '=') => *c,
                    _ => return None,
                });
            }
            '=' => {
                let (before, next) = value.rsplit_once(' ').unwrap_or(("", &value));
                let (before, next) = (before.to_owned(), next.to_owned());
                let is_word = !next.is_empty() && next.chars().all(|c| c.is_ascii_alphanumeric());
                if !is_word || (!key.is_empty() && fields.insert(key, before).is_some()) {
                    return None;
                }
                key = next;
                value.clear();
            }
            c => value.push(c),
        }
        at += 1;
    }
    fields.insert(key, value);
    Some((head, fields))
}

#[test]
fn cef_is_read_back_as_it_was_meant() {
    for record in everything() {
        let line = format("cef").one(&record).unwrap();
        let (head, fields) = read_cef(&line).unwrap_or_else(|| panic!("{line}"));
        assert_eq!(head[0], "CEF:0");
        assert!(head[6].parse::<u8>().unwrap() <= 10);
        assert_eq!(fields["deviceExternalId"], record.id);
        let labels = fields.keys().filter_map(|key| key.strip_suffix("Label"));
        assert!(labels.clone().all(|key| fields.contains_key(key)), "{line}");
    }
    let (head, fields) = read_cef(&format("cef").one(&intrusion()).unwrap()).unwrap();
    assert_eq!(head[6], "9");
    assert_eq!(fields["src"], "10.69.189.29");
    assert_eq!(fields["smac"], "54:ee:75:1a:a8:de");
    assert_eq!(fields["start"], "1747136603424");
    assert_eq!(fields["cfp1"], "17.34");
    let (head, fields) = read_cef(&format("cef").one(&hostile(HOSTILE)).unwrap()).unwrap();
    assert!(head[5].contains("evil|a=b\\]\""), "{}", head[5]);
    assert!(
        fields["msg"].starts_with("x\r\n<14>1 - evil|a=b\\]\""),
        "{}",
        fields["msg"]
    );
    assert_eq!(fields["c6a2"], "fe80::1");
    let record = hostile_decision(HOSTILE, "active");
    let (head, fields) = read_cef(&format("cef").one(&record).unwrap()).unwrap();
    assert_eq!(
        (head[4].as_str(), fields["act"].as_str()),
        ("decision", "active")
    );
    assert_eq!(fields["deviceCustomDate1"], "1714993200000");
    assert!(
        fields["cs2"].starts_with("10.0.0.7 to 192.0.2.1 by tcp/443; x"),
        "{}",
        fields["cs2"]
    );
}

/// Reads a message by the grammar of RFC 5424: head fields, parameters of the structured data, message.
fn read_syslog(text: &str) -> Option<(Vec<String>, BTreeMap<String, String>, String)> {
    let (priority, rest) = text.strip_prefix('<')?.split_once(">1 ")?;
    let priority: u16 = priority.parse().ok()?;
    if priority > 191 {
        return None;
    }
    let mut head = vec![priority.to_string()];
    let mut rest = rest;
    for max in [32, 255, 48, 128, 32] {
        let (field, after) = rest.split_once(' ')?;
        if field.is_empty() || field.len() > max || !field.chars().all(|c| c.is_ascii_graphic()) {
            return None;
        }
        head.push(field.to_owned());
        rest = after;
    }
    let mut chars = rest.strip_prefix("[thymus@32473")?.chars();
    let mut parameters = BTreeMap::new();
    loop {
        match chars.next()? {
            ']' => break,
            ' ' => {}
            _ => return None,
        }
        let key: String = chars.by_ref().take_while(|c| *c != '=').collect();
        if key.is_empty() || key.len() > 32 || chars.next()? != '"' {
            return None;
        }
        let mut value = String::new();
        loop {
            match chars.next()? {
                '"' => break,
                ']' => return None,
                '\\' => value.push(chars.next().filter(|c| matches!(c, '"' | '\\' | ']'))?),
                c => value.push(c),
            }
        }
        if parameters.insert(key, value).is_some() {
            return None;
        }
    }
    let message: String = chars.collect();
    Some((head, parameters, message.strip_prefix(' ')?.to_owned()))
}

#[test]
fn syslog_is_by_the_grammar_whatever_is_inside() {
    let sender = Sender {
        host: "sensor 1\n".to_owned(),
        facility: 255,
    };
    for record in everything() {
        for inside in FORMATS.iter().filter(|format| format.takes(record.kind)) {
            let text = syslog::message(&sender, &record, inside, 64 << 10)
                .unwrap()
                .unwrap();
            let (head, data, message) = read_syslog(&text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(head[2], "sensor1");
            assert!(
                thymus_schema::Timestamp::parse(&head[1]).is_some(),
                "{}",
                head[1]
            );
            assert_eq!(data["id"], record.id);
            if inside.id != "syslog" {
                assert_eq!(message, inside.one(&record).unwrap());
            }
        }
    }
    let text = format("syslog").one(&intrusion()).unwrap();
    let (head, data, message) = read_syslog(&text).unwrap();
    assert_eq!(
        head,
        [
            "130",
            "2025-05-13T16:19:15.826371Z",
            "-",
            "thymus",
            "-",
            "incident"
        ]
    );
    assert_eq!(data["confidence"], "high");
    assert!(
        message.starts_with("10.69.189.29 and 1 other: beaconing"),
        "{message}"
    );
}

#[test]
fn a_separator_at_the_end_of_a_name_is_not_taken_for_one() {
    for name in ["|", "\\", "=", "]", "\"", " ", "a=", "\n"] {
        let record = hostile(name);
        assert!(
            read_cef(&format("cef").one(&record).unwrap()).is_some(),
            "{name:?}"
        );
        assert!(
            read_syslog(&format("syslog").one(&record).unwrap()).is_some(),
            "{name:?}"
        );
    }
}

#[test]
fn a_message_that_is_too_long_loses_what_matters_least_or_is_not_made() {
    let record = intrusion();
    for max in [3_000, 8_192] {
        for format in FORMATS {
            let text = syslog::message(&Sender::default(), &record, format, max).unwrap();
            if let Some(text) = text {
                assert!(text.len() <= max, "{}: {}", format.id, text.len());
                assert!(read_syslog(&text).is_some());
            }
        }
        let json = syslog::message(&Sender::default(), &record, format("json"), max).unwrap();
        assert!(json.unwrap().contains("\"left_out\":[\"evidence\""));
    }
    assert_eq!(
        syslog::message(&Sender::default(), &record, format("json"), 64).unwrap(),
        None
    );
}

#[test]
fn a_format_without_room_for_decisions_says_so() {
    let record = hostile_decision("x", "pending");
    let error = format("navigator").one(&record).unwrap_err();
    assert_eq!(error.to_string(), "navigator has nothing for decisions");
    let layer = format("navigator").file(&[&intrusion(), &record]).unwrap();
    assert_eq!(layer, format("navigator").file(&[&intrusion()]).unwrap());
}

#[test]
fn what_is_to_be_cut_is_told_as_a_whole_or_not_at_all() {
    let mut record = hostile_decision("x", "active");
    let habit =
        json!({"is_client": true, "peer": "10.0.0.9", "port": {"transport": "tcp", "port": 443}});
    record.body["cuts"] =
        json!([{"what": "all_but", "of": "10.0.0.7/32", "habits": vec![habit; 500]}]);
    for max in [2_000, 8_192, 1 << 20] {
        let text = format("json").within(&record, max).unwrap().unwrap();
        let found: Value = serde_json::from_str(&text).unwrap();
        if found["cuts"].is_null() {
            assert_eq!(found["left_out"][1], "cuts");
            assert_eq!(found["cuts_in_words"], record.body["cuts_in_words"]);
        } else {
            assert_eq!(found["cuts"], record.body["cuts"]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_name_breaks_a_format(name in any::<String>()) {
        let record = hostile(&name);
        prop_assert!(read_cef(&format("cef").one(&record).unwrap()).is_some());
        prop_assert!(read_syslog(&format("syslog").one(&record).unwrap()).is_some());
        for id in ["ecs", "json", "navigator", "ocsf", "stix"] {
            let text = format(id).one(&record).unwrap();
            prop_assert!(serde_json::from_str::<Value>(&text).is_ok());
            prop_assert_eq!(text.lines().count(), 1);
        }
        check_ecs(&ecs_fields(), "", &object("ecs", &record));
        let record = hostile_decision(&name, "pending");
        prop_assert!(read_cef(&format("cef").one(&record).unwrap()).is_some());
        prop_assert!(read_syslog(&format("syslog").one(&record).unwrap()).is_some());
        check_ecs(&ecs_fields(), "", &object("ecs", &record));
    }
}
