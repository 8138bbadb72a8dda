//! What other devices export: flows (NetFlow v5 and v9, IPFIX), sampled packets (sFlow v5) and syslog, as
//! datagrams or streams with the time of their arrival. No socket and no clock is touched here.
//!
//! Reading order: what arrives ([`Collector::datagram`]), what an exporter has to be remembered for
//! (`exporter.rs`), the datagrams of each kind (`netflow.rs`, `sflow.rs`, `syslog.rs`), and how records of one
//! direction become conversations (`join.rs`).

mod exporter;
mod join;
mod netflow;
mod sequence;
mod sflow;
mod syslog;
mod times;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use thymus_schema::{Coverage, Event, EventId, InputId, Timestamp};

use exporter::Exporters;
pub use exporter::{ExporterCounters, ProgramCounter};
use join::{Joiner, Told};
use syslog::Connections;

/// What a listener is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Export {
    /// NetFlow v5 or v9, or IPFIX.
    NetFlow,
    /// sFlow v5.
    Sflow,
    /// Syslog.
    Syslog,
}

impl Export {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NetFlow => "netflow",
            Self::Sflow => "sflow",
            Self::Syslog => "syslog",
        }
    }

    /// The port that it usually comes to.
    pub const fn usual_port(self) -> u16 {
        match self {
            Self::NetFlow => 2055,
            Self::Sflow => 6343,
            Self::Syslog => 514,
        }
    }
}

impl FromStr for Export {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "netflow" | "ipfix" => Ok(Self::NetFlow),
            "sflow" => Ok(Self::Sflow),
            "syslog" => Ok(Self::Syslog),
            other => Err(format!(
                "{other} is none of netflow, ipfix, sflow and syslog"
            )),
        }
    }
}

/// What a collector keeps at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CollectorLimits {
    /// Exporters; what others send is not read.
    pub exporters_max: usize,
    /// Parts of exporters that number their templates by themselves.
    pub streams_max: usize,
    /// Templates of one such part.
    pub templates_max: usize,
    /// Memory for all templates, in bytes.
    pub template_bytes_max: usize,
    /// Data that waits for its template, in bytes.
    pub pending_bytes_max: usize,
    /// Conversations whose other direction may still come, and again those that may go on.
    pub conversations_max: usize,
    /// Connections that syslog comes over.
    pub connections_max: usize,
}

impl Default for CollectorLimits {
    fn default() -> Self {
        Self {
            exporters_max: 256,
            streams_max: 1024,
            templates_max: 256,
            template_bytes_max: 16 << 20,
            pending_bytes_max: 4 << 20,
            conversations_max: 65_536,
            connections_max: 256,
        }
    }
}

/// Turns what exporters send into events.
pub struct Collector {
    input: InputId,
    exporters: Exporters,
    joiner: Joiner,
    connections: Connections,
    coverage: Coverage,
    /// Next number of an event of each exporter.
    indices: BTreeMap<u32, u64>,
    now: Timestamp,
    told: Vec<Told>,
}

/// Steps back of the clock up to this are no news.
const CLOCK_BACK: Duration = Duration::from_mins(1);

impl Collector {
    /// Events are told apart from those of other runs by `input`.
    pub fn new(input: InputId, limits: CollectorLimits) -> Self {
        Self {
            input,
            exporters: Exporters::new(limits),
            joiner: Joiner::new(limits.conversations_max),
            connections: Connections::new(limits.connections_max),
            coverage: Coverage::default(),
            indices: BTreeMap::new(),
            now: Timestamp::MIN,
            told: Vec::new(),
        }
    }

    /// Reads a datagram that arrived from `exporter` at `received`, and appends what is ready to `out`.
    pub fn datagram(
        &mut self,
        export: Export,
        exporter: SocketAddr,
        received: Timestamp,
        bytes: &[u8],
        out: &mut Vec<Event>,
    ) {
        self.coverage.bytes += bytes.len() as u64;
        self.reach(received);
        let addr = exporter.ip().to_canonical();
        let exporter = SocketAddr::new(addr, exporter.port());
        let Some(index) = self.exporters.of(addr) else {
            self.coverage.records += 1;
            self.coverage.drop_for("exporters_full", 1);
            return;
        };
        match export {
            Export::NetFlow => {
                let mut halves = Vec::new();
                let reader = &mut self.exporters;
                netflow::datagram(
                    reader,
                    &mut self.coverage,
                    (index, exporter),
                    received,
                    bytes,
                    &mut halves,
                );
                for half in halves {
                    self.joiner
                        .half(half, received, &mut self.coverage, &mut self.told);
                }
            }
            Export::Sflow => {
                let (exporters, joiner) = (&mut self.exporters, &mut self.joiner);
                sflow::datagram(
                    exporters,
                    &mut self.coverage,
                    (index, received),
                    bytes,
                    |packet, coverage| {
                        joiner.packet(packet, received, coverage);
                    },
                );
            }
            Export::Syslog => {
                let told = syslog::message(bytes, (index, addr), received, &mut self.coverage);
                self.exporters.heard(index, Some("syslog"), received);
                self.exporters.syslog(index, told.program);
                self.told.extend(told.records);
            }
        }
        self.settle(out);
    }

    /// Reads bytes of a connection that syslog comes over; `connection` is a number that no other one has
    /// at the same time.
    pub fn stream(
        &mut self,
        connection: u64,
        exporter: SocketAddr,
        received: Timestamp,
        bytes: &[u8],
        out: &mut Vec<Event>,
    ) {
        let Some(messages) = self
            .connections
            .bytes(connection, bytes, &mut self.coverage)
        else {
            self.coverage.bytes += bytes.len() as u64;
            return;
        };
        for message in messages {
            self.datagram(Export::Syslog, exporter, received, &message, out);
        }
    }

    /// The connection has ended: what it left is its last message.
    pub fn stream_ended(
        &mut self,
        connection: u64,
        exporter: SocketAddr,
        received: Timestamp,
        out: &mut Vec<Event>,
    ) {
        if let Some(rest) = self.connections.end(connection) {
            self.datagram(Export::Syslog, exporter, received, &rest, out);
        }
    }

    /// The time of day is `now`: what need not wait any longer is appended to `out`.
    pub fn advance(&mut self, now: Timestamp, out: &mut Vec<Event>) {
        self.reach(now);
        self.settle(out);
    }

    /// Nothing more comes: all that waits is appended to `out`.
    pub fn finish(&mut self, out: &mut Vec<Event>) {
        self.exporters.give_up_pending(&mut self.coverage);
        self.joiner.finish(&mut self.coverage, &mut self.told);
        self.tell(out);
    }

    /// What was read so far and what was not judged.
    pub fn coverage(&self) -> Coverage {
        let mut coverage = self.coverage.clone();
        self.exporters.add_to(&mut coverage);
        coverage
    }

    /// Every exporter, in the order of their addresses.
    pub fn exporters(&self) -> Vec<ExporterCounters> {
        self.exporters.counters()
    }

    fn reach(&mut self, now: Timestamp) {
        if now > self.now || now < self.now.minus(CLOCK_BACK) {
            self.now = now;
        }
    }

    fn settle(&mut self, out: &mut Vec<Event>) {
        self.joiner
            .advance(self.now, &mut self.coverage, &mut self.told);
        self.tell(out);
    }

    /// What was told becomes events of now, as the packets of a capture tell of a flow when it has ended:
    /// when it was is in its record.
    fn tell(&mut self, out: &mut Vec<Event>) {
        let told = std::mem::take(&mut self.told);
        for Told {
            exporter,
            conn,
            body,
        } in told
        {
            let (id, ts) = (self.next_id(exporter), self.now);
            out.push(Event { id, ts, conn, body });
        }
    }

    /// The input of an event is the exporter in this run.
    fn next_id(&mut self, exporter: u32) -> EventId {
        let index = self.indices.entry(exporter).or_default();
        let addr = self.exporters.addr(exporter);
        let id = EventId {
            input: input_of(self.input, addr),
            index: *index,
        };
        *index += 1;
        id
    }
}

fn input_of(run: InputId, addr: IpAddr) -> InputId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&run.0.to_le_bytes());
    hasher.update(addr.to_string().as_bytes());
    let digest = hasher.finalize();
    let first = digest.as_bytes().first_chunk::<8>().copied();
    InputId(u64::from_le_bytes(first.unwrap_or_default()))
}

#[cfg(test)]
mod tests;
