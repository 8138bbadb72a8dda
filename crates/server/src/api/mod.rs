//! The routes, and the document that describes them.

mod admin;
mod cases;
mod devices;
mod evidence;
mod extract;
mod incidents;
mod login;
mod stream;
mod system;

use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use thymus_store::database::{DeviceSort, StateFilter};
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ServerError};
use crate::state::App;
use crate::{assets, auth, guard};

pub(crate) use extract::{AJson, APath, AQuery, limit, offset};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Thymus",
        description = "The console's API. Beside the cookie of a session, a change takes the header X-CSRF-Token; a \
                   token takes neither. Roles: viewer < analyst < admin, named as scopes of each route.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(DeviceSort, StateFilter))
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
        .routes(routes!(incidents::list))
        .routes(routes!(incidents::one))
        .routes(routes!(evidence::events))
        .routes(routes!(evidence::packets))
        .routes(routes!(evidence::report_html))
        .routes(routes!(evidence::report_json))
        .routes(routes!(cases::change))
        .routes(routes!(cases::comment))
        .routes(routes!(cases::link))
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
        .routes(routes!(admin::settings, admin::set_settings))
        .routes(routes!(admin::reveal))
        .routes(routes!(system::load_demo, system::unload_demo))
        .routes(routes!(stream::stream))
        .routes(routes!(system::document))
}

fn described() -> (Router<Arc<App>>, utoipa::openapi::OpenApi) {
    let (router, mut document) = OpenApiRouter::with_openapi(Document::openapi())
        .nest("/api/v1", routes())
        .split_for_parts();
    "1".clone_into(&mut document.info.version);
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(
        "session",
        SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(auth::COOKIE))),
    );
    components.add_security_scheme(
        "token",
        SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()),
    );
    (router, document)
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
