//! From a stream's pieces to whole messages and lines, without copying where a piece holds the whole
//! message, without buffering what nobody reads, and with a bound on what is held.

/// Most bytes held for an incomplete message.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Most bytes kept of a line; the rest of a longer one is dropped.
pub(crate) const LINE_BYTES_MAX: usize = 8 * 1024;

/// What a reader made of the bytes at the front of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// This many bytes are done with; may reach beyond what has come, which is then skipped. Not 0.
    Take(u64),
    /// At least this many bytes are needed to go on.
    Need(usize),
    /// The stream cannot be read.
    Stop,
}

/// Holds the incomplete message at the front of one direction of a stream.
#[derive(Debug, Default)]
pub(crate) struct StreamBuffer {
    held: Vec<u8>,
    need: usize,
    skip: u64,
}

impl StreamBuffer {
    /// Feeds bytes; `step` is called with the front of the stream until it needs more. Returns
    /// false when the stream cannot be read: a stop, a message over the bound, or no progress.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut step: impl FnMut(&[u8]) -> Step) -> bool {
        loop {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len() as u64);
                self.skip -= skipped;
                bytes = &bytes[skipped as usize..];
            }
            if self.held.is_empty() {
                if bytes.is_empty() {
                    return true;
                }
                match step(bytes) {
                    Step::Take(count @ 1..) => {
                        let here = count.min(bytes.len() as u64);
                        bytes = &bytes[here as usize..];
                        self.skip = count - here;
                    }
                    Step::Need(need) if need <= MESSAGE_BYTES_MAX => {
                        self.held.extend_from_slice(bytes);
                        self.need = need.max(bytes.len() + 1);
                        return true;
                    }
                    _ => return self.give_up(),
                }
                continue;
            }
            let wanted = self.need.saturating_sub(self.held.len()).min(bytes.len());
            self.held.extend_from_slice(&bytes[..wanted]);
            bytes = &bytes[wanted..];
            if self.held.len() < self.need {
                return true;
            }
            match step(&self.held) {
                Step::Take(count @ 1..) => self.take_held(count),
                Step::Need(need) if need.max(self.held.len() + 1) <= MESSAGE_BYTES_MAX => {
                    self.need = need.max(self.held.len() + 1);
                }
                _ => return self.give_up(),
            }
        }
    }

    /// Bytes were lost. True when all of them belonged to what is skipped anyway, so that what
    /// follows is still in step.
    pub(crate) fn gap(&mut self, missing: u64) -> bool {
        if self.held.is_empty() && missing <= self.skip {
            self.skip -= missing;
            return true;
        }
        self.clear();
        false
    }

    /// Forgets what is held and what was to be skipped.
    pub(crate) fn clear(&mut self) {
        self.held = Vec::new();
        self.skip = 0;
    }

    fn take_held(&mut self, count: u64) {
        if count >= self.held.len() as u64 {
            self.skip = count - self.held.len() as u64;
            self.held.clear();
            self.held.shrink_to(512);
            return;
        }
        self.held.drain(..count as usize);
        self.need = self.held.len();
    }

    fn give_up(&mut self) -> bool {
        self.clear();
        false
    }
}

/// Cuts one direction of a stream into lines.
#[derive(Debug, Default)]
pub(crate) struct LineBuffer {
    held: Vec<u8>,
}

impl LineBuffer {
    /// Calls `line` with every whole line, its end cut off, until it returns false: then the number
    /// of bytes used is returned, so that the rest can go elsewhere.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut line: impl FnMut(&[u8]) -> bool) -> usize {
        let mut used = 0;
        while let Some(length) = bytes[used..].iter().position(|&byte| byte == b'\n') {
            let piece = &bytes[used..used + length];
            used += length + 1;
            let go_on = if self.held.is_empty() {
                line(without_return(&piece[..piece.len().min(LINE_BYTES_MAX)]))
            } else {
                self.hold(piece);
                let go_on = line(without_return(&self.held));
                self.held.clear();
                self.held.shrink_to(512);
                go_on
            };
            if !go_on {
                return used;
            }
        }
        self.hold(&bytes[used..]);
        bytes.len()
    }

    /// Forgets the incomplete line.
    pub(crate) fn clear(&mut self) {
        self.held = Vec::new();
    }

    fn hold(&mut self, piece: &[u8]) {
        let room = LINE_BYTES_MAX.saturating_sub(self.held.len());
        self.held.extend_from_slice(&piece[..piece.len().min(room)]);
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages of one length byte and as many bytes; of a length over 9 only the first is read.
    fn read(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, bool) {
        let mut buffer = StreamBuffer::default();
        let mut messages = Vec::new();
        let ok = pieces.iter().all(|piece| {
            buffer.feed(piece, |bytes| {
                let length = usize::from(bytes[0]);
                if length == 0 {
                    return Step::Stop;
                }
                let wanted = if length > 9 { 2 } else { length + 1 };
                if bytes.len() < wanted {
                    return Step::Need(wanted);
                }
                messages.push(bytes[1..wanted].to_vec());
                Step::Take(length as u64 + 1)
            })
        });
        (messages, ok)
    }

    #[test]
    fn the_cut_of_the_pieces_does_not_matter() {
        let stream = b"\x02ab\x03cde\x0bk__________\x01z";
        let whole = read(&[stream]);
        assert_eq!(
            whole.0,
            [
                b"ab".to_vec(),
                b"cde".to_vec(),
                b"k".to_vec(),
                b"z".to_vec()
            ]
        );
        for cut in 0..stream.len() {
            assert_eq!(
                read(&[&stream[..cut], &stream[cut..]]),
                whole,
                "cut at {cut}"
            );
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(read(&bytes), whole);
        assert!(!read(&[b"\x01a\0"]).1);
    }

    #[test]
    fn a_hole_in_skipped_bytes_is_harmless() {
        let mut buffer = StreamBuffer::default();
        assert!(buffer.feed(b"x", |_| Step::Take(100)));
        assert!(buffer.gap(99));
        let mut front = Vec::new();
        assert!(buffer.feed(b"yz", |bytes| {
            front = bytes.to_vec();
            Step::Take(1)
        }));
        assert_eq!(front, b"z");
        assert!(!buffer.gap(1));
    }

    #[test]
    fn a_message_over_the_bound_is_refused() {
        let mut buffer = StreamBuffer::default();
        assert!(!buffer.feed(b"x", |_| Step::Need(MESSAGE_BYTES_MAX + 1)));
    }

    #[test]
    fn lines_are_joined_over_pieces_and_bounded() {
        let mut buffer = LineBuffer::default();
        let mut lines = Vec::new();
        let long = vec![b'x'; LINE_BYTES_MAX];
        for piece in [&b"one\r\ntw"[..], b"o\nthree", &long, b"\nfour\n"] {
            buffer.feed(piece, |line| {
                lines.push(line.to_vec());
                true
            });
        }
        assert_eq!(lines[..2], [b"one".to_vec(), b"two".to_vec()]);
        assert_eq!(lines[2].len(), LINE_BYTES_MAX);
        assert_eq!(lines[3], b"four");
    }

    #[test]
    fn a_reader_of_lines_can_hand_the_rest_over() {
        let mut buffer = LineBuffer::default();
        assert_eq!(buffer.feed(b"STARTTLS\r\n\x16\x03", |_| false), 10);
        assert!(buffer.held.is_empty());
    }
}
