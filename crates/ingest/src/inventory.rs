//! Finds the files behind the named paths: folders recursively in the order of their names, bounded
//! in depth and number. Every file is opened once, identified by content, and either assigned to a
//! source kind or refused with a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use thymus_schema::InputId;

use crate::error::IngestError;
use crate::input::Input;
use crate::ledger::{InputStatus, Ledger, LedgerEntry, Problem};
use crate::source::{Head, SourceSpec};

/// How far to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayLimits {
    /// Most files of one import.
    pub files_max: usize,
    /// Deepest folder below a named one.
    pub depth_max: usize,
    /// Most inputs read at the same time.
    pub open_lanes_max: usize,
}

impl Default for ReplayLimits {
    fn default() -> Self {
        Self {
            files_max: 100_000,
            depth_max: 32,
            open_lanes_max: 128,
        }
    }
}

/// What was found: the ledger and, per source kind (same order as the given kinds), its inputs.
pub(crate) struct Inventory {
    pub(crate) ledger: Ledger,
    pub(crate) inputs: Vec<Vec<Input>>,
}

/// Looks behind `paths`.
///
/// # Errors
/// When a named path itself cannot be opened; anything below it only costs a ledger entry.
pub(crate) fn take(
    paths: &[PathBuf],
    known: &BTreeSet<InputId>,
    limits: ReplayLimits,
    sources: &[SourceSpec],
) -> Result<Inventory, IngestError> {
    let mut walk = Walk {
        limits,
        files: Vec::new(),
        ledger: Ledger::default(),
        seen: BTreeSet::new(),
    };
    for path in paths {
        let meta = fs::metadata(path).map_err(|source| IngestError::Open {
            path: path.clone(),
            source,
        })?;
        if meta.is_dir() {
            walk.folder(path, 0);
        } else {
            walk.files.push(path.clone());
        }
    }
    let mut inventory = Inventory {
        ledger: walk.ledger,
        inputs: sources.iter().map(|_| Vec::new()).collect(),
    };
    let mut first_path: BTreeMap<InputId, PathBuf> = BTreeMap::new();
    for path in walk.files {
        inventory.file(&path, known, sources, &mut first_path);
    }
    Ok(inventory)
}

struct Walk {
    limits: ReplayLimits,
    files: Vec<PathBuf>,
    ledger: Ledger,
    /// Canonical folders, so that a loop of symbolic links ends.
    seen: BTreeSet<PathBuf>,
}

impl Walk {
    fn folder(&mut self, path: &Path, depth: usize) {
        if depth > self.limits.depth_max {
            let remedy = "name the deeper folder itself";
            return self.refuse(
                path,
                format!("folder is nested deeper than {depth}"),
                remedy,
            );
        }
        let listed = fs::canonicalize(path).and_then(|canonical| {
            if !self.seen.insert(canonical) {
                return Ok(Vec::new());
            }
            fs::read_dir(path)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect()
        });
        let mut children: Vec<PathBuf> = match listed {
            Ok(children) => children,
            Err(error) => {
                let remedy = "check its permissions, or run as a user who may read it";
                return self.refuse(path, format!("cannot list folder: {error}"), remedy);
            }
        };
        children.sort();
        for child in children {
            let hidden = child
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().first() == Some(&b'.'));
            if hidden {
                continue;
            }
            match fs::metadata(&child) {
                Ok(meta) if meta.is_dir() => self.folder(&child, depth + 1),
                Ok(meta) if !meta.is_file() => {
                    self.refuse(&child, "not a regular file".to_owned(), "leave it out");
                }
                Ok(_) if self.files.len() < self.limits.files_max => self.files.push(child),
                Ok(_) => self.ledger.not_listed += 1,
                Err(error) => {
                    let remedy = "check the link or the permissions";
                    self.refuse(&child, format!("cannot look at it: {error}"), remedy);
                }
            }
        }
    }

    fn refuse(&mut self, path: &Path, reason: String, remedy: &str) {
        self.ledger.entries.push(refused(path, reason, remedy));
    }
}

impl Inventory {
    fn file(
        &mut self,
        path: &Path,
        known: &BTreeSet<InputId>,
        sources: &[SourceSpec],
        first_path: &mut BTreeMap<InputId, PathBuf>,
    ) {
        let (mut input, head) = match Input::identify(path) {
            Ok(identified) => identified,
            Err(error) => {
                let remedy = "check its permissions, or run as a user who may read it";
                let entry = refused(path, format!("cannot read file: {error}"), remedy);
                return self.ledger.entries.push(entry);
            }
        };
        let mut entry = LedgerEntry {
            path: path.to_path_buf(),
            id: Some(input.id),
            bytes: input.bytes,
            source: String::new(),
            format: String::new(),
            status: InputStatus::Waiting,
            problems: Vec::new(),
        };
        if let Some(first) = first_path.get(&input.id) {
            entry.status = InputStatus::Duplicate;
            let reason = format!("same content as {}", first.display());
            entry
                .problems
                .push(problem(Some(input.id), reason, "nothing: it is read once"));
            return self.ledger.entries.push(entry);
        }
        first_path.insert(input.id, path.to_path_buf());
        let found = sources.iter().enumerate().find_map(|(index, spec)| {
            (spec.sniff)(&Head { path, bytes: &head }).map(|format| (index, spec, format))
        });
        let Some((index, spec, sniffed)) = found else {
            let (reason, remedy) = why_not(&input, &head);
            entry.status = InputStatus::Refused;
            entry
                .problems
                .push(problem(Some(input.id), reason, &remedy));
            return self.ledger.entries.push(entry);
        };
        spec.id.clone_into(&mut entry.source);
        entry.format.clone_from(&sniffed.format);
        input.format = sniffed.format;
        input.first = sniffed.first;
        if known.contains(&input.id) {
            entry.status = InputStatus::Known;
            let reason = "same content was imported before".to_owned();
            entry.problems.push(problem(
                Some(input.id),
                reason,
                "nothing: it is already learned",
            ));
        } else if let Some(inputs) = self.inputs.get_mut(index) {
            inputs.push(input);
        }
        self.ledger.entries.push(entry);
    }
}

/// Says in plain words why a file is no source of events.
fn why_not(input: &Input, head: &[u8]) -> (String, String) {
    if input.bytes == 0 {
        return (
            "file is empty".to_owned(),
            "check that the capture was finished".to_owned(),
        );
    }
    if head.is_empty() {
        let reason = format!(
            "{} data is broken from its first byte",
            input.compression.as_str()
        );
        return (reason, input.reread_advice());
    }
    let (reason, remedy) = match head {
        [b'P', b'K', 3 | 5, ..] => ("a zip archive", "unpack it and name the folder"),
        [0x1f, 0x8b, ..] => (
            "a damaged gzip file",
            "copy it again from where it was made",
        ),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => ("xz-compressed", "unpack it with xz first"),
        [b'7', b'z', 0xbc, ..] => ("a 7-zip archive", "unpack it and name the folder"),
        [b'R', b'a', b'r', b'!', ..] => ("a RAR archive", "unpack it and name the folder"),
        [b'E', b'l', b'f', b'F', b'i', b'l', b'e', ..] => (
            "a Windows event log, which this version does not read",
            "leave it out",
        ),
        [b'M', b'Z', ..] | [0x7f, b'E', b'L', b'F', ..] => ("a program", "leave it out"),
        _ if head.starts_with(b"version https://git-lfs") => (
            "a Git LFS pointer, not the file itself",
            "fetch the file with git lfs pull",
        ),
        _ if head.get(257..262) == Some(b"ustar") => {
            ("a tar archive", "unpack it and name the folder")
        }
        _ if head.contains(&0) => (
            "binary data of no known capture format",
            "name a pcap or pcapng capture, Zeek logs or Suricata's eve.json",
        ),
        _ => (
            "text of no known log format",
            "name a pcap or pcapng capture, Zeek logs or Suricata's eve.json",
        ),
    };
    (format!("not a capture or log: {reason}"), remedy.to_owned())
}

fn problem(input: Option<InputId>, reason: String, remedy: &str) -> Problem {
    Problem {
        input,
        offset: 0,
        reason,
        remedy: remedy.to_owned(),
    }
}

fn refused(path: &Path, reason: String, remedy: &str) -> LedgerEntry {
    LedgerEntry {
        path: path.to_path_buf(),
        id: None,
        bytes: 0,
        source: String::new(),
        format: String::new(),
        status: InputStatus::Refused,
        problems: vec![problem(None, reason, remedy)],
    }
}
