//! Programs as UPX packs them, made in memory for the tests; what would unpack them when they run is left out.

use crate::unpack::upx::{Code, Method};

/// A packer of the NRV codes: greedy, and small rather than good.
struct Nrv {
    code: Code,
    unit: usize,
    out: Vec<u8>,
    word_at: usize,
    left: usize,
    last: usize,
}

/// `content` in an NRV code with bits in units of so many bytes.
pub(crate) fn nrv(code: Code, unit: usize, content: &[u8]) -> Vec<u8> {
    let mut packer = Nrv {
        code,
        unit,
        out: Vec::new(),
        word_at: 0,
        left: 0,
        last: 1,
    };
    let mut at = 0;
    while at < content.len() {
        let same = |from: usize| {
            let pairs = content[from..].iter().zip(&content[at..]);
            pairs.take_while(|(one, other)| one == other).count()
        };
        let best = (0..at).map(|from| (same(from), from)).max();
        match best {
            Some((length, from)) if length >= 4 => {
                packer.repeat(at - from, length);
                at += length;
            }
            _ => {
                packer.bit(1);
                packer.out.push(content[at]);
                at += 1;
            }
        }
    }
    packer.bit(0);
    packer.upper(0x0100_0002);
    packer.out.push(0xff);
    packer.out
}

impl Nrv {
    fn bit(&mut self, bit: usize) {
        if self.left == 0 {
            self.word_at = self.out.len();
            self.out.resize(self.word_at + self.unit, 0);
            self.left = 8 * self.unit;
        }
        self.left -= 1;
        self.out[self.word_at + self.left / 8] |= (bit as u8) << (self.left % 8);
    }

    fn repeat(&mut self, distance: usize, length: usize) {
        self.bit(0);
        let far = if self.code == Code::B { 0xd00 } else { 0x500 };
        let length = length - 1 - usize::from(distance > far);
        // What the length begins with stands with the distance.
        let first = match self.code {
            Code::B => 0,
            Code::D => usize::from(length == 2 || length == 3),
            Code::E => usize::from(length <= 2),
        };
        if distance == self.last {
            self.upper(2);
            if self.code != Code::B {
                self.bit(first);
            }
        } else {
            let told = match self.code {
                Code::B => distance - 1,
                _ => (distance - 1) << 1 | (1 - first),
            };
            self.upper((told >> 8) + 3);
            self.out.push(told as u8);
            self.last = distance;
        }
        match (self.code, length) {
            (Code::B, 1..=3) => {
                self.bit(length >> 1);
                self.bit(length & 1);
            }
            (Code::B, _) => {
                self.bit(0);
                self.bit(0);
                self.long(length - 2);
            }
            (Code::D, 1..=3) => self.bit(length & 1),
            (Code::D, _) => {
                self.bit(0);
                self.long(length - 2);
            }
            (Code::E, 1 | 2) => self.bit(length - 1),
            (Code::E, 3 | 4) => {
                self.bit(1);
                self.bit(length - 3);
            }
            (Code::E, _) => {
                self.bit(0);
                self.long(length - 3);
            }
        }
    }

    fn upper(&mut self, value: usize) {
        self.upper_bits(value);
        self.bit(1);
    }

    fn upper_bits(&mut self, value: usize) {
        let rest = value >> 1;
        if rest > 1 {
            let before = if self.code == Code::B {
                rest
            } else {
                (rest >> 1) + 1
            };
            self.upper_bits(before);
            self.bit(0);
            if self.code != Code::B {
                self.bit(rest & 1);
            }
        }
        self.bit(value & 1);
    }

    fn long(&mut self, value: usize) {
        let bits = usize::BITS - value.leading_zeros() - 1;
        for bit in (0..bits).rev() {
            self.bit(value >> bit & 1);
            self.bit(usize::from(bit == 0));
        }
    }
}

/// Bytes packed by this method.
fn packed(method: Method, content: &[u8]) -> (u8, Vec<u8>) {
    match method {
        Method::Nrv(code, unit) => {
            let number = match code {
                Code::B => 2,
                Code::D => 5,
                Code::E => 8,
            };
            let more = [(4, 0), (1, 1), (2, 2)]
                .iter()
                .find(|(bytes, _)| *bytes == unit);
            (number + more.unwrap().1, nrv(code, unit, content))
        }
        Method::Lzma => {
            let options = lzma_rust2::LzmaOptions::with_preset(1);
            let writer = lzma_rust2::LzmaWriter::new_no_header(vec![0x1a, 0x03], &options, false);
            let mut writer = writer.unwrap();
            std::io::Write::write_all(&mut writer, content).unwrap();
            (14, writer.finish().unwrap())
        }
        Method::Deflate => (15, miniz_oxide::deflate::compress_to_vec(content, 6)),
    }
}

/// What a packed ELF file lacks of what UPX writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wiped {
    Nothing,
    /// Marks and lengths, as malware does.
    Marks,
    /// What lies behind the segments.
    Rest,
}

/// Width and order of bytes of an ELF file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) is_wide: bool,
    pub(crate) is_big: bool,
}

impl Shape {
    fn number(self, value: usize, bytes: usize) -> Vec<u8> {
        let mut out = value.to_le_bytes()[..bytes].to_vec();
        if self.is_big {
            out.reverse();
        }
        out
    }

    fn word(self, value: usize) -> Vec<u8> {
        self.number(value, if self.is_wide { 8 } else { 4 })
    }

    /// A header with these segments (flags, place, length), and a table of sections of this place and count.
    fn header(self, segments: &[(usize, usize, usize)], sections: (usize, usize)) -> Vec<u8> {
        let (header, entry, section) = if self.is_wide {
            (64, 56, 64)
        } else {
            (52, 32, 40)
        };
        let mut out = b"\x7fELF".to_vec();
        out.extend([1 + u8::from(self.is_wide), 1 + u8::from(self.is_big), 1]);
        out.resize(16, 0);
        for half in [2, 62] {
            out.extend(self.number(half, 2));
        }
        out.extend(self.number(1, 4));
        for word in [0, header, sections.0] {
            out.extend(self.word(word));
        }
        out.extend(self.number(0, 4));
        for half in [header, entry, segments.len(), section, sections.1, 0] {
            out.extend(self.number(half, 2));
        }
        for (flags, at, length) in segments {
            out.extend(self.number(1, 4));
            if self.is_wide {
                out.extend(self.number(*flags, 4));
            }
            for word in [*at, *at, *at, *length, *length] {
                out.extend(self.word(word));
            }
            if !self.is_wide {
                out.extend(self.number(*flags, 4));
            }
            out.extend(self.word(16));
        }
        out
    }

    fn block(self, method: Method, content: &[u8]) -> Vec<u8> {
        let (number, bytes) = packed(method, content);
        let is_stored = bytes.len() >= content.len();
        let bytes = if is_stored { content.to_vec() } else { bytes };
        let mut out = self.number(content.len(), 4);
        out.extend(self.number(bytes.len(), 4));
        out.extend([if is_stored { 0 } else { number }, 0, 0, 0]);
        out.extend(bytes);
        out
    }
}

/// A program with code, data, and a table of sections behind both.
pub(crate) fn loaded_elf(shape: Shape, content: &[u8]) -> Vec<u8> {
    let code = shape.header(&[(5, 0, 0), (6, 0, 0)], (0, 0)).len() + content.len();
    let (data, sections) = (code + 40, code + 100);
    let mut out = shape.header(&[(5, 0, code), (6, data, 50)], (sections, 1));
    out.extend_from_slice(content);
    out.extend_from_slice(&[7; 40]);
    out.extend_from_slice(&[9; 50]);
    out.resize(sections + if shape.is_wide { 64 } else { 40 }, 3);
    out
}

/// The same, packed.
pub(crate) fn packed_elf(shape: Shape, method: Method, content: &[u8], wiped: Wiped) -> Vec<u8> {
    let original = loaded_elf(shape, content);
    let header = shape.header(&[(5, 0, 0), (6, 0, 0)], (0, 0)).len();
    let code = header + content.len();
    let has_marks = wiped != Wiped::Marks;
    let mark: &[u8] = if has_marks { b"UPX!" } else { b"\0\0\0\0" };
    let told = |value| shape.number(if has_marks { value } else { 0 }, 4);
    let mut out = shape.header(&[(5, 0, 4096)], (0, 0));
    let info = out.len() + 12;
    out.extend([&[0; 4], mark, &[0; 4]].concat());
    out.extend(told(0));
    out.extend(told(original.len()));
    out.extend(told(original.len()));
    for part in [
        &original[..header],
        &original[header..code],
        &original[code + 40..code + 90],
    ] {
        out.extend(shape.block(method, part));
    }
    out.extend_from_slice(b"what would unpack it");
    if wiped == Wiped::Rest {
        return out;
    }
    for part in [&original[code..code + 40], &original[code + 90..]] {
        out.extend(shape.block(method, part));
    }
    out.extend([&[0; 4], mark, &[0; 4]].concat());
    out.extend_from_slice(mark);
    out.resize(out.len() + 20, 0);
    out.extend(told(original.len()));
    out.extend([0; 4]);
    out.extend(told(info));
    out
}

/// A program of Windows and the same packed, by a loader that tells no more than where the data are where
/// `has_marks` is not.
pub(crate) fn packed_pe(method: Method, content: &[u8], has_marks: bool) -> (Vec<u8>, Vec<u8>) {
    const BASE: u32 = 0x1000;
    let sections: &[(&[u8], u32, u32, u32)] = &[
        (b".text", 0x1000, 0x200, 0x200),
        (b".data", 0x2000, 0x200, 0x400),
    ];
    let directories = &[(1, 0x2000, 40), (5, 0x2180, 12)];
    let header = pe_header(sections, directories, 0x1000);
    let mut image = vec![0; 0x2000];
    image[..content.len()].copy_from_slice(content);
    // A call at 0x40, and an address to relocate at 0x50.
    image[0x40..0x45].copy_from_slice(&[0xe8, 0x10, 0, 0, 0]);
    image[0x50..0x54].copy_from_slice(&0x40_1050_u32.to_le_bytes());
    let mut original = image.clone();
    // Imports: one library, one function by name and one by number.
    let (library, table, named) = (0x2100_u32, 0x2040_u32, 0x2106_u32);
    let at = |address: u32| (address - BASE) as usize;
    original[at(0x200c)..at(0x2014)]
        .copy_from_slice(&[library.to_le_bytes(), table.to_le_bytes()].concat());
    original[at(table)..at(table) + 8]
        .copy_from_slice(&[named.to_le_bytes(), 0x8000_0007_u32.to_le_bytes()].concat());
    original[at(library)..at(library) + 6].copy_from_slice(b"a.dll\0");
    original[at(named) + 2..at(named) + 6].copy_from_slice(b"Run\0");
    original[at(0x2180)..at(0x2180) + 12]
        .copy_from_slice(&[0, 0x10, 0, 0, 12, 0, 0, 0, 0x50, 0x30, 0, 0]);
    let whole = [&header, &vec![0; 0x200 - header.len()], &original[..0x200]].concat();
    let whole = [&whole, &original[0x1000..0x1200]].concat();

    image[0x41..0x45].copy_from_slice(&(0x10_u32 + 0x41 + 0x0100_0000).to_be_bytes());
    image[0x50..0x54].copy_from_slice(&0x50_u32.to_be_bytes());
    let imports = image.len() as u32;
    image.extend([8_u32.to_le_bytes(), (table - BASE).to_le_bytes()].concat());
    image.extend_from_slice(b"\x01Run\0\xff\x07\0\0\0\0\0\0");
    let relocations = image.len() as u32;
    image.extend([0x54, 0]);
    let extra = image.len() as u32;
    image.extend_from_slice(&header[64..]);
    image.extend(imports.to_le_bytes());
    image.extend(library.to_le_bytes());
    image.extend(relocations.to_le_bytes());
    image.push(0);
    image.extend(extra.to_le_bytes());
    (whole, wrapped_pe(method, &image, has_marks))
}

/// The image with a header of UPX and the names of libraries around it.
fn wrapped_pe(method: Method, image: &[u8], has_marks: bool) -> Vec<u8> {
    let (number, data) = packed(method, image);
    let mut mark = b"UPX!\x0d\x09\0\x09".to_vec();
    mark[6] = number;
    mark.resize(16, 0);
    mark.extend((image.len() as u32).to_le_bytes());
    mark.extend((data.len() as u32).to_le_bytes());
    mark.extend([0, 0, 0, 0, 0x26, 1, 0]);
    let sum: u32 = mark[4..].iter().map(|byte| u32::from(*byte)).sum();
    mark.push((sum % 251) as u8);
    if !has_marks {
        mark.fill(0);
    }
    let at = 0x4000_u32;
    let mut content = [mark, data].concat();
    let entry = at + content.len() as u32;
    // pushad; mov esi, data; ...; cmp byte [edi], 1
    content.extend(b"\x60\xbe");
    content.extend((0x40_0000 + at + 32).to_le_bytes());
    content.resize(content.len() + 70, 0x90);
    content.extend(b"\x80\x3f\x01");
    let length = (content.len() as u32).next_multiple_of(0x200);
    content.resize(length as usize, 0);
    let own = at + length;
    content.extend(b"8 bytes.a.dll\0");
    content.resize(length as usize + 0x200, 0);
    let names: &[(&[u8], u32, u32, u32)] = &[
        (b"one", 0x1000, 0, 0x200),
        (b"two", at, length, 0x200),
        (b"three", own, 0x200, 0x200 + length),
    ];
    let mut out = pe_header(names, &[(1, own, 0x200)], entry);
    out.resize(0x200, 0);
    out.extend(content);
    out
}

/// An MZ header and one of a Portable Executable of 32 bits with these sections (name, address, length, place)
/// and directories (number, address, length).
fn pe_header(
    sections: &[(&[u8], u32, u32, u32)],
    directories: &[(usize, u32, u32)],
    entry: u32,
) -> Vec<u8> {
    let mut out = b"MZ".to_vec();
    out.resize(64, 0);
    out[60] = 64;
    out.extend_from_slice(b"PE\0\0\x4c\x01");
    out.extend((sections.len() as u16).to_le_bytes());
    out.resize(64 + 248, 0);
    out[64 + 20] = 224;
    out[64 + 24..64 + 26].copy_from_slice(b"\x0b\x01");
    for (at, word) in [(28, 0x200), (40, entry), (44, 0x1000), (52, 0x40_0000)] {
        out[64 + at..64 + at + 4].copy_from_slice(&u32::to_le_bytes(word));
    }
    for (number, address, length) in directories {
        let at = 64 + 120 + 8 * number;
        let words = [address.to_le_bytes(), length.to_le_bytes()].concat();
        out[at..at + 8].copy_from_slice(&words);
    }
    for (name, address, length, place) in sections {
        let mut header = [0; 40];
        header[..name.len()].copy_from_slice(name);
        for (at, word) in [
            (8, 0x1000_u32.max(*length)),
            (12, *address),
            (16, *length),
            (20, *place),
        ] {
            header[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&header);
    }
    out
}
