//! Models that a user installed: files signed with a key that the user trusts (`signature`), what is
//! known of them, and what became of their trials.
//!
//! ```text
//! MODELS/NAME.json                         which files are active and in shadow, since when and by whom
//! MODELS/files/BLAKE3.safetensors          a model
//! MODELS/files/BLAKE3.safetensors.minisig  its signature
//! MODELS/keys/ID.pub                       a key that is trusted
//! MODELS/runs/BLAKE3.json                  how the shadow run of a model ended
//! ```
//!
//! A record is written beside the one before and put in its place by renaming, after the files it names are
//! on disk, so a crash leaves the old models or the new ones. A model is read whole and checked against its
//! digest and a trusted key before anyone looks into it, each time it is used. Whoever may write to the folder
//! decides what is trusted, so the folder must belong to the user or root, and nobody else may write it.
//!
//! Must not: know what is in a model, or read a clock.

mod disk;
mod error;
mod record;
mod signature;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub use error::ModelError;
pub use record::{Act, Activation, Installed, ShadowRun, Versions};
pub use signature::{ModelKey, ModelKeyPair, SignatureError, check, is_locked, sign};

use disk::{ours, put, put_record, read, record, text};
use signature::TEXT_BYTES_MAX;

/// Bytes that a model may have.
pub const MODEL_BYTES_MAX: u64 = 64 << 20;
/// Models and keys that are listed.
const LISTED_MAX: usize = 1_000;
const LOCK: &str = "lock";
const NAME_CHARS_MAX: usize = 64;

/// A model that was read and whose signature counts.
#[derive(Clone, Debug)]
pub struct Signed {
    /// Its file.
    pub bytes: Vec<u8>,
    /// The file of its signature.
    pub signature: String,
    /// BLAKE3 digest of the file.
    pub blake3: String,
    /// Number of the key that signed it.
    pub signer: String,
    /// What was signed beside the file.
    pub comment: String,
}

/// The folder of installed models.
#[derive(Clone, Debug)]
pub struct ModelStore {
    dir: PathBuf,
}

impl ModelStore {
    /// The models in `dir`; a folder that is not there has none.
    ///
    /// # Errors
    /// When others may write to it.
    pub fn open(dir: &Path) -> Result<Self, ModelError> {
        for path in [
            dir.to_path_buf(),
            dir.join("files"),
            dir.join("keys"),
            dir.join("runs"),
        ] {
            match fs::metadata(&path) {
                Ok(metadata) => ours(&path, &metadata)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(ModelError::File { path, source }),
            }
        }
        Ok(Self {
            dir: dir.to_path_buf(),
        })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The keys that are trusted, by number.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn keys(&self) -> Result<Vec<ModelKey>, ModelError> {
        let mut keys = Vec::new();
        for path in self.listed("keys", "pub")? {
            let text = text(&path, TEXT_BYTES_MAX)?;
            let key = ModelKey::parse(&text);
            keys.push(key.map_err(|why| ModelError::Signature { path, why })?);
        }
        Ok(keys)
    }

    /// Trusts a key.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn trust(&self, key: &ModelKey) -> Result<(), ModelError> {
        let path = self.folder("keys")?.join(format!("{}.pub", key.id));
        put(&path, key.file().as_bytes())
    }

    /// Trusts a key no more; what it signed is refused from now on.
    ///
    /// # Errors
    /// When it is not trusted, or cannot be removed.
    pub fn distrust(&self, id: &str) -> Result<(), ModelError> {
        let unknown = || ModelError::UnknownKey { id: id.to_owned() };
        let wanted = id.to_ascii_uppercase();
        let keys = self.keys()?;
        let key = keys
            .iter()
            .find(|key| key.id == wanted)
            .ok_or_else(unknown)?;
        let path = self.dir.join("keys").join(format!("{}.pub", key.id));
        fs::remove_file(&path).map_err(|source| ModelError::File { path, source })
    }

    /// Reads the model file `path` and the signature beside it, and checks it against `keys`.
    ///
    /// # Errors
    /// When it cannot be read, or was signed by none of them.
    pub fn signed(path: &Path, keys: &[ModelKey]) -> Result<Signed, ModelError> {
        let refused = |why| ModelError::Signature {
            path: path.to_path_buf(),
            why,
        };
        let bytes = read(path, MODEL_BYTES_MAX)?;
        let beside = signature_of(path);
        if !beside.exists() {
            return Err(refused(SignatureError::Missing));
        }
        let signature = text(&beside, TEXT_BYTES_MAX)?;
        let (signer, comment) = check(&bytes, &signature, keys).map_err(refused)?;
        Ok(Signed {
            blake3: digest(&bytes),
            bytes,
            signature,
            signer,
            comment,
        })
    }

    /// What is installed, by name.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub fn models(&self) -> Result<Vec<(String, Versions)>, ModelError> {
        let named = |path: PathBuf| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            Ok((name.into_owned(), record(&path)?))
        };
        self.listed("", "json")?.into_iter().map(named).collect()
    }

    /// The versions of a model.
    ///
    /// # Errors
    /// When it is not installed, or its record cannot be read.
    pub fn versions(&self, name: &str) -> Result<Versions, ModelError> {
        let path = self.record(name)?;
        if path.exists() {
            return record(&path);
        }
        Err(ModelError::Unknown {
            name: name.to_owned(),
            dir: self.dir.clone(),
        })
    }

    /// The file of an installed model, which is checked as if it came from a stranger.
    ///
    /// # Errors
    /// When it cannot be read, is not what was installed, or its signature does not count any more.
    pub fn load(&self, model: &Installed, keys: &[ModelKey]) -> Result<Signed, ModelError> {
        let path = self.file(&model.blake3);
        let signed = Self::signed(&path, keys).map_err(|error| match error {
            ModelError::Signature { path, why } => ModelError::Installed {
                path,
                name: model.name.clone(),
                why,
            },
            other => other,
        })?;
        if signed.blake3 != model.blake3 {
            return Err(ModelError::Exchanged {
                path,
                name: model.name.clone(),
            });
        }
        Ok(signed)
    }

    /// Installs a model, in the place of the version that is active or waits, as it is activated or not.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn install(&self, model: &Installed, signed: &Signed) -> Result<(), ModelError> {
        let record = self.record(&model.name)?;
        self.folder("files")?;
        let _lock = self.lock()?;
        let file = self.file(&model.blake3);
        put(&file, &signed.bytes)?;
        put(&signature_of(&file), signed.signature.as_bytes())?;
        let mut versions = match self.versions(&model.name) {
            Err(ModelError::Unknown { .. } | ModelError::Record { .. }) => Versions::default(),
            other => other?,
        };
        let same = |other: &Installed| other.blake3 == model.blake3;
        if model.activated.is_some() {
            versions.active = Some(model.clone());
            versions.shadow = versions.shadow.filter(|shadow| !same(shadow));
        } else {
            versions.shadow = Some(model.clone());
        }
        put_record(&record, &versions)?;
        self.sweep()
    }

    /// Lets the version that waits judge from now on.
    ///
    /// # Errors
    /// When none waits, or the folder cannot be written.
    pub fn activate(&self, name: &str, activation: Activation) -> Result<(), ModelError> {
        let _lock = self.lock()?;
        let versions = self.versions(name)?;
        let waiting = versions.shadow.ok_or_else(|| ModelError::NotWaiting {
            name: name.to_owned(),
        })?;
        let versions = Versions {
            active: Some(Installed {
                activated: Some(activation),
                ..waiting
            }),
            shadow: None,
        };
        put_record(&self.record(name)?, &versions)?;
        self.sweep()
    }

    /// Removes a model: all its versions. The files of damaged records go too.
    ///
    /// # Errors
    /// When it is not installed, or cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), ModelError> {
        let path = self.record(name)?;
        let _lock = self.lock()?;
        fs::remove_file(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ModelError::Unknown {
                name: name.to_owned(),
                dir: self.dir.clone(),
            },
            _ => ModelError::File { path, source },
        })?;
        self.sweep()
    }

    /// How the last shadow run of the model with that digest ended.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn shadow_run(&self, blake3: &str) -> Result<Option<ShadowRun>, ModelError> {
        let path = self.dir.join("runs").join(format!("{blake3}.json"));
        if !path.exists() {
            return Ok(None);
        }
        let run: ShadowRun = record(&path)?;
        // Of another file it says nothing.
        Ok((run.blake3 == blake3).then_some(run))
    }

    /// Notes how a shadow run ended, in the place of the one before.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn keep_run(&self, run: &ShadowRun) -> Result<(), ModelError> {
        let path = self.folder("runs")?.join(format!("{}.json", run.blake3));
        put_record(&path, run)
    }

    /// Removes files that no record names.
    fn sweep(&self) -> Result<(), ModelError> {
        let Ok(models) = self.models() else {
            return Ok(());
        };
        let named = |path: &Path| {
            let mut versions = models.iter().flat_map(|(_, versions)| versions.both());
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            versions.any(|version| name.starts_with(&version.blake3))
        };
        let files = self.dir.join("files");
        let Ok(entries) = fs::read_dir(&files) else {
            return Ok(());
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            if !named(&path) {
                fs::remove_file(&path).map_err(|source| ModelError::File { path, source })?;
            }
        }
        Ok(())
    }

    fn file(&self, blake3: &str) -> PathBuf {
        self.dir.join("files").join(format!("{blake3}.safetensors"))
    }

    fn record(&self, name: &str) -> Result<PathBuf, ModelError> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(fits) {
            return Err(ModelError::Name {
                name: name.to_owned(),
            });
        }
        Ok(self.dir.join(format!("{name}.json")))
    }

    /// A folder to write to, which is made where it is missing.
    fn folder(&self, name: &str) -> Result<PathBuf, ModelError> {
        let path = self.dir.join(name);
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o755);
        let made = builder.create(&path);
        made.map_err(|source| ModelError::File {
            path: path.clone(),
            source,
        })?;
        // One that was made a moment ago by somebody else is no better than an old one.
        Self::open(&self.dir)?;
        Ok(path)
    }

    /// Held while records and files change; it ends with the file.
    fn lock(&self) -> Result<File, ModelError> {
        let path = self.folder("")?.join(LOCK);
        let lock = || -> io::Result<File> {
            let mut options = OpenOptions::new();
            options.create(true).truncate(false).write(true).mode(0o600);
            let file = options.open(&path)?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(|source| ModelError::File { path, source })
    }

    fn listed(&self, folder: &str, ending: &str) -> Result<Vec<PathBuf>, ModelError> {
        let dir = self.dir.join(folder);
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(ModelError::File { path: dir, source }),
        };
        let mut paths: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|found| found == ending))
            .take(LISTED_MAX)
            .collect();
        paths.sort_unstable();
        Ok(paths)
    }
}

/// BLAKE3 digest in hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// Where the signature of a model file lies: beside it.
pub fn signature_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".minisig");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests;
