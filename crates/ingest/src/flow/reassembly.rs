//! One direction of a TCP stream put in order. A segment in order goes straight through; one that
//! comes early is kept until the hole before it is filled or given up. Of bytes that come twice the
//! first count, whatever the second say, and a difference is reported.

use std::collections::BTreeMap;

/// Bounds of one direction.
const EARLY_BYTES_MAX: usize = 1 << 20;
const EARLY_SEGMENTS_MAX: usize = 256;
/// Segments further ahead than this of what is known are not believed at once.
const AHEAD_MAX: u32 = 16 << 20;
/// Unbelievable segments in a row that move the stream after all.
const UNBELIEVED_MAX: u8 = 16;
/// How long a hole is waited for once the receiver has acknowledged it.
const ACKED_HOLE_NANOS: i64 = 200_000_000;
/// How long a hole is waited for when the receiver is not heard.
const HOLE_NANOS: i64 = 5_000_000_000;
/// How long a hole is waited for when the receiver is heard and has not acknowledged it.
const UNACKED_HOLE_NANOS: i64 = 60_000_000_000;

/// Something a stream gives in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// The next bytes.
    Data(&'a [u8]),
    /// So many bytes were lost or not captured.
    Gap(u64),
}

/// What became of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// It carried only bytes that were there already.
    pub(crate) retransmission: bool,
    /// It carried other bytes for a place that was filled.
    pub(crate) conflict: bool,
    /// It lies too far ahead to be believed.
    pub(crate) unbelievable: bool,
}

/// One direction of a TCP stream.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Sequence number of the next byte wanted, once `started`.
    next: u32,
    started: bool,
    finished: bool,
    unbelieved: u8,
    /// Highest acknowledgement by the other side, once `acked_known`.
    acked: u32,
    acked_known: bool,
    /// Position of the FIN.
    fin: Option<u32>,
    early: Option<Box<Early>>,
}

/// Segments ahead of a hole, by their distance from `base`.
#[derive(Debug, Default)]
struct Early {
    base: u32,
    segments: BTreeMap<u32, Segment>,
    bytes: usize,
    since: i64,
}

#[derive(Debug)]
struct Segment {
    bytes: Vec<u8>,
    /// Bytes on the wire after `bytes` that were not captured.
    missing: u32,
}

impl Segment {
    fn len(&self) -> u32 {
        self.bytes.len() as u32 + self.missing
    }
}

/// Signed distance from `b` to `a` in sequence space.
const fn distance(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

impl Stream {
    /// Whether every byte up to the FIN was given out.
    pub(crate) const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Bytes kept because they came early.
    pub(crate) fn early_bytes(&self) -> usize {
        self.early.as_ref().map_or(0, |early| early.bytes)
    }

    /// Begins at the byte after a SYN.
    pub(crate) fn start(&mut self, seq: u32) {
        if !self.started {
            self.started = true;
            self.next = seq;
        }
    }

    /// The other side acknowledged everything before `ack`.
    pub(crate) fn acknowledge(&mut self, ack: u32) {
        if !self.acked_known || distance(ack, self.acked) > 0 {
            self.acked = ack;
            self.acked_known = true;
        }
    }

    /// Marks where the stream ends.
    pub(crate) fn finish_at(&mut self, seq: u32) {
        self.fin.get_or_insert(seq);
        self.check_finished();
    }

    fn check_finished(&mut self) {
        if self
            .fin
            .is_some_and(|fin| self.started && distance(self.next, fin) >= 0)
        {
            self.finished = true;
        }
    }

    /// Takes a segment of `payload` and `missing` more bytes that were not captured. What can be
    /// given in order goes to `out`.
    pub(crate) fn segment(
        &mut self,
        seq: u32,
        payload: &[u8],
        missing: u32,
        now: i64,
        out: &mut dyn FnMut(Piece<'_>),
    ) -> Verdict {
        let mut verdict = Verdict::default();
        self.start(seq);
        let len = payload.len() as u32 + missing;
        if len == 0 {
            self.give_up_old_holes(now, out);
            return verdict;
        }
        let ahead = distance(seq, self.next);
        if ahead > 0 {
            verdict = self.early(seq, payload, missing, now, out);
        } else {
            let old = ahead.unsigned_abs();
            if old >= len {
                verdict.retransmission = true;
            } else {
                let fresh = payload.get(old as usize..).unwrap_or_default();
                let missing = if fresh.is_empty() { len - old } else { missing };
                self.give(fresh, missing, out);
                if self.early.is_some() {
                    self.give_early(out);
                }
            }
            self.unbelieved = 0;
        }
        self.give_up_old_holes(now, out);
        self.check_finished();
        verdict
    }

    fn give(&mut self, fresh: &[u8], missing: u32, out: &mut dyn FnMut(Piece<'_>)) {
        if !fresh.is_empty() {
            out(Piece::Data(fresh));
        }
        if missing > 0 {
            out(Piece::Gap(u64::from(missing)));
        }
        self.next = self
            .next
            .wrapping_add(fresh.len() as u32)
            .wrapping_add(missing);
    }

    /// Keeps a segment that lies ahead of what is wanted.
    fn early(
        &mut self,
        seq: u32,
        payload: &[u8],
        missing: u32,
        now: i64,
        out: &mut dyn FnMut(Piece<'_>),
    ) -> Verdict {
        let mut verdict = Verdict::default();
        let acked_ahead = self.acked_known && distance(self.acked, self.next) > 0;
        let known = if acked_ahead { self.acked } else { self.next };
        if distance(seq, known) > AHEAD_MAX as i32 {
            self.unbelieved += 1;
            if self.unbelieved < UNBELIEVED_MAX {
                verdict.unbelievable = true;
                return verdict;
            }
            // So many in a row are the stream: the capture paused.
            self.flush(out);
        }
        self.unbelieved = 0;
        let base = self.next;
        let early = self.early.get_or_insert_with(|| {
            Box::new(Early {
                base,
                since: now,
                ..Early::default()
            })
        });
        verdict.conflict = early.insert(seq, payload, missing);
        if early.bytes > EARLY_BYTES_MAX || early.segments.len() > EARLY_SEGMENTS_MAX {
            self.give_up_hole(out);
        }
        verdict
    }

    /// Gives out early segments that are no longer early.
    fn give_early(&mut self, out: &mut dyn FnMut(Piece<'_>)) {
        let Some(mut early) = self.early.take() else {
            return;
        };
        while let Some(entry) = early.segments.first_entry() {
            let at = early.base.wrapping_add(*entry.key());
            let ahead = distance(at, self.next);
            if ahead > 0 {
                break;
            }
            let segment = entry.remove();
            early.bytes -= segment.bytes.len();
            let old = ahead.unsigned_abs();
            if old < segment.len() {
                let fresh = segment.bytes.get(old as usize..).unwrap_or_default();
                let missing = if fresh.is_empty() {
                    segment.len() - old
                } else {
                    segment.missing
                };
                self.give(fresh, missing, out);
            }
        }
        if !early.segments.is_empty() {
            self.early = Some(early);
        }
    }

    /// Gives up the first hole and goes on after it.
    fn give_up_hole(&mut self, out: &mut dyn FnMut(Piece<'_>)) {
        let Some(early) = &self.early else { return };
        let Some((&at, _)) = early.segments.first_key_value() else {
            return;
        };
        let hole = distance(early.base.wrapping_add(at), self.next);
        if hole > 0 {
            out(Piece::Gap(u64::from(hole.unsigned_abs())));
            self.next = self.next.wrapping_add(hole.unsigned_abs());
        }
        self.give_early(out);
    }

    fn give_up_old_holes(&mut self, now: i64, out: &mut dyn FnMut(Piece<'_>)) {
        let Some(early) = &mut self.early else { return };
        let waited = now.saturating_sub(early.since);
        let first = early
            .segments
            .first_key_value()
            .map(|(at, _)| early.base.wrapping_add(*at));
        let acked = first.is_some_and(|at| self.acked_known && distance(self.acked, at) >= 0);
        let patience = match (acked, self.acked_known) {
            (true, _) => ACKED_HOLE_NANOS,
            (false, false) => HOLE_NANOS,
            (false, true) => UNACKED_HOLE_NANOS,
        };
        if waited > patience {
            early.since = now;
            self.give_up_hole(out);
            self.check_finished();
        }
    }

    /// Gives out everything that is kept, with gaps for what never came.
    pub(crate) fn flush(&mut self, out: &mut dyn FnMut(Piece<'_>)) {
        while self.early.is_some() {
            self.give_up_hole(out);
        }
        self.check_finished();
    }

    /// The stream is over: gives out what is kept, and the hole before the FIN if there is one.
    pub(crate) fn end(&mut self, out: &mut dyn FnMut(Piece<'_>)) {
        self.flush(out);
        let Some(fin) = self.fin.filter(|_| self.started && !self.finished) else {
            return;
        };
        let lost = distance(fin, self.next);
        if (1..=AHEAD_MAX as i32).contains(&lost) {
            out(Piece::Gap(u64::from(lost.unsigned_abs())));
            self.next = fin;
        }
        self.finished = true;
    }

    /// Nobody reads on: what is kept is let go.
    pub(crate) fn forget(&mut self) {
        self.early = None;
    }
}

impl Early {
    /// Keeps the parts of a segment whose places are free; whether it contradicted what was there.
    fn insert(&mut self, seq: u32, payload: &[u8], missing: u32) -> bool {
        let mut conflict = false;
        let start = seq.wrapping_sub(self.base);
        let end = start.saturating_add(payload.len() as u32);
        let mut at = start;
        // Segments do not overlap, so at most the one before and those inside matter.
        let mut taken: Vec<(u32, u32)> = Vec::new();
        let before = self.segments.range(..start).next_back();
        for (&from, segment) in before
            .into_iter()
            .chain(self.segments.range(start..end.max(start.saturating_add(1))))
        {
            let to = from.saturating_add(segment.len());
            if to <= start {
                continue;
            }
            let (low, high) = (
                from.max(start),
                from.saturating_add(segment.bytes.len() as u32).min(end),
            );
            if low < high {
                let ours = payload.get((low - start) as usize..(high - start) as usize);
                let theirs = segment
                    .bytes
                    .get((low - from) as usize..(high - from) as usize);
                conflict |= ours != theirs;
            }
            taken.push((from, to));
        }
        for (from, to) in taken {
            if at < from {
                self.keep(
                    at,
                    payload.get((at - start) as usize..(from.min(end) - start) as usize),
                    0,
                );
            }
            at = at.max(to);
        }
        if at < end || (missing > 0 && at == end) {
            self.keep(at, payload.get((at - start) as usize..), missing);
        }
        conflict
    }

    fn keep(&mut self, at: u32, bytes: Option<&[u8]>, missing: u32) {
        let bytes = bytes.unwrap_or_default();
        if bytes.is_empty() && missing == 0 {
            return;
        }
        self.bytes += bytes.len();
        self.segments.insert(
            at,
            Segment {
                bytes: bytes.to_vec(),
                missing,
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds segments and gives the bytes that came out, holes as `None`.
    fn run(first: u32, segments: &[(u32, Vec<u8>)]) -> Vec<Option<u8>> {
        let mut stream = Stream::default();
        stream.start(first);
        let mut out: Vec<Option<u8>> = Vec::new();
        let mut give = |piece: Piece<'_>| match piece {
            Piece::Data(bytes) => out.extend(bytes.iter().map(|byte| Some(*byte))),
            Piece::Gap(missing) => out.extend((0..missing).map(|_| None)),
        };
        for (seq, bytes) in segments {
            stream.segment(*seq, bytes, 0, 0, &mut give);
        }
        stream.flush(&mut give);
        assert_eq!(stream.early_bytes(), 0);
        out
    }

    proptest! {
        #[test]
        fn any_cut_order_and_repetition_gives_the_same_bytes(
            data in proptest::collection::vec(any::<u8>(), 1..400),
            first in any::<u32>(),
            cuts in proptest::collection::vec((0_usize..400, 1_usize..80), 0..40),
            order in any::<u64>(),
        ) {
            // Random pieces, which overlap and repeat, and all bytes once more in small pieces.
            let mut pieces: Vec<(usize, usize)> = cuts
                .into_iter()
                .map(|(from, len)| (from % data.len(), len))
                .map(|(from, len)| (from, (from + len).min(data.len())))
                .collect();
            pieces.extend((0..data.len()).step_by(7).map(|from| (from, (from + 7).min(data.len()))));
            let mut dice = order | 1;
            for at in (1..pieces.len()).rev() {
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                pieces.swap(at, (dice % (at as u64 + 1)) as usize);
            }
            let segments: Vec<(u32, Vec<u8>)> = pieces
                .iter()
                .map(|(from, to)| (first.wrapping_add(*from as u32), data[*from..*to].to_vec()))
                .collect();
            let expected: Vec<Option<u8>> = data.iter().map(|byte| Some(*byte)).collect();
            prop_assert_eq!(run(first, &segments), expected);
        }
    }

    #[test]
    fn what_never_comes_is_a_gap_of_its_size() {
        let out = run(100, &[(100, b"ab".to_vec()), (105, b"fg".to_vec())]);
        assert_eq!(
            out,
            [
                Some(b'a'),
                Some(b'b'),
                None,
                None,
                None,
                Some(b'f'),
                Some(b'g')
            ]
        );
    }

    #[test]
    fn a_segment_far_outside_the_window_is_not_believed() {
        let out = run(
            100,
            &[
                (100, b"ab".to_vec()),
                (0x7000_0000, b"x".to_vec()),
                (102, b"c".to_vec()),
            ],
        );
        assert_eq!(out, [Some(b'a'), Some(b'b'), Some(b'c')]);
    }

    #[test]
    fn kept_bytes_are_bounded() {
        let mut stream = Stream::default();
        stream.start(0);
        let mut gaps = 0;
        for at in 1..2_000_u32 {
            stream.segment(at * 2_000, &[0; 1_000], 0, 0, &mut |piece| {
                gaps += u64::from(matches!(piece, Piece::Gap(_)));
            });
            assert!(stream.early_bytes() <= EARLY_BYTES_MAX + 1_000);
        }
        assert!(gaps > 1_000, "{gaps}");
    }
}
