//! HTTP/2 in the clear: recognised by its preface, nothing told.

use thymus_parsers::http2;
use thymus_schema::{Service, Transport};

use super::calls::Recognised;
use crate::analyzer::{AnalyzerSpec, Opening, Probe};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Http2,
    transports: &[Transport::Tcp],
    usual_ports: &[80, 8080, 50_051],
    probe,
    build: || Box::new(Recognised),
};

fn probe(opening: &Opening<'_>) -> Probe {
    // A server may send its settings before it has read the preface.
    let settings = opening.server.is_empty() || matches!(opening.server, [0, 0, _, 4, ..]);
    match http2::preface(opening.client) {
        Some(true) => Probe::Yes,
        None if settings => Probe::More,
        _ => Probe::No,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    #[test]
    fn the_preface_is_known() {
        let talk = Talk::tcp(&SPEC, 9000);
        assert_eq!(
            talk.probe(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0", b""),
            Probe::Yes
        );
        assert_eq!(talk.probe(b"PRI *", b"\0\0\x06\x04\0"), Probe::More);
        assert_eq!(talk.probe(b"PROPFIND / HTTP/1.1\r\n", b""), Probe::No);
        assert_eq!(talk.probe(b"", b"SSH-2.0-x\r\n"), Probe::No);
    }
}
