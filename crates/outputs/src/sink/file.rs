//! A file that is only added to. Other tools rotate it: before each batch it is seen whether the name still means the
//! file that is open, and else the new one is opened; a copy that is cut in place works as well.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Failure, Opened, Opening, Sink, SinkKind, written};
use crate::format::Format;
use crate::record::Record;
use crate::target::{Target, TargetError};

pub(super) const KIND: SinkKind = SinkKind {
    id: "file",
    schemes: &["file"],
    about: "a file, one record a line",
    format: "json",
    has_formats: true,
    open,
};

fn open(target: &mut Target, opening: &Opening<'_>) -> Result<Opened, TargetError> {
    let path = PathBuf::from(target.path());
    let folder = path.parent().filter(|_| path.file_name().is_some());
    let folder =
        folder.ok_or_else(|| target.wrong("names no file; write file:///var/log/thymus.jsonl"))?;
    if !folder.is_dir() {
        return Err(target.wrong(format!("{} is no folder", folder.display())));
    }
    let sink = Appended {
        format: opening.format,
        path: path.clone(),
        file: None,
    };
    Ok(Opened {
        sink: Box::new(sink),
        folder: Some(folder.to_path_buf()),
        port: None,
    })
}

struct Appended {
    format: &'static Format,
    path: PathBuf,
    file: Option<File>,
}

impl Sink for Appended {
    fn send(&mut self, records: &[Record]) -> Result<(), Failure> {
        let format = self.format;
        let write = |record: &Record| {
            format
                .one(record)
                .map_err(|error| Failure::unwritable(&error))
        };
        written(records, write, |lines| {
            let mut text = lines.join("\n");
            text.push('\n');
            self.append(text.as_bytes()).map_err(|error| {
                self.file = None;
                Failure::unreachable(format!("cannot write {}: {error}", self.path.display()))
            })
        })
    }
}

impl Appended {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self
            .file
            .as_ref()
            .is_some_and(|file| is_at(file, &self.path))
        {
            let mut options = File::options();
            self.file = Some(
                options
                    .append(true)
                    .create(true)
                    .mode(0o640)
                    .open(&self.path)?,
            );
        }
        let Some(file) = &mut self.file else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let before = file.metadata()?.len();
        if let Err(error) = file.write_all(bytes) {
            // A disk that fills up in the middle of a line: half a line is no record.
            file.set_len(before)?;
            return Err(error);
        }
        file.sync_data()
    }
}

/// Whether the name still means this file.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (file.metadata(), fs::metadata(path)) else {
        return false;
    };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}
