//! Files that come in several answers (RFC 9110 section 14): each holds a range, all together the file.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use super::Carving;

/// Files of which pieces have come.
const FILES_MAX: usize = 256;

/// Which file: who asks whom for what, and which version of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RangeKey {
    pub(crate) client: IpAddr,
    pub(crate) server: IpAddr,
    pub(crate) what: Box<str>,
    pub(crate) version: Box<str>,
    /// Bytes of the whole file.
    pub(crate) total: u64,
}

/// Where a piece lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: u64,
    /// Whether all of the piece was seen.
    pub(crate) is_whole: bool,
}

/// Files under way in pieces.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    files: BTreeMap<RangeKey, Carving>,
    order: VecDeque<RangeKey>,
    given_up: u64,
}

impl Ranges {
    /// Adds a piece; gives the file when nothing of it is missing any more. `new` is used for a file of
    /// which nothing has come.
    pub(super) fn add(
        &mut self,
        key: &RangeKey,
        piece: &Carving,
        span: Span,
        name: &str,
        new: Carving,
    ) -> Option<Carving> {
        if !self.files.contains_key(key) {
            if self.order.len() >= FILES_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                let gone = self.files.remove(&oldest);
                self.given_up += u64::from(gone.is_some_and(|file| file.is_alive()));
            }
            self.files.insert(key.clone(), new);
            self.order.push_back(key.clone());
        }
        let file = self.files.get_mut(key)?;
        if !file.is_alive() || !piece.is_alive() || !span.is_whole {
            // What of it was seen cannot be told from what was not: another try may bring it whole.
            return None;
        }
        file.put(span.first, piece.bytes(), name);
        if !file.is_alive() {
            // Not one that is judged: what else comes of it is let pass.
            return Some(file.give_away());
        }
        if file.is_scattered() || file.len() < key.total {
            return None;
        }
        self.order.retain(|other| other != key);
        self.files.remove(key)
    }

    /// Files of which pieces are still missing, or were when there was no room for more.
    pub(super) fn given_up(&self) -> u64 {
        let waiting = self.files.values().filter(|file| file.is_alive());
        self.given_up + waiting.count() as u64
    }
}
