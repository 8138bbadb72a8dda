//! `thymus export`: incidents by hand, as others read them.

use std::io::{Read, Write, stdin, stdout};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use thymus_outputs::{Format, Kind, Record};
use thymus_store::Database;
use thymus_store::database::{IncidentFilter, Limits};

use crate::Found;
use crate::cli::ExportArgs;
use crate::serve;

/// A longer report is not read.
const REPORT_BYTES_MAX: u64 = 1 << 30;
const PAGE: usize = 500;

/// Runs the command.
///
/// # Errors
/// When an incident is not there, or cannot be read.
pub(crate) fn run(args: &ExportArgs) -> Result<Found> {
    let format = Format::by_id(&args.format).context("there is no such format")?;
    let incidents = match (&args.state, args.incidents.as_slice()) {
        (None, [dash]) if dash == "-" => of_report()?,
        (Some(state), ids) if !ids.iter().any(|id| id == "-") => of_state(state, ids)?,
        (Some(_), _) => bail!("- reads a report, and --state a folder: only one of them"),
        (None, _) => bail!("name the folder with --state, or read a report with -"),
    };
    let mut records = Vec::new();
    for incident in incidents {
        let alerts = alerts(&incident);
        records.push(Record::new(Kind::Incident, false, incident));
        if args.alerts && format.takes(Kind::Alert) {
            records.extend(alerts);
        }
    }
    let all: Vec<&Record> = records.iter().collect();
    stdout().write_all(format.file(&all)?.as_bytes())?;
    Ok(Found::Nothing)
}

/// The alerts of an incident, as an output tells them.
fn alerts(incident: &Value) -> Vec<Record> {
    let each = incident["alerts"].as_array().into_iter().flatten();
    each.map(|alert| {
        let mut alert = alert.clone();
        if let Value::Object(fields) = &mut alert {
            fields.insert("incident".to_owned(), incident["id"].clone());
            fields.insert("confidence".to_owned(), incident["confidence"].clone());
        }
        Record::new(Kind::Alert, false, alert)
    })
    .collect()
}

/// What `thymus replay --json` prints, or lines of `thymus run --json`.
fn of_report() -> Result<Vec<Value>> {
    let mut text = String::new();
    stdin()
        .take(REPORT_BYTES_MAX)
        .read_to_string(&mut text)
        .context("cannot read standard input")?;
    let mut incidents = Vec::new();
    for value in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
        let value = value.context("standard input is no report of thymus replay --json")?;
        match value["kind"].as_str() {
            Some("incident") => incidents.push(value),
            Some(_) => {}
            None => incidents.extend(value["incidents"].as_array().into_iter().flatten().cloned()),
        }
    }
    Ok(incidents)
}

fn of_state(state: &Path, ids: &[String]) -> Result<Vec<Value>> {
    let store = serve::folder(state);
    ensure!(
        store.is_dir(),
        "nothing is kept in {} yet: `thymus console` or `thymus run --console` does that",
        state.display()
    );
    let database = Database::open_beside(&store, Limits::default(), serve::now())?;
    if !ids.is_empty() {
        let each = ids.iter().map(|id| {
            let found = database.incident(id);
            found.with_context(|| format!("cannot export {id}"))
        });
        return each.collect();
    }
    let mut incidents = Vec::new();
    loop {
        let filter = IncidentFilter {
            shown: Some(true),
            offset: incidents.len() as u64,
            limit: PAGE,
            ..IncidentFilter::default()
        };
        let page = database.incidents(&filter, serve::now())?;
        if page.items.is_empty() {
            return Ok(incidents);
        }
        for item in page.items {
            incidents.push(database.incident(&item.id)?);
        }
    }
}
