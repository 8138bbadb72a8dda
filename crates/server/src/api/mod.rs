//! The routes, and the document that describes them.

mod admin;
mod cases;
mod devices;
mod evidence;
mod exceptions;
mod extract;
mod incidents;
mod links;
mod login;
mod response;
mod stream;
mod system;

use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use thymus_store::database::{DeviceSort, StateFilter};
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::response::{Response as OneResponse, ResponseBuilder};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ServerError};
use crate::response::DecisionState;
use crate::state::App;
use crate::{assets, auth, bouncers, guard};

pub(crate) use extract::{AJson, APath, AQuery, limit, offset};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Thymus",
        description = "The console's API. Beside the cookie of a session, a change takes the header X-CSRF-Token; a \
                   token takes neither. Roles: viewer < analyst < admin, named as scopes of each route. Routes below /v1 \
                   are for bouncers, and are those of CrowdSec's local API.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(DeviceSort, StateFilter, DecisionState, bouncers::Refusal))
)]
struct Document;

fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(login::setup_needed, login::set_up))
        .routes(routes!(login::login))
        .routes(routes!(login::logout))
        .routes(routes!(login::me, login::change_me))
        .routes(routes!(system::overview))
        .routes(routes!(system::health))
        .routes(routes!(system::metrics))
        .routes(routes!(incidents::list))
        .routes(routes!(incidents::one))
        .routes(routes!(evidence::events))
        .routes(routes!(evidence::packets))
        .routes(routes!(evidence::report_html))
        .routes(routes!(evidence::report_json))
        .routes(routes!(cases::change))
        .routes(routes!(cases::comment))
        .routes(routes!(cases::link))
        .routes(routes!(cases::forget))
        .routes(routes!(exceptions::list, exceptions::add))
        .routes(routes!(exceptions::test))
        .routes(routes!(exceptions::remove))
        .routes(routes!(response::list))
        .routes(routes!(response::one))
        .routes(routes!(response::standing))
        .routes(routes!(response::approve))
        .routes(routes!(response::deny))
        .routes(routes!(response::undo))
        .routes(routes!(response::extend))
        .routes(routes!(response::confirm))
        .routes(routes!(response::panic))
        .routes(routes!(links::one))
        .routes(routes!(links::approve))
        .routes(routes!(links::deny))
        .routes(routes!(response::resume))
        .routes(routes!(devices::list))
        .routes(routes!(devices::one, devices::change))
        .routes(routes!(devices::files))
        .routes(routes!(evidence::query))
        .routes(routes!(evidence::tables))
        .routes(routes!(admin::audit))
        .routes(routes!(admin::users, admin::add_user))
        .routes(routes!(admin::change_user, admin::remove_user))
        .routes(routes!(admin::tokens, admin::add_token))
        .routes(routes!(admin::remove_token))
        .routes(routes!(bouncers::list))
        .routes(routes!(admin::settings, admin::set_settings))
        .routes(routes!(admin::reveal))
        .routes(routes!(system::load_demo, system::unload_demo))
        .routes(routes!(stream::stream))
        .routes(routes!(system::document))
}

fn described() -> (Router<Arc<App>>, utoipa::openapi::OpenApi) {
    let (router, mut document) = OpenApiRouter::with_openapi(Document::openapi())
        .nest("/api/v1", routes())
        .nest("/v1", bouncers::routes())
        .split_for_parts();
    "1".clone_into(&mut document.info.version);
    say_what_is_common(&mut document);
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(
        "session",
        SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(auth::COOKIE))),
    );
    components.add_security_scheme(
        "token",
        SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()),
    );
    components.add_security_scheme(
        "bouncer",
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new(bouncers::KEY))),
    );
    (router, document)
}

/// What may be answered on more than one route, for reasons that lie before its handler.
fn say_what_is_common(document: &mut utoipa::openapi::OpenApi) {
    const EVERYBODY: [(&str, &str); 3] = [
        ("400", "not what this takes"),
        (
            "429",
            "too many requests; Retry-After says when to try again",
        ),
        ("500", "something went wrong in the server"),
    ];
    const KNOWN: [(&str, &str); 2] = [
        ("401", "nobody is logged in"),
        ("403", "this takes another role, or a CSRF token"),
    ];
    const BODY: [(&str, &str); 3] = [
        ("408", "the body took too long to come"),
        ("413", "the body is too large"),
        ("415", "the body is no JSON"),
    ];
    const CHANGE: [(&str, &str); 2] = [
        ("503", "somebody else has been writing for too long"),
        ("507", "the disk is full; reading goes on"),
    ];
    const KEY: (&str, &str) = ("403", "the key is missing or wrong");
    for (path, item) in &mut document.paths.paths {
        let body = if bouncers::is_theirs(path) {
            "Refusal"
        } else {
            "ErrorBody"
        };
        for (method, operation) in operations_mut(item) {
            let mut common = EVERYBODY.to_vec();
            match auth::need_of(operation) {
                Some(auth::Need::Nobody) => {}
                Some(auth::Need::Bouncer) => common.push(KEY),
                _ => common.extend(KNOWN),
            }
            if operation.request_body.is_some() {
                common.extend(BODY);
            }
            if method != "GET" {
                common.extend(CHANGE);
            }
            for (status, why) in common {
                let said = &mut operation.responses.responses;
                said.entry(status.to_owned())
                    .or_insert_with(|| error_response(why, body));
            }
        }
    }
}

fn operations_mut(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    [
        ("GET", &mut item.get),
        ("POST", &mut item.post),
        ("PUT", &mut item.put),
        ("PATCH", &mut item.patch),
        ("DELETE", &mut item.delete),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

fn error_response(why: &str, body: &str) -> RefOr<OneResponse> {
    let body = Content::new(Some(Ref::from_schema_name(body)));
    let response = ResponseBuilder::new().description(why);
    RefOr::T(response.content("application/json", body).build())
}

/// The document, as it is checked in.
pub fn document() -> String {
    let (_, document) = described();
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Everything that is answered.
pub(crate) fn router(app: Arc<App>) -> Result<Router, ServerError> {
    let (router, document) = described();
    let needs = Arc::new(auth::needs_of(&document)?);
    Ok(router
        .method_not_allowed_fallback(wrong_method)
        .route_layer(from_fn_with_state((Arc::clone(&app), needs), auth::check))
        .fallback(assets::serve)
        .layer(from_fn_with_state(Arc::clone(&app), guard::check))
        .with_state(app))
}

async fn wrong_method() -> ApiError {
    ApiError::new(
        axum::http::StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "the route is there, and does not take this method",
    )
}

/// Nothing more to say.
pub(crate) fn done() -> Response {
    axum::http::StatusCode::NO_CONTENT.into_response()
}

pub(crate) type Answer<T> = Result<Json<T>, ApiError>;
