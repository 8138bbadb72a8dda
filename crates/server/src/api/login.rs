//! The first admin, logging in and out, and oneself.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use thymus_store::database::{Actor, Role, User};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::{AJson, Answer, done};
use crate::auth::{Caller, set_cookie};
use crate::error::{ApiError, ErrorBody};
use crate::listen::Client;
use crate::state::App;

/// Whether the first admin is still to be made.
#[derive(Serialize, ToSchema)]
pub(crate) struct SetupState {
    needed: bool,
}

/// The first admin.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Setup {
    /// What the program printed at its start.
    token: String,
    /// The admin's name.
    #[schema(max_length = 64, pattern = "^[A-Za-z0-9._@-]+$")]
    user: String,
    /// The admin's password.
    #[schema(min_length = 10, max_length = 256)]
    password: String,
}

/// Who wants in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    user: String,
    password: String,
}

/// Who asks.
#[derive(Serialize, ToSchema)]
pub(crate) struct Me {
    /// The user, or `token:NAME`.
    user: String,
    /// What they may do.
    role: Role,
    /// What a change has to carry in the header `X-CSRF-Token`; empty for a token.
    csrf: String,
    /// Whether they see pseudonyms.
    pseudonymised: bool,
}

/// What to change of oneself.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MeChange {
    /// Whether this session is to show pseudonyms.
    pseudonymised: bool,
}

/// Whether the first admin is still to be made.
#[utoipa::path(get, path = "/setup", security(()), responses((status = 200, body = SetupState)))]
pub(crate) async fn setup_needed(State(app): State<Arc<App>>) -> Answer<SetupState> {
    let needed = app.wait(|app| Ok(app.main.needs_setup()?)).await?;
    Ok(Json(SetupState { needed }))
}

/// Makes the first admin and logs them in.
#[utoipa::path(post, path = "/setup", security(()), request_body = Setup, responses(
    (status = 200, body = Me), (status = 403, body = ErrorBody), (status = 409, body = ErrorBody),
    (status = 429, body = ErrorBody)))]
pub(crate) async fn set_up(
    State(app): State<Arc<App>>,
    Extension(client): Extension<Client>,
    AJson(setup): AJson<Setup>,
) -> Result<Response, ApiError> {
    let address = client.0.ip();
    let now = Instant::now();
    app.limiter
        .may_try("", address, now)
        .map_err(ApiError::too_many)?;
    let _turn = app
        .hashes
        .acquire()
        .await
        .map_err(|_| ApiError::internal())?;
    let actor = Actor {
        user: setup.user.clone(),
        address: address.to_string(),
        at: app.host.now(),
    };
    let made = app
        .wait(move |app| {
            app.main
                .set_up(&actor, &setup.token, &setup.user, &setup.password)?;
            Ok((app.main.begin_session(&actor)?, actor.user))
        })
        .await;
    if made.is_err() {
        app.limiter.failed("", address, now);
    }
    let (secret, user) = made?;
    logged_in(&app, secret, user, Role::Admin).await
}

/// Logs in.
#[utoipa::path(post, path = "/login", security(()), request_body = Login, responses(
    (status = 200, body = Me), (status = 401, body = ErrorBody), (status = 429, body = ErrorBody)))]
pub(crate) async fn login(
    State(app): State<Arc<App>>,
    Extension(client): Extension<Client>,
    AJson(login): AJson<Login>,
) -> Result<Response, ApiError> {
    let address = client.0.ip();
    let now = Instant::now();
    let _turn = app
        .hashes
        .acquire()
        .await
        .map_err(|_| ApiError::internal())?;
    app.limiter
        .may_try(&login.user, address, now)
        .map_err(ApiError::too_many)?;
    let name = login.user.clone();
    let found = app
        .wait(move |app| Ok(app.main.user_with(&login.user, &login.password)?))
        .await?;
    let Some(User { name, role, .. }) = found else {
        app.limiter.failed(&name, address, now);
        return Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "wrong_password",
            "there is no such user with this password",
        ));
    };
    app.limiter.succeeded(&name, address, now);
    let actor = Actor {
        user: name.clone(),
        address: address.to_string(),
        at: app.host.now(),
    };
    let secret = app
        .wait(move |app| Ok(app.main.begin_session(&actor)?))
        .await?;
    logged_in(&app, secret, name, role).await
}

async fn logged_in(
    app: &Arc<App>,
    secret: String,
    user: String,
    role: Role,
) -> Result<Response, ApiError> {
    let cookie = set_cookie(&secret, app.is_tls);
    let session = app
        .wait(move |app| Ok(app.main.session(&secret, app.host.now(), app.sessions)?))
        .await?
        .ok_or_else(ApiError::internal)?;
    let me = Me {
        user,
        role,
        csrf: session.csrf,
        pseudonymised: session.pseudonymised,
    };
    Ok(([(header::SET_COOKIE, cookie)], Json(me)).into_response())
}

/// Ends the session.
#[utoipa::path(post, path = "/logout", security(("session" = ["viewer"]), ("token" = ["viewer"])),
    responses((status = 204)))]
pub(crate) async fn logout(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, ApiError> {
    let actor = caller.actor(&app);
    if let Some(secret) = caller.secret {
        app.wait(move |app| Ok(app.main.end_session(&actor, &secret)?))
            .await?;
        app.hub.access_changed();
    }
    let cookie = set_cookie("", app.is_tls);
    Ok(([(header::SET_COOKIE, cookie)], done()).into_response())
}

/// Who asks.
#[utoipa::path(get, path = "/me", security(("session" = ["viewer"]), ("token" = ["viewer"])),
    responses((status = 200, body = Me)))]
pub(crate) async fn me(Extension(caller): Extension<Caller>) -> Json<Me> {
    Json(me_of(caller))
}

/// Shows pseudonyms in this session, or no more.
#[utoipa::path(patch, path = "/me", security(("session" = ["viewer"]), ("token" = ["viewer"])),
    request_body = MeChange, responses((status = 200, body = Me), (status = 403, body = ErrorBody)))]
pub(crate) async fn change_me(
    State(app): State<Arc<App>>,
    Extension(mut caller): Extension<Caller>,
    AJson(change): AJson<MeChange>,
) -> Answer<Me> {
    if caller.session.must_be_pseudonymised && !change.pseudonymised {
        return Err(ApiError::forbidden(
            "pseudonymised",
            "an admin decided that this user or role sees pseudonyms only",
        ));
    }
    let Some(secret) = caller.secret.clone() else {
        return Err(ApiError::forbidden(
            "token",
            "a token has no session; it shows pseudonyms when it was made so",
        ));
    };
    let actor = caller.actor(&app);
    app.wait(move |app| {
        Ok(app
            .main
            .veil_session(&actor, &secret, change.pseudonymised)?)
    })
    .await?;
    caller.session.pseudonymised = change.pseudonymised;
    Ok(Json(me_of(caller)))
}

fn me_of(caller: Caller) -> Me {
    Me {
        user: caller.session.user,
        role: caller.session.role,
        csrf: caller.session.csrf,
        pseudonymised: caller.session.pseudonymised,
    }
}
