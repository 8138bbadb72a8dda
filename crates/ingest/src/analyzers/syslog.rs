//! Syslog over UDP: recognised, nothing told (the lines themselves can be read as a log).

use thymus_parsers::syslog::{self, Front};
use thymus_schema::{Service, Transport};

use super::calls::Recognised;
use crate::analyzer::{AnalyzerSpec, Opening, Probe};

const PORT: u16 = 514;

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Syslog,
    transports: &[Transport::Udp],
    usual_ports: &[PORT],
    probe,
    build: || Box::new(Recognised),
};

fn probe(opening: &Opening<'_>) -> Probe {
    match syslog::front(opening.first()) {
        Some(Front::Certain) => Probe::Yes,
        Some(Front::Likely) if opening.server_port == PORT || opening.client_port == PORT => {
            Probe::Yes
        }
        _ => Probe::No,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    #[test]
    fn a_priority_alone_needs_the_port() {
        let elsewhere = Talk::udp(&SPEC, 5140);
        assert_eq!(
            elsewhere.probe(b"<34>Oct 11 22:14:15 host su: failed", b""),
            Probe::Yes
        );
        assert_eq!(elsewhere.probe(b"<13>something else", b""), Probe::No);
        assert_eq!(
            Talk::udp(&SPEC, 514).probe(b"<13>something else", b""),
            Probe::Yes
        );
        assert_eq!(elsewhere.probe(b"<?xml version=\"1.0\"?>", b""), Probe::No);
    }
}
