//! RTP (RFC 3550, payload types RFC 3551). There is no mark: only shapes that chance hardly makes are
//! taken for it, so that much media goes unnamed.

use crate::Reader;

const HEADER_LEN: usize = 12;

/// A packet's plain header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Payload type.
    pub payload: u8,
    /// The source.
    pub source: u32,
    /// Bytes that follow.
    pub bytes: usize,
}

/// Reads the header of version 2 without padding, extension and contributors, as telephones send it.
pub fn header(bytes: &[u8]) -> Option<Header> {
    let mut reader = Reader::new(bytes);
    let [first, second] = reader.array()?;
    reader.skip(6)?;
    let source = reader.u32()?;
    let payload = second & 0x7f;
    // 72 to 76 would be the control protocol's types.
    let known = matches!(payload, 0 | 3..=18 | 96..=127);
    (first == 0x80 && known && source != 0 && !reader.is_empty()).then_some(Header {
        payload,
        source,
        bytes: bytes.len().saturating_sub(HEADER_LEN),
    })
}

/// Whether the payload has the exact length that its fixed codec gives to 10 to 60 ms of sound.
pub fn has_codec_length(header: &Header) -> bool {
    let frames = |frame: usize, most: usize| {
        (1..=most).any(|count| header.bytes == frame.saturating_mul(count))
    };
    match header.payload {
        0 | 8 | 9 => frames(80, 6),
        3 => frames(33, 3),
        18 => frames(10, 6),
        _ => false,
    }
}

/// Whether two first packets, one of each side, are one call: the same codec and length.
pub fn is_pair(one: &Header, other: &Header) -> bool {
    one.payload == other.payload && one.bytes == other.bytes && one.source != other.source
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    if let Some(found) = header(bytes) {
        debug_assert!(!is_pair(&found, &found), "a side is no pair");
        debug_assert!(!has_codec_length(&found) || found.bytes <= 480);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_telephone_packet_has_its_codecs_length() {
        let mut packet = vec![0x80, 0, 0, 1, 0, 0, 0, 1, 9, 9, 9, 9];
        packet.extend([0xff; 160]);
        assert!(header(&packet).is_some_and(|found| has_codec_length(&found)));
        packet.push(0);
        assert!(header(&packet).is_some_and(|found| !has_codec_length(&found)));
        packet[0] = 0x40;
        assert_eq!(header(&packet), None);
    }
}
