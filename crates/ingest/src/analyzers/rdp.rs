//! Remote desktop: cookie, chosen security, client name where it is in the clear; then TLS, which is
//! handed over. Whether a log-in worked is inside TLS: only a refusal before it can be seen.

use thymus_parsers::rdp::{self, Confirm};
use thymus_parsers::{ntlm, s7};
use thymus_schema::{EventBody, Outcome, RdpHello, Service, Transport};

use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::auth::{Attempt, Security, emit_login};
use crate::framing::{Step, StreamBuffer};
use crate::inner::Inner;

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Rdp,
    transports: &[Transport::Tcp],
    usual_ports: &[3389],
    probe,
    build: || Box::<RdpAnalyzer>::default(),
};

/// Pieces of stream read before a session without TLS is left alone.
const PIECES_MAX: u32 = 64;
/// Longest message read.
const MESSAGE_BYTES_MAX: usize = 4096;

fn probe(opening: &Opening<'_>) -> Probe {
    if opening.server_port == 102 {
        return Probe::No;
    }
    if opening.client.is_empty() {
        let confirmed = rdp::connection_confirm(opening.server);
        let says_rdp = matches!(
            confirmed,
            Some(Confirm::Chosen(Some(_)) | Confirm::Refused(_))
        );
        return if says_rdp { Probe::Yes } else { Probe::No };
    }
    let Some(request) = rdp::connection_request(opening.client) else {
        let short = opening.client.len() < 11 && opening.client.starts_with(&[3]);
        return if short { Probe::More } else { Probe::No };
    };
    let certain = request.requested.is_some() || !request.cookie.is_empty();
    if certain || opening.server_port == 3389 {
        Probe::Yes
    } else {
        Probe::No
    }
}

#[derive(Default)]
struct RdpAnalyzer {
    buffers: [StreamBuffer; 2],
    state: State,
    inner: Option<Inner>,
}

#[derive(Default)]
struct State {
    hello: RdpHello,
    confirmed: bool,
    to_tls: bool,
    told: bool,
    pieces: u32,
    security: Security,
}

impl Analyzer for RdpAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        if let Some(inner) = &mut self.inner {
            return inner.data(side, bytes, cx);
        }
        // Some clients begin CredSSP without TLS: NTLM is then in the clear.
        if let Some(message) = ntlm::locate(bytes) {
            self.state.security.read(message);
        }
        self.state.pieces += 1;
        let Self { buffers, state, .. } = self;
        let ok = buffers[usize::from(side == Side::Server)].feed(bytes, |front| {
            if front[0] == 22 && state.confirmed {
                state.to_tls = true;
                return Step::Stop;
            }
            state.front(front)
        });
        if self.state.to_tls {
            self.state.tell(cx);
            self.inner
                .insert(Inner::known(Service::Tls))
                .data(side, bytes, cx);
        } else if self.state.hello.outcome == Outcome::Failure
            || !self.state.hello.client_name.is_empty()
            || !ok
            || self.state.pieces > PIECES_MAX
        {
            self.state.tell(cx);
            cx.detach();
        }
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        self.state.tell(cx);
        if let Some(inner) = &mut self.inner {
            inner.close(cx);
        }
    }
}

impl State {
    fn front(&mut self, bytes: &[u8]) -> Step {
        if bytes.len() < 7 {
            return Step::Need(7);
        }
        let Some(length) = s7::tpkt_length(bytes) else {
            return Step::Stop;
        };
        let wanted = length.min(MESSAGE_BYTES_MAX);
        if bytes.len() < wanted {
            return Step::Need(wanted);
        }
        let message = &bytes[..wanted];
        if let Some(request) = rdp::connection_request(message) {
            self.hello.cookie = request.cookie;
        } else if let Some(confirm) = rdp::connection_confirm(message) {
            self.confirmed = true;
            match confirm {
                Confirm::Chosen(chosen) => {
                    self.hello.security = rdp::security_name(chosen).into();
                }
                Confirm::Refused(_) => self.hello.outcome = Outcome::Failure,
            }
        } else if self.hello.client_name.is_empty() {
            self.hello.client_name = rdp::client_name(message).unwrap_or_default();
        }
        Step::Take(length as u64)
    }

    /// Tells the start of the session, once.
    fn tell(&mut self, cx: &mut AnalyzerCx<'_>) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        let hello = std::mem::take(&mut self.hello);
        if self.security.is_pending() {
            self.security.finish(Service::Rdp, Outcome::Unknown, cx);
        } else if !hello.cookie.is_empty() && hello.outcome != Outcome::Failure {
            // A refused negotiation is no attempt to log in: the client comes back with another.
            let attempt = Attempt {
                user: &hello.cookie,
                domain: "",
                method: "rdp",
                client: &hello.client_name,
                outcome: hello.outcome,
            };
            emit_login(Service::Rdp, &attempt, cx);
        }
        cx.emit(EventBody::Rdp(Box::new(hello)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    #[test]
    fn the_start_is_told_when_tls_begins() {
        let mut ask = b"\x03\x00\x00\x2a\x25\xe0\0\0\0\0\0Cookie: mstshash=bob\r\n".to_vec();
        ask.extend([1, 0, 8, 0, 3, 0, 0, 0]);
        ask[3] = ask.len() as u8;
        let mut talk = Talk::tcp(&SPEC, 3390);
        assert_eq!(talk.probe(&ask, b""), Probe::Yes);
        talk.client(&ask);
        talk.server(b"\x03\x00\x00\x13\x0e\xd0\0\0\x12\x34\0\x02\0\x08\0\x02\0\0\0");
        talk.client(b"\x16\x03\x01\0\x05");
        let [EventBody::Login(login), EventBody::Rdp(hello)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!((&*login.user, login.outcome), ("bob", Outcome::Unknown));
        assert_eq!((&*hello.cookie, &*hello.security), ("bob", "credssp"));
    }
}
