//! A conversation for the tests of analyzers: what is said goes in, events come out.

use std::net::{IpAddr, Ipv4Addr};

use thymus_schema::{Conn, Endpoint, EventBody, FlowId, Scope, Service, Timestamp, Transport};

use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::carve::Carver;

/// A conversation between 10.0.0.7 and 192.0.2.1, ten milliseconds between messages.
pub(crate) struct Talk {
    pub(crate) conn: Conn,
    pub(crate) events: Vec<EventBody>,
    pub(crate) service: Option<Service>,
    pub(crate) detached: bool,
    pub(crate) carver: Carver,
    pub(crate) ended: [bool; 2],
    now: Timestamp,
    probe: fn(&Opening<'_>) -> Probe,
    analyzer: Box<dyn Analyzer>,
}

impl Talk {
    pub(crate) fn tcp(spec: &AnalyzerSpec, port: u16) -> Self {
        Self::new(spec, port, Transport::Tcp)
    }

    pub(crate) fn udp(spec: &AnalyzerSpec, port: u16) -> Self {
        Self::new(spec, port, Transport::Udp)
    }

    fn new(spec: &AnalyzerSpec, port: u16, transport: Transport) -> Self {
        Self {
            conn: Conn {
                flow: FlowId::default(),
                client: Endpoint::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7)), 50_000),
                server: Endpoint::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), port),
                transport,
                scope: Scope::NONE,
            },
            events: Vec::new(),
            service: Some(spec.service),
            detached: false,
            carver: Carver::default(),
            ended: [false; 2],
            now: Timestamp::from_secs(1_700_000_000),
            probe: spec.probe,
            analyzer: (spec.build)(),
        }
    }

    /// What the protocol's probe says about these openings.
    pub(crate) fn probe(&self, client: &[u8], server: &[u8]) -> Probe {
        (self.probe)(&Opening {
            transport: self.conn.transport,
            client,
            server,
            client_port: self.conn.client.port,
            server_port: self.conn.server.port,
        })
    }

    pub(crate) fn client(&mut self, bytes: &[u8]) {
        self.with(|analyzer, cx| analyzer.data(Side::Client, bytes, cx));
    }

    pub(crate) fn server(&mut self, bytes: &[u8]) {
        self.with(|analyzer, cx| analyzer.data(Side::Server, bytes, cx));
    }

    pub(crate) fn gap(&mut self, side: Side, missing: u64) {
        self.with(|analyzer, cx| analyzer.gap(side, missing, cx));
    }

    /// Lets event time pass.
    pub(crate) fn wait(&mut self, secs: u64) {
        self.now = self.now.plus(std::time::Duration::from_secs(secs));
    }

    pub(crate) fn close(&mut self) {
        self.detached = false;
        self.with(|analyzer, cx| analyzer.close(cx));
    }

    /// As in the flow table, a detached analyzer sees no more data.
    fn with(&mut self, act: impl FnOnce(&mut dyn Analyzer, &mut AnalyzerCx<'_>)) {
        if self.detached {
            return;
        }
        self.now = self.now.plus(std::time::Duration::from_millis(10));
        let mut cx = AnalyzerCx {
            now: self.now,
            conn: &self.conn,
            out: &mut self.events,
            service: &mut self.service,
            detached: &mut self.detached,
            ended: self.ended,
            carver: &mut self.carver,
        };
        act(&mut *self.analyzer, &mut cx);
    }
}
