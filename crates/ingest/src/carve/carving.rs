//! One file under way: what has come of it, in order or not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use thymus_parsers::magic::magic;

/// Largest file that is put together.
pub(super) const FILE_BYTES_MAX: usize = 16 << 20;
/// Bytes of all files that are under way.
pub(super) const BYTES_MAX: usize = 128 << 20;
/// So much of a file tells whether it is wanted.
pub(super) const FRONT: usize = 512;
/// Pieces of one file that wait for what lies in front of them.
const PIECES_MAX: usize = 1_024;
/// What a file is by its first bytes, when it is one to judge.
const WANTED: [&str; 17] = [
    "7z", "bzip2", "cab", "class", "dex", "elf", "gzip", "lnk", "macho", "ole", "pdf", "pe", "rar",
    "rtf", "script", "xz", "zip",
];
/// Endings of names of scripts and mails, which have no first bytes to know them by.
const SCRIPTS: [&str; 12] = [
    ".bat", ".cmd", ".eml", ".hta", ".js", ".jse", ".php", ".ps1", ".py", ".sh", ".vbe", ".vbs",
];

/// A file under way.
#[derive(Debug)]
pub(crate) struct Carving {
    bytes: Vec<u8>,
    /// What came before what lies in front of it.
    apart: BTreeMap<u64, Vec<u8>>,
    apart_bytes: usize,
    /// Of the middle of a file: its first bytes say nothing.
    is_piece: bool,
    /// Pieces that lie over each other may say different things.
    is_torn: bool,
    held: Arc<AtomicUsize>,
    state: State,
    /// Bytes that came, and what the first are, when they are no longer held.
    seen: u64,
    magic: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Whole,
    /// Not one that is judged; what it is.
    Unwanted(&'static str),
    TooLarge,
    NoRoom,
}

impl Carving {
    pub(super) const fn new(held: Arc<AtomicUsize>) -> Self {
        Self {
            bytes: Vec::new(),
            apart: BTreeMap::new(),
            apart_bytes: 0,
            is_piece: false,
            is_torn: false,
            held,
            state: State::Whole,
            seen: 0,
            magic: "",
        }
    }

    /// A piece of a file, whatever its first bytes are.
    pub(super) const fn piece(held: Arc<AtomicUsize>) -> Self {
        let mut piece = Self::new(held);
        piece.is_piece = true;
        piece
    }

    /// Lets go of what was put together; it is told no more.
    pub(super) fn give_away(&mut self) -> Self {
        let mut left = Self::new(Arc::clone(&self.held));
        left.state = State::Unwanted("");
        std::mem::replace(self, left)
    }

    /// The next bytes of the file, called `name` as far as is known.
    pub(crate) fn push(&mut self, bytes: &[u8], name: &str) {
        self.seen = self.seen.saturating_add(bytes.len() as u64);
        self.append(bytes, name);
    }

    /// Bytes of the file from `at` on. Bytes that were there before are replaced.
    pub(crate) fn put(&mut self, at: u64, bytes: &[u8], name: &str) {
        if bytes.is_empty() || self.state != State::Whole {
            return;
        }
        self.seen = self.seen.saturating_add(bytes.len() as u64);
        let front = self.bytes.len() as u64;
        let end = at.saturating_add(bytes.len() as u64);
        if end > FILE_BYTES_MAX as u64 {
            return self.give_up(State::TooLarge);
        }
        if at > front {
            return self.set_apart(at, bytes);
        }
        let from = at as usize;
        let here = bytes.len().min(self.bytes.len() - from);
        let (over, rest) = bytes.split_at(here);
        if let Some(there) = self.bytes.get_mut(from..from + here) {
            there.copy_from_slice(over);
        }
        if !rest.is_empty() {
            self.append(rest, name);
            self.join(name);
        }
    }

    fn append(&mut self, bytes: &[u8], name: &str) {
        if self.state != State::Whole {
            return;
        }
        let before = self.bytes.len();
        if before + bytes.len() > FILE_BYTES_MAX {
            return self.give_up(State::TooLarge);
        }
        if !self.take_room(bytes.len()) {
            return;
        }
        self.bytes.extend_from_slice(bytes);
        let is_known = !self.is_piece && before < FRONT && self.bytes.len() >= FRONT;
        if is_known && !is_wanted(&self.bytes, name) {
            self.give_up(State::Unwanted(magic(&self.bytes)));
        }
    }

    /// What lies further behind waits.
    fn set_apart(&mut self, at: u64, bytes: &[u8]) {
        let end = at + bytes.len() as u64;
        let over = self.apart.range(..end).next_back();
        let is_over = over.is_some_and(|(start, piece)| start + piece.len() as u64 > at);
        if is_over {
            self.is_torn = true;
            return;
        }
        if !self.take_room(bytes.len()) {
            return;
        }
        self.apart_bytes += bytes.len();
        if let Some((start, piece)) = self.apart.range_mut(..at).next_back()
            && start + piece.len() as u64 == at
        {
            piece.extend_from_slice(bytes);
        } else if self.apart.len() < PIECES_MAX {
            self.apart.insert(at, bytes.to_vec());
        } else {
            self.give_up(State::NoRoom);
        }
    }

    /// Takes what waited for the bytes that are there now.
    fn join(&mut self, name: &str) {
        while let Some(first) = self.apart.first_entry()
            && *first.key() <= self.bytes.len() as u64
        {
            let (at, piece) = first.remove_entry();
            self.apart_bytes -= piece.len();
            self.held.fetch_sub(piece.len(), Ordering::Relaxed);
            let over = (self.bytes.len() as u64 - at) as usize;
            self.is_torn |= over > 0;
            self.append(piece.get(over..).unwrap_or_default(), name);
        }
    }

    fn take_room(&mut self, bytes: usize) -> bool {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed);
        if held + bytes > BYTES_MAX {
            self.held.fetch_sub(bytes, Ordering::Relaxed);
            self.give_up(State::NoRoom);
            return false;
        }
        true
    }

    fn give_up(&mut self, state: State) {
        self.magic = self.magic();
        self.state = state;
        self.release();
        self.bytes = Vec::new();
        self.apart.clear();
        self.apart_bytes = 0;
    }

    fn release(&self) {
        let held = self.bytes.len() + self.apart_bytes;
        self.held.fetch_sub(held, Ordering::Relaxed);
    }

    /// What has come from the beginning on, without a hole.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) const fn state(&self) -> State {
        self.state
    }

    /// What the first bytes are.
    pub(super) fn magic(&self) -> &'static str {
        if self.magic.is_empty() {
            magic(&self.bytes)
        } else {
            self.magic
        }
    }

    /// Bytes that came, without a hole from the beginning on.
    pub(crate) const fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Bytes that came in all.
    pub(super) const fn seen(&self) -> u64 {
        self.seen
    }

    /// Whether there are holes, or pieces that contradict each other.
    pub(crate) fn is_scattered(&self) -> bool {
        self.is_torn || !self.apart.is_empty()
    }

    /// Whether it may still become a whole file.
    pub(super) fn is_alive(&self) -> bool {
        self.state == State::Whole
    }
}

impl Drop for Carving {
    fn drop(&mut self) {
        self.release();
    }
}

pub(super) fn is_wanted(bytes: &[u8], name: &str) -> bool {
    let kind = magic(bytes);
    if !kind.is_empty() {
        return WANTED.contains(&kind);
    }
    let name = name.to_ascii_lowercase();
    SCRIPTS.iter().any(|end| name.ends_with(end))
}
