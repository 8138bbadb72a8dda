//! Packet statistics of each local address over windows of ten seconds of event time.

use std::net::IpAddr;

use rustc_hash::FxHashMap;
use thymus_schema::{EventBody, Scope, TrafficWindow};

use super::key::mix;

/// Length of a window.
pub(crate) const WINDOW_SECS: i64 = 10;
/// Most addresses that are followed at a time.
const ADDRESSES_MAX: usize = 65_536;
/// Windows of silence after which an address is forgotten.
const SILENT_WINDOWS_MAX: u32 = 360;
/// Bits of the sketches of distinct peers and ports; estimates saturate near 7 × this number.
const SKETCH_BITS: u64 = 512;

/// An address's place among the counters; stale once its generation has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handle {
    index: u32,
    generation: u32,
}

impl Handle {
    /// No place: the address is not local, or there was no room.
    pub(crate) const NONE: Self = Self {
        index: u32::MAX,
        generation: 0,
    };
}

/// What a packet adds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) now: i64,
    pub(crate) ip_len: u32,
    /// A digest of the other address.
    pub(crate) peer: u64,
    /// The destination's port.
    pub(crate) port: u16,
    pub(crate) kind: SampleKind,
    /// Sent to a group (multicast or broadcast).
    pub(crate) to_group: bool,
}

/// What a packet counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SampleKind {
    Tcp,
    Syn,
    Rst,
    Udp,
    Icmp,
    Other,
}

#[derive(Default)]
struct Counters {
    packets_out: u64,
    packets_in: u64,
    bytes_out: u64,
    bytes_in: u64,
    size_squares: f64,
    gap_sum: f64,
    gap_squares: f64,
    last: i64,
    peers: [u64; SKETCH_BITS as usize / 64],
    ports: [u64; SKETCH_BITS as usize / 64],
    syn_out: u64,
    syn_in: u64,
    rst: u64,
    udp: u64,
    icmp: u64,
    group_out: u64,
}

struct Slot {
    address: IpAddr,
    scope: Scope,
    generation: u32,
    touched: bool,
    silent: u32,
    counters: Box<Counters>,
}

/// All local addresses that sent something of late.
#[derive(Default)]
pub(crate) struct Traffic {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_address: FxHashMap<(IpAddr, Scope), u32>,
    touched: Vec<u32>,
    /// Addresses not followed for want of room.
    pub(crate) refused: u64,
}

impl Traffic {
    /// The place of a local address that sends, made if it is new and there is room.
    pub(crate) fn sender(&mut self, address: IpAddr, scope: Scope) -> Handle {
        if let Some(handle) = self.known(address, scope) {
            return handle;
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() < ADDRESSES_MAX => {
                self.slots.push(Slot {
                    address,
                    scope,
                    generation: 0,
                    touched: false,
                    silent: 0,
                    counters: Box::default(),
                });
                self.slots.len() as u32 - 1
            }
            None => {
                self.refused += 1;
                return Handle::NONE;
            }
        };
        self.by_address.insert((address, scope), index);
        let Some(slot) = self.slots.get_mut(index as usize) else {
            return Handle::NONE;
        };
        (slot.address, slot.scope, slot.silent) = (address, scope, 0);
        Handle {
            index,
            generation: slot.generation,
        }
    }

    /// The place of an address that has sent before.
    pub(crate) fn known(&self, address: IpAddr, scope: Scope) -> Option<Handle> {
        let index = *self.by_address.get(&(address, scope))?;
        let generation = self.slots.get(index as usize)?.generation;
        Some(Handle { index, generation })
    }

    /// Counts a packet sent (`out`) or received by the address; `false` when the place is stale.
    pub(crate) fn count(&mut self, handle: Handle, out: bool, sample: &Sample) -> bool {
        let Some(slot) = self.slots.get_mut(handle.index as usize) else {
            return false;
        };
        if slot.generation != handle.generation {
            return false;
        }
        if !slot.touched {
            slot.touched = true;
            self.touched.push(handle.index);
        }
        slot.counters.add(out, sample);
        true
    }

    /// Ends the window and gives its statistics, sorted by address.
    pub(crate) fn close(&mut self, emit: &mut dyn FnMut(EventBody)) {
        let mut touched = std::mem::take(&mut self.touched);
        let name = |index: &u32| {
            self.slots
                .get(*index as usize)
                .map(|slot| (slot.address, slot.scope))
        };
        touched.sort_by_key(name);
        for index in &touched {
            let Some(slot) = self.slots.get_mut(*index as usize) else {
                continue;
            };
            let window = slot.counters.window(slot.address, slot.scope);
            *slot.counters = Counters {
                last: slot.counters.last,
                ..Counters::default()
            };
            slot.touched = false;
            slot.silent = 0;
            emit(EventBody::Traffic(Box::new(window)));
        }
        touched.clear();
        self.touched = touched;
        self.forget_silent();
    }

    /// Whether ending windows would do nothing until the next packet.
    pub(crate) fn is_idle(&self) -> bool {
        self.touched.is_empty() && !self.is_crowded()
    }

    /// Whether there are so many addresses that silent ones are to be forgotten.
    fn is_crowded(&self) -> bool {
        self.by_address.len() >= ADDRESSES_MAX / 2
    }

    fn forget_silent(&mut self) {
        if !self.is_crowded() {
            return;
        }
        for (index, slot) in self.slots.iter_mut().enumerate() {
            slot.silent = slot.silent.saturating_add(1);
            if slot.silent == SILENT_WINDOWS_MAX {
                self.by_address.remove(&(slot.address, slot.scope));
                slot.generation = slot.generation.wrapping_add(1);
                self.free.push(index as u32);
            }
        }
    }
}

impl Counters {
    fn add(&mut self, out: bool, sample: &Sample) {
        let size = u64::from(sample.ip_len);
        if self.packets_out + self.packets_in > 0 {
            let gap = sample.now.saturating_sub(self.last) as f64 * 1e-9;
            self.gap_sum += gap;
            self.gap_squares += gap * gap;
        }
        self.last = sample.now;
        self.size_squares += (size * size) as f64;
        set_bit(&mut self.peers, sample.peer);
        if out {
            self.packets_out += 1;
            self.bytes_out += size;
            set_bit(&mut self.ports, mix(u64::from(sample.port)));
            self.group_out += u64::from(sample.to_group);
        } else {
            self.packets_in += 1;
            self.bytes_in += size;
        }
        match sample.kind {
            SampleKind::Tcp | SampleKind::Other => {}
            SampleKind::Syn if out => self.syn_out += 1,
            SampleKind::Syn => self.syn_in += 1,
            SampleKind::Rst => self.rst += 1,
            SampleKind::Udp => self.udp += 1,
            SampleKind::Icmp => self.icmp += 1,
        }
    }

    fn window(&self, address: IpAddr, scope: Scope) -> TrafficWindow {
        let packets = (self.packets_out + self.packets_in).max(1) as f64;
        let gaps = (packets - 1.0).max(1.0);
        let size_mean = (self.bytes_out + self.bytes_in) as f64 / packets;
        let gap_mean = self.gap_sum / gaps;
        let deviation = |squares: f64, mean: f64| (squares - mean * mean).max(0.0).sqrt();
        TrafficWindow {
            addr: Some(address),
            scope,
            secs: WINDOW_SECS as f64,
            packets_out: self.packets_out,
            packets_in: self.packets_in,
            bytes_out: self.bytes_out,
            bytes_in: self.bytes_in,
            size_mean,
            size_std: deviation(self.size_squares / packets, size_mean),
            gap_mean,
            gap_std: deviation(self.gap_squares / gaps, gap_mean),
            peers: estimate(&self.peers),
            ports_out: estimate(&self.ports),
            syn_out: self.syn_out,
            syn_in: self.syn_in,
            rst: self.rst,
            udp: self.udp,
            icmp: self.icmp,
            group_out: self.group_out,
        }
    }
}

fn set_bit(sketch: &mut [u64], digest: u64) {
    let bit = digest % SKETCH_BITS;
    if let Some(word) = sketch.get_mut(bit as usize / 64) {
        *word |= 1 << (bit % 64);
    }
}

/// Linear counting (Whang, Vander-Zanden, Taylor 1990).
fn estimate(sketch: &[u64]) -> u64 {
    let bits = SKETCH_BITS as f64;
    let set: u32 = sketch.iter().map(|word| word.count_ones()).sum();
    let empty = (bits - f64::from(set)).max(1.0);
    (bits * (bits / empty).ln()).round() as u64
}
