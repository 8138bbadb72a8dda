//! What is behind an incident: events, packets, the report; and queries over all events.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thymus_schema::{EventId, Timestamp};
use thymus_store::archive::query::{functions, tables as all_tables};
use thymus_store::{QueryError, QueryLimits, QueryResult};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use super::incidents::{IncidentDetail, detail};
use super::{AJson, APath, AQuery, Answer};
use crate::auth::Caller;
use crate::error::{ApiError, ErrorBody};
use crate::guard::REPORT_CSP;
use crate::report;
use crate::state::{App, Packets};

const EVENTS_MAX: usize = 500;
const ROWS_MAX: usize = 10_000;
const QUERY_TIME: Duration = Duration::from_secs(20);
const SQL_MAX: usize = 20_000;
/// Around the times of an incident, for events that came a little early or late.
const SLACK: Duration = Duration::from_hours(2);

/// Of which alert.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventQuery {
    /// Only those behind this alert.
    alert: Option<String>,
}

/// Events.
#[derive(Serialize, ToSchema)]
pub(crate) struct Events {
    /// In order of time.
    items: Vec<Value>,
    /// Those that are not kept any more.
    missing: u64,
}

/// A query.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewQuery {
    /// One SELECT over the tables that `/query/tables` lists.
    #[schema(max_length = 20000)]
    sql: String,
    /// Rows at most.
    #[schema(minimum = 1, maximum = 10000)]
    limit: Option<usize>,
}

/// The events behind an incident.
#[utoipa::path(get, path = "/incidents/{id}/events", security(("session" = ["viewer"]), ("token" = ["viewer"])),
    params(("id" = String, Path), EventQuery), responses((status = 200, body = Events),
    (status = 404, body = ErrorBody)))]
pub(crate) async fn events(
    State(app): State<Arc<App>>,
    APath(id): APath<String>,
    AQuery(query): AQuery<EventQuery>,
) -> Answer<Events> {
    let _turn = app
        .queries
        .acquire()
        .await
        .map_err(|_| ApiError::internal())?;
    app.wait(move |app| {
        let incident = app.evidence().incident(&id)?;
        Ok(Json(behind(app, &incident, query.alert.as_deref())?))
    })
    .await
}

/// The events behind an incident, or behind one of its alerts.
fn behind(app: &App, incident: &Value, alert: Option<&str>) -> Result<Events, ApiError> {
    let ids = event_ids(incident, alert);
    if ids.is_empty() {
        return Ok(Events {
            items: Vec::new(),
            missing: 0,
        });
    }
    let list: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
    let sql = format!(
        "SELECT json FROM events WHERE id IN ({}) ORDER BY ts",
        list.join(",")
    );
    let around = |key: &str| {
        let at = incident.get(key).and_then(Value::as_str);
        at.and_then(Timestamp::parse)
    };
    let limits = QueryLimits {
        from: around("first_seen").map(|at| at.minus(SLACK)),
        to: around("last_seen").map(|at| at.plus(SLACK)),
        ..limits(app, EVENTS_MAX)
    };
    let reader = app.host.events(app.demo().is_some());
    let result = reader
        .query(&sql, &limits)
        .map_err(|error| refused(&error))?;
    let items: Vec<Value> = result
        .rows
        .into_iter()
        .filter_map(|row| row.into_iter().next())
        .map(|cell| match cell {
            Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
            other => other,
        })
        .collect();
    Ok(Events {
        missing: (ids.len() - items.len().min(ids.len())) as u64,
        items,
    })
}

/// The ids of events that facts are made of; what is no id is left out.
fn event_ids(incident: &Value, alert: Option<&str>) -> BTreeSet<EventId> {
    let items = |value: &Value, key: &str| -> Vec<Value> {
        let list = value.get(key).and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    items(incident, "alerts")
        .iter()
        .filter(|one| alert.is_none_or(|id| one.get("id").and_then(Value::as_str) == Some(id)))
        .flat_map(|one| items(one, "evidence"))
        .flat_map(|fact| items(&fact, "events"))
        .filter_map(|id| id.as_str()?.parse().ok())
        .take(EVENTS_MAX)
        .collect()
}

fn limits(app: &App, rows_max: usize) -> QueryLimits {
    let begun = Instant::now();
    QueryLimits {
        rows_max,
        now: Some(app.host.now()),
        stop: Arc::new(move || begun.elapsed() > QUERY_TIME),
        ..QueryLimits::default()
    }
}

fn refused(error: &QueryError) -> ApiError {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    ApiError::new(StatusCode::BAD_REQUEST, "query", message)
}

/// The raw packets of an incident.
#[utoipa::path(get, path = "/incidents/{id}/packets.pcap",
    security(("session" = ["analyst"]), ("token" = ["analyst"])), params(("id" = String, Path)), responses(
    (status = 200, content_type = "application/x-pcapng", body = Vec<u8>),
    (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn packets(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    APath(id): APath<String>,
) -> Result<Response, ApiError> {
    if caller.session.pseudonymised {
        return Err(ApiError::forbidden(
            "pseudonymised",
            "packets cannot be shown with pseudonyms",
        ));
    }
    let actor = caller.actor(&app);
    let _turn = app
        .queries
        .acquire()
        .await
        .map_err(|_| ApiError::internal())?;
    let bytes = app
        .wait(move |app| {
            let incident = app.evidence().incident(&id)?;
            let events = behind(app, &incident, None)?.items;
            let packets = app.host.packets(&incident, &events);
            let packets = packets.map_err(|error| ApiError {
                message: error.to_string(),
                ..ApiError::internal()
            })?;
            let bytes = match packets {
                Packets::File(bytes) => bytes,
                Packets::None(why) => {
                    return Err(ApiError::new(StatusCode::NOT_FOUND, "no_packets", why));
                }
            };
            app.main.note(&actor, "packets.taken", &id, "")?;
            Ok(bytes)
        })
        .await?;
    let headers = [
        (header::CONTENT_TYPE, "application/x-pcapng"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"packets.pcapng\"",
        ),
    ];
    Ok((headers, bytes).into_response())
}

/// An incident as one page that stands alone.
#[utoipa::path(get, path = "/incidents/{id}/report.html",
    security(("session" = ["viewer"]), ("token" = ["viewer"])), params(("id" = String, Path)), responses(
    (status = 200, content_type = "text/html", body = String), (status = 404, body = ErrorBody)))]
pub(crate) async fn report_html(
    State(app): State<Arc<App>>,
    APath(id): APath<String>,
) -> Result<Response, ApiError> {
    let page = app
        .wait(move |app| {
            let detail = detail(app, &id)?;
            let value = serde_json::to_value(detail).map_err(|_| ApiError::internal())?;
            Ok(report::page(&value))
        })
        .await?;
    let mut response = page.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(REPORT_CSP),
    );
    headers.insert(
        header::CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=\"incident.html\""),
    );
    Ok(response)
}

/// An incident as a file.
#[utoipa::path(get, path = "/incidents/{id}/report.json",
    security(("session" = ["viewer"]), ("token" = ["viewer"])), params(("id" = String, Path)), responses(
    (status = 200, body = IncidentDetail), (status = 404, body = ErrorBody)))]
pub(crate) async fn report_json(
    State(app): State<Arc<App>>,
    APath(id): APath<String>,
) -> Result<Response, ApiError> {
    let detail = app.wait(move |app| detail(app, &id)).await?;
    let disposition = HeaderValue::from_static("attachment; filename=\"incident.json\"");
    Ok(([(header::CONTENT_DISPOSITION, disposition)], Json(detail)).into_response())
}

/// Runs SQL over the events that are kept.
#[utoipa::path(post, path = "/query", security(("session" = ["analyst"]), ("token" = ["analyst"])),
    request_body = NewQuery, responses((status = 200, body = Value), (status = 400, body = ErrorBody),
    (status = 403, body = ErrorBody)))]
pub(crate) async fn query(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    AJson(new): AJson<NewQuery>,
) -> Answer<Value> {
    if caller.session.pseudonymised {
        return Err(ApiError::forbidden(
            "pseudonymised",
            "a query would tell by its answers who stands behind a pseudonym",
        ));
    }
    let rows = new.limit.unwrap_or(1_000);
    if !(1..=ROWS_MAX).contains(&rows) || new.sql.chars().count() > SQL_MAX {
        return Err(ApiError::bad(format!(
            "a query has at most {SQL_MAX} characters and 1 to {ROWS_MAX} rows"
        )));
    }
    let _turn = app
        .queries
        .acquire()
        .await
        .map_err(|_| ApiError::internal())?;
    app.wait(move |app| {
        let begun = Instant::now();
        let reader = app.host.events(app.demo().is_some());
        let result: QueryResult = reader
            .query(&new.sql, &limits(app, rows))
            .map_err(|error| refused(&error))?;
        let mut value = serde_json::to_value(result).map_err(|_| ApiError::internal())?;
        if let Some(object) = value.as_object_mut() {
            let elapsed = begun.elapsed().as_millis() as u64;
            object.insert("elapsed_ms".to_owned(), json!(elapsed));
        }
        Ok(Json(value))
    })
    .await
}

/// The tables and functions that a query may use.
#[utoipa::path(get, path = "/query/tables", security(("session" = ["analyst"]), ("token" = ["analyst"])),
    responses((status = 200, body = Value)))]
pub(crate) async fn tables() -> Json<Value> {
    Json(json!({ "tables": all_tables(), "functions": functions() }))
}
