//! One file as found on disk: its identity, its compression and its first bytes.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thymus_parsers::{Compression, decompress};
use thymus_schema::{InputId, Timestamp};

/// How many (decompressed) bytes a file is recognised by.
pub(crate) const HEAD_BYTES_MAX: usize = 64 * 1024;

/// One input file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Quick digest of its content: size, first and last 64 KiB.
    pub id: InputId,
    /// Where it is.
    pub path: PathBuf,
    /// Its size on disk.
    pub bytes: u64,
    /// How it is compressed.
    pub compression: Compression,
    /// Which format or log it is, as [`Sniffed`](crate::Sniffed) said.
    pub format: String,
    /// Time of its first packet or record, where its head shows it.
    pub first: Option<Timestamp>,
}

impl Input {
    /// Identifies the file at `path` and returns its first bytes, decompressed.
    ///
    /// # Errors
    /// When it cannot be opened or read; a broken compressed stream gives the bytes before the break.
    pub fn identify(path: &Path) -> std::io::Result<(Self, Vec<u8>)> {
        let mut file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&bytes.to_le_bytes());
        let mut head = Vec::new();
        file.by_ref()
            .take(HEAD_BYTES_MAX as u64)
            .read_to_end(&mut head)?;
        hasher.update(&head);
        let head_len = head.len() as u64;
        if bytes > head_len {
            file.seek(SeekFrom::Start(
                bytes.saturating_sub(HEAD_BYTES_MAX as u64).max(head_len),
            ))?;
            let mut tail = Vec::new();
            file.by_ref()
                .take(HEAD_BYTES_MAX as u64)
                .read_to_end(&mut tail)?;
            hasher.update(&tail);
        }
        let digest = hasher.finalize();
        let first = digest
            .as_bytes()
            .first_chunk::<8>()
            .copied()
            .unwrap_or_default();
        let input = Self {
            id: InputId(u64::from_le_bytes(first)),
            path: path.to_path_buf(),
            bytes,
            compression: Compression::sniff(&head),
            format: String::new(),
            first: None,
        };
        if input.compression == Compression::None {
            return Ok((input, head));
        }
        let mut plain = Vec::new();
        let mut reader = input.open()?;
        let mut chunk = [0u8; 4096];
        while plain.len() < HEAD_BYTES_MAX {
            match reader.read(&mut chunk) {
                Ok(0) | Err(_) => break,
                Ok(n) => plain.extend_from_slice(chunk.get(..n).unwrap_or_default()),
            }
        }
        plain.truncate(HEAD_BYTES_MAX);
        Ok((input, plain))
    }

    /// What to do when its bytes cannot be read to the end.
    pub(crate) fn reread_advice(&self) -> String {
        if self.compression == Compression::None {
            return "check the disk it is on, and copy the file again".to_owned();
        }
        format!(
            "check the file with {} -t, and copy it again from where it was made",
            self.compression.as_str()
        )
    }

    /// What to do when the capture in it breaks off or is damaged, though its bytes can be read.
    pub(crate) fn repair_advice(&self) -> String {
        if self.compression == Compression::None {
            return "copy the file again, or repair it with pcapfix".to_owned();
        }
        format!(
            "the capture was broken before it was compressed: take it anew, or unpack it with {} -d \
             and repair it with pcapfix",
            self.compression.as_str()
        )
    }

    /// Opens it from the start.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(&self) -> std::io::Result<InputReader> {
        let done = Arc::new(AtomicU64::new(0));
        let file = Counted {
            file: File::open(&self.path)?,
            done: Arc::clone(&done),
        };
        Ok(InputReader {
            plain: decompress(self.compression, file)?,
            done,
        })
    }
}

/// The decompressed bytes of an input. Not buffered: read in large pieces.
pub struct InputReader {
    plain: Box<dyn Read + Send>,
    done: Arc<AtomicU64>,
}

impl InputReader {
    /// Bytes read from disk so far.
    pub fn bytes_done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }
}

impl Read for InputReader {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.plain.read(buf)
    }
}

struct Counted {
    file: File,
    done: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read(buf)?;
        self.done.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}
