//! Who asks, and whether they may.
//!
//! What a route needs stands in the OpenAPI document, beside its handler; the table that is asked here is made
//! from that document when the server starts.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use thymus_store::database::{Actor, Role, Session};
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};

use crate::bouncers;
use crate::error::{ApiError, ServerError};
use crate::guard::whole;
use crate::listen::Client;
use crate::state::App;
use crate::veil::Used;

pub(crate) const COOKIE: &str = "thymus_session";
const CSRF: &str = "x-csrf-token";

/// What every route needs, by method and path.
pub(crate) type Needs = BTreeMap<(String, String), Need>;

/// What a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: anybody may.
    Nobody,
    /// A bouncer with its key.
    Bouncer,
    /// Somebody with this role.
    Role(Role),
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) session: Session,
    /// The secret of the cookie; none for a token.
    pub(crate) secret: Option<String>,
    /// The secret of the token; none for a session.
    pub(crate) token: Option<String>,
    pub(crate) address: String,
}

impl Caller {
    pub(crate) fn actor(&self, app: &App) -> Actor {
        Actor {
            user: self.session.user.clone(),
            address: self.address.clone(),
            at: app.host.now(),
        }
    }
}

/// What every route needs, as its documentation says.
pub(crate) fn needs_of(document: &OpenApi) -> Result<Needs, ServerError> {
    let mut needs = Needs::new();
    for (path, item) in &document.paths.paths {
        for (method, operation) in operations(item) {
            let route = format!("{method} {path}");
            let need = need_of(operation).ok_or(ServerError::Route(route))?;
            needs.insert((method.to_owned(), path.clone()), need);
        }
    }
    Ok(needs)
}

fn operations(item: &PathItem) -> impl Iterator<Item = (&'static str, &Operation)> {
    [
        ("GET", &item.get),
        ("POST", &item.post),
        ("PUT", &item.put),
        ("PATCH", &item.patch),
        ("DELETE", &item.delete),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

/// `[{}]` is anybody; `[{"bouncer": []}]` is a bouncer; `[{"session": ["admin"]}, …]` is a role.
pub(crate) fn need_of(operation: &Operation) -> Option<Need> {
    let security = serde_json::to_value(operation.security.as_ref()?).ok()?;
    let first = security.as_array()?.first()?.as_object()?;
    if first.contains_key("bouncer") {
        return Some(Need::Bouncer);
    }
    match first.get("session") {
        None => first.is_empty().then_some(Need::Nobody),
        Some(scopes) => Role::from_name(scopes.as_array()?.first()?.as_str()?).map(Need::Role),
    }
}

/// An answer that is to say what stands behind a pseudonym.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unveiled;

/// The routes of the API pass through here.
pub(crate) async fn check(
    State((app, needs)): State<(Arc<App>, Arc<Needs>)>,
    mut request: Request,
    next: Next,
) -> Response {
    let asked = Asked::of(&request);
    if needs.get(&asked.route) == Some(&Need::Bouncer) {
        let admitted = bouncers::admitted(&app, &asked.headers, asked.address);
        return match admitted.await {
            Err(error) => error.into_response(),
            Ok(asking) => {
                request.extensions_mut().insert(asking);
                next.run(request).await
            }
        };
    }
    match admitted(&app, &needs, asked).await {
        Err(error) => error.into_response(),
        Ok(None) => next.run(request).await,
        Ok(Some(caller)) => {
            let is_veiled = caller.session.pseudonymised;
            request.extensions_mut().insert(caller);
            let answer = next.run(request).await;
            let is_told = answer.extensions().get::<Unveiled>().is_some();
            if is_veiled && !is_told {
                veiled(&app, answer).await
            } else {
                answer
            }
        }
    }
}

/// What of a request says who asks for what.
struct Asked {
    /// Method and route; HEAD is GET.
    route: (String, String),
    headers: HeaderMap,
    address: Option<String>,
}

impl Asked {
    fn of(request: &Request) -> Self {
        let path = request.extensions().get::<MatchedPath>();
        let path = path.map(|path| path.as_str().to_owned());
        let method = match *request.method() {
            Method::HEAD => "GET".to_owned(),
            ref other => other.to_string(),
        };
        let client = request.extensions().get::<Client>();
        Self {
            route: (method, path.unwrap_or_default()),
            headers: request.headers().clone(),
            address: client.map(|client| client.0.ip().to_string()),
        }
    }
}

async fn admitted(app: &Arc<App>, needs: &Needs, asked: Asked) -> Result<Option<Caller>, ApiError> {
    let Some(need) = needs.get(&asked.route) else {
        // No handler has this method; the router says so.
        return Ok(None);
    };
    let Need::Role(role) = *need else {
        return Ok(None);
    };
    let address = asked.address.ok_or_else(ApiError::internal)?;
    let caller = identified(app, &asked.headers, address).await?;
    let caller = caller.ok_or_else(|| {
        ApiError::new(
            StatusCode::UNAUTHORIZED,
            "not_logged_in",
            "log in, or give a token",
        )
    })?;
    let is_change = asked.route.0 != "GET";
    if is_change && caller.secret.is_some() {
        let offered = asked.headers.get(CSRF).map(HeaderValue::as_bytes);
        let is_right = offered.is_some_and(|offered| {
            // The digests differ in time, not the secrets.
            blake3::hash(offered) == blake3::hash(caller.session.csrf.as_bytes())
        });
        if !is_right {
            return Err(ApiError::forbidden(
                "csrf",
                "the header X-CSRF-Token is missing or wrong; GET /me tells it",
            ));
        }
    }
    if caller.session.role < role {
        return Err(ApiError::forbidden(
            "not_allowed",
            format!("this takes the role {}", role.as_str()),
        ));
    }
    Ok(Some(caller))
}

/// Who asks, by token or cookie.
async fn identified(
    app: &Arc<App>,
    headers: &HeaderMap,
    address: String,
) -> Result<Option<Caller>, ApiError> {
    if let Some(header) = headers.get(header::AUTHORIZATION) {
        let secret = header.to_str().ok().and_then(|text| {
            let (scheme, secret) = text.split_once(' ')?;
            scheme
                .eq_ignore_ascii_case("bearer")
                .then(|| secret.trim().to_owned())
        });
        let Some(secret) = secret else {
            return Ok(None);
        };
        return app
            .wait(move |app| {
                let session = app.main.token_session(&secret, app.host.now())?;
                Ok(session.map(|session| Caller {
                    session,
                    secret: None,
                    token: Some(secret),
                    address,
                }))
            })
            .await;
    }
    let Some(secret) = cookie(headers) else {
        return Ok(None);
    };
    app.wait(move |app| {
        let session = app.main.session(&secret, app.host.now(), app.sessions)?;
        Ok(session.map(|session| Caller {
            session,
            secret: Some(secret),
            token: None,
            address,
        }))
    })
    .await
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value.to_owned())
}

/// The cookie of a session; an empty secret takes it away.
pub(crate) fn set_cookie(secret: &str, is_tls: bool) -> HeaderValue {
    let secure = if is_tls { "; Secure" } else { "" };
    let age = if secret.is_empty() { "; Max-Age=0" } else { "" };
    let line = format!("{COOKIE}={secret}; Path=/; HttpOnly; SameSite=Strict{secure}{age}");
    HeaderValue::from_str(&line).unwrap_or(HeaderValue::from_static(""))
}

/// Rewrites an answer so that it shows pseudonyms only.
async fn veiled(app: &Arc<App>, answer: Response) -> Response {
    let content_type = answer.headers().get(header::CONTENT_TYPE);
    let content_type = content_type
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let is_json = content_type.starts_with("application/json");
    // Live events are rewritten one by one where they are sent, and nothing else streams.
    if content_type.starts_with("text/event-stream") || content_type.is_empty() {
        return answer;
    }
    if !is_json && !content_type.starts_with("text/html") {
        return ApiError::forbidden("pseudonymised", "this cannot be shown with pseudonyms")
            .into_response();
    }
    let (mut parts, body) = answer.into_parts();
    let Some(bytes) = whole(body).await else {
        return ApiError::internal().into_response();
    };
    let text = app
        .wait(move |app| {
            let (veil, mut used) = (app.veil()?, Used::new());
            let text = if is_json {
                let mut value = serde_json::from_slice(&bytes).map_err(|_| ApiError::internal())?;
                veil.value(&mut value, &mut used);
                value.to_string()
            } else {
                veil.text(&String::from_utf8_lossy(&bytes), &mut used)
            };
            remember(app, used);
            Ok(text)
        })
        .await;
    parts.headers.remove(header::CONTENT_LENGTH);
    match text {
        Ok(text) => Response::from_parts(parts, text.into()),
        Err(error) => error.into_response(),
    }
}

/// Keeps what stands behind pseudonyms that were not shown before.
pub(crate) fn remember(app: &App, used: Used) {
    let fresh: Vec<(String, String)> = used
        .into_iter()
        .filter(|(pseudonym, _)| !matches!(app.main.behind_pseudonym(pseudonym), Ok(Some(_))))
        .collect();
    if !fresh.is_empty() {
        // What is not kept cannot be revealed, and can be shown all the same.
        let _is_kept = app.main.keep_pseudonyms(&fresh).is_ok();
    }
}
