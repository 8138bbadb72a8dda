//! The file format of a snapshot.
//!
//! ```text
//! magic "THYMUS\0S" · format version u32 · table length u32 · digest of the table, 32 bytes
//! table: per section: name length u32 · name · data length u64 · digest of name and data, 32 bytes
//! the data of the sections, in the order of the table
//! ```
//! Integers are little-endian, digests are BLAKE3. Nothing is believed before its digest is checked,
//! and no length is allocated that the file does not have.

use std::collections::BTreeMap;

const MAGIC: &[u8; 8] = b"THYMUS\0S";
const FORMAT: u32 = 1;
const DIGEST: usize = 32;
const HEAD: usize = 8 + 4 + 4 + DIGEST;

/// What could be read of a snapshot file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// Sections whose digest is right.
    pub(crate) sections: BTreeMap<String, Vec<u8>>,
    /// Names of sections whose digest is wrong.
    pub(crate) damaged: Vec<String>,
}

/// The bytes of a snapshot.
pub(crate) fn encode(sections: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut table = Vec::new();
    for (name, data) in sections {
        table.extend_from_slice(&u32::try_from(name.len()).unwrap_or(u32::MAX).to_le_bytes());
        table.extend_from_slice(name.as_bytes());
        table.extend_from_slice(&(data.len() as u64).to_le_bytes());
        table.extend_from_slice(&digest(&[name.as_bytes(), data]));
    }
    let mut out = Vec::with_capacity(HEAD + table.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&FORMAT.to_le_bytes());
    out.extend_from_slice(&u32::try_from(table.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&digest(&[&table]));
    out.extend_from_slice(&table);
    for data in sections.values() {
        out.extend_from_slice(data);
    }
    out
}

/// Reads a snapshot; an error says why nothing of it can be used.
pub(crate) fn decode(bytes: &[u8]) -> Result<Decoded, &'static str> {
    let (head, rest) = bytes.split_at_checked(HEAD).ok_or("it is cut short")?;
    let mut head = Cursor(head);
    if head.take(8) != Some(MAGIC.as_slice()) {
        return Err("it is not a snapshot");
    }
    if head.u32() != Some(FORMAT) {
        return Err("it was written by another version");
    }
    let table_len = head.u32().ok_or("it is cut short")? as usize;
    let (table, data) = rest.split_at_checked(table_len).ok_or("it is cut short")?;
    if head.take(DIGEST) != Some(digest(&[table]).as_slice()) {
        return Err("its table is damaged");
    }
    let (mut table, mut data) = (Cursor(table), Cursor(data));
    let mut decoded = Decoded::default();
    while !table.0.is_empty() {
        let entry = table.entry().ok_or("its table is damaged")?;
        let content = data.take(entry.len);
        let is_whole = content.is_some_and(|c| digest(&[entry.name.as_bytes(), c]) == entry.digest);
        match content.filter(|_| is_whole) {
            Some(content) => {
                decoded
                    .sections
                    .insert(entry.name.to_owned(), content.to_vec());
            }
            None => decoded.damaged.push(entry.name.to_owned()),
        }
    }
    Ok(decoded)
}

struct Entry<'a> {
    name: &'a str,
    len: usize,
    digest: &'a [u8],
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)
            .and_then(|b| b.try_into().ok())
            .map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)
            .and_then(|b| b.try_into().ok())
            .map(u64::from_le_bytes)
    }

    fn entry(&mut self) -> Option<Entry<'a>> {
        let name_len = self.u32()? as usize;
        let name = std::str::from_utf8(self.take(name_len)?).ok()?;
        let len = usize::try_from(self.u64()?).ok()?;
        Some(Entry {
            name,
            len,
            digest: self.take(DIGEST)?,
        })
    }
}

fn digest(parts: &[&[u8]]) -> [u8; DIGEST] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections() -> BTreeMap<String, Vec<u8>> {
        [
            ("a", b"first".to_vec()),
            ("b", Vec::new()),
            ("c", vec![7; 300]),
        ]
        .map(|(name, data)| (name.to_owned(), data))
        .into()
    }

    #[test]
    fn reads_what_it_writes() {
        let decoded = decode(&encode(&sections())).unwrap();
        assert_eq!(
            decoded,
            Decoded {
                sections: sections(),
                damaged: vec![]
            }
        );
    }

    #[test]
    fn no_damage_goes_unnoticed_and_none_panics() {
        let whole = encode(&sections());
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            let noticed =
                decode(&bytes).is_ok_and(|d| d.damaged.len() == 1) || decode(&bytes).is_err();
            assert!(noticed, "byte {at}");
        }
        for len in 0..whole.len() {
            let noticed = decode(&whole[..len]).is_ok_and(|d| !d.damaged.is_empty())
                || decode(&whole[..len]).is_err();
            assert!(noticed, "cut at {len}");
        }
    }
}
