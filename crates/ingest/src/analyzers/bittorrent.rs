//! BitTorrent: recognised, nothing told.

use thymus_parsers::bittorrent;
use thymus_schema::{Service, Transport};

use super::calls::Recognised;
use crate::analyzer::{AnalyzerSpec, Opening, Probe};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::BitTorrent,
    transports: &[Transport::Tcp, Transport::Udp],
    usual_ports: &[6881, 6771, 51_413],
    probe,
    build: || Box::new(Recognised),
};

fn probe(opening: &Opening<'_>) -> Probe {
    let first = opening.first();
    if opening.transport == Transport::Tcp {
        return match bittorrent::stream(first) {
            Some(true) => Probe::Yes,
            Some(false) => Probe::No,
            None => Probe::More,
        };
    }
    let local = first.starts_with(b"BT-SEARCH * HTTP/1.1\r\n");
    if local || bittorrent::datagram(first) || bittorrent::is_utp(opening.client, opening.server) {
        Probe::Yes
    } else if opening.server.is_empty() && bittorrent::may_be_utp(opening.client) {
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
    fn peers_are_known_over_both_carriers() {
        let stream = Talk::tcp(&SPEC, 49_000);
        assert_eq!(
            stream.probe(b"\x13BitTorrent protocol\0\0", b""),
            Probe::Yes
        );
        assert_eq!(stream.probe(b"\x13Bit", b""), Probe::More);
        assert_eq!(stream.probe(b"\x13Bitten", b""), Probe::No);
        let datagrams = Talk::udp(&SPEC, 49_000);
        let open = b"\x41\0\xa1\xb2\0\0\0\x01\0\0\0\0\0\x10\0\0\0\x07\0\0";
        let mut answer = *open;
        answer[0] = 0x21;
        answer[18..].copy_from_slice(&[0, 7]);
        assert_eq!(datagrams.probe(open, b""), Probe::More);
        assert_eq!(datagrams.probe(open, &answer), Probe::Yes);
        answer[2] = 0;
        assert_eq!(datagrams.probe(open, &answer), Probe::No);
        assert_eq!(datagrams.probe(b"d1:ad3:keyi1ee1:q4:ping", b""), Probe::No);
    }
}
