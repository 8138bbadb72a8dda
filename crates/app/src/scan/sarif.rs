//! The findings as a SARIF 2.1.0 log (OASIS), for what shows findings beside sources. What was not
//! judged is a notification of the run, so that no reader takes silence for clean.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::{Value, json};
use thymus_scan::{ByteRange, Excerpt, Outcome, Reason, Scanned, Verdict};

use super::json::{Explanation, escaped};
use super::listed::Listed;
use super::ruled::Described;

/// Notifications kept; the summary in the log's properties counts all.
const NOTIFICATIONS_MAX: usize = 10_000;

/// What goes into the log.
#[derive(Default)]
pub(super) struct Log {
    results: Vec<Value>,
    notifications: Vec<Value>,
    not_judged: u64,
    described: Described,
}

impl Log {
    /// Takes in one file.
    pub(super) fn add(&mut self, scanned: &Scanned, listed: &[Option<Listed<'_>>]) {
        let uri = uri(&scanned.path);
        for (verdict, listed) in scanned.report.verdicts().zip(listed) {
            let place = |member: Option<&str>| located(&uri, member);
            let found = self.described.results(verdict, place);
            self.results.extend(found);
            if let Some(listed) = listed {
                self.results.push(by_list(&uri, verdict, listed));
                continue;
            }
            match verdict.outcome {
                Outcome::Malicious | Outcome::Suspicious => {
                    self.results.push(result(&uri, verdict, verdict.outcome));
                }
                Outcome::NotJudged(reason) if !verdict.is_sum => {
                    self.not_judged += 1;
                    if self.notifications.len() < NOTIFICATIONS_MAX {
                        self.notifications.push(notification(&uri, verdict, reason));
                    }
                }
                Outcome::NotJudged(_) | Outcome::Clean => {}
            }
        }
    }

    /// The log as text.
    pub(super) fn render(self) -> Result<String> {
        let mut rules = vec![rule("malicious", "error"), rule("suspicious", "warning")];
        rules.extend(self.described.rules());
        let log = json!({
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [{
                "tool": { "driver": {
                    "name": "Thymus",
                    "version": env!("CARGO_PKG_VERSION"),
                    "informationUri": env!("CARGO_PKG_REPOSITORY"),
                    "rules": rules,
                } },
                "invocations": [{
                    "executionSuccessful": true,
                    "toolExecutionNotifications": self.notifications,
                }],
                "results": self.results,
                "properties": { "notJudged": self.not_judged },
            }],
        });
        Ok(escaped(&serde_json::to_string(&log)?) + "\n")
    }
}

fn rule(id: &str, level: &str) -> Value {
    json!({
        "id": id,
        "shortDescription": { "text": format!("The content of the file is {id}") },
        "defaultConfiguration": { "level": level },
    })
}

/// A finding that a list made or suppressed.
fn by_list(uri: &str, verdict: &Verdict, listed: &Listed<'_>) -> Value {
    if !listed.is_allowed() {
        let mut result = result(uri, verdict, verdict.outcome);
        result["message"]["text"] = listed.told().into();
        return result;
    }
    let mut result = result(uri, verdict, listed.judged());
    result["suppressions"] = json!([{ "kind": "external", "justification": listed.told() }]);
    result
}

fn result(uri: &str, verdict: &Verdict, outcome: Outcome) -> Value {
    let rule = outcome.as_str();
    let level = if outcome == Outcome::Malicious {
        "error"
    } else {
        "warning"
    };
    let judgement = verdict.judgement.as_ref();
    let said = match judgement {
        Some(judgement) => format!(
            "{rule} {} with probability {:.4}, by {}",
            verdict.kind.as_str(),
            judgement.probability,
            judgement.model
        ),
        None => format!("{rule}: it holds what is {rule}"),
    };
    let label = judgement.and_then(|judgement| judgement.label.as_deref());
    let said = said + &label.map_or(String::new(), |label| format!(", looks like: {label}"));
    let mut properties = json!(Explanation::of(verdict));
    if let Some(label) = label {
        properties["label"] = label.into();
    }
    let mut place = location(uri, verdict);
    let first = judgement.and_then(|judgement| judgement.ranges.first());
    // Offsets count in the bytes of the file or member, so a region is given for whole files only.
    if let (None, Some(range)) = (&verdict.member, first) {
        place["physicalLocation"]["region"] =
            json!({ "byteOffset": range.offset, "byteLength": range.length });
    }
    let digest = verdict.sha256_hex();
    json!({
        "ruleId": rule,
        "level": level,
        "message": { "text": said },
        "locations": [place],
        "relatedLocations": related(uri, verdict),
        "partialFingerprints": { "sha256/v1": digest },
        "properties": properties,
    })
}

/// The places that decided, each with its part in it.
fn related(uri: &str, verdict: &Verdict) -> Vec<Value> {
    let ranges = verdict
        .judgement
        .iter()
        .flat_map(|judgement| &judgement.ranges);
    let place = |(range, excerpt): (&ByteRange, &Excerpt)| {
        let mut place = location(uri, verdict);
        let section = excerpt.section.as_deref().unwrap_or("no section");
        let (offset, length, weight) = (range.offset, range.length, range.weight * 100.0);
        let said = format!("{weight:.0} % of it: {section}, {length} bytes from {offset}");
        place["message"] = json!({ "text": said });
        if verdict.member.is_none() {
            place["physicalLocation"]["region"] = json!({
                "byteOffset": excerpt.offset,
                "byteLength": excerpt.bytes.len(),
                "snippet": { "text": excerpt.text().unwrap_or_else(|| excerpt.hex()) },
            });
        }
        place
    };
    ranges.zip(&verdict.excerpts).map(place).collect()
}

fn notification(uri: &str, verdict: &Verdict, reason: Reason) -> Value {
    json!({
        "level": "note",
        "message": { "text": format!("not judged: {reason}") },
        "locations": [location(uri, verdict)],
    })
}

fn location(uri: &str, verdict: &Verdict) -> Value {
    located(uri, verdict.member.as_deref())
}

fn located(uri: &str, member: Option<&str>) -> Value {
    let mut location = json!({ "physicalLocation": { "artifactLocation": { "uri": uri } } });
    if let Some(member) = member {
        location["logicalLocations"] = json!([{ "fullyQualifiedName": member, "kind": "member" }]);
    }
    location
}

/// The path as a URI reference (RFC 3986): every byte that is not unreserved or a slash by its number.
fn uri(path: &std::path::Path) -> String {
    let mut out = String::new();
    if path.is_absolute() {
        out.push_str("file://");
    }
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(*byte));
            }
            byte => {
                // Writing into a string cannot fail.
                let _written = write!(out, "%{byte:02X}").is_ok();
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn paths_become_references() {
        let uri = |path: &str| super::uri(std::path::Path::new(path));
        assert_eq!(uri("/a b/ü\n"), "file:///a%20b/%C3%BC%0A");
        assert_eq!(uri("x:y#z"), "x%3Ay%23z");
    }
}
