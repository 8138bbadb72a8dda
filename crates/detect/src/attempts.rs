//! Attempts to log in, whatever event shows them.

use thymus_schema::{Event, EventBody, FlowRecord, HttpTransaction, Outcome, Service};

/// One event's worth of trying to log in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Attempt<'a> {
    /// The protocol as people call it.
    pub(crate) service: &'static str,
    /// The account; empty when it cannot be seen.
    pub(crate) user: &'a str,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// How many attempts it stands for.
    pub(crate) count: f64,
    /// How the answer looked, where only a deviating answer tells success: status and length.
    pub(crate) answer: Option<(u16, u64)>,
    /// Whether only the connection was seen, nothing of what was said.
    pub(crate) only_flow: bool,
}

impl<'a> Attempt<'a> {
    /// The attempt an event shows, if any.
    pub(crate) fn of(event: &'a Event) -> Option<Self> {
        match &event.body {
            EventBody::Login(login) => Some(Self {
                service: login.service.map_or("network log-in", Service::as_str),
                user: &login.user,
                outcome: login.outcome,
                // Before it worked a client may have offered every key it has.
                count: match login.outcome {
                    Outcome::Success => 1.0,
                    _ => f64::from(login.attempts.max(1)),
                },
                answer: None,
                only_flow: false,
            }),
            EventBody::Http(http) => Self::of_http(http),
            EventBody::Flow(flow) => Self::of_flow(event, flow),
            _ => None,
        }
    }

    fn of_http(http: &'a HttpTransaction) -> Option<Self> {
        let base = Self {
            service: "http",
            user: &http.user,
            outcome: Outcome::Unknown,
            count: 1.0,
            answer: None,
            only_flow: false,
        };
        if !http.user.is_empty() {
            let outcome = match http.status {
                401 | 403 | 407 => Outcome::Failure,
                200..=399 => Outcome::Success,
                _ => Outcome::Unknown,
            };
            return Some(Self { outcome, ..base });
        }
        is_form(http).then_some(Self {
            answer: Some((http.status, http.response_len)),
            ..base
        })
    }

    /// A short conversation with a service that begins with a log-in, too small for anything else.
    fn of_flow(event: &Event, flow: &FlowRecord) -> Option<Self> {
        let conn = event.conn.as_ref()?;
        let service = match (flow.service, conn.server.port) {
            (Some(Service::Ssh), _) | (None, 22) => "ssh",
            (Some(Service::Rdp), _) | (None, 3389) => "rdp",
            (Some(Service::Vnc), _) | (None, 5900) => "vnc",
            (Some(Service::Telnet), _) | (None, 23) => "telnet",
            _ => return None,
        };
        let talked =
            (200..8000).contains(&flow.client_bytes) && (200..8000).contains(&flow.server_bytes);
        let short = flow.duration.as_secs() < 60 && flow.last && flow.part == 0;
        (talked && short && !flow.state.is_failed()).then_some(Self {
            service,
            user: "",
            outcome: Outcome::Unknown,
            count: 1.0,
            answer: Some((0, flow.server_bytes)),
            only_flow: true,
        })
    }
}

/// Whether the request hands over a log-in form: posted to a place named after logging in, or with
/// the password in the address.
fn is_form(http: &HttpTransaction) -> bool {
    let uri = http.uri.to_ascii_lowercase();
    let (path, query) = uri.split_once('?').unwrap_or((&uri, ""));
    let has_secret = ["passw", "pwd=", "pass="]
        .iter()
        .any(|word| query.contains(word));
    let is_login = [
        "login", "logon", "signin", "sign-in", "sign_in", "auth", "session",
    ]
    .iter()
    .any(|word| path.contains(word));
    has_secret || (is_login && &*http.method == "POST")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_posted_login_page_is_an_attempt_and_a_picture_is_none() {
        let post = HttpTransaction {
            method: "POST".into(),
            uri: "/wp-login.php".into(),
            status: 200,
            ..HttpTransaction::default()
        };
        assert_eq!(Attempt::of_http(&post).unwrap().answer, Some((200, 0)));
        let get = HttpTransaction {
            method: "GET".into(),
            uri: "/login.png".into(),
            ..post
        };
        assert_eq!(Attempt::of_http(&get), None);
        let basic = HttpTransaction {
            user: "ann".into(),
            status: 401,
            ..get
        };
        assert_eq!(Attempt::of_http(&basic).unwrap().outcome, Outcome::Failure);
    }
}
