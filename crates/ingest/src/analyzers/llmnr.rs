//! LLMNR (RFC 4795). A query goes to a group, its answer comes back alone: they are two
//! conversations, told as two transactions; the answer's names its responder.

use thymus_parsers::dns;
use thymus_schema::{DnsFlavor, Service, Transport};

use super::dns::DnsAnalyzer;
use crate::analyzer::{AnalyzerSpec, Opening, Probe};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Llmnr,
    transports: &[Transport::Udp],
    usual_ports: &[5355],
    probe,
    build: || Box::new(DnsAnalyzer::new(DnsFlavor::Llmnr)),
};

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = opening.first();
    // Nothing but the port tells it from DNS.
    let port = opening.server_port == 5355 || opening.client_port == 5355;
    if port && dns::looks_like(bytes) {
        Probe::Yes
    } else {
        Probe::No
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;
    use thymus_schema::EventBody;

    #[test]
    fn a_lone_answer_names_its_responder() {
        let answer = b"\x12\x34\x80\0\0\x01\0\x01\0\0\0\0\x04wpad\0\0\x01\0\x01\
            \x04wpad\0\0\x01\0\x01\0\0\0\x1e\0\x04\x0a\0\0\x42";
        let mut talk = Talk::udp(&SPEC, 50_000);
        talk.conn.client.port = 5355;
        assert_eq!(talk.probe(answer, b""), Probe::Yes);
        talk.client(answer);
        let [EventBody::Dns(dns)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!((&*dns.query, dns.flavor), ("wpad", DnsFlavor::Llmnr));
        assert_eq!(dns.responder, Some(talk.conn.client.addr));
    }
}
