//! How things stand, the demo, and the document.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::{Value, json};
use thymus_store::database::{HealthHistory, Overview};
use utoipa::ToSchema;

use super::{Answer, done};
use crate::auth::Caller;
use crate::error::{ApiError, ErrorBody};
use crate::state::{App, Metrics, Storage};

/// How the program is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// The latest status of the run; `null` before the first.
    status: Value,
    /// How it stood over time.
    history: HealthHistory,
    /// How much of the disk is used.
    storage: Storage,
    /// What was not looked at, with its share and why.
    blind_spots: Vec<Value>,
    /// What was dropped, by reason.
    dropped: Value,
    /// What drills said last (`thymus drill`), by attack; `null` before the first.
    drill: Value,
    /// What was damaged when the database was opened, and settings that are not what their file says.
    remarks: Vec<String>,
}

/// How things stand.
#[utoipa::path(get, path = "/overview", security(("session" = ["viewer"]), ("token" = ["viewer"])),
    responses((status = 200, body = Overview)))]
pub(crate) async fn overview(State(app): State<Arc<App>>) -> Answer<Overview> {
    app.wait(|app| {
        let is_demo = app.demo().is_some();
        Ok(Json(app.evidence().overview(app.host.now(), is_demo)?))
    })
    .await
}

/// How the program is.
#[utoipa::path(get, path = "/health", security(("session" = ["viewer"]), ("token" = ["viewer"])),
    responses((status = 200, body = Health)))]
pub(crate) async fn health(State(app): State<Arc<App>>) -> Answer<Health> {
    app.wait(|app| {
        let status = app.evidence().status()?;
        let coverage = status.get("coverage").cloned().unwrap_or_default();
        let mut storage = app.host.storage();
        storage.db_bytes = app.main.bytes();
        let mut remarks = app.main.remarks().to_vec();
        remarks.extend(settings_not_taken(&status));
        Ok(Json(Health {
            blind_spots: blind_spots(&coverage, &status),
            dropped: coverage
                .get("dropped")
                .cloned()
                .unwrap_or_else(|| json!({})),
            history: app.evidence().health_history()?,
            storage,
            status,
            drill: app.host.drill(app.demo().is_some()),
            remarks,
        }))
    })
    .await
}

/// How the program stands, in the text format of Prometheus; of this site also while the demo is shown.
#[utoipa::path(get, path = "/metrics", security(("session" = ["viewer"]), ("token" = ["viewer"])),
    responses((status = 200, body = String, content_type = "text/plain; version=0.0.4")))]
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let text = app
        .wait(|app| {
            let overview = app.main.overview(app.host.now(), false)?;
            Ok(app.host.metrics(&Metrics {
                status: app.main.status()?,
                incidents_open: overview.by_confidence,
                db_bytes: app.main.bytes(),
            }))
        })
        .await?;
    let kind = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    Ok((kind, text).into_response())
}

/// What the last reload of the run's settings did not take over.
fn settings_not_taken(status: &Value) -> Vec<String> {
    let settings = &status["configuration"];
    let (at, text) = (&settings["at"], |value: &Value| {
        value.as_str().unwrap_or_default().to_owned()
    });
    let refused = settings["refused"].as_str().map(|why| {
        format!(
            "The settings of the run were not taken over at {}, and all stayed as it was: {why}",
            text(at)
        )
    });
    let stays = settings["stays"].as_array().into_iter().flatten();
    let stays = stays.map(|what| {
        format!(
            "A setting of the run is not what its file says: {}",
            text(what)
        )
    });
    refused.into_iter().chain(stays).collect()
}

/// Kinds of files that are named as not judged.
const SPOTS_MAX: usize = 12;

/// What was seen and not judged, as far as the coverage says.
fn blind_spots(coverage: &Value, status: &Value) -> Vec<Value> {
    let number = |key: &str| coverage.get(key).and_then(Value::as_f64).unwrap_or(0.0);
    let mut spots = Vec::new();
    for (what, all, judged) in [
        ("packets", "packets", "packets_judged"),
        ("log records", "records", "records_judged"),
    ] {
        let (all, judged) = (number(all), number(judged));
        if all > judged {
            spots.push(json!({ "what": what, "share": (all - judged) / all,
                "why": "seen and not judged; the reasons are in what was dropped" }));
        }
    }
    if let Some(filter) = coverage.get("filter").and_then(Value::as_str) {
        spots.push(json!({ "what": "packets left out by the filter", "share": null,
            "why": format!("only packets matching {filter} are looked at; nobody counts the others") }));
    }
    let (devices, cold) = (number("entities"), number("cold_entities"));
    if devices > 0.0 && cold > 0.0 {
        spots.push(json!({ "what": "devices", "share": cold / devices,
            "why": "not known well yet: judged by what devices like them do" }));
    }
    spots.extend(files_not_judged(status));
    let encrypted = coverage.pointer("/dropped/conversations_encrypted");
    if let Some(n) = encrypted.and_then(Value::as_u64).filter(|n| *n > 0) {
        spots.push(
            json!({ "what": "files in encrypted conversations", "share": null,
            "why": format!("not judged: encrypted: {n} conversations") }),
        );
    }
    spots
}

/// By type and reason: `no network for its type: 312 files`.
fn files_not_judged(status: &Value) -> impl Iterator<Item = Value> {
    let spots = status
        .pointer("/files/not_judged")
        .and_then(Value::as_array);
    spots
        .into_iter()
        .flatten()
        .take(SPOTS_MAX)
        .filter_map(|spot| {
            let text = |key: &str| spot.get(key).and_then(Value::as_str);
            let files = spot.get("files").and_then(Value::as_u64)?;
            let of = spot.get("of").and_then(Value::as_u64)?.max(files).max(1);
            let (kind, reason) = (text("type")?, text("reason")?);
            Some(json!({
                "what": format!("files: {kind}, {reason}"),
                "share": files as f64 / of as f64,
                "why": format!("{reason}: {files} of {of} files"),
            }))
        })
}

/// Loads the demo: until it is taken away, all that was found is the demo's.
#[utoipa::path(post, path = "/demo", security(("session" = ["admin"]), ("token" = ["admin"])),
    responses((status = 204), (status = 409, body = ErrorBody)))]
pub(crate) async fn load_demo(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, ApiError> {
    let _turn = app.demo_lock.try_lock().map_err(|_| busy())?;
    if app.demo().is_some() {
        return Ok(done());
    }
    let actor = caller.actor(&app);
    app.wait(move |app| {
        let demo = app.host.load_demo().map_err(|error| ApiError {
            message: error.to_string(),
            ..ApiError::internal()
        })?;
        app.main.note(&actor, "demo.loaded", "", "")?;
        app.set_demo(Some(Arc::new(demo)));
        Ok(())
    })
    .await?;
    app.hub.tell("changed", json!({ "what": "demo" }));
    Ok(done())
}

/// Takes the demo away, with what was written about its incidents.
#[utoipa::path(delete, path = "/demo", security(("session" = ["admin"]), ("token" = ["admin"])),
    responses((status = 204), (status = 409, body = ErrorBody)))]
pub(crate) async fn unload_demo(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, ApiError> {
    let _turn = app.demo_lock.try_lock().map_err(|_| busy())?;
    if app.demo().is_some() {
        let actor = caller.actor(&app);
        app.wait(move |app| {
            app.set_demo(None);
            app.host.unload_demo().map_err(|error| ApiError {
                message: error.to_string(),
                ..ApiError::internal()
            })?;
            Ok(app.main.note(&actor, "demo.unloaded", "", "")?)
        })
        .await?;
        app.hub.tell("changed", json!({ "what": "demo" }));
    }
    Ok(done())
}

fn busy() -> ApiError {
    ApiError::new(
        axum::http::StatusCode::CONFLICT,
        "busy",
        "the demo is being loaded or taken away right now",
    )
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", security(()), responses((status = 200, body = Value)))]
pub(crate) async fn document() -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, super::document()).into_response()
}
