//! The report in plain words for a terminal.

use std::io::{self, Write};

use thymus_analyst::{Told, legible, more_of_the_same, sentence, told};
use thymus_detect::Promise;
use thymus_ingest::{InputStatus, LedgerEntry};
use thymus_schema::{Confidence, EventId, Incident, Step, Value};

use crate::console::Paper;
use crate::output::Findings;

/// How much to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// The incidents.
    Quiet,
    /// Also what is below the line and what was looked at.
    Normal,
    /// Also the events behind every step and every input.
    Verbose,
}

/// Writes the report.
///
/// # Errors
/// When `out` cannot be written to.
pub(crate) fn print(
    findings: &Findings<'_>,
    detail: Detail,
    paper: Paper,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut text = Text {
        paper,
        body: String::new(),
    };
    text.head(findings);
    for incident in &findings.shown {
        text.incident(incident, findings, detail);
    }
    if detail != Detail::Quiet {
        text.below(findings);
        text.coverage(findings);
        text.promises(&findings.outcome.summary.promises, detail);
        text.ledger(&findings.outcome.ledger.entries, detail);
    }
    out.write_all(text.body.as_bytes())
}

/// Writes one incident.
///
/// # Errors
/// When `out` cannot be written to.
pub(crate) fn print_incident(
    incident: &Incident,
    findings: &Findings<'_>,
    detail: Detail,
    paper: Paper,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut text = Text {
        paper,
        body: String::new(),
    };
    text.incident(incident, findings, detail);
    out.write_all(text.body.as_bytes())
}

/// Select graphic rendition codes (ECMA-48) used here.
#[derive(Clone, Copy)]
enum Tone {
    Strong,
    Faint,
    Alarm,
    Warn,
}

/// From this share on the few packets that were not judged do not belong in the first line.
const MOST: f64 = 0.98;

struct Text {
    paper: Paper,
    body: String,
}

impl Text {
    fn head(&mut self, findings: &Findings<'_>) {
        if let Some(why) = findings.nothing_read() {
            return self.line(0, why, Some(Tone::Strong));
        }
        let coverage = &findings.outcome.coverage;
        let what = match (coverage.packets, coverage.records) {
            (0, records) => format!("{} log records", Value::Count(records)),
            (packets, 0) => format!("{} packets", Value::Count(packets)),
            (packets, records) => {
                format!(
                    "{} packets and {} log records",
                    Value::Count(packets),
                    Value::Count(records)
                )
            }
        };
        let devices = Value::Count(coverage.entities);
        let judged = coverage.judged_share();
        let line = match findings.shown.len() {
            0 if judged <= 0.0 => {
                format!("Not judged: nothing of {what} could be read as traffic.")
            }
            0 if judged < MOST => format!(
                "Nothing to show in the {} of {what} that could be judged; the rest is not judged.",
                Value::Share(judged)
            ),
            0 => format!(
                "Nothing to show: {what} of {devices} devices held nothing that stands out."
            ),
            1 => format!("One incident in {what} of {devices} devices."),
            n => format!("{n} incidents in {what} of {devices} devices."),
        };
        self.line(0, &line, Some(Tone::Strong));
    }

    fn incident(&mut self, incident: &Incident, findings: &Findings<'_>, detail: Detail) {
        self.body.push('\n');
        let tone = match incident.confidence {
            Confidence::High => Tone::Alarm,
            Confidence::Medium => Tone::Warn,
            Confidence::Low => Tone::Strong,
        };
        self.wrapped(
            &format!("{}. ", incident.rank),
            3,
            &incident.title,
            Some(tone),
        );
        let until = Value::Time(incident.last_seen);
        let sure = format!(
            "confidence {}, p {} · {} to {until} · incident {}",
            incident.confidence.as_str(),
            incident.p_value,
            Value::Time(incident.first_seen),
            incident.id
        );
        self.line(3, &sure, Some(Tone::Faint));
        self.line(3, &incident.hypothesis, None);
        self.body.push('\n');
        let report = &findings.outcome.report;
        for Told { step, more } in told(incident, |alert| report.strength(alert)) {
            self.step(step, findings, detail);
            if let Some(rest) = more_of_the_same(more) {
                self.line(3, &rest, None);
            }
        }
        self.who(incident, findings);
        if !incident.techniques.is_empty() {
            let techniques = incident
                .techniques
                .iter()
                .map(|t| format!("{} {}", t.id(), t.name()));
            let techniques = techniques.collect::<Vec<_>>().join("; ");
            self.labelled("ATT&CK", &techniques);
        }
        let weakest = weakest_reference(incident, findings);
        if let Some(reference) = weakest {
            self.labelled("How sure", reference);
        }
        if !incident.next_steps.is_empty() {
            self.line(3, "Next:", Some(Tone::Strong));
            for step in &incident.next_steps {
                self.bullet(5, "-", step);
            }
        }
    }

    fn step(&mut self, step: &Step, findings: &Findings<'_>, detail: Detail) {
        let names = findings.outcome.report.names();
        let Some(seen) = sentence(&step.statement, names) else {
            return;
        };
        let at = Value::Time(step.at).to_string();
        let head = format!("{at}  {} {seen}", names.of(&step.entity));
        self.line(3, &head, None);
        if let Some(normal) = sentence(&step.counterfactual, names) {
            self.line(6, &format!("normal: {normal}"), Some(Tone::Faint));
        }
        if detail != Detail::Verbose {
            return;
        }
        if let Some(alert) = findings.outcome.report.alert(step.alert) {
            let line = format!(
                "{} · {} · p {} against {} · alert {}",
                step.phase.title().to_lowercase(),
                alert.detector,
                alert.p_value,
                reference(&alert.calibrated_by),
                alert.id
            );
            self.line(6, &line, Some(Tone::Faint));
        }
        for fact in step
            .statement
            .facts
            .iter()
            .filter(|fact| !fact.events.is_empty())
        {
            let shown: Vec<String> = fact.events.iter().take(4).map(EventId::to_string).collect();
            let more = fact.events_total.saturating_sub(shown.len() as u64);
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            let line = format!(
                "{}: {} (events {}{more})",
                fact.key.replace('_', " "),
                legible(&fact.value.to_string()),
                shown.join(", ")
            );
            self.line(6, &line, Some(Tone::Faint));
        }
    }

    fn who(&mut self, incident: &Incident, findings: &Findings<'_>) {
        let names = findings.outcome.report.names();
        let list = |suspected: bool| {
            let of = incident
                .affected
                .iter()
                .filter(|part| part.suspected == suspected);
            of.map(|part| names.of(&part.entity))
                .collect::<Vec<_>>()
                .join(", ")
        };
        for (label, who) in [("Suspected", list(true)), ("Affected", list(false))] {
            if !who.is_empty() {
                self.labelled(label, &who);
            }
        }
    }

    fn below(&mut self, findings: &Findings<'_>) {
        if findings.below.is_empty() {
            return;
        }
        self.body.push('\n');
        let n = findings.per_day;
        let head = format!("Below the line (the budget here is {n} a day; weaker or undecided)");
        self.line(0, &head, Some(Tone::Strong));
        for incident in &findings.below {
            let line = format!(
                "{}. {} · p {} · {}",
                incident.rank,
                incident.title,
                incident.p_value,
                Value::Time(incident.first_seen)
            );
            self.line(3, &line, Some(Tone::Faint));
        }
        if findings.hidden > 0 {
            let line = format!("and {} weaker ones", findings.hidden);
            self.line(3, &line, Some(Tone::Faint));
        }
    }

    fn coverage(&mut self, findings: &Findings<'_>) {
        let (coverage, outcome) = (&findings.outcome.coverage, findings.outcome);
        self.body.push('\n');
        self.line(0, "What was looked at", Some(Tone::Strong));
        if coverage.packets > 0 {
            let line = format!(
                "{} of {} packets judged ({}), {} in {} flows",
                Value::Count(coverage.packets_judged),
                Value::Count(coverage.packets),
                share(coverage.packets_judged, coverage.packets),
                Value::Bytes(coverage.bytes),
                Value::Count(coverage.flows)
            );
            self.line(3, &line, None);
        }
        if coverage.records > 0 {
            let line = format!(
                "{} of {} log records judged ({})",
                Value::Count(coverage.records_judged),
                Value::Count(coverage.records),
                share(coverage.records_judged, coverage.records)
            );
            self.line(3, &line, None);
        }
        if let Some(filter) = &coverage.filter {
            let line = format!(
                "only packets matching {filter} were looked at; the others are a blind spot"
            );
            self.line(3, &line, Some(Tone::Warn));
        }
        for (reason, n) in coverage.dropped.iter().filter(|(_, n)| **n > 0) {
            let line = format!(
                "not judged, {}: {}",
                reason.replace('_', " "),
                Value::Count(*n)
            );
            self.line(3, &line, Some(Tone::Warn));
        }
        if let Some(lag) = coverage.lag_ms_max {
            let line = format!(
                "the analysis was at most {:.1} s behind the wire",
                lag as f64 / 1e3
            );
            self.line(3, &line, None);
        }
        if coverage.cold_entities > 0 {
            let line = format!(
                "{} of {} devices were seen for less than a day: they are compared with the site and \
                 with what ships with Thymus, not yet with themselves",
                Value::Count(coverage.cold_entities),
                Value::Count(coverage.entities)
            );
            self.line(3, &line, None);
        }
        let found = if outcome.local.is_declared() {
            "declared"
        } else {
            "found"
        };
        let networks: Vec<String> = outcome
            .local
            .networks()
            .iter()
            .map(ToString::to_string)
            .collect();
        self.line(
            3,
            &format!("local networks ({found}): {}", networks.join(", ")),
            None,
        );
        for id in &outcome.summary.disabled {
            let line = format!("detector {id} failed and was switched off; please report it");
            self.line(3, &line, Some(Tone::Alarm));
        }
    }

    /// Promises that are broken; with every detail also those that may be.
    fn promises(&mut self, promises: &[Promise], detail: Detail) {
        for line in promises.iter().filter_map(Promise::demotion) {
            self.line(3, &line, Some(Tone::Alarm));
        }
        if detail == Detail::Verbose {
            for line in promises.iter().filter_map(Promise::doubt) {
                self.line(3, &line, Some(Tone::Warn));
            }
        }
    }

    fn ledger(&mut self, entries: &[LedgerEntry], detail: Detail) {
        const ENTRIES_MAX: usize = 20;
        let is_odd =
            |entry: &&LedgerEntry| detail == Detail::Verbose || entry.status != InputStatus::Read;
        let odd: Vec<&LedgerEntry> = entries.iter().filter(is_odd).collect();
        let limit = if detail == Detail::Verbose {
            usize::MAX
        } else {
            ENTRIES_MAX
        };
        for entry in odd.iter().take(limit) {
            let status = match entry.status {
                InputStatus::Waiting => "not reached",
                InputStatus::Read => "read",
                InputStatus::Partial => "read in part",
                InputStatus::Duplicate => "duplicate",
                InputStatus::Known => "already imported",
                InputStatus::Refused => "refused",
            };
            let path = legible(&entry.path.display().to_string());
            self.line(3, &format!("{status}: {path}"), None);
            for problem in &entry.problems {
                let at = if problem.offset > 0 {
                    format!(" at byte {}", Value::Count(problem.offset))
                } else {
                    String::new()
                };
                let line = format!("{}{at}: {}", legible(&problem.reason), problem.remedy);
                self.line(6, &line, Some(Tone::Faint));
            }
        }
        let more = odd.len().saturating_sub(limit);
        if more > 0 {
            self.line(
                3,
                &format!("and {more} more inputs; --verbose lists them"),
                None,
            );
        }
    }

    fn labelled(&mut self, label: &str, text: &str) {
        self.line(3, &format!("{label}: {text}"), None);
    }

    fn bullet(&mut self, indent: usize, mark: &str, text: &str) {
        let first = format!("{:indent$}{mark} ", "");
        self.wrapped(&first, indent + 2, text, None);
    }

    fn line(&mut self, indent: usize, text: &str, tone: Option<Tone>) {
        self.wrapped(&" ".repeat(indent), indent, text, tone);
    }

    /// Breaks `text` at spaces to the paper's width; every word is kept whole.
    fn wrapped(&mut self, first: &str, indent: usize, text: &str, tone: Option<Tone>) {
        let text = legible(text);
        let mut line = first.to_owned();
        let mut columns = first.chars().count();
        let mut is_fresh = true;
        for word in text.split_whitespace() {
            let wide = word.chars().count();
            if !is_fresh && columns + 1 + wide > self.paper.width {
                self.flush(&line, tone);
                line = " ".repeat(indent);
                columns = indent;
                is_fresh = true;
            }
            if !is_fresh {
                line.push(' ');
                columns += 1;
            }
            line.push_str(word);
            columns += wide;
            is_fresh = false;
        }
        if !is_fresh {
            self.flush(&line, tone);
        }
    }

    fn flush(&mut self, line: &str, tone: Option<Tone>) {
        let code = match tone.filter(|_| self.paper.colour) {
            Some(Tone::Strong) => "1",
            Some(Tone::Faint) => "2",
            Some(Tone::Alarm) => "1;31",
            Some(Tone::Warn) => "33",
            None => {
                self.body.push_str(line);
                self.body.push('\n');
                return;
            }
        };
        self.body
            .extend(["\u{1b}[", code, "m", line, "\u{1b}[0m\n"]);
    }
}

/// What the alerts were compared with, when not all had a history of their own.
pub(crate) fn weakest_reference(
    incident: &Incident,
    findings: &Findings<'_>,
) -> Option<&'static str> {
    let report = &findings.outcome.report;
    let mut by = incident
        .steps
        .iter()
        .filter_map(|step| report.alert(step.alert));
    by.any(|alert| alert.calibrated_by == "shipped").then_some(
        "there is too little history here to compare with, so rarity is judged by what ships with \
         Thymus; it gets sharper with days of traffic",
    )
}

/// A calibration reference in words.
pub(crate) fn reference(calibrated_by: &str) -> &str {
    match calibrated_by {
        "entity" => "its own past",
        "peers" => "devices like it",
        "site" => "this site",
        "shipped" => "what ships with Thymus",
        other => other,
    }
}

fn share(part: u64, whole: u64) -> Value {
    Value::Share(if whole == 0 {
        1.0
    } else {
        part as f64 / whole as f64
    })
}
