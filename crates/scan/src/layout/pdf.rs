//! Objects of PDF documents (ISO 32000-1), found by their words, as `crates/scan/src/unpack/pdf.rs` does
//! and for the same reason: the cross-reference table may lie.

use memchr::memmem;

use super::{Layout, PLACES_MAX};

/// Digits of an object's number and generation.
const DIGITS_MAX: usize = 10;
/// How far the end of a table or trailer is looked for.
const TABLE_BYTES_MAX: usize = 1 << 20;

pub(super) fn places(bytes: &[u8], layout: &mut Layout) {
    let mut end_of_last = 0;
    for at in memmem::find_iter(bytes, b" obj").take(PLACES_MAX) {
        if at < end_of_last {
            continue;
        }
        let Some((start, number)) = head(bytes, at) else {
            continue;
        };
        let rest = bytes.get(at..).unwrap_or_default();
        let length = memmem::find(rest, b"endobj").map_or(rest.len(), |end| end + b"endobj".len());
        end_of_last = at + length;
        let body = rest.get(..length).unwrap_or(rest);
        let stream = memmem::find(body, b"stream").unwrap_or(length);
        let head = (at - start + stream) as u64;
        layout.add(start as u64, head, &format!("object {number}"));
        let stream = (length - stream) as u64;
        let name = format!("stream of object {number}");
        layout.add(start as u64 + head, stream, &name);
    }
    let first = layout
        .places
        .first()
        .map_or(bytes.len() as u64, |p| p.0.start);
    layout.add(0, first, "before the first object");
    for (word, name) in [
        (&b"\nxref"[..], "cross-references"),
        (b"trailer", "trailer"),
    ] {
        for at in memmem::find_iter(bytes, word).take(64) {
            if layout.is_named(at as u64 + 1) {
                continue;
            }
            let rest = bytes.get(at..).unwrap_or_default();
            let rest = rest.get(..TABLE_BYTES_MAX).unwrap_or(rest);
            let ends = [&b"trailer"[..], b"startxref"]
                .into_iter()
                .filter(|end| *end != word);
            let length = ends.filter_map(|end| memmem::find(rest, end)).min();
            layout.add(at as u64, length.unwrap_or(rest.len()) as u64, name);
        }
    }
}

/// Where `12 0 obj` begins whose last word is at `at`, and the number.
fn head(bytes: &[u8], at: usize) -> Option<(usize, u32)> {
    let window = at.saturating_sub(2 * DIGITS_MAX + 2);
    let front = bytes.get(window..at)?;
    let digits = |text: &[u8]| text.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let generation = digits(front);
    let front = front.get(..front.len() - generation)?;
    let spaces = front
        .iter()
        .rev()
        .take_while(|b| b.is_ascii_whitespace())
        .count();
    let front = front.get(..front.len() - spaces)?;
    let length = digits(front);
    if generation == 0 || spaces == 0 || length == 0 || length > DIGITS_MAX {
        return None;
    }
    let start = front.len() - length;
    let number = std::str::from_utf8(front.get(start..)?)
        .ok()?
        .parse()
        .ok()?;
    Some((window + start, number))
}
