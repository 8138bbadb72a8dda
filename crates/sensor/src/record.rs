//! What was analysed, as capture files of one interface.
//!
//! The recording is a ring of two files: when the one that is written is half as large as allowed, it takes
//! the place of the one before, and a new one is begun.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::block::PacketBlock;
use crate::error::SensorError;
use crate::pcapng;

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

    /// Goes on with a recording that another finished: behind what is there.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn append(path: &Path, link_type: u32, bytes_max: u64) -> Result<Self, SensorError> {
        let opened = File::options().append(true).open(path);
        let opened = opened.and_then(|file| Ok((file.metadata()?.len(), file)));
        match opened {
            Ok((written, file)) => Ok(Self {
                path: path.to_path_buf(),
                out: BufWriter::new(file),
                link_type: u16::try_from(link_type).unwrap_or(0),
                written,
                file_bytes_max: bytes_max / 2,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Self::create(path, link_type, bytes_max)
            }
            Err(error) => Err(trouble(path, error)),
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
        self.written += pcapng::write_block(&mut self.out, block)?;
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

/// A new file without packets; how many bytes that took.
fn begin(path: &Path, link_type: u16) -> io::Result<(BufWriter<File>, u64)> {
    let mut out = BufWriter::new(File::create(path)?);
    out.write_all(&pcapng::head(link_type))?;
    Ok((out, pcapng::HEAD_LEN as u64))
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
    fn a_recording_that_was_finished_goes_on_behind_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pcapng");
        for _ in 0..3 {
            let mut recorder = Recorder::append(&path, 1, 1 << 20).unwrap();
            recorder.write(&block(10)).unwrap();
            recorder.finish().unwrap();
        }
        assert_eq!(fs::metadata(&path).unwrap().len(), 60 + 3 * 1_360);
    }

    #[test]
    fn a_recording_that_cannot_be_written_names_the_file() {
        let error = Recorder::create(Path::new("no/such/folder/a.pcapng"), 1, 1).unwrap_err();
        assert!(error.to_string().contains("no/such/folder"), "{error}");
    }
}
