//! What people say is normal here.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::json;
use thymus_store::database::{Exception, ExceptionScope, ExceptionTest, NewException};

use super::admin::Items;
use super::{AJson, APath, Answer, done};
use crate::auth::Caller;
use crate::error::{ApiError, ErrorBody};
use crate::state::App;

/// All exceptions, the newest first.
#[utoipa::path(get, path = "/exceptions", security(("session" = ["viewer"]), ("token" = ["viewer"])),
    responses((status = 200, body = Items<Exception>)))]
pub(crate) async fn list(State(app): State<Arc<App>>) -> Answer<Items<Exception>> {
    app.wait(|app| Ok(Json(Items::of(app.evidence().exceptions()?))))
        .await
}

/// Says that something is normal here: incidents that are about nothing else stay below the line.
#[utoipa::path(post, path = "/exceptions", security(("session" = ["analyst"]), ("token" = ["analyst"])),
    request_body = NewException, responses((status = 201, body = Exception), (status = 404, body = ErrorBody),
    (status = 409, body = ErrorBody)))]
pub(crate) async fn add(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    AJson(new): AJson<NewException>,
) -> Result<Response, ApiError> {
    in_the_open(&caller)?;
    let actor = caller.actor(&app);
    let made = app
        .wait(move |app| {
            let database = app.evidence();
            let id = database.add_exception(&actor, &new)?;
            let mut all = database.exceptions()?.into_iter();
            all.find(|one| one.id == id).ok_or_else(ApiError::internal)
        })
        .await?;
    app.hub
        .tell("changed", json!({ "what": "incident exception" }));
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

/// What an exception would have done to the last thirty days, without making it.
#[utoipa::path(post, path = "/exceptions/test", security(("session" = ["analyst"]), ("token" = ["analyst"])),
    request_body = ExceptionScope, responses((status = 200, body = ExceptionTest)))]
pub(crate) async fn test(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    AJson(scope): AJson<ExceptionScope>,
) -> Answer<ExceptionTest> {
    in_the_open(&caller)?;
    app.wait(move |app| {
        let now = app.host.now();
        Ok(Json(app.evidence().test_exception(&scope, now)?))
    })
    .await
}

/// Takes an exception away; what it held comes back above the line.
#[utoipa::path(delete, path = "/exceptions/{id}", security(("session" = ["analyst"]), ("token" = ["analyst"])),
    params(("id" = u64, Path, maximum = 9_007_199_254_740_991_i64)), responses((status = 204), (status = 404, body = ErrorBody)))]
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    APath(id): APath<u64>,
) -> Result<Response, ApiError> {
    let actor = caller.actor(&app);
    app.wait(move |app| Ok(app.evidence().remove_exception(&actor, id)?))
        .await?;
    app.hub
        .tell("changed", json!({ "what": "incident exception" }));
    Ok(done())
}

/// The answer to a guess would tell who stands behind a pseudonym.
fn in_the_open(caller: &Caller) -> Result<(), ApiError> {
    if caller.session.pseudonymised {
        return Err(ApiError::forbidden(
            "pseudonymised",
            "an exception names whom it is about; switch the pseudonyms off to make one",
        ));
    }
    Ok(())
}
