//! IMAP up to the log-in. What follows a log-in that worked is only counted.

use thymus_parsers::{imap, sasl, text};
use thymus_schema::{Outcome, Service, Transport};

use super::ftp::first_line;
use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::auth::{Attempt, Security, emit_login};
use crate::framing::LineBuffer;
use crate::inner::Inner;

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Imap,
    transports: &[Transport::Tcp],
    usual_ports: &[143],
    probe,
    build: || Box::<ImapAnalyzer>::default(),
};

fn probe(opening: &Opening<'_>) -> Probe {
    if imap::looks_like_greeting(first_line(opening.server)) {
        return Probe::Yes;
    }
    if opening.server.is_empty() && imap::looks_like_command(first_line(opening.client)) {
        return Probe::Yes;
    }
    Probe::No
}

#[derive(Default)]
struct ImapAnalyzer {
    lines: [LineBuffer; 2],
    state: State,
    inner: Option<Inner>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Waiting {
    #[default]
    Nothing,
    Login,
    /// The account comes in the next line.
    Literal,
    Authenticate,
    StartTls,
}

#[derive(Default)]
struct State {
    tag: Vec<u8>,
    waiting: Waiting,
    mechanism: Vec<u8>,
    user: Box<str>,
    security: Security,
    to_tls: bool,
    logged_in: bool,
}

impl Analyzer for ImapAnalyzer {
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
        let waits = !matches!(self.state.waiting, Waiting::Nothing | Waiting::StartTls);
        if waits && !self.state.logged_in {
            self.state.tell(Outcome::Unknown, cx);
        }
        if let Some(inner) = &mut self.inner {
            inner.close(cx);
        }
    }
}

impl State {
    fn client(&mut self, line: &[u8]) {
        match self.waiting {
            Waiting::Literal => {
                self.user = text(line.split(|&byte| byte == b' ').next().unwrap_or(line), 256);
                self.waiting = Waiting::Login;
            }
            Waiting::Authenticate => self.answer(line),
            _ => self.command(line),
        }
    }

    fn command(&mut self, line: &[u8]) {
        let (tag, command) = imap::command(line);
        let waiting = match command {
            imap::Command::Login(user) => {
                let literal = user.is_empty();
                self.user = user;
                if literal {
                    Waiting::Literal
                } else {
                    Waiting::Login
                }
            }
            imap::Command::Authenticate(mechanism, answer) => {
                self.mechanism = mechanism[..mechanism.len().min(32)].to_vec();
                self.user = Box::default();
                self.answer(answer);
                Waiting::Authenticate
            }
            imap::Command::StartTls => Waiting::StartTls,
            imap::Command::Other => return,
        };
        self.waiting = waiting;
        self.tag = tag[..tag.len().min(32)].to_vec();
    }

    fn answer(&mut self, line: &[u8]) {
        if let Some(message) = sasl::ntlm(line) {
            self.security.read(&message);
        } else if self.user.is_empty() {
            self.user = sasl::user(&self.mechanism, line).unwrap_or_default();
        }
    }

    fn server(&mut self, line: &[u8], cx: &mut AnalyzerCx<'_>) {
        if let Some(message) = line.strip_prefix(b"+ ").and_then(sasl::ntlm) {
            return self.security.read(&message);
        }
        let Some(ok) = imap::completion(line, &self.tag) else {
            return;
        };
        match std::mem::take(&mut self.waiting) {
            Waiting::Nothing => {}
            Waiting::StartTls => self.to_tls = ok,
            _ => {
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
        if self.security.is_pending() {
            self.security.finish(Service::Imap, outcome, cx);
            return;
        }
        let user = std::mem::take(&mut self.user);
        let attempt = Attempt {
            user: &user,
            domain: "",
            method: "password",
            client: "",
            outcome,
        };
        emit_login(Service::Imap, &attempt, cx);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;
    use thymus_schema::EventBody;

    #[test]
    fn refusals_and_the_log_in_are_told_then_nothing_is_read() {
        let mut talk = Talk::tcp(&SPEC, 143);
        assert_eq!(talk.probe(b"", b"* OK ready\r\n"), Probe::Yes);
        talk.server(b"* OK ready\r\n");
        talk.client(b"a1 LOGIN bob x\r\n");
        talk.server(b"a1 NO bad\r\n");
        talk.client(b"a2 LOGIN {3}\r\n");
        talk.server(b"+ go on\r\n");
        talk.client(b"bob {6}\r\n");
        talk.server(b"* CAPABILITY IMAP4rev1\r\na2 OK in\r\n");
        assert!(talk.detached);
        let [EventBody::Login(one), EventBody::Login(two)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!((&*one.user, one.outcome), ("bob", Outcome::Failure));
        assert_eq!((&*two.user, two.outcome), ("bob", Outcome::Success));
    }

    #[test]
    fn after_starttls_the_stream_is_handed_over() {
        let mut talk = Talk::tcp(&SPEC, 143);
        talk.client(b"a1 STARTTLS\r\n");
        talk.server(b"a1 OK begin\r\n");
        talk.client(b"a2 LOGIN bob x\r\n");
        talk.server(b"a2 NO\r\n");
        assert!(
            !talk
                .events
                .iter()
                .any(|event| matches!(event, EventBody::Login(_)))
        );
    }
}
