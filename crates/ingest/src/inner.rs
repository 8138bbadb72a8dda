//! A protocol inside another: TLS after STARTTLS, whatever a proxy carries.

use thymus_schema::{Service, Transport};

use crate::ANALYZERS;
use crate::analyzer::{Analyzer, AnalyzerCx, Opening, Probe, Side};

/// Most bytes of each side looked at to recognise an unknown protocol.
const OPENING_BYTES_MAX: usize = 512;

/// Reads what another analyzer hands over.
#[derive(Default)]
pub(crate) struct Inner {
    analyzer: Option<Box<dyn Analyzer>>,
    opening: [Vec<u8>; 2],
    given_up: bool,
}

impl Inner {
    /// A stream of a known protocol; counts only when nobody reads it.
    pub(crate) fn known(service: Service) -> Self {
        let spec = ANALYZERS.iter().find(|spec| spec.service == service);
        let analyzer = spec.map(|spec| (spec.build)());
        Self {
            given_up: analyzer.is_none(),
            analyzer,
            ..Self::default()
        }
    }

    /// The next bytes.
    pub(crate) fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        if let Some(analyzer) = &mut self.analyzer {
            return analyzer.data(side, bytes, cx);
        }
        if self.given_up || bytes.is_empty() {
            return cx.detach();
        }
        let held = &mut self.opening[usize::from(side == Side::Server)];
        let whole = held.is_empty();
        let room = OPENING_BYTES_MAX.saturating_sub(held.len());
        held.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if !whole && held.len() == OPENING_BYTES_MAX {
            self.given_up = true;
            return cx.detach();
        }
        self.recognise(side, bytes, whole, cx);
    }

    fn recognise(&mut self, side: Side, bytes: &[u8], whole: bool, cx: &mut AnalyzerCx<'_>) {
        let opening = Opening {
            transport: Transport::Tcp,
            client: &self.opening[0],
            server: &self.opening[1],
            client_port: cx.conn.client.port,
            server_port: 0,
        };
        let spec = ANALYZERS
            .iter()
            .filter(|spec| spec.transports.contains(&Transport::Tcp))
            .find(|spec| (spec.probe)(&opening) == Probe::Yes);
        let Some(spec) = spec else { return };
        let mut analyzer = (spec.build)();
        let [client, server] = std::mem::take(&mut self.opening);
        // The present piece may be longer than what was held of it.
        let last = if whole { Some(bytes) } else { None };
        for (from, held) in [(Side::Client, client), (Side::Server, server)] {
            let piece = last.filter(|_| from == side).unwrap_or(&held);
            if !piece.is_empty() {
                analyzer.data(from, piece, cx);
            }
        }
        self.analyzer = Some(analyzer);
    }

    /// Bytes were lost.
    pub(crate) fn gap(&mut self, side: Side, missing: u64, cx: &mut AnalyzerCx<'_>) {
        match &mut self.analyzer {
            Some(analyzer) => analyzer.gap(side, missing, cx),
            None => cx.detach(),
        }
    }

    /// The conversation is over.
    pub(crate) fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        if let Some(analyzer) = &mut self.analyzer {
            analyzer.close(cx);
        }
    }
}
