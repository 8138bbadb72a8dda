//! What mail servers' protocols of lines have in common: a log-in in the clear or by a mechanism,
//! after which nothing is read, and a switch to TLS, after which the stream is handed over.

use thymus_parsers::sasl;
use thymus_schema::{Outcome, Service};

use crate::analyzer::{Analyzer, AnalyzerCx, Side};
use crate::auth::{Security, emit_password};
use crate::framing::LineBuffer;
use crate::inner::Inner;

/// One protocol's commands and answers.
pub(super) trait Dialect: Default {
    const SERVICE: Service;

    /// Takes in a line of the client.
    fn client(&mut self, line: &[u8], login: &mut Login);

    /// Takes in a line of the server.
    fn server(&mut self, line: &[u8], login: &mut Login, cx: &mut AnalyzerCx<'_>);

    /// Whether a log-in waits for its result.
    fn waits(&self) -> bool;
}

/// The log-in at hand.
#[derive(Default)]
pub(super) struct Login {
    pub(super) user: Box<str>,
    pub(super) security: Security,
    pub(super) to_tls: bool,
    mechanism: Vec<u8>,
    logged_in: bool,
}

impl Login {
    const MECHANISM_BYTES_MAX: usize = 32;

    /// A log-in by a mechanism begins, maybe with its first message.
    pub(super) fn begin(&mut self, mechanism: &[u8], message: &[u8]) {
        self.mechanism = mechanism[..mechanism.len().min(Self::MECHANISM_BYTES_MAX)].to_vec();
        self.user = Box::default();
        self.go_on(message);
    }

    /// The client's next message of the mechanism.
    pub(super) fn go_on(&mut self, line: &[u8]) {
        if let Some(message) = sasl::ntlm(line) {
            self.security.read(&message);
        } else if self.user.is_empty() {
            self.user = sasl::user(&self.mechanism, line).unwrap_or_default();
        }
    }

    /// The server's verdict.
    pub(super) fn end(&mut self, ok: bool, service: Service, cx: &mut AnalyzerCx<'_>) {
        self.logged_in = ok;
        let outcome = if ok {
            Outcome::Success
        } else {
            Outcome::Failure
        };
        self.tell(outcome, service, cx);
    }

    fn tell(&mut self, outcome: Outcome, service: Service, cx: &mut AnalyzerCx<'_>) {
        if self.security.is_pending() {
            self.security.finish(service, outcome, cx);
            return;
        }
        emit_password(service, &self.user, outcome, cx);
    }
}

/// The analyzer of a dialect.
#[derive(Default)]
pub(super) struct MailLogin<D> {
    lines: [LineBuffer; 2],
    dialect: D,
    login: Login,
    inner: Option<Inner>,
}

impl<D: Dialect + Send> Analyzer for MailLogin<D> {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        if let Some(inner) = &mut self.inner {
            return inner.data(side, bytes, cx);
        }
        let (dialect, login) = (&mut self.dialect, &mut self.login);
        let used = self.lines[usize::from(side == Side::Server)].feed(bytes, |line| {
            match side {
                Side::Client => dialect.client(line, login),
                Side::Server => dialect.server(line, login, cx),
            }
            !login.to_tls && !login.logged_in
        });
        if self.login.logged_in {
            return cx.detach();
        }
        if self.login.to_tls {
            let inner = self.inner.insert(Inner::known(Service::Tls));
            if used < bytes.len() {
                inner.data(side, &bytes[used..], cx);
            }
        }
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        if self.dialect.waits() && !self.login.logged_in {
            self.login.tell(Outcome::Unknown, D::SERVICE, cx);
        }
        if let Some(inner) = &mut self.inner {
            inner.close(cx);
        }
    }
}
