//! Which analyzer reads a conversation, decided by its first bytes, and the feeding of it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rustc_hash::FxHashMap;
use thymus_schema::{Conn, EventBody, QuirkSeen, Service, Timestamp, Transport};

use super::reassembly::Piece;
use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::carve::{Carver, FtpData};

/// Bytes of each side that are kept while no protocol is recognised.
const OPENING_BYTES_MAX: usize = 2048;
/// Pieces looked at before a conversation is given up as unknown.
const PROBES_MAX: u8 = 12;
/// Datagrams taken for a conversation's first.
const DATAGRAM_OPENINGS_MAX: u8 = 3;
/// Analyzers that fit the mask of candidates.
const ANALYZERS_MAX: usize = 128;

/// The analyzers, arranged for asking.
pub(crate) struct Dispatcher {
    specs: &'static [AnalyzerSpec],
    by_transport: [u128; 5],
    by_port: FxHashMap<(Transport, u16), u128>,
}

impl Dispatcher {
    pub(crate) fn new(specs: &'static [AnalyzerSpec]) -> Self {
        let mut by_transport = [0_u128; 5];
        let mut by_port = FxHashMap::default();
        for (at, spec) in specs.iter().enumerate().take(ANALYZERS_MAX) {
            for transport in spec.transports {
                by_transport[*transport as usize] |= 1 << at;
                for port in spec.usual_ports {
                    *by_port.entry((*transport, *port)).or_insert(0) |= 1_u128 << at;
                }
            }
        }
        Self {
            specs,
            by_transport,
            by_port,
        }
    }

    /// Asks the candidates; removes those that say no, and gives the first that says yes.
    fn ask(&self, opening: &Opening<'_>, candidates: &mut u128) -> Option<&'static AnalyzerSpec> {
        let usual = |port| {
            self.by_port
                .get(&(opening.transport, port))
                .copied()
                .unwrap_or(0)
        };
        let first = usual(opening.server_port) | usual(opening.client_port);
        for mut mask in [*candidates & first, *candidates & !first] {
            while mask != 0 {
                let at = mask.trailing_zeros();
                mask &= mask - 1;
                let Some(spec) = self.specs.get(at as usize) else {
                    break;
                };
                match (spec.probe)(opening) {
                    Probe::Yes => return Some(spec),
                    Probe::No => *candidates &= !(1 << at),
                    Probe::More => {}
                }
            }
        }
        None
    }
}

/// What a call may read and write beside the analyzer.
pub(crate) struct Feed<'a> {
    pub(crate) dispatcher: &'a Dispatcher,
    pub(crate) now: Timestamp,
    pub(crate) conn: &'a Conn,
    pub(crate) out: &'a mut Vec<EventBody>,
    pub(crate) service: &'a mut Option<Service>,
    /// Analyzers that panicked and were taken off their conversation.
    pub(crate) panics: &'a mut u64,
    pub(crate) carver: &'a mut Carver,
    /// Which sides have said all they will.
    pub(crate) ended: [bool; 2],
}

/// The reader of one conversation.
#[derive(Default)]
pub(crate) enum App {
    /// Nothing has been said yet.
    #[default]
    Fresh,
    /// Said, but not yet recognised.
    Opening(Box<Said>),
    /// Recognised.
    Reading(Box<dyn Analyzer>),
    /// Unknown, or finished with: only counted.
    Done,
}

/// What was said before the protocol was recognised.
pub(crate) struct Said {
    bytes: [Vec<u8>; 2],
    /// Who said how many bytes, in order.
    order: Vec<(Side, usize)>,
    candidates: u128,
    probes: u8,
    openings: u8,
}

impl App {
    /// Whether bytes are still of interest.
    pub(crate) const fn is_listening(&self) -> bool {
        !matches!(self, Self::Done)
    }

    /// A piece of the stream, or a datagram.
    pub(crate) fn piece(&mut self, side: Side, piece: Piece<'_>, feed: &mut Feed<'_>) {
        match (piece, &mut *self) {
            // A hole before anything was said hides no opening that could still be used.
            (_, Self::Done) | (Piece::Gap(_), Self::Fresh) => {}
            (Piece::Data(bytes), Self::Fresh) => self.open(side, bytes, feed),
            (Piece::Data(bytes), Self::Opening(_)) => self.go_on(side, bytes, feed),
            (Piece::Data(bytes), Self::Reading(_)) => {
                self.call(feed, |analyzer, cx| analyzer.data(side, bytes, cx));
            }
            // What follows a hole may still be recognised; what came before cannot be used.
            (Piece::Gap(_), Self::Opening(_)) => *self = Self::Fresh,
            (Piece::Gap(missing), Self::Reading(_)) => {
                self.call(feed, |analyzer, cx| analyzer.gap(side, missing, cx));
            }
        }
    }

    /// The conversation is over.
    pub(crate) fn close(&mut self, feed: &mut Feed<'_>) {
        if matches!(self, Self::Reading(_)) {
            self.call(feed, |analyzer, cx| analyzer.close(cx));
        }
        *self = Self::Done;
    }

    fn open(&mut self, side: Side, bytes: &[u8], feed: &mut Feed<'_>) {
        if let Some(expected) = feed.carver.expectations().of(feed.conn) {
            *feed.service = Some(Service::FtpData);
            *self = Self::Reading(Box::new(FtpData::new(expected)));
            self.call(feed, |analyzer, cx| analyzer.data(side, bytes, cx));
            return;
        }
        let mut candidates = feed.dispatcher.by_transport[feed.conn.transport as usize];
        if let Some(spec) = feed
            .dispatcher
            .ask(&opening(feed.conn, side, bytes), &mut candidates)
        {
            self.read(spec, feed);
            self.call(feed, |analyzer, cx| analyzer.data(side, bytes, cx));
            return;
        }
        let stream = feed.conn.transport == Transport::Tcp;
        if (stream && candidates == 0) || bytes.len() > OPENING_BYTES_MAX {
            *self = Self::Done;
            return;
        }
        let mut said = Said {
            bytes: [Vec::new(), Vec::new()],
            order: Vec::new(),
            candidates,
            probes: 1,
            openings: 1,
        };
        if candidates != 0 {
            said.push(side, bytes);
        }
        *self = Self::Opening(Box::new(said));
    }

    fn go_on(&mut self, side: Side, bytes: &[u8], feed: &mut Feed<'_>) {
        let Self::Opening(said) = self else { return };
        let stream = feed.conn.transport == Transport::Tcp;
        if !stream && said.order.is_empty() {
            said.candidates = feed.dispatcher.by_transport[feed.conn.transport as usize];
            said.openings += 1;
        }
        said.probes += 1;
        said.push(side, bytes);
        let opening = said.opening(feed.conn);
        let mut candidates = said.candidates;
        let spec = feed.dispatcher.ask(&opening, &mut candidates);
        said.candidates = candidates;
        if let Some(spec) = spec {
            let Self::Opening(said) = std::mem::take(self) else {
                return;
            };
            self.read(spec, feed);
            self.replay(&said, feed);
            return;
        }
        if candidates == 0 && !stream && said.openings < DATAGRAM_OPENINGS_MAX {
            said.clear();
            return;
        }
        let full = said
            .bytes
            .iter()
            .any(|bytes| bytes.len() > OPENING_BYTES_MAX);
        if candidates == 0 || full || said.probes >= PROBES_MAX {
            *self = Self::Done;
        }
    }

    fn read(&mut self, spec: &AnalyzerSpec, feed: &mut Feed<'_>) {
        *feed.service = Some(spec.service);
        *self = Self::Reading((spec.build)());
    }

    fn replay(&mut self, said: &Said, feed: &mut Feed<'_>) {
        let mut at = [0_usize; 2];
        for (side, len) in &said.order {
            let from = &mut at[*side as usize];
            let bytes = said.bytes[*side as usize]
                .get(*from..*from + len)
                .unwrap_or_default();
            *from += len;
            self.call(feed, |analyzer, cx| analyzer.data(*side, bytes, cx));
        }
    }

    /// Calls the analyzer, if there is one; lets it go when it wants no more or panics.
    fn call(
        &mut self,
        feed: &mut Feed<'_>,
        what: impl FnOnce(&mut dyn Analyzer, &mut AnalyzerCx<'_>),
    ) {
        let Self::Reading(analyzer) = self else {
            return;
        };
        let mut detached = false;
        let mut cx = AnalyzerCx {
            now: feed.now,
            conn: feed.conn,
            out: feed.out,
            service: feed.service,
            detached: &mut detached,
            carver: feed.carver,
            ended: feed.ended,
        };
        let guarded = AssertUnwindSafe(|| {
            what(analyzer.as_mut(), &mut cx);
            // What is half-known at a detach will not be asked for again.
            if *cx.detached {
                analyzer.close(&mut cx);
            }
        });
        if catch_unwind(guarded).is_err() {
            *feed.panics += 1;
            let parser = feed.service.map_or("unknown", Service::as_str);
            let quirk = QuirkSeen {
                parser: parser.into(),
                quirk: "analyzer_panicked".into(),
            };
            feed.out.push(EventBody::Quirk(quirk));
            detached = true;
        }
        if detached {
            *self = Self::Done;
        }
    }
}

fn opening<'a>(conn: &Conn, side: Side, bytes: &'a [u8]) -> Opening<'a> {
    let (client, server): (&[u8], &[u8]) = match side {
        Side::Client => (bytes, &[]),
        Side::Server => (&[], bytes),
    };
    Opening {
        transport: conn.transport,
        client,
        server,
        client_port: conn.client.port,
        server_port: conn.server.port,
    }
}

impl Said {
    fn push(&mut self, side: Side, bytes: &[u8]) {
        self.bytes[side as usize].extend_from_slice(bytes);
        self.order.push((side, bytes.len()));
    }

    fn clear(&mut self) {
        self.bytes.iter_mut().for_each(Vec::clear);
        self.order.clear();
    }

    /// All bytes of a stream so far, or the first datagram of each side.
    fn opening(&self, conn: &Conn) -> Opening<'_> {
        let stream = conn.transport == Transport::Tcp;
        let first = |side: Side| {
            let bytes = self.bytes[side as usize].as_slice();
            let datagram = self.order.iter().find(|(by, _)| *by == side);
            match datagram {
                Some((_, len)) if !stream => bytes.get(..*len).unwrap_or(bytes),
                _ => bytes,
            }
        };
        Opening {
            transport: conn.transport,
            client: first(Side::Client),
            server: first(Side::Server),
            client_port: conn.client.port,
            server_port: conn.server.port,
        }
    }
}
