//! Tape archives: POSIX ustar and pax, GNU long names, and the older form. Our own reader, because it
//! must go on where others give up: names and sizes come from hostile headers, and a stream is never
//! rewound. Links, devices and folders have no bytes and are passed over.

use std::io::Read;

use super::{Opening, fill, skip};
use crate::{FileType, Reason};

const BLOCK: u64 = 512;
/// Longest name or pax header taken; what is longer is cut.
const EXTENSION_BYTES_MAX: u64 = 64 << 10;

/// Hands out the files of an archive.
pub(super) fn open(reader: &mut dyn Read, opening: &mut Opening<'_, '_>) -> Result<(), Reason> {
    const BROKEN: Reason = Reason::Broken(FileType::Tar);
    let stop = |opening: &Opening<'_, '_>| opening.budget.stopped().unwrap_or(BROKEN);
    let mut named: Option<String> = None;
    let mut sized: Option<u64> = None;
    let mut is_first = true;
    loop {
        opening.go_on()?;
        let mut header = [0; BLOCK as usize];
        let read = fill(reader, &mut header).map_err(|_| stop(opening))?;
        if read == 0 || header.iter().all(|byte| *byte == 0) {
            // Archives end in zero blocks, or by accident behind a whole member.
            return if is_first { Err(BROKEN) } else { Ok(()) };
        }
        if read < header.len() {
            return Err(stop(opening));
        }
        is_first = false;
        let length = number(header.get(124..136).unwrap_or_default()).ok_or(BROKEN)?;
        let kind = header.get(156).copied().unwrap_or_default();
        let length = if matches!(kind, b'L' | b'K' | b'x' | b'g') {
            length
        } else {
            sized.take().unwrap_or(length)
        };
        let padding = length.next_multiple_of(BLOCK) - length;
        match kind {
            b'L' | b'x' => {
                let text = extension(reader, length).ok_or_else(|| stop(opening))?;
                if kind == b'L' {
                    let name = text.split(|byte| *byte == 0).next().unwrap_or_default();
                    named = Some(String::from_utf8_lossy(name).into_owned());
                } else {
                    let (path, size) = pax(&text);
                    named = path.or(named);
                    sized = size;
                }
            }
            b'0' | 0 | b'7' | b'S' => {
                let name = named.take().unwrap_or_else(|| ustar_name(&header));
                let is_folder = name.ends_with('/');
                let mut body = reader.take(length);
                if !is_folder {
                    let name = name.trim_start_matches("./");
                    opening.read(FileType::Tar, name, &mut body);
                }
                let left = body.limit();
                if !skip(reader, left) {
                    return Err(stop(opening));
                }
            }
            _ => {
                if !matches!(kind, b'K' | b'g') {
                    named = None;
                }
                if !skip(reader, length) {
                    return Err(stop(opening));
                }
            }
        }
        if !skip(reader, padding) && padding > 0 {
            return Err(stop(opening));
        }
    }
}

/// A number in octal digits, or in base 256 as GNU writes large ones.
fn number(field: &[u8]) -> Option<u64> {
    const LARGEST: u64 = 1 << 60;
    let (first, rest) = field.split_first()?;
    let value = if first & 0x80 == 0 {
        let text = std::str::from_utf8(field).ok()?;
        let text = text.trim_matches(|c: char| c == ' ' || c == '\0');
        if text.is_empty() {
            return Some(0);
        }
        u64::from_str_radix(text, 8).ok()?
    } else {
        rest.iter().fold(0_u64, |sum, byte| {
            sum.saturating_mul(256).saturating_add(u64::from(*byte))
        })
    };
    (value <= LARGEST).then_some(value)
}

fn ustar_name(header: &[u8]) -> String {
    let text = |from: usize, to: usize| {
        let field = header.get(from..to).unwrap_or_default();
        let field = field.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(field).into_owned()
    };
    let name = text(0, 100);
    // Only the POSIX form has a prefix; GNU keeps times there.
    let is_posix = header.get(257..263) == Some(b"ustar\0");
    let prefix = if is_posix {
        text(345, 500)
    } else {
        String::new()
    };
    if prefix.is_empty() {
        name
    } else {
        format!("{prefix}/{name}")
    }
}

fn extension(reader: &mut dyn Read, length: u64) -> Option<Vec<u8>> {
    let kept = length.min(EXTENSION_BYTES_MAX);
    let mut bytes = Vec::new();
    reader.take(kept).read_to_end(&mut bytes).ok()?;
    let is_whole = bytes.len() as u64 == kept && skip(reader, length - kept);
    is_whole.then_some(bytes)
}

/// Path and size of a pax header: lines of `LENGTH KEY=VALUE`.
fn pax(text: &[u8]) -> (Option<String>, Option<u64>) {
    let (mut path, mut size) = (None, None);
    let mut rest = text;
    while let Some(blank) = rest.iter().position(|byte| *byte == b' ') {
        let length = rest
            .get(..blank)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| digits.parse::<usize>().ok())
            .filter(|length| *length > blank + 1);
        let Some(record) = length.and_then(|length| rest.get(blank + 1..length)) else {
            break;
        };
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        if let Some(value) = record.strip_prefix(b"path=") {
            path = Some(String::from_utf8_lossy(value).into_owned());
        } else if let Some(value) = record.strip_prefix(b"size=") {
            size = std::str::from_utf8(value)
                .ok()
                .and_then(|digits| digits.parse().ok());
        }
        rest = rest.get(length.unwrap_or(rest.len())..).unwrap_or_default();
    }
    (path, size.filter(|size| *size <= 1 << 60))
}
