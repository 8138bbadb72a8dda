//! The verdicts for people: a line for what was found, and the totals with what was not judged.

use console::Style;
use thymus_analyst::legible;
use thymus_scan::{Coverage, Judgement, NetworkInfo, Outcome, Scanned, Verdict};

use super::listed::Listed;
use super::{reason_text, ruled, signed};
use crate::console::Paper;
use crate::model::{InUse, origin};

/// Ranges shown of a judgement in short.
const RANGES_MAX: usize = 3;
/// Under the word of the verdict.
pub(super) const INDENT: &str = "           ";

/// How the lines are to be.
#[derive(Clone, Copy)]
pub(super) struct Form {
    /// A line for everything.
    pub(super) verbose: bool,
    /// The long form of what was found.
    pub(super) explain: bool,
    /// What they are written on.
    pub(super) paper: Paper,
}

/// The lines of a file: what was found, or everything with `verbose`.
pub(super) fn lines(scanned: &Scanned, listed: &[Option<Listed<'_>>], form: Form) -> String {
    let mut out = String::new();
    let path = legible(&scanned.path.to_string_lossy());
    for (verdict, listed) in scanned.report.verdicts().zip(listed) {
        if verdict.outcome.is_found() || form.verbose || listed.is_some() {
            line(&path, verdict, listed.as_ref(), form.paper, &mut out);
            for signature in &verdict.signatures {
                let told = legible(&signed::told(signature));
                add(&mut out, &format!("{INDENT}{told}\n"));
            }
        }
        if let Some(listed) = listed {
            add(&mut out, &format!("{INDENT}{}\n", legible(&listed.told())));
        } else if let Some(judgement) = &verdict.judgement
            && verdict.outcome.is_found()
        {
            if form.explain {
                explanation(judgement, verdict, form.paper, &mut out);
            } else {
                reasons(judgement, verdict, form.paper, &mut out);
            }
        }
        ruled::lines(&path, verdict, form.paper, &mut out);
    }
    out
}

fn line(
    path: &str,
    verdict: &Verdict,
    listed: Option<&Listed<'_>>,
    paper: Paper,
    out: &mut String,
) {
    let colour = match verdict.outcome {
        Outcome::Malicious => Style::new().red().bold(),
        Outcome::Suspicious => Style::new().yellow(),
        Outcome::Clean => Style::new().green(),
        Outcome::NotJudged(_) => Style::new().dim(),
    };
    let word = match verdict.outcome {
        Outcome::NotJudged(_) => "not judged",
        _ if listed.is_some_and(Listed::is_allowed) => "allowed",
        other => other.as_str(),
    };
    let colour = colour.force_styling(paper.colour);
    let word = colour.apply_to(format!("{word:<10}"));
    let mut said = String::new();
    if let Some(member) = &verdict.member {
        add(&mut said, &format!("!{}", legible(member)));
    }
    let packer = verdict
        .packer
        .map(|packer| format!(", packed by {}", packer.as_str()));
    let packer = packer.unwrap_or_default();
    add(&mut said, &format!("  ({}{packer})", verdict.kind.as_str()));
    if let Some(reason) = reason_text(verdict.outcome.reason()) {
        add(&mut said, &format!(": {reason}"));
    }
    if let Some(judgement) = &verdict.judgement {
        if let Some(label) = &judgement.label {
            add(&mut said, &format!("  looks like: {}", legible(label)));
        }
        if verdict.outcome.is_found() {
            let percent = format!("  {:.2} %", judgement.probability * 100.0);
            add(&mut said, &percent);
            let harmless = 1.0 / f64::from(judgement.benign_share).max(1e-6);
            add(
                &mut said,
                &format!("  1 in {} harmless files looks as bad", rounded(harmless)),
            );
        }
        match judgement.certified_bytes {
            Some(bytes) => add(&mut said, &format!("  holds against {bytes} changed bytes")),
            None if judgement.outlives_additions => add(&mut said, "  holds against padding"),
            None => {}
        }
    } else if verdict.outcome.is_found() && listed.is_none() {
        add(&mut said, "  for what is in it");
    }
    add(out, &format!("{word} {path}{said}\n"));
}

/// A number as people say it: two digits, the rest zeros.
fn rounded(number: f64) -> String {
    let unit = 10_f64.powf((number.log10() - 1.0).floor().max(0.0));
    format!("{:.0}", (number / unit).round() * unit)
}

/// A line for each of the strongest reasons.
fn reasons(judgement: &Judgement, verdict: &Verdict, paper: Paper, out: &mut String) {
    let ranges = judgement.ranges.iter().zip(&verdict.excerpts);
    for (range, excerpt) in ranges.take(RANGES_MAX) {
        let place = place(excerpt.section.as_deref(), excerpt.offset);
        let says = excerpt
            .text()
            .map_or_else(|| excerpt.hex(), |text| legible(&text));
        let line = format!("{INDENT}{:>3.0} %  {place}: {says}", range.weight * 100.0);
        add(out, &cut(&line, paper.width));
        out.push('\n');
    }
}

/// Where, as a person would look it up.
fn place(section: Option<&str>, offset: u64) -> String {
    match section {
        Some(section) => format!("{} at {offset:#x}", legible(section)),
        None => format!("at {offset:#x}"),
    }
}

/// What decided, byte by byte, and what would turn it around.
fn explanation(judgement: &Judgement, verdict: &Verdict, paper: Paper, out: &mut String) {
    let dim = Style::new().dim().force_styling(paper.colour);
    add(out, &format!("{INDENT}by {}\n", legible(&judgement.model)));
    for (range, excerpt) in judgement.ranges.iter().zip(&verdict.excerpts) {
        let (length, weight) = (plural(range.length, "byte"), range.weight * 100.0);
        let (from, section) = (range.offset, excerpt.section.as_deref());
        let section = section.map(|section| format!(", {}", legible(section)));
        let section = section.unwrap_or_default();
        let shown = if (excerpt.bytes.len() as u64) < range.length {
            "; the heaviest"
        } else {
            ""
        };
        add(
            out,
            &format!("{INDENT}{weight:>3.0} %  {length} from {from:#x}{shown}{section}:\n"),
        );
        for line in excerpt.dump() {
            add(out, &format!("{INDENT}       {}\n", dim.apply_to(line)));
        }
        // Letters beside the digits tell it already, unless every other byte of them is a zero.
        let zeros = excerpt.bytes.split(|byte| *byte == 0).count();
        let is_wide = zeros * 3 > excerpt.bytes.len();
        if let Some(text) = excerpt.text().filter(|_| is_wide) {
            add(
                out,
                &format!("{INDENT}       as text: {}\n", legible(&text)),
            );
        }
    }
    let Some((masking, masked)) = &verdict.masking else {
        add(
            out,
            &format!("{INDENT}No small change was found that turns it around.\n"),
        );
        return;
    };
    let outcome = Outcome::from(masking.leaning).as_str();
    let places = match masking.spans.len() {
        1 => "in one place".to_owned(),
        count => format!("in {count} places"),
    };
    let bytes = plural(masking.bytes(), "byte");
    add(
        out,
        &format!("{INDENT}{outcome} with {bytes} {places} overwritten with zeros:\n"),
    );
    for ((offset, length), excerpt) in masking.spans.iter().zip(masked) {
        let place = place(excerpt.section.as_deref(), *offset);
        let says = excerpt
            .text()
            .map_or_else(|| excerpt.hex(), |text| legible(&text));
        let line = format!(
            "{INDENT}       {place}, {}: {says}",
            plural(*length, "byte")
        );
        add(out, &cut(&line, paper.width));
        out.push('\n');
    }
}

/// As much of a line as fits.
pub(super) fn cut(line: &str, width: usize) -> String {
    console::truncate_str(line, width, "…").into_owned()
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
    if coverage.allowed + coverage.blocked > 0 {
        let (allowed, blocked) = (coverage.allowed, coverage.blocked);
        add(
            &mut out,
            &format!("By lists: {allowed} allowed, {blocked} blocked\n"),
        );
    }
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

/// Which models judged, where not all of them are embedded.
pub(super) fn models(in_use: &InUse) -> String {
    if in_use.networks.infos().all(|info| info.is_shipped) {
        return String::new();
    }
    let told = |info: NetworkInfo<'_>| format!("{} ({})", info.id(), origin(info.is_shipped));
    let told: Vec<String> = in_use.networks.infos().map(told).collect();
    format!("Models: {}\n", legible(&told.join(", ")))
}

pub(super) fn add(out: &mut String, text: &str) {
    out.push_str(text);
}

pub(super) fn plural(count: u64, noun: &str) -> String {
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
