//! VBA source in Office documents (MS-OVBA): the compressed containers of module streams.

use memchr::memmem;

/// Longest source taken from one stream.
const SOURCE_BYTES_MAX: usize = 8 << 20;

/// The source of the module in `stream`. A module's source begins with `Attribute`, so its container
/// shows: a signature byte, a chunk header, a flag byte and then that word, all literal. That is found
/// without the project's directory, which a hostile document may bend.
pub(crate) fn source(stream: &[u8]) -> Option<Vec<u8>> {
    const START: &[u8] = b"\0Attribut";
    memmem::find_iter(stream, START).find_map(|at| {
        let container = stream.get(at.checked_sub(3)?..)?;
        (container.first() == Some(&1)).then(|| decompress(container))?
    })
}

/// Decompresses a container (MS-OVBA 2.4.1): as much as is sound, none when nothing is.
pub(crate) fn decompress(container: &[u8]) -> Option<Vec<u8>> {
    let mut rest = container.strip_prefix(&[1])?;
    let mut out = Vec::new();
    while let Some((header, after)) = rest.split_first_chunk::<2>() {
        let header = u16::from_le_bytes(*header);
        // Bits 12 to 14 are 0b011 in every chunk.
        if header & 0x7000 != 0x3000 || out.len() > SOURCE_BYTES_MAX {
            break;
        }
        let length = usize::from(header & 0x0fff) + 1;
        let body = after.get(..length).unwrap_or(after);
        if header & 0x8000 == 0 {
            out.extend_from_slice(body);
        } else if !chunk(body, &mut out) {
            break;
        }
        rest = after.get(length..).unwrap_or_default();
    }
    (!out.is_empty()).then_some(out)
}

/// One chunk of at most 4,096 bytes: groups of eight tokens, each a literal byte or a copy.
fn chunk(body: &[u8], out: &mut Vec<u8>) -> bool {
    const CHUNK: usize = 4096;
    let start = out.len();
    let mut rest = body;
    while let Some((flags, after)) = rest.split_first() {
        rest = after;
        for bit in 0..8 {
            if flags >> bit & 1 == 0 {
                let Some((byte, after)) = rest.split_first() else {
                    return true;
                };
                out.push(*byte);
                rest = after;
                continue;
            }
            let Some((token, after)) = rest.split_first_chunk::<2>() else {
                return true;
            };
            rest = after;
            let token = usize::from(u16::from_le_bytes(*token));
            let done = out.len() - start;
            // The farther into the chunk, the more bits tell how far back: at least 4, at most 12.
            let bits = (4..12).find(|bits| 1_usize << bits >= done).unwrap_or(12);
            let length = (token & (0xffff >> bits)) + 3;
            let back = (token >> (16 - bits)) + 1;
            if back > done || done + length > CHUNK {
                return false;
            }
            for _ in 0..length {
                let at = out.len() - back;
                let byte = out.get(at).copied().unwrap_or_default();
                out.push(byte);
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of MS-OVBA 3.2.
    #[test]
    fn the_examples_of_the_specification_decompress() {
        let plain: &[u8] = b"\x01\x19\xb0\0abcdefgh\0ijklmnop\0qrstuv.";
        assert_eq!(decompress(plain).unwrap(), b"abcdefghijklmnopqrstuv.");
        let normal: &[u8] = &[
            0x01, 0x2f, 0xb0, 0x00, 0x23, 0x61, 0x61, 0x61, 0x62, 0x63, 0x64, 0x65, 0x82, 0x66,
            0x00, 0x70, 0x61, 0x67, 0x68, 0x69, 0x6a, 0x01, 0x38, 0x08, 0x61, 0x6b, 0x6c, 0x00,
            0x30, 0x6d, 0x6e, 0x6f, 0x70, 0x06, 0x71, 0x02, 0x70, 0x04, 0x10, 0x72, 0x73, 0x74,
            0x75, 0x76, 0x10, 0x77, 0x78, 0x79, 0x7a, 0x00, 0x3c,
        ];
        assert_eq!(
            decompress(normal).unwrap(),
            b"#aaabcdefaaaaghijaaaaaklaaamnopqaaaaaaaaaaaarstuvwxyzaaa"
        );
        let most: &[u8] = b"\x01\x03\xb0\x02\x61\x45\0";
        assert_eq!(decompress(most).unwrap(), vec![b'a'; 73]);
    }

    #[test]
    fn a_copy_from_before_the_chunk_ends_it() {
        assert_eq!(
            decompress(b"\x01\x03\xb0\x02a\0\xff").as_deref(),
            Some(&b"a"[..])
        );
        assert_eq!(decompress(b""), None);
        assert_eq!(decompress(b"\x01\x00\x00"), None);
    }
}
