//! What others send, as a stream of events.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use thymus_ingest::{Collector, CollectorLimits, Export, ExporterCounters};
use thymus_parsers::packet::{IpPacket, Next, Segment, decode_frame, decode_ip, decode_transport};
use thymus_schema::{Event, InputId, Timestamp};
use thymus_sensor::{PacketBlock, Waited};

use super::live::Standing;
use super::now_nanos;
use super::wire::Wire;
use crate::cli::CollectOn;
use crate::pipeline::Stream;
use crate::replay::now;

/// How long to wait for datagrams before the judging thread hears that there are none.
const WAIT: Duration = Duration::from_millis(100);
/// Exporters are looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Exports on their way to the engine.
pub(super) struct Collected {
    wire: Wire,
    collector: Collector,
    on: Vec<CollectOn>,
    newest: Option<i64>,
    /// How exporters stood a moment ago.
    exporters: Arc<[ExporterCounters]>,
    looked: Instant,
}

impl Collected {
    /// Over a capture that listens at `on`; `run` tells the events of this run from those of others.
    pub(super) fn new(wire: Wire, on: &[CollectOn], run: i64) -> Self {
        let input = InputId(run.cast_unsigned());
        Self {
            wire,
            collector: Collector::new(input, CollectorLimits::default()),
            on: on.to_vec(),
            newest: None,
            exporters: Arc::new([]),
            looked: now(),
        }
    }

    /// Why the capture ended, when nobody asked it to.
    pub(super) fn take_trouble(&mut self) -> Option<anyhow::Error> {
        self.wire.take_trouble()
    }

    fn read(&mut self, block: &PacketBlock, out: &mut Vec<Event>) {
        let link_type = self.wire.interface().link_type;
        for record in block.records() {
            self.newest = Some(record.ts);
            let received = Timestamp::from_nanos(record.ts);
            let frame = decode_frame(link_type, block.packet(record));
            let ip = frame.and_then(|frame| match frame.next {
                Next::Ip(ip) => decode_ip(ip),
                _ => None,
            });
            if let Some(ip) = ip {
                self.packet(&ip, received, out);
            }
        }
    }

    fn packet(&mut self, ip: &IpPacket<'_>, received: Timestamp, out: &mut Vec<Event>) {
        let Some(header) = decode_transport(ip.protocol, ip.payload, ip.missing) else {
            return;
        };
        let from = SocketAddr::new(ip.source, header.source_port);
        // Datagrams are addressed as their socket is bound; connections bring syslog only.
        let to = SocketAddr::new(ip.destination, header.destination_port);
        let on = self.on.iter().find(|on| on.address == to);
        let export = on.map_or(Export::Syslog, |on| on.export);
        match header.segment {
            Segment::Udp(udp) => {
                self.collector
                    .datagram(export, from, received, udp.payload, out);
            }
            Segment::Tcp(tcp) => {
                let connection = connection(from, header.destination_port);
                if tcp.payload.is_empty() {
                    self.collector.stream_ended(connection, from, received, out);
                } else {
                    self.collector
                        .stream(connection, from, received, tcp.payload, out);
                }
            }
            _ => {}
        }
    }
}

/// No two connections that are open at one time have the same number.
fn connection(from: SocketAddr, port: u16) -> u64 {
    let parts = [from.to_string().into_bytes(), port.to_be_bytes().to_vec()].concat();
    thymus_schema::FlowId::digest(&[&parts]).0
}

impl Stream for Collected {
    type Progress = Standing;
    const IS_LIVE: bool = true;

    fn next_batch(&mut self, out: &mut Vec<Event>) -> Result<bool> {
        self.newest = None;
        match self.wire.next(WAIT) {
            Waited::Block(block) => {
                self.read(&block, out);
                self.wire.give_back(block);
            }
            Waited::Nothing => self
                .collector
                .advance(Timestamp::from_nanos(now_nanos()), out),
            Waited::Ended => {
                self.exporters = self.collector.exporters().into();
                self.collector.finish(out);
                return Ok(false);
            }
        }
        if self.looked.elapsed() >= LOOK_EVERY {
            self.exporters = self.collector.exporters().into();
            self.looked = now();
        }
        Ok(true)
    }

    fn progress(&self) -> Standing {
        let mut coverage = self.collector.coverage();
        let [kernel, queue] = self.wire.missed();
        // Each datagram is one record at least.
        coverage.records += kernel + queue;
        coverage.drop_for("socket_buffer_full", kernel);
        coverage.drop_for("collector_queue_full", queue);
        self.wire.add_absence_to(&mut coverage);
        Standing {
            coverage,
            newest: self.newest,
            is_down: false,
            ring: None,
            verdicts: None,
            exporters: Some(Arc::clone(&self.exporters)),
            position: None,
            filter: None,
            orders: self.wire.orders(),
        }
    }
}
