//! SIP: what is asked for, with which software, and registrations by digest as attempts to log in.

use thymus_parsers::sip::{self, Header, Start};
use thymus_schema::{Operation, Outcome, Service, Transport};

use super::calls::Calls;
use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::auth::{Attempt, emit_login};
use crate::framing::LineBuffer;

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Sip,
    transports: &[Transport::Udp, Transport::Tcp],
    usual_ports: &[5060],
    probe,
    build: || Box::<SipAnalyzer>::default(),
};

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = opening.first();
    // Empty lines keep the way open (RFC 5626).
    let bytes = bytes.trim_ascii_start();
    let stream = opening.transport == Transport::Tcp;
    let end = bytes.iter().position(|&byte| byte == b'\n');
    match end {
        Some(end) if sip::start(&bytes[..end]).is_some() => Probe::Yes,
        None if stream
            && bytes.len() < 512
            && bytes.iter().all(|byte| (b' '..=b'~').contains(byte)) =>
        {
            Probe::More
        }
        _ => Probe::No,
    }
}

#[derive(Default)]
struct SipAnalyzer {
    lanes: [Lane; 2],
    calls: Calls,
    /// The side and credentials of the request that waits.
    credentials: Option<(Side, Credentials)>,
}

/// One direction.
#[derive(Default)]
struct Lane {
    lines: LineBuffer,
    head: Option<Head>,
}

/// A message's head, as far as it has come.
struct Head {
    start: Start,
    agent: Box<str>,
    credentials: Option<Credentials>,
    bytes: u64,
}

struct Credentials {
    user: Box<str>,
    realm: Box<str>,
    agent: Box<str>,
}

impl Analyzer for SipAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let datagram = cx.conn.transport == Transport::Udp;
        let mut lane = std::mem::take(&mut self.lanes[usize::from(side == Side::Server)]);
        if datagram {
            lane = Lane::default();
        }
        let Lane { lines, head } = &mut lane;
        lines.feed(bytes, |line| {
            if let Some(done) = read(head, line) {
                self.message(side, done, cx);
            }
            true
        });
        if let Some(cut) = lane.head.take_if(|_| datagram) {
            self.message(side, cut, cx);
        }
        self.lanes[usize::from(side == Side::Server)] = lane;
        if self.calls.is_full() && !datagram {
            cx.detach();
        }
    }

    fn gap(&mut self, side: Side, _missing: u64, _cx: &mut AnalyzerCx<'_>) {
        self.lanes[usize::from(side == Side::Server)] = Lane::default();
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        self.login(Outcome::Unknown, cx);
        self.calls.close(cx);
    }
}

/// Takes a line; returns the head when it ends. Lines of bodies are not first lines and go by.
fn read(head: &mut Option<Head>, line: &[u8]) -> Option<Head> {
    let bytes = line.len() as u64 + 2;
    let Some(open) = head else {
        *head = sip::start(line).map(|start| Head {
            start,
            agent: Box::default(),
            credentials: None,
            bytes,
        });
        return None;
    };
    open.bytes += bytes;
    if line.is_empty() {
        return head.take();
    }
    match sip::header(line) {
        Some(Header::Agent(agent)) => open.agent = agent,
        Some(Header::Credentials(user, realm)) => {
            let agent = Box::default();
            open.credentials = Some(Credentials { user, realm, agent });
        }
        None => {}
    }
    None
}

impl SipAnalyzer {
    fn message(&mut self, side: Side, head: Head, cx: &mut AnalyzerCx<'_>) {
        let operation = |verb: Box<str>, object: Box<str>, detail: Box<str>| Operation {
            service: Some(Service::Sip),
            verb,
            object,
            detail,
            ..Operation::default()
        };
        match head.start {
            // An acknowledgement belongs to the call that was answered.
            Start::Request { method, .. } if &*method == "ack" => {}
            Start::Request { method, uri } => {
                self.login(Outcome::Unknown, cx);
                if let Some(mut credentials) = head.credentials {
                    credentials.agent.clone_from(&head.agent);
                    self.credentials = Some((side, credentials));
                }
                let request_len = head.bytes;
                let asked = operation(method, uri, head.agent);
                self.calls.ask(
                    Operation {
                        request_len,
                        ..asked
                    },
                    cx,
                );
            }
            Start::Response(code) => {
                let tries = self
                    .credentials
                    .as_ref()
                    .is_some_and(|(asked, _)| *asked != side);
                let outcome = match code {
                    200..=299 => Outcome::Success,
                    // Without credentials it only asks for some.
                    401 | 407 if !tries => Outcome::Unknown,
                    300.. => Outcome::Failure,
                    _ => Outcome::Unknown,
                };
                let agent = head.agent;
                self.calls.answer(head.bytes, outcome, || {
                    operation("response".into(), Box::default(), agent)
                });
                if tries && code >= 200 {
                    let login = match code {
                        200..=299 => Outcome::Success,
                        401 | 403 | 404 | 407 => Outcome::Failure,
                        _ => Outcome::Unknown,
                    };
                    self.login(login, cx);
                }
            }
        }
    }

    fn login(&mut self, outcome: Outcome, cx: &mut AnalyzerCx<'_>) {
        let Some((_, credentials)) = self.credentials.take() else {
            return;
        };
        let attempt = Attempt {
            user: &credentials.user,
            domain: &credentials.realm,
            method: "digest",
            client: &credentials.agent,
            outcome,
        };
        emit_login(Service::Sip, &attempt, cx);
    }
}

#[cfg(test)]
mod tests {
    use thymus_schema::EventBody;

    use super::super::testing::Talk;
    use super::*;

    const REGISTER: &[u8] = b"REGISTER sip:pbx.example SIP/2.0\r\nUser-Agent: phone\r\nAuthorization: Digest username=\"100\", realm=\"pbx\"\r\n\r\n";

    #[test]
    fn a_refused_registration_is_a_failed_login() {
        for piece in [3, 1000] {
            let mut talk = Talk::tcp(&SPEC, 5070);
            assert_eq!(talk.probe(REGISTER, b""), Probe::Yes);
            REGISTER.chunks(piece).for_each(|piece| talk.client(piece));
            talk.server(b"SIP/2.0 100 Trying\r\n\r\nSIP/2.0 403 Forbidden\r\nServer: s\r\n\r\n");
            talk.close();
            let [EventBody::Login(login), EventBody::Operation(call)] = &talk.events[..] else {
                panic!("{:?}", talk.events)
            };
            assert_eq!(
                (&*login.user, &*login.domain, &*login.client),
                ("100", "pbx", "phone")
            );
            assert_eq!(login.outcome, Outcome::Failure);
            assert_eq!(
                (&*call.verb, &*call.object),
                ("register", "sip:pbx.example")
            );
        }
    }

    #[test]
    fn a_challenge_is_no_failure_and_http_is_not_taken() {
        let mut talk = Talk::udp(&SPEC, 5060);
        talk.client(b"OPTIONS sip:100@192.0.2.1 SIP/2.0\r\nUser-Agent: scanner\r\n\r\n");
        talk.server(b"SIP/2.0 401 Unauthorized\r\n\r\n");
        talk.close();
        let [EventBody::Operation(call)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!((&*call.detail, call.outcome), ("scanner", Outcome::Unknown));
        assert_eq!(talk.probe(b"OPTIONS / HTTP/1.1\r\n\r\n", b""), Probe::No);
        assert_eq!(
            talk.probe(b"OPTIONS rtsp://h/ RTSP/1.0\r\n\r\n", b""),
            Probe::No
        );
    }
}
