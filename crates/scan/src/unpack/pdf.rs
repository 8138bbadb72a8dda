//! What PDF documents carry (ISO 32000-1): JavaScript, in strings and streams, and what other streams
//! hold: attachments above all. Objects are found by their words, not through the cross-reference
//! table, because readers repair a broken one and so do attackers count on it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::Read;

use memchr::memmem;
use thymus_parsers::inflate;

use super::Opening;
use crate::budget::Held;
use crate::{FileType, Reason};

const KIND: FileType = FileType::Pdf;
/// What a document begins with, and how far into the file readers look for that.
const HEADER: &[u8] = b"%PDF-";
const HEADER_WITHIN: usize = 1024;
/// How far before its stream the dictionary of an object is looked for.
const DICTIONARY_BYTES_MAX: usize = 16 << 10;
/// Bytes of script strings read in one document.
const STRING_BYTES_MAX: usize = 4 << 20;

/// One stream: object number, dictionary without `#` escapes, and its bytes.
struct Stream<'p> {
    object: u32,
    dictionary: Vec<u8>,
    body: &'p [u8],
}

/// Scripts found outside streams, and the numbers of objects that hold others.
struct Scripts {
    strings: Vec<Vec<u8>>,
    objects: BTreeSet<u32>,
    /// Bytes of strings that may still be read.
    bytes_left: usize,
}

/// Hands out the document without what stands in front of its header, then scripts, then the other streams.
/// What stands in front is nothing to a reader and much to who judges beginnings.
pub(super) fn open(bytes: &[u8], opening: &mut Opening<'_, '_>) -> Result<(), Reason> {
    let head = bytes.get(..HEADER_WITHIN).unwrap_or(bytes);
    if let Some(at) = memmem::find_iter(head, HEADER).find(|at| *at > 0) {
        let rest = bytes.get(at..).unwrap_or_default();
        opening.lend("from-header.pdf", rest, Some(KIND));
    }
    let (streams, plain) = split(bytes, opening)?;
    if memmem::find(&plain, b"/Encrypt").is_some() {
        opening.missing("streams", Reason::Encrypted);
        return Ok(());
    }
    let mut scripts = Scripts {
        strings: Vec::new(),
        objects: BTreeSet::new(),
        bytes_left: STRING_BYTES_MAX,
    };
    scripts.collect(&plain);
    for stream in streams.iter().filter(|s| s.has(b"/ObjStm")) {
        opening.go_on()?;
        if let Some((held, _)) = decode(stream, opening) {
            scripts.collect(held.bytes());
        }
    }
    if scripts.bytes_left == 0 {
        opening.missing("scripts", Reason::TooLarge);
    }
    for (number, script) in scripts.strings.iter().enumerate() {
        let name = format!("script{}.js", number + 1);
        opening.lend(&name, script, Some(FileType::JavaScript));
    }
    for stream in &streams {
        opening.go_on()?;
        let is_script = scripts.objects.contains(&stream.object);
        if stream.is_dull() && !is_script {
            continue;
        }
        let name = format!("object{}", stream.object);
        opening.budget.count()?;
        let Some((held, why)) = decode(stream, opening) else {
            if is_script || stream.has(b"/EmbeddedFile") {
                opening.missing(&name, Reason::Unsupported(KIND));
            }
            continue;
        };
        let known_as = is_script.then_some(FileType::JavaScript);
        if !held.bytes().is_empty() {
            opening.file(&name, held.bytes(), known_as);
        }
        match why {
            // A stream may end early; what came is what a reader sees. Other bounds are told.
            None | Some(Reason::Broken(_)) => {}
            Some(reason) => opening.missing(&name, reason),
        }
    }
    Ok(())
}

/// The streams, and everything between them.
fn split<'p>(
    bytes: &'p [u8],
    opening: &Opening<'_, '_>,
) -> Result<(Vec<Stream<'p>>, Vec<u8>), Reason> {
    let mut streams = Vec::new();
    let mut plain = Vec::new();
    let mut at = 0;
    while let Some(found) = bytes
        .get(at..)
        .and_then(|rest| memmem::find(rest, b"stream"))
    {
        opening.go_on()?;
        if streams.len() >= opening.budget.policy.members_max as usize {
            return Err(Reason::TooManyMembers);
        }
        let word = at + found;
        let before = bytes.get(at..word).unwrap_or_default();
        plain.extend_from_slice(before);
        let mut start = word + b"stream".len();
        if before.ends_with(b"end") {
            at = start;
            continue;
        }
        // The word is followed by a line feed, or by a carriage return that some writers leave alone.
        for end_of_line in [b'\r', b'\n'] {
            if bytes.get(start) == Some(&end_of_line) {
                start += 1;
            }
        }
        let rest = bytes.get(start..).unwrap_or_default();
        let length = memmem::find(rest, b"endstream").unwrap_or(rest.len());
        let body = rest.get(..length).unwrap_or_default();
        let window = before.len().saturating_sub(DICTIONARY_BYTES_MAX);
        let (object, dictionary) = head(before.get(window..).unwrap_or_default());
        streams.push(Stream {
            object,
            dictionary,
            body,
        });
        at = start + length;
    }
    plain.extend_from_slice(bytes.get(at..).unwrap_or_default());
    Ok((streams, unescape(&plain).into_owned()))
}

/// Number and dictionary of the object that `text` ends with: `12 0 obj << … >>`.
fn head(text: &[u8]) -> (u32, Vec<u8>) {
    let Some(at) = memmem::rfind(text, b"obj") else {
        return (0, unescape(text).into_owned());
    };
    let front = text.get(..at).unwrap_or_default();
    let words = front
        .rsplit(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let number = words.take(2).last().and_then(number).unwrap_or(0);
    let dictionary = text.get(at + 3..).unwrap_or_default();
    (number, unescape(dictionary).into_owned())
}

fn number(word: &[u8]) -> Option<u32> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

impl Stream<'_> {
    fn has(&self, word: &[u8]) -> bool {
        memmem::find(&self.dictionary, word).is_some()
    }

    /// Pictures, fonts and tables of the format itself.
    fn is_dull(&self) -> bool {
        [
            &b"/DCTDecode"[..],
            b"/JPXDecode",
            b"/CCITTFax",
            b"/JBIG2",
            b"/Subtype/Image",
            b"/Subtype /Image",
            b"/ObjStm",
            b"/XRef",
            b"/FontFile",
            b"/Length1",
        ]
        .iter()
        .any(|word| self.has(word))
    }

    /// The filters in order, or none when one of them is not known here.
    fn filters(&self) -> Option<Vec<Filter>> {
        let Some(at) = memmem::find(&self.dictionary, b"/Filter") else {
            return Some(Vec::new());
        };
        let text = self.dictionary.get(at + 7..)?.trim_ascii_start();
        let list = if let Some(list) = text.strip_prefix(b"[") {
            list.split(|byte| *byte == b']').next()?
        } else {
            let name = text.strip_prefix(b"/")?;
            let end = name.iter().position(|byte| !byte.is_ascii_alphanumeric());
            text.get(..=end.unwrap_or(name.len()))?
        };
        let names = list.split(|byte| *byte == b'/').skip(1);
        names
            .map(|name| match name.trim_ascii() {
                b"FlateDecode" | b"Fl" => Some(Filter::Flate),
                b"ASCIIHexDecode" | b"AHx" => Some(Filter::Hex),
                b"ASCII85Decode" | b"A85" => Some(Filter::Base85),
                _ => None,
            })
            .collect()
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Filter {
    Flate,
    Hex,
    Base85,
}

/// The bytes behind the filters.
fn decode<'b>(
    stream: &Stream<'_>,
    opening: &Opening<'b, '_>,
) -> Option<(Held<'b>, Option<Reason>)> {
    const FILTERS_MAX: usize = 4;
    let filters = stream.filters()?;
    if filters.len() > FILTERS_MAX {
        return None;
    }
    let mut reader: Box<dyn Read + Send + '_> = Box::new(stream.body);
    for filter in filters {
        reader = match filter {
            Filter::Flate => inflate(reader),
            Filter::Hex | Filter::Base85 => {
                let mut text = Vec::new();
                let most = opening.budget.policy.member_bytes_max;
                // What does not decode any further ends the text.
                let _ended = reader.take(most).read_to_end(&mut text).is_ok();
                let plain = if filter == Filter::Hex {
                    hex(&text)
                } else {
                    base85(&text)
                };
                Box::new(std::io::Cursor::new(plain))
            }
        };
    }
    Some(opening.budget.take(KIND, &mut opening.budget.meter(reader)))
}

impl Scripts {
    /// Takes what follows each `/JS`: a string, digits, or the number of an object.
    fn collect(&mut self, text: &[u8]) {
        for at in memmem::find_iter(text, b"/JS") {
            let rest = text.get(at + 3..).unwrap_or_default();
            let value = rest.trim_ascii_start();
            let most = value.get(..self.bytes_left).unwrap_or(value);
            match value.first() {
                Some(b'(') => {
                    let (string, length) = literal(most);
                    self.keep(string, length);
                }
                Some(b'<') => {
                    let digits = most.get(1..).unwrap_or_default();
                    let end = memchr::memchr(b'>', digits).unwrap_or(digits.len());
                    self.keep(hex(digits.get(..end).unwrap_or_default()), end + 1);
                }
                Some(b'0'..=b'9') => {
                    let word = value.split(|byte| !byte.is_ascii_digit()).next();
                    self.objects.extend(word.and_then(number));
                }
                _ => {}
            }
        }
    }

    fn keep(&mut self, string: Vec<u8>, length: usize) {
        self.bytes_left = self.bytes_left.saturating_sub(length);
        if !string.is_empty() {
            self.strings.push(string);
        }
    }
}

/// A string in parentheses, which may nest, with its escapes undone (7.3.4.2), and how many bytes it took.
/// One that is not closed goes to the end: some reader will take it so.
fn literal(text: &[u8]) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    let mut depth = 0_u32;
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => match bytes.next().unwrap_or(b'\n') {
                b'n' => out.push(b'\n'),
                b'r' => out.push(b'\r'),
                b't' => out.push(b'\t'),
                b'b' => out.push(8),
                b'f' => out.push(12),
                b'\r' | b'\n' => {}
                digit @ b'0'..=b'7' => {
                    let mut value = u32::from(digit - b'0');
                    for _ in 0..2 {
                        if let Some(next) = bytes.next_if(|b| (b'0'..=b'7').contains(b)) {
                            value = value * 8 + u32::from(next - b'0');
                        }
                    }
                    out.push(value as u8);
                }
                other => out.push(other),
            },
            b'(' => {
                if depth > 0 {
                    out.push(byte);
                }
                depth += 1;
            }
            b')' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return (out, text.len() - bytes.len());
                }
                out.push(byte);
            }
            other => out.push(other),
        }
    }
    (out, text.len())
}

/// `#4a` in names is `J` (7.3.5).
fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'#', text).is_none() {
        return Cow::Borrowed(text);
    }
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'#', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, _, _) => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    Cow::Owned(out)
}

fn hex(text: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = text
        .iter()
        .take_while(|byte| **byte != b'>')
        .filter_map(|byte| char::from(*byte).to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    let pairs = digits.chunks(2);
    pairs
        .map(|pair| pair.iter().fold(0, |sum, digit| (sum << 4) | digit) << (4 * (2 - pair.len())))
        .collect()
}

fn base85(text: &[u8]) -> Vec<u8> {
    let text = text.strip_prefix(b"<~").unwrap_or(text);
    let mut out = Vec::new();
    let mut group: Vec<u8> = Vec::with_capacity(5);
    for byte in text {
        match byte {
            b'z' if group.is_empty() => out.extend([0; 4]),
            b'!'..=b'u' => group.push(byte - b'!'),
            b'~' => break,
            _ => {}
        }
        if group.len() == 5 {
            flush(&mut group, &mut out);
        }
    }
    if group.len() > 1 {
        flush(&mut group, &mut out);
    }
    out
}

/// Five digits make four bytes; fewer, at the end, one byte less than there are digits.
fn flush(group: &mut Vec<u8>, out: &mut Vec<u8>) {
    let kept = group.len() - 1;
    group.resize(5, 84);
    let value = group.iter().fold(0_u32, |sum, digit| {
        sum.wrapping_mul(85).wrapping_add(u32::from(*digit))
    });
    out.extend(value.to_be_bytes().iter().take(kept));
    group.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_read_as_a_reader_reads_them() {
        assert_eq!(literal(b"(a(b)c\\)\\101\\n)x"), (b"a(b)c)A\n".to_vec(), 15));
        assert_eq!(literal(b"(open"), (b"open".to_vec(), 5));
        assert_eq!(hex(b"41 4 2 5>99"), b"ABP");
        assert_eq!(base85(b"<~87cURD]i,\"Ebo80~>"), b"Hello World!");
        assert_eq!(unescape(b"/#4aS /J#53 #zz").as_ref(), b"/JS /JS #zz");
    }
}
