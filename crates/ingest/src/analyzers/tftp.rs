//! TFTP: files asked for and offered. Where the server answers from another port, as it should, the
//! file itself is another conversation and its size is not told.

use thymus_parsers::tftp::{self, Message};
use thymus_schema::{Operation, Outcome, Service, Transport};

use super::calls::Calls;
use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Tftp,
    transports: &[Transport::Udp],
    usual_ports: &[69],
    probe,
    build: || Box::<TftpAnalyzer>::default(),
};

fn probe(opening: &Opening<'_>) -> Probe {
    if matches!(tftp::parse(opening.client), Some(Message::Request { .. })) {
        Probe::Yes
    } else {
        Probe::No
    }
}

#[derive(Default)]
struct TftpAnalyzer {
    calls: Calls,
}

impl Analyzer for TftpAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let outcome = match (tftp::parse(bytes), side) {
            (Some(Message::Request { write, file, mode }), Side::Client) => {
                let operation = Operation {
                    service: Some(Service::Tftp),
                    verb: if write { "wrq" } else { "rrq" }.into(),
                    object: file,
                    detail: mode.into(),
                    request_len: bytes.len() as u64,
                    ..Operation::default()
                };
                return self.calls.ask(operation, cx);
            }
            (Some(Message::Error), _) => Outcome::Failure,
            (Some(Message::Data(_) | Message::Accept), Side::Server) => Outcome::Success,
            _ => return,
        };
        if self.calls.is_open() {
            self.calls
                .answer(bytes.len() as u64, outcome, Operation::default);
        }
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        self.calls.close(cx);
    }
}

#[cfg(test)]
mod tests {
    use thymus_schema::EventBody;

    use super::super::testing::Talk;
    use super::*;

    #[test]
    fn a_read_is_told_with_its_answer() {
        let mut talk = Talk::udp(&SPEC, 6969);
        let ask = b"\0\x01startup-config\0octet\0";
        assert_eq!(talk.probe(ask, b""), Probe::Yes);
        talk.client(ask);
        talk.server(b"\0\x05\0\x01no such file\0");
        talk.close();
        let [EventBody::Operation(call)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!((&*call.verb, &*call.object), ("rrq", "startup-config"));
        assert_eq!((&*call.detail, call.outcome), ("octet", Outcome::Failure));
        assert_eq!(
            talk.probe(b"\0\x01\0\0\x21\x12\xa4\x42abcdefghijkl", b""),
            Probe::No
        );
        assert_eq!(talk.probe(b"\0\x03\0\x01data of a block", b""), Probe::No);
    }
}
