//! Programs made in memory for the tests; they run nowhere.

use std::io::Write;

/// An ELF file of 64 bits with one section of this name, another for the names, and no segments.
pub(crate) fn elf(name: &[u8], content: &[u8]) -> Vec<u8> {
    let names = [b"\0", name, b"\0"].concat();
    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out.resize(64, 0);
    let content_at = out.len();
    out.extend_from_slice(content);
    let names_at = out.len();
    out.extend_from_slice(&names);
    let table = out.len();
    for (name, kind, at, size) in [
        (0, 0, 0, 0),
        (1, 1, content_at, content.len()),
        (0, 3, names_at, names.len()),
    ] {
        let mut header = [0; 64];
        header[..4].copy_from_slice(&u32::to_le_bytes(name));
        header[4..8].copy_from_slice(&u32::to_le_bytes(kind));
        header[24..32].copy_from_slice(&(at as u64).to_le_bytes());
        header[32..40].copy_from_slice(&(size as u64).to_le_bytes());
        out.extend_from_slice(&header);
    }
    out[16..20].copy_from_slice(b"\x02\0\x3e\0");
    out[40..48].copy_from_slice(&(table as u64).to_le_bytes());
    for (at, number) in [(52, 64_u16), (58, 64), (60, 3), (62, 2)] {
        out[at..at + 2].copy_from_slice(&number.to_le_bytes());
    }
    out
}

/// A Portable Executable with one section.
pub(crate) fn pe(name: &[u8], content: &[u8]) -> Vec<u8> {
    let mut out = b"MZ".to_vec();
    out.resize(64, 0);
    out[60] = 64;
    out.extend_from_slice(b"PE\0\0\x64\x86\x01\0");
    out.resize(64 + 24, 0);
    let mut header = [0; 40];
    header[..name.len()].copy_from_slice(name);
    header[16..20].copy_from_slice(&(content.len() as u32).to_le_bytes());
    header[20..24].copy_from_slice(&128_u32.to_le_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(content);
    out
}

/// What begins like an installer by NSIS of a form that is not read, with the words of Inno Setup behind.
pub(crate) fn installer() -> Vec<u8> {
    nsis(&[b"\x10\0\0\0", &b"Inno Setup Setup Data (6.2.0) (u)"[..]].concat())
}

/// An installer by NSIS with this data.
pub(crate) fn nsis(data: &[u8]) -> Vec<u8> {
    let mut out = pe(b".text", b"CODE");
    out.resize(512, 0);
    out.extend_from_slice(b"\0\0\0\0\xef\xbe\xad\xdeNullsoftInst\x06\0\0\0");
    out.extend_from_slice(&(data.len() as u32 + 32).to_le_bytes());
    out.extend_from_slice(data);
    out.extend_from_slice(b"crc!");
    out
}

/// The data of an installer by NSIS in one stream: a script of six bytes and these files.
pub(crate) fn nsis_stream(files: &[&[u8]]) -> Vec<u8> {
    let mut content = Vec::new();
    for part in std::iter::once(&&b"script"[..]).chain(files) {
        content.extend_from_slice(&(part.len() as u32).to_le_bytes());
        content.extend_from_slice(part);
    }
    raw_lzma(&content)
}

/// The data of an installer by NSIS that packs each file alone, the last one not at all.
pub(crate) fn nsis_files(packed: &[u8], stored: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in [raw_lzma(b"script"), raw_lzma(packed)] {
        out.extend_from_slice(&(part.len() as u32 | 1 << 31).to_le_bytes());
        out.extend_from_slice(&part);
    }
    out.extend_from_slice(&(stored.len() as u32).to_le_bytes());
    out.extend_from_slice(stored);
    out
}

/// Five bytes of properties, then LZMA with a mark at its end.
fn raw_lzma(content: &[u8]) -> Vec<u8> {
    let mut options = lzma_rust2::LzmaOptions::with_preset(1);
    options.dict_size = 1 << 16;
    let mut head = vec![0x5d];
    head.extend_from_slice(&options.dict_size.to_le_bytes());
    let mut writer = lzma_rust2::LzmaWriter::new_no_header(head, &options, true).unwrap();
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}
