//! The pack: samples for training in a few enciphered files, so that nothing hostile lies on a disk in the
//! clear and a part can be carried to another machine alone. A part holds one type and one side in an
//! order by hash, so that any number of parts is a fair draw of the whole.
//!
//! A part is `THYPACK1`, the record count and the table's offset (both u64, little-endian), the
//! records, then the table. A record is the file's kept bytes, compressed with Zstandard, then enciphered
//! with ChaCha20-Poly1305 (RFC 8439) under a key of this part; the table is bound to the records by
//! each record's associated data, its SHA-256. Hashes, labels and sizes in the table are in the clear.

mod read;
mod segments;
mod write;

pub(crate) use read::{Part, parts};
pub(crate) use segments::Policy;
pub(crate) use write::{Choice, write};

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit};

use super::kind::Kind;
use super::manifest::{Label, Role};

const MAGIC: &[u8; 8] = b"THYPACK1";
const HEAD_BYTES: u64 = 24;
/// Bytes of one line of the table.
const ENTRY_BYTES: usize = 64;
const KEY_BYTES: usize = 32;

/// The secret all part keys come from.
#[derive(Clone)]
pub(crate) struct Secret([u8; KEY_BYTES]);

impl Secret {
    /// Reads a key file: 64 hexadecimal digits.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let text = text.trim();
        ensure!(
            text.len() == 2 * KEY_BYTES && text.is_ascii(),
            "a key is 64 hexadecimal digits"
        );
        let mut key = [0; KEY_BYTES];
        for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(&String::from_utf8_lossy(digits), 16).context("key")?;
        }
        Ok(Self(key))
    }

    /// Reads a key file, or makes one from the system's randomness where there is none.
    pub(crate) fn read_or_make(path: &Path) -> Result<Self> {
        if !path.exists() {
            use std::io::Read as _;
            let mut key = [0; KEY_BYTES];
            let mut random = fs::File::open("/dev/urandom").context("open /dev/urandom")?;
            random.read_exact(&mut key).context("read /dev/urandom")?;
            fs::write(path, super::gather::hex(&key))
                .with_context(|| format!("write {}", path.display()))?;
        }
        Self::read(path)
    }

    /// The cipher of one record: its key comes from the secret, the policy, and the file's hash, so that no
    /// two plain texts share one and the nonce may be zero.
    fn cipher(&self, policy: Policy, sha256: &[u8; 32]) -> ChaCha20Poly1305 {
        let mut material = self.0.to_vec();
        material.extend_from_slice(&policy.bytes());
        material.extend_from_slice(sha256);
        let key = blake3::derive_key("thymus corpus pack record v1", &material);
        ChaCha20Poly1305::new(&Key::from(key))
    }
}

/// A line of a part's table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// SHA-256 of the whole file.
    pub(crate) sha256: [u8; 32],
    /// Where the record starts in the part.
    offset: u64,
    /// Length of the record.
    length: u32,
    /// Length of the whole file.
    pub(crate) size: u64,
    /// Type.
    pub(crate) kind: Kind,
    /// Label.
    pub(crate) label: Label,
    /// Side of the split.
    pub(crate) role: Role,
    /// Number of the cluster: the first eight digits of its name.
    pub(crate) cluster: u32,
}

impl Entry {
    fn bytes(&self) -> [u8; ENTRY_BYTES] {
        let mut out = [0; ENTRY_BYTES];
        let place = |kind: Kind| Kind::ALL.iter().position(|k| *k == kind).unwrap_or(0) as u8;
        let role = Role::ALL.iter().position(|r| *r == self.role).unwrap_or(0) as u8;
        let fields = [
            self.sha256.as_slice(),
            &self.offset.to_le_bytes(),
            &self.size.to_le_bytes(),
            &self.length.to_le_bytes(),
            &self.cluster.to_le_bytes(),
            &[
                place(self.kind),
                u8::from(self.label == Label::Malicious),
                role,
            ],
        ];
        for (slot, byte) in out.iter_mut().zip(fields.concat()) {
            *slot = byte;
        }
        out
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (sha256, rest) = bytes.split_first_chunk::<32>()?;
        let (offset, rest) = rest.split_first_chunk::<8>()?;
        let (size, rest) = rest.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (cluster, rest) = rest.split_first_chunk::<4>()?;
        let [kind, label, role, ..] = rest else {
            return None;
        };
        Some(Self {
            sha256: *sha256,
            offset: u64::from_le_bytes(*offset),
            length: u32::from_le_bytes(*length),
            size: u64::from_le_bytes(*size),
            kind: *Kind::ALL.get(usize::from(*kind))?,
            label: if *label == 1 {
                Label::Malicious
            } else {
                Label::Benign
            },
            role: *Role::ALL.get(usize::from(*role))?,
            cluster: u32::from_le_bytes(*cluster),
        })
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
