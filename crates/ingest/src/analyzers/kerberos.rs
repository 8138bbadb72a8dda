//! Kerberos to a key distribution centre, over UDP and TCP. A request is told with its reply. An AS
//! exchange in which the client proved itself, or was refused, is a log-in too.

use std::collections::VecDeque;

use thymus_parsers::kerberos::{self, Message, Reply, Request};
use thymus_schema::{EventBody, KerberosExchange, KerberosRequest, Outcome, Service, Transport};

use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::auth::{Attempt, emit_login};
use crate::framing::{MESSAGE_BYTES_MAX, Step, StreamBuffer};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Kerberos,
    transports: &[Transport::Udp, Transport::Tcp],
    usual_ports: &[88],
    probe,
    build: || Box::<KerberosAnalyzer>::default(),
};

/// Most requests that wait for a reply; the oldest is told without one.
const REQUESTS_MAX: usize = 16;
/// Errors that say the account or its proof was refused (RFC 4120, 7.5.9).
const REFUSALS: &[u32] = &[6, 12, 18, 23, 24, 31];
const PREAUTH_REQUIRED: u32 = 25;

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = opening.first();
    let message = match opening.transport {
        Transport::Tcp if bytes.len() < 20 => {
            return if bytes.starts_with(&[0, 0][..bytes.len().min(2)]) {
                Probe::More
            } else {
                Probe::No
            };
        }
        Transport::Tcp => &bytes[4..],
        _ => bytes,
    };
    if kerberos::looks_like_message(message) {
        Probe::Yes
    } else {
        Probe::No
    }
}

#[derive(Default)]
struct KerberosAnalyzer {
    buffers: [StreamBuffer; 2],
    requests: VecDeque<Request>,
}

impl Analyzer for KerberosAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let Self { buffers, requests } = self;
        if cx.conn.transport != Transport::Tcp {
            return message(bytes, requests, cx);
        }
        let buffer = &mut buffers[usize::from(side == Side::Server)];
        let ok = buffer.feed(bytes, |front| {
            let Some(length) = kerberos::stream_length(front) else {
                return Step::Need(4);
            };
            if length > MESSAGE_BYTES_MAX {
                return Step::Stop;
            }
            if front.len() < length {
                return Step::Need(length);
            }
            message(&front[4..length], requests, cx);
            Step::Take(length as u64)
        });
        if !ok {
            cx.detach();
        }
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        for request in std::mem::take(&mut self.requests) {
            emit(request, None, None, cx);
        }
    }
}

fn message(bytes: &[u8], requests: &mut VecDeque<Request>, cx: &mut AnalyzerCx<'_>) {
    match kerberos::parse(bytes) {
        Some(Message::Request(request)) => {
            if requests.len() == REQUESTS_MAX
                && let Some(oldest) = requests.pop_front()
            {
                emit(oldest, None, None, cx);
            }
            requests.push_back(request);
        }
        Some(Message::Reply(reply)) => {
            let mut request = requests.pop_front().unwrap_or_else(|| Request {
                tgs: reply.tgs,
                ..Request::default()
            });
            if request.client.is_empty() {
                request.client = reply.client.clone();
            }
            if request.realm.is_empty() {
                request.realm = reply.realm.clone();
            }
            if request.service.is_empty() {
                request.service = reply.ticket.service.clone();
            }
            emit(request, Some(&reply), None, cx);
        }
        Some(Message::Error(error)) => {
            let request = requests.pop_front().unwrap_or_else(|| Request {
                tgs: !error.service.starts_with("krbtgt"),
                client: error.client.clone(),
                realm: error.realm.clone(),
                service: error.service.clone(),
                ..Request::default()
            });
            emit(request, None, Some(error.code), cx);
        }
        Some(_) => {}
        None => cx.quirk("kerberos", "unreadable_message"),
    }
}

fn emit(request: Request, reply: Option<&Reply>, error: Option<u32>, cx: &mut AnalyzerCx<'_>) {
    let outcome = match (reply, error) {
        (Some(_), _) => Outcome::Success,
        (None, Some(_)) => Outcome::Failure,
        (None, None) => Outcome::Unknown,
    };
    let refused = error.is_some_and(|code| REFUSALS.contains(&code));
    let asked_first = error == Some(PREAUTH_REQUIRED);
    if !request.tgs && !asked_first && (refused || request.preauth) {
        let attempt = Attempt {
            user: &request.client,
            domain: &request.realm,
            method: "kerberos",
            client: "",
            outcome,
        };
        emit_login(Service::Kerberos, &attempt, cx);
    }
    cx.emit(EventBody::Kerberos(Box::new(KerberosExchange {
        request: if request.tgs {
            KerberosRequest::Tgs
        } else {
            KerberosRequest::As
        },
        client: request.client,
        realm: request.realm,
        service: request.service,
        error,
        outcome,
        ticket_etype: reply.map_or(0, |reply| reply.ticket.etype),
        offered_etypes: request.etypes,
        preauth: request.preauth,
    })));
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    /// The parsers' own cases are the messages.
    fn case(text: &str) -> Vec<u8> {
        let digits: Vec<u32> = text
            .lines()
            .filter_map(|line| line.split('#').next())
            .flat_map(|line| {
                line.chars()
                    .filter_map(|c| c.to_digit(16))
                    .collect::<Vec<_>>()
            })
            .collect();
        digits
            .chunks(2)
            .map(|pair| (pair[0] * 16 + pair[1]) as u8)
            .collect()
    }

    fn request() -> Vec<u8> {
        case(include_str!("../../../parsers/cases/kerberos/as-req.hex"))
    }

    #[test]
    fn a_demand_for_proof_is_an_error_but_no_log_in() {
        let mut talk = Talk::udp(&SPEC, 88);
        assert_eq!(talk.probe(&request(), b""), Probe::Yes);
        talk.client(&request());
        talk.server(&case(include_str!(
            "../../../parsers/cases/kerberos/krb-error.hex"
        )));
        let [EventBody::Kerberos(exchange)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!(
            (exchange.error, exchange.outcome),
            (Some(25), Outcome::Failure)
        );
        assert_eq!(exchange.offered_etypes, [18, 23]);
    }

    #[test]
    fn a_refused_proof_is_a_failed_log_in() {
        let mut error = case(include_str!(
            "../../../parsers/cases/kerberos/krb-error.hex"
        ));
        let at = error
            .windows(5)
            .position(|bytes| bytes == [0xa6, 3, 2, 1, 25])
            .unwrap();
        error[at + 4] = 24;
        let mut talk = Talk::udp(&SPEC, 88);
        talk.client(&request());
        talk.server(&error);
        let [EventBody::Login(login), EventBody::Kerberos(_)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!((&*login.user, &*login.method), ("bob", "kerberos"));
        assert_eq!(login.outcome, Outcome::Failure);
    }

    #[test]
    fn a_ticket_over_tcp_is_told_with_its_encryption() {
        let reply = case(include_str!("../../../parsers/cases/kerberos/tgs-rep.hex"));
        let framed = [&(reply.len() as u32).to_be_bytes()[..], &reply].concat();
        let mut talk = Talk::tcp(&SPEC, 88);
        for byte in framed {
            talk.server(&[byte]);
        }
        let [EventBody::Kerberos(exchange)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!(exchange.request, KerberosRequest::Tgs);
        assert_eq!(
            (&*exchange.service, exchange.ticket_etype),
            ("cifs/fs.example.org", 23)
        );
    }
}
