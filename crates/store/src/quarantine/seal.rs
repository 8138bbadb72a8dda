//! A sealed file: a head with a random beginning of all nonces, the content in chunks, each sealed with
//! its number and whether it is the last, then what is known of it, sealed too, and that one's length.
//! Nothing can be cut off, exchanged or put in another order without being noticed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};

use super::{KEY_BYTES, Kept, QuarantineError};

const MAGIC: &[u8; 8] = b"THYQUAR1";
const PREFIX: usize = 16;
const HEAD: u64 = (MAGIC.len() + PREFIX) as u64;
const TAG: usize = 16;
/// Bytes of a chunk, before it is sealed.
const CHUNK: usize = 1 << 20;
const KEPT_BYTES_MAX: u64 = 1 << 20;

/// What a sealed part is.
#[derive(Clone, Copy)]
enum Part {
    Chunk(u32),
    Last(u32),
    Kept,
}

struct Cipher {
    cipher: XChaCha20Poly1305,
    prefix: [u8; PREFIX],
}

impl Cipher {
    fn new(key: &[u8; KEY_BYTES], prefix: [u8; PREFIX]) -> Self {
        Self {
            cipher: XChaCha20Poly1305::new(&(*key).into()),
            prefix,
        }
    }

    fn nonce(&self, part: Part) -> XNonce {
        let (kind, number) = match part {
            Part::Chunk(number) => (0, number),
            Part::Last(number) => (1, number),
            Part::Kept => (2, 0),
        };
        let mut nonce = [0; 24];
        let (prefix, rest) = nonce.split_at_mut(PREFIX);
        prefix.copy_from_slice(&self.prefix);
        let (counter, kinds) = rest.split_at_mut(4);
        counter.copy_from_slice(&number.to_le_bytes());
        kinds.copy_from_slice(&[kind, 0, 0, 0]);
        nonce.into()
    }

    fn seal(&self, part: Part, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let payload = Payload {
            msg: bytes,
            aad: MAGIC,
        };
        let sealed = self.cipher.encrypt(&self.nonce(part), payload);
        sealed.map_err(|_| io::Error::other("a chunk is too long to be sealed"))
    }

    fn open(&self, part: Part, sealed: &[u8]) -> Option<Vec<u8>> {
        let payload = Payload {
            msg: sealed,
            aad: MAGIC,
        };
        self.cipher.decrypt(&self.nonce(part), payload).ok()
    }
}

/// Fills with random bytes from the system.
pub(super) fn random(bytes: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..)
        && !rest.is_empty()
    {
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(())
}

/// What failed while a file was sealed.
pub(super) enum Trouble {
    Read(io::Error),
    Write(io::Error),
}

/// Seals all of `from` into `to`; `kept` makes what is known of it from its length and its digest.
pub(super) fn seal(
    key: &[u8; KEY_BYTES],
    from: &mut File,
    to: &mut File,
    kept: impl FnOnce(u64, String) -> Kept,
) -> Result<Kept, Trouble> {
    let mut prefix = [0; PREFIX];
    random(&mut prefix).map_err(Trouble::Write)?;
    let cipher = Cipher::new(key, prefix);
    let mut put = |bytes: &[u8]| to.write_all(bytes).map_err(Trouble::Write);
    put(MAGIC)?;
    put(&prefix)?;
    let (mut digest, mut length, mut number) = (Sha256::new(), 0, 0_u32);
    let mut chunk = chunk_of(from)?;
    loop {
        let next = chunk_of(from)?;
        digest.update(&chunk);
        length += chunk.len() as u64;
        let part = if next.is_empty() {
            Part::Last(number)
        } else {
            Part::Chunk(number)
        };
        put(&cipher.seal(part, &chunk).map_err(Trouble::Write)?)?;
        if next.is_empty() {
            break;
        }
        let more = number.checked_add(1);
        number = more.ok_or_else(|| Trouble::Read(io::ErrorKind::FileTooLarge.into()))?;
        chunk = next;
    }
    let kept = kept(length, hex(&digest.finalize()));
    let told = serde_json::to_vec(&kept).map_err(|e| Trouble::Write(e.into()))?;
    let told = cipher.seal(Part::Kept, &told).map_err(Trouble::Write)?;
    put(&told)?;
    put(&(told.len() as u64).to_le_bytes())?;
    Ok(kept)
}

fn chunk_of(from: &mut File) -> Result<Vec<u8>, Trouble> {
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut part = from.take(CHUNK as u64);
    part.read_to_end(&mut chunk).map_err(Trouble::Read)?;
    Ok(chunk)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16);
    let digits = bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]);
    digits.flatten().collect()
}

/// A sealed file, open for reading.
pub(super) struct Opened<'f> {
    file: &'f mut File,
    cipher: Cipher,
    id: String,
    content: u64,
    pub(super) kept: Kept,
}

impl<'f> Opened<'f> {
    /// Opens an entry and reads what is known of it.
    pub(super) fn new(
        file: &'f mut File,
        key: &[u8; KEY_BYTES],
        id: &str,
    ) -> Result<Self, QuarantineError> {
        let damaged = || QuarantineError::Damaged { id: id.to_owned() };
        let (cipher, content, told) = head(file, key).map_err(|_| damaged())?;
        let told = cipher.open(Part::Kept, &told).ok_or_else(damaged)?;
        let kept = serde_json::from_slice(&told).map_err(|_| damaged())?;
        Ok(Self {
            file,
            cipher,
            id: id.to_owned(),
            content,
            kept,
        })
    }

    /// Writes the content to `to`, and is content only with the very bytes that were sealed.
    pub(super) fn write(
        &mut self,
        to: &mut dyn Write,
        failed: impl Fn(io::Error) -> QuarantineError,
    ) -> Result<(), QuarantineError> {
        let damaged = || QuarantineError::Damaged {
            id: self.id.clone(),
        };
        self.file
            .seek(SeekFrom::Start(HEAD))
            .map_err(|_| damaged())?;
        let (mut left, mut number) = (self.content, 0_u32);
        let mut digest = Sha256::new();
        loop {
            let length = left.min((CHUNK + TAG) as u64);
            left -= length;
            let mut sealed = Vec::new();
            let mut from = (&mut *self.file).take(length);
            let read = from.read_to_end(&mut sealed).map_err(|_| damaged())?;
            let part = if left == 0 {
                Part::Last(number)
            } else {
                Part::Chunk(number)
            };
            let is_whole = read as u64 == length;
            let chunk = self.cipher.open(part, &sealed).filter(|_| is_whole);
            let chunk = chunk.ok_or_else(damaged)?;
            digest.update(&chunk);
            to.write_all(&chunk).map_err(&failed)?;
            if left == 0 {
                break;
            }
            number = number.checked_add(1).ok_or_else(damaged)?;
        }
        let is_same = hex(&digest.finalize()) == self.kept.sha256;
        is_same.then_some(()).ok_or_else(damaged)
    }
}

/// The cipher, the length of the sealed content, and what is known of it, sealed.
fn head(file: &mut File, key: &[u8; KEY_BYTES]) -> io::Result<(Cipher, u64, Vec<u8>)> {
    let broken = || io::Error::from(io::ErrorKind::InvalidData);
    file.rewind()?;
    let mut magic = [0; MAGIC.len()];
    let mut prefix = [0; PREFIX];
    file.read_exact(&mut magic)?;
    file.read_exact(&mut prefix)?;
    let end = file.seek(SeekFrom::End(-8))?;
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if &magic != MAGIC || length > KEPT_BYTES_MAX {
        return Err(broken());
    }
    let start = end.checked_sub(length).ok_or_else(broken)?;
    let content = start.checked_sub(HEAD).ok_or_else(broken)?;
    file.seek(SeekFrom::Start(start))?;
    let mut told = Vec::new();
    file.take(length).read_to_end(&mut told)?;
    Ok((Cipher::new(key, prefix), content, told))
}
