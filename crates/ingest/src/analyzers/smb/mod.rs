//! SMB 1 to 3, direct over TCP or in NetBIOS sessions: log-ins, shares, and what is done to files.
//! Bytes read and written are summed and told when the file is closed; contents are skipped by
//! length, unless files are judged: then those of SMB 2 and 3 are put together ([`contents`]). A request without an answer is told at the end with status `0xffff_ffff`.
//! Requests and responses are told apart by their header, so either side may be missing; after a
//! hole, reading goes on at the next frame. Calls inside named pipes go to DCE/RPC.

mod contents;
mod conversation;
mod exchange;
mod v1;
mod v2;

use thymus_parsers::smb::{self, Flavor};
use thymus_schema::{Service, Transport};

use self::contents::Bulk;
use self::conversation::Conversation;
use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::framing::{Step, StreamBuffer};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Smb,
    transports: &[Transport::Tcp],
    usual_ports: &[445, 139],
    probe,
    build: || Box::<SmbAnalyzer>::default(),
};

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = opening.first();
    match smb::looks_like_frame(bytes) {
        Some(true) => Probe::Yes,
        None if bytes
            .first()
            .is_some_and(|kind| matches!(kind, 0 | 0x81..=0x83)) =>
        {
            Probe::More
        }
        _ => Probe::No,
    }
}

#[derive(Default)]
struct SmbAnalyzer {
    lanes: [Lane; 2],
    conversation: Conversation,
}

/// One direction.
#[derive(Default)]
struct Lane {
    buffer: StreamBuffer,
    framing: Framing,
}

#[derive(Default)]
struct Framing {
    /// Bytes of the present frame that are still to come.
    frame_left: usize,
    lost: bool,
    /// Bytes of a file at hand, and how many bytes of their message follow them.
    bulk: Option<(Bulk, usize)>,
}

impl Analyzer for SmbAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let Self {
            lanes,
            conversation,
        } = self;
        let Lane { buffer, framing } = &mut lanes[usize::from(side == Side::Server)];
        if !buffer.feed(bytes, |front| framing.front(front, conversation, cx)) {
            framing.lost = true;
        }
    }

    fn gap(&mut self, side: Side, missing: u64, cx: &mut AnalyzerCx<'_>) {
        let Self {
            lanes,
            conversation,
        } = self;
        let Lane { buffer, framing } = &mut lanes[usize::from(side == Side::Server)];
        let in_bulk = framing.gap(missing, conversation, cx);
        if !in_bulk && !buffer.gap(missing) {
            framing.lost = true;
            conversation.lost();
        }
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        self.conversation.close(cx);
    }
}

impl Framing {
    fn front(&mut self, bytes: &[u8], talk: &mut Conversation, cx: &mut AnalyzerCx<'_>) -> Step {
        if self.lost {
            return self.resync(bytes);
        }
        if self.bulk.is_some() {
            return self.file(bytes, talk, cx);
        }
        if self.frame_left == 0 {
            return self.frame(bytes);
        }
        if bytes.len() < self.frame_left.min(smb::v1::HEADER_LEN) {
            return Step::Need(self.frame_left.min(smb::v1::HEADER_LEN));
        }
        match smb::flavor(bytes) {
            Some(Flavor::V1) => self.v1(bytes, talk, cx),
            Some(Flavor::V2) => self.v2(bytes, talk, cx),
            Some(Flavor::Encrypted) => {
                talk.note_unreadable("encrypted", cx);
                self.whole_frame()
            }
            Some(Flavor::Compressed) => {
                if smb::compression_overflows(bytes) {
                    talk.quirk("compression_overflow", cx);
                }
                talk.note_unreadable("compressed", cx);
                self.whole_frame()
            }
            // Padding behind a compound, or a frame of something else.
            None => self.whole_frame(),
        }
    }

    /// Bytes of a file.
    fn file(&mut self, bytes: &[u8], talk: &mut Conversation, cx: &mut AnalyzerCx<'_>) -> Step {
        let Some((bulk, behind)) = &mut self.bulk else {
            return Step::Stop;
        };
        let here = bulk.left.min(bytes.len());
        talk.file_bytes(bulk, &bytes[..here], cx);
        bulk.at = bulk.at.saturating_add(here as u64);
        bulk.left -= here;
        let behind = *behind;
        if bulk.left > 0 {
            return Step::Take(here as u64);
        }
        self.bulk = None;
        Step::Take((here + behind) as u64)
    }

    /// Bytes were lost; true when all of them were a file's.
    fn gap(&mut self, missing: u64, talk: &mut Conversation, cx: &mut AnalyzerCx<'_>) -> bool {
        let Some((bulk, _)) = &mut self.bulk else {
            return false;
        };
        talk.file_gap(bulk, cx);
        match usize::try_from(missing) {
            // One more is to come, so that the step behind it is taken.
            Ok(missing) if missing < bulk.left => {
                bulk.left -= missing;
                bulk.at = bulk.at.saturating_add(missing as u64);
                true
            }
            _ => {
                self.bulk = None;
                false
            }
        }
    }

    fn resync(&mut self, bytes: &[u8]) -> Step {
        self.frame_left = 0;
        self.bulk = None;
        match smb::resync(bytes) {
            Some(0) => {
                self.lost = false;
                self.frame(bytes)
            }
            Some(at) => Step::Take(at as u64),
            None if bytes.len() < 8 => Step::Need(8),
            None => Step::Take(bytes.len() as u64 - 7),
        }
    }

    fn frame(&mut self, bytes: &[u8]) -> Step {
        let Some((kind, length)) = smb::frame(bytes) else {
            return Step::Need(smb::FRAME_HEADER_LEN);
        };
        match kind {
            0 => {
                self.frame_left = length;
                Step::Take(smb::FRAME_HEADER_LEN as u64)
            }
            0x81..=0x85 => Step::Take((smb::FRAME_HEADER_LEN + length) as u64),
            _ => {
                self.lost = true;
                Step::Take(1)
            }
        }
    }

    const fn whole_frame(&mut self) -> Step {
        let length = self.frame_left as u64;
        self.frame_left = 0;
        Step::Take(length)
    }

    fn v1(&mut self, bytes: &[u8], talk: &mut Conversation, cx: &mut AnalyzerCx<'_>) -> Step {
        let Some(header) = smb::v1::header(bytes) else {
            return self.whole_frame();
        };
        let pipe = talk.is_pipe(header.tree.into());
        let wanted = smb::v1::bytes_wanted(&header, pipe).min(self.frame_left);
        if bytes.len() < wanted {
            return Step::Need(wanted);
        }
        v1::message(
            &bytes[..self.frame_left.min(bytes.len())],
            &header,
            talk,
            cx,
        );
        self.whole_frame()
    }

    fn v2(&mut self, bytes: &[u8], talk: &mut Conversation, cx: &mut AnalyzerCx<'_>) -> Step {
        let fixed = smb::v2::HEADER_LEN.min(self.frame_left);
        if bytes.len() < fixed {
            return Step::Need(fixed);
        }
        let Some(header) = smb::v2::header(bytes) else {
            return self.whole_frame();
        };
        let next = header.next as usize;
        let chained = next >= smb::v2::HEADER_LEN && next < self.frame_left;
        let length = if chained { next } else { self.frame_left };
        let pipe = talk.is_pipe(header.tree_id) || talk.waits_for_pipe(header.message_id);
        let wanted = smb::v2::bytes_wanted(&header, pipe).min(length);
        if bytes.len() < wanted {
            return Step::Need(wanted);
        }
        let bulk = v2::message(&bytes[..length.min(bytes.len())], &header, talk, cx);
        self.frame_left -= length;
        if let Some(bulk) = bulk
            && let Some(behind) = length.checked_sub(bulk.offset + bulk.left)
            && bulk.left > 0
            && bulk.offset > 0
        {
            self.bulk = Some((bulk, behind));
            return Step::Take(bulk.offset as u64);
        }
        Step::Take(length as u64)
    }
}

#[cfg(test)]
mod tests;
