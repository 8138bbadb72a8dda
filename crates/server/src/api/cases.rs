//! The work on incidents.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::json;
use thymus_store::Database;
use thymus_store::database::{Actor, Case, CaseChange};
use utoipa::ToSchema;

use super::{AJson, APath, Answer};
use crate::auth::Caller;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;

/// A comment.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewComment {
    /// More than blanks.
    #[schema(max_length = 16384, pattern = r"\S")]
    text: String,
}

/// A tie to another incident.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewLink {
    /// The other one.
    incident: String,
    /// Why.
    #[serde(default)]
    #[schema(max_length = 1000)]
    note: String,
}

/// Changes state, assignee, verdict or reason.
#[utoipa::path(patch, path = "/incidents/{id}/case",
    security(("session" = ["analyst"]), ("token" = ["analyst"])), params(("id" = String, Path)),
    request_body = CaseChange, responses((status = 200, body = Case), (status = 404, body = ErrorBody)))]
pub(crate) async fn change(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    APath(id): APath<String>,
    AJson(change): AJson<CaseChange>,
) -> Answer<Case> {
    work(&app, &caller, id, move |database, actor, id| {
        Ok(database.change_case(actor, id, &change)?)
    })
    .await
}

/// Adds a comment.
#[utoipa::path(post, path = "/incidents/{id}/comments",
    security(("session" = ["analyst"]), ("token" = ["analyst"])), params(("id" = String, Path)),
    request_body = NewComment, responses((status = 200, body = Case), (status = 404, body = ErrorBody)))]
pub(crate) async fn comment(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    APath(id): APath<String>,
    AJson(new): AJson<NewComment>,
) -> Answer<Case> {
    work(&app, &caller, id, move |database, actor, id| {
        Ok(database.comment(actor, id, &new.text)?)
    })
    .await
}

/// Ties an incident to another, both ways.
#[utoipa::path(post, path = "/incidents/{id}/links",
    security(("session" = ["analyst"]), ("token" = ["analyst"])), params(("id" = String, Path)),
    request_body = NewLink, responses((status = 200, body = Case), (status = 404, body = ErrorBody)))]
pub(crate) async fn link(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    APath(id): APath<String>,
    AJson(new): AJson<NewLink>,
) -> Answer<Case> {
    work(&app, &caller, id, move |database, actor, id| {
        Ok(database.link(actor, id, &new.incident, &new.note)?)
    })
    .await
}

/// Takes back what lowers an incident: the verdicts on what is like it stay in their cases and teach nothing more.
#[utoipa::path(delete, path = "/incidents/{id}/feedback",
    security(("session" = ["analyst"]), ("token" = ["analyst"])), params(("id" = String, Path)),
    responses((status = 200, body = Case), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub(crate) async fn forget(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    APath(id): APath<String>,
) -> Answer<Case> {
    work(&app, &caller, id, |database, actor, id| {
        Ok(database.forget_feedback(actor, id)?)
    })
    .await
}

/// Does some work and answers the case as it is then. What is done to the demo is in the demo's audit log.
async fn work(
    app: &Arc<App>,
    caller: &Caller,
    id: String,
    work: impl FnOnce(&Database, &Actor, &str) -> Result<(), ApiError> + Send + 'static,
) -> Answer<Case> {
    let actor = caller.actor(app);
    let case = app
        .wait(move |app| {
            let database = app.evidence();
            work(&database, &actor, &id)?;
            Ok(database.case(&id)?)
        })
        .await?;
    app.hub.tell("changed", json!({ "what": "case" }));
    Ok(Json(case))
}
