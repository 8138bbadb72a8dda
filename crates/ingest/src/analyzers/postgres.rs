//! PostgreSQL up to the log-in. Statements are not read.

use thymus_parsers::postgres::{self, Startup};
use thymus_schema::{Outcome, Service, Transport};

use super::database_login::{DatabaseLogin, Dialect, Login};
use crate::analyzer::{AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::framing::Step;

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Postgres,
    transports: &[Transport::Tcp],
    usual_ports: &[5432],
    probe,
    build: || Box::<DatabaseLogin<Postgres>>::default(),
};

fn probe(opening: &Opening<'_>) -> Probe {
    match opening.client {
        client if postgres::looks_like_startup(client) => Probe::Yes,
        client if client.len() < 8 && client.starts_with(&[0][..client.len().min(1)]) => {
            Probe::More
        }
        _ => Probe::No,
    }
}

#[derive(Default)]
struct Postgres {
    asked_encryption: bool,
}

impl Dialect for Postgres {
    const SERVICE: Service = Service::Postgres;

    fn message(
        &mut self,
        side: Side,
        front: &[u8],
        login: &mut Login,
        cx: &mut AnalyzerCx<'_>,
    ) -> Step {
        match side {
            Side::Client => self.client(front, login),
            Side::Server => self.server(front, login, cx),
        }
    }
}

impl Postgres {
    fn client(&mut self, bytes: &[u8], login: &mut Login) -> Step {
        if login.user.is_some() {
            // Passwords and exchanges of mechanisms.
            let Some((_, length, _)) = postgres::server_message(bytes) else {
                return Step::Need(5);
            };
            return Step::Take(length as u64);
        }
        match postgres::startup(bytes) {
            Some((Startup::Encryption, length)) => {
                self.asked_encryption = true;
                Step::Take(length as u64)
            }
            Some((Startup::Login(user, _), length)) => {
                login.user = Some(user);
                Step::Take(length as u64)
            }
            None if bytes.len() < 8 || postgres::looks_like_startup(bytes) => {
                Step::Need(bytes.len() + 1)
            }
            None => Step::Stop,
        }
    }

    fn server(&mut self, bytes: &[u8], login: &mut Login, cx: &mut AnalyzerCx<'_>) -> Step {
        if std::mem::take(&mut self.asked_encryption) {
            login.to_tls = bytes[0] == b'S';
            return Step::Take(1);
        }
        if bytes.len() < 9 {
            return Step::Need(9);
        }
        let Some((kind, length, code)) = postgres::server_message(bytes) else {
            return Step::Stop;
        };
        match (kind, code) {
            (b'R', 0) => login.end(Outcome::Success, Self::SERVICE, cx),
            (b'E', _) => login.end(Outcome::Failure, Self::SERVICE, cx),
            _ => {}
        }
        Step::Take(length as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;
    use thymus_schema::EventBody;

    #[test]
    fn after_a_refused_encryption_the_log_in_is_read() {
        let startup = b"\0\0\0\x1e\0\x03\0\0user\0bob\0database\0db\0\0";
        let mut talk = Talk::tcp(&SPEC, 15_432);
        assert_eq!(talk.probe(startup, b""), Probe::Yes);
        talk.client(b"\0\0\0\x08\x04\xd2\x16\x2f");
        talk.server(b"N");
        talk.client(startup);
        talk.server(b"R\0\0\0\x0c\0\0\0\x05salt");
        talk.client(b"p\0\0\0\x08md5\0");
        talk.server(b"R\0\0\0\x08\0\0\0\0");
        let [EventBody::Login(login)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!((&*login.user, login.outcome), ("bob", Outcome::Success));
    }
}
