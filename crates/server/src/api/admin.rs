//! Users, tokens, settings, the audit log, and what stands behind pseudonyms.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use thymus_store::database::{
    AuditEntry, AuditState, NewToken, Page, Role, Settings, Token, User, UserChange,
};
use utoipa::{IntoParams, ToSchema};

use super::{AJson, APath, AQuery, Answer, done, limit};
use crate::auth::Caller;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;

const DAY: Duration = Duration::from_hours(24);
const REASON_MAX: usize = 1_000;

/// Which part of the log.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQuery {
    /// Items at most.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the piece before.
    #[param(pattern = "^[0-9]{1,9}$")]
    cursor: Option<String>,
}

/// A part of the log, and whether all of it is as it was written.
#[derive(Serialize, ToSchema)]
pub(crate) struct Audit {
    #[serde(flatten)]
    page: Page<AuditEntry>,
    #[serde(flatten)]
    state: AuditState,
}

/// A new user.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUser {
    #[schema(max_length = 64, pattern = "^[A-Za-z0-9._@-]+$")]
    name: String,
    #[schema(min_length = 10, max_length = 256)]
    password: String,
    role: Role,
}

/// A list that comes whole.
#[derive(Serialize, ToSchema)]
pub(crate) struct Items<T> {
    items: Vec<T>,
    total: u64,
}

/// A token that is to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenWish {
    /// What it is for, on one line.
    #[schema(
        max_length = 100,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    name: String,
    /// What it may do.
    role: Role,
    /// Good for so many days; for good without.
    #[schema(minimum = 1, maximum = 3650)]
    days: Option<u32>,
    /// Whether it gets pseudonyms only.
    #[serde(default)]
    pseudonymised: bool,
}

/// A token that was made.
#[derive(Serialize, ToSchema)]
pub(crate) struct MadeToken {
    /// The secret, told this once.
    token: String,
    /// The rest of it.
    #[serde(flatten)]
    about: Token,
}

/// Which pseudonym, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reveal {
    pseudonym: String,
    /// Goes into the audit log; more than blanks.
    #[schema(max_length = 1000, pattern = r"\S")]
    reason: String,
}

/// What stands behind a pseudonym.
#[derive(Serialize, ToSchema)]
pub(crate) struct Revealed {
    original: String,
}

/// The audit log, newest first.
#[utoipa::path(get, path = "/audit", security(("session" = ["admin"]), ("token" = ["admin"])),
    params(AuditQuery), responses((status = 200, body = Audit), (status = 400, body = ErrorBody)))]
pub(crate) async fn audit(
    State(app): State<Arc<App>>,
    AQuery(query): AQuery<AuditQuery>,
) -> Answer<Audit> {
    let limit = limit(query.limit)?;
    let before = match super::offset(query.cursor.as_deref())? {
        0 => None,
        before => Some(before),
    };
    app.wait(move |app| {
        Ok(Json(Audit {
            page: app.main.audit(before, limit)?,
            state: app.main.audit_state()?,
        }))
    })
    .await
}

/// All users.
#[utoipa::path(get, path = "/users", security(("session" = ["admin"]), ("token" = ["admin"])),
    responses((status = 200, body = Items<User>)))]
pub(crate) async fn users(State(app): State<Arc<App>>) -> Answer<Items<User>> {
    app.wait(|app| Ok(Json(Items::of(app.main.users()?)))).await
}

/// Adds a user.
#[utoipa::path(post, path = "/users", security(("session" = ["admin"]), ("token" = ["admin"])),
    request_body = NewUser, responses((status = 201), (status = 409, body = ErrorBody)))]
pub(crate) async fn add_user(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    AJson(new): AJson<NewUser>,
) -> Result<Response, ApiError> {
    let _turn = app
        .hashes
        .acquire()
        .await
        .map_err(|_| ApiError::internal())?;
    let actor = caller.actor(&app);
    app.wait(move |app| {
        Ok(app
            .main
            .add_user(&actor, &new.name, new.role, &new.password)?)
    })
    .await?;
    Ok(StatusCode::CREATED.into_response())
}

/// Changes a user.
#[utoipa::path(patch, path = "/users/{name}", security(("session" = ["admin"]), ("token" = ["admin"])),
    params(("name" = String, Path)), request_body = UserChange, responses((status = 204),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub(crate) async fn change_user(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    APath(name): APath<String>,
    AJson(change): AJson<UserChange>,
) -> Result<Response, ApiError> {
    let _turn = app
        .hashes
        .acquire()
        .await
        .map_err(|_| ApiError::internal())?;
    let actor = caller.actor(&app);
    app.wait(move |app| Ok(app.main.change_user(&actor, &name, &change)?))
        .await?;
    app.hub.access_changed();
    Ok(done())
}

/// Removes a user.
#[utoipa::path(delete, path = "/users/{name}", security(("session" = ["admin"]), ("token" = ["admin"])),
    params(("name" = String, Path)), responses((status = 204), (status = 404, body = ErrorBody),
    (status = 409, body = ErrorBody)))]
pub(crate) async fn remove_user(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    APath(name): APath<String>,
) -> Result<Response, ApiError> {
    let actor = caller.actor(&app);
    app.wait(move |app| Ok(app.main.remove_user(&actor, &name)?))
        .await?;
    app.hub.access_changed();
    Ok(done())
}

/// All tokens, without their secrets.
#[utoipa::path(get, path = "/tokens", security(("session" = ["admin"]), ("token" = ["admin"])),
    responses((status = 200, body = Items<Token>)))]
pub(crate) async fn tokens(State(app): State<Arc<App>>) -> Answer<Items<Token>> {
    app.wait(|app| Ok(Json(Items::of(app.main.tokens()?))))
        .await
}

/// Makes a token; its secret is told this once.
#[utoipa::path(post, path = "/tokens", security(("session" = ["admin"]), ("token" = ["admin"])),
    request_body = TokenWish, responses((status = 201, body = MadeToken), (status = 409, body = ErrorBody)))]
pub(crate) async fn add_token(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    AJson(wish): AJson<TokenWish>,
) -> Result<Response, ApiError> {
    if wish.days.is_some_and(|days| !(1..=3_650).contains(&days)) {
        return Err(ApiError::bad("days are 1 to 3650"));
    }
    let actor = caller.actor(&app);
    let new = NewToken {
        name: wish.name,
        role: wish.role,
        expires_at: wish.days.map(|days| actor.at.plus(DAY * days)),
        pseudonymised: wish.pseudonymised,
    };
    let (about, token) = app
        .wait(move |app| Ok(app.main.add_token(&actor, &new)?))
        .await?;
    Ok((StatusCode::CREATED, Json(MadeToken { token, about })).into_response())
}

/// Takes a token away.
#[utoipa::path(delete, path = "/tokens/{id}", security(("session" = ["admin"]), ("token" = ["admin"])),
    params(("id" = String, Path)), responses((status = 204), (status = 404, body = ErrorBody)))]
pub(crate) async fn remove_token(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    APath(id): APath<String>,
) -> Result<Response, ApiError> {
    let actor = caller.actor(&app);
    app.wait(move |app| Ok(app.main.remove_token(&actor, &id)?))
        .await?;
    app.hub.access_changed();
    Ok(done())
}

/// What is set for everybody.
#[utoipa::path(get, path = "/settings", security(("session" = ["admin"]), ("token" = ["admin"])),
    responses((status = 200, body = Settings)))]
pub(crate) async fn settings(State(app): State<Arc<App>>) -> Answer<Settings> {
    app.wait(|app| Ok(Json(app.main.settings()?))).await
}

/// Sets it.
#[utoipa::path(put, path = "/settings", security(("session" = ["admin"]), ("token" = ["admin"])),
    request_body = Settings, responses((status = 204), (status = 400, body = ErrorBody)))]
pub(crate) async fn set_settings(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    AJson(new): AJson<Settings>,
) -> Result<Response, ApiError> {
    let actor = caller.actor(&app);
    app.wait(move |app| Ok(app.main.set_settings(&actor, &new)?))
        .await?;
    app.hub.access_changed();
    Ok(done())
}

/// Tells what stands behind a pseudonym; the reason goes into the audit log first.
#[utoipa::path(post, path = "/pseudonyms/reveal", security(("session" = ["admin"]), ("token" = ["admin"])),
    request_body = Reveal, responses((status = 200, body = Revealed), (status = 404, body = ErrorBody)))]
pub(crate) async fn reveal(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    AJson(reveal): AJson<Reveal>,
) -> Result<Response, ApiError> {
    let reason = reveal.reason.trim().to_owned();
    if reason.is_empty() || reveal.reason.chars().count() > REASON_MAX {
        return Err(ApiError::bad(format!(
            "a reason is needed, of at most {REASON_MAX} characters"
        )));
    }
    let actor = caller.actor(&app);
    let original = app
        .wait(move |app| Ok(app.main.reveal(&actor, &reveal.pseudonym, &reason)?))
        .await?;
    let mut response = Json(Revealed { original }).into_response();
    // The one answer that is to say it.
    response.extensions_mut().insert(crate::auth::Unveiled);
    Ok(response)
}

impl<T> Items<T> {
    pub(super) fn of(items: Vec<T>) -> Self {
        Self {
            total: items.len() as u64,
            items,
        }
    }
}
