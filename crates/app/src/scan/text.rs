//! The verdicts for people: a line for what was found, and the totals with what was not judged.

use console::Style;
use thymus_analyst::legible;
use thymus_scan::{Coverage, Outcome, Scanned, Verdict};

use super::reason_text;
use crate::console::Paper;

/// Ranges shown of a judgement.
const RANGES_MAX: usize = 3;

/// The lines of a file: what was found, or everything with `verbose`.
pub(super) fn lines(scanned: &Scanned, verbose: bool, paper: Paper) -> String {
    let mut out = String::new();
    let path = legible(&scanned.path.to_string_lossy());
    for verdict in scanned.report.verdicts() {
        if verdict.outcome.is_found() || verbose {
            line(&path, verdict, paper, &mut out);
        }
    }
    out
}

fn line(path: &str, verdict: &Verdict, paper: Paper, out: &mut String) {
    let colour = match verdict.outcome {
        Outcome::Malicious => Style::new().red().bold(),
        Outcome::Suspicious => Style::new().yellow(),
        Outcome::Clean => Style::new().green(),
        Outcome::NotJudged(_) => Style::new().dim(),
    };
    let word = match verdict.outcome {
        Outcome::NotJudged(_) => "not judged",
        other => other.as_str(),
    };
    let colour = colour.force_styling(paper.colour);
    let word = colour.apply_to(format!("{word:<10}"));
    let mut said = String::new();
    if let Some(member) = &verdict.member {
        add(&mut said, &format!("!{}", legible(member)));
    }
    add(&mut said, &format!("  ({})", verdict.kind.as_str()));
    if let Some(reason) = reason_text(verdict.outcome.reason()) {
        add(&mut said, &format!(": {reason}"));
    }
    if let Some(judgement) = &verdict.judgement {
        add(
            &mut said,
            &format!("  {:.2} %", judgement.probability * 100.0),
        );
        if let Some(label) = &judgement.label {
            add(&mut said, &format!("  {}", legible(label)));
        }
        if let Some(bytes) = judgement.certified_bytes {
            add(&mut said, &format!("  holds against {bytes} changed bytes"));
        }
    }
    add(out, &format!("{word} {path}{said}\n"));
    if let Some(judgement) = verdict
        .judgement
        .as_ref()
        .filter(|_| verdict.outcome.is_found())
    {
        for (range, text) in judgement.ranges.iter().zip(&verdict.texts).take(RANGES_MAX) {
            let (offset, length) = (range.offset, range.length);
            let text = legible(text);
            add(
                out,
                &format!("           at {offset:#x}, {length} bytes: {text}\n"),
            );
        }
    }
}

/// What was seen, what was judged, and why the rest was not.
pub(super) fn totals(coverage: &Coverage, paper: Paper) -> String {
    let mut out = String::new();
    let bold = Style::new().bold().force_styling(paper.colour);
    let files = plural(coverage.files, "file");
    add(
        &mut out,
        &format!(
            "{}: {} malicious, {} suspicious, {} clean, {} not judged\n",
            bold.apply_to(files),
            coverage.malicious,
            coverage.suspicious,
            coverage.clean,
            coverage.not_judged
        ),
    );
    let inside = if coverage.members > 0 {
        format!(" ({} inside others)", coverage.members)
    } else {
        String::new()
    };
    add(
        &mut out,
        &format!(
            "Judged: {} of {}{inside}, {} of {}\n",
            coverage.objects_judged,
            plural(coverage.objects, "object"),
            bytes(coverage.bytes_judged),
            bytes(coverage.bytes),
        ),
    );
    let mut reasons: Vec<(&String, &u64)> = coverage.reasons.iter().collect();
    reasons.sort_by_key(|(reason, count)| (std::cmp::Reverse(**count), reason.as_str()));
    if !reasons.is_empty() {
        out.push_str("Not judged:\n");
    }
    for (reason, count) in reasons {
        add(&mut out, &format!("{count:>9}  {reason}\n"));
    }
    if !coverage.left_out.is_empty() {
        out.push_str("Left out:\n");
    }
    for (reason, count) in &coverage.left_out {
        add(&mut out, &format!("{count:>9}  {reason}\n"));
    }
    out
}

fn add(out: &mut String, text: &str) {
    out.push_str(text);
}

fn plural(count: u64, noun: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{s}")
}

fn bytes(count: u64) -> String {
    match count {
        0..10_000 => format!("{count} bytes"),
        10_000..10_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        _ => format!("{:.1} MB", count as f64 / 1e6),
    }
}
