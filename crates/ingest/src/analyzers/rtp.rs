//! RTP: recognised where it cannot be much else, nothing told.

use thymus_parsers::rtp;
use thymus_schema::{Service, Transport};

use super::calls::Recognised;
use crate::analyzer::{AnalyzerSpec, Opening, Probe};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Rtp,
    transports: &[Transport::Udp],
    usual_ports: &[],
    probe,
    build: || Box::new(Recognised),
};

/// One side's packet must have a fixed codec's exact length; else both sides must agree.
fn probe(opening: &Opening<'_>) -> Probe {
    if opening.client_port < 1024 || opening.server_port < 1024 {
        return Probe::No;
    }
    match (rtp::header(opening.client), rtp::header(opening.server)) {
        (Some(one), Some(other)) if rtp::is_pair(&one, &other) => Probe::Yes,
        (Some(one), _) if rtp::has_codec_length(&one) => Probe::Yes,
        (_, Some(one)) if rtp::has_codec_length(&one) => Probe::Yes,
        (Some(_), None) if opening.server.is_empty() => Probe::More,
        (None, Some(_)) if opening.client.is_empty() => Probe::More,
        _ => Probe::No,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    fn packet(payload: u8, source: u8, bytes: usize) -> Vec<u8> {
        let mut out = vec![0x80, payload, 0x12, 0x34, 1, 2, 3, 4, 5, 6, 7, source];
        out.resize(12 + bytes, 0xd5);
        out
    }

    #[test]
    fn one_telephone_or_two_sides_that_agree() {
        let talk = Talk::udp(&SPEC, 20_000);
        assert_eq!(talk.probe(&packet(8, 1, 160), b""), Probe::Yes);
        assert_eq!(talk.probe(&packet(111, 1, 70), b""), Probe::More);
        assert_eq!(
            talk.probe(&packet(111, 1, 70), &packet(111, 2, 70)),
            Probe::Yes
        );
        assert_eq!(
            talk.probe(&packet(111, 1, 70), b"something else"),
            Probe::No
        );
        assert_eq!(talk.probe(&packet(8, 1, 161), b"x"), Probe::No);
        assert_eq!(
            Talk::udp(&SPEC, 53).probe(&packet(8, 1, 160), b""),
            Probe::No
        );
    }
}
