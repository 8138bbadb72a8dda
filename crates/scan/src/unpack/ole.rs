//! Compound files (MS-CFB): the streams of old Office documents, installers and Outlook messages, with
//! VBA source (MS-OVBA) and packaged objects (MS-OLEDS 2.3.6) taken out of them. Our own reader: hostile
//! documents are broken on purpose where strict readers stop, so every stream that the directory names
//! is read as far as it goes, whether or not the tree leads to it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read};

use super::{Opening, msg, vba};
use crate::layout::Layout;
use crate::{FileType, Reason};

const KIND: FileType = FileType::Ole;
const BROKEN: Reason = Reason::Broken(KIND);
/// Sector numbers from here on mean something else than a sector (MS-CFB 2.1).
const SPECIAL: u32 = 0xffff_fffa;
const ENTRY: usize = 128;
const ENTRIES_MAX: usize = 100_000;

/// Hands out source code, packaged objects, and every stream as it is.
pub(super) fn open(bytes: &[u8], opening: &mut Opening<'_, '_>) -> Result<(), Reason> {
    let file = Compound::read(bytes).ok_or(BROKEN)?;
    let paths = file.paths();
    let names = file.attachments(&paths, opening)?;
    for (number, entry) in file.entries().enumerate() {
        opening.go_on()?;
        if entry.get(66) != Some(&2) {
            continue;
        }
        let Some((start, size)) = extent(entry) else {
            continue;
        };
        let name = entry_name(entry);
        let path = paths.get(&number).cloned().unwrap_or_else(|| name.clone());
        if name == "EncryptedPackage" {
            opening.missing(&path, Reason::Encrypted);
            continue;
        }
        opening.budget.count()?;
        let mut reader = file.stream(start, size);
        let (held, why) = opening.budget.take(KIND, &mut reader);
        let stream = held.bytes();
        if let Some(source) = vba::source(stream) {
            opening.lend(&format!("{path}.bas"), &source, Some(FileType::Vba));
        } else if let Some((label, object)) = packaged(&name, stream) {
            opening.lend(&format!("{path}/{label}"), object, None);
        } else if let Some(piece) =
            msg::piece(&name, stream, opening.budget.policy.member_bytes_max)
        {
            let folder = path
                .rfind('/')
                .and_then(|at| path.get(..=at))
                .unwrap_or_default();
            match piece {
                msg::Piece::Attachment => {
                    let label = names.get(folder).map_or(name.as_str(), String::as_str);
                    opening.file(&format!("{folder}{label}"), stream, None);
                }
                msg::Piece::Body(label, body, known_as) => {
                    opening.file(&format!("{folder}{label}"), &body, known_as);
                }
            }
        } else if !stream.is_empty() {
            opening.file(&path, stream, None);
        }
        if let Some(reason) = why {
            opening.missing(&path, reason);
        }
    }
    Ok(())
}

/// Names the streams' sectors for people.
pub(crate) fn places(bytes: &[u8], layout: &mut Layout) {
    let Some(file) = Compound::read(bytes) else {
        return;
    };
    layout.add(0, 512, "header");
    let sector = 1_u64 << file.shift;
    for number in word(bytes, 48).map_or_else(Vec::new, |at| file.chain(&file.fat, at)) {
        layout.add((u64::from(number) + 1) * sector, sector, "directory");
    }
    let paths = file.paths();
    // Chains of a hostile file may all be the same long one.
    let mut steps_left = 2 * (bytes.len() >> file.mini_shift);
    for (number, entry) in file.entries().enumerate() {
        let (Some(&2), Some((start, size))) = (entry.get(66), extent(entry)) else {
            continue;
        };
        let path = paths
            .get(&number)
            .cloned()
            .unwrap_or_else(|| entry_name(entry));
        let stream = file.stream(start, size);
        let step = 1_u64
            << if stream.is_mini {
                file.mini_shift
            } else {
                file.shift
            };
        steps_left = steps_left.saturating_sub(stream.chain.len().max(1));
        if steps_left == 0 {
            break;
        }
        let mut left = size;
        for number in stream.chain {
            let Some(at) = file.offset(number, stream.is_mini) else {
                break;
            };
            layout.add(at, left.min(step), &path);
            left = left.saturating_sub(step);
        }
    }
}

struct Compound<'f> {
    bytes: &'f [u8],
    shift: u32,
    mini_shift: u32,
    mini_below: u64,
    fat: Vec<u32>,
    mini_fat: Vec<u32>,
    /// The stream that holds the small streams, as its sectors.
    mini: Vec<u32>,
    directory: Vec<u8>,
}

impl<'f> Compound<'f> {
    fn read(bytes: &'f [u8]) -> Option<Self> {
        let shift = u32::from(u16::from_le_bytes(bytes.get(30..32)?.try_into().ok()?));
        let mini_shift = u32::from(u16::from_le_bytes(bytes.get(32..34)?.try_into().ok()?));
        if !(7..=16).contains(&shift) || !(4..shift).contains(&mini_shift) {
            return None;
        }
        let mut file = Self {
            bytes,
            shift,
            mini_shift,
            mini_below: u64::from(word(bytes, 56)?),
            fat: Vec::new(),
            mini_fat: Vec::new(),
            mini: Vec::new(),
            directory: Vec::new(),
        };
        file.fat = file.read_fat()?;
        let directory = file.chain(&file.fat, word(bytes, 48)?);
        for sector in directory {
            file.directory.extend_from_slice(file.sector(sector));
            if file.directory.len() >= ENTRIES_MAX * ENTRY {
                break;
            }
        }
        for sector in file.chain(&file.fat, word(bytes, 60)?) {
            file.mini_fat.extend(words(file.sector(sector)));
        }
        let root = file.directory.get(..ENTRY)?;
        file.mini = file.chain(&file.fat, word(root, 116)?);
        Some(file)
    }

    /// The sectors' successors: 109 parts are named in the header, more in a chain of sectors.
    fn read_fat(&self) -> Option<Vec<u32>> {
        let mut parts: Vec<u32> = words(self.bytes.get(76..512)?).collect();
        let mut next = word(self.bytes, 68)?;
        let per_sector = (1_usize << self.shift) / 4;
        for _ in 0..=self.sectors() / per_sector {
            if next >= SPECIAL {
                break;
            }
            let mut listed: Vec<u32> = words(self.sector(next)).collect();
            next = listed.pop().unwrap_or(SPECIAL);
            parts.append(&mut listed);
        }
        let parts = parts.into_iter().filter(|sector| *sector < SPECIAL);
        let parts = parts.take(self.sectors() / per_sector + 1);
        Some(parts.flat_map(|part| words(self.sector(part))).collect())
    }

    /// How many sectors the file can have.
    fn sectors(&self) -> usize {
        self.bytes.len() >> self.shift
    }

    /// The bytes of a sector, fewer at the end of the file.
    fn sector(&self, number: u32) -> &'f [u8] {
        let at = (u64::from(number) + 1) << self.shift;
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let rest = self.bytes.get(at..).unwrap_or_default();
        rest.get(..1 << self.shift).unwrap_or(rest)
    }

    /// Sectors from `start` on; a chain that is longer than the table goes in circles and is cut.
    fn chain(&self, table: &[u32], start: u32) -> Vec<u32> {
        let most = table.len().min(self.bytes.len() >> self.mini_shift);
        let mut chain = Vec::new();
        let mut next = start;
        while next < SPECIAL && chain.len() <= most {
            chain.push(next);
            next = table.get(next as usize).copied().unwrap_or(SPECIAL);
        }
        chain
    }

    /// Where a sector lies in the file, or a small one, which lies inside another.
    fn offset(&self, number: u32, is_mini: bool) -> Option<u64> {
        if !is_mini {
            return Some((u64::from(number) + 1) << self.shift);
        }
        let at = u64::from(number) << self.mini_shift;
        let sector = self.mini.get(usize::try_from(at >> self.shift).ok()?)?;
        Some(((u64::from(*sector) + 1) << self.shift) + (at & ((1 << self.shift) - 1)))
    }

    fn entries(&self) -> impl Iterator<Item = &[u8]> {
        self.directory.chunks_exact(ENTRY).take(ENTRIES_MAX)
    }

    /// The small part `number` of the stream that holds small streams.
    fn mini_sector(&self, number: u32) -> &'f [u8] {
        let at = u64::from(number) << self.mini_shift;
        let sector = usize::try_from(at >> self.shift).unwrap_or(usize::MAX);
        let within = (at & ((1 << self.shift) - 1)) as usize;
        let sector = self.mini.get(sector).map_or(&[][..], |s| self.sector(*s));
        let rest = sector.get(within..).unwrap_or_default();
        rest.get(..1 << self.mini_shift).unwrap_or(rest)
    }

    fn stream(&self, start: u32, size: u64) -> Stream<'_, 'f> {
        let is_mini = size < self.mini_below;
        let table = if is_mini { &self.mini_fat } else { &self.fat };
        Stream {
            file: self,
            is_mini,
            chain: self.chain(table, start).into_iter(),
            part: &[],
            left: size,
        }
    }

    /// The names of a message's attachments, by the folder each is in.
    fn attachments(
        &self,
        paths: &BTreeMap<usize, String>,
        opening: &Opening<'_, '_>,
    ) -> Result<BTreeMap<String, String>, Reason> {
        let mut names = BTreeMap::new();
        for (number, entry) in self.entries().enumerate() {
            opening.go_on()?;
            let (Some(path), Some((start, size))) = (paths.get(&number), extent(entry)) else {
                continue;
            };
            let at = path.rfind('/').map_or(0, |at| at + 1);
            let (folder, name) = path.split_at(at);
            if !msg::is_file_name(name, size) {
                continue;
            }
            let mut reader = self.stream(start, size);
            let (held, _) = opening.budget.take(KIND, &mut reader);
            if let Some(label) = msg::file_name(name, held.bytes()) {
                // There may be a short name of the old kind as well, which is shorter.
                let known = names.entry(folder.to_owned()).or_default();
                if label.len() > String::len(known) {
                    *known = label;
                }
            }
        }
        Ok(names)
    }

    /// Paths of the entries that the tree leads to, by number.
    fn paths(&self) -> BTreeMap<usize, String> {
        let entries: Vec<&[u8]> = self.entries().collect();
        let mut paths = BTreeMap::new();
        let child = |number: usize, at: usize| {
            let link = word(entries.get(number)?, at)?;
            usize::try_from(link).ok().filter(|n| *n < entries.len())
        };
        let mut open: Vec<(usize, String)> = child(0, 76)
            .map(|number| (number, String::new()))
            .into_iter()
            .collect();
        while let Some((number, folder)) = open.pop() {
            if paths.contains_key(&number) || folder.len() > 1024 {
                continue;
            }
            let name = entries
                .get(number)
                .map_or_else(String::new, |e| entry_name(e));
            let path = if folder.is_empty() {
                name
            } else {
                format!("{folder}/{name}")
            };
            for at in [68, 72] {
                open.extend(child(number, at).map(|next| (next, folder.clone())));
            }
            open.extend(child(number, 76).map(|next| (next, path.clone())));
            paths.insert(number, path);
        }
        paths
    }
}

/// A stream as its sectors give it.
struct Stream<'s, 'f> {
    file: &'s Compound<'f>,
    is_mini: bool,
    chain: std::vec::IntoIter<u32>,
    part: &'f [u8],
    left: u64,
}

impl Read for Stream<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() && self.left > 0 {
            let Some(sector) = self.chain.next() else {
                // The directory promised more than there is; what there was has been read.
                self.left = 0;
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            self.part = if self.is_mini {
                self.file.mini_sector(sector)
            } else {
                self.file.sector(sector)
            };
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let length = self.part.len().min(buffer.len()).min(most);
        let (now, later) = self.part.split_at(length);
        if let Some(target) = buffer.get_mut(..length) {
            target.copy_from_slice(now);
        }
        self.part = later;
        self.left -= length as u64;
        Ok(length)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(field.try_into().ok()?))
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|word| u32::from_le_bytes(*word))
}

/// First sector and size; version 3 files leave rubbish in the upper half of the size.
fn extent(entry: &[u8]) -> Option<(u32, u64)> {
    Some((word(entry, 116)?, u64::from(word(entry, 120)?)))
}

/// The name, with what installers make of names undone: they pack two letters into one.
fn entry_name(entry: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._";
    let units: Vec<u16> = entry
        .get(..64)
        .unwrap_or_default()
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| u16::from_le_bytes(*pair))
        .take_while(|unit| *unit != 0)
        .collect();
    let letter = |number: u16| char::from(LETTERS[usize::from(number & 63)]);
    let mut name = String::new();
    for unit in char::decode_utf16(units) {
        match unit.map(|c| (c, c as u32)) {
            Ok((_, code @ 0x3800..0x4800)) => {
                let packed = (code - 0x3800) as u16;
                name.push(letter(packed));
                name.push(letter(packed >> 6));
            }
            Ok((_, code @ 0x4800..0x4840)) => name.push(letter((code - 0x4800) as u16)),
            Ok((_, 0x4840)) => name.push('!'),
            Ok((c, _)) => name.push(c),
            Err(_) => name.push('\u{fffd}'),
        }
    }
    name
}

/// A packaged object: label, two paths, then its bytes.
fn packaged<'s>(name: &str, stream: &'s [u8]) -> Option<(Cow<'s, str>, &'s [u8])> {
    if !name.ends_with("Ole10Native") {
        return None;
    }
    let rest = stream.get(6..)?;
    let (label, rest) = split_zero(rest)?;
    let (_, rest) = split_zero(rest)?;
    let path_length = usize::try_from(word(rest, 4)?).ok()?;
    let rest = rest.get(8_usize.checked_add(path_length)?..)?;
    let length = usize::try_from(word(rest, 0)?).ok()?;
    let object = rest.get(4..)?;
    Some((
        String::from_utf8_lossy(label),
        object.get(..length).unwrap_or(object),
    ))
}

fn split_zero(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(0, bytes)?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}
