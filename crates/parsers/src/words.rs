//! Text the way protocols spell it: UTF-16, NUL-terminated, and lines of words.

use crate::reader::Reader;
use crate::text::text;

/// UTF-16LE, cut at `max` code units and at the first NUL; control characters become U+FFFD.
pub fn utf16le(bytes: &[u8], max: usize) -> Box<str> {
    let units = bytes
        .chunks_exact(2)
        .take(max)
        .filter_map(|pair| pair.try_into().ok().map(u16::from_le_bytes))
        .take_while(|&unit| unit != 0);
    char::decode_utf16(units)
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect::<String>()
        .into()
}

/// Text up to the first NUL, at most `max` bytes.
pub fn c_text(bytes: &[u8], max: usize) -> Box<str> {
    text(
        bytes.split(|&byte| byte == 0).next().unwrap_or_default(),
        max,
    )
}

/// The bytes before the next `end` byte, which is stepped over; `None` when there is none.
pub fn take_until<'a>(reader: &mut Reader<'a>, end: u8) -> Option<&'a [u8]> {
    let length = reader.rest().iter().position(|&byte| byte == end)?;
    let bytes = reader.take(length)?;
    reader.skip(1)?;
    Some(bytes)
}

/// A reader from byte `offset` of `bytes`; empty when that is beyond the end.
pub fn reader_at(bytes: &[u8], offset: usize) -> Reader<'_> {
    Reader::new(bytes.get(offset..).unwrap_or_default())
}

/// Whether the line starts with this ASCII word, in any case, followed by its end or a blank.
pub fn has_word(line: &[u8], word: &[u8]) -> bool {
    let Some(start) = line.get(..word.len()) else {
        return false;
    };
    let after = line.get(word.len());
    start.eq_ignore_ascii_case(word) && after.is_none_or(u8::is_ascii_whitespace)
}

/// Splits at the first run of blanks: the first word and what follows it.
pub fn split_word(line: &[u8]) -> (&[u8], &[u8]) {
    let line = line.trim_ascii();
    let end = line
        .iter()
        .position(u8::is_ascii_whitespace)
        .unwrap_or(line.len());
    let (word, rest) = line.split_at_checked(end).unwrap_or((line, b""));
    (word, rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_text_ends_at_nul_and_survives_lone_surrogates() {
        assert_eq!(&*utf16le(b"a\0b\0\0\0c\0", 9), "ab");
        assert_eq!(&*utf16le(&[0x00, 0xd8, 0x41, 0x00, 0x99], 9), "\u{fffd}A");
        assert_eq!(&*c_text(b"ab\0cd", 9), "ab");
    }

    #[test]
    fn words_are_matched_whole_and_in_any_case() {
        assert!(has_word(b"user bob", b"USER"));
        assert!(!has_word(b"username", b"USER"));
        assert_eq!(
            split_word(b" USER  bob smith\r\n"),
            (&b"USER"[..], &b"bob smith"[..])
        );
    }

    #[test]
    fn take_until_moves_nothing_when_the_end_is_missing() {
        let mut reader = Reader::new(b"ab\0c");
        assert_eq!(take_until(&mut reader, 0), Some(&b"ab"[..]));
        assert_eq!(take_until(&mut reader, 0), None);
        assert_eq!(reader.rest(), b"c");
    }
}
