//! Forms with files in them (`multipart/form-data`, RFC 7578), in pieces as they come.

use crate::http::parameter;
use crate::text::text;

const BOUNDARY_BYTES_MAX: usize = 200;
const HEAD_BYTES_MAX: usize = 16 * 1024;
const LINE_BYTES_MAX: usize = 1024;
const TEXT_BYTES_MAX: usize = 512;

/// What a form is made of, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// A part begins.
    Begin(PartHead),
    /// Bytes of it.
    Data(&'a [u8]),
    /// It ended, with all of its bytes.
    End,
}

/// What a part says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartHead {
    /// The file's name; empty when it is no file.
    pub file_name: Box<str>,
    /// Its declared type.
    pub content_type: Box<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first boundary.
    Preamble,
    /// The rest of a boundary's line.
    Line,
    Head,
    Body,
    Over,
}

/// Reads a form.
#[derive(Debug)]
pub struct Multipart {
    /// What stands before each part and behind the last.
    delimiter: Vec<u8>,
    held: Vec<u8>,
    state: State,
}

impl Multipart {
    /// Of a body with this content type, when it is a form in parts.
    pub fn new(content_type: &[u8]) -> Option<Self> {
        const KIND: &[u8] = b"multipart/form-data";
        let kind = content_type.trim_ascii_start().get(..KIND.len())?;
        let boundary = parameter(content_type, b"boundary")?;
        let is_sound = !boundary.is_empty() && boundary.len() <= BOUNDARY_BYTES_MAX;
        (kind.eq_ignore_ascii_case(KIND) && is_sound).then(|| Self {
            delimiter: [b"\r\n--", boundary].concat(),
            // The first boundary has no line before it.
            held: b"\r\n".to_vec(),
            state: State::Preamble,
        })
    }

    /// Whether the form has ended, or cannot be read.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// The next bytes; `each` is told what they are.
    pub fn feed(&mut self, bytes: &[u8], each: &mut dyn FnMut(Part<'_>)) {
        if self.is_over() {
            return;
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        let mut rest = held.as_slice();
        while let Some(used) = self.step(rest, each) {
            rest = rest.get(used..).unwrap_or_default();
            if self.is_over() {
                return;
            }
        }
        let from = held.len().saturating_sub(rest.len());
        held.drain(..from);
        self.held = held;
    }

    /// Takes from the front; `None` when more is needed.
    fn step(&mut self, bytes: &[u8], each: &mut dyn FnMut(Part<'_>)) -> Option<usize> {
        match self.state {
            State::Preamble | State::Body => self.until_boundary(bytes, each),
            State::Line => {
                let front = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
                let end = memchr::memchr(b'\n', front);
                if bytes.starts_with(b"--") || end.is_none() && bytes.len() >= LINE_BYTES_MAX {
                    self.state = State::Over;
                    return Some(0);
                }
                self.state = end.map_or(State::Line, |_| State::Head);
                end?.checked_add(1)
            }
            State::Head => {
                let front = bytes.get(..HEAD_BYTES_MAX).unwrap_or(bytes);
                let Some(length) = head_length(front) else {
                    if bytes.len() >= HEAD_BYTES_MAX {
                        self.state = State::Over;
                        return Some(0);
                    }
                    return None;
                };
                each(Part::Begin(head(bytes.get(..length).unwrap_or_default())));
                self.state = State::Body;
                // The line that ends an empty head may begin the next boundary.
                Some(length)
            }
            State::Over => None,
        }
    }

    fn until_boundary(&mut self, bytes: &[u8], each: &mut dyn FnMut(Part<'_>)) -> Option<usize> {
        let in_body = self.state == State::Body;
        let found = memchr::memmem::find(bytes, &self.delimiter);
        // A boundary may have come in part.
        let kept = self.delimiter.len().saturating_sub(1);
        let length = found.unwrap_or_else(|| bytes.len().saturating_sub(kept));
        if in_body && length > 0 {
            each(Part::Data(bytes.get(..length).unwrap_or_default()));
        }
        if found.is_none() {
            return (length > 0).then_some(length);
        }
        if in_body {
            each(Part::End);
        }
        self.state = State::Line;
        length.checked_add(self.delimiter.len())
    }
}

/// Where a part's head ends: behind its empty line.
fn head_length(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(b"\r\n") {
        return Some(2);
    }
    memchr::memmem::find(bytes, b"\r\n\r\n")?.checked_add(4)
}

fn head(bytes: &[u8]) -> PartHead {
    let mut out = PartHead::default();
    for line in bytes.split(|byte| *byte == b'\n').take(64) {
        let mut sides = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (sides.next(), sides.next()) else {
            continue;
        };
        let value = value.trim_ascii();
        if name.eq_ignore_ascii_case(b"content-disposition") {
            out.file_name = parameter(value, b"filename")
                .map_or(Box::default(), |name| text(name, TEXT_BYTES_MAX));
        } else if name.eq_ignore_ascii_case(b"content-type") {
            out.content_type = text(value, TEXT_BYTES_MAX);
        }
    }
    out
}

/// Entry of the mutation test and the fuzzer: the first line is the content type, the rest comes in pieces.
pub fn fuzz(bytes: &[u8]) {
    let mut sides = bytes.splitn(2, |byte| *byte == b'\n');
    let (Some(kind), Some(body)) = (sides.next(), sides.next()) else {
        return;
    };
    let kind = kind.strip_suffix(b"\r").unwrap_or(kind);
    let whole = told(kind, &[body]);
    let pieces: Vec<&[u8]> = body.chunks(3).collect();
    debug_assert_eq!(whole, told(kind, &pieces));
}

/// The parts with all of their bytes.
fn told(kind: &[u8], pieces: &[&[u8]]) -> Option<Vec<(PartHead, Vec<u8>, bool)>> {
    let mut form = Multipart::new(kind)?;
    let mut parts: Vec<(PartHead, Vec<u8>, bool)> = Vec::new();
    for piece in pieces {
        form.feed(piece, &mut |part| match part {
            Part::Begin(head) => parts.push((head, Vec::new(), false)),
            Part::Data(bytes) => {
                if let Some(last) = parts.last_mut() {
                    last.1.extend_from_slice(bytes);
                }
            }
            Part::End => {
                if let Some(last) = parts.last_mut() {
                    last.2 = true;
                }
            }
        });
    }
    // What may still be the front of a boundary is told later.
    parts.retain(|part| part.2);
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &[u8] = b"multipart/form-data; boundary=\"a b\"";
    const BODY: &[u8] = b"--a b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n7\r\n--a b\r\n\
        content-disposition: form-data; name=\"f\"; filename=\"a.zip\"\r\nContent-Type: application/zip\r\n\r\n\
        PK\r\n--a\r\n\r\n--a b--\r\nrest";

    #[test]
    fn files_are_found_however_the_body_is_cut() {
        let expected = vec![
            (PartHead::default(), b"7".to_vec(), true),
            (
                PartHead {
                    file_name: "a.zip".into(),
                    content_type: "application/zip".into(),
                },
                b"PK\r\n--a\r\n".to_vec(),
                true,
            ),
        ];
        for size in 1..BODY.len() {
            let pieces: Vec<&[u8]> = BODY.chunks(size).collect();
            assert_eq!(told(KIND, &pieces), Some(expected.clone()), "{size}");
        }
    }

    #[test]
    fn a_part_without_an_end_is_not_whole() {
        let cut = &BODY[..BODY.len() - 14];
        assert_eq!(told(KIND, &[cut]).map(|parts| parts.len()), Some(1));
        assert!(Multipart::new(b"multipart/form-data").is_none());
        assert!(Multipart::new(b"text/plain; boundary=x").is_none());
    }
}
