//! The readable part of TLS 1.0 to 1.3 and SSL 3 (RFC 5246, RFC 8446, RFC 6101): record framing,
//! hellos and the certificate list. One tolerant reader of our own, because fingerprints need the
//! raw order of everything, also in hellos that a strict parser refuses. Nothing is decrypted.

mod fingerprint;
mod hello;

pub use fingerprint::{Carrier, ja3, ja4};
pub use hello::{ClientHello, ServerHello};

use crate::Reader;

/// Largest record body with the allowance of RFC 5246 section 6.2.3.
pub const RECORD_BYTES_MAX: usize = 16_384 + 2_048;

/// Record content types.
pub mod content {
    /// Change of cipher: what follows from this side is encrypted (up to TLS 1.2).
    pub const CHANGE_CIPHER: u8 = 20;
    /// Alert.
    pub const ALERT: u8 = 21;
    /// Handshake.
    pub const HANDSHAKE: u8 = 22;
    /// Application data; since TLS 1.3 also encrypted handshake messages.
    pub const DATA: u8 = 23;
}

/// A record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Content type.
    pub content: u8,
    /// Version on the record, which says little.
    pub version: u16,
    /// Length of the body in bytes.
    pub length: usize,
}

impl RecordHeader {
    /// Bytes of a header.
    pub const LENGTH: usize = 5;

    /// Reads a header; `None` when the bytes are too few or not TLS.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let header = Self {
            content: reader.u8()?,
            version: reader.u16()?,
            length: usize::from(reader.u16()?),
        };
        let sound = (20..=24).contains(&header.content)
            && (0x0300..=0x0304).contains(&header.version)
            && header.length <= RECORD_BYTES_MAX;
        sound.then_some(header)
    }
}

/// Splits the first handshake message off: type, body and what follows. When it is not whole, the
/// error is the least number of bytes that are needed, its header included.
pub fn handshake(bytes: &[u8]) -> Result<(u8, &[u8], &[u8]), usize> {
    let mut reader = Reader::new(bytes);
    let (Some(kind), Some(length)) = (reader.u8(), reader.u24()) else {
        return Err(4);
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    match reader.take(length) {
        Some(body) => Ok((kind, body, reader.rest())),
        None => Err(length.saturating_add(4)),
    }
}

/// The certificate message up to TLS 1.2: the leaf's encoding and how many certificates there are.
pub fn certificates(body: &[u8]) -> Option<(&[u8], u8)> {
    let mut reader = Reader::new(body);
    let _total = reader.u24()?;
    let mut leaf = None;
    let mut count = 0_u8;
    while let Some(length) = reader.u24() {
        let Some(certificate) = usize::try_from(length)
            .ok()
            .and_then(|len| reader.take(len))
        else {
            break;
        };
        leaf = leaf.or(Some(certificate));
        count = count.saturating_add(1);
    }
    Some((leaf?, count))
}

/// Whether a value is one of those reserved to keep servers tolerant (RFC 8701).
pub const fn is_grease(value: u16) -> bool {
    let [high, low] = value.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

/// For the mutation loop and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    let _ = RecordHeader::parse(bytes);
    let _ = certificates(bytes);
    let body = bytes.get(RecordHeader::LENGTH..).unwrap_or(bytes);
    for start in [bytes, body] {
        if let Ok((_, body, _)) = handshake(start) {
            let _ = ServerHello::parse(body);
            let _ = certificates(body);
            if let Some(hello) = ClientHello::parse(body) {
                let _ = ja3(&hello.value);
                let _ = ja4(&hello.value, Carrier::Tcp);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_headers_of_other_protocols_are_refused() {
        assert!(RecordHeader::parse(b"GET / HTTP/1.1").is_none());
        assert!(
            RecordHeader::parse(&[22, 3, 1, 0xff, 0xff]).is_none(),
            "longer than allowed"
        );
        let header = RecordHeader::parse(&[22, 3, 1, 2, 0]).unwrap();
        assert_eq!((header.content, header.length), (content::HANDSHAKE, 512));
    }

    #[test]
    fn a_cut_handshake_message_tells_how_long_it_is() {
        assert_eq!(handshake(&[1, 0, 1]), Err(4));
        assert_eq!(handshake(&[1, 0, 1, 0, 9]), Err(260));
        assert_eq!(handshake(&[14, 0, 0, 0, 7]), Ok((14, &[][..], &[7][..])));
    }

    #[test]
    fn the_first_certificate_is_the_leaf() {
        let body = [0, 0, 9, 0, 0, 2, 0xaa, 0xbb, 0, 0, 1, 0xcc];
        assert_eq!(certificates(&body), Some((&[0xaa, 0xbb][..], 2)));
        assert_eq!(certificates(&[0, 0, 0]), None);
    }
}
