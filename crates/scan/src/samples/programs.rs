//! Programs made in memory for the tests; they run nowhere.

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

/// What begins like an installer by NSIS, with the words of Inno Setup behind.
pub(crate) fn installer() -> Vec<u8> {
    let mut out = pe(b".text", b"CODE");
    out.resize(512, 0);
    out.extend_from_slice(b"\0\0\0\0\xef\xbe\xad\xdeNullsoftInst");
    out.extend_from_slice(b"Inno Setup Setup Data (6.2.0) (u)");
    out
}
