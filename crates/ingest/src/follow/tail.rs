//! One file that is followed: how far it was read, what of its last line is there, and how it is known
//! again when its name, its inode or its wrapping has changed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thymus_parsers::{Compression, decompress};
use thymus_schema::InputId;

use super::folder::{FileKey, Stamp};
use crate::logs::lines::LINE_BYTES_MAX;

/// How many of its first bytes a file is known by.
pub(super) const HEAD_BYTES: usize = 4096;

/// Digest of a file's first bytes, as many as were read of it, at most [`HEAD_BYTES`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fingerprint {
    len: usize,
    digest: String,
    /// A record is among the bytes: headers are alike in many files.
    telling: bool,
}

impl Fingerprint {
    pub(super) fn of(head: &[u8]) -> Self {
        let head = head.get(..HEAD_BYTES).unwrap_or(head);
        if head.iter().all(|byte| *byte == 0) {
            return Self::default();
        }
        let digest = blake3::hash(head).to_hex();
        Self {
            len: head.len(),
            digest: digest.get(..32).unwrap_or_default().to_owned(),
            telling: head.len() == HEAD_BYTES || has_record(head),
        }
    }

    /// Whether a file that begins with `head` may be the one; an empty fingerprint fits each.
    pub(super) fn fits(&self, head: &[u8]) -> bool {
        self.len == 0
            || head
                .get(..self.len)
                .is_some_and(|head| Self::of(head) == *self)
    }

    /// Whether a file that begins with `head` is the one, or a copy of it.
    pub(super) fn tells(&self, head: &[u8]) -> bool {
        self.telling && self.fits(head)
    }

    /// Whether it tells one file from another.
    pub(super) const fn is_telling(&self) -> bool {
        self.telling
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }
}

/// Where reading stands: what the position file keeps of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) key: FileKey,
    pub(super) path: PathBuf,
    pub(super) log: u32,
    /// Number of the file among those that its log consisted of.
    pub(super) generation: u64,
    pub(super) id: InputId,
    /// How it is compressed.
    pub(super) packed: Packed,
    /// It does not grow: at its end it is done with.
    pub(super) finite: bool,
    /// Bytes read, decompressed.
    pub(super) read: u64,
    /// Lines read.
    pub(super) line: u64,
    /// Reading is inside a line that is too long.
    pub(super) skipping: bool,
    pub(super) fingerprint: Fingerprint,
    /// Its size when last looked at.
    pub(super) size: u64,
    /// The beginning of its first line, from before it was cut.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) carry: Vec<u8>,
    /// So many of the last bytes of that were read of the content that was cut, so a copy has them too.
    #[serde(default)]
    pub(super) copied: usize,
    /// So many of its bytes were counted as lost before it was found.
    #[serde(default)]
    pub(super) recovers: u64,
}

/// [`Compression`] by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Packed {
    #[default]
    Not,
    Gzip,
    Zstd,
    Bzip2,
}

impl From<Compression> for Packed {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::Not,
            Compression::Gzip => Self::Gzip,
            Compression::Zstd => Self::Zstd,
            Compression::Bzip2 => Self::Bzip2,
        }
    }
}

impl Packed {
    fn compression(self) -> Compression {
        match self {
            Self::Not => Compression::None,
            Self::Gzip => Compression::Gzip,
            Self::Zstd => Compression::Zstd,
            Self::Bzip2 => Compression::Bzip2,
        }
    }
}

/// A file that is followed.
pub(super) struct Tail {
    pub(super) place: Place,
    /// What is there of the last line.
    pub(super) partial: Vec<u8>,
    reader: Option<Reader>,
    stamp: Option<Stamp>,
    /// There are bytes to read.
    pub(super) unread: bool,
    /// It is in the followed folders.
    pub(super) present: bool,
    /// Looks in a row that found it unchanged.
    pub(super) quiet: u32,
}

enum Reader {
    Plain(File),
    Packed(Box<dyn Read + Send>),
}

/// What a look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It is the file it was, perhaps longer.
    Same,
    /// Its content is another: it was cut or replaced. So many bytes had been seen and not read; one
    /// that was open is the same file still.
    Restarted { unread: u64, open: bool },
    /// It is not there any more, and not open.
    Gone,
    /// It is there and cannot be read.
    Unreadable(String),
}

/// What a line was, to who reads lines.
pub(super) enum Piece<'a> {
    /// A whole line; the beginning from before the file was cut, when it may have one.
    Line(Vec<u8>, &'a [u8]),
    /// A line beyond the bound.
    TooLong,
}

impl Tail {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            partial: Vec::new(),
            reader: None,
            stamp: None,
            unread: false,
            present: true,
            quiet: 0,
        }
    }

    /// Offset of the first byte that no whole line was made of.
    pub(super) fn offset(&self) -> u64 {
        self.place.read.saturating_sub(self.partial.len() as u64)
    }

    pub(super) const fn is_open(&self) -> bool {
        self.reader.is_some()
    }

    /// Closes it; it is opened again when it has changed.
    pub(super) fn close(&mut self) {
        self.reader = None;
    }

    /// When it was last looked at.
    pub(super) fn stamp(&self) -> Stamp {
        self.stamp.unwrap_or_default()
    }

    /// What the position file keeps.
    pub(super) fn keep(&self) -> Place {
        Place {
            read: self.offset(),
            ..self.place.clone()
        }
    }

    /// Looks at it: what has become of it since? `stamp` is what the folder says, `None` when it is not
    /// in the followed folders.
    pub(super) fn look(&mut self, stamp: Option<Stamp>) -> Look {
        self.present = stamp.is_some();
        let stamp = match (&self.reader, stamp) {
            (_, Some(stamp)) => stamp,
            (Some(Reader::Plain(file)), None) => match file.metadata() {
                Ok(meta) => Stamp::of(&meta),
                Err(error) => return Look::Unreadable(error.to_string()),
            },
            (Some(Reader::Packed(_)), None) => self.stamp(),
            (None, None) => return Look::Gone,
        };
        if self.stamp == Some(stamp) {
            self.quiet = self.quiet.saturating_add(1);
            return Look::Same;
        }
        match self.look_inside(stamp) {
            Ok(look) => look,
            Err(error) => Look::Unreadable(error.to_string()),
        }
    }

    fn look_inside(&mut self, stamp: Stamp) -> io::Result<Look> {
        let packed = self.place.packed != Packed::Not;
        let open = self.reader.is_some();
        if packed || self.reader.is_none() {
            let file = File::open(&self.place.path)?;
            if FileKey::of(&file.metadata()?) != self.place.key {
                // Another file has taken the name: the next look at the folder tells.
                return Ok(Look::Same);
            }
            if packed {
                return self.open_packed(file, stamp);
            }
            self.reader = Some(Reader::Plain(file));
        }
        let Some(Reader::Plain(file)) = &self.reader else {
            return Ok(Look::Same);
        };
        let head = head_of(file)?;
        let stamp = Stamp::of(&file.metadata()?);

        let packed = Compression::sniff(&head) != Compression::None;
        if stamp.size < self.place.read || packed || !self.place.fingerprint.fits(&head) {
            let unread = self.place.size.saturating_sub(self.place.read);
            return Ok(Look::Restarted { unread, open });
        }

        if head.len() > self.place.fingerprint.len() {
            self.place.fingerprint = Fingerprint::of(&head);
        }
        self.stamp = Some(stamp);
        self.place.size = stamp.size;
        self.quiet = 0;
        self.unread = stamp.size > self.place.read;
        Ok(Look::Same)
    }

    /// Opens a compressed file and goes to where reading stands.
    fn open_packed(&mut self, file: File, stamp: Stamp) -> io::Result<Look> {
        // One that is broken is looked at again when it has changed, not before.
        self.stamp = Some(stamp);
        self.quiet = 0;
        let mut reader = decompress(self.place.packed.compression(), file)?;
        let mut left = self.place.read;
        let mut chunk = vec![0u8; 64 * 1024];
        while left > 0 {
            let wanted = (chunk.len() as u64).min(left) as usize;
            let n = reader.read(chunk.get_mut(..wanted).unwrap_or_default())?;
            if n == 0 {
                break;
            }
            left -= n as u64;
        }
        self.reader = Some(Reader::Packed(reader));
        self.place.size = stamp.size;
        self.unread = left == 0;
        Ok(Look::Same)
    }

    /// Begins anew at the start of what is now another content.
    pub(super) fn restart(&mut self, generation: u64, id: InputId) {
        let copied = self.partial.len();
        let carry = self.take_partial();
        self.place = Place {
            generation,
            id,
            read: 0,
            line: 0,
            skipping: false,
            fingerprint: Fingerprint::default(),
            size: 0,

            carry,
            copied,
            recovers: 0,
            ..self.place.clone()
        };
        self.stamp = None;
        self.unread = false;
        self.quiet = 0;
    }

    /// Reads at most `buffer.len()` bytes and hands over the lines that have become whole; how many
    /// bytes it was.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        each: &mut dyn FnMut(&Place, Piece<'_>),
    ) -> io::Result<usize> {
        let n = match &mut self.reader {
            Some(Reader::Plain(file)) => file.read_at(buffer, self.place.read)?,
            Some(Reader::Packed(reader)) => reader.read(buffer)?,
            None => 0,
        };
        let bytes = buffer.get(..n).unwrap_or_default();
        if self.place.packed != Packed::Not && self.place.read < HEAD_BYTES as u64 {
            self.packed_fingerprint(bytes);
        }
        self.place.read += n as u64;
        self.unread = match &self.reader {
            Some(Reader::Plain(_)) => n > 0 && self.place.size > self.place.read,
            _ => n > 0,
        };
        self.feed(bytes, each);
        self.plain_fingerprint()?;
        Ok(n)
    }

    /// Of a compressed file, what its first reading gave is what it is known by.
    fn packed_fingerprint(&mut self, bytes: &[u8]) {
        if self.place.read == 0 {
            self.place.fingerprint = Fingerprint::of(bytes);
        }
    }

    fn plain_fingerprint(&mut self) -> io::Result<()> {
        let Some(Reader::Plain(file)) = &self.reader else {
            return Ok(());
        };
        let known = self.place.fingerprint.len() as u64;
        if known < HEAD_BYTES as u64 && known < self.place.read {
            let head = head_of(file)?;
            let read = head.len().min(self.place.read as usize);
            self.place.fingerprint = Fingerprint::of(head.get(..read).unwrap_or_default());
        }
        Ok(())
    }

    fn feed(&mut self, mut bytes: &[u8], each: &mut dyn FnMut(&Place, Piece<'_>)) {
        loop {
            if self.partial.is_empty() {
                // A writer that goes on behind the place where its file was cut leaves zeros before.
                let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
                bytes = bytes.get(zeros..).unwrap_or_default();
            }
            let Some(at) = memchr::memchr(b'\n', bytes) else {
                break;
            };
            let line = bytes.get(..at).unwrap_or_default();
            bytes = bytes.get(at + 1..).unwrap_or_default();
            if self.place.skipping || self.partial.len() + line.len() > LINE_BYTES_MAX {
                self.place.skipping = false;
                self.partial.clear();
                each(&self.place, Piece::TooLong);
            } else if self.partial.is_empty() {
                let carry = std::mem::take(&mut self.place.carry);
                each(&self.place, Piece::Line(carry, line));
            } else {
                self.partial.extend_from_slice(line);
                let carry = std::mem::take(&mut self.place.carry);
                each(&self.place, Piece::Line(carry, &self.partial));
                self.partial.clear();
            }
            self.place.line += 1;
        }
        if self.place.skipping {
            return;
        }
        self.partial.extend_from_slice(bytes);
        if self.partial.len() > LINE_BYTES_MAX {
            self.partial = Vec::new();
            self.place.skipping = true;
        }
    }

    /// Takes what is there of a line that will not be ended any more.
    pub(super) fn take_partial(&mut self) -> Vec<u8> {
        let mut line = std::mem::take(&mut self.place.carry);
        line.append(&mut self.partial);
        line
    }
}

/// Whether a whole line is there that is no header: every record has a time, in figures.
fn has_record(head: &[u8]) -> bool {
    let whole = head.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    let mut lines = head
        .get(..whole)
        .unwrap_or_default()
        .split(|byte| *byte == b'\n');
    lines.any(|line| !line.starts_with(b"#") && line.iter().any(u8::is_ascii_digit))
}

fn head_of(file: &File) -> io::Result<Vec<u8>> {
    let mut head = vec![0u8; HEAD_BYTES];
    let mut len = 0;
    while len < HEAD_BYTES {
        let n = file.read_at(head.get_mut(len..).unwrap_or_default(), len as u64)?;
        if n == 0 {
            break;
        }
        len += n;
    }
    head.truncate(len);
    Ok(head)
}

/// The length of the content of a gzip file, as its last four bytes tell it (RFC 1952: modulo 2^32).
pub(super) fn gzip_length(path: &std::path::Path) -> Option<u32> {
    let size = fs::metadata(path).ok()?.len();
    let mut last = [0u8; 4];
    let file = File::open(path).ok()?;
    file.read_exact_at(&mut last, size.checked_sub(4)?).ok()?;
    Some(u32::from_le_bytes(last))
}
