//! The verdicts as lines of JSON, whose names stay: one for each file and member, then a summary.

use std::fmt::Write as _;
use std::io::Write;

use anyhow::Result;
use serde::Serialize;
use thymus_scan::{Coverage, Excerpt, NetworkInfo, Outcome, Packer, Scanned, Verdict};

use super::keep::Kept;
use super::listed::{Fields, Listed};
use super::{reason_text, ruled, signed};
use crate::model::{InUse, origin};
use crate::rules::InForce;

#[derive(Serialize)]
struct Line<'a> {
    path: &'a str,
    member: Option<&'a str>,
    sha256: Option<String>,
    r#type: &'a str,
    packer: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    signatures: Vec<signed::Shown<'a>>,
    outcome: &'a str,
    reason: Option<String>,
    probability: Option<f64>,
    label: Option<&'a str>,
    model: Option<&'a str>,
    #[serde(flatten)]
    explanation: Explanation<'a>,
    #[serde(flatten)]
    listed: Option<Fields<'a>>,
    #[serde(flatten)]
    ruled: Option<ruled::Fields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quarantine: Option<Quarantine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    milliseconds: Option<u64>,
}

/// What became of a file that should be kept.
#[derive(Clone, Copy, Serialize)]
struct Quarantine<'a> {
    id: Option<&'a str>,
    error: Option<&'a str>,
}

impl<'a> Quarantine<'a> {
    fn new(kept: &'a Kept) -> Self {
        Self {
            id: kept.as_deref().ok(),
            error: kept.as_deref().err().map(String::as_str),
        }
    }
}

/// Why a verdict is what it is.
#[derive(Default, Serialize)]
pub(super) struct Explanation<'a> {
    benign_share: Option<f32>,
    certified_bytes: Option<u64>,
    outlives_additions: Option<bool>,
    ranges: Vec<Range<'a>>,
    masking: Option<Masking<'a>>,
}

#[derive(Serialize)]
struct Range<'a> {
    offset: u64,
    length: u64,
    weight: f64,
    #[serde(flatten)]
    shown: Shown<'a>,
}

#[derive(Serialize)]
struct Masking<'a> {
    bytes: u64,
    outcome: &'a str,
    probability: f64,
    ranges: Vec<Masked<'a>>,
}

#[derive(Serialize)]
struct Masked<'a> {
    offset: u64,
    length: u64,
    #[serde(flatten)]
    shown: Shown<'a>,
}

/// What stands there; of much, what weighs most.
#[derive(Serialize)]
struct Shown<'a> {
    section: Option<&'a str>,
    #[serde(rename = "shown_offset")]
    first: u64,
    hex: String,
    text: Option<String>,
}

impl<'a> From<&'a Excerpt> for Shown<'a> {
    fn from(excerpt: &'a Excerpt) -> Self {
        Self {
            section: excerpt.section.as_deref(),
            first: excerpt.offset,
            hex: excerpt.hex(),
            text: excerpt.text(),
        }
    }
}

impl<'a> Explanation<'a> {
    /// Of a verdict; empty where nothing was judged.
    pub(super) fn of(verdict: &'a Verdict) -> Self {
        let Some(judgement) = &verdict.judgement else {
            return Self::default();
        };
        let ranges = judgement.ranges.iter().zip(&verdict.excerpts);
        let ranges = ranges.map(|(range, excerpt)| Range {
            offset: range.offset,
            length: range.length,
            weight: (f64::from(range.weight) * 1e4).round() / 1e4,
            shown: excerpt.into(),
        });
        let masking = verdict.masking.as_ref().map(|(masking, shown)| Masking {
            bytes: masking.bytes(),
            outcome: Outcome::from(masking.leaning).as_str(),
            probability: masking.probability,
            ranges: masked(masking, shown),
        });
        Self {
            benign_share: Some(judgement.benign_share),
            certified_bytes: judgement.certified_bytes,
            outlives_additions: Some(judgement.outlives_additions),
            ranges: ranges.collect(),
            masking,
        }
    }
}

fn masked<'a>(masking: &thymus_scan::Masking, shown: &'a [Excerpt]) -> Vec<Masked<'a>> {
    let spans = masking.spans.iter().zip(shown);
    let span = |((offset, length), excerpt): (&(u64, u64), &'a Excerpt)| Masked {
        offset: *offset,
        length: *length,
        shown: excerpt.into(),
    };
    spans.map(span).collect()
}

impl<'a> Line<'a> {
    fn new(path: &'a str, verdict: &'a Verdict) -> Self {
        let judgement = verdict.judgement.as_ref();
        Self {
            path,
            member: verdict.member.as_deref(),
            sha256: verdict.sha256_hex(),
            r#type: verdict.kind.as_str(),
            packer: verdict.packer.map(Packer::as_str),
            signatures: verdict.signatures.iter().map(signed::Shown::new).collect(),
            outcome: verdict.outcome.as_str(),
            reason: reason_text(verdict.outcome.reason()),
            probability: judgement.map(|judgement| judgement.probability),
            label: judgement.and_then(|judgement| judgement.label.as_deref()),
            model: judgement.map(|judgement| judgement.model.as_str()),
            explanation: Explanation::of(verdict),
            listed: None,
            ruled: None,
            quarantine: None,
            milliseconds: None,
        }
    }
}

/// A verdict's line, as an object.
pub(crate) fn line(path: &str, verdict: &Verdict) -> Result<serde_json::Value> {
    Ok(serde_json::to_value(Line::new(path, verdict))?)
}

/// What a file's line has besides.
#[derive(Clone, Copy, Default)]
pub(super) struct Beside<'a> {
    /// How long it took, where that was asked for.
    pub(super) millis: Option<u64>,
    /// What became of it, where it should be kept.
    pub(super) kept: Option<&'a Kept>,
    /// Whether rules were looked for.
    pub(super) has_rules: bool,
}

/// Writes a file's line and one for each member.
pub(super) fn lines(
    scanned: &Scanned,
    listed: &[Option<Listed<'_>>],
    beside: Beside<'_>,
    out: &mut dyn Write,
) -> Result<()> {
    let path = scanned.path.to_string_lossy();
    for (verdict, listed) in scanned.report.verdicts().zip(listed) {
        let mut line = Line::new(&path, verdict);
        line.listed = listed.as_ref().map(Listed::shown);
        if verdict.member.is_none() {
            line.quarantine = beside.kept.map(Quarantine::new);
            line.milliseconds = beside.millis;
        }
        line.ruled = beside.has_rules.then(|| ruled::Fields::of(verdict));
        let line = serde_json::to_string(&line)?;
        writeln!(out, "{}", escaped(&line))?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Last<'a> {
    summary: Summary<'a>,
}

#[derive(Serialize)]
struct Summary<'a> {
    files: u64,
    clean: u64,
    suspicious: u64,
    malicious: u64,
    not_judged: u64,
    allowed: u64,
    blocked: u64,
    members: u64,
    coverage: Shares,
    not_judged_by_reason: &'a std::collections::BTreeMap<String, u64>,
    left_out: &'a std::collections::BTreeMap<&'static str, u64>,
    models: Vec<Model<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<ruled::Summary>,
}

/// A model that judged.
#[derive(Serialize)]
struct Model<'a> {
    name: &'a str,
    version: &'a str,
    origin: &'a str,
    types: Vec<&'a str>,
}

impl<'a> Model<'a> {
    fn new(info: &NetworkInfo<'a>) -> Self {
        Self {
            name: info.name,
            version: info.version,
            origin: origin(info.is_shipped),
            types: info.types.iter().map(|(kind, _, _)| *kind).collect(),
        }
    }
}

#[derive(Serialize)]
struct Shares {
    objects: u64,
    objects_judged: u64,
    bytes: u64,
    bytes_judged: u64,
}

/// Writes the last line.
pub(super) fn summary(
    coverage: &Coverage,
    in_use: &InUse,
    rules: Option<&InForce>,
    out: &mut dyn Write,
) -> Result<()> {
    let last = Last {
        summary: Summary {
            files: coverage.files,
            clean: coverage.clean,
            suspicious: coverage.suspicious,
            malicious: coverage.malicious,
            not_judged: coverage.not_judged,
            allowed: coverage.allowed,
            blocked: coverage.blocked,
            members: coverage.members,
            coverage: Shares {
                objects: coverage.objects,
                objects_judged: coverage.objects_judged,
                bytes: coverage.bytes,
                bytes_judged: coverage.bytes_judged,
            },
            not_judged_by_reason: &coverage.reasons,
            left_out: &coverage.left_out,
            models: in_use
                .networks
                .infos()
                .map(|info| Model::new(&info))
                .collect(),
            rules: rules.map(|rules| ruled::Summary::new(coverage, rules)),
        },
    };
    serde_json::to_writer(&mut *out, &last)?;
    Ok(out.write_all(b"\n")?)
}

/// JSON in which no character steers a terminal: they stand in strings only, so each can be written as
/// its number without changing what is said.
pub(crate) fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        let mut buffer = [0; 4];
        let is_plain = c.is_ascii() && !c.is_ascii_control();
        if is_plain || thymus_analyst::legible(c.encode_utf8(&mut buffer)).starts_with(c) {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing into a string cannot fail.
            let _written = write!(out, "\\u{unit:04x}").is_ok();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_bytes_and_lose_their_teeth() {
        let name = "a\n\u{1b}[2J\u{202e}fdp.exe größe \u{e0041}\u{7f}";
        let json = escaped(&serde_json::to_string(name).unwrap());
        assert!(json.is_ascii() || json.contains("größe"));
        assert!(
            !json
                .chars()
                .any(|c| c.is_control() || c == '\u{202e}' || c == '\u{e0041}')
        );
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), name);
    }
}
