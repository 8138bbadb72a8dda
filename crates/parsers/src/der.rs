//! Tag, length and value of BER and DER (X.690), as far as framing and SPNEGO need it. Tolerant of
//! values that are cut short, because captures cut them.

use crate::words::reader_at;

/// One element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// The identifier byte.
    pub tag: u8,
    /// The content, as much of it as there is.
    pub content: &'a [u8],
    /// What follows the element.
    pub rest: &'a [u8],
}

/// The length of the header and of the content of the element at the front; `None` when the header
/// is not whole or its length is indefinite or over four bytes.
pub fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut reader = reader_at(bytes, 1);
    let first = reader.u8()?;
    if first < 0x80 {
        return Some((2, usize::from(first)));
    }
    let count = usize::from(first & 0x7f);
    if !(1..=4).contains(&count) {
        return None;
    }
    let length = reader
        .take(count)?
        .iter()
        .fold(0_usize, |sum, &byte| (sum << 8) | usize::from(byte));
    Some((count.saturating_add(2), length))
}

/// The element at the front.
pub fn element(bytes: &[u8]) -> Option<Element<'_>> {
    let tag = *bytes.first()?;
    let (start, length) = header(bytes)?;
    let mut reader = reader_at(bytes, start);
    let content = reader.take_up_to(length);
    Some(Element {
        tag,
        content,
        rest: reader.rest(),
    })
}

/// The content of the first element with this tag in a row of elements.
pub fn find(mut bytes: &[u8], tag: u8) -> Option<&[u8]> {
    while let Some(element) = element(bytes) {
        if element.tag == tag {
            return Some(element.content);
        }
        bytes = element.rest;
    }
    None
}

/// An unsigned integer's content, saturating.
pub fn unsigned(content: &[u8]) -> u64 {
    content.iter().fold(0_u64, |sum, &byte| {
        sum.saturating_mul(256).saturating_add(byte.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_a_row_of_elements_and_tolerates_a_cut_one() {
        let bytes = [0x02, 1, 5, 0x04, 0x81, 3, b'a', b'b'];
        assert_eq!(find(&bytes, 0x04), Some(&b"ab"[..]));
        assert_eq!(find(&bytes, 0x30), None);
        assert_eq!(header(&[0x30, 0x82, 1, 0]), Some((4, 256)));
        assert_eq!(header(&[0x30, 0x80]), None);
        assert_eq!(unsigned(&[1, 0]), 256);
    }
}
