//! Attempts to log in, seen in HTTP: basic and digest credentials, NTLM and Kerberos negotiation by
//! its outcome, and forms with an account and a password.

use thymus_schema::{Login, Outcome, Service};

use super::Exchange;
use crate::analyzer::AnalyzerCx;

/// What was told of this connection, so that a browser that sends its password with every request
/// has logged in once.
#[derive(Default)]
pub(super) struct Logins {
    told: Option<(Box<str>, Outcome)>,
}

impl Logins {
    /// The attempt this exchange was, if it was one.
    pub(super) fn of(&mut self, exchange: &Exchange, cx: &AnalyzerCx<'_>) -> Option<Login> {
        let status = exchange.event.status;
        let service = if *cx.service == Some(Service::Winrm) {
            Service::Winrm
        } else {
            Service::Http
        };
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
        let outcome = match status {
            401 | 403 | 407 => Outcome::Failure,
            200..=399 => Outcome::Success,
            _ => Outcome::Unknown,
        };
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
}
