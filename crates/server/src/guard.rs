//! The first and last look at a request: was it meant for this host, how much may it say, and the headers that
//! every answer carries.
//!
//! DNS rebinding: a page elsewhere may make its own name point here, and then it is the browser's host name that
//! gives it away. Addresses and `localhost` need no name service, so they are always right; other names have to
//! be named at the start.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::bouncers;
use crate::error::ApiError;
use crate::listen::Client;
use crate::state::App;

/// Longest body of a request.
pub(crate) const BODY_MAX: usize = 256 << 10;
/// How long a client may take to send it.
const BODY_TIME: Duration = Duration::from_secs(10);

const CSP: &str = "default-src 'self'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; \
    font-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// Of a report: one page with its own styles and no script at all.
pub(crate) const REPORT_CSP: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'; sandbox";

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CSP),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

pub(crate) async fn check(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let is_of_bouncer = bouncers::is_theirs(request.uri().path());
    let mut answer = match admitted(&app, request).await {
        Ok(request) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    if is_of_bouncer {
        answer = bouncers::in_their_words(answer);
    }
    with_headers(answer, app.is_tls)
}

async fn admitted(app: &App, request: Request) -> Result<Request, ApiError> {
    let address = request.extensions().get::<Client>().map(|client| client.0);
    let address = address.ok_or_else(ApiError::internal)?;
    app.limiter
        .ask(address.ip(), tokio::time::Instant::now())
        .map_err(ApiError::too_many)?;
    let host = host_of(&request).ok_or_else(|| ApiError::bad("there is no Host header"))?;
    if !is_ours(&host, &app.hosts) {
        return Err(ApiError::new(
            StatusCode::MISDIRECTED_REQUEST,
            "wrong_host",
            "this server does not go by that name; name it with --host",
        ));
    }
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_safe {
        same_origin(request.headers(), &host, app.is_tls)?;
    }
    read_body(request).await
}

/// Reads the body whole, so that a slow client holds up a connection and nothing else.
async fn read_body(request: Request) -> Result<Request, ApiError> {
    let (parts, body) = request.into_parts();
    let body = tokio::time::timeout(BODY_TIME, Limited::new(body, BODY_MAX).collect())
        .await
        .map_err(|_| {
            ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                "timeout",
                "the body took too long to come",
            )
        })?
        .map_err(|error| {
            if error.is::<LengthLimitError>() {
                ApiError::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "too_large",
                    format!("a body has at most {BODY_MAX} bytes"),
                )
            } else {
                ApiError::bad("the body cannot be read")
            }
        })?;
    Ok(Request::from_parts(parts, Body::from(body.to_bytes())))
}

fn host_of(request: &Request) -> Option<String> {
    let header = request.headers().get(header::HOST)?;
    header.to_str().ok().map(str::to_ascii_lowercase)
}

fn is_ours(host: &str, named: &[String]) -> bool {
    let name = bare(host);
    name == "localhost"
        || name.parse::<IpAddr>().is_ok()
        || named.iter().any(|one| one.eq_ignore_ascii_case(name))
}

/// The host without port and brackets.
fn bare(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    }
}

/// A change must come from our own page, or from a program that is no browser.
fn same_origin(headers: &HeaderMap, host: &str, is_tls: bool) -> Result<(), ApiError> {
    let foreign =
        || ApiError::forbidden("wrong_origin", "a page from elsewhere may change nothing");
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let site = text(HeaderName::from_static("sec-fetch-site"));
    if site.is_some_and(|site| site != "same-origin" && site != "none") {
        return Err(foreign());
    }
    let Some(origin) = text(header::ORIGIN) else {
        return Ok(());
    };
    let scheme = if is_tls { "https" } else { "http" };
    if origin.eq_ignore_ascii_case(&format!("{scheme}://{host}")) {
        return Ok(());
    }
    Err(foreign())
}

fn with_headers(mut answer: Response, is_tls: bool) -> Response {
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    if is_tls {
        headers.insert(
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=31536000"),
        );
    }
    answer
}

/// The whole body of one of our own answers.
pub(crate) async fn whole(body: Body) -> Option<Bytes> {
    Some(body.collect().await.ok()?.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_ours_by_address_or_by_name() {
        let named = vec!["thymus.corp".to_owned()];
        for right in [
            "127.0.0.1:8642",
            "localhost",
            "[::1]:8642",
            "thymus.corp:443",
            "10.0.0.1",
        ] {
            assert!(is_ours(right, &named), "{right}");
        }
        for wrong in [
            "evil.example:8642",
            "",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
        ] {
            assert!(!is_ours(wrong, &named), "{wrong}");
        }
    }

    #[test]
    fn a_page_from_elsewhere_may_change_nothing() {
        let with = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            same_origin(&headers, "127.0.0.1:8642", false).is_ok()
        };
        assert!(with("origin", "http://127.0.0.1:8642"));
        assert!(!with("origin", "http://127.0.0.1:8643"));
        assert!(!with("origin", "null"));
        assert!(!with("sec-fetch-site", "cross-site"));
        assert!(with("sec-fetch-site", "same-origin"));
    }
}
