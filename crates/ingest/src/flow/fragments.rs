//! IP fragments joined to packets (RFC 791, RFC 8200). Of bytes that come twice the first count.

use std::net::IpAddr;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use thymus_parsers::packet::{IpPacket, skip_extensions};
use thymus_schema::Scope;

/// Most packets that wait for fragments at a time.
const PACKETS_MAX: usize = 1024;
/// Most bytes that wait for fragments at a time.
const BYTES_MAX: usize = 16 << 20;
/// Most fragments of one packet.
const FRAGMENTS_MAX: usize = 256;
/// Longest packet that can be joined.
const PACKET_BYTES_MAX: u32 = 65_535;
/// How long the rest of a packet is waited for.
const WAIT_NANOS: i64 = 30_000_000_000;

type Key = (IpAddr, IpAddr, Scope, u8, u32);

/// Packets whose fragments have not all come, oldest first.
#[derive(Default)]
pub(crate) struct Fragments {
    waiting: IndexMap<Key, Waiting, FxBuildHasher>,
    bytes: usize,
    /// Packets given up: too many, too old, or contradicting themselves.
    pub(crate) given_up: u64,
    /// Fragments that overlapped others with different bytes.
    pub(crate) conflicts: u64,
}

struct Waiting {
    /// Fragments in order of offset, not overlapping.
    parts: Vec<(u32, Vec<u8>)>,
    since: i64,
    /// Length of the whole payload, once the last fragment has come.
    total: Option<u32>,
    bytes: usize,
    wire_len: u32,
    fragments: usize,
}

/// A packet whose fragments are all there.
pub(crate) struct Joined {
    pub(crate) protocol: u8,
    pub(crate) payload: Vec<u8>,
    /// Length of the packet as if it had never been cut, in bytes.
    pub(crate) total_len: u32,
}

impl Fragments {
    /// Takes a fragment; gives the packet when it was the last one missing.
    pub(crate) fn take(&mut self, ip: &IpPacket<'_>, scope: Scope, now: i64) -> Option<Joined> {
        let fragment = ip.fragment?;
        self.expire(now);
        let end = fragment.offset + ip.payload.len() as u32;
        if ip.missing > 0 || end > PACKET_BYTES_MAX {
            self.given_up += 1;
            return None;
        }
        let key = (
            ip.source,
            ip.destination,
            scope,
            ip.protocol,
            fragment.ident,
        );
        let waiting = self.waiting.entry(key).or_insert_with(|| Waiting::new(now));
        waiting.fragments += 1;
        waiting.wire_len += ip.payload.len() as u32;
        if !fragment.more {
            waiting.total.get_or_insert(end);
        }
        let before = waiting.bytes;
        if waiting.insert(fragment.offset, ip.payload) {
            self.conflicts += 1;
        }
        self.bytes += waiting.bytes - before;
        let complete = waiting.is_complete();
        if complete || waiting.fragments > FRAGMENTS_MAX {
            let waiting = self.waiting.shift_remove(&key)?;
            self.bytes -= waiting.bytes;
            if complete {
                return Some(waiting.join(ip));
            }
            self.given_up += 1;
        }
        while self.waiting.len() > PACKETS_MAX || self.bytes > BYTES_MAX {
            self.drop_oldest();
        }
        None
    }

    fn expire(&mut self, now: i64) {
        while let Some((_, oldest)) = self.waiting.first() {
            if now.saturating_sub(oldest.since) <= WAIT_NANOS {
                break;
            }
            self.drop_oldest();
        }
    }

    /// Drops all: the end of the input, or a jump in time.
    pub(crate) fn clear(&mut self) {
        self.given_up += self.waiting.len() as u64;
        self.waiting.clear();
        self.bytes = 0;
    }

    fn drop_oldest(&mut self) {
        if let Some((_, oldest)) = self.waiting.shift_remove_index(0) {
            self.bytes -= oldest.bytes;
            self.given_up += 1;
        }
    }
}

impl Waiting {
    const fn new(since: i64) -> Self {
        Self {
            parts: Vec::new(),
            since,
            total: None,
            bytes: 0,
            wire_len: 0,
            fragments: 0,
        }
    }

    /// Puts the bytes where nothing is yet; whether they contradicted what was there.
    fn insert(&mut self, offset: u32, payload: &[u8]) -> bool {
        let end = offset + payload.len() as u32;
        let mut conflict = false;
        let mut at = offset;
        let mut fresh: Vec<(u32, u32)> = Vec::new();
        for (from, bytes) in &self.parts {
            let to = from + bytes.len() as u32;
            if to <= at || *from >= end {
                continue;
            }
            let (low, high) = ((*from).max(offset), to.min(end));
            let ours = payload.get((low - offset) as usize..(high - offset) as usize);
            let theirs = bytes.get((low - from) as usize..(high - from) as usize);
            conflict |= ours != theirs;
            if at < *from {
                fresh.push((at, *from));
            }
            at = at.max(to);
        }
        if at < end {
            fresh.push((at, end));
        }
        for (from, to) in fresh {
            let bytes = payload.get((from - offset) as usize..(to - offset) as usize);
            let bytes = bytes.unwrap_or_default().to_vec();
            self.bytes += bytes.len();
            let place = self.parts.partition_point(|(start, _)| *start < from);
            self.parts.insert(place, (from, bytes));
        }
        conflict
    }

    fn is_complete(&self) -> bool {
        let Some(total) = self.total else {
            return false;
        };
        let mut at = 0;
        for (from, bytes) in &self.parts {
            if *from > at {
                return false;
            }
            at = at.max(from + bytes.len() as u32);
        }
        at >= total
    }

    fn join(self, ip: &IpPacket<'_>) -> Joined {
        let mut payload = Vec::with_capacity(self.bytes);
        for (_, bytes) in &self.parts {
            payload.extend_from_slice(bytes);
        }
        payload.truncate(self.total.unwrap_or(u32::MAX) as usize);
        let header_len = ip.total_len.saturating_sub(ip.payload.len() as u32);
        let total_len = header_len.saturating_add(self.wire_len);
        let (protocol, rest) = skip_extensions(ip.protocol, &payload);
        let skipped = payload.len() - rest.len();
        payload.drain(..skipped);
        Joined {
            protocol,
            payload,
            total_len,
        }
    }
}
