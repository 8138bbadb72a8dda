//! Outlook messages (MS-OXMSG): compound files whose streams are properties, named by their numbers
//! (MS-OXPROPS). Bodies are handed out as what they are, attachments by their names.

use std::borrow::Cow;

use crate::FileType;

const PROPERTY: &str = "__substg1.0_";
/// PidTagAttachLongFilename, PidTagAttachFilename.
const FILE_NAMES: [u16; 2] = [0x3707, 0x3704];
/// Letters a file name has at most.
const NAME_MAX: usize = 255;

/// Types of properties: text of one byte a letter, of two, and bytes.
const STRING8: u16 = 0x1e;
const STRING: u16 = 0x1f;
const BINARY: u16 = 0x102;

/// Number and type of the property that a stream of this name holds.
fn property(name: &str) -> Option<(u16, u16)> {
    let digits = name.strip_prefix(PROPERTY)?;
    if digits.len() != 8 {
        return None;
    }
    let number = u32::from_str_radix(digits, 16).ok()?;
    Some(((number >> 16) as u16, number as u16))
}

/// The text of a property of a type that is text.
fn text(kind: u16, stream: &[u8]) -> Option<Cow<'_, str>> {
    match kind {
        STRING8 => Some(String::from_utf8_lossy(stream)),
        STRING => {
            let (pairs, _) = stream.as_chunks::<2>();
            let units: Vec<u16> = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
            Some(String::from_utf16_lossy(&units).into())
        }
        _ => None,
    }
}

/// Whether a stream of this name and size may hold the name of an attachment.
pub(super) fn is_file_name(name: &str, size: u64) -> bool {
    let is_name = |(number, _)| FILE_NAMES.contains(&number);
    size <= 2 * NAME_MAX as u64 && property(name).is_some_and(is_name)
}

/// The name of an attachment.
pub(super) fn file_name(name: &str, stream: &[u8]) -> Option<String> {
    let name = text(property(name)?.1, stream)?;
    let name = name.trim_end_matches('\0');
    let name: String = name.chars().take(NAME_MAX).collect();
    (!name.is_empty()).then_some(name)
}

/// What a property is for a reader of the message.
pub(super) enum Piece<'s> {
    /// A file called by its own name.
    Attachment,
    /// A body: what to call it, its bytes, and what they are.
    Body(&'static str, Cow<'s, [u8]>, Option<FileType>),
}

/// What the stream called `name` is for a reader of the message; none of most properties.
pub(super) fn piece<'s>(name: &str, stream: &'s [u8], bytes_max: u64) -> Option<Piece<'s>> {
    let bytes = |kind| {
        Some(match text(kind, stream)? {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })
    };
    match property(name)? {
        (0x3701, BINARY) => Some(Piece::Attachment),
        (0x0037, kind) => Some(Piece::Body("subject.txt", bytes(kind)?, None)),
        (0x1000, kind) => Some(Piece::Body("body.txt", bytes(kind)?, None)),
        (0x1013, BINARY) => {
            let html = Some(FileType::Html);
            Some(Piece::Body("body.html", Cow::Borrowed(stream), html))
        }
        (0x1013, kind) => Some(Piece::Body("body.html", bytes(kind)?, Some(FileType::Html))),
        (0x1009, BINARY) => {
            let rtf = unpack_rtf(stream, usize::try_from(bytes_max).unwrap_or(usize::MAX))?;
            Some(Piece::Body("body.rtf", Cow::Owned(rtf), None))
        }
        _ => None,
    }
}

/// What the dictionary holds before the first byte (MS-OXRTFCP 2.1.2.1).
const DICTIONARY: &[u8] =
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \
    \\fmodern \\fscript \\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\
    \\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx";

/// Unpacks a body in rich text (MS-OXRTFCP), as far as it goes; none when its header is none.
fn unpack_rtf(stream: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    const SIZE: usize = 4096;
    let body = stream.get(16..)?;
    match stream.get(8..12)? {
        b"MELA" => return Some(body.to_vec()),
        b"LZFu" => {}
        _ => return None,
    }
    let mut dictionary = [b' '; SIZE];
    dictionary[..DICTIONARY.len()].copy_from_slice(DICTIONARY);
    let mut at = DICTIONARY.len();
    let mut out = Vec::new();
    let mut input = body.iter().copied();
    'runs: while let Some(control) = input.next() {
        for bit in 0..8 {
            let Some(first) = input.next() else {
                break 'runs;
            };
            let (mut from, mut length) = (at, 1);
            if control >> bit & 1 == 1 {
                let Some(second) = input.next() else {
                    break 'runs;
                };
                let pair = usize::from(u16::from_be_bytes([first, second]));
                (from, length) = (pair >> 4, (pair & 15) + 2);
                if from == at {
                    break 'runs;
                }
            } else {
                dictionary[at] = first;
            }
            for _ in 0..length {
                if out.len() >= bytes_max {
                    break 'runs;
                }
                let byte = dictionary[from];
                out.push(byte);
                dictionary[at] = byte;
                from = (from + 1) % SIZE;
                at = (at + 1) % SIZE;
            }
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rich_text_unpacks_as_the_specification_shows() {
        // MS-OXRTFCP 4.1.1 and 4.1.2.
        let simple = b"\x2d\0\0\0\x2b\0\0\0LZFu\xf1\xc5\xc7\xa7\x03\0\x0a\0rcpg125B2\x0a\xf3 hel\x09\0 bw\x05\xb0ld}\x0a\x80\x0f\xa0";
        let text = unpack_rtf(simple, 1_000).unwrap();
        assert_eq!(text, b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n");
        let crossed = b"\x1a\0\0\0\x1c\0\0\0LZFu\xe2\xd4KQA\0\x04 WXYZ\x0dn}\x01\x0e\xb0";
        let text = unpack_rtf(crossed, 1_000).unwrap();
        assert_eq!(text, b"{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}");
        assert_eq!(unpack_rtf(crossed, 10).unwrap().len(), 10);
        assert_eq!(unpack_rtf(b"0123456789abcdefgh", 10), None);
        assert_eq!(DICTIONARY.len(), 207);
    }

    #[test]
    fn properties_have_numbers() {
        assert_eq!(property("__substg1.0_1013001F"), Some((0x1013, STRING)));
        assert_eq!(property("__substg1.0_101"), None);
        assert_eq!(property("__properties_version1.0"), None);
    }
}
