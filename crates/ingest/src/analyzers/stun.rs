//! STUN and TURN: recognised, nothing told.

use thymus_parsers::stun;
use thymus_schema::{Service, Transport};

use super::calls::Recognised;
use crate::analyzer::{AnalyzerSpec, Opening, Probe};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Stun,
    transports: &[Transport::Udp, Transport::Tcp],
    usual_ports: &[3478, 5349],
    probe,
    build: || Box::new(Recognised),
};

fn probe(opening: &Opening<'_>) -> Probe {
    let datagram = opening.transport == Transport::Udp;
    if stun::looks_like(opening.first(), datagram) {
        Probe::Yes
    } else if !datagram && matches!(opening.client, [] | [0, ..]) && opening.client.len() < 20 {
        Probe::More
    } else {
        Probe::No
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    #[test]
    fn a_binding_request_is_known_and_let_go() {
        let request = b"\0\x01\0\0\x21\x12\xa4\x42abcdefghijkl";
        let mut talk = Talk::udp(&SPEC, 19_302);
        assert_eq!(talk.probe(request, b""), Probe::Yes);
        talk.client(request);
        assert!(talk.detached && talk.events.is_empty());
        let dns = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";
        assert_eq!(talk.probe(dns, b""), Probe::No);
        let stream = Talk::tcp(&SPEC, 3478);
        assert_eq!(stream.probe(&request[..7], b""), Probe::More);
        assert_eq!(stream.probe(b"GET", b""), Probe::No);
    }
}
