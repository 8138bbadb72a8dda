//! What has happened to the files since the last look: grown, put aside, cut, copied, compressed,
//! replaced, gone, or new.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use thymus_schema::{Event, LocalNetworks};

use super::folder::{self, FileKey, Found, Listing, Stamp};
use super::log::{Format, Log};
use super::position::Past;
use super::tail::{Look, Packed, Piece, Tail};
use super::{Evidence, Follow, FollowLimits, IDLE_LOGS_MAX, PAST_MAX, QUIET_LOOKS};
use crate::input::Input;

/// A file that is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Other {
    /// As it was when that was found.
    stamp: Stamp,
    why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It was read, or is to be left out.
    Done,
    /// Nothing tells yet what it is.
    Unclear,
    /// It cannot be read: looked at again each time.
    Unreadable,
    /// Its content is that of another that is read.
    Copy,
}

impl Other {
    pub(super) const fn done(stamp: Stamp) -> Self {
        let why = Why::Done;
        Self { stamp, why }
    }
}

/// The local networks, as far as what lies behind `paths` tells.
pub(super) fn find_local(paths: &[PathBuf], limits: FollowLimits) -> LocalNetworks {
    let mut evidence = Evidence::default();
    let names = BTreeMap::new();
    for found in folder::list(paths, &names, limits.files_max, limits.depth_max).files {
        if !evidence.wants_more() {
            break;
        }
        let Ok((input, head)) = Input::identify(&found.path) else {
            continue;
        };
        if let Some((format, _)) = Format::sniff(&found.path, &head) {
            format.look(input, &mut evidence);
        }
    }
    evidence.decide()
}

/// Has `log` read the first `bytes` of the file at `path` again, for what they teach.
pub(super) fn relearn(path: &Path, bytes: u64, log: &mut Log) {
    let Ok(file) = File::open(path) else { return };
    let mut reader = BufReader::new(file.take(bytes));
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
        log.relearn(line.strip_suffix(b"\n").unwrap_or(&line));
        line.clear();
    }
}

impl Follow {
    /// Looks at the files that are known, without looking through the folders; whether the folders must
    /// be looked through.
    pub(super) fn restat(&mut self, out: &mut Vec<Event>) -> bool {
        for other in self.others.values() {
            if other.why == Why::Unclear {
                return true;
            }
        }
        let paths = self.tails.values().map(|tail| tail.place.path.clone());
        let mut found = BTreeMap::new();
        for path in paths {
            let Ok(meta) = fs::metadata(&path) else {
                return true;
            };
            found.insert(FileKey::of(&meta), Stamp::of(&meta));
        }
        if self.tails.keys().any(|key| !found.contains_key(key)) {
            return true;
        }
        self.look(&|key| found.get(&key).copied(), out)
    }

    /// Looks through the folders and at every file.
    pub(super) fn scan(&mut self, out: &mut Vec<Event>) {
        let mut listing = self.list();
        self.rename(&listing);
        let known = stamps(&listing);
        if self.look(&|key| known.get(&key).copied(), out) {
            // A copy that was made before a file was cut is there by now.
            listing = self.list();
            for other in self.others.values_mut().filter(|o| o.why == Why::Copy) {
                other.stamp = Stamp::default();
            }
        }
        self.wake.forget();
        for folder in &listing.folders {
            self.wake.watch(folder);
        }
        // Of several files of one log the oldest is read first.
        let mut oldest_first: Vec<&Found> = listing.files.iter().collect();
        oldest_first.sort_by_key(|found| found.stamp.changed);
        for found in oldest_first {
            let same = self
                .others
                .get(&found.key)
                .is_some_and(|other| other.stamp == found.stamp && other.why != Why::Unreadable);
            if !same && !self.tails.contains_key(&found.key) {
                self.classify(found, out);
            }
        }
        let known = stamps(&listing);
        self.others.retain(|key, _| known.contains_key(key));
        self.first_scan = false;
    }

    fn list(&mut self) -> Listing {
        let names = self.tails.iter();
        let names = names.map(|(key, tail)| (*key, tail.place.path.clone()));
        let limits = self.options.limits;
        let names = names.collect();
        let listing = folder::list(&self.roots, &names, limits.files_max, limits.depth_max);
        self.problems = listing.problems.iter().cloned().collect();
        self.not_listed = listing.not_listed;
        listing
    }

    /// Takes note of the names that files have now.
    fn rename(&mut self, listing: &Listing) {
        for found in &listing.files {
            if let Some(tail) = self.tails.get_mut(&found.key) {
                tail.place.path.clone_from(&found.path);
            }
        }
    }

    /// Looks at every file that is read; whether one was cut.
    fn look(&mut self, stamp: &dyn Fn(FileKey) -> Option<Stamp>, out: &mut Vec<Event>) -> bool {
        let mut cut = false;
        let keys: Vec<FileKey> = self.tails.keys().copied().collect();
        for key in keys {
            let Some(tail) = self.tails.get_mut(&key) else {
                continue;
            };
            match tail.look(stamp(key)) {
                Look::Same => {}
                Look::Restarted { unread, open } => {
                    cut = true;
                    self.restart(key, unread, open);
                }
                Look::Gone => self.gone(key, out),

                Look::Unreadable(why) => {
                    let path = tail.place.path.clone();
                    tail.unread = false;
                    self.problems.insert(path, why);
                    if tail.place.finite {
                        // What comes after it does not wait; it is looked at again when it has changed.
                        self.end_tail(key, out);
                    }
                }
            }
        }
        cut
    }

    /// The file was cut, or another has taken its inode.
    fn restart(&mut self, key: FileKey, unread: u64, open: bool) {
        let Some(tail) = self.tails.get_mut(&key) else {
            return;
        };
        let Some(log) = self.logs.get_mut(&tail.place.log) else {
            return;
        };
        log.counters.cuts += 1;
        log.counters.lost_bytes += unread;
        let past = past_of(tail, unread);

        let elsewhere = tail.place.path != log.path && !open;
        if elsewhere {
            // It has the inode and not the name: it is another file, and nothing tells which yet.
            self.tails.remove(&key);
        } else {
            let (generation, id) = log.next_file();
            tail.restart(generation, id);
            let stamp = fs::metadata(&tail.place.path).map(|meta| Stamp::of(&meta));
            if let Ok(stamp) = stamp {
                tail.look(Some(stamp));
            }
        }
        self.remember(past);
    }

    /// The file is not there any more and was not open.
    fn gone(&mut self, key: FileKey, out: &mut Vec<Event>) {
        let Some(tail) = self.tails.get(&key) else {
            return;
        };
        let unread = tail.place.size.saturating_sub(tail.place.read);
        let unread = if tail.place.packed == Packed::Not {
            unread
        } else {
            0
        };
        if let Some(log) = self.logs.get_mut(&tail.place.log) {
            log.counters.lost_bytes += unread;
        }
        let past = past_of(tail, unread);
        self.end_tail(key, out);
        self.remember(past);
    }

    fn remember(&mut self, past: Past) {
        if !past.fingerprint.is_telling() {
            return;
        }
        self.past
            .retain(|other| other.fingerprint != past.fingerprint);
        self.past.push_back(past);
        if self.past.len() > PAST_MAX {
            self.past.pop_front();
        }
    }

    /// Files that are read or left out, for the position file.
    pub(super) fn done(&self) -> Vec<(FileKey, Stamp)> {
        let done = self.others.iter().filter(|(_, o)| o.why == Why::Done);
        done.map(|(key, other)| (*key, other.stamp)).collect()
    }

    pub(super) fn put_aside(&mut self, found: &Found, why: Why) {
        let stamp = found.stamp;
        self.others.insert(found.key, Other { stamp, why });
    }

    /// Closes files that are done with; whether there were any.
    pub(super) fn settle(&mut self, out: &mut Vec<Event>) -> bool {
        let begun: BTreeMap<u32, u64> = self
            .tails
            .values()
            .filter(|tail| tail.place.read > 0)
            .map(|tail| (tail.place.log, tail.place.generation))
            .fold(BTreeMap::new(), |mut newest, (log, generation)| {
                let entry = newest.entry(log).or_default();
                *entry = generation.max(*entry);
                newest
            });
        let is_over = |tail: &Tail| {
            let place = &tail.place;
            let quiet = tail.quiet >= QUIET_LOOKS;
            let newer = begun
                .get(&place.log)
                .is_some_and(|newest| *newest > place.generation);

            !tail.unread && (place.finite || (quiet && (newer || !tail.present)))
        };
        let over: Vec<FileKey> = self
            .tails
            .iter()
            .filter(|(_, tail)| is_over(tail))
            .map(|(key, _)| *key)
            .collect();

        let any = !over.is_empty();
        for key in over {
            self.end_tail(key, out);
        }
        self.close_some();
        self.forget_logs(out);
        any
    }

    /// Takes what is left of a file and forgets it, but for the way to know a copy of it.
    pub(super) fn end_tail(&mut self, key: FileKey, out: &mut Vec<Event>) {
        let Some(mut tail) = self.tails.remove(&key) else {
            return;
        };
        let partial = tail.take_partial();

        let next = self.next_of(tail.place.log, tail.place.generation);

        let copied = tail.place.finite;

        let next = next.and_then(|key| self.tails.get_mut(&key));
        match (next, self.logs.get_mut(&tail.place.log)) {
            (Some(next), _) if copied && !partial.is_empty() => {
                next.place.carry = partial;
                next.place.copied = 0;
            }

            (None, Some(log)) if copied && !partial.is_empty() => {
                log.last(&tail.place, partial, &mut self.window, out);
            }
            (_, Some(log)) if !partial.is_empty() => {
                let piece = Piece::Line(Vec::new(), &partial);
                log.line(&tail.place, piece, &mut self.window, out);
                tail.place.line += 1;
            }
            _ => {}
        }

        let alone = !self.tails.values().any(|t| t.place.log == tail.place.log);
        let log = self.logs.get_mut(&tail.place.log);
        if let Some(log) = log.filter(|log| alone && copied && log.path == tail.place.path) {
            // An archive of its own: nothing is written behind it.
            let (_, id) = log.next_file();
            log.finish(id, &mut self.window, out);
        }
        let stamp = tail.stamp();
        if tail.present {
            self.others.insert(key, Other::done(stamp));
        }
        self.remember(past_of(&tail, 0));
    }

    /// Keeps the number of open files in bounds.
    fn close_some(&mut self) {
        let open = self.tails.values().filter(|tail| tail.is_open()).count();
        let mut surplus = open.saturating_sub(self.options.limits.open_max.max(1));
        if surplus == 0 {
            return;
        }
        let mut idle: Vec<&mut Tail> = self
            .tails
            .values_mut()
            .filter(|tail| tail.is_open() && !tail.unread && tail.present)
            .collect();
        idle.sort_by_key(|tail| std::cmp::Reverse(tail.quiet));
        for tail in idle {
            if surplus == 0 {
                return;
            }
            tail.close();
            surplus -= 1;
        }
    }

    /// Ends logs that will not be written any more.
    fn forget_logs(&mut self, out: &mut Vec<Event>) {
        let live: std::collections::BTreeSet<u32> =
            self.tails.values().map(|tail| tail.place.log).collect();
        let idle: Vec<u32> = self
            .logs
            .keys()
            .copied()
            .filter(|number| !live.contains(number))
            .collect();
        let surplus = idle.len().saturating_sub(IDLE_LOGS_MAX);
        for number in idle.into_iter().take(surplus) {
            if let Some(mut log) = self.logs.remove(&number) {
                let (_, id) = log.next_file();
                log.rest(id, &mut self.window, out);
                log.finish(id, &mut self.window, out);
                self.closed.add(&log.coverage);
                self.closed_counters.add(&log.counters);
            }
        }
    }
}

fn stamps(listing: &Listing) -> BTreeMap<FileKey, Stamp> {
    let files = listing.files.iter();
    files.map(|found| (found.key, found.stamp)).collect()
}

pub(super) fn past_of(tail: &Tail, unread: u64) -> Past {
    Past {
        fingerprint: tail.place.fingerprint.clone(),
        log: tail.place.log,
        generation: tail.place.generation,
        id: tail.place.id,
        offset: tail.offset(),
        line: tail.place.line,
        unread,
    }
}
