//! Files that were not known: a copy of one that is, the next one of a log, one of a log that was put aside
//! before it was seen, or a log of its own.

use std::path::Path;

use thymus_schema::Event;

use super::folder::{FileKey, Found};
use super::log::{Format, Log};
use super::position::Past;
use super::scan::{Other, Why, past_of};
use super::tail::{Fingerprint, HEAD_BYTES, Look, Packed, Place, Tail, gzip_length};
use super::{Follow, FollowFrom};
use crate::input::{HEAD_BYTES_MAX, Input};

impl Follow {
    /// A file that is not known: a copy of one that is, the next one of a log, or a new log.
    pub(super) fn classify(&mut self, found: &Found, out: &mut Vec<Event>) {
        let (input, head) = match Input::identify(&found.path) {
            Ok(identified) => identified,
            Err(error) => {
                self.problems.insert(found.path.clone(), error.to_string());
                return self.put_aside(found, Why::Unreadable);
            }
        };
        let packed = Packed::from(input.compression);
        let start = head.get(..HEAD_BYTES).unwrap_or(&head);
        if let Some(key) = self.original(start) {
            return self.copy_of(key, found, packed);
        }
        if let Some(past) = self.past_of(start) {
            return self.go_on(&past, found, packed);
        }
        let sniffed = Format::sniff(&found.path, &head).map(|(format, _)| format);
        // A file that begins in the middle, because the one before was cut there, is not recognised.
        let middle = if sniffed.is_none() {
            self.format_in_the_middle(found, start)
        } else {
            None
        };
        let joins = middle.as_ref().map(|(_, log)| *log);
        let Some(format) = sniffed.or(middle.map(|(format, _)| format)) else {
            let whole = head.len() >= HEAD_BYTES_MAX;
            if !head.is_empty() {
                let why = "not a log of a known format".to_owned();
                self.problems.insert(found.path.clone(), why);
            }
            return self.put_aside(found, if whole { Why::Done } else { Why::Unclear });
        };
        if self.first_scan && self.options.from == FollowFrom::End && packed != Packed::Not {
            return self.put_aside(found, Why::Done);
        }

        if joins.is_some() {
            if self.is_same_beginning(found, start) {
                return self.put_aside(found, Why::Copy);
            }
            self.goes_on(found);
        }
        self.begin(found, (packed, joins), &format, start, out);
    }

    /// The file being read that begins with `head`.
    fn original(&self, head: &[u8]) -> Option<FileKey> {
        let fits = |tail: &&Tail| tail.place.fingerprint.tells(head);
        let tails = self.tails.values().filter(fits);
        let best = tails.max_by_key(|tail| tail.place.fingerprint.len())?;
        let longer = |past: &Past| past.fingerprint.len() > best.place.fingerprint.len();
        let past_fits = self.past_of(head).is_some_and(|past| longer(&past));
        (!past_fits).then_some(best.place.key)
    }

    fn past_of(&self, head: &[u8]) -> Option<Past> {
        let fits = self.past.iter().filter(|past| past.fingerprint.tells(head));
        fits.max_by_key(|past| past.fingerprint.len()).cloned()
    }

    /// A file with the content of one that is read: left alone, unless it has more of it.
    fn copy_of(&mut self, key: FileKey, found: &Found, packed: Packed) {
        let Some(tail) = self.tails.get(&key) else {
            return;
        };
        let plain = packed == Packed::Not && tail.place.packed == Packed::Not;
        if !plain || found.stamp.size <= tail.stamp().size {
            return self.put_aside(found, Why::Copy);
        }
        let past = past_of(tail, 0);
        let stamp = tail.stamp();
        self.tails.remove(&key);
        self.others.insert(key, Other::done(stamp));
        self.go_on(&past, found, packed);
        // It is where the log is written from now on.
        if let Some(log) = self.logs.get_mut(&past.log) {
            log.path.clone_from(&found.path);
        }
    }

    /// A copy of a file that has gone or was cut: what was not read of it is read here.
    fn go_on(&mut self, past: &Past, found: &Found, packed: Packed) {
        let whole = packed == Packed::Gzip
            && gzip_length(&found.path).is_some_and(|len| len == past.offset as u32);
        let Some(log) = self.logs.get(&past.log).filter(|_| !whole) else {
            return self.put_aside(found, Why::Done);
        };
        let finite = packed != Packed::Not || found.path != log.path;
        let mut place = Place {
            key: found.key,
            path: found.path.clone(),
            log: past.log,
            generation: past.generation,
            id: past.id,
            packed,
            finite,
            read: past.offset,
            line: past.line,
            skipping: false,
            fingerprint: past.fingerprint.clone(),
            size: 0,
            carry: Vec::new(),
            copied: 0,
            recovers: past.unread,
        };
        for other in self.past.iter_mut().filter(|other| *other == past) {
            other.unread = 0;
        }
        // The beginning of the line that was cut is in the copy too.
        let next = self.next_of(past.log, past.generation);
        if let Some(next) = next.and_then(|key| self.tails.get_mut(&key)) {
            let mut before = std::mem::take(&mut next.place.carry);
            before.truncate(before.len().saturating_sub(next.place.copied));
            next.place.copied = 0;
            if past.offset == 0 {
                // Nothing but the beginning of its first line was read.
                place.carry = before;
            }
        }
        self.add_tail(place, found);
    }

    /// The next file of a log, if nothing was read of it yet.
    pub(super) fn next_of(&self, log: u32, generation: u64) -> Option<FileKey> {
        let of_log = self
            .tails
            .values()
            .filter(|tail| tail.place.log == log && tail.place.generation > generation);
        let next = of_log.min_by_key(|tail| tail.place.generation)?;
        (next.place.read == 0).then_some(next.place.key)
    }

    fn add_tail(&mut self, place: Place, found: &Found) {
        let mut tail = Tail::new(place);
        if let Look::Unreadable(why) = tail.look(Some(found.stamp)) {
            self.problems.insert(found.path.clone(), why);
        }
        self.others.remove(&found.key);
        self.tails.insert(found.key, tail);
    }

    /// Whether it is what the log at hand holds so far, too little to tell it from others: a copy that was
    /// made and not yet cut.
    fn is_same_beginning(&self, found: &Found, head: &[u8]) -> bool {
        let Some(log) = self.log_of(found) else {
            return false;
        };
        let head = Fingerprint::of(head);
        let mut of_log = self.tails.values();
        head.len() > 0
            && of_log.any(|tail| tail.place.log == log.number && tail.place.fingerprint == head)
    }

    /// The file begins in the middle, so the one before it ends there: it is a copy.
    fn goes_on(&mut self, found: &Found) {
        let number = self.log_of(found).map(|log| log.number);
        let of_log = self.tails.values_mut();
        let before = of_log
            .filter(|tail| Some(tail.place.log) == number && tail.place.path != found.path)
            .filter(|tail| plain_name(&tail.place.path).is_some())
            .max_by_key(|tail| tail.place.generation);
        if let Some(before) = before {
            before.place.finite = true;
        }
    }

    /// A file of which nothing was read.
    fn begin(
        &mut self,
        found: &Found,
        (packed, joins): (Packed, Option<u32>),
        format: &Format,
        head: &[u8],
        out: &mut Vec<Event>,
    ) {
        let known = self.log_of(found).map(|log| log.number);
        let number = match joins.filter(|_| known.is_none()) {
            Some(number) => number,
            None => self.log_at(found, format),
        };
        let Some(log) = self.logs.get_mut(&number) else {
            return;
        };

        let (generation, id) = log.next_file();
        log.counters.rotations += u64::from(generation > 0);
        let mut carry = Vec::new();
        let mut copied = false;
        // One that was put aside before it was ever seen comes before the one that is written now.
        let current = self.tails.values_mut().find(|tail| {
            let place = &tail.place;
            place.log == number && place.read == 0 && place.path == log.path
        });
        let is_current = found.path != log.path && plain_name(&log.path).is_none();
        if let Some(current) = current.filter(|_| is_current) {
            copied = true;
            carry = std::mem::take(&mut current.place.carry);
            carry.truncate(carry.len().saturating_sub(current.place.copied));
            (current.place.generation, current.place.id) = log.next_file();
        }

        log.change(format, id, &mut self.window, out, &self.shared);

        let at_end = self.first_scan && self.options.from == FollowFrom::End;
        if at_end {
            log.preamble(head);
        }
        if carry.is_empty() {
            carry = std::mem::take(&mut log.cut);
        }
        let read = if at_end { found.stamp.size } else { 0 };
        let place = Place {
            key: found.key,
            path: found.path.clone(),
            log: number,
            generation,
            id,
            packed,

            // One that was renamed may still grow; one that was copied ends where the other goes on.
            finite: packed != Packed::Not || copied,
            read,
            line: 0,
            skipping: false,

            fingerprint: Fingerprint::of(head),
            size: found.stamp.size,

            carry,
            copied: 0,
            recovers: 0,
        };
        let place = if at_end {
            place
        } else {
            Place {
                fingerprint: Fingerprint::default(),
                ..place
            }
        };
        self.add_tail(place, found);
    }

    /// The log that is written where the file was found, or that it was put aside from, or of which only
    /// what was put aside had been seen.
    fn log_of(&self, found: &Found) -> Option<&Log> {
        let here = self.logs.values().find(|log| log.path == found.path);
        if here.is_some() || self.first_scan {
            return here;
        }
        let name = found.path.file_name()?.to_string_lossy().into_owned();
        let plain = plain_name(&found.path);
        let beside = || self.logs.values().filter(|log| found.is_beside(&log.name));
        let from = beside().find(|log| {
            let of_log = log.path.file_name().map(|name| name.to_string_lossy());
            plain.is_some() && of_log.as_deref() == plain.as_deref()
        });
        from.or_else(|| {
            let aside = |log: &&Log| plain_name(&log.path).is_some_and(|it| it == name);
            beside().filter(aside).max_by_key(|log| log.number)
        })
    }

    /// The format of a file that goes on with what another began, at its name or as one that was put
    /// aside from there.
    fn format_in_the_middle(&mut self, found: &Found, start: &[u8]) -> Option<(Format, u32)> {
        if start.is_empty() {
            return None;
        }
        if let Some(log) = self.log_of(found) {
            return Some((log.format.clone(), log.number));
        }
        // It may be known by nothing but others that were put aside.
        let plain = plain_name(&found.path);
        let aside = |log: &&mut Log| {
            found.is_beside(&log.name) && plain.is_some() && plain_name(&log.path) == plain
        };
        let log = self.logs.values_mut().rev().find(aside)?;
        Some((log.format.clone(), log.number))
    }

    /// The log that the file is part of, or a new one.
    fn log_at(&mut self, found: &Found, format: &Format) -> u32 {
        if let Some(number) = self.log_of(found).map(|log| log.number) {
            let name = found.path.file_name().map(|name| name.to_string_lossy());
            if let Some(log) = self.logs.get_mut(&number)
                && plain_name(&log.path)
                    .is_some_and(|plain| Some(plain.as_str()) == name.as_deref())
            {
                log.path.clone_from(&found.path);
            }
            return number;
        }
        let number = self.next_log;
        self.next_log += 1;
        let log = Log::new(
            number,
            &found.name,
            &found.path,
            format.clone(),
            &self.shared,
        );
        self.logs.insert(number, log);
        number
    }
}

/// The name that a file had before it was put aside: without numbers, dates and what tells how it is
/// compressed. `None` when it has none of these.
fn plain_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy();
    let dated = |part: &str| {
        part.bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b':' | b'_' | b'T' | b'Z'))
    };
    let packed = |part: &str| matches!(part, "gz" | "zst" | "bz2");
    let parts = name.split(['.', '-']);
    let kept: Vec<&str> = parts.filter(|part| !dated(part) && !packed(part)).collect();
    let plain = kept.join(".");
    (plain != name).then_some(plain)
}
