//! The one place with raw decompressors: gzip (RFC 1952), Zstandard (RFC 8878) and bzip2 streams,
//! recognised by their first bytes. Readers stream, so memory is bounded by the formats' windows
//! (Zstandard's is capped); the caller bounds how much it takes. Concatenated members are one stream.

use std::io::Read;

/// How a stream of bytes is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
    /// bzip2.
    Bzip2,
}

/// Largest Zstandard window accepted, as a power of two: 128 MiB, what `zstd --ultra` needs at most
/// without `--long`.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

impl Compression {
    /// Recognises a compressed stream by its first bytes.
    pub fn sniff(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, ..] => Self::Bzip2,
            _ => Self::None,
        }
    }

    /// Lower-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
        }
    }
}

/// The plain bytes of `reader`.
///
/// # Errors
/// When the decoder cannot be set up; broken data shows as errors of the returned reader.
pub fn decompress<'a>(
    compression: Compression,
    reader: impl Read + Send + 'a,
) -> std::io::Result<Box<dyn Read + Send + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(reader),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(reader)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(reader)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
        Compression::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(reader)),
    })
}

/// The plain bytes of a zlib stream (RFC 1950), which says nothing at its start to be recognised by.
pub fn inflate<'a>(reader: impl Read + Send + 'a) -> Box<dyn Read + Send + 'a> {
    Box::new(flate2::read::ZlibDecoder::new(reader))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn plain(packed: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        decompress(Compression::sniff(packed), packed)
            .unwrap()
            .read_to_end(&mut out)
            .unwrap();
        out
    }

    #[test]
    fn every_format_reads_back_also_as_two_members() {
        let text = b"#separator \\x09\n".repeat(100);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let gzip = gzip.finish().unwrap();
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(&text).unwrap();
        let bzip2 = bzip2.finish().unwrap();
        let zstd = zstd::encode_all(text.as_slice(), 1).unwrap();
        for packed in [gzip, bzip2, zstd] {
            assert_ne!(Compression::sniff(&packed), Compression::None);
            assert_eq!(plain(&packed), text);
            assert_eq!(plain(&[packed.clone(), packed].concat()), text.repeat(2));
        }
        assert_eq!(plain(&text), text);
    }

    #[test]
    fn a_zlib_stream_reads_back() {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(b"plain plain plain").unwrap();
        let packed = zlib.finish().unwrap();
        let mut out = Vec::new();
        inflate(packed.as_slice()).read_to_end(&mut out).unwrap();
        assert_eq!(out, b"plain plain plain");
    }
}
