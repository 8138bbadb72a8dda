//! Microsoft SQL Server up to the log-in. With encryption, which is usual, only the outcome of the
//! log-in shows, and only where the server ends encryption after it.

use thymus_parsers::tds;
use thymus_schema::{Outcome, Service, Transport};

use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::auth::{Attempt, Security, emit_login};
use crate::framing::{Step, StreamBuffer};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Mssql,
    transports: &[Transport::Tcp],
    usual_ports: &[1433],
    probe,
    build: || Box::<MssqlAnalyzer>::default(),
};

const ANSWER: u8 = 4;
const LOGIN: u8 = 16;
const SSPI: u8 = 17;
const PRELOGIN: u8 = 18;

fn probe(opening: &Opening<'_>) -> Probe {
    match tds::header(opening.client) {
        Some(header) if matches!(header.kind, LOGIN | PRELOGIN) && header.length >= 20 => {
            Probe::Yes
        }
        None if opening.client.len() < 8 && matches!(opening.client.first(), Some(16 | 18)) => {
            Probe::More
        }
        _ => Probe::No,
    }
}

#[derive(Default)]
struct MssqlAnalyzer {
    buffers: [StreamBuffer; 2],
    user: Box<str>,
    host: Box<str>,
    asked: bool,
    finished: bool,
    security: Security,
}

impl Analyzer for MssqlAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let mut buffer = std::mem::take(&mut self.buffers[usize::from(side == Side::Server)]);
        let ok = buffer.feed(bytes, |front| {
            if self.finished {
                return Step::Stop;
            }
            if front.len() < 8 {
                return Step::Need(8);
            }
            let Some(header) = tds::header(front) else {
                return Step::Stop;
            };
            let wanted = header.length.min(8192);
            if front.len() < wanted {
                return Step::Need(wanted);
            }
            self.packet(header.kind, &front[8..wanted], cx);
            Step::Take(header.length as u64)
        });
        self.buffers[usize::from(side == Side::Server)] = buffer;
        if self.finished || !ok {
            cx.detach();
        }
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        if self.asked && !self.finished {
            self.tell(Outcome::Unknown, cx);
        }
    }
}

impl MssqlAnalyzer {
    fn packet(&mut self, kind: u8, payload: &[u8], cx: &mut AnalyzerCx<'_>) {
        match kind {
            LOGIN => {
                self.asked = true;
                if let Some(login) = tds::login7(payload) {
                    self.user = login.user;
                    self.host = login.host;
                    self.security.read(login.sspi);
                }
            }
            SSPI => self.security.read(payload),
            ANSWER => {
                if let Some(blob) = tds::sspi(payload) {
                    return self.security.read(blob);
                }
                match tds::login_result(payload) {
                    Some(true) => self.tell(Outcome::Success, cx),
                    Some(false) => self.tell(Outcome::Failure, cx),
                    None => {}
                }
            }
            _ => {}
        }
    }

    fn tell(&mut self, outcome: Outcome, cx: &mut AnalyzerCx<'_>) {
        self.finished = true;
        if self.security.is_pending() {
            self.security.finish(Service::Mssql, outcome, cx);
            return;
        }
        let attempt = Attempt {
            user: &self.user,
            domain: "",
            method: "password",
            client: &self.host,
            outcome,
        };
        emit_login(Service::Mssql, &attempt, cx);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;
    use thymus_schema::EventBody;

    #[test]
    fn a_refused_log_in_names_its_account() {
        let mut login = b"\x10\x01\0\x6a\0\0\x01\0".to_vec();
        login.resize(8 + 94, 0);
        login[8 + 40] = 94;
        login[8 + 42] = 2;
        login.extend(b"s\0a\0");
        let mut talk = Talk::tcp(&SPEC, 1434);
        assert_eq!(talk.probe(&login, b""), Probe::Yes);
        talk.client(&login);
        talk.server(b"\x04\x01\0\x0d\0\0\x01\0\xaa\x02\0ab");
        let [EventBody::Login(login)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!((&*login.user, login.outcome), ("sa", Outcome::Failure));
    }
}
