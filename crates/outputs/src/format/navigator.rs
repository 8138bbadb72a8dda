//! A layer of the ATT&CK Navigator (format 4.5): the techniques of incidents, scored by how many show them. Techniques
//! of control systems are a domain of their own; where there are both, the file is a list of two layers.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use thymus_schema::Technique;

use super::{ATTACK_VERSION, Format, FormatError, PRODUCT, Shape, read};
use crate::escape::{self, clip, plain};
use crate::record::{Kind, Record, Story, techniques};

pub(super) const FORMAT: Format = Format {
    id: "navigator",
    about: "ATT&CK Navigator layer, format 4.5",
    content_type: "application/json",
    kinds: &[Kind::Incident],
    shape: Shape::Document(document),
};

const LAYER_VERSION: &str = "4.5";
/// A Navigator that reads it; the specification asks for 4.9.0 or later.
const NAVIGATOR_VERSION: &str = "5.1.0";
const ENTERPRISE: &str = "enterprise-attack";
const ICS: &str = "ics-attack";
const COMMENT_MAX: usize = 1_000;

fn document(records: &[&Record]) -> Result<String, FormatError> {
    let mut stories = Vec::new();
    for record in records {
        stories.push(read::<Story>(record)?);
    }
    let mut domains: BTreeMap<&str, BTreeMap<Technique, Vec<&Story>>> = BTreeMap::new();
    domains.entry(ENTERPRISE).or_default();
    for story in &stories {
        for technique in techniques(&story.techniques) {
            let domain = domains.entry(domain(technique)).or_default();
            domain.entry(technique).or_default().push(story);
        }
    }
    if domains.len() > 1 {
        domains.retain(|_, shown| !shown.is_empty());
    }
    let mut layers: Vec<Value> = domains
        .iter()
        .map(|(domain, shown)| layer(domain, shown, &stories))
        .collect();
    let whole = match layers.len() {
        1 => layers.remove(0),
        _ => Value::Array(layers),
    };
    Ok(escape::json(&whole))
}

/// ICS techniques are numbered from T0800.
fn domain(technique: Technique) -> &'static str {
    if technique.id().starts_with("T0") {
        ICS
    } else {
        ENTERPRISE
    }
}

fn layer(domain: &str, shown: &BTreeMap<Technique, Vec<&Story>>, stories: &[Story]) -> Value {
    let name = match stories {
        [one] => format!("{PRODUCT}: {}", plain(&one.title)),
        _ => format!("{PRODUCT}: {} incidents", stories.len()),
    };
    let highest = shown.values().map(Vec::len).max().unwrap_or(0).max(1);
    let techniques: Vec<Value> = shown
        .iter()
        .map(|(technique, shown_by)| {
            let titles: Vec<String> = shown_by.iter().map(|story| plain(&story.title)).collect();
            let each = shown_by.iter();
            let metadata: Vec<Value> = each
                .map(|story| json!({ "name": "incident", "value": story.id }))
                .collect();
            json!({
                "techniqueID": technique.id(), "score": shown_by.len(),
                "comment": clip(&titles.join("; "), COMMENT_MAX), "metadata": metadata,
                "showSubtechniques": true,
            })
        })
        .collect();
    json!({
        "name": clip(&name, 200),
        "versions": { "attack": ATTACK_VERSION, "navigator": NAVIGATOR_VERSION, "layer": LAYER_VERSION },
        "domain": domain,
        "description": format!("Techniques of {} incidents; the score is how many show a technique.", stories.len()),
        "sorting": 3,
        "techniques": techniques,
        "gradient": { "colors": ["#ffe766", "#ff6666"], "minValue": 0, "maxValue": highest },
        "legendItems": [{ "label": "seen in an incident", "color": "#ff6666" }],
    })
}
