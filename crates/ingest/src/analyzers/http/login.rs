//! Attempts to log in, seen in HTTP: basic and digest credentials, NTLM and Kerberos negotiation by
//! its outcome, and forms with an account and a password.

use thymus_parsers::spnego::{self, Token};
use thymus_schema::{Login, Outcome, Service};

use super::Exchange;
use crate::analyzer::AnalyzerCx;
use crate::auth::Security;

/// What was told of this connection, so that a browser that sends its password with every request
/// has logged in once.
#[derive(Default)]
pub(super) struct Logins {
    told: Option<(Box<str>, Outcome)>,
    security: Security,
    /// A ticket was accepted: clients go on to send one with every request.
    has_ticket: bool,
}

impl Logins {
    /// The attempt this exchange was, if it was one.
    pub(super) fn of(&mut self, exchange: &Exchange, cx: &AnalyzerCx<'_>) -> Option<Login> {
        let status = exchange.event.status;
        let service = carrier(cx);
        let login = |method: &str, user: &str, domain: &str, outcome| Login {
            service: Some(service),
            user: user.into(),
            domain: domain.into(),
            outcome,
            method: method.into(),
            client: exchange.event.user_agent.clone(),
            attempts: 1,
        };
        if let Some(user) = &exchange.form_user {
            let outcome = if matches!(status, 401 | 403) {
                Outcome::Failure
            } else {
                Outcome::Unknown
            };
            return Some(login("form", user, "", outcome));
        }
        let credentials = exchange.credentials.as_ref()?;
        if !matches!(&*credentials.scheme, "basic" | "digest") {
            return None;
        }
        let outcome = outcome_of(status);
        let key = (credentials.user.clone(), outcome);
        if outcome != Outcome::Failure && self.told.as_ref() == Some(&key) {
            return None;
        }
        self.told = Some(key);
        Some(login(
            &credentials.scheme,
            &credentials.user,
            &credentials.realm,
            outcome,
        ))
    }
    /// Reads the client's NTLM or Kerberos message.
    pub(super) fn read(&mut self, exchange: &Exchange) {
        let token = exchange.credentials.as_ref().map(|found| &*found.token);
        let Some(token @ [_, ..]) = token else {
            return;
        };
        if !(self.has_ticket && matches!(spnego::unwrap(token), Token::KerberosRequest(_))) {
            self.security.read(token);
        }
    }

    /// The response came, with the server's message: tells how the attempt ended.
    pub(super) fn negotiated(&mut self, status: u16, challenge: &[u8], cx: &mut AnalyzerCx<'_>) {
        if self.security.is_pending() {
            let outcome = outcome_of(status);
            let user = self.security.finish(carrier(cx), outcome, cx);
            self.has_ticket |=
                outcome == Outcome::Success && user.is_some_and(|user| user.is_empty());
        }
        if !challenge.is_empty() {
            self.security.read(challenge);
        }
    }
}

fn carrier(cx: &AnalyzerCx<'_>) -> Service {
    if *cx.service == Some(Service::Winrm) {
        Service::Winrm
    } else {
        Service::Http
    }
}

const fn outcome_of(status: u16) -> Outcome {
    match status {
        401 | 403 | 407 => Outcome::Failure,
        200..=399 => Outcome::Success,
        _ => Outcome::Unknown,
    }
}
