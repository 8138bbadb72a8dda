//! Changes of programs that leave alone what runs.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::process::{Command, Stdio};

use rustix::fs::{MemfdFlags, memfd_create};

use super::Victim;
use super::add::benign;
use super::dice::Dice;
use crate::corpus::Kind;

/// Bytes of a section that is put in.
const ADDED: usize = 64 << 10;
/// Shortest text that is taken from benign programs.
const TEXT_MIN: usize = 6;

/// Numbers of an ELF file, by its width and order of bytes.
struct Elf {
    bytes: Vec<u8>,
    is_wide: bool,
    is_big: bool,
}

impl Elf {
    fn of(victim: &Victim<'_>) -> Option<Self> {
        let is_elf = victim.kind == Kind::Elf && victim.bytes.starts_with(b"\x7fELF");
        is_elf.then_some(())?;
        Some(Self {
            is_wide: *victim.bytes.get(4)? == 2,
            is_big: *victim.bytes.get(5)? == 2,
            bytes: victim.bytes.to_vec(),
        })
    }

    fn get(&self, at: usize, width: usize) -> Option<usize> {
        let field = self.bytes.get(at..at.checked_add(width)?)?;
        let fold = |sum: usize, byte: &u8| (sum << 8) | usize::from(*byte);
        Some(if self.is_big {
            field.iter().fold(0, fold)
        } else {
            field.iter().rev().fold(0, fold)
        })
    }

    fn put(&mut self, at: usize, width: usize, value: usize) -> Option<()> {
        let mut field = value.to_le_bytes().get(..width)?.to_vec();
        if self.is_big {
            field.reverse();
        }
        self.bytes
            .get_mut(at..at.checked_add(width)?)?
            .copy_from_slice(&field);
        Some(())
    }

    const fn word(&self) -> usize {
        if self.is_wide { 8 } else { 4 }
    }

    /// Where the header tells of the table of sections, and of its entries.
    const fn places(&self) -> (usize, usize) {
        if self.is_wide { (40, 58) } else { (32, 46) }
    }

    /// Table, bytes of an entry, entries.
    fn table(&self) -> Option<(usize, usize, usize)> {
        let (table, entries) = self.places();
        Some((
            self.get(table, self.word())?,
            self.get(entries, 2)?,
            self.get(entries + 2, 2)?,
        ))
    }

    /// Place and length of the section at `entry` of the table.
    fn section(&self, entry: usize) -> Option<(usize, usize)> {
        let (at, length) = if self.is_wide { (24, 32) } else { (16, 20) };
        let number = |at| self.get(entry.checked_add(at)?, self.word());
        Some((number(at)?, number(length)?))
    }
}

/// Where the table of sections of a Portable Executable is, how many there are, and where its header begins.
fn pe_table(bytes: &[u8]) -> Option<(usize, usize, usize)> {
    let half = |at: usize| Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?).into());
    let header = u32::from_le_bytes(*bytes.get(60..)?.first_chunk()?) as usize;
    let is_pe = bytes.starts_with(b"MZ") && bytes.get(header..)?.starts_with(b"PE\0\0");
    is_pe.then_some(())?;
    let optional: usize = half(header + 20)?;
    Some((header + 24 + optional, half(header + 6)?, header))
}

/// Letters of section names become others.
pub(super) fn rename_sections(victim: &Victim<'_>, dice: &mut Dice) -> Option<Vec<u8>> {
    if let Some((table, count, _)) = pe_table(victim.bytes).filter(|_| victim.kind == Kind::Pe) {
        let mut bytes = victim.bytes.to_vec();
        for number in 0..count {
            let name = bytes.get_mut(table + 40 * number..)?.get_mut(..8)?;
            scramble(name, dice);
        }
        return Some(bytes);
    }
    let mut elf = Elf::of(victim)?;
    let (table, size, count) = elf.table()?;
    let names = elf.get(elf.places().1 + 4, 2)?;
    (names < count).then_some(())?;
    let (at, length) = elf.section(table.checked_add(size * names)?)?;
    let names = elf.bytes.get_mut(at..at.checked_add(length)?)?;
    names.iter().any(u8::is_ascii_alphabetic).then_some(())?;
    scramble(names, dice);
    Some(elf.bytes)
}

fn scramble(name: &mut [u8], dice: &mut Dice) {
    for letter in name.iter_mut().filter(|byte| byte.is_ascii_alphabetic()) {
        *letter = b'a' + dice.below(26) as u8;
    }
}

/// The header of an ELF file tells of no sections any more, which running does not need.
pub(super) fn strip_sections(victim: &Victim<'_>, _: &mut Dice) -> Option<Vec<u8>> {
    let mut elf = Elf::of(victim)?;
    let (table, _, count) = elf.table()?;
    (table > 0 && count > 0).then_some(())?;
    let (place, entries) = elf.places();
    elf.put(place, elf.word(), 0)?;
    elf.put(entries + 2, 2, 0)?;
    elf.put(entries + 4, 2, 0)?;
    Some(elf.bytes)
}

/// A section that nothing uses, full of what benign programs say.
pub(super) fn add_section(victim: &Victim<'_>, dice: &mut Dice) -> Option<Vec<u8>> {
    let mut text: Vec<u8> = Vec::new();
    for _ in 0..64 {
        let bytes = benign(victim, dice, ADDED);
        let is_text = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
        for run in bytes.split(|byte| !is_text(byte)) {
            if run.len() >= TEXT_MIN {
                text.extend_from_slice(run);
                text.push(0);
            }
        }
        if text.len() >= ADDED {
            break;
        }
    }
    text.truncate(ADDED);
    if victim.kind == Kind::Pe {
        return add_to_pe(victim.bytes, &text);
    }
    let mut elf = Elf::of(victim)?;
    let (table, _, count) = elf.table()?;
    let size = if elf.is_wide { 64 } else { 40 };
    let old = elf.bytes.get(table..table.checked_add(size * count)?)?;
    let mut entries = if count == 0 {
        vec![0; size]
    } else {
        old.to_vec()
    };
    let at = elf.bytes.len().next_multiple_of(16);
    elf.bytes.resize(at, 0);
    elf.bytes.extend_from_slice(&text);
    let table = elf.bytes.len().next_multiple_of(8);
    elf.bytes.resize(table, 0);
    let added = table + entries.len();
    entries.resize(entries.len() + size, 0);
    let count = entries.len() / size;
    elf.bytes.extend_from_slice(&entries);
    let (place, length) = if elf.is_wide { (24, 32) } else { (16, 20) };
    // Bytes that stand for themselves.
    elf.put(added, 4, 1)?;
    elf.put(added + 4, 4, 1)?;
    elf.put(added + place, elf.word(), at)?;
    elf.put(added + length, elf.word(), text.len())?;
    let (told, sizes) = elf.places();
    elf.put(told, elf.word(), table)?;
    elf.put(sizes, 2, size)?;
    elf.put(sizes + 2, 2, count)?;
    Some(elf.bytes)
}

/// Where there is room for its entry between the table and the first section.
fn add_to_pe(bytes: &[u8], text: &[u8]) -> Option<Vec<u8>> {
    let (table, count, header) = pe_table(bytes)?;
    let word = |at: usize| {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(u32::from_le_bytes(bytes) as usize)
    };
    let entry = table + 40 * count;
    let room = bytes.get(entry..entry + 40)?;
    let alignment = word(header + 56)?.max(1);
    let file_alignment = word(header + 60)?.max(1);
    let (mut first, mut end) = (usize::MAX, 0);
    for number in 0..count {
        let section = table + 40 * number;
        let place = word(section + 20)?;
        if place > 0 {
            first = first.min(place);
        }
        end = end.max(word(section + 12)?.checked_add(word(section + 8)?)?);
    }
    (entry + 40 <= first && room.iter().all(|byte| *byte == 0)).then_some(())?;
    let mut out = bytes.to_vec();
    let place = out.len().checked_next_multiple_of(file_alignment)?;
    let address = end.checked_next_multiple_of(alignment)?;
    out.resize(place, 0);
    out.extend_from_slice(text);
    let size = text.len().checked_next_multiple_of(file_alignment)?;
    out.resize(place.checked_add(size)?, 0);
    let mut added = b".rdata2\0".to_vec();
    for number in [text.len(), address, size, place] {
        added.extend_from_slice(&(number as u32).to_le_bytes());
    }
    added.resize(36, 0);
    // Data that is there, and read.
    added.extend_from_slice(&0x4000_0040_u32.to_le_bytes());
    out.get_mut(entry..entry + 40)?.copy_from_slice(&added);
    out.get_mut(header + 6..header + 8)?
        .copy_from_slice(&(count as u16 + 1).to_le_bytes());
    let image = (address + text.len()).checked_next_multiple_of(alignment)?;
    out.get_mut(header + 80..header + 84)?
        .copy_from_slice(&(image as u32).to_le_bytes());
    Some(out)
}

/// All of the DOS header and its program but the mark and the place of what follows, which Windows reads.
pub(super) fn rewrite_dos_header(victim: &Victim<'_>, dice: &mut Dice) -> Option<Vec<u8>> {
    let (_, _, header) = pe_table(victim.bytes).filter(|_| victim.kind == Kind::Pe)?;
    let mut bytes = victim.bytes.to_vec();
    for range in [2..60, 64..header.max(64)] {
        for byte in bytes.get_mut(range)? {
            *byte = dice.next() as u8;
        }
    }
    Some(bytes)
}

/// What runs UPX, which wants a file with a name that its owner may execute: in a mount namespace of its own, on a
/// memory filesystem that nothing can be executed from and that goes with it.
const IN_MEMORY: &str = "mount -t tmpfs -o noexec,nosuid,nodev,mode=700,size=256m none /mnt && cd /mnt && \
    cat > from && chmod 700 from && \"$1\" -qq -f \"$2\" -o to from >&2 && cat to";

/// What UPX makes of a program. None where it refuses.
pub(super) fn upx(victim: &Victim<'_>, method: &str) -> Option<Vec<u8>> {
    let is_program = matches!(victim.kind, Kind::Elf | Kind::Pe);
    let upx = victim.upx.filter(|_| is_program)?;
    let mut from: File = memfd_create("from", MemfdFlags::CLOEXEC).ok()?.into();
    let mut packed: File = memfd_create("to", MemfdFlags::CLOEXEC).ok()?.into();
    from.write_all(victim.bytes).ok()?;
    from.seek(SeekFrom::Start(0)).ok()?;
    let status = Command::new("unshare")
        .args(["-rm", "sh", "-c", IN_MEMORY, "sh"])
        .arg(upx)
        .arg(method)
        .stdin(from)
        .stdout(packed.try_clone().ok()?)
        .stderr(Stdio::null())
        .status();
    status.ok()?.success().then_some(())?;
    let mut out = Vec::new();
    packed.seek(SeekFrom::Start(0)).ok()?;
    packed.read_to_end(&mut out).ok()?;
    (!out.is_empty()).then_some(out)
}

/// Takes the marks and lengths away that UPX itself needs to unpack, and running does not.
pub(super) fn wipe_marks(mut packed: Vec<u8>) -> Vec<u8> {
    const MARK: &[u8] = b"UPX!";
    let is_elf = packed.starts_with(b"\x7fELF");
    let first = memchr::memmem::find(&packed, MARK);
    if let Some(first) = first.filter(|_| is_elf) {
        let info = packed.get_mut(first + 8..first + 20);
        info.unwrap_or_default().fill(0);
        let trailer = packed.len().saturating_sub(36);
        packed.get_mut(trailer..).unwrap_or_default().fill(0);
    }
    let length = if is_elf { 4 } else { 32 };
    while let Some(at) = memchr::memmem::find(&packed, MARK) {
        let end = (at + length).min(packed.len());
        packed.get_mut(at..end).unwrap_or_default().fill(0);
    }
    for name in [b"UPX0", b"UPX1", b"UPX2"] {
        if let Some(at) = memchr::memmem::find(&packed, name).filter(|_| !is_elf) {
            packed
                .get_mut(at..at + 4)
                .unwrap_or_default()
                .copy_from_slice(b".abc");
        }
    }
    packed
}
