//! What was captured, as files that any reader of captures understands: pcapng
//! (draft-ietf-opsawg-pcapng), nanoseconds, one interface.
//!
//! The recording is a ring of two files: when the one that is written is half as large as allowed, it takes
//! the place of the one before, and a new one is begun.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::block::PacketBlock;
use crate::error::SensorError;

/// A recording that is being written.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    out: BufWriter<File>,
    link_type: u16,
    written: u64,
    file_bytes_max: u64,
}

impl Recorder {
    /// Begins a recording at `path` that takes at most `bytes_max` bytes on disk, give or take one block.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path, link_type: u32, bytes_max: u64) -> Result<Self, SensorError> {
        let link_type = u16::try_from(link_type).unwrap_or(0);
        let (out, written) = begin(path, link_type).map_err(|source| trouble(path, source))?;
        Ok(Self {
            path: path.to_path_buf(),
            out,
            link_type,
            written,
            file_bytes_max: bytes_max / 2,
        })
    }

    /// Goes on with a recording whose process was killed: what there is becomes the file before.
    ///
    /// # Errors
    /// When a file cannot be renamed or made.
    pub fn go_on(path: &Path, link_type: u32, bytes_max: u64) -> Result<Self, SensorError> {
        match fs::rename(path, before(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(trouble(path, error)),
            _ => Self::create(path, link_type, bytes_max),
        }
    }

    /// Adds the packets of a block.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, block: &PacketBlock) -> Result<(), SensorError> {
        self.add(block)
            .map_err(|source| trouble(&self.path, source))
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> Result<(), SensorError> {
        let flushed = self.out.flush();
        flushed.map_err(|source| trouble(&self.path, source))
    }

    fn add(&mut self, block: &PacketBlock) -> io::Result<()> {
        if self.written > self.file_bytes_max {
            self.out.flush()?;
            fs::rename(&self.path, before(&self.path))?;
            (self.out, self.written) = begin(&self.path, self.link_type)?;
        }
        for record in block.records() {
            let packet = block.packet(record);
            let padding = packet.len().next_multiple_of(4) - packet.len();
            let total = (32 + packet.len() + padding) as u32;
            let ts = record.ts.cast_unsigned();
            for word in [
                6,
                total,
                0,
                (ts >> 32) as u32,
                ts as u32,
                record.len,
                record.wire_len,
            ] {
                self.out.write_all(&word.to_le_bytes())?;
            }
            self.out.write_all(packet)?;
            self.out
                .write_all([0; 3].get(..padding).unwrap_or_default())?;
            self.out.write_all(&total.to_le_bytes())?;
            self.written += u64::from(total);
        }
        Ok(())
    }
}

/// The file that this one takes the place of when it is full.
fn before(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".before");
    PathBuf::from(name)
}

fn trouble(path: &Path, source: io::Error) -> SensorError {
    SensorError::Record {
        path: path.display().to_string(),
        source,
    }
}

/// A new file with the section and the interface described; how many bytes that took.
fn begin(path: &Path, link_type: u16) -> io::Result<(BufWriter<File>, u64)> {
    let [a, b] = link_type.to_le_bytes();
    #[rustfmt::skip]
    let head: [u8; 60] = [
        // Section header: version 1.0, of unknown length.
        0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 28, 0, 0, 0,
        // Interface: no bound on packets, times in nanoseconds.
        1, 0, 0, 0, 32, 0, 0, 0, a, b, 0, 0, 0, 0, 0, 0,
        9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0, 0,
    ];
    let mut out = BufWriter::new(File::create(path)?);
    out.write_all(&head)?;
    Ok((out, head.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(packets: usize) -> PacketBlock {
        let mut block = PacketBlock::default();
        for n in 0..packets {
            block.push(n as i64, 101, &[n as u8; 101], None);
        }
        block
    }

    #[test]
    fn a_full_recording_goes_on_in_a_new_file_and_keeps_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pcapng");
        let mut recorder = Recorder::create(&path, 1, 4_000).unwrap();
        for _ in 0..10 {
            recorder.write(&block(10)).unwrap();
        }
        recorder.finish().unwrap();
        let sizes: Vec<u64> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .collect();
        // Ten packets of 101 bytes are 1,360 bytes: a file is full after two blocks.
        assert_eq!(sizes, [60 + 2 * 1_360; 2]);
    }

    #[test]
    fn a_recording_that_cannot_be_written_names_the_file() {
        let error = Recorder::create(Path::new("no/such/folder/a.pcapng"), 1, 1).unwrap_err();
        assert!(error.to_string().contains("no/such/folder"), "{error}");
    }
}
