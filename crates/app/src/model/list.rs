//! `thymus model list`: which networks judge, which are replaced, which are refused.

use std::io::{Write, stdout};

use anyhow::Result;
use serde::Serialize;
use thymus_analyst::legible;
use thymus_store::models::{Installed, ModelStore, ShadowRun, digest};

use super::{origin, shipped, with};
use crate::Found;
use crate::scan::escaped;

#[derive(Serialize)]
struct Line {
    model: String,
    name: String,
    version: String,
    types: Vec<String>,
    origin: &'static str,
    /// `in use`, `replaced` by an installed one of its name, `shadow`, or `refused`.
    state: &'static str,
    blake3: String,
    #[serde(flatten)]
    installed: Option<Installed>,
    shadow_run: Option<ShadowRun>,
    error: Option<String>,
}

/// Lists all networks: first the embedded ones.
///
/// # Errors
/// When the folder cannot be read.
pub(super) fn run(store: &ModelStore, json: bool) -> Result<Found> {
    let models = store.models()?;
    let is_active = |name: &str| {
        let mut models = models.iter();
        models.any(|(installed, versions)| installed == name && versions.active.is_some())
    };
    let mut lines = Vec::new();
    for info in shipped()?.infos() {
        let state = if is_active(info.name) {
            "replaced"
        } else {
            "in use"
        };
        lines.push(Line {
            model: info.id(),
            name: info.name.to_owned(),
            version: info.version.to_owned(),
            types: info.type_names(),
            origin: origin(true),
            state,
            blake3: digest(info.file),
            installed: None,
            shadow_run: None,
            error: None,
        });
    }
    for installed in models.iter().flat_map(|(_, versions)| versions.both()) {
        lines.push(line(store, installed)?);
    }
    let mut out = stdout().lock();
    for line in &lines {
        if json {
            writeln!(out, "{}", escaped(&serde_json::to_string(line)?))?;
        } else {
            write!(out, "{}", text(line))?;
        }
    }
    let is_refused = lines.iter().any(|line| line.state == "refused");
    Ok(if is_refused {
        Found::Something
    } else {
        Found::Nothing
    })
}

fn line(store: &ModelStore, installed: &Installed) -> Result<Line> {
    let opened = with(shipped()?, store, std::slice::from_ref(installed));
    let error = opened.err().map(|error| format!("{error:#}"));
    let state = match (&error, &installed.activated) {
        (Some(_), _) => "refused",
        (None, Some(_)) => "in use",
        (None, None) => "shadow",
    };
    Ok(Line {
        model: format!("{}-{}", installed.name, installed.version),
        name: installed.name.clone(),
        version: installed.version.clone(),
        types: installed.types.clone(),
        origin: origin(false),
        state,
        blake3: installed.blake3.clone(),
        installed: Some(installed.clone()),
        shadow_run: store.shadow_run(&installed.blake3)?,
        error,
    })
}

fn text(line: &Line) -> String {
    let (model, types) = (legible(&line.model), legible(&line.types.join(", ")));
    let (origin, state) = (line.origin, line.state);
    let mut lines = vec![format!("{model:<40} {origin:<9} {state:<8}  {types}")];
    if let Some(installed) = &line.installed {
        let (key, act) = (&installed.signer, &installed.installed);
        let (time, user) = (&act.time, &act.user);
        lines.push(format!("signed by key {key}, installed {time} by {user}"));
        lines.push(match &line.shadow_run {
            Some(run) => told(run),
            None => "no shadow run".to_owned(),
        });
        if let Some(activated) = &installed.activated {
            let (time, user) = (&activated.act.time, &activated.act.user);
            let why = activated
                .anyway
                .as_ref()
                .map(|why| format!(", anyway: {why}"));
            let why = why.unwrap_or_default();
            lines.push(format!("activated {time} by {user}{why}"));
        }
    }
    lines.extend(line.error.clone());
    let lines: Vec<String> = lines.iter().map(|line| legible(line)).collect();
    lines.join("\n    ") + "\n"
}

fn told(run: &ShadowRun) -> String {
    let word = if run.passed { "passed" } else { "failed" };
    let (time, user, judged) = (&run.act.time, &run.act.user, run.judged);
    let (suspicious, malicious) = (run.suspicious, run.malicious);
    format!(
        "{word} its shadow run of {time} by {user}: {judged} different files judged, {suspicious} suspicious, {malicious} malicious"
    )
}
