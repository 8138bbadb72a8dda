//! Links by which people answer a decision: given out in messages, good once, until the question lapses, and only for
//! who is logged in.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::json;
use thymus_schema::Timestamp;
use thymus_store::database::Actor;
use utoipa::ToSchema;

use super::response::{Why, asked, decision};
use super::{AJson, APath, Answer};
use crate::auth::Caller;
use crate::error::{ApiError, ErrorBody};
use crate::response::{ApprovalLink, DecisionView, ResponseAsk};
use crate::state::App;

/// No link is longer.
const TOKEN_MAX: usize = 128;

/// What a link is about.
#[derive(Serialize, ToSchema)]
pub(crate) struct LinkView {
    /// What would be done.
    decision: DecisionView,
    /// The link is over then.
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
}

/// What a link is about; looking does not use it up.
#[utoipa::path(get, path = "/links/{id}", security(("session" = ["viewer"]), ("token" = ["viewer"])),
    params(("id" = String, Path)), responses((status = 200, body = LinkView), (status = 404, body = ErrorBody),
    (status = 410, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn one(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    APath(token): APath<String>,
) -> Answer<LinkView> {
    let actor = caller.actor(&app);
    app.wait(move |app| {
        let (link, decision) = good(app, &actor, &token)?;
        Ok(Json(LinkView {
            decision,
            until: link.until,
        }))
    })
    .await
}

/// Carries out what the link is about, and uses the link up.
#[utoipa::path(post, path = "/links/{id}/approve", security(("session" = ["analyst"]), ("token" = ["analyst"])),
    params(("id" = String, Path)), responses((status = 200, body = DecisionView), (status = 404, body = ErrorBody),
    (status = 409, body = ErrorBody), (status = 410, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn approve(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    APath(token): APath<String>,
) -> Answer<DecisionView> {
    answer(&app, &caller, token, "approved", ResponseAsk::Approve).await
}

/// Says no to what the link is about, and uses the link up.
#[utoipa::path(post, path = "/links/{id}/deny", security(("session" = ["analyst"]), ("token" = ["analyst"])),
    params(("id" = String, Path)), request_body = Why, responses((status = 200, body = DecisionView),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 410, body = ErrorBody),
    (status = 503, body = ErrorBody)))]
pub(crate) async fn deny(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    APath(token): APath<String>,
    AJson(said): AJson<Why>,
) -> Answer<DecisionView> {
    let why = said.checked()?;
    answer(&app, &caller, token, "denied", |id| {
        ResponseAsk::Deny(id, why)
    })
    .await
}

async fn answer(
    app: &Arc<App>,
    caller: &Caller,
    token: String,
    what: &'static str,
    ask: impl FnOnce(String) -> ResponseAsk + Send + 'static,
) -> Answer<DecisionView> {
    let actor = caller.actor(app);
    let after = app
        .wait(move |app| {
            let (link, found) = good(app, &actor, &token)?;
            // Used up before it is done, so that of two at the same time one is too late.
            if !app.main.use_link(&link.digest, link.until, actor.at)? {
                return Err(refused(app, &actor, &link.decision, USED));
            }
            let ask = ask(link.decision.clone());
            let action = format!("decision.{what}_by_link");
            if let Err(error) = asked(app, &actor, &action, &found.id, &ask) {
                // Nothing was done, so the link stays good; if that cannot be written, a new one is not needed.
                let _is_free = app.main.free_link(&link.digest).is_ok();
                return Err(error);
            }
            decision(app, &found.id)
        })
        .await?;
    app.hub.tell("changed", json!({ "what": "decision" }));
    Ok(Json(after))
}

type No = (StatusCode, &'static str, &'static str);

const UNKNOWN: No = (
    StatusCode::NOT_FOUND,
    "link_unknown",
    "this link was not given out here, or too long ago; nothing was done",
);
const USED: No = (
    StatusCode::GONE,
    "link_used",
    "this link was used before, and is good once; nothing was done",
);
const LAPSED: No = (
    StatusCode::GONE,
    "link_expired",
    "the question of this link has lapsed; nothing was done",
);
const ANSWERED: No = (
    StatusCode::GONE,
    "link_answered",
    "the question of this link was answered already; nothing was done",
);

/// The link and its decision, where the link is good.
fn good(app: &App, actor: &Actor, token: &str) -> Result<(ApprovalLink, DecisionView), ApiError> {
    let link = (token.len() <= TOKEN_MAX)
        .then(|| app.host.link(token))
        .flatten();
    let Some(link) = link else {
        return Err(refused(app, actor, "", UNKNOWN));
    };
    if app.main.is_link_used(&link.digest)? {
        return Err(refused(app, actor, &link.decision, USED));
    }
    if link.until <= actor.at {
        return Err(refused(app, actor, &link.decision, LAPSED));
    }
    let found = decision(app, &link.decision)?;
    if found.state != "pending" {
        return Err(refused(app, actor, &link.decision, ANSWERED));
    }
    Ok((link, found))
}

/// Says no, and writes down that somebody tried.
fn refused(app: &App, actor: &Actor, decision: &str, (status, code, message): No) -> ApiError {
    let _is_noted = app.main.note(actor, "link.refused", decision, code).is_ok();
    ApiError::new(status, code, message)
}
