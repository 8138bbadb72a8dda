//! Types with magic bytes or a structure that shows.

use memchr::memmem;
use thymus_parsers::Compression;

use super::{PeFile, add, le16, le32};
use crate::FileType;

/// PDF readers accept the header this far into the file (ISO 32000-1, annex H.3.4.1).
const PDF_HEAD: usize = 1024;
/// The end record of a zip archive and its longest comment.
const ZIP_TAIL: usize = 22 + 65_535;

/// Adds what the bytes show.
pub(super) fn find(bytes: &[u8], found: &mut Vec<FileType>) {
    if let Some(kind) = first(bytes) {
        found.push(kind);
    }
    match found.first() {
        Some(FileType::Deb) => found.push(FileType::Ar),
        Some(FileType::Msi) => found.push(FileType::Ole),
        _ => {}
    }
    if is_rtf(bytes) {
        add(found, FileType::Rtf);
    }
    let head = bytes.get(..PDF_HEAD).unwrap_or(bytes);
    if memmem::find(head, b"%PDF-").is_some() {
        add(found, FileType::Pdf);
    }
    if is_tar(bytes) {
        add(found, FileType::Tar);
    }
    if bytes.get(0x8001..0x8006) == Some(b"CD001") {
        add(found, FileType::Iso);
    }
    if is_zip(bytes) {
        let kind = if is_office(bytes) {
            FileType::Ooxml
        } else {
            FileType::Zip
        };
        add(found, kind);
    }
}

fn first(bytes: &[u8]) -> Option<FileType> {
    const EXACT: &[(&[u8], FileType)] = &[
        (b"7z\xbc\xaf\x27\x1c", FileType::SevenZip),
        (b"Rar!\x1a\x07", FileType::Rar),
        (b"\xfd7zXZ\0", FileType::Xz),
        (b"MSCF\0\0\0\0", FileType::Cab),
        (b"!<arch>\ndebian-binary", FileType::Deb),
        (b"!<arch>\n", FileType::Ar),
        (b"\xed\xab\xee\xdb", FileType::Rpm),
        (b"070701", FileType::Cpio),
        (b"070702", FileType::Cpio),
        (b"070707", FileType::Cpio),
        (b"L\0\0\0\x01\x14\x02\0", FileType::Lnk),
        (b"dex\n", FileType::Dex),
        (b"\0asm\x01\0\0\0", FileType::Wasm),
        (b"GIF87a", FileType::Image),
        (b"GIF89a", FileType::Image),
        (b"\x89PNG\r\n\x1a\n", FileType::Image),
        (b"\xff\xd8\xff", FileType::Image),
        (b"II*\0", FileType::Image),
        (b"MM\0*", FileType::Image),
        (b"OggS", FileType::Media),
        (b"ID3", FileType::Media),
        (b"fLaC", FileType::Media),
        (b"\x1aE\xdf\xa3", FileType::Media),
        (b"wOFF", FileType::Font),
        (b"wOF2", FileType::Font),
        (b"OTTO\0", FileType::Font),
        (b"\0\x01\0\0\0", FileType::Font),
        (b"FWS", FileType::Swf),
        (b"CWS", FileType::Swf),
        (b"ZWS", FileType::Swf),
    ];
    program_type(bytes)
        .or_else(|| compound(bytes))
        .or_else(|| match Compression::sniff(bytes) {
            Compression::Gzip => Some(FileType::Gzip),
            Compression::Zstd => Some(FileType::Zstd),
            Compression::Bzip2 => Some(FileType::Bzip2),
            Compression::None => None,
        })
        .or_else(|| {
            let hit = EXACT.iter().find(|(magic, _)| bytes.starts_with(magic));
            hit.map(|(_, kind)| *kind)
        })
        .or_else(|| compiled_python(bytes))
        .or_else(|| riff(bytes))
}

fn program_type(bytes: &[u8]) -> Option<FileType> {
    match bytes {
        // Class, byte order and version must make sense, or it is a file that only begins like one.
        [0x7f, b'E', b'L', b'F', 1 | 2, order @ (1 | 2), 1, rest @ ..] => {
            let relocatable = if *order == 1 { [1, 0] } else { [0, 1] };
            let is_object = rest.get(9..11) == Some(&relocatable);
            Some(if is_object {
                FileType::ElfObject
            } else {
                FileType::Elf
            })
        }
        [b'M', b'Z', ..] if PeFile::read(bytes).is_some() => Some(FileType::Pe),
        [b'M', b'Z', ..] if is_dos(bytes) => Some(FileType::Dos),
        [0xfe, 0xed, 0xfa, 0xce | 0xcf, ..] | [0xce | 0xcf, 0xfa, 0xed, 0xfe, ..] => {
            Some(FileType::MachO)
        }
        // A fat binary counts architectures where a Java class has its version, which began at 45.
        [0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 1..=44, ..] => Some(FileType::MachO),
        [0xca, 0xfe, 0xba, 0xbe, ..] if bytes.len() > 8 => Some(FileType::Class),
        _ => None,
    }
}

/// The header fits into the file and says how long the last of its 512-byte pages is.
fn is_dos(bytes: &[u8]) -> bool {
    let (Some(last), Some(pages), Some(paragraphs)) =
        (le16(bytes, 2), le16(bytes, 4), le16(bytes, 8))
    else {
        return false;
    };
    let header = usize::from(paragraphs) * 16;
    last < 512 && pages > 0 && header >= 28 && header <= bytes.len()
}

/// A compound file; an installer has its own class id in the root entry (MS-CFB 2.6.1).
fn compound(bytes: &[u8]) -> Option<FileType> {
    const INSTALLER: &[u8] = b"\x84\x10\x0c\0\0\0\0\0\xc0\0\0\0\0\0\0\x46";
    if !bytes.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") {
        return None;
    }
    let root = || {
        let shift = u32::from(le16(bytes, 30)?).min(16);
        let sector = usize::try_from(le32(bytes, 48)?).ok()?;
        let at = sector.checked_add(1)?.checked_shl(shift)?;
        bytes.get(at.checked_add(80)?..at.checked_add(96)?)
    };
    Some(if root() == Some(INSTALLER) {
        FileType::Msi
    } else {
        FileType::Ole
    })
}

/// A version from 2.7 to 3.19, a flag word without unknown flags (PEP 552), then a code object.
fn compiled_python(bytes: &[u8]) -> Option<FileType> {
    let version = match bytes.first_chunk::<4>()? {
        [low, high, b'\r', b'\n'] => u16::from_le_bytes([*low, *high]),
        _ => return None,
    };
    let is_code = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0x7f == b'c');
    let is_old = version == 62_211 && is_code(8);
    let is_new = (3000..4000).contains(&version)
        && (is_code(8) || is_code(12) || (is_code(16) && le32(bytes, 4)? < 4));
    (is_old || is_new).then_some(FileType::Pyc)
}

fn riff(bytes: &[u8]) -> Option<FileType> {
    match bytes {
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => Some(FileType::Image),
        [b'R', b'I', b'F', b'F', ..] | [_, _, _, _, b'f', b't', b'y', b'p', ..] => {
            Some(FileType::Media)
        }
        [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] | [0, 0, 1, 0, 1..=63, 0, ..] => {
            Some(FileType::Image)
        }
        _ => None,
    }
}

/// Word takes `{\rt` for RTF, whatever follows, also behind blanks.
fn is_rtf(bytes: &[u8]) -> bool {
    let head = bytes.get(..64).unwrap_or(bytes);
    head.trim_ascii_start().starts_with(b"{\\rt")
}

/// A first header whose checksum is right (POSIX pax, also the older forms without `ustar`).
fn is_tar(bytes: &[u8]) -> bool {
    let Some(header) = bytes.get(..512) else {
        return false;
    };
    let Some(field) = header.get(148..156) else {
        return false;
    };
    let digits: Vec<u8> = field
        .iter()
        .copied()
        .skip_while(|byte| *byte == b' ')
        .take_while(|byte| (b'0'..=b'7').contains(byte))
        .collect();
    if digits.is_empty() || header.first() == Some(&0) {
        return false;
    }
    let said = digits
        .iter()
        .fold(0_u32, |sum, digit| sum * 8 + u32::from(digit - b'0'));
    let counted: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    let own: u32 = field.iter().map(|byte| u32::from(*byte)).sum();
    said == counted - own + 8 * u32::from(b' ')
}

/// It begins with a local header, or an end record near the end points back at a directory.
fn is_zip(bytes: &[u8]) -> bool {
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return true;
    }
    let from = bytes.len().saturating_sub(ZIP_TAIL);
    let tail = bytes.get(from..).unwrap_or(bytes);
    memmem::rfind_iter(tail, b"PK\x05\x06").take(64).any(|at| {
        let directory = || {
            let size = usize::try_from(le32(tail, at + 12)?).ok()?;
            let start = (from + at).checked_sub(size)?;
            let wide = bytes.get(..from + at)?.ends_with(&[0; 8]);
            let is_there = bytes.get(start..)?.starts_with(b"PK\x01\x02");
            // A 64-bit archive puts two more records between directory and end.
            Some(is_there || (size == u32::MAX as usize && wide))
        };
        directory().unwrap_or(false)
    })
}

/// Whether a zip archive is an Office document: its directory, at the end, names the content types and
/// one of the three main parts.
fn is_office(bytes: &[u8]) -> bool {
    const TAIL: usize = 1 << 20;
    let tail = bytes.len().saturating_sub(TAIL);
    let tail = bytes.get(tail..).unwrap_or(bytes);
    let has = |needle: &[u8]| memmem::find(tail, needle).is_some();
    has(b"[Content_Types].xml") && [b"word/", b"xl/wo", b"ppt/p"].iter().any(|part| has(*part))
}
