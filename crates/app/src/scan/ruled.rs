//! What YARA rules found, for people and for programs: beside the verdict, never a part of it. Names and
//! meta are in the words of whoever wrote the rules, and what was found in those of whoever wrote the file.

use std::collections::BTreeMap;

use console::Style;
use serde::Serialize;
use serde_json::{Value, json};
use thymus_analyst::legible;
use thymus_scan::{Coverage, Excerpt, RuleMatch, RuleMatches, RuleString, Verdict};

use super::text::{INDENT, add, cut, plural};
use crate::console::Paper;
use crate::rules::InForce;

/// What is shown to people of what an author says, in this order.
const META_SHOWN: [&str; 3] = ["description", "author", "reference"];
/// Strings shown to people.
const STRINGS_SHOWN: usize = 3;
/// Rules that a SARIF log describes.
const DESCRIBED_MAX: usize = 10_000;

/// A line for each rule that matches, with what its author says and where its strings stand.
pub(super) fn lines(path: &str, verdict: &Verdict, paper: Paper, out: &mut String) {
    let colour = Style::new().cyan().force_styling(paper.colour);
    let word = colour.apply_to(format!("{:<10}", "rule"));
    let RuleMatches {
        found,
        left_out,
        is_unfinished,
    } = &verdict.rules;
    for rule in found {
        let mut place = path.to_owned();
        if let Some(member) = rule.part.as_ref().or(verdict.member.as_ref()) {
            place = format!("{path}!{}", legible(member));
        }
        let (name, namespace) = (legible(&rule.rule), legible(&rule.namespace));
        let tags: Vec<String> = rule.tags.iter().map(|tag| legible(tag)).collect();
        let tags = match &tags[..] {
            [] => String::new(),
            tags => format!("  [{}]", tags.join(", ")),
        };
        add(
            out,
            &format!("{word} {place}  {name}{tags}  of {namespace}\n"),
        );
        for key in META_SHOWN {
            for (_, value) in rule.meta.iter().filter(|(name, _)| name == key) {
                let line = format!("{INDENT}{key}: {}", legible(value));
                add(out, &cut(&line, paper.width));
                out.push('\n');
            }
        }
        for string in rule.strings.iter().take(STRINGS_SHOWN) {
            add(out, &cut(&where_found(string), paper.width));
            out.push('\n');
        }
    }
    if *left_out > 0 {
        add(
            out,
            &format!("{word} {path}  {left_out} more rules match\n"),
        );
    }
    if *is_unfinished {
        let member = verdict.member.as_ref();
        let member = member.map_or_else(String::new, |member| format!("!{}", legible(member)));
        add(
            out,
            &format!("{word} {path}{member}  not looked for to the end: out of time\n"),
        );
    }
}

fn where_found(string: &RuleString) -> String {
    let name = legible(&string.name);
    let times = match string.count {
        1 => String::new(),
        count => format!(" {count} times, first"),
    };
    let first = string.excerpts.first();
    let shown = first.map_or_else(String::new, |excerpt| {
        let says = excerpt
            .text()
            .map_or_else(|| excerpt.hex(), |text| legible(&text));
        format!(" at {:#x}: {says}", excerpt.offset)
    });
    format!("{INDENT}{name}{times}{shown}")
}

/// The line of the totals.
pub(super) fn totals(coverage: &Coverage, rules: &InForce) -> String {
    let mut out = format!(
        "Rules: {} in {}, by {} of {}",
        match coverage.rule_matches {
            1 => "1 match".to_owned(),
            count => format!("{count} matches"),
        },
        plural(coverage.objects_with_rules, "object"),
        plural(rules.rules(), "rule"),
        plural(rules.files, "file"),
    );
    if coverage.rules_unfinished > 0 {
        let objects = plural(coverage.rules_unfinished, "object");
        add(&mut out, &format!("; out of time for {objects}"));
    }
    if !rules.errors().is_empty() {
        let errors = plural(rules.errors().len() as u64, "error");
        add(&mut out, &format!("; {errors} in the rules"));
    }
    out.push('\n');
    out
}

/// The fields of a line of JSON.
#[derive(Serialize)]
pub(super) struct Fields {
    rules: Vec<Value>,
    rules_left_out: u64,
    rules_unfinished: bool,
}

impl Fields {
    /// Of a verdict.
    pub(super) fn of(verdict: &Verdict) -> Self {
        let rules = &verdict.rules;
        Self {
            rules: rules.found.iter().map(shown).collect(),
            rules_left_out: rules.left_out,
            rules_unfinished: rules.is_unfinished,
        }
    }
}

fn shown(rule: &RuleMatch) -> Value {
    let meta = rule.meta.iter();
    let meta: Vec<Value> = meta
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    let strings: Vec<Value> = rule.strings.iter().map(string).collect();
    json!({
        "rule": rule.rule,
        "namespace": rule.namespace,
        "tags": rule.tags,
        "meta": meta,
        "strings": strings,
        "part": rule.part,
    })
}

fn string(string: &RuleString) -> Value {
    let place = |((offset, length), excerpt): (&(u64, u64), &Excerpt)| {
        json!({
            "offset": offset,
            "length": length,
            "section": excerpt.section,
            "hex": excerpt.hex(),
            "text": excerpt.text(),
        })
    };
    let places: Vec<Value> = string
        .spans
        .iter()
        .zip(&string.excerpts)
        .map(place)
        .collect();
    json!({ "name": string.name, "count": string.count, "at": places })
}

/// What the last line of JSON says of the rules.
#[derive(Serialize)]
pub(super) struct Summary {
    rules: u64,
    files: u64,
    sha256: String,
    errors: u64,
    matches: u64,
    objects: u64,
    unfinished: u64,
}

impl Summary {
    /// Of a whole scan.
    pub(super) fn new(coverage: &Coverage, rules: &InForce) -> Self {
        Self {
            rules: rules.rules(),
            files: rules.files,
            sha256: rules.sha256(),
            errors: rules.errors().len() as u64,
            matches: coverage.rule_matches,
            objects: coverage.objects_with_rules,
            unfinished: coverage.rules_unfinished,
        }
    }
}

/// What a SARIF log says of rules that match.
#[derive(Default)]
pub(super) struct Described {
    rules: BTreeMap<String, String>,
}

impl Described {
    /// The results for one file or member, of which `location` makes the place.
    pub(super) fn results(
        &mut self,
        verdict: &Verdict,
        location: impl Fn(Option<&str>) -> Value,
    ) -> Vec<Value> {
        let result = |rule: &RuleMatch| {
            let id = format!("yara/{}/{}", rule.namespace, rule.rule);
            let mut meta = rule.meta.iter();
            let described = meta.find(|(name, _)| name == META_SHOWN[0]);
            let described = described.map_or("", |(_, value)| value);
            if self.rules.len() < DESCRIBED_MAX {
                self.rules.insert(id.clone(), described.to_owned());
            }
            let member = rule.part.as_deref().or(verdict.member.as_deref());
            let mut place = location(member);
            let first = rule.strings.first().and_then(|string| string.spans.first());
            // Offsets count in the bytes of the file or member.
            if let (None, Some((offset, length))) = (member, first) {
                place["physicalLocation"]["region"] =
                    json!({ "byteOffset": offset, "byteLength": length });
            }
            let colon = if described.is_empty() { "" } else { ": " };
            let said = format!(
                "YARA rule {} of {} matches{colon}{described}",
                rule.rule, rule.namespace
            );
            json!({
                "ruleId": id,
                "level": "note",
                "message": { "text": said },
                "locations": [place],
                "partialFingerprints": { "sha256/v1": verdict.sha256_hex() },
                "properties": shown(rule),
            })
        };
        verdict.rules.found.iter().map(result).collect()
    }

    /// The rules themselves.
    pub(super) fn rules(self) -> impl Iterator<Item = Value> {
        self.rules.into_iter().map(|(id, described)| {
            let said = if described.is_empty() {
                &id
            } else {
                &described
            };
            json!({
                "id": id,
                "shortDescription": { "text": said },
                "defaultConfiguration": { "level": "note" },
            })
        })
    }
}
