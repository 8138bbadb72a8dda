//! WireGuard: its handshake is recognised, nothing can be told.

use thymus_parsers::wireguard;
use thymus_schema::{Service, Transport};

use super::calls::Recognised;
use crate::analyzer::{AnalyzerSpec, Opening, Probe};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Wireguard,
    transports: &[Transport::Udp],
    usual_ports: &[51_820],
    probe,
    build: || Box::new(Recognised),
};

/// A first message with an empty second digest does; with one, the server's answer must fit.
fn probe(opening: &Opening<'_>) -> Probe {
    match wireguard::initiation(opening.client) {
        Some((_, true)) => Probe::Yes,
        Some((index, false)) if wireguard::response(opening.server) == Some(index) => Probe::Yes,
        Some(_) if opening.server.is_empty() => Probe::More,
        _ => Probe::No,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    #[test]
    fn a_handshake_is_known_by_shape_and_answer() {
        let mut open = vec![1, 0, 0, 0, 7, 8, 9, 10];
        open.extend(0..140);
        let mut answer = vec![2, 0, 0, 0, 1, 1, 1, 1, 7, 8, 9, 10];
        answer.extend(0..80);
        let talk = Talk::udp(&SPEC, 4000);
        assert_eq!(talk.probe(&open, b""), Probe::More);
        assert_eq!(talk.probe(&open, &answer), Probe::Yes);
        answer[8] = 0;
        assert_eq!(talk.probe(&open, &answer), Probe::No);
        open[132..].fill(0);
        assert_eq!(talk.probe(&open, b""), Probe::Yes);
        open[8..].fill(0);
        assert_eq!(talk.probe(&open, b""), Probe::No, "zeros are no key");
    }
}
