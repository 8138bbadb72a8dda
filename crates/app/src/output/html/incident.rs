//! One incident of the page.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use thymus_analyst::{Names, Told, more_of_the_same, sentence, told};
use thymus_schema::{EventId, Incident, Phase, Step};

use super::{escaped, graph, time, timeline};
use crate::output::Findings;
use crate::output::text::{reference, weakest_reference};

/// The colour class of a phase.
pub(super) fn phase_class(phase: Phase) -> &'static str {
    match phase {
        Phase::Unusual => "p0",
        Phase::Reconnaissance => "p1",
        Phase::Access => "p2",
        Phase::Credentials => "p3",
        Phase::Control => "p4",
        Phase::Lateral => "p5",
        Phase::Exfiltration => "p6",
        Phase::Impact => "p7",
    }
}

/// Writes the incident.
pub(super) fn section(
    incident: &Incident,
    findings: &Findings<'_>,
    out: &mut String,
) -> fmt::Result {
    let names = findings.outcome.report.names();
    let word = incident.confidence.as_str();
    write!(
        out,
        "<section class=\"card incident {word}\" id=\"i{}\"><div class=\"meta\"><span class=\"badge \
         {word}\">{word} confidence</span><span>Incident {}</span><span>{} to {}</span><span>p {}\
         </span></div><h2>{}</h2><p class=\"lead\">{}</p>",
        incident.id,
        incident.rank,
        time(incident.first_seen),
        time(incident.last_seen),
        incident.p_value,
        escaped(&incident.title),
        escaped(&incident.hypothesis)
    )?;
    who(incident, names, out)?;
    out.push_str("<h3>When</h3>");
    timeline::draw(&phase_rows(incident, names), "Phases over time", out)?;
    let mut picture = String::new();
    graph::draw(incident, findings, &mut picture)?;
    if !picture.is_empty() {
        write!(out, "<h3>Who and whom</h3>{picture}")?;
    }
    out.push_str("<h3>What happened</h3><ol class=\"steps\">");
    let report = &findings.outcome.report;
    for Told { step, more } in told(incident, |alert| report.strength(alert)) {
        step_item(step, names, more, out)?;
    }
    out.push_str("</ol>");
    if let Some(note) = weakest_reference(incident, findings) {
        write!(out, "<p class=\"note\">How sure: {}.</p>", escaped(note))?;
    }
    next_steps(incident, out)?;
    techniques(incident, out)?;
    evidence(incident, findings, out)?;
    out.push_str("</section>\n");
    Ok(())
}

fn who(incident: &Incident, names: &Names, out: &mut String) -> fmt::Result {
    out.push_str("<div class=\"chips\">");
    for part in &incident.affected {
        let word = if part.suspected {
            "suspected"
        } else {
            "affected"
        };
        write!(
            out,
            "<span class=\"chip\"><b>{}</b> {word}</span>",
            escaped(&names.of(&part.entity))
        )?;
    }
    out.push_str("</div>");
    Ok(())
}

fn phase_rows(incident: &Incident, names: &Names) -> Vec<timeline::Row> {
    let phases: BTreeSet<Phase> = incident.steps.iter().map(|step| step.phase).collect();
    phases
        .into_iter()
        .map(|phase| timeline::Row {
            label: phase.title().to_owned(),
            bars: incident
                .steps
                .iter()
                .filter(|step| step.phase == phase)
                .map(|step| timeline::Bar {
                    from: step.at,
                    to: step.until,
                    class: phase_class(phase),
                    hint: format!(
                        "{}: {} {}",
                        time(step.at),
                        names.of(&step.entity),
                        sentence(&step.statement, names).unwrap_or_default()
                    ),
                })
                .collect(),
        })
        .collect()
}

fn step_item(step: &Step, names: &Names, more: u64, out: &mut String) -> fmt::Result {
    let Some(seen) = sentence(&step.statement, names) else {
        return Ok(());
    };
    write!(
        out,
        "<li class=\"{}\"><span class=\"when\">{}</span> <span class=\"phase\">{}</span><p \
         class=\"seen\"><b>{}</b> {}</p>",
        phase_class(step.phase),
        time(step.at),
        step.phase.title(),
        escaped(&names.of(&step.entity)),
        escaped(&seen)
    )?;
    if let Some(normal) = sentence(&step.counterfactual, names) {
        write!(
            out,
            "<p class=\"normal\"><b>Normal:</b> {}</p>",
            escaped(&normal)
        )?;
    }
    if let Some(rest) = more_of_the_same(more) {
        write!(
            out,
            "<p class=\"normal\">{}, listed under evidence</p>",
            escaped(&rest)
        )?;
    }
    out.push_str("</li>");
    Ok(())
}

fn next_steps(incident: &Incident, out: &mut String) -> fmt::Result {
    if incident.next_steps.is_empty() {
        return Ok(());
    }
    out.push_str("<h3>What to do next</h3><ol class=\"next\">");
    for step in &incident.next_steps {
        write!(out, "<li>{}</li>", escaped(step))?;
    }
    out.push_str("</ol>");
    Ok(())
}

fn techniques(incident: &Incident, out: &mut String) -> fmt::Result {
    if incident.techniques.is_empty() {
        return Ok(());
    }
    out.push_str("<h3>MITRE ATT&amp;CK</h3><div class=\"chips\">");
    for technique in &incident.techniques {
        write!(
            out,
            "<span class=\"chip\"><b>{}</b> {}</span>",
            technique.id(),
            technique.name()
        )?;
    }
    out.push_str("</div>");
    Ok(())
}

/// Every fact with the events it was counted from.
fn evidence(incident: &Incident, findings: &Findings<'_>, out: &mut String) -> fmt::Result {
    const EVENTS_SHOWN: usize = 4;
    out.push_str(
        "<details><summary>Evidence</summary><table><thead><tr><th>Step</th><th>Detector</th>\
         <th>Fact</th><th>Value</th><th>Events</th></tr></thead><tbody>",
    );
    for step in &incident.steps {
        let alert = findings.outcome.report.alert(step.alert);
        let detector = alert.map_or(String::new(), |alert| {
            format!(
                "{}, p {} against {}",
                alert.detector,
                alert.p_value,
                reference(&alert.calibrated_by)
            )
        });
        for (index, fact) in step.statement.facts.iter().enumerate() {
            let events: Vec<String> = fact
                .events
                .iter()
                .take(EVENTS_SHOWN)
                .map(EventId::to_string)
                .collect();
            let more = fact.events_total.saturating_sub(events.len() as u64);
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            let (at, by) = if index == 0 {
                (time(step.at), detector.clone())
            } else {
                (String::new(), String::new())
            };
            write!(
                out,
                "<tr><td class=\"nowrap\">{at}</td><td>{}</td><td>{}</td><td class=\"break\">{}</td>\
                 <td><code>{}{more}</code></td></tr>",
                escaped(&by),
                escaped(&fact.key.replace('_', " ")),
                escaped(&fact.value.to_string()),
                escaped(&events.join(" "))
            )?;
        }
    }
    write!(
        out,
        "</tbody></table><p class=\"note\">Incident <code>{}</code></p></details>",
        incident.id
    )?;
    Ok(())
}
