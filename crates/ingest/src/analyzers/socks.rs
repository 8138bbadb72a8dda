//! SOCKS 4, 4a and 5: where a client wants to go, who it says it is, and then the protocol inside.

use thymus_parsers::socks;
use thymus_schema::{EventBody, Operation, Outcome, Service, Transport};

use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::auth::{Attempt, emit_login};
use crate::framing::{Step, StreamBuffer};
use crate::inner::Inner;

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Socks,
    transports: &[Transport::Tcp],
    usual_ports: &[1080],
    probe,
    build: || Box::<SocksAnalyzer>::default(),
};

fn probe(opening: &Opening<'_>) -> Probe {
    let client = opening.client;
    match client.first() {
        Some(4) => match socks::request4(client) {
            Some(_) => Probe::Yes,
            None if client.len() < 9 => Probe::More,
            None => Probe::No,
        },
        Some(5) => match socks::greeting(client) {
            // The methods are few, small and said in one go; the server picks one of them.
            Some((methods, length))
                if !methods.is_empty() && length == client.len().min(length) =>
            {
                let answered = matches!(opening.server, [5, chosen, ..]
                    if *chosen == 0xff || methods.contains(chosen));
                let usual = opening.server_port == 1080 && client.len() == length;
                if answered || usual {
                    Probe::Yes
                } else if opening.server.is_empty() && client.len() == length {
                    Probe::More
                } else {
                    Probe::No
                }
            }
            None if client.len() < 4 => Probe::More,
            _ => Probe::No,
        },
        None => Probe::More,
        _ => Probe::No,
    }
}

#[derive(Default)]
struct SocksAnalyzer {
    buffers: [StreamBuffer; 2],
    state: State,
    inner: Inner,
}

/// What is expected next of each side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Start,
    Auth,
    Request,
    Through,
}

#[derive(Default)]
struct State {
    client: Stage,
    server: Stage,
    version4: bool,
    method: u8,
    user: Option<Box<str>>,
    request: Option<(&'static str, Box<str>)>,
}

impl Analyzer for SocksAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let Self {
            buffers,
            state,
            inner,
        } = self;
        let mut left = bytes.len();
        let through = |state: &State| match side {
            Side::Client => state.client == Stage::Through,
            Side::Server => state.server == Stage::Through,
        };
        if !through(state) {
            let before = bytes.len();
            let ok = buffers[usize::from(side == Side::Server)].feed(bytes, |front| {
                if through(state) {
                    // What follows the handshake in this piece belongs to the protocol inside.
                    left = front.len();
                    return Step::Take(front.len() as u64);
                }
                left = 0;
                match side {
                    Side::Client => state.client(front, cx),
                    Side::Server => state.server(front, cx),
                }
            });
            if !ok {
                return cx.detach();
            }
            left = left.min(before);
        }
        if left > 0 && through(&self.state) {
            inner.data(side, &bytes[bytes.len() - left..], cx);
        }
    }

    fn gap(&mut self, side: Side, missing: u64, cx: &mut AnalyzerCx<'_>) {
        if self.state.client == Stage::Through {
            return self.inner.gap(side, missing, cx);
        }
        cx.detach();
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        self.state.tell_login(Outcome::Unknown, cx);
        self.state.tell_request(Outcome::Unknown, cx);
        self.inner.close(cx);
    }
}

impl State {
    fn client(&mut self, bytes: &[u8], cx: &mut AnalyzerCx<'_>) -> Step {
        const MESSAGE_MAX: usize = 600;
        let more = |bytes: &[u8]| match bytes.len() {
            ..MESSAGE_MAX => Step::Need(bytes.len() + 1),
            _ => Step::Stop,
        };
        match self.client {
            Stage::Start if bytes[0] == 4 => {
                let Some((request, length)) = socks::request4(bytes) else {
                    return more(bytes);
                };
                self.version4 = true;
                self.client = Stage::Through;
                self.request = Some((request.verb, request.target));
                if !request.user.is_empty() {
                    self.user = Some(request.user);
                }
                Step::Take(length as u64)
            }
            Stage::Start => {
                let Some((methods, length)) = socks::greeting(bytes) else {
                    return more(bytes);
                };
                // Only one method: no need to see the server's choice.
                if methods == [2] {
                    self.method = 2;
                }
                self.client = if self.method == 2 {
                    Stage::Auth
                } else {
                    Stage::Request
                };
                Step::Take(length as u64)
            }
            Stage::Auth | Stage::Request if bytes[0] == 1 => {
                let Some((user, length)) = socks::user_auth(bytes) else {
                    return more(bytes);
                };
                self.user = Some(user);
                self.client = Stage::Request;
                Step::Take(length as u64)
            }
            Stage::Auth | Stage::Request => {
                let Some((command, target, length)) = socks::message5(bytes) else {
                    return if bytes[0] == 5 {
                        more(bytes)
                    } else {
                        Step::Stop
                    };
                };
                let Some(verb) = socks::verb(command) else {
                    return Step::Stop;
                };
                self.tell_login(Outcome::Unknown, cx);
                self.request = Some((verb, target));
                self.client = Stage::Through;
                Step::Take(length as u64)
            }
            Stage::Through => Step::Stop,
        }
    }

    fn server(&mut self, bytes: &[u8], cx: &mut AnalyzerCx<'_>) -> Step {
        if self.version4 {
            let [0, code, ..] = bytes else {
                return Step::Stop;
            };
            if bytes.len() < 8 {
                return Step::Need(8);
            }
            let outcome = if *code == 90 {
                Outcome::Success
            } else {
                Outcome::Failure
            };
            self.tell_login(outcome, cx);
            self.tell_request(outcome, cx);
            self.server = Stage::Through;
            return Step::Take(8);
        }
        match self.server {
            Stage::Start => {
                let &[5, method, ..] = bytes else {
                    return two_or_stop(bytes);
                };
                self.method = method;
                self.server = if method == 2 {
                    Stage::Auth
                } else {
                    Stage::Request
                };
                Step::Take(2)
            }
            Stage::Auth => {
                let &[1, status, ..] = bytes else {
                    return two_or_stop(bytes);
                };
                let outcome = if status == 0 {
                    Outcome::Success
                } else {
                    Outcome::Failure
                };
                self.tell_login(outcome, cx);
                self.server = Stage::Request;
                Step::Take(2)
            }
            Stage::Request => {
                let Some((code, _, length)) = socks::message5(bytes) else {
                    return if bytes.len() < 300 {
                        Step::Need(bytes.len() + 1)
                    } else {
                        Step::Stop
                    };
                };
                let outcome = if code == 0 {
                    Outcome::Success
                } else {
                    Outcome::Failure
                };
                self.tell_request(outcome, cx);
                self.server = Stage::Through;
                Step::Take(length as u64)
            }
            Stage::Through => Step::Stop,
        }
    }

    fn tell_login(&mut self, outcome: Outcome, cx: &mut AnalyzerCx<'_>) {
        let Some(user) = self.user.take() else { return };
        let method = if self.version4 { "none" } else { "password" };
        let attempt = Attempt {
            user: &user,
            domain: "",
            method,
            client: "",
            outcome,
        };
        emit_login(Service::Socks, &attempt, cx);
    }

    fn tell_request(&mut self, outcome: Outcome, cx: &mut AnalyzerCx<'_>) {
        let Some((verb, object)) = self.request.take() else {
            return;
        };
        cx.emit(EventBody::Operation(Box::new(Operation {
            service: Some(Service::Socks),
            verb: verb.into(),
            object,
            outcome,
            ..Operation::default()
        })));
    }
}

const fn two_or_stop(bytes: &[u8]) -> Step {
    if bytes.len() < 2 {
        Step::Need(2)
    } else {
        Step::Stop
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    #[test]
    fn a_log_in_a_destination_and_what_is_inside_are_told() {
        let mut talk = Talk::tcp(&SPEC, 9050);
        assert_eq!(talk.probe(b"\x05\x02\0\x02", b"\x05\x02"), Probe::Yes);
        talk.client(b"\x05\x02\0\x02");
        talk.server(b"\x05\x02");
        talk.client(b"\x01\x03bob\x01x");
        talk.server(b"\x01\x00");
        talk.client(b"\x05\x01\x00\x03\x05a.org\x00\x19");
        talk.server(b"\x05\x00\x00\x01\0\0\0\0\0\0");
        talk.server(b"220 m ESMTP\r\n");
        talk.client(b"EHLO x\r\nMAIL FROM:<a@b>\r\n");
        talk.close();
        let [
            EventBody::Login(login),
            EventBody::Operation(connect),
            EventBody::Mail(_),
        ] = &talk.events[..]
        else {
            panic!("{:?}", talk.events)
        };
        assert_eq!((&*login.user, login.outcome), ("bob", Outcome::Success));
        assert_eq!(
            (&*connect.object, connect.outcome),
            ("a.org:25", Outcome::Success)
        );
    }

    #[test]
    fn version_four_is_read_too() {
        let mut talk = Talk::tcp(&SPEC, 1080);
        talk.client(b"\x04\x01\x00\x50\x0a\x00\x00\x01\0");
        talk.server(b"\0\x5b\0\0\0\0\0\0");
        let [EventBody::Operation(connect)] = &talk.events[..] else {
            panic!()
        };
        assert_eq!(
            (&*connect.object, connect.outcome),
            ("10.0.0.1:80", Outcome::Failure)
        );
    }
}
