//! Opens archives in memory, one inside another, and hands out every file in them as (path, bytes).
//! Paths of members are joined with `!`. Formats: zip (also ZipCrypto and AES), 7z, tar, ar as in
//! Debian packages (deb(5)), gzip, bzip2, Zstandard, xz. Everything is bounded: bytes of one member, of
//! all that comes out of one outermost file, members, depth. What does not open is counted by reason.
//! Nothing is ever written anywhere.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Cursor, Read};

use sevenz_rust2::{ArchiveReader, Password};
use thymus_parsers::{Compression, decompress};

use super::kind::is_office_zip;

/// Longest member taken.
pub(crate) const MEMBER_BYTES_MAX: u64 = 32 << 20;
const TOTAL_BYTES_MAX: u64 = 2 << 30;
const MEMBERS_MAX: u32 = 200_000;
const DEPTH_MAX: u32 = 7;
/// Dictionary an xz or 7z stream may ask for.
const XZ_MEMORY_KIB_MAX: u32 = 256 << 10;

/// What was not taken, by reason.
pub(crate) type Tally = BTreeMap<&'static str, u64>;

/// Takes files: path inside and bytes.
pub(crate) type Sink<'a> = dyn FnMut(&str, &[u8]) + 'a;

/// Opens one outermost file.
pub(crate) struct Unpacker<'a> {
    passwords: &'a [String],
    tally: &'a mut Tally,
    bytes_left: u64,
    members_left: u32,
}

/// What a file is as a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Container {
    Zip,
    SevenZip,
    Deb,
    Tar,
    Stream,
    Xz,
    Unsupported(&'static str),
    None,
}

fn container(bytes: &[u8]) -> Container {
    match bytes {
        [b'P', b'K', 3, 4, ..] if is_office_zip(bytes) => Container::None,
        [b'P', b'K', 3, 4, ..] => Container::Zip,
        [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => Container::SevenZip,
        [b'R', b'a', b'r', b'!', ..] => Container::Unsupported("rar archive"),
        [b'M', b'S', b'C', b'F', ..] => Container::Unsupported("cab archive"),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Container::Xz,
        _ if bytes.starts_with(b"!<arch>\ndebian-binary") => Container::Deb,
        _ if is_tar(bytes) => Container::Tar,
        _ if Compression::sniff(bytes) != Compression::None => Container::Stream,
        _ => Container::None,
    }
}

fn is_tar(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar")
}

/// Outcome of a step inside an archive; the error is the reason for the tally.
type Step = Result<(), &'static str>;

impl<'a> Unpacker<'a> {
    /// An unpacker that counts in `tally`.
    pub(crate) fn new(passwords: &'a [String], tally: &'a mut Tally) -> Self {
        Self {
            passwords,
            tally,
            bytes_left: TOTAL_BYTES_MAX,
            members_left: MEMBERS_MAX,
        }
    }

    /// Hands `bytes` or what is in it to `sink`.
    pub(crate) fn open(&mut self, path: &str, bytes: &[u8], sink: &mut Sink<'_>) {
        self.step(path, bytes, 0, sink);
    }

    fn count(&mut self, reason: &'static str) {
        *self.tally.entry(reason).or_default() += 1;
    }

    fn step(&mut self, path: &str, bytes: &[u8], depth: u32, sink: &mut Sink<'_>) {
        let container = container(bytes);
        if container != Container::None && depth >= DEPTH_MAX {
            return self.count("too deep");
        }
        let depth = depth + 1;
        let done = match container {
            Container::None => {
                sink(path, bytes);
                return;
            }
            Container::Zip => self.zip(path, bytes, depth, sink),
            Container::SevenZip => self.seven_zip(path, bytes, depth, sink),
            Container::Deb => self.deb(path, bytes, depth, sink),
            Container::Tar => self.tar(path, bytes, depth, sink),
            Container::Stream => match decompress(Compression::sniff(bytes), bytes) {
                Ok(reader) => self.stream(path, reader, depth, sink),
                Err(_) => Err("broken stream"),
            },
            Container::Xz => {
                let reader = lzma_rust2::XzReader::new_mem_limit(bytes, true, XZ_MEMORY_KIB_MAX);
                self.stream(path, reader, depth, sink)
            }
            Container::Unsupported(reason) => Err(reason),
        };
        if let Err(reason) = done {
            self.count(reason);
        }
    }

    /// Takes a member's bytes against the budget.
    fn take(&mut self, reader: &mut dyn Read) -> Result<Vec<u8>, &'static str> {
        if self.members_left == 0 {
            return Err("too many members");
        }
        self.members_left -= 1;
        let max = MEMBER_BYTES_MAX.min(self.bytes_left);
        let mut bytes = Vec::new();
        let read = reader.take(max + 1).read_to_end(&mut bytes);
        self.bytes_left = self.bytes_left.saturating_sub(bytes.len() as u64);
        match read {
            Err(_) => Err("broken member"),
            Ok(length) if length as u64 > max => Err("member too large"),
            Ok(_) => Ok(bytes),
        }
    }

    fn stream(&mut self, path: &str, reader: impl Read, depth: u32, sink: &mut Sink<'_>) -> Step {
        let mut reader = BufReader::with_capacity(1 << 16, reader);
        let head = reader.fill_buf().map_err(|_| "broken stream")?;
        if head.len() >= 262 && is_tar(head) {
            return self.tar(path, reader, depth, sink);
        }
        let bytes = self.take(&mut reader)?;
        self.step(path, &bytes, depth, sink);
        Ok(())
    }

    fn tar(&mut self, path: &str, reader: impl Read, depth: u32, sink: &mut Sink<'_>) -> Step {
        let mut archive = tar::Archive::new(reader);
        for entry in archive.entries().map_err(|_| "broken tar")? {
            let mut entry = entry.map_err(|_| "broken tar")?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            if entry.size() > MEMBER_BYTES_MAX {
                self.count("member too large");
                continue;
            }
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let bytes = self.take(&mut entry)?;
            let name = name.trim_start_matches("./");
            self.step(&format!("{path}!{name}"), &bytes, depth, sink);
        }
        Ok(())
    }

    /// deb(5): an ar archive of `debian-binary`, `control.tar.*` and `data.tar.*`.
    fn deb(&mut self, path: &str, bytes: &[u8], depth: u32, sink: &mut Sink<'_>) -> Step {
        let mut rest = bytes.get(8..).unwrap_or_default();
        while let Some(header) = rest.get(..60) {
            let field = |range| String::from_utf8_lossy(header.get(range).unwrap_or_default());
            let name = field(0..16).trim_end_matches([' ', '/']).to_owned();
            let size: usize = field(48..58).trim().parse().map_err(|_| "broken ar")?;
            let body = rest.get(60..).and_then(|rest| rest.get(..size));
            let body = body.ok_or("broken ar")?;
            // Maintainer scripts are scripts like any other.
            if name.starts_with("data.tar") || name.starts_with("control.tar") {
                self.step(path, body, depth, sink);
            }
            rest = rest.get(60 + size + size % 2..).unwrap_or_default();
        }
        Ok(())
    }

    fn zip(&mut self, path: &str, bytes: &[u8], depth: u32, sink: &mut Sink<'_>) -> Step {
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|_| "broken zip")?;
        for index in 0..archive.len() {
            match self.zip_member(&mut archive, index) {
                Ok(Some((name, bytes))) => {
                    self.step(&format!("{path}!{name}"), &bytes, depth, sink);
                }
                Ok(None) => {}
                Err(reason) => self.count(reason),
            }
            if self.members_left == 0 || self.bytes_left == 0 {
                return Err("out of budget");
            }
        }
        Ok(())
    }

    fn zip_member(
        &mut self,
        archive: &mut zip::ZipArchive<Cursor<&[u8]>>,
        index: usize,
    ) -> Result<Option<(String, Vec<u8>)>, &'static str> {
        let (name, is_file, is_locked, size) = {
            let member = archive.by_index_raw(index).map_err(|_| "broken member")?;
            let name = member.name().map_err(|_| "broken member")?.into_owned();
            (name, member.is_file(), member.encrypted(), member.size())
        };
        if !is_file {
            return Ok(None);
        }
        if size > MEMBER_BYTES_MAX {
            return Err("member too large");
        }
        if !is_locked {
            let mut member = archive.by_index(index).map_err(|_| "broken member")?;
            return self.take(&mut member).map(|bytes| Some((name, bytes)));
        }
        for password in self.passwords {
            let Ok(mut member) = archive.by_index_decrypt(index, password.as_bytes()) else {
                continue;
            };
            // A wrong password passes ZipCrypto's one check byte now and then; the checksum tells.
            if let Ok(bytes) = self.take(&mut member) {
                return Ok(Some((name, bytes)));
            }
        }
        Err("password unknown")
    }

    fn seven_zip(&mut self, path: &str, bytes: &[u8], depth: u32, sink: &mut Sink<'_>) -> Step {
        let passwords: Vec<Password> = std::iter::once(Password::empty())
            .chain(
                self.passwords
                    .iter()
                    .map(|word| Password::from(word.as_str())),
            )
            .collect();
        for password in passwords {
            let Ok(mut archive) = ArchiveReader::new(Cursor::new(bytes), password) else {
                continue;
            };
            archive.set_thread_count(1);
            let mut members = Vec::new();
            let read = archive.for_each_entries(|entry, reader| {
                if entry.is_directory() || !entry.has_stream() {
                    return Ok(true);
                }
                if entry.size() > MEMBER_BYTES_MAX {
                    return Ok(std::io::copy(reader, &mut std::io::sink()).is_ok());
                }
                match self.take(reader) {
                    Ok(bytes) => members.push((entry.name().to_owned(), bytes)),
                    Err(_) => return Ok(false),
                }
                Ok(true)
            });
            if read.is_ok() && !members.is_empty() {
                for (name, bytes) in members {
                    self.step(&format!("{path}!{name}"), &bytes, depth, sink);
                }
                return Ok(());
            }
        }
        Err("7z does not open")
    }
}
