//! Names as text: lower case, no final dot, other than printable bytes as `\ddd`.

use compact_str::CompactString;

/// Longest name on the wire without its end.
const WIRE_MAX: usize = 255;

/// The name at the head of `bytes` when its labels follow one another and all its characters stand
/// for themselves, as in nearly every question; none otherwise, and none for the root.
pub(super) fn plain(bytes: &[u8]) -> Option<CompactString> {
    let mut end = 0_usize;
    let mut labels = 0_usize;
    loop {
        match bytes.get(end)? {
            0 => break,
            len @ 1..=63 => end = end.saturating_add(usize::from(*len)).saturating_add(1),
            _ => return None,
        }
        labels = labels.saturating_add(1);
        if end > WIRE_MAX {
            return None;
        }
    }
    let mut room = [0; WIRE_MAX];
    let wire = bytes.get(1..end)?;
    let text = room.get_mut(..wire.len())?;
    text.copy_from_slice(wire);
    let mut dot = usize::from(*bytes.first()?);
    while let Some(place) = text.get_mut(dot) {
        dot = dot.saturating_add(usize::from(*place)).saturating_add(1);
        *place = b'.';
    }
    let stands = |byte: &u8| matches!(byte, 0x20..0x7f) && *byte != b'\\';
    // Without an early end the compiler looks at many bytes at a time.
    let all_stand = text.iter().fold(true, |all, byte| all & stands(byte));
    let dots = memchr::memchr_iter(b'.', text).count();
    if !all_stand || dots.saturating_add(1) != labels {
        return None;
    }
    text.make_ascii_lowercase();
    CompactString::from_utf8(text).ok()
}

/// A name being written. Most fit the room on the stack, so that only a long finished name is
/// allocated.
pub(super) struct Name {
    room: [u8; NAME_ROOM],
    len: usize,
    /// Takes over when the room is full.
    long: String,
}

const NAME_ROOM: usize = 160;

impl Default for Name {
    fn default() -> Self {
        Self {
            room: [0; NAME_ROOM],
            len: 0,
            long: String::new(),
        }
    }
}

impl Name {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds ASCII text.
    pub(super) fn push(&mut self, text: &[u8]) {
        let end = self.len.saturating_add(text.len());
        if self.long.is_empty()
            && let Some(place) = self.room.get_mut(self.len..end)
        {
            place.copy_from_slice(text);
        } else {
            if self.long.is_empty() {
                let written = self.room.get(..self.len).unwrap_or_default();
                self.long
                    .push_str(std::str::from_utf8(written).unwrap_or_default());
            }
            self.long
                .push_str(std::str::from_utf8(text).unwrap_or_default());
        }
        self.len = end;
    }

    /// Adds a label; almost all consist of characters that stand for themselves.
    pub(super) fn label(&mut self, label: &[u8]) {
        let plain = |byte: &u8| matches!(byte, 0x20..0x7f) && !matches!(byte, b'.' | b'\\');
        // Without an early end the compiler looks at many bytes at a time.
        if label.iter().fold(true, |all, byte| all & plain(byte)) {
            return self.push(label);
        }
        for run in label.chunk_by(|a, b| plain(a) == plain(b)) {
            if run.first().is_some_and(plain) {
                self.push(run);
                continue;
            }
            for byte in run {
                let digits = [byte / 100, byte / 10 % 10, byte % 10];
                let [a, b, c] = digits.map(|digit| digit.saturating_add(b'0'));
                self.push(&[b'\\', a, b, c]);
            }
        }
    }

    /// The name in lower case.
    pub(super) fn finish(mut self) -> CompactString {
        if !self.long.is_empty() {
            self.long.make_ascii_lowercase();
            return self.long.into();
        }
        let written = self.room.get_mut(..self.len).unwrap_or_default();
        written.make_ascii_lowercase();
        std::str::from_utf8(written).unwrap_or_default().into()
    }
}
