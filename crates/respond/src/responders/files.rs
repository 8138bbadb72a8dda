//! Takes files of this machine away, into an encrypted store, and gives them back as they were.
//!
//! Only below the folders that the policy names, only the very content that was judged, and nothing that a link leads
//! to. The store is the book: what lies in it and no decision wants is given back at the next look.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use thymus_schema::Timestamp;

use crate::cut::Cut;
use crate::decision::{DecisionId, Realm, Verb};
use crate::responder::{Grasp, Receipt, Responder, ResponderError, ResponderSpec};
use crate::table::{Holds, Table};

pub(crate) const SPEC: ResponderSpec = ResponderSpec {
    id: "quarantine",
    title: "files of this machine are taken into an encrypted store, and given back",
    realm: Realm::Files,
    build: |policy, place| {
        if policy.file_roots.is_empty() {
            return Err(
                "the responder \"quarantine\" needs to know where: file_roots = [\"/srv/share\"]"
                    .to_owned(),
            );
        }
        Ok(Box::new(Files::new(place.files.clone())))
    },
};

/// Names looked at in one search.
const NAMES_MAX: usize = 500_000;
/// Bytes of a file that is looked for.
const BYTES_MAX: u64 = 256 << 20;
/// A search is repeated every so many looks: with five seconds between them, each minute.
const AGAIN: u64 = 12;

/// A file in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What it is called there.
    pub id: String,
    /// Where it was.
    pub path: PathBuf,
    /// Its SHA-256 in hexadecimal digits.
    pub sha256: String,
}

/// The store of files that were taken away.
pub trait Vault: Send + Sync {
    /// What is in it.
    ///
    /// # Errors
    /// When that cannot be told, with the reason.
    fn list(&self) -> Result<Vec<Stored>, String>;

    /// Takes a file away: the one with this very path, on which nothing is a link, and this very content.
    ///
    /// # Errors
    /// When it stays where it is, with the reason.
    fn keep(&self, path: &Path, sha256: &str, why: &str) -> Result<(), String>;

    /// Puts a file back where it was, as it was.
    ///
    /// # Errors
    /// When it stays in the store, with the reason.
    fn give_back(&self, id: &str) -> Result<(), String>;
}

/// Where files may be taken away, and where to.
#[derive(Clone)]
pub struct Shelf {
    /// The store.
    pub vault: Arc<dyn Vault>,
    /// The folders, as the policy names them.
    pub named: Vec<PathBuf>,
    /// The same without links.
    pub roots: Vec<PathBuf>,
}

impl Shelf {
    /// With these folders.
    ///
    /// # Errors
    /// When one of them is not there.
    pub fn new(vault: Arc<dyn Vault>, named: &[PathBuf]) -> io::Result<Self> {
        let roots: io::Result<_> = named.iter().map(fs::canonicalize).collect();
        Ok(Self {
            vault,
            named: named.to_vec(),
            roots: roots?,
        })
    }
}

/// The responder.
pub struct Files {
    shelf: Option<Shelf>,
    searched: BTreeSet<DecisionId>,
    looks: u64,
}

/// A file that fits, or why it is left alone.
type Found = (PathBuf, Result<(), String>);

impl Files {
    /// With what the process that it works in may touch.
    pub fn new(shelf: Option<Shelf>) -> Self {
        Self {
            shelf,
            searched: BTreeSet::new(),
            looks: 0,
        }
    }

    fn hold(&mut self, wanted: &Holds, looks: bool) -> Result<Receipt, ResponderError> {
        let mut receipt = Receipt::default();
        let Some(shelf) = self.shelf.clone() else {
            return if wanted.is_empty() {
                Ok(receipt)
            } else {
                Err(missing())
            };
        };
        self.looks += u64::from(looks);
        for one in shelf.vault.list().map_err(said)? {
            let is_wanted = wanted
                .values()
                .flat_map(|hold| &hold.cuts)
                .any(|cut| fits(cut, &one));
            if !is_wanted {
                match shelf.vault.give_back(&one.id) {
                    Ok(()) => receipt.removed += 1,
                    // It is nobody's fault that decides now, and is tried again.
                    Err(why) => receipt.trouble = receipt.trouble.or(Some(why)),
                }
            }
        }
        self.searched.retain(|id| wanted.contains_key(id));
        for (id, hold) in wanted {
            let searches = self.searched.insert(*id) || (looks && self.looks.is_multiple_of(AGAIN));
            for cut in &hold.cuts {
                for (path, is_fit) in shelf.find(cut, searches) {
                    let Cut::File { sha256, .. } = cut else {
                        continue;
                    };
                    match is_fit {
                        Ok(()) => {
                            let why = format!("decision {id}");
                            shelf.vault.keep(&path, sha256, &why).map_err(said)?;
                            receipt.added += 1;
                        }
                        Err(why) => {
                            let why = format!("{} stays where it is: {why}", path.display());
                            receipt.trouble = receipt.trouble.or(Some(why));
                        }
                    }
                }
            }
        }
        for one in shelf.vault.list().map_err(said)? {
            for (id, hold) in wanted {
                if hold.cuts.iter().any(|cut| fits(cut, &one)) {
                    let held = receipt.held.entry(*id).or_default();
                    held.push(format!("{} (kept as {})", one.path.display(), one.id));
                }
            }
        }
        Ok(receipt)
    }
}

impl Shelf {
    /// The files that a cut is about.
    fn find(&self, cut: &Cut, searches: bool) -> Vec<Found> {
        let Cut::File {
            path,
            sha256,
            bytes,
        } = cut
        else {
            return Vec::new();
        };
        match path {
            Some(path) => {
                let path = PathBuf::from(path.as_ref());
                match fs::symlink_metadata(&path) {
                    Ok(_) => vec![(path.clone(), self.judge(&path, sha256, *bytes))],
                    Err(_) => Vec::new(),
                }
            }
            None if searches && *bytes <= BYTES_MAX => self.search(sha256, *bytes),
            None => Vec::new(),
        }
    }

    /// Why a file is left alone, if so.
    fn judge(&self, path: &Path, sha256: &str, bytes: u64) -> Result<(), String> {
        let is_plain = path
            .components()
            .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        if !is_plain || !self.roots.iter().any(|root| path.starts_with(root)) {
            return Err("it lies outside of what the policy names in file_roots".to_owned());
        }
        let parent = path.parent().unwrap_or(path);
        if fs::canonicalize(parent).ok().as_deref() != Some(parent) {
            return Err("a link lies on the way to it".to_owned());
        }
        let found = fs::symlink_metadata(path).map_err(|error| error.to_string())?;
        if !found.is_file() {
            return Err("it is no regular file".to_owned());
        }
        if found.nlink() > 1 {
            return Err("it has other names (hard links), by which it would stay".to_owned());
        }
        let is_same = found.len() == bytes && digest(path).is_ok_and(|digest| digest == sha256);
        is_same
            .then_some(())
            .ok_or_else(|| "its content is not what was judged".to_owned())
    }

    /// Files with this content, wherever they lie.
    fn search(&self, sha256: &str, bytes: u64) -> Vec<Found> {
        let (mut found, mut seen) = (Vec::new(), 0);
        let mut folders = self.roots.clone();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                seen += 1;
                if seen > NAMES_MAX {
                    return found;
                }
                let path = entry.path();
                let Ok(metadata) = fs::symlink_metadata(&path) else {
                    continue;
                };
                if metadata.is_dir() {
                    folders.push(path);
                } else if metadata.is_file()
                    && metadata.len() == bytes
                    && digest(&path).is_ok_and(|digest| digest == sha256)
                {
                    let is_fit = self.judge(&path, sha256, bytes);
                    found.push((path, is_fit));
                }
            }
        }
        found
    }
}

fn fits(cut: &Cut, stored: &Stored) -> bool {
    let Cut::File { path, sha256, .. } = cut else {
        return false;
    };
    let is_there = path
        .as_ref()
        .is_none_or(|path| Path::new(path.as_ref()) == stored.path);
    is_there && **sha256 == stored.sha256
}

/// SHA-256 of a file in hexadecimal digits; of a link nothing, and of a pipe nothing is waited for.
pub(crate) fn digest(path: &Path) -> io::Result<String> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut file: File = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    let (mut digest, mut chunk) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        digest.update(chunk.get(..read).unwrap_or_default());
    }
    let digits = digest.finalize();
    let nibbles = digits.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    Ok(nibbles
        .filter_map(|nibble| char::from_digit(u32::from(nibble), 16))
        .collect())
}

fn said(said: String) -> ResponderError {
    ResponderError::Hand { said }
}

fn missing() -> ResponderError {
    said(
        "the enforcer gave up the rights to move files when it began, as the policy did not name the quarantine then; \
         start thymus again"
            .to_owned(),
    )
}

impl Responder for Files {
    fn apply(&mut self, wanted: &Table, _: Timestamp) -> Result<Receipt, ResponderError> {
        self.hold(wanted.files(), false)
    }

    fn reconcile(&mut self, wanted: &Table, _: Timestamp) -> Result<Receipt, ResponderError> {
        self.hold(wanted.files(), true)
    }

    fn remove(&mut self) -> Result<(), ResponderError> {
        let receipt = match &self.shelf {
            Some(_) => self.hold(&Holds::new(), false)?,
            None => Receipt::default(),
        };
        receipt.trouble.map_or(Ok(()), |why| Err(said(why)))
    }

    fn rehearse(&mut self, verb: Verb, cuts: &[Cut]) -> Result<Grasp, ResponderError> {
        let mut grasp = Grasp::default();
        if verb.realm() != Some(Realm::Files) {
            return Ok(grasp);
        }
        let shelf = self.shelf.as_ref().ok_or_else(missing)?;
        for cut in cuts {
            for (path, is_fit) in shelf.find(cut, true) {
                let path = path.display().to_string();
                match is_fit {
                    Ok(()) => grasp.held.push(path),
                    Err(why) => grasp.spared.push((path, why)),
                }
            }
        }
        Ok(grasp)
    }
}
