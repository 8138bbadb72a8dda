//! What is done about incidents, and people's say in it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::json;
use thymus_store::database::{Actor, Page};
use utoipa::{IntoParams, ToSchema};

use super::incidents::unveiled;
use super::{AJson, APath, AQuery, Answer, done, limit, offset};
use crate::auth::Caller;
use crate::error::{ApiError, ErrorBody};
use crate::response::{
    DecisionFilter, DecisionState, DecisionView, ResponseAsk, ResponseError, ResponseView,
};
use crate::state::App;

/// Which decisions.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DecisionQuery {
    /// By where they stand.
    #[serde(default)]
    state: DecisionState,
    /// About this incident.
    #[param(max_length = 200)]
    incident: Option<String>,
    /// About this device.
    #[param(max_length = 200)]
    device: Option<String>,
    /// Items at most.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the piece before.
    #[param(pattern = "^[0-9]{1,9}$")]
    cursor: Option<String>,
}

/// Why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Why {
    /// For the history.
    #[serde(default)]
    #[schema(max_length = 1000)]
    why: String,
}

/// For how long.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Longer {
    /// From now on, in minutes: at most 90 days.
    #[schema(minimum = 1, maximum = 129_600)]
    minutes: u32,
}

/// Decisions, the newest first.
#[utoipa::path(get, path = "/decisions", security(("session" = ["viewer"]), ("token" = ["viewer"])),
    params(DecisionQuery), responses((status = 200, body = Page<DecisionView>), (status = 400, body = ErrorBody),
    (status = 503, body = ErrorBody)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    AQuery(query): AQuery<DecisionQuery>,
) -> Answer<Page<DecisionView>> {
    let (offset, limit) = (offset(query.cursor.as_deref())?, limit(query.limit)?);
    app.wait(move |app| {
        let mut filter = DecisionFilter {
            state: query.state,
            id: None,
            incident: query.incident,
            device: query.device,
            offset: usize::try_from(offset).unwrap_or(usize::MAX),
            limit,
        };
        if caller.session.pseudonymised {
            let device = filter.device.map(|device| unveiled(app, &device));
            filter.device = device.transpose()?;
        }
        let (items, total) = app.host.decisions(&filter)?;
        let items: Vec<DecisionView> = items.into_iter().map(|one| titled(app, one)).collect();
        let next = offset + items.len() as u64;
        Ok(Json(Page {
            next_cursor: (next < total && !items.is_empty()).then(|| next.to_string()),
            items,
            total,
        }))
    })
    .await
}

/// One of them.
#[utoipa::path(get, path = "/decisions/{id}", security(("session" = ["viewer"]), ("token" = ["viewer"])),
    params(("id" = String, Path)), responses((status = 200, body = DecisionView), (status = 404, body = ErrorBody),
    (status = 503, body = ErrorBody)))]
pub(crate) async fn one(
    State(app): State<Arc<App>>,
    APath(id): APath<String>,
) -> Answer<DecisionView> {
    app.wait(move |app| decision(app, &id).map(Json)).await
}

/// How the response stands: who decides, what does not work, what is never acted upon.
#[utoipa::path(get, path = "/response", security(("session" = ["viewer"]), ("token" = ["viewer"])),
    responses((status = 200, body = ResponseView), (status = 503, body = ErrorBody)))]
pub(crate) async fn standing(State(app): State<Arc<App>>) -> Answer<ResponseView> {
    app.wait(|app| Ok(Json(app.host.response()?))).await
}

/// Carries out a decision that waits, or one again that is over.
#[utoipa::path(post, path = "/decisions/{id}/approve", security(("session" = ["analyst"]), ("token" = ["analyst"])),
    params(("id" = String, Path)), responses((status = 200, body = DecisionView), (status = 404, body = ErrorBody),
    (status = 409, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn approve(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    APath(id): APath<String>,
) -> Answer<DecisionView> {
    answer(&app, &caller, id, "approved", ResponseAsk::Approve).await
}

/// Says no to one that waits.
#[utoipa::path(post, path = "/decisions/{id}/deny", security(("session" = ["analyst"]), ("token" = ["analyst"])),
    params(("id" = String, Path)), request_body = Why, responses((status = 200, body = DecisionView),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn deny(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    APath(id): APath<String>,
    AJson(said): AJson<Why>,
) -> Answer<DecisionView> {
    let why = said.checked()?;
    answer(&app, &caller, id, "denied", |id| ResponseAsk::Deny(id, why)).await
}

/// Takes one back that holds.
#[utoipa::path(post, path = "/decisions/{id}/undo", security(("session" = ["analyst"]), ("token" = ["analyst"])),
    params(("id" = String, Path)), request_body = Why, responses((status = 200, body = DecisionView),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn undo(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    APath(id): APath<String>,
    AJson(said): AJson<Why>,
) -> Answer<DecisionView> {
    let why = said.checked()?;
    answer(&app, &caller, id, "undone", |id| ResponseAsk::Undo(id, why)).await
}

/// Lets one that holds go on for so long from now on.
#[utoipa::path(post, path = "/decisions/{id}/extend", security(("session" = ["analyst"]), ("token" = ["analyst"])),
    params(("id" = String, Path)), request_body = Longer, responses((status = 200, body = DecisionView),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn extend(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    APath(id): APath<String>,
    AJson(longer): AJson<Longer>,
) -> Answer<DecisionView> {
    const DAYS_90: u32 = 90 * 24 * 60;
    if !(1..=DAYS_90).contains(&longer.minutes) {
        return Err(ApiError::bad(format!("minutes is 1 to {DAYS_90}")));
    }
    let more = Duration::from_mins(u64::from(longer.minutes));
    answer(&app, &caller, id, "extended", |id| {
        ResponseAsk::Extend(id, more)
    })
    .await
}

/// Says of one that holds that it does no harm, so that it is not taken back by itself.
#[utoipa::path(post, path = "/decisions/{id}/confirm", security(("session" = ["analyst"]), ("token" = ["analyst"])),
    params(("id" = String, Path)), responses((status = 200, body = DecisionView), (status = 404, body = ErrorBody),
    (status = 409, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn confirm(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    APath(id): APath<String>,
) -> Answer<DecisionView> {
    answer(&app, &caller, id, "confirmed", ResponseAsk::Confirm).await
}

/// Takes everything back at once; nothing is carried out until it is resumed.
#[utoipa::path(post, path = "/response/panic", security(("session" = ["admin"]), ("token" = ["admin"])),
    responses((status = 204), (status = 409, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn panic(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, ApiError> {
    all(&app, &caller, "panic", ResponseAsk::Panic).await
}

/// Carries out decisions again.
#[utoipa::path(post, path = "/response/resume", security(("session" = ["admin"]), ("token" = ["admin"])),
    responses((status = 204), (status = 409, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn resume(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, ApiError> {
    all(&app, &caller, "resume", ResponseAsk::Resume).await
}

impl Why {
    pub(super) fn checked(self) -> Result<String, ApiError> {
        const CHARS_MAX: usize = 1000;
        if self.why.chars().count() > CHARS_MAX {
            return Err(ApiError::bad(format!(
                "why has at most {CHARS_MAX} characters"
            )));
        }
        Ok(self.why)
    }
}

async fn answer(
    app: &Arc<App>,
    caller: &Caller,
    id: String,
    what: &'static str,
    ask: impl FnOnce(String) -> ResponseAsk,
) -> Answer<DecisionView> {
    let (actor, ask) = (caller.actor(app), ask(id.clone()));
    let after = app
        .wait(move |app| {
            // What there is under this name, before anything is asked.
            let known = decision(app, &id)?.id;
            asked(app, &actor, &format!("decision.{what}"), &known, &ask)?;
            decision(app, &known)
        })
        .await?;
    app.hub.tell("changed", json!({ "what": "decision" }));
    Ok(Json(after))
}

async fn all(
    app: &Arc<App>,
    caller: &Caller,
    what: &'static str,
    ask: ResponseAsk,
) -> Result<Response, ApiError> {
    let actor = caller.actor(app);
    app.wait(move |app| asked(app, &actor, &format!("response.{what}"), "", &ask))
        .await?;
    app.hub.tell("changed", json!({ "what": "decision" }));
    Ok(done())
}

/// Asks the enforcer, and puts into the audit log what was done, or that it would not. What is done is in the
/// enforcer's own journal already, so a log that cannot be written must not make it look as if it was not.
pub(super) fn asked(
    app: &App,
    actor: &Actor,
    action: &str,
    target: &str,
    ask: &ResponseAsk,
) -> Result<(), ApiError> {
    if let Err(error) = app.host.respond(ask, &actor.user) {
        if let ResponseError::Refused(why) = &error {
            let (area, _) = action.split_once('.').unwrap_or((action, ""));
            let refused = format!("{area}.refused");
            let detail = format!("{action}: {why}");
            let _is_noted = app.main.note(actor, &refused, target, &detail).is_ok();
        }
        return Err(error.into());
    }
    let detail = match ask {
        ResponseAsk::Deny(_, why) | ResponseAsk::Undo(_, why) => why.clone(),
        ResponseAsk::Extend(_, more) => format!("{} min", more.as_secs() / 60),
        _ => String::new(),
    };
    let _is_noted = app.main.note(actor, action, target, &detail).is_ok();
    Ok(())
}

pub(super) fn decision(app: &App, id: &str) -> Result<DecisionView, ApiError> {
    let filter = DecisionFilter {
        id: Some(id.to_owned()),
        limit: 1,
        ..DecisionFilter::default()
    };
    let (mut items, _) = app.host.decisions(&filter)?;
    let found = items.pop().ok_or_else(|| {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is no such decision",
        )
    })?;
    Ok(titled(app, found))
}

/// With the title of its incident, where that is kept.
fn titled(app: &App, mut one: DecisionView) -> DecisionView {
    let incident = app.evidence().incident(&one.incident).ok();
    one.incident_title =
        incident.and_then(|incident| Some(incident.get("title")?.as_str()?.to_owned()));
    one
}

impl From<ResponseError> for ApiError {
    fn from(error: ResponseError) -> Self {
        let (status, code) = match &error {
            ResponseError::Unknown(_) => (StatusCode::NOT_FOUND, "not_found"),
            ResponseError::Refused(_) => (StatusCode::CONFLICT, "refused"),
            ResponseError::Nobody(_) => (StatusCode::SERVICE_UNAVAILABLE, "no_enforcer"),
            ResponseError::Host(_) => (StatusCode::SERVICE_UNAVAILABLE, "unreadable"),
        };
        Self::new(status, code, error.to_string())
    }
}
