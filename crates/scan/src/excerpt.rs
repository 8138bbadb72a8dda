//! What stands at a place of a file, for people: its bytes, and what they say as text.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::layout::Layout;

/// Bytes of a place that are kept.
const BYTES_MAX: usize = 128;
/// Bytes of one line of a dump.
const LINE: usize = 16;

/// What stands at a place of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excerpt {
    /// Section, segment, object or stream that its weightiest bytes stand in, in the file's own words: not
    /// made legible.
    pub section: Option<String>,
    /// Where its bytes begin in the file.
    pub offset: u64,
    /// Its bytes, or those of them that weigh most, at most 128.
    pub bytes: Vec<u8>,
}

impl Excerpt {
    /// What stands in so many bytes from `offset` on; of many, those around `peak`.
    pub(crate) fn around(bytes: &[u8], layout: &Layout, span: (u64, u64), peak: u64) -> Self {
        let (offset, length) = span;
        let end = offset.saturating_add(length);
        let last = end.saturating_sub(BYTES_MAX as u64).max(offset);
        // A little of what comes before, so that the eye finds its way.
        let start = peak.saturating_sub(LINE as u64).clamp(offset, last);
        let most = end.saturating_sub(start).min(BYTES_MAX as u64) as usize;
        let rest = usize::try_from(start).ok().and_then(|at| bytes.get(at..));
        let rest = rest.unwrap_or_default();
        Self {
            section: layout.name(peak, LINE as u64),
            offset: start,
            bytes: rest.get(..most).unwrap_or(rest).to_vec(),
        }
    }

    /// What stands in so many bytes from `offset` on; of many, the first.
    pub(crate) fn of(bytes: &[u8], layout: &Layout, span: (u64, u64)) -> Self {
        Self {
            section: layout.name(span.0, span.1),
            ..Self::around(bytes, layout, span, span.0)
        }
    }

    /// What the bytes say, in letters that no terminal obeys; none where they are no text. UTF-16 of
    /// the order of Intel is recognised by its zeros.
    pub fn text(&self) -> Option<String> {
        if let Some(text) = utf16(&self.bytes) {
            return Some(text);
        }
        let is_text = |byte: &&u8| matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t');
        let letters = self.bytes.iter().filter(is_text).count();
        if self.bytes.is_empty() || letters * 4 < self.bytes.len() * 3 {
            return None;
        }
        let mut text = String::with_capacity(self.bytes.len());
        for byte in &self.bytes {
            let letter = match byte {
                b'\n' | b'\r' | b'\t' => ' ',
                byte => shown(*byte),
            };
            // Lines of a script are indented; one blank tells as much.
            if letter != ' ' || !text.ends_with(' ') {
                text.push(letter);
            }
        }
        Some(text.trim().to_owned())
    }

    /// The bytes in hexadecimal digits.
    pub fn hex(&self) -> String {
        thymus_parsers::hex(&self.bytes).into()
    }

    /// A dump as `hexdump -C` prints it: offset, sixteen bytes, and their letters on each line.
    pub fn dump(&self) -> Vec<String> {
        let lines = self.bytes.chunks(LINE).zip((self.offset..).step_by(LINE));
        lines
            .map(|(bytes, offset)| {
                let mut line = format!("{offset:08x} ");
                for at in 0..LINE {
                    let gap = if at % 8 == 0 { " " } else { "" };
                    let digits = bytes
                        .get(at)
                        .map_or_else(|| "  ".to_owned(), |b| format!("{b:02x}"));
                    // Writing into a string cannot fail.
                    let _written = write!(line, "{gap}{digits} ").is_ok();
                }
                line.push(' ');
                line.extend(bytes.iter().map(|byte| shown(*byte)));
                line
            })
            .collect()
    }
}

fn shown(byte: u8) -> char {
    match byte {
        b' '..=b'~' => char::from(byte),
        _ => '.',
    }
}

/// Text of which nearly every letter has a zero behind it.
fn utf16(bytes: &[u8]) -> Option<String> {
    let of = |bytes: &[u8]| {
        let (pairs, _) = bytes.as_chunks::<2>();
        let is_plain = |pair: &&[u8; 2]| matches!(pair, [b' '..=b'~' | b'\n' | b'\r' | b'\t', 0]);
        let plain = pairs.iter().filter(is_plain).count();
        if pairs.len() < 4 || plain * 4 < pairs.len() * 3 {
            return None;
        }
        let units = pairs.iter().map(|pair| u16::from_le_bytes(*pair));
        let letters = char::decode_utf16(units).map(|letter| match letter {
            Ok(' ' | '\n' | '\r' | '\t') => ' ',
            Ok(letter) if letter.is_ascii_graphic() || letter.is_alphanumeric() => letter,
            _ => '.',
        });
        Some(letters.collect::<String>().trim().to_owned())
    };
    of(bytes).or_else(|| of(bytes.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_zero(bytes: &[u8]) -> Excerpt {
        Excerpt::of(bytes, &Layout::default(), (0, bytes.len() as u64))
    }

    #[test]
    fn text_is_told_from_bytes_and_steers_no_terminal() {
        let text = |bytes: &[u8]| at_zero(bytes).text();
        assert_eq!(
            text(b"var a;\r\n\t  eval(b)\x1b").as_deref(),
            Some("var a; eval(b).")
        );
        let wide: Vec<u8> = "cmd /c größe\u{202e}"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(text(&wide).as_deref(), Some("cmd /c größe."));
        assert_eq!(
            text(&[&b"\0"[..], &wide].concat()).as_deref(),
            Some("cmd /c größe.")
        );
        assert_eq!(text(b"\x90\x90\x90\xcc\x01\x02ab"), None);
        assert_eq!(text(b""), None);
    }

    #[test]
    fn a_long_place_is_shown_around_its_peak() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1_000).collect();
        let shown = |offset, length, peak| {
            let excerpt = Excerpt::around(&bytes, &Layout::default(), (offset, length), peak);
            let rest = bytes.get(excerpt.offset as usize..).unwrap_or_default();
            assert!(rest.starts_with(&excerpt.bytes));
            (excerpt.offset, excerpt.bytes.len())
        };
        assert_eq!(shown(100, 500, 300), (284, BYTES_MAX));
        assert_eq!(shown(100, 500, 100), (100, BYTES_MAX));
        assert_eq!(shown(100, 500, 590), (600 - BYTES_MAX as u64, BYTES_MAX));
        assert_eq!(shown(100, 20, 110), (100, 20));
        assert_eq!(shown(990, 500, 995), (990, 10));
        assert_eq!(shown(u64::MAX, 9, 0).1, 0);
    }

    #[test]
    fn dumps_read_as_hexdump_prints_them() {
        let dump = at_zero(b"0123456789abcdef\x00\x1bz").dump();
        assert_eq!(
            dump,
            [
                "00000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  0123456789abcdef",
                "00000010  00 1b 7a                                          ..z",
            ]
        );
    }
}
