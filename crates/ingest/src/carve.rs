//! Files out of conversations: put together while they pass, within bounds, and handed to whoever judges
//! files. What is not a program, a document, a script or an archive is let pass.

use std::fmt;
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use thymus_parsers::magic::magic;
use thymus_schema::{Coverage, EventBody, FileSeen, Observation, Service};

use crate::analyzer::AnalyzerCx;

/// Largest file that is put together.
const FILE_BYTES_MAX: usize = 16 << 20;
/// Bytes of all files that are under way.
const BYTES_MAX: usize = 128 << 20;
/// So much of a file tells whether it is wanted.
const FRONT: usize = 512;
/// What a file is by its first bytes, when it is one to judge.
const WANTED: [&str; 17] = [
    "7z", "bzip2", "cab", "class", "dex", "elf", "gzip", "lnk", "macho", "ole", "pdf", "pe", "rar",
    "rtf", "script", "xz", "zip",
];
/// Endings of names of scripts and mails, which have no first bytes to know them by.
const SCRIPTS: [&str; 12] = [
    ".bat", ".cmd", ".eml", ".hta", ".js", ".jse", ".php", ".ps1", ".py", ".sh", ".vbe", ".vbs",
];

/// Judges files that were seen on their way.
pub trait FileJudge: Send {
    /// What is to be said of a file, if anything. Must give the same for the same bytes, whenever it is
    /// asked, and must not take long.
    fn judge(&mut self, file: &FileSeen, bytes: &[u8]) -> Option<Observation>;

    /// Adds what was not judged to the coverage.
    fn tell(&self, coverage: &mut Coverage);
}

/// One judge that all sources of a run share.
#[derive(Clone)]
pub struct SharedJudge(Arc<Mutex<dyn FileJudge>>);

impl SharedJudge {
    /// Lets sources share it.
    pub fn new(judge: impl FileJudge + 'static) -> Self {
        Self(Arc::new(Mutex::new(judge)))
    }

    fn judge(&self, file: &FileSeen, bytes: &[u8]) -> Option<Observation> {
        let mut judge = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        judge.judge(file, bytes)
    }

    /// Adds what it did not judge to the coverage.
    pub fn tell(&self, coverage: &mut Coverage) {
        let judge = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        judge.tell(coverage);
    }
}

impl fmt::Debug for SharedJudge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedJudge")
    }
}

/// What a conversation says of a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct FileTold {
    pub(crate) name: Box<str>,
    pub(crate) content_type: Box<str>,
    pub(crate) service: Option<Service>,
    pub(crate) upload: bool,
}

/// Where files of one flow engine go.
#[derive(Debug, Default)]
pub(crate) struct Carver {
    judge: Option<SharedJudge>,
    held: Arc<AtomicUsize>,
    cut: u64,
    too_large: u64,
    no_room: u64,
}

/// A file under way.
#[derive(Debug)]
pub(crate) struct Carving {
    bytes: Vec<u8>,
    held: Arc<AtomicUsize>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Whole,
    /// Not one that is judged.
    Unwanted,
    TooLarge,
    NoRoom,
}

impl Carver {
    pub(crate) fn new(judge: Option<SharedJudge>) -> Self {
        Self {
            judge,
            ..Self::default()
        }
    }

    /// A new file, when somebody wants to see it.
    pub(crate) fn begin(&self) -> Option<Carving> {
        self.judge.as_ref()?;
        Some(Carving {
            bytes: Vec::new(),
            held: Arc::clone(&self.held),
            state: State::Whole,
        })
    }

    pub(crate) fn tell(&self, coverage: &mut Coverage) {
        coverage.drop_for("files_cut", self.cut);
        coverage.drop_for("files_too_large", self.too_large);
        coverage.drop_for("files_no_room", self.no_room);
    }
}

impl Carving {
    /// The next bytes of the file, called `name` as far as is known.
    pub(crate) fn push(&mut self, bytes: &[u8], name: &str) {
        if self.state != State::Whole {
            return;
        }
        let before = self.bytes.len();
        if before + bytes.len() > FILE_BYTES_MAX {
            return self.give_up(State::TooLarge);
        }
        let held = self.held.fetch_add(bytes.len(), Ordering::Relaxed);
        self.bytes.extend_from_slice(bytes);
        if held + bytes.len() > BYTES_MAX {
            return self.give_up(State::NoRoom);
        }
        if before < FRONT && self.bytes.len() >= FRONT && !is_wanted(&self.bytes, name) {
            self.give_up(State::Unwanted);
        }
    }

    fn give_up(&mut self, state: State) {
        self.state = state;
        self.held.fetch_sub(self.bytes.len(), Ordering::Relaxed);
        self.bytes = Vec::new();
    }
}

impl Drop for Carving {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

impl AnalyzerCx<'_> {
    /// A new file of this conversation, when somebody wants to see it.
    pub(crate) fn carve(&self) -> Option<Carving> {
        self.carver.begin()
    }

    /// A file has ended, `complete` when no byte of it is missing: tells of it, and what its judge says.
    pub(crate) fn file(&mut self, carving: &Carving, complete: bool, told: FileTold) {
        let carver = &mut *self.carver;
        match carving.state {
            State::Unwanted => return,
            State::TooLarge => carver.too_large += 1,
            State::NoRoom => carver.no_room += 1,
            State::Whole if carving.bytes.is_empty() || !is_wanted(&carving.bytes, &told.name) => {
                return;
            }
            State::Whole => {}
        }
        let is_whole = carving.state == State::Whole && complete;
        carver.cut += u64::from(carving.state == State::Whole && !complete);
        let file = FileSeen {
            sha256: if is_whole {
                hex(&Sha256::digest(&carving.bytes))
            } else {
                Box::default()
            },
            bytes: carving.bytes.len() as u64,
            magic: magic(&carving.bytes).into(),
            content_type: told.content_type,
            name: told.name,
            service: told.service,
            upload: told.upload,
            complete: is_whole,
        };
        let judge = carver.judge.as_ref().filter(|_| is_whole);
        let said = judge.and_then(|judge| judge.judge(&file, &carving.bytes));
        self.emit(EventBody::FileSeen(Box::new(file)));
        if let Some(said) = said {
            self.emit(EventBody::Observation(Box::new(said)));
        }
    }
}

fn is_wanted(bytes: &[u8], name: &str) -> bool {
    let kind = magic(bytes);
    if !kind.is_empty() {
        return WANTED.contains(&kind);
    }
    let name = name.to_ascii_lowercase();
    SCRIPTS.iter().any(|end| name.ends_with(end))
}

fn hex(digest: &[u8]) -> Box<str> {
    let mut out = String::with_capacity(2 * digest.len());
    for byte in digest {
        // Writing to a string does not fail.
        let _is_written = write!(out, "{byte:02x}").is_ok();
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl FileJudge for Nobody {
        fn judge(&mut self, _: &FileSeen, _: &[u8]) -> Option<Observation> {
            None
        }

        fn tell(&self, _: &mut Coverage) {}
    }

    fn held(carver: &Carver) -> usize {
        carver.held.load(Ordering::Relaxed)
    }

    #[test]
    fn without_a_judge_nothing_is_put_together() {
        assert!(Carver::default().begin().is_none());
    }

    #[test]
    fn what_is_let_go_gives_its_room_back() {
        let carver = Carver::new(Some(SharedJudge::new(Nobody)));
        let mut picture = carver.begin().unwrap();
        picture.push(b"\x89PNG", "a.exe");
        assert_eq!(held(&carver), 4);
        picture.push(&[0; FRONT], "a.exe");
        assert_eq!((held(&carver), picture.state), (0, State::Unwanted));
        let mut program = carver.begin().unwrap();
        program.push(b"MZ", "");
        for _ in 0..(FILE_BYTES_MAX >> 20) {
            program.push(&vec![0; 1 << 20], "");
        }
        assert_eq!((held(&carver), program.state), (0, State::TooLarge));
        let mut files: Vec<Carving> = Vec::new();
        for _ in 0..=(BYTES_MAX / FILE_BYTES_MAX) {
            let mut file = carver.begin().unwrap();
            file.push(b"\x7fELF", "");
            file.push(&vec![0; FILE_BYTES_MAX - 4], "");
            files.push(file);
        }
        assert_eq!(files.pop().unwrap().state, State::NoRoom);
        assert_eq!(held(&carver), BYTES_MAX);
        drop(files);
        assert_eq!(held(&carver), 0);
    }
}
