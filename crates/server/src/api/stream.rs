//! What happens, live, as server-sent events.
//!
//! A view that is behind is told to look at everything again; one whose session or
//! token ended is closed: at once when that was done here, within [`CHECK_EVERY`] when from the command line.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::auth::{Caller, remember};
use crate::error::{ApiError, ErrorBody};
use crate::state::App;
use crate::veil::Used;

const ALIVE_EVERY: Duration = Duration::from_secs(15);
const CHECK_EVERY: Duration = Duration::from_secs(15);
const WAITING_MAX: usize = 32;

/// The receiving end, as a body.
struct Lines(mpsc::Receiver<Bytes>);

impl Stream for Lines {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|line| line.map(Ok))
    }
}

/// What happens, live: `incident`, `status` and `changed`.
#[utoipa::path(get, path = "/stream", security(("session" = ["viewer"]), ("token" = ["viewer"])), responses(
    (status = 200, content_type = "text/event-stream", body = String), (status = 429, body = ErrorBody)))]
pub(crate) async fn stream(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, ApiError> {
    let permit = Arc::clone(&app.streams)
        .try_acquire_owned()
        .map_err(|_| ApiError::too_many(10))?;
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    tokio::spawn(async move {
        pass_on(&app, &caller, &sender).await;
        drop(permit);
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream")];
    Ok((headers, Body::from_stream(Lines(receiver))).into_response())
}

/// What is to be done next.
enum Next {
    Tell(&'static str, Value),
    Alive,
    Check,
    End,
}

async fn pass_on(app: &Arc<App>, caller: &Caller, sender: &mpsc::Sender<Bytes>) {
    let mut messages = app.hub.watch();
    let mut over = app.hub.over();
    let mut access = app.hub.access();
    let mut checked = Instant::now();
    let first = Bytes::from_static(b"retry: 3000\n\n");
    if sender.send(first).await.is_err() {
        return;
    }
    let mut alive = Instant::now() + ALIVE_EVERY;
    loop {
        let next = {
            let mut message = std::pin::pin!(messages.recv());
            let mut over = std::pin::pin!(over.wait_for(|over| *over));
            let mut access = std::pin::pin!(access.changed());
            let mut closed = std::pin::pin!(sender.closed());
            let mut tick = std::pin::pin!(sleep_until(alive));
            std::future::poll_fn(|cx| {
                if over.as_mut().poll(cx).is_ready() || closed.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Next::End);
                }
                if access.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Next::Check);
                }
                if let Poll::Ready(message) = message.as_mut().poll(cx) {
                    return Poll::Ready(match message {
                        Ok((what, object)) => Next::Tell(what, object),
                        Err(RecvError::Lagged(_)) => Next::Tell(
                            "changed",
                            json!({ "what": "incident case file device decision demo" }),
                        ),
                        Err(RecvError::Closed) => Next::End,
                    });
                }
                tick.as_mut().poll(cx).map(|()| Next::Alive)
            })
            .await
        };
        if matches!(next, Next::Check) || checked.elapsed() >= CHECK_EVERY {
            checked = Instant::now();
            if !lasts(app, caller).await {
                return;
            }
        }
        let line = match next {
            Next::End => return,
            Next::Check => continue,
            Next::Alive => Bytes::from_static(b": alive\n\n"),
            Next::Tell(what, object) => {
                let Ok(object) = shown(app, caller, object).await else {
                    return;
                };
                Bytes::from(format!("event: {what}\ndata: {object}\n\n"))
            }
        };
        alive = Instant::now() + ALIVE_EVERY;
        if sender.send(line).await.is_err() {
            return;
        }
    }
}

/// The object as this caller may see it.
async fn shown(app: &Arc<App>, caller: &Caller, mut object: Value) -> Result<Value, ApiError> {
    if !caller.session.pseudonymised {
        return Ok(object);
    }
    app.wait(move |app| {
        let mut used = Used::new();
        app.veil()?.value(&mut object, &mut used);
        remember(app, used);
        Ok(object)
    })
    .await
}

/// Whether the session is still there, and shows what it showed.
async fn lasts(app: &Arc<App>, caller: &Caller) -> bool {
    let (secret, token) = (caller.secret.clone(), caller.token.clone());
    let veiled = caller.session.pseudonymised;
    app.wait(move |app| {
        let now = app.host.now();
        Ok(match (secret, token) {
            (Some(secret), _) => app.main.session(&secret, now, app.sessions)?,
            (None, Some(token)) => app.main.token_session(&token, now)?,
            (None, None) => None,
        })
    })
    .await
    .is_ok_and(|session| session.is_some_and(|now| now.pseudonymised == veiled))
}
