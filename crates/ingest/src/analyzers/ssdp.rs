//! SSDP: searches and announcements of UPnP devices, with sizes: a search may be a flood's lever.

use thymus_parsers::ssdp;
use thymus_schema::{Operation, Outcome, Service, Transport};

use super::calls::Calls;
use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Ssdp,
    transports: &[Transport::Udp],
    usual_ports: &[1900],
    probe,
    build: || Box::<SsdpAnalyzer>::default(),
};

fn probe(opening: &Opening<'_>) -> Probe {
    if ssdp::parse(opening.first()).is_some() {
        Probe::Yes
    } else {
        Probe::No
    }
}

#[derive(Default)]
struct SsdpAnalyzer {
    calls: Calls,
}

impl Analyzer for SsdpAnalyzer {
    fn data(&mut self, _side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let Some(message) = ssdp::parse(bytes) else {
            cx.quirk("ssdp", "unreadable_message");
            return;
        };
        let response = message.operation == "response";
        let operation = Operation {
            service: Some(Service::Ssdp),
            verb: if response {
                "search"
            } else {
                message.operation
            }
            .into(),
            object: message.target,
            detail: message.agent,
            ..Operation::default()
        };
        let answer = response.then_some(Outcome::Success);
        self.calls.message(bytes.len(), answer, || operation, cx);
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
    fn a_search_adds_up_its_answers() {
        let ask = b"M-SEARCH * HTTP/1.1\r\nMAN: \"ssdp:discover\"\r\nST: ssdp:all\r\n\r\n";
        let answer = b"HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\nUSN: uuid:1\r\n\r\n";
        let mut talk = Talk::udp(&SPEC, 1900);
        assert_eq!(talk.probe(ask, b""), Probe::Yes);
        talk.client(ask);
        talk.client(ask);
        (0..3).for_each(|_| talk.server(answer));
        talk.close();
        let [EventBody::Operation(call)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!((&*call.verb, &*call.object), ("search", "ssdp:all"));
        assert_eq!(call.request_len, 2 * ask.len() as u64);
        assert_eq!(call.response_len, 3 * answer.len() as u64);
        assert_eq!(
            talk.probe(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b""),
            Probe::No
        );
        assert_eq!(
            talk.probe(b"", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            Probe::No
        );
    }
}
