//! MySQL up to the log-in. Statements are not read.

use thymus_parsers::mysql::{self, ClientHello};
use thymus_schema::{Outcome, Service, Transport};

use super::database_login::{DatabaseLogin, Dialect, Login};
use crate::analyzer::{AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::framing::Step;

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Mysql,
    transports: &[Transport::Tcp],
    usual_ports: &[3306],
    probe,
    build: || Box::<DatabaseLogin<Mysql>>::default(),
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
struct Mysql {
    greeted: bool,
}

impl Dialect for Mysql {
    const SERVICE: Service = Service::Mysql;

    fn message(
        &mut self,
        side: Side,
        front: &[u8],
        login: &mut Login,
        cx: &mut AnalyzerCx<'_>,
    ) -> Step {
        let Some((length, _)) = mysql::packet(front) else {
            return Step::Need(4);
        };
        let whole = length + 4;
        if whole > PACKET_BYTES_MAX {
            return Step::Stop;
        }
        if front.len() < whole {
            return Step::Need(whole);
        }
        self.packet(side, &front[4..whole], login, cx);
        Step::Take(whole as u64)
    }
}

impl Mysql {
    fn packet(&mut self, side: Side, payload: &[u8], login: &mut Login, cx: &mut AnalyzerCx<'_>) {
        match side {
            Side::Client if login.user.is_none() => match mysql::client_hello(payload) {
                Some(ClientHello::Tls) => login.to_tls = true,
                Some(ClientHello::Login(user)) => login.user = Some(user),
                None => {}
            },
            Side::Client => {}
            Side::Server if !self.greeted => self.greeted = true,
            Side::Server => match mysql::login_result(payload) {
                Some(true) => login.end(Outcome::Success, Self::SERVICE, cx),
                Some(false) => login.end(Outcome::Failure, Self::SERVICE, cx),
                None => {}
            },
        }
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
