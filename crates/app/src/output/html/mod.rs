//! The report as one self-contained page: no scripts, no fonts, nothing fetched. It follows the
//! reader's light or dark setting and prints well.
//!
//! Every text that may come from the wire goes through [`escaped`], which also removes what could
//! steer or reorder text.

mod graph;
mod incident;
mod style;
mod timeline;

use std::fmt::{self, Write as _};

use thymus_analyst::legible;
use thymus_ingest::InputStatus;
use thymus_schema::{Incident, Timestamp, Value};

use crate::output::Findings;

/// The page.
pub(crate) fn page(findings: &Findings<'_>) -> String {
    let mut out = String::new();
    match render(findings, &mut out) {
        Ok(()) => out,
        // Writing to a string does not fail.
        Err(fmt::Error) => String::new(),
    }
}

fn render(findings: &Findings<'_>, out: &mut String) -> fmt::Result {
    let title = match findings.shown.len() {
        0 if findings.nothing_read().is_some() => "Nothing was read".to_owned(),
        0 if findings.outcome.coverage.judged_share() <= 0.0 => "Not judged".to_owned(),
        0 => "Nothing to show".to_owned(),
        1 => "One incident".to_owned(),
        n => format!("{n} incidents"),
    };
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <title>Thymus report: {}</title><style>{}</style></head><body><main>\n",
        escaped(&title),
        style::SHEET
    )?;
    summary(findings, &title, out)?;
    for incident in &findings.shown {
        incident::section(incident, findings, out)?;
    }
    below(findings, out)?;
    coverage(findings, out)?;
    inputs(findings, out)?;
    reading(out);
    out.push_str("</main></body></html>\n");
    Ok(())
}

/// Text made safe for HTML content and attributes.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in legible(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// A time as people write it.
pub(crate) fn time(ts: Timestamp) -> String {
    Value::Time(ts).to_string()
}

fn summary(findings: &Findings<'_>, title: &str, out: &mut String) -> fmt::Result {
    let coverage = &findings.outcome.coverage;
    write!(
        out,
        "<header class=\"top\"><div><p class=\"brand\">Thymus</p><h1>{}</h1><p class=\"sub\">{}</p>\
         </div></header><section class=\"tiles\">",
        escaped(title),
        escaped(&period(findings))
    )?;
    let judged = match (coverage.packets, coverage.records) {
        (0, 0) => "nothing".to_owned(),
        (0, all) => share(coverage.records_judged, all),
        (all, 0) => share(coverage.packets_judged, all),
        (packets, records) => share(
            coverage.packets_judged + coverage.records_judged,
            packets + records,
        ),
    };
    let read = if coverage.packets > 0 {
        (Value::Count(coverage.packets).to_string(), "packets read")
    } else {
        (
            Value::Count(coverage.records).to_string(),
            "log records read",
        )
    };
    let high = findings
        .shown
        .iter()
        .filter(|incident| incident.confidence == thymus_schema::Confidence::High)
        .count();
    let tiles = [
        match findings.shown.len() {
            1 => ("1".to_owned(), "incident to look at"),
            n => (n.to_string(), "incidents to look at"),
        },
        (high.to_string(), "of high confidence"),
        (
            Value::Count(coverage.entities).to_string(),
            "devices watched",
        ),
        read,
        (judged, "of it judged"),
    ];
    for (number, label) in tiles {
        write!(
            out,
            "<div class=\"tile\"><b>{}</b><span>{label}</span></div>",
            escaped(&number)
        )?;
    }
    out.push_str("</section>\n");
    if let Some(why) = findings.nothing_read() {
        writeln!(
            out,
            "<section class=\"card\"><p class=\"lead\">{why}</p></section>"
        )?;
    } else if findings.shown.is_empty() {
        out.push_str(
            "<section class=\"card\"><p class=\"lead\">Nothing stood out enough to be shown. What \
             came nearest is listed below the line, and what could not be judged is stated under \
             coverage.</p></section>\n",
        );
    } else if findings.shown.len() > 1 {
        overview(findings, out)?;
    }
    Ok(())
}

fn period(findings: &Findings<'_>) -> String {
    let all = || findings.shown.iter().chain(&findings.below);
    let first = all().map(|incident| incident.first_seen).min();
    let last = all().map(|incident| incident.last_seen).max();
    match first.zip(last) {
        Some((first, last)) => format!("Events between {} and {}", time(first), time(last)),
        None => "No behaviour stood out in what was read".to_owned(),
    }
}

/// All incidents on one axis, with links.
fn overview(findings: &Findings<'_>, out: &mut String) -> fmt::Result {
    out.push_str("<section class=\"card\"><h2>Overview</h2><ol class=\"toc\">");
    for incident in &findings.shown {
        write!(
            out,
            "<li><a href=\"#i{id}\"><span class=\"badge {word}\">{word}</span> {}</a></li>",
            escaped(&incident.title),
            id = incident.id,
            word = incident.confidence.as_str()
        )?;
    }
    out.push_str("</ol>");
    let rows: Vec<timeline::Row> = findings.shown.iter().map(overview_row).collect();
    timeline::draw(&rows, "All incidents over time", out)?;
    out.push_str("</section>\n");
    Ok(())
}

fn overview_row(incident: &Incident) -> timeline::Row {
    timeline::Row {
        label: format!("Incident {}", incident.rank),
        bars: incident
            .steps
            .iter()
            .map(|step| timeline::Bar {
                from: step.at,
                to: step.until,
                class: incident::phase_class(step.phase),
                hint: step.phase.title().to_owned(),
            })
            .collect(),
    }
}

fn below(findings: &Findings<'_>, out: &mut String) -> fmt::Result {
    if findings.below.is_empty() {
        return Ok(());
    }
    write!(
        out,
        "<section class=\"card\"><h2>Below the line</h2><p class=\"note\">Weaker or undecided; the \
         budget here is {} a day. Nothing is hidden: look here when one of these devices is already \
         under suspicion.</p><table><thead><tr><th>#</th><th>What</th><th>First seen</th><th>p</th>\
         </tr></thead><tbody>",
        findings.per_day
    )?;
    for incident in &findings.below {
        write!(
            out,
            "<tr><td>{}</td><td>{}</td><td class=\"nowrap\">{}</td><td class=\"nowrap\">{}</td></tr>",
            incident.rank,
            escaped(&incident.title),
            time(incident.first_seen),
            incident.p_value
        )?;
    }
    out.push_str("</tbody></table>");
    if findings.hidden > 0 {
        write!(
            out,
            "<p class=\"note\">And {} weaker ones.</p>",
            findings.hidden
        )?;
    }
    out.push_str("</section>\n");
    Ok(())
}

fn coverage(findings: &Findings<'_>, out: &mut String) -> fmt::Result {
    out.push_str("<section class=\"card\"><h2>Coverage</h2><table class=\"facts\"><tbody>");
    for (label, text) in coverage_rows(findings) {
        write!(
            out,
            "<tr><th>{}</th><td>{}</td></tr>",
            escaped(&label),
            escaped(&text)
        )?;
    }
    out.push_str("</tbody></table></section>\n");
    Ok(())
}

fn coverage_rows(findings: &Findings<'_>) -> Vec<(String, String)> {
    let (coverage, outcome) = (&findings.outcome.coverage, findings.outcome);
    let mut rows = Vec::new();
    let mut row = |label: &str, text: String| rows.push((label.to_owned(), text));
    let of = |part: u64, whole: u64| {
        format!(
            "{} of {} ({})",
            Value::Count(part),
            Value::Count(whole),
            share(part, whole)
        )
    };
    if coverage.packets > 0 {
        row(
            "Packets judged",
            of(coverage.packets_judged, coverage.packets),
        );
        row("Traffic read", Value::Bytes(coverage.bytes).to_string());
        row("Flows", Value::Count(coverage.flows).to_string());
    }
    if coverage.records > 0 {
        row(
            "Log records judged",
            of(coverage.records_judged, coverage.records),
        );
    }
    row("Events judged", Value::Count(coverage.events).to_string());
    let (cold, all) = (
        Value::Count(coverage.cold_entities),
        Value::Count(coverage.entities),
    );
    row(
        "Devices without a day of history",
        format!("{cold} of {all}; they are compared with the site and with what ships with Thymus"),
    );
    let networks: Vec<String> = outcome
        .local
        .networks()
        .iter()
        .map(ToString::to_string)
        .collect();
    let how = if outcome.local.is_declared() {
        "declared"
    } else {
        "found"
    };
    row(&format!("Local networks ({how})"), networks.join(", "));
    if let Some(filter) = &coverage.filter {
        row("Not looked at", format!("packets not matching {filter}"));
    }
    for (reason, n) in coverage.dropped.iter().filter(|(_, n)| **n > 0) {
        row(
            &format!("Not judged: {}", reason.replace('_', " ")),
            Value::Count(*n).to_string(),
        );
    }
    for id in &outcome.summary.disabled {
        row("Detector switched off after a failure", (*id).to_owned());
    }
    for promise in &outcome.summary.promises {
        if let Some(sentence) = promise.demotion() {
            row("Promise not kept", sentence);
        }
        if let Some(sentence) = promise.doubt() {
            row("Promise in doubt", sentence);
        }
    }
    rows
}

fn inputs(findings: &Findings<'_>, out: &mut String) -> fmt::Result {
    const ROWS_MAX: usize = 200;
    let entries = &findings.outcome.ledger.entries;
    let totals = findings.outcome.ledger.totals();
    write!(
        out,
        "<section class=\"card\"><h2>Inputs</h2><p class=\"note\">{} read, {} read in part, {} \
         duplicates, {} imported before, {} refused.</p><details><summary>List of inputs</summary>\
         <table><thead><tr><th>File</th><th>Format</th><th>Size</th><th>Outcome</th></tr></thead>\
         <tbody>",
        totals.read, totals.partial, totals.duplicate, totals.known, totals.refused
    )?;
    for entry in entries.iter().take(ROWS_MAX) {
        let outcome = match entry.status {
            InputStatus::Waiting => "not reached",
            InputStatus::Read => "read",
            InputStatus::Partial => "read in part",
            InputStatus::Duplicate => "duplicate",
            InputStatus::Known => "imported before",
            InputStatus::Refused => "refused",
        };
        let why = entry.problems.first().map(|problem| {
            format!(
                ": {} (byte {}; {})",
                problem.reason, problem.offset, problem.remedy
            )
        });
        write!(
            out,
            "<tr><td class=\"break\">{}</td><td>{}</td><td class=\"nowrap\">{}</td><td>{outcome}{}</td>\
             </tr>",
            escaped(&entry.path.display().to_string()),
            escaped(&entry.format),
            Value::Bytes(entry.bytes),
            escaped(&why.unwrap_or_default())
        )?;
    }
    out.push_str("</tbody></table>");
    if entries.len() > ROWS_MAX {
        write!(
            out,
            "<p class=\"note\">And {} more.</p>",
            entries.len() - ROWS_MAX
        )?;
    }
    out.push_str("</details></section>\n");
    Ok(())
}

fn reading(out: &mut String) {
    out.push_str(
        "<footer><h2>How to read this</h2><p>A p-value says how often something at least this odd \
         happens when nothing is wrong: 1e-4 is once in ten thousand device-hours. Incidents are \
         ranked by it and shown within a budget a day. Every number and name in a step is counted \
         from recorded events; the evidence tables give their ids. The same input always gives \
         this same report. Other tools' alerts and your own indicator lists are evidence, never \
         verdicts.</p></footer>",
    );
}

fn share(part: u64, whole: u64) -> String {
    Value::Share(if whole == 0 {
        1.0
    } else {
        part as f64 / whole as f64
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_text() {
        let hostile = "</script><img src=x onerror=\"alert('1')\">\u{202e}&\u{1b}";
        let safe = escaped(hostile);
        assert!(
            !safe.contains(['<', '>', '"', '\'', '\u{202e}', '\u{1b}']),
            "{safe}"
        );
        assert!(safe.contains("&amp;"));
    }
}
