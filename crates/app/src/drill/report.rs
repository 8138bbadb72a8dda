//! What a drill says, as text and as JSON.

use std::io::{Write, stdout};

use anyhow::Result;
use serde_json::json;
use thymus_schema::Value;

use super::Summary;
use super::traces::Scenario;

pub(super) fn list(scenarios: &[&Scenario], json: bool) -> Result<()> {
    let mut out = stdout().lock();
    if json {
        let all = scenarios.iter().map(
            |one| json!({ "id": one.id, "title": one.title, "unit": one.unit, "sizes": one.sizes }),
        );
        serde_json::to_writer(&mut out, &all.collect::<Vec<_>>())?;
        writeln!(out)?;
        return Ok(());
    }
    for one in scenarios {
        let sizes: Vec<String> = one.sizes.iter().map(ToString::to_string).collect();
        writeln!(
            out,
            "{:<18} {} ({} {})",
            one.id,
            one.title,
            sizes.join(", "),
            one.unit
        )?;
    }
    Ok(())
}

pub(super) fn print(summary: &Summary, json: bool) -> Result<()> {
    let mut out = stdout().lock();
    if json {
        serde_json::to_writer(&mut out, summary)?;
        writeln!(out)?;
        return Ok(());
    }
    let many = |n: usize| Value::Count(n as u64);
    writeln!(
        out,
        "Drill on {} of {} devices, in {} real events of the last hours; learned until {}.\n\
         Nothing was sent, and nothing of it is kept.\n",
        many(summary.devices_tried),
        many(summary.devices_known),
        many(summary.background_events),
        Value::Time(summary.learned_until),
    )?;
    for scenario in &summary.scenarios {
        writeln!(out, "{}", scenario.title)?;
        let sizes: Vec<String> = scenario
            .sizes
            .iter()
            .map(|one| {
                format!(
                    "{} {}: {} of {}",
                    Value::Count(one.size),
                    scenario.unit,
                    one.found,
                    one.of
                )
            })
            .collect();
        writeln!(out, "   found at {}", sizes.join(" · "))?;
        match scenario.median_delay_secs {
            Some(delay) => writeln!(
                out,
                "   alerted {} after it began (median)",
                Value::Seconds(delay)
            )?,
            None => writeln!(out, "   not found at any of these sizes")?,
        }
        let mine = summary
            .tried
            .iter()
            .filter(|one| one.scenario == scenario.id);
        for one in mine.filter(|one| one.smallest.is_none()) {
            writeln!(out, "   not found on {}", one.name)?;
        }
    }
    Ok(())
}
