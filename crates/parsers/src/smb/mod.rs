//! SMB 1 (MS-CIFS, MS-SMB) and SMB 2 and 3 (MS-SMB2): frames, headers, and the commands that name
//! shares, files and accounts. Contents of files are never looked at, so a caller may hand over the
//! front of a message only and skip the rest.

pub mod v1;
pub mod v2;

use crate::reader::Reader;

/// Longest path or share name kept, in UTF-16 units.
pub const PATH_UNITS_MAX: usize = 512;
/// Bytes of the frame header (RFC 1002, 4.3.1; MS-SMB2 2.1).
pub const FRAME_HEADER_LEN: usize = 4;

/// What stands at the front of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// SMB 1.
    V1,
    /// SMB 2 or 3.
    V2,
    /// SMB 3, encrypted: nothing can be read.
    Encrypted,
    /// SMB 3.1.1, compressed: not read.
    Compressed,
}

/// The kind by the protocol identifier; `None` when it is no SMB.
pub fn flavor(bytes: &[u8]) -> Option<Flavor> {
    match bytes.get(..4)? {
        b"\xffSMB" => Some(Flavor::V1),
        b"\xfeSMB" => Some(Flavor::V2),
        b"\xfdSMB" => Some(Flavor::Encrypted),
        b"\xfcSMB" => Some(Flavor::Compressed),
        _ => None,
    }
}

/// The frame at the front: its type (0 for a message, other values are NetBIOS session set-up) and
/// the bytes that follow; `None` when the header is not whole.
pub fn frame(bytes: &[u8]) -> Option<(u8, usize)> {
    let mut reader = Reader::new(bytes);
    let kind = reader.u8()?;
    let length = reader.u24()?;
    Some((kind, usize::try_from(length).ok()?))
}

/// Whether a frame may begin here: a session message with an SMB identifier, or a NetBIOS session
/// request or answer.
pub fn looks_like_frame(bytes: &[u8]) -> Option<bool> {
    let (kind, length) = frame(bytes)?;
    match kind {
        0 => {
            let start = bytes.get(FRAME_HEADER_LEN..)?;
            if start.len() < 4 {
                return None;
            }
            Some(length >= 32 && flavor(start).is_some())
        }
        0x81 => Some(length == 68),
        0x82 => Some(length == 0),
        0x83 => Some(length == 1),
        _ => Some(false),
    }
}

/// Where the next frame begins after bytes were lost: the offset of a frame header in `bytes`.
pub fn resync(bytes: &[u8]) -> Option<usize> {
    let marker = bytes
        .windows(8)
        .position(|window| matches!(window, [0, _, _, _, 0xfc..=0xff, b'S', b'M', b'B']))?;
    Some(marker)
}

/// Whether the sizes in a compression header add up to more than its fields can hold (MS-SMB2
/// 2.2.42.1): no sender that has compressed anything writes such.
pub fn compression_overflows(frame: &[u8]) -> bool {
    let mut header = crate::reader::Reader::new(frame);
    let sizes = (|| {
        header.skip(4)?;
        let original = header.u32_le()?;
        header.skip(2)?;
        let chained = header.u16_le()? != 0;
        Some((original, chained, header.u32_le()?))
    })();
    sizes.is_some_and(|(original, chained, offset)| {
        !chained && original.checked_add(offset).is_none()
    })
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    let framed = frame(bytes).is_some() && looks_like_frame(bytes) == Some(true);
    let message = if framed {
        bytes.get(FRAME_HEADER_LEN..).unwrap_or_default()
    } else {
        bytes
    };
    match flavor(message) {
        Some(Flavor::V1) => v1::fuzz(message),
        Some(Flavor::V2) => v2::fuzz(message),
        _ => {}
    }
    if let Some(at) = resync(bytes) {
        debug_assert!(at < bytes.len(), "a frame begins inside the bytes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_told_from_chance_bytes() {
        assert_eq!(looks_like_frame(b"\0\0\0\x40\xfeSMB"), Some(true));
        assert_eq!(looks_like_frame(b"\0\0\0\x40GET "), Some(false));
        assert_eq!(looks_like_frame(b"\0\0\0\x40\xfe"), None);
        assert_eq!(looks_like_frame(b"\x81\0\0\x44"), Some(true));
    }

    #[test]
    fn the_next_frame_is_found_after_a_hole() {
        assert_eq!(resync(b"xxxx\0\0\0\x40\xfeSMBrest"), Some(4));
        assert_eq!(resync(b"xxxx"), None);
    }
}
