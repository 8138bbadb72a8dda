//! Incidents.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thymus_store::database::feedback::Lowered;
use thymus_store::database::{
    Case, ExceptionUse, Graph, IncidentFilter, IncidentItem, Page, StateFilter,
};
use utoipa::{IntoParams, ToSchema};

use super::{APath, AQuery, Answer, limit, offset};
use crate::auth::Caller;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use crate::veil::{Used, pseudonyms_in};

/// Items that are searched through where only pseudonyms may be searched for.
const VEILED_MAX: usize = 5_000;

/// Which incidents.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct IncidentQuery {
    /// By the state of their case.
    #[serde(default)]
    state: StateFilter,
    /// Inside the budget or below the line; both without.
    shown: Option<bool>,
    /// With this entity in it.
    device: Option<String>,
    /// With this in title, story or names.
    #[param(max_length = 200)]
    q: Option<String>,
    /// Items at most.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the piece before.
    #[param(pattern = "^[0-9]{1,9}$")]
    cursor: Option<String>,
}

/// An incident: the object that `thymus replay --json` prints, with the work on it.
#[derive(Serialize, ToSchema)]
pub(crate) struct IncidentDetail {
    /// As it was found.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    incident: Value,
    /// The work on it.
    case: Case,
    /// Whether it is below the line because of exceptions; `shown` is then false.
    is_excepted: bool,
    /// The exceptions that are about it.
    exceptions: Vec<ExceptionUse>,
    /// Why it counts less than the analysis said: its like was called harmless or wrong.
    lowered: Option<Lowered>,
    /// The verdicts on files that its alerts name.
    #[schema(value_type = Vec<Object>)]
    files: Vec<Value>,
    /// Who did what to whom.
    graph: Graph,
}

/// Incidents, the surest first.
#[utoipa::path(get, path = "/incidents", security(("session" = ["viewer"]), ("token" = ["viewer"])),
    params(IncidentQuery), responses((status = 200, body = Page<IncidentItem>),
    (status = 400, body = ErrorBody)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    AQuery(query): AQuery<IncidentQuery>,
) -> Answer<Page<IncidentItem>> {
    let mut filter = IncidentFilter {
        state: query.state,
        shown: query.shown,
        device: query.device,
        text: searched(query.q)?,
        offset: offset(query.cursor.as_deref())?,
        limit: limit(query.limit)?,
    };
    app.wait(move |app| {
        let (database, now) = (app.evidence(), app.host.now());
        if !caller.session.pseudonymised {
            return Ok(Json(database.incidents(&filter, now)?));
        }
        filter.device = filter
            .device
            .map(|device| unveiled(app, &device))
            .transpose()?;
        let Some(text) = filter.text.take() else {
            return Ok(Json(database.incidents(&filter, now)?));
        };
        // A search that tells whether a name is right would undo the pseudonyms, so what is searched is what
        // is shown.
        let (at, wanted) = (filter.offset as usize, filter.limit);
        (filter.offset, filter.limit) = (0, VEILED_MAX);
        let all = database.incidents(&filter, now)?.items;
        veiled_search(app, all, &text, at, wanted).map(Json)
    })
    .await
}

/// The items of which `text` is found in what is shown with pseudonyms.
pub(super) fn veiled_search<T: Serialize>(
    app: &App,
    all: Vec<T>,
    text: &str,
    at: usize,
    wanted: usize,
) -> Result<Page<T>, ApiError> {
    let (veil, mut used) = (app.veil()?, Used::new());
    let text = text.to_lowercase();
    let mut found = Vec::new();
    for item in all {
        let mut shown = serde_json::to_value(&item).map_err(|_| ApiError::internal())?;
        veil.value(&mut shown, &mut used);
        if shown.to_string().to_lowercase().contains(&text) {
            found.push(item);
        }
    }
    let total = found.len() as u64;
    let items: Vec<T> = found.into_iter().skip(at).take(wanted).collect();
    let next = (at + items.len()) as u64;
    Ok(Page {
        next_cursor: (next < total && !items.is_empty()).then(|| next.to_string()),
        items,
        total,
    })
}

/// One incident.
#[utoipa::path(get, path = "/incidents/{id}", security(("session" = ["viewer"]), ("token" = ["viewer"])),
    params(("id" = String, Path)), responses((status = 200, body = IncidentDetail),
    (status = 404, body = ErrorBody)))]
pub(crate) async fn one(
    State(app): State<Arc<App>>,
    APath(id): APath<String>,
) -> Answer<IncidentDetail> {
    app.wait(move |app| Ok(Json(detail(app, &id)?))).await
}

pub(super) fn detail(app: &App, id: &str) -> Result<IncidentDetail, ApiError> {
    let database = app.evidence();
    let mut incident = database.incident(id)?;
    let (is_excepted, exceptions) = database.exceptions_of(id)?;
    let lowered = database.lowered(id)?;
    let is_below = is_excepted || lowered.as_ref().is_some_and(|lowered| lowered.is_below);
    if is_below && let Some(object) = incident.as_object_mut() {
        object.insert("shown".to_owned(), Value::Bool(false));
    }
    Ok(IncidentDetail {
        is_excepted,
        exceptions,
        lowered,
        case: database.case(id)?,
        files: database.files_of_incident(id)?,
        graph: Graph::of(&incident),
        incident,
    })
}

/// A text to search for.
pub(super) fn searched(text: Option<String>) -> Result<Option<String>, ApiError> {
    match text {
        Some(text) if text.chars().count() > 200 => {
            Err(ApiError::bad("q has at most 200 characters"))
        }
        other => Ok(other),
    }
}

/// A name with what stands behind its pseudonyms, for looking something up.
pub(super) fn unveiled(app: &App, text: &str) -> Result<String, ApiError> {
    let mut out = text.to_owned();
    let veil = app.veil()?;
    let mut used = Used::new();
    if veil.text(text, &mut used) != text {
        // A real name would tell by the answer that it is one.
        return Ok(String::new());
    }
    for pseudonym in pseudonyms_in(text) {
        if let Some(original) = app.main.behind_pseudonym(pseudonym)? {
            out = out.replace(pseudonym, &original);
        }
    }
    Ok(out)
}
