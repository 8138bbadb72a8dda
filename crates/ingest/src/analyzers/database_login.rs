//! What databases' protocols of messages have in common: one log-in, after which nothing is read,
//! and a switch to TLS, after which the stream is handed over.

use thymus_schema::{Outcome, Service};

use crate::analyzer::{Analyzer, AnalyzerCx, Side};
use crate::auth::emit_password;
use crate::framing::{Step, StreamBuffer};
use crate::inner::Inner;

/// One protocol's messages.
pub(super) trait Dialect: Default {
    const SERVICE: Service;

    /// Reads the message at the front of what one side sent.
    fn message(
        &mut self,
        side: Side,
        front: &[u8],
        login: &mut Login,
        cx: &mut AnalyzerCx<'_>,
    ) -> Step;
}

/// The log-in at hand.
#[derive(Default)]
pub(super) struct Login {
    pub(super) user: Option<Box<str>>,
    pub(super) to_tls: bool,
    finished: bool,
}

impl Login {
    /// Tells how it ended, if one was under way.
    pub(super) fn end(&mut self, outcome: Outcome, service: Service, cx: &mut AnalyzerCx<'_>) {
        let Some(user) = self.user.take() else { return };
        self.finished = true;
        emit_password(service, &user, outcome, cx);
    }
}

/// The analyzer of a dialect.
#[derive(Default)]
pub(super) struct DatabaseLogin<D> {
    buffers: [StreamBuffer; 2],
    dialect: D,
    login: Login,
    inner: Option<Inner>,
}

impl<D: Dialect + Send> Analyzer for DatabaseLogin<D> {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        if let Some(inner) = &mut self.inner {
            return inner.data(side, bytes, cx);
        }
        let (dialect, login) = (&mut self.dialect, &mut self.login);
        let ok = self.buffers[usize::from(side == Side::Server)].feed(bytes, |front| {
            if login.finished || login.to_tls {
                return Step::Stop;
            }
            dialect.message(side, front, login, cx)
        });
        if self.login.to_tls {
            self.inner = Some(Inner::known(Service::Tls));
        } else if self.login.finished || !ok {
            cx.detach();
        }
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        self.login.end(Outcome::Unknown, D::SERVICE, cx);
        if let Some(inner) = &mut self.inner {
            inner.close(cx);
        }
    }
}
