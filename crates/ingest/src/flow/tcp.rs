//! What a TCP segment does to its flow: history, state, order of the streams.

use thymus_parsers::packet::{Tcp, Transport as Header};
use thymus_schema::{EventBody, QuirkSeen};

use super::dispatch::{App, Feed};
use super::reassembly::{Piece, Stream, Verdict};
use super::state::{Counted, History};
use super::table::{Counts, Flow, TcpFlow};
use crate::analyzer::Side;

/// Advances of the highest sequence number beyond this are not believed to be payload.
const ADVANCE_MAX: i32 = 16 << 20;

const QUIRK_CONFLICT: u8 = 1;
const QUIRK_DATA_IN_RESET: u8 = 2;

/// The parts of a flow that TCP works on.
pub(crate) struct View<'f> {
    pub(crate) state: &'f mut TcpFlow,
    pub(crate) history: &'f mut History,
    pub(crate) app: &'f mut App,
    pub(crate) counts: &'f mut [Counts; 2],
    pub(crate) missed: &'f mut u64,
    pub(crate) payload_seen: &'f mut bool,
    pub(crate) quirks: &'f mut u8,
}

/// What the engine must know of a segment's effect.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Effect {
    /// The connection just ended, by FINs or RST.
    pub(crate) ended: bool,
    pub(crate) unbelievable: bool,
    pub(crate) early_before: usize,
    pub(crate) early_after: usize,
}

impl View<'_> {
    pub(crate) fn segment(
        &mut self,
        side: Side,
        tcp: &Tcp<'_>,
        header: &Header<'_>,
        now: i64,
        feed: &mut Feed<'_>,
    ) -> Effect {
        let len = header.payload_len;
        self.history.segment(side, tcp.flags, tcp.seq, len);
        self.zero_window(side, tcp);
        self.sequence(side, tcp, len);
        self.state.ends.segment(side, tcp.flags, len);
        *self.payload_seen |= len > 0;
        let mut effect = Effect::default();
        if self.app.is_listening() {
            effect.early_before = self.early_bytes();
            self.order(side, tcp, header, now, feed, &mut effect);
            effect.early_after = self.early_bytes();
        }
        let over = self.state.ends.is_closed() || self.state.ends.is_reset();
        if over && !self.state.closed_seen {
            self.state.closed_seen = true;
            effect.ended = true;
        }
        effect
    }

    fn early_bytes(&self) -> usize {
        self.state.streams.iter().map(Stream::early_bytes).sum()
    }

    fn zero_window(&mut self, side: Side, tcp: &Tcp<'_>) {
        let meaningful = !tcp.flags.rst() && !tcp.flags.syn() && !self.state.ends.is_reset();
        if tcp.window == 0 && meaningful && !self.state.ends.is_half_closed() {
            self.history.counted(side, Counted::ZeroWindow);
        }
    }

    /// Payload bytes are counted by the advance of the highest sequence number, so that what is sent
    /// twice counts once.
    fn sequence(&mut self, side: Side, tcp: &Tcp<'_>, len: u32) {
        let at = side as usize;
        let begin = tcp.seq.wrapping_add(u32::from(tcp.flags.syn()));
        let end = begin.wrapping_add(len);
        if self.state.first[at].is_none() {
            self.state.first[at] = Some(begin.wrapping_sub(1));
            self.state.highest[at] = begin;
        }
        let advance = end.wrapping_sub(self.state.highest[at]) as i32;
        match advance {
            1..=ADVANCE_MAX => {
                self.counts[at].bytes += u64::from(advance.unsigned_abs());
                self.state.highest[at] = end;
            }
            i32::MIN..=0 if len > 0 => self.history.counted(side, Counted::Retransmission),
            i32::MIN..=0 => {}
            _ => {
                self.counts[at].bytes += u64::from(len);
                self.state.highest[at] = end;
            }
        }
        // A FIN takes a number of its own.
        if tcp.flags.fin() && self.state.highest[at] == end {
            self.state.highest[at] = end.wrapping_add(1);
        }
    }

    fn order(
        &mut self,
        side: Side,
        tcp: &Tcp<'_>,
        header: &Header<'_>,
        now: i64,
        feed: &mut Feed<'_>,
        effect: &mut Effect,
    ) {
        let begin = tcp.seq.wrapping_add(u32::from(tcp.flags.syn()));
        let Self {
            state,
            history,
            app,
            missed,
            ..
        } = self;
        let [client, server] = &mut state.streams;
        let (stream, other) = match side {
            Side::Client => (client, server),
            Side::Server => (server, client),
        };
        let mut give = |piece: Piece<'_>| {
            if let Piece::Gap(bytes) = piece {
                **missed += bytes;
                history.counted(side, Counted::Gap);
            }
            app.piece(side, piece, feed);
        };
        if tcp.flags.syn() {
            stream.start(begin);
        }
        if tcp.flags.ack() {
            other.acknowledge(tcp.ack);
        }
        // What a reset carries is a reason for people, not part of the stream (RFC 9293, 3.5.3).
        let verdict = if tcp.flags.rst() {
            Verdict::default()
        } else {
            stream.segment(begin, tcp.payload, header.missing, now, &mut give)
        };
        effect.unbelievable = verdict.unbelievable;
        if tcp.flags.fin() {
            stream.finish_at(begin.wrapping_add(header.payload_len));
        }
        if verdict.conflict {
            self.quirk_once(QUIRK_CONFLICT, "overlap_conflict", feed);
        }
        if tcp.flags.rst() && header.payload_len > 0 {
            self.quirk_once(QUIRK_DATA_IN_RESET, "data_in_reset", feed);
        }
        let [client, server] = &self.state.streams;
        let ended = [client.is_finished(), server.is_finished()];
        let done = ended == [true; 2];
        if tcp.flags.rst() {
            self.flush(true, feed);
        }
        if done || tcp.flags.rst() {
            feed.ended = ended;
            self.app.close(feed);
        }
        if !self.app.is_listening() {
            self.state.streams.iter_mut().for_each(Stream::forget);
        }
    }

    fn quirk_once(&mut self, bit: u8, quirk: &'static str, feed: &mut Feed<'_>) {
        if *self.quirks & bit == 0 {
            *self.quirks |= bit;
            let quirk = QuirkSeen {
                parser: "tcp".into(),
                quirk: quirk.into(),
            };
            feed.out.push(EventBody::Quirk(quirk));
        }
    }

    /// Gives out what is kept, with gaps; how many bytes that were. At the end of the flow also what
    /// is missing before a FIN counts as a gap.
    pub(crate) fn flush(&mut self, end: bool, feed: &mut Feed<'_>) -> usize {
        let early = self.early_bytes();
        if !self.app.is_listening() {
            self.state.streams.iter_mut().for_each(Stream::forget);
            return early;
        }
        let Self {
            state,
            history,
            app,
            missed,
            ..
        } = self;
        for (stream, side) in state.streams.iter_mut().zip([Side::Client, Side::Server]) {
            let mut give = |piece: Piece<'_>| {
                if let Piece::Gap(bytes) = piece {
                    **missed += bytes;
                    history.counted(side, Counted::Gap);
                }
                app.piece(side, piece, feed);
            };
            if end {
                stream.end(&mut give);
            } else {
                stream.flush(&mut give);
            }
        }
        early
    }
}

impl Flow {
    /// Whether a segment begins another connection between the same ports.
    pub(crate) fn is_reused_by(&self, from_low: bool, segment: &Tcp<'_>) -> bool {
        if !segment.flags.syn() || segment.flags.ack() || segment.flags.rst() {
            return false;
        }
        let Some(tcp) = &self.tcp else { return false };
        if tcp.ends.is_closed() || tcp.ends.is_reset() {
            return true;
        }
        let side = self.side(from_low) as usize;
        if tcp.first[side] == Some(segment.seq) {
            return false;
        }
        !tcp.ends.is_attempt() && tcp.first[side].is_some()
    }
}
