//! ELF header, program headers and section names (System V ABI, chapter 4).

use super::{Numbers, plain};

const SECTIONS_MAX: u64 = 64;

pub(super) fn words(bytes: &[u8]) -> Vec<String> {
    read(bytes).unwrap_or_default()
}

fn read(bytes: &[u8]) -> Option<Vec<String>> {
    let is_64 = *bytes.get(4)? == 2;
    let is_big = *bytes.get(5)? == 2;
    let numbers = Numbers { bytes, is_big };
    let machine = numbers.get(18, 2)?;
    let mut words = vec![
        format!("arch={}", arch(machine)),
        format!("bits={}", if is_64 { 64 } else { 32 }),
        format!("end={}", if is_big { "big" } else { "little" }),
        format!("type={}", numbers.get(16, 2)?),
        format!("abi={}", bytes.get(7)?),
        format!("flags={:x}", numbers.get(if is_64 { 48 } else { 36 }, 4)?),
    ];
    linking(&numbers, is_64, &mut words);
    let before = words.len();
    sections(&numbers, is_64, &mut words);
    if words.len() == before {
        words.push("sections=none".to_owned());
    }
    if !words.iter().any(|word| word == "sec=.symtab") {
        words.push("stripped".to_owned());
    }
    Some(words)
}

fn arch(machine: u64) -> String {
    match machine {
        2 => "sparc",
        3 => "i386",
        4 => "m68k",
        8 => "mips",
        20 => "ppc",
        21 => "ppc64",
        22 => "s390",
        40 => "arm",
        42 => "sh",
        62 => "amd64",
        93 => "arc",
        183 => "arm64",
        243 => "riscv",
        258 => "loongarch",
        other => return format!("{other}"),
    }
    .to_owned()
}

/// Static or dynamic, from the program headers' types.
fn linking(numbers: &Numbers<'_>, is_64: bool, words: &mut Vec<String>) {
    const INTERP: u64 = 3;
    const DYNAMIC: u64 = 2;
    let (at, size, count) = if is_64 { (32, 54, 56) } else { (28, 42, 44) };
    let width = if is_64 { 8 } else { 4 };
    let (Some(at), Some(size), Some(count)) = (
        numbers.get(at, width),
        numbers.get(size, 2),
        numbers.get(count, 2),
    ) else {
        return;
    };
    let kinds: Vec<u64> = (0..count.min(SECTIONS_MAX))
        .filter_map(|index| at.checked_add(index * size))
        .filter_map(|at| numbers.get(usize::try_from(at).ok()?, 4))
        .collect();
    words.push(format!("segments={count}"));
    if kinds.contains(&INTERP) {
        words.push("interp".to_owned());
    }
    let how = if kinds.contains(&DYNAMIC) {
        "dynamic"
    } else {
        "static"
    };
    words.push(how.to_owned());
}

fn sections(numbers: &Numbers<'_>, is_64: bool, words: &mut Vec<String>) -> Option<()> {
    let (at, size, count, names) = if is_64 {
        (40, 58, 60, 62)
    } else {
        (32, 46, 48, 50)
    };
    let width = if is_64 { 8 } else { 4 };
    let at = numbers.get(at, width)?;
    let size = numbers.get(size, 2)?;
    let count = numbers.get(count, 2)?.min(SECTIONS_MAX);
    let names = numbers.get(names, 2)?;
    let header = |index: u64| usize::try_from(at.checked_add(index * size)?).ok();
    let offset_at = if is_64 { 24 } else { 16 };
    let table = numbers.get(header(names)?.checked_add(offset_at)?, width)?;
    for index in 1..count {
        let name = numbers.get(header(index)?, 4)?;
        let name = usize::try_from(table.checked_add(name)?).ok()?;
        let name = plain(numbers.bytes.get(name..)?);
        if !name.is_empty() {
            words.push(format!("sec={name}"));
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_header_is_read_in_both_orders() {
        for (order, machine) in [(1, [8, 0]), (2, [0, 8])] {
            let mut bytes = vec![0; 64];
            bytes[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 1, order]);
            bytes[18..20].copy_from_slice(&machine);
            let words = words(&bytes);
            assert!(words.contains(&"arch=mips".to_owned()));
            assert!(words.contains(&"static".to_owned()));
            assert!(words.contains(&"sections=none".to_owned()));
        }
    }
}
