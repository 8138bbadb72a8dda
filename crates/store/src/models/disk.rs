//! Files of the folder: read within bounds, written so that a crash leaves the old or the new one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ModelError;

const RECORD_BYTES_MAX: u64 = 1 << 20;

pub(super) fn ours(path: &Path, metadata: &fs::Metadata) -> Result<(), ModelError> {
    let user = rustix::process::geteuid().as_raw();
    if metadata.mode() & 0o022 != 0 || ![user, 0].contains(&metadata.uid()) {
        return Err(ModelError::NotOurs {
            path: path.to_path_buf(),
        });
    }
    Ok(())
}

pub(super) fn read(path: &Path, most: u64) -> Result<Vec<u8>, ModelError> {
    let failed = |source| ModelError::File {
        path: path.to_path_buf(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("it is no regular file")));
    }
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > most {
        return Err(ModelError::TooLarge {
            path: path.to_path_buf(),
            most,
        });
    }
    Ok(bytes)
}

pub(super) fn text(path: &Path, most: u64) -> Result<String, ModelError> {
    let bytes = read(path, most)?;
    String::from_utf8(bytes).map_err(|error| ModelError::File {
        path: path.to_path_buf(),
        source: io::Error::other(error),
    })
}

pub(super) fn record<T: DeserializeOwned>(path: &Path) -> Result<T, ModelError> {
    let bytes = read(path, RECORD_BYTES_MAX)?;
    serde_json::from_slice(&bytes).map_err(|_| ModelError::Record {
        path: path.to_path_buf(),
    })
}

pub(super) fn put_record(path: &Path, record: &impl Serialize) -> Result<(), ModelError> {
    let mut bytes = serde_json::to_vec_pretty(record).map_err(|error| ModelError::File {
        path: path.to_path_buf(),
        source: error.into(),
    })?;
    bytes.push(b'\n');
    put(path, &bytes)
}

/// Writes a file beside the one before and puts it in its place.
pub(super) fn put(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    let fresh = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o644);
        let mut file = options.open(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        File::open(path.parent().unwrap_or(path))?.sync_all()
    };
    write().map_err(|source| ModelError::File {
        path: path.to_path_buf(),
        source,
    })
}
