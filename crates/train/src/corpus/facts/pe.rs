//! PE headers: COFF, optional header, section table, CLR directory (Microsoft, *PE Format*).

use super::{Numbers, entropy, plain};

const SECTIONS_MAX: u64 = 24;
/// Above this a section's bytes are compressed or enciphered.
const PACKED_BITS: f64 = 7.2;

pub(super) fn words(bytes: &[u8]) -> Vec<String> {
    read(bytes).unwrap_or_default()
}

fn read(bytes: &[u8]) -> Option<Vec<String>> {
    const DLL: u64 = 0x2000;
    let numbers = Numbers {
        bytes,
        is_big: false,
    };
    let coff = usize::try_from(numbers.get(60, 4)?).ok()?.checked_add(4)?;
    let machine = numbers.get(coff, 2)?;
    let optional = coff.checked_add(20)?;
    let is_64 = numbers.get(optional, 2)? == 0x20b;
    let flags = numbers.get(coff + 18, 2)?;
    let stamp = numbers.get(coff + 4, 4)?;
    let subsystem = numbers.get(optional + 68, 2)?;
    let form = match (flags & DLL != 0, subsystem) {
        (_, 1) => "driver",
        (_, 10..=13) => "efi",
        (true, _) => "dll",
        (false, _) => "exe",
    };
    let mut words = vec![
        format!("form={form}"),
        format!("machine={machine:x}"),
        format!("bits={}", if is_64 { 64 } else { 32 }),
        format!(
            "linker={}.{}",
            bytes.get(optional + 2)?,
            bytes.get(optional + 3)?
        ),
        format!("subsystem={subsystem}"),
        format!("os={}", numbers.get(optional + 40, 2)?),
        // Seconds to years, near enough for a table.
        format!("year={}", 1970 + stamp / 31_556_952),
        format!("dllflags={:x}", numbers.get(optional + 70, 2)?),
    ];
    let clr = optional + if is_64 { 112 } else { 96 } + 14 * 8;
    if numbers.get(clr, 4).is_some_and(|address| address != 0) {
        words.push("dotnet".to_owned());
    }
    let table = optional.checked_add(usize::try_from(numbers.get(coff + 16, 2)?).ok()?)?;
    let count = numbers.get(coff + 2, 2)?;
    words.push(format!("sections={count}"));
    sections(&numbers, table, count, &mut words);
    Some(words)
}

fn sections(numbers: &Numbers<'_>, table: usize, count: u64, words: &mut Vec<String>) {
    let mut is_packed = false;
    for index in 0..count.min(SECTIONS_MAX) {
        let at = table.saturating_add(index as usize * 40);
        let Some(name) = numbers.bytes.get(at..at.saturating_add(8)) else {
            break;
        };
        words.push(format!("sec={}", plain(name)));
        let size = numbers.get(at + 16, 4).unwrap_or_default() as usize;
        let start = numbers.get(at + 20, 4).unwrap_or_default() as usize;
        let is_code = numbers.get(at + 36, 4).unwrap_or_default() & 0x2000_0020 != 0;
        let end = start.saturating_add(size).min(numbers.bytes.len());
        let body = numbers.bytes.get(start..end).unwrap_or_default();
        is_packed |= is_code && body.len() > 2048 && entropy(body) > PACKED_BITS;
    }
    if is_packed {
        words.push("packed".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_bits_and_runtime_are_read() {
        let mut bytes = vec![0; 512];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[60] = 64;
        bytes[64..68].copy_from_slice(b"PE\0\0");
        bytes[68..70].copy_from_slice(&[0x4c, 1]);
        bytes[68 + 19] = 0x20;
        bytes[88..90].copy_from_slice(&[0x0b, 1]);
        bytes[88 + 96 + 14 * 8] = 1;
        let words = words(&bytes);
        for word in ["form=dll", "machine=14c", "bits=32", "dotnet"] {
            assert!(words.contains(&word.to_owned()), "{word} in {words:?}");
        }
    }
}
