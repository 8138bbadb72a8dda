//! Compound files made in memory for the tests.

/// A compound file with these streams, in the root or one folder below it (`folder/stream`, those of one
/// folder together), none longer than the small-stream limit of zero
/// that it declares.
pub(crate) fn ole(streams: &[(&str, &[u8])]) -> Vec<u8> {
    const SECTOR: usize = 512;
    const END: u32 = 0xffff_fffe;
    const NONE: u32 = u32::MAX;
    let mut fat: Vec<u32> = vec![0xffff_fffd];
    let mut body: Vec<u8> = Vec::new();
    let mut entries: Vec<u8> = Vec::new();
    let mut entry = |name: &str, kind: u8, start: u32, size: usize, links: [u32; 3]| {
        let mut entry = [0_u8; 128];
        for (at, unit) in name.encode_utf16().enumerate() {
            entry[2 * at..2 * at + 2].copy_from_slice(&unit.to_le_bytes());
        }
        entry[64..66].copy_from_slice(&(2 * (name.len() as u16 + 1)).to_le_bytes());
        entry[66] = kind;
        for (at, link) in links.iter().enumerate() {
            entry[68 + 4 * at..72 + 4 * at].copy_from_slice(&link.to_le_bytes());
        }
        entry[116..120].copy_from_slice(&start.to_le_bytes());
        entry[120..124].copy_from_slice(&(size as u32).to_le_bytes());
        entries.extend_from_slice(&entry);
    };
    entry("Root Entry", 5, END, 0, [NONE, NONE, 1]);
    let mut number = 0;
    for (at, (path, bytes)) in streams.iter().enumerate() {
        let start = fat.len() as u32;
        let sectors = bytes.len().div_ceil(SECTOR).max(1);
        for sector in 1..=sectors as u32 {
            fat.push(if sector == sectors as u32 {
                END
            } else {
                start + sector
            });
        }
        body.extend_from_slice(bytes);
        body.resize((fat.len() - 1) * SECTOR, 0);
        let folder = |at: usize| streams.get(at)?.0.split_once('/').map(|(folder, _)| folder);
        let name = path.split_once('/').map_or(*path, |(_, name)| name);
        let in_folder = |at: &usize| folder(*at).is_some() && folder(*at) == folder(at - 1);
        if let Some(folder) = folder(at)
            && (at == 0 || !in_folder(&at))
        {
            number += 1;
            let here = (at + 1..streams.len()).take_while(in_folder).count() as u32;
            let is_last = at + here as usize + 1 == streams.len();
            let right = if is_last { NONE } else { number + here + 2 };
            entry(folder, 1, 0, 0, [NONE, right, number + 1]);
        }
        number += 1;
        let goes_on = at + 1 < streams.len() && (folder(at).is_none() || in_folder(&(at + 1)));
        let right = if goes_on { number + 1 } else { NONE };
        entry(name, 2, start, bytes.len(), [NONE, right, NONE]);
    }
    let directory = fat.len() as u32;
    entries.resize(entries.len().next_multiple_of(SECTOR), 0);
    for sector in 1..=(entries.len() / SECTOR) as u32 {
        let is_last = sector as usize == entries.len() / SECTOR;
        fat.push(if is_last { END } else { directory + sector });
    }
    assert!(
        fat.len() <= 128,
        "one sector of table is enough for a sample"
    );
    fat.resize(128, NONE);
    let mut out = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec();
    out.resize(SECTOR, 0);
    out[26..28].copy_from_slice(&3_u16.to_le_bytes());
    out[30..32].copy_from_slice(&9_u16.to_le_bytes());
    out[32..34].copy_from_slice(&6_u16.to_le_bytes());
    out[44..48].copy_from_slice(&1_u32.to_le_bytes());
    out[48..52].copy_from_slice(&directory.to_le_bytes());
    out[60..64].copy_from_slice(&END.to_le_bytes());
    out[68..72].copy_from_slice(&END.to_le_bytes());
    out[76..512].fill(0xff);
    out[76..80].copy_from_slice(&0_u32.to_le_bytes());
    for word in fat {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(&body);
    out.extend_from_slice(&entries);
    out
}

/// An Outlook message with one attachment and bodies in HTML and packed rich text.
pub(crate) fn message(name: &str, bytes: &[u8]) -> Vec<u8> {
    let wide = |text: &str| {
        text.encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect::<Vec<u8>>()
    };
    let rtf = b"\x1a\0\0\0\x1c\0\0\0LZFu\xe2\xd4KQA\0\x04 WXYZ\x0dn}\x01\x0e\xb0";
    ole(&[
        ("__properties_version1.0", &[0; 32]),
        ("__substg1.0_0037001F", &wide("Your invoice")),
        (
            "__substg1.0_10130102",
            b"<html><script>var a;</script></html>",
        ),
        ("__substg1.0_10090102", rtf),
        ("__attach_version1.0_#00000000/__substg1.0_37010102", bytes),
        (
            "__attach_version1.0_#00000000/__substg1.0_3704001F",
            &wide("RUN~1.SH"),
        ),
        (
            "__attach_version1.0_#00000000/__substg1.0_3707001F",
            &wide(name),
        ),
    ])
}

/// A module stream as Office writes it: rubbish, then the source in a container of literal tokens.
pub(crate) fn vba_module(source: &str) -> Vec<u8> {
    let source = format!("Attribute VB_Name = \"M\"\r\n{source}");
    let mut out = b"performance cache".to_vec();
    out.push(1);
    for part in source.as_bytes().chunks(3000) {
        let mut tokens = Vec::new();
        for group in part.chunks(8) {
            tokens.push(0);
            tokens.extend_from_slice(group);
        }
        let header = 0xb000 | (tokens.len() as u16 - 1);
        out.extend_from_slice(&header.to_le_bytes());
        out.extend_from_slice(&tokens);
    }
    out
}

/// A stream with a packaged object.
pub(crate) fn packaged(label: &str, object: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 4];
    out.extend_from_slice(&[2, 0]);
    out.extend_from_slice(label.as_bytes());
    out.extend_from_slice(b"\0C:\\x\0\0\0\x03\0\x02\0\0\0x\0");
    out.extend_from_slice(&(object.len() as u32).to_le_bytes());
    out.extend_from_slice(object);
    out
}
