//! MySQL up to the log-in. Statements are not read.

use thymus_parsers::mysql::{self, ClientHello};
use thymus_schema::{Outcome, Service, Transport};

use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::auth::{Attempt, emit_login};
use crate::framing::{Step, StreamBuffer};
use crate::inner::Inner;

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Mysql,
    transports: &[Transport::Tcp],
    usual_ports: &[3306],
    probe,
    build: || Box::<MysqlAnalyzer>::default(),
};

/// Longest packet of a log-in.
const PACKET_BYTES_MAX: usize = 4096;

fn probe(opening: &Opening<'_>) -> Probe {
    if mysql::looks_like_greeting(opening.server) {
        Probe::Yes
    } else {
        Probe::No
    }
}

#[derive(Default)]
struct MysqlAnalyzer {
    buffers: [StreamBuffer; 2],
    user: Option<Box<str>>,
    greeted: bool,
    to_tls: bool,
    finished: bool,
    inner: Option<Inner>,
}

impl Analyzer for MysqlAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        if let Some(inner) = &mut self.inner {
            return inner.data(side, bytes, cx);
        }
        let mut buffer = std::mem::take(&mut self.buffers[usize::from(side == Side::Server)]);
        let ok = buffer.feed(bytes, |front| {
            let Some((length, _)) = mysql::packet(front) else {
                return Step::Need(4);
            };
            let whole = length + 4;
            if self.finished || self.to_tls || whole > PACKET_BYTES_MAX {
                return Step::Stop;
            }
            if front.len() < whole {
                return Step::Need(whole);
            }
            self.packet(side, &front[4..whole], cx);
            Step::Take(whole as u64)
        });
        self.buffers[usize::from(side == Side::Server)] = buffer;
        if self.to_tls {
            self.inner = Some(Inner::known(Service::Tls));
        } else if self.finished || !ok {
            cx.detach();
        }
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        self.tell(Outcome::Unknown, cx);
        if let Some(inner) = &mut self.inner {
            inner.close(cx);
        }
    }
}

impl MysqlAnalyzer {
    fn packet(&mut self, side: Side, payload: &[u8], cx: &mut AnalyzerCx<'_>) {
        match side {
            Side::Client if self.user.is_none() => match mysql::client_hello(payload) {
                Some(ClientHello::Tls) => self.to_tls = true,
                Some(ClientHello::Login(user)) => self.user = Some(user),
                None => {}
            },
            Side::Client => {}
            Side::Server if !self.greeted => self.greeted = true,
            Side::Server => match mysql::login_result(payload) {
                Some(true) => self.tell(Outcome::Success, cx),
                Some(false) => self.tell(Outcome::Failure, cx),
                None => {}
            },
        }
    }

    fn tell(&mut self, outcome: Outcome, cx: &mut AnalyzerCx<'_>) {
        let Some(user) = self.user.take() else { return };
        self.finished = true;
        let attempt = Attempt {
            user: &user,
            domain: "",
            method: "password",
            client: "",
            outcome,
        };
        emit_login(Service::Mysql, &attempt, cx);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;
    use thymus_schema::EventBody;

    #[test]
    fn a_refused_log_in_names_its_account() {
        let mut greeting = b"\x2d\0\0\0\x0a8.0.1\0".to_vec();
        greeting.resize(4 + 0x2d, 1);
        let mut hello = b"\x24\0\0\x01\0\x02".to_vec();
        hello.resize(4 + 32, 0);
        hello.extend(b"bob\0");
        let mut talk = Talk::tcp(&SPEC, 3307);
        assert_eq!(talk.probe(b"", &greeting), Probe::Yes);
        talk.server(&greeting);
        talk.client(&hello);
        talk.server(b"\x03\0\0\x02\xff\x15\x04");
        let [EventBody::Login(login)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!((&*login.user, login.outcome), ("bob", Outcome::Failure));
        assert!(talk.detached);
    }
}
