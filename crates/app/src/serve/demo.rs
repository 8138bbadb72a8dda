//! The demo in the console: the captures inside the program, judged, in a store of their own beside the site's.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use thymus_analyst::IncidentBudget;
use thymus_schema::{Alert, Event, LocalNetworks};
use thymus_store::database::Limits;
use thymus_store::journal::FrameBody;
use thymus_store::{Archive, ArchiveLimits, Database};

use super::now;
use crate::demo::CAPTURES;
use crate::output::{self, Findings};
use crate::pipeline::{self, Onlooker, RunPlan};
use crate::respond::{self, Planner};
use crate::run::{detectors, devices};

const BUDGET: f64 = 5.0;
const EVENTS_OF_FRAME: usize = 5_000;
/// Says of a demo that it is whole, and which version made it.
const WHOLE: &str = "whole";

/// A folder that is laid out like a state folder.
pub(super) fn folder(state: &Path) -> PathBuf {
    state.join("store/demo")
}

/// Takes the demo's files away.
pub(super) fn unload(state: &Path) -> Result<()> {
    let folder = folder(state);
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// The demo that was loaded before, unless another version made it.
///
/// # Errors
/// When it is damaged or of another version; its files are gone then.
pub(super) fn kept(state: &Path) -> Result<Option<Database>> {
    let folder = folder(state);
    let Ok(made_by) = fs::read_to_string(folder.join(WHOLE)) else {
        return unload(state).map(|()| None);
    };
    let open = || {
        ensure!(
            made_by == env!("CARGO_PKG_VERSION"),
            "version {made_by} made it"
        );
        Ok(Database::open(
            &folder.join("store"),
            Limits::default(),
            now(),
        )?)
    };
    match open() {
        Ok(database) => Ok(Some(database)),
        Err(error) => {
            unload(state)?;
            Err(error)
        }
    }
}

/// Judges the captures and keeps what was found.
pub(super) fn load(state: &Path) -> Result<Database> {
    unload(state)?;
    let folder = folder(state);
    let captures = folder.join("captures");
    fs::create_dir_all(&captures)
        .with_context(|| format!("cannot make the folder {}", captures.display()))?;
    let mut paths = Vec::new();
    for (name, content) in CAPTURES {
        let path = captures.join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        paths.push(path);
    }
    let mut store = Store {
        database: Database::open(&folder.join("store"), Limits::default(), now())?,
        archive: Archive::open(&Archive::folder(&folder), ArchiveLimits::default())?,
        seq: 0,
        events: Vec::new(),
        alerts: Vec::new(),
        planner: Planner::open(&folder)?,
        local: None,
    };
    let plan = RunPlan {
        paths,
        budget: BUDGET,
        ..RunPlan::default()
    };
    let (mut known, mut cards) = (Ok(Vec::new()), Vec::new());
    let outcome = pipeline::run(
        &plan,
        &mut store,
        |_, _| {},
        |engine, _, _| {
            known = devices(engine);
            cards = respond::cards(engine);
        },
    )?;
    let known = known?.into_iter().map(|(_, device)| device).collect();
    let findings = Findings::new(&outcome, IncidentBudget::PerHundredDevices(BUDGET));
    let report = serde_json::to_value(output::object(&findings))?;
    let list = |key: &str| -> Vec<Value> {
        let list = report.get(key).and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    let mut incidents = list("incidents");
    incidents.extend(list("below_the_line"));
    let alerts = std::mem::take(&mut store.alerts);
    let status = json!({
        "at": now(), "source": "the demo that comes with Thymus",
        "coverage": report.get("coverage"), "budget_per_day": report.get("budget_per_day"),
        "local_networks": report.get("local_networks"),
        "device_hours": outcome.summary.device_hours, "detectors": detectors(&outcome.summary),
    });
    store.flush()?;
    if let Some(local) = &store.local {
        respond::decide_demo(&folder, &store.planner, &findings, &cards, local, now())?;
    }
    for body in [
        FrameBody::Devices(known),
        FrameBody::Alerts(alerts),
        FrameBody::Incidents(incidents),
        FrameBody::Status(status),
    ] {
        store.write(&body)?;
    }
    store.archive.flush()?;
    fs::remove_dir_all(&captures)
        .with_context(|| format!("cannot remove {}", captures.display()))?;
    let whole = folder.join(WHOLE);
    fs::write(&whole, env!("CARGO_PKG_VERSION"))
        .with_context(|| format!("cannot write {}", whole.display()))?;
    Ok(store.database)
}

/// Keeps what is seen on the way.
struct Store {
    database: Database,
    archive: Archive,
    seq: u64,
    events: Vec<Event>,
    alerts: Vec<Alert>,
    planner: Planner,
    local: Option<LocalNetworks>,
}

impl Store {
    fn write(&mut self, body: &FrameBody) -> Result<()> {
        self.seq += 1;
        if let FrameBody::Events(events) = body {
            self.archive.append(self.seq, events)?;
        }
        self.database.ingest(self.seq, body, now())?;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let events = std::mem::take(&mut self.events);
        self.planner.events(&events);
        self.write(&FrameBody::Events(events))
    }
}

impl Onlooker for Store {
    fn event(&mut self, event: &Event, local: &LocalNetworks) -> Result<()> {
        self.local.get_or_insert_with(|| local.clone());
        self.events.push(event.clone());
        if self.events.len() >= EVENTS_OF_FRAME {
            self.flush()?;
        }
        Ok(())
    }

    fn alert(&mut self, alert: &Alert) -> Result<()> {
        self.alerts.push(alert.clone());
        Ok(())
    }
}
