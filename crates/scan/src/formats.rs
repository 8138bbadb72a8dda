//! Every format this crate reads, in one visible slice. The mutation test, the fuzz targets and the
//! case folders are checked against it.

use crate::unpack::{self, upx, vba};
use crate::{FileType, identify, layout, signature};

/// A format's registration.
#[derive(Clone, Copy)]
pub struct Format {
    /// Its name: also that of its case folder and its fuzz target.
    pub name: &'static str,
    /// Runs the reader over hostile bytes and throws the result away. Must return, whatever comes.
    pub fuzz: fn(&[u8]),
}

const fn format(name: &'static str, fuzz: fn(&[u8])) -> Format {
    Format { name, fuzz }
}

/// All formats, in alphabetical order: one line each.
pub const FORMATS: &[Format] = &[
    format("ar", |bytes| unpack::fuzz(FileType::Ar, bytes)),
    format("cab", unpack::cab::fuzz),
    format("cpio", |bytes| unpack::fuzz(FileType::Cpio, bytes)),
    format("eml", |bytes| unpack::fuzz(FileType::Eml, bytes)),
    format("html", |bytes| unpack::fuzz(FileType::Html, bytes)),
    format("identify", identify::fuzz),
    format("iso", iso),
    format("layout", layout::fuzz),
    format("ole", |bytes| unpack::fuzz(FileType::Ole, bytes)),
    format("pdf", |bytes| unpack::fuzz(FileType::Pdf, bytes)),
    format("program", |bytes| unpack::fuzz(FileType::Pe, bytes)),
    format("rpm", |bytes| unpack::fuzz(FileType::Rpm, bytes)),
    format("seven_zip", |bytes| {
        unpack::fuzz(FileType::SevenZip, bytes);
    }),
    format("signature", signature::fuzz),
    format("stream", stream),
    format("tar", |bytes| unpack::fuzz(FileType::Tar, bytes)),
    format("upx", upx::fuzz),
    format("vba", |bytes| drop(vba::source(bytes))),
    format("zip", |bytes| unpack::fuzz(FileType::Zip, bytes)),
];

/// What counts begins behind the sixteen sectors that are the system's.
fn iso(bytes: &[u8]) {
    let mut image = vec![0; 16 * 2048];
    image.extend_from_slice(bytes);
    unpack::fuzz(FileType::Iso, &image);
}

fn stream(bytes: &[u8]) {
    const KINDS: [FileType; 4] = [
        FileType::Gzip,
        FileType::Xz,
        FileType::Zstd,
        FileType::Bzip2,
    ];
    for kind in identify::identify(bytes, "") {
        if KINDS.contains(&kind) {
            unpack::fuzz(kind, bytes);
        }
    }
}

/// Runs one format's reader over hostile bytes; what the fuzz targets call.
///
/// # Panics
/// When no format has this name.
#[expect(
    clippy::panic,
    reason = "a fuzz target that names no reader must not pass"
)]
pub fn fuzz_format(name: &str, bytes: &[u8]) {
    let Some(format) = FORMATS.iter().find(|format| format.name == name) else {
        panic!("no format is called {name}");
    };
    (format.fuzz)(bytes);
}
