//! The embedded front end.

use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::bouncers;
use crate::error::ApiError;

/// Path below `ui/dist` and content.
static ASSETS: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

const NO_FRONT_END: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Thymus</title>\
    <p>This program was built without its front end. The API is at <code>/api/v1</code>.</p></html>";

/// Answers what is no route of the API: a file of the front end, or its page.
pub(crate) async fn serve(method: Method, uri: Uri) -> Response {
    let path = uri.path().trim_start_matches('/');
    if path == "api" || path.starts_with("api/") || bouncers::is_theirs(uri.path()) {
        return ApiError::new(StatusCode::NOT_FOUND, "not_found", "there is no such route")
            .into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        return ApiError::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "this can only be read",
        )
        .into_response();
    }
    if let Some((name, content)) = ASSETS.iter().find(|(name, _)| *name == path) {
        let cache = if name.starts_with("assets/") {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        };
        return file(content_type(name), cache, content);
    }
    let page = ASSETS
        .iter()
        .find(|(name, _)| *name == "index.html")
        .map_or(NO_FRONT_END.as_bytes(), |(_, content)| *content);
    file("text/html; charset=utf-8", "no-cache", page)
}

fn file(content_type: &'static str, cache: &'static str, content: &'static [u8]) -> Response {
    let mut response = content.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        "json" | "webmanifest" => "application/json",
        _ => "application/octet-stream",
    }
}
