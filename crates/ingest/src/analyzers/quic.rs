//! QUIC: the client's hello, read from its first packets. Whether the server went along is seen by
//! its sending more than a refusal.

use thymus_parsers::quic::{self, HelloReader};
use thymus_parsers::tls::{self, Carrier, ClientHello};
use thymus_schema::{EventBody, Service, TlsHandshake, Transport};

use super::tls::describe;
use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};

/// Packets with a short header that each side must have sent for the handshake to count as done.
const SHORT_PACKETS: u32 = 2;
/// After so many datagrams without a readable hello there will be none.
const DATAGRAMS_MAX: u32 = 32;

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Quic,
    transports: &[Transport::Udp],
    usual_ports: &[443],
    probe,
    build: || Box::new(QuicAnalyzer::default()),
};

fn probe(opening: &Opening<'_>) -> Probe {
    if quic::looks_like(opening.client) {
        Probe::Yes
    } else {
        Probe::No
    }
}

#[derive(Default)]
struct QuicAnalyzer {
    reader: Option<Box<HelloReader>>,
    event: Option<Box<TlsHandshake>>,
    datagrams: u32,
    short: [u32; 2],
}

impl Analyzer for QuicAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        self.datagrams += 1;
        if bytes.first().is_some_and(|first| first & 0xc0 == 0x40) {
            self.short[usize::from(side == Side::Server)] += 1;
        } else if side == Side::Client && self.event.is_none() {
            self.hello(bytes, cx);
        }
        let done = self.short.iter().all(|count| *count >= SHORT_PACKETS);
        if done || (self.event.is_none() && self.datagrams > DATAGRAMS_MAX) {
            self.tell(done, cx);
            cx.detach();
        }
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        self.tell(self.short[1] >= SHORT_PACKETS, cx);
    }
}

impl QuicAnalyzer {
    fn hello(&mut self, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let Some(message) = self.reader.get_or_insert_default().datagram(bytes) else {
            return;
        };
        self.reader = None;
        let Ok((1, body, _)) = tls::handshake(&message) else {
            return;
        };
        let Some(hello) = ClientHello::parse(body) else {
            return;
        };
        for quirk in &hello.quirks {
            cx.quirk("tls", quirk);
        }
        let mut event = Box::new(TlsHandshake {
            quic: true,
            version: 0x0304,
            ..TlsHandshake::default()
        });
        describe(&mut event, &hello.value, Carrier::Quic);
        self.event = Some(event);
    }

    fn tell(&mut self, established: bool, cx: &mut AnalyzerCx<'_>) {
        if let Some(mut event) = self.event.take() {
            event.established = established;
            cx.emit(EventBody::Tls(event));
        }
    }
}
