//! What was made of files, for whoever shows them: the judging side writes it down, the desk of a live run
//! looks it up when the file's event comes by.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use thymus_detect::Engine;
use thymus_schema::{Conn, Event, EventBody, FileSeen, Observation};

/// Verdicts remembered by digest, and bytes of them.
const KNOWN_MAX: usize = 10_000;
const KNOWN_BYTES_MAX: usize = 32 << 20;
/// Kinds of blind spots that are told apart, and told.
const SPOTS_MAX: usize = 256;
const SPOTS_TOLD: usize = 50;
/// Files told with one batch of events, beside those that were found.
const TOLD_MAX: usize = 256;

/// What is known of one file's content.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) said: Option<Observation>,
    /// As a line of `thymus scan --json`: the file, and what was found in it.
    pub(super) lines: Arc<[Value]>,
    bytes: usize,
    stamp: u64,
}

impl Known {
    pub(super) fn new(said: Option<Observation>, lines: Vec<Value>) -> Self {
        let bytes = lines.iter().map(|line| line.to_string().len()).sum();
        Self {
            said,
            lines: lines.into(),
            bytes,
            stamp: 0,
        }
    }
}

#[derive(Debug, Default)]
struct Book {
    known: BTreeMap<Box<str>, Known>,
    order: VecDeque<(u64, Box<str>)>,
    bytes: usize,
    stamp: u64,
    /// Files by type, and how many of them were not judged, by type and reason.
    types: BTreeMap<Box<str>, u64>,
    spots: BTreeMap<(Box<str>, Box<str>), u64>,
    not_told: u64,
}

/// What the two sides share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdicts(Arc<Mutex<Book>>);

impl Verdicts {
    fn with<T>(&self, what: impl FnOnce(&mut Book) -> T) -> T {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is known of a content, which is asked for again then.
    pub(super) fn of(&self, sha256: &str) -> Option<Known> {
        self.with(|book| {
            let stamp = book.next_stamp(sha256);
            let known = book.known.get_mut(sha256)?;
            known.stamp = stamp;
            Some(known.clone())
        })
    }

    pub(super) fn add(&self, sha256: &str, known: Known) {
        self.with(|book| {
            let stamp = book.next_stamp(sha256);
            book.bytes += known.bytes;
            let before = book.known.insert(sha256.into(), Known { stamp, ..known });
            book.bytes -= before.map_or(0, |before| before.bytes);
            book.shrink();
        });
    }

    /// A file of this type was seen, and why it was not judged, if so.
    pub(super) fn count(&self, kind: &str, reason: Option<&str>) {
        let kind = if kind.is_empty() { "unknown" } else { kind };
        self.with(|book| {
            count(&mut book.types, kind.into());
            if let Some(reason) = reason {
                count(&mut book.spots, (kind.into(), reason.into()));
            }
        });
    }

    /// What was not judged, by type and reason, most first.
    pub(crate) fn status(&self) -> Value {
        self.with(|book| {
            let mut spots: Vec<_> = book.spots.iter().collect();
            spots.sort_by_key(|(_, files)| std::cmp::Reverse(**files));
            let spots = spots.into_iter().take(SPOTS_TOLD);
            let spots = spots.map(|((kind, reason), files)| {
                let of = book.types.get(kind).copied().unwrap_or(*files);
                json!({ "type": kind, "reason": reason, "files": files, "of": of.max(*files) })
            });
            json!({
                "seen": book.types.values().sum::<u64>(),
                "not_judged": spots.collect::<Vec<_>>(),
                "not_told": book.not_told,
            })
        })
    }

    /// The files among `events`, one object each and one for each member that was found.
    pub(crate) fn told(&self, events: &[Event], engine: &Engine) -> Vec<Value> {
        let mut out = Vec::new();
        let (mut files, mut left_out) = (0, 0);
        for event in events {
            let EventBody::FileSeen(file) = &event.body else {
                continue;
            };
            let lines = self.lines(file);
            let is_found = lines.iter().any(|line| {
                let outcome = line.get("outcome").and_then(Value::as_str);
                matches!(outcome, Some("malicious" | "suspicious"))
            });
            files += 1;
            if files > TOLD_MAX && !is_found {
                left_out += 1;
                continue;
            }
            let place = place(event, file, engine);
            out.extend(lines.iter().map(|line| placed(line, file, &place)));
        }
        if left_out > 0 {
            self.with(|book| book.not_told += left_out);
        }
        out
    }

    /// What is said of a file, without where it was seen.
    fn lines(&self, file: &FileSeen) -> Arc<[Value]> {
        if file.complete
            && let Some(known) = self.with(|book| book.known.get(&file.sha256).cloned())
        {
            return known.lines;
        }
        let reason = if file.complete {
            "its verdict is no longer at hand"
        } else if file.reason.is_empty() {
            "incomplete"
        } else {
            &file.reason
        };
        self.count(&file.magic, Some(reason));
        let kind = Some(&*file.magic).filter(|magic| !magic.is_empty());
        let sha256 = Some(&*file.sha256).filter(|digest| !digest.is_empty());
        Arc::new([json!({
            "path": file.name, "member": null, "sha256": sha256, "type": kind.unwrap_or("unknown"),
            "packer": null, "outcome": "not_judged", "reason": reason, "probability": null,
            "label": null, "model": null, "benign_share": null, "certified_bytes": null,
            "outlives_additions": null, "ranges": [], "masking": null,
        })])
    }
}

impl Book {
    /// Puts the content last in the order in which they are forgotten.
    fn next_stamp(&mut self, sha256: &str) -> u64 {
        self.stamp += 1;
        self.order.push_back((self.stamp, sha256.into()));
        if self.order.len() > 4 * KNOWN_MAX {
            let known = &self.known;
            let is_last =
                |stamp: u64, digest: &str| known.get(digest).is_some_and(|it| it.stamp <= stamp);
            self.order.retain(|(stamp, digest)| is_last(*stamp, digest));
        }
        self.stamp
    }

    fn shrink(&mut self) {
        while (self.known.len() > KNOWN_MAX || self.bytes > KNOWN_BYTES_MAX)
            && let Some((stamp, digest)) = self.order.pop_front()
        {
            if self.known.get(&digest).is_some_and(|it| it.stamp == stamp)
                && let Some(gone) = self.known.remove(&digest)
            {
                self.bytes -= gone.bytes;
            }
        }
    }
}

fn count<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K) {
    if counts.len() < SPOTS_MAX || counts.contains_key(&key) {
        *counts.entry(key).or_default() += 1;
    }
}

/// Where a file was seen: whose it is, with whom, in which event.
fn place(event: &Event, file: &FileSeen, engine: &Engine) -> Value {
    let ends = |conn: &Conn| {
        let entities = engine.entities();
        let parties = [conn.client, conn.server].map(|end| entities.party(end.addr, conn.scope));
        // As in the story: the device is the one that is ours, of two the one that asked.
        let [client, server] = parties;
        let (ours, other) = if client.is_local() || !server.is_local() {
            (client, server)
        } else {
            (server, client)
        };
        let name = entities.name_of(other.addr).map(str::to_owned);
        let peer = name.unwrap_or_else(|| other.addr.to_string());
        (entities.id(ours).to_string(), peer)
    };
    let (device, peer) = event.conn.as_ref().map(ends).unzip();
    json!({
        "seen_at": event.ts, "device": device, "peer": peer,
        "protocol": file.service.map(thymus_schema::Service::as_str),
        "event": event.id.to_string(), "size": file.bytes, "upload": file.upload,
        "content_type": file.content_type,
    })
}

/// A line about a file that was seen there.
fn placed(line: &Value, file: &FileSeen, place: &Value) -> Value {
    let mut line = line.clone();
    if let (Some(fields), Some(place)) = (line.as_object_mut(), place.as_object()) {
        // The same content may have passed under another name.
        fields.insert("path".to_owned(), Value::from(&*file.name));
        fields.extend(
            place
                .iter()
                .map(|(key, value)| (key.clone(), value.clone())),
        );
        if fields.get("member").is_some_and(Value::is_string) {
            fields.remove("size");
            fields.insert("file_sha256".to_owned(), Value::from(&*file.sha256));
        }
    }
    line
}
