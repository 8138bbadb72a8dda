//! POP3 up to the log-in. What follows a log-in that worked is only counted.

use thymus_parsers::pop3::{self, Command, Status};
use thymus_parsers::sasl;
use thymus_schema::{Outcome, Service, Transport};

use super::ftp::first_line;
use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::auth::{Attempt, Security, emit_login};
use crate::framing::LineBuffer;
use crate::inner::Inner;

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Pop3,
    transports: &[Transport::Tcp],
    usual_ports: &[110],
    probe,
    build: || Box::<Pop3Analyzer>::default(),
};

fn probe(opening: &Opening<'_>) -> Probe {
    let client = first_line(opening.client);
    let server = first_line(opening.server);
    let mut known = pop3::command(client) != Command::Other;
    known |= client.eq_ignore_ascii_case(b"CAPA");
    let greeted = pop3::status(server) == Some(Status::Ok);
    // Redis says +OK too: a greeting has words, and comes before the client speaks.
    if greeted && (known || opening.client.is_empty() && server.len() > 4) {
        return Probe::Yes;
    }
    if opening.server.is_empty() && known && opening.server_port == 110 {
        return Probe::Yes;
    }
    Probe::No
}

#[derive(Default)]
struct Pop3Analyzer {
    lines: [LineBuffer; 2],
    state: State,
    inner: Option<Inner>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Waiting {
    #[default]
    Nothing,
    Password,
    Auth,
    StartTls,
}

#[derive(Default)]
struct State {
    user: Box<str>,
    mechanism: Vec<u8>,
    waiting: Waiting,
    security: Security,
    to_tls: bool,
    logged_in: bool,
}

impl Analyzer for Pop3Analyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        if let Some(inner) = &mut self.inner {
            return inner.data(side, bytes, cx);
        }
        let state = &mut self.state;
        let used = self.lines[usize::from(side == Side::Server)].feed(bytes, |line| {
            match side {
                Side::Client => state.client(line),
                Side::Server => state.server(line, cx),
            }
            !state.to_tls && !state.logged_in
        });
        if self.state.logged_in {
            return cx.detach();
        }
        if self.state.to_tls {
            let inner = self.inner.insert(Inner::known(Service::Tls));
            if used < bytes.len() {
                inner.data(side, &bytes[used..], cx);
            }
        }
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        if matches!(self.state.waiting, Waiting::Password | Waiting::Auth) {
            self.state.tell(Outcome::Unknown, cx);
        }
        if let Some(inner) = &mut self.inner {
            inner.close(cx);
        }
    }
}

impl State {
    fn client(&mut self, line: &[u8]) {
        if self.waiting == Waiting::Auth {
            return self.answer(line);
        }
        self.waiting = match pop3::command(line) {
            Command::User(user) => {
                self.user = user;
                Waiting::Nothing
            }
            Command::Apop(user) => {
                self.user = user;
                Waiting::Password
            }
            Command::Password => Waiting::Password,
            Command::Auth(mechanism, answer) => {
                self.mechanism = mechanism[..mechanism.len().min(32)].to_vec();
                self.user = Box::default();
                self.answer(answer);
                Waiting::Auth
            }
            Command::StartTls => Waiting::StartTls,
            Command::Other => Waiting::Nothing,
        };
    }

    fn answer(&mut self, line: &[u8]) {
        if let Some(message) = sasl::ntlm(line) {
            self.security.read(&message);
        } else if self.user.is_empty() {
            self.user = sasl::user(&self.mechanism, line).unwrap_or_default();
        }
    }

    fn server(&mut self, line: &[u8], cx: &mut AnalyzerCx<'_>) {
        let ok = match pop3::status(line) {
            Some(Status::Ok) => true,
            Some(Status::Failed) => false,
            Some(Status::More) => {
                if let Some(message) = line.get(2..).and_then(sasl::ntlm) {
                    self.security.read(&message);
                }
                return;
            }
            None => return,
        };
        match std::mem::take(&mut self.waiting) {
            Waiting::Nothing => {}
            Waiting::StartTls => self.to_tls = ok,
            Waiting::Password | Waiting::Auth => {
                self.logged_in = ok;
                self.tell(
                    if ok {
                        Outcome::Success
                    } else {
                        Outcome::Failure
                    },
                    cx,
                );
            }
        }
    }

    fn tell(&mut self, outcome: Outcome, cx: &mut AnalyzerCx<'_>) {
        self.waiting = Waiting::Nothing;
        if self.security.is_pending() {
            self.security.finish(Service::Pop3, outcome, cx);
            return;
        }
        let attempt = Attempt {
            user: &self.user,
            domain: "",
            method: "password",
            client: "",
            outcome,
        };
        emit_login(Service::Pop3, &attempt, cx);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;
    use thymus_schema::EventBody;

    #[test]
    fn refusals_and_the_log_in_are_told_then_nothing_is_read() {
        let mut talk = Talk::tcp(&SPEC, 110);
        assert_eq!(talk.probe(b"", b"+OK ready\r\n"), Probe::Yes);
        assert_eq!(talk.probe(b"PING\r\n", b"+OK\r\n"), Probe::No);
        talk.server(b"+OK ready\r\n");
        for (asked, answered) in [
            ("USER bob", "+OK"),
            ("PASS x", "-ERR no"),
            ("USER bob", "+OK"),
            ("PASS y", "+OK in"),
        ] {
            talk.client(format!("{asked}\r\n").as_bytes());
            talk.server(format!("{answered}\r\n").as_bytes());
        }
        assert!(talk.detached);
        let [EventBody::Login(one), EventBody::Login(two)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!((&*one.user, one.outcome), ("bob", Outcome::Failure));
        assert_eq!(two.outcome, Outcome::Success);
    }
}
