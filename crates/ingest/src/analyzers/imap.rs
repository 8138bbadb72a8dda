//! IMAP up to the log-in. What follows a log-in that worked is only counted.

use thymus_parsers::{imap, sasl, text};
use thymus_schema::{Service, Transport};

use super::ftp::first_line;
use super::mail_login::{Dialect, Login, MailLogin};
use crate::analyzer::{AnalyzerCx, AnalyzerSpec, Opening, Probe};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Imap,
    transports: &[Transport::Tcp],
    usual_ports: &[143],
    probe,
    build: || Box::<MailLogin<Imap>>::default(),
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
struct Imap {
    tag: Vec<u8>,
    waiting: Waiting,
}

impl Dialect for Imap {
    const SERVICE: Service = Service::Imap;

    fn client(&mut self, line: &[u8], login: &mut Login) {
        match self.waiting {
            Waiting::Literal => {
                login.user = text(line.split(|&byte| byte == b' ').next().unwrap_or(line), 256);
                self.waiting = Waiting::Login;
            }
            Waiting::Authenticate => login.go_on(line),
            _ => self.command(line, login),
        }
    }

    fn server(&mut self, line: &[u8], login: &mut Login, cx: &mut AnalyzerCx<'_>) {
        if let Some(message) = line.strip_prefix(b"+ ").and_then(sasl::ntlm) {
            return login.security.read(&message);
        }
        let Some(ok) = imap::completion(line, &self.tag) else {
            return;
        };
        match std::mem::take(&mut self.waiting) {
            Waiting::Nothing => {}
            Waiting::StartTls => login.to_tls = ok,
            _ => login.end(ok, Self::SERVICE, cx),
        }
    }

    fn waits(&self) -> bool {
        !matches!(self.waiting, Waiting::Nothing | Waiting::StartTls)
    }
}

impl Imap {
    fn command(&mut self, line: &[u8], login: &mut Login) {
        let (tag, command) = imap::command(line);
        self.waiting = match command {
            imap::Command::Login(user) => {
                let literal = user.is_empty();
                login.user = user;
                if literal {
                    Waiting::Literal
                } else {
                    Waiting::Login
                }
            }
            imap::Command::Authenticate(mechanism, answer) => {
                login.begin(mechanism, answer);
                Waiting::Authenticate
            }
            imap::Command::StartTls => Waiting::StartTls,
            imap::Command::Other => return,
        };
        self.tag = tag[..tag.len().min(32)].to_vec();
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;
    use thymus_schema::{EventBody, Outcome};

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
