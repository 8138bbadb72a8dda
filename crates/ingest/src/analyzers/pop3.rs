//! POP3 up to the log-in. What follows a log-in that worked is only counted.

use thymus_parsers::pop3::{self, Command, Status};
use thymus_parsers::sasl;
use thymus_schema::{Service, Transport};

use super::ftp::first_line;
use super::mail_login::{Dialect, Login, MailLogin};
use crate::analyzer::{AnalyzerCx, AnalyzerSpec, Opening, Probe};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Pop3,
    transports: &[Transport::Tcp],
    usual_ports: &[110],
    probe,
    build: || Box::<MailLogin<Pop3>>::default(),
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Waiting {
    #[default]
    Nothing,
    Password,
    Auth,
    StartTls,
}

#[derive(Default)]
struct Pop3 {
    waiting: Waiting,
}

impl Dialect for Pop3 {
    const SERVICE: Service = Service::Pop3;

    fn client(&mut self, line: &[u8], login: &mut Login) {
        if self.waiting == Waiting::Auth {
            return login.go_on(line);
        }
        self.waiting = match pop3::command(line) {
            Command::User(user) => {
                login.user = user;
                Waiting::Nothing
            }
            Command::Apop(user) => {
                login.user = user;
                Waiting::Password
            }
            Command::Password => Waiting::Password,
            Command::Auth(mechanism, answer) => {
                login.begin(mechanism, answer);
                Waiting::Auth
            }
            Command::StartTls => Waiting::StartTls,
            Command::Other => Waiting::Nothing,
        };
    }

    fn server(&mut self, line: &[u8], login: &mut Login, cx: &mut AnalyzerCx<'_>) {
        let ok = match pop3::status(line) {
            Some(Status::Ok) => true,
            Some(Status::Failed) => false,
            Some(Status::More) => {
                if let Some(message) = line.get(2..).and_then(sasl::ntlm) {
                    login.security.read(&message);
                }
                return;
            }
            None => return,
        };
        match std::mem::take(&mut self.waiting) {
            Waiting::Nothing => {}
            Waiting::StartTls => login.to_tls = ok,
            Waiting::Password | Waiting::Auth => login.end(ok, Self::SERVICE, cx),
        }
    }

    fn waits(&self) -> bool {
        matches!(self.waiting, Waiting::Password | Waiting::Auth)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;
    use thymus_schema::{EventBody, Outcome};

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
