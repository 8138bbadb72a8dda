//! The identity of a flow while it lasts: scope, protocol and both endpoints, packed small and the
//! same for both directions.

use std::net::IpAddr;

use rustc_hash::FxHashMap;
use thymus_schema::{FlowId, Scope};

/// A key and which of its two ends sent the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Directed {
    pub(crate) key: Key,
    /// The sender is the lower of the two ends.
    pub(crate) from_low: bool,
}

/// A packed key. Two sizes, because most flows are IPv4 and every packet looks one up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    V4(KeyV4),
    V6(KeyV6),
}

/// Both addresses; both ports and the scope; the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KeyV4 {
    addresses: u64,
    ports_scope: u64,
    protocol: u8,
}

/// As [`KeyV4`], with longer addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KeyV6 {
    low: u128,
    high: u128,
    ports_scope: u64,
    protocol: u8,
}

fn pack<T>(low: (T, u16), high: (T, u16), scope: Scope) -> (T, T, u64) {
    let ports = u64::from(low.1) << 48 | u64::from(high.1) << 32;
    (low.0, high.0, ports | u64::from(scope.0))
}

fn order<T: Ord + Copy>(
    source: (T, u16),
    destination: (T, u16),
    scope: Scope,
) -> (T, T, u64, bool) {
    let from_low = source <= destination;
    let (low, high) = if from_low {
        (source, destination)
    } else {
        (destination, source)
    };
    let (low, high, rest) = pack(low, high, scope);
    (low, high, rest, from_low)
}

fn wide(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl Directed {
    pub(crate) fn new(
        source: (IpAddr, u16),
        destination: (IpAddr, u16),
        protocol: u8,
        scope: Scope,
    ) -> Self {
        if let (IpAddr::V4(from), IpAddr::V4(to)) = (source.0, destination.0) {
            let (from, to) = ((from.to_bits(), source.1), (to.to_bits(), destination.1));
            let (low, high, ports_scope, from_low) = order(from, to, scope);
            let addresses = u64::from(low) << 32 | u64::from(high);
            let key = Key::V4(KeyV4 {
                addresses,
                ports_scope,
                protocol,
            });
            return Self { key, from_low };
        }
        let (from, to) = (
            (wide(source.0), source.1),
            (wide(destination.0), destination.1),
        );
        let (low, high, ports_scope, from_low) = order(from, to, scope);
        Self {
            key: Key::V6(KeyV6 {
                low,
                high,
                ports_scope,
                protocol,
            }),
            from_low,
        }
    }

    /// The flow's id: a fixed mix of the key and the first packet's time.
    pub(crate) fn flow_id(&self, start: i64) -> FlowId {
        let words = match self.key {
            Key::V4(key) => [
                key.addresses,
                0,
                0,
                0,
                key.ports_scope,
                u64::from(key.protocol),
            ],
            Key::V6(key) => [
                key.low as u64,
                (key.low >> 64) as u64,
                key.high as u64,
                (key.high >> 64) as u64,
                key.ports_scope,
                u64::from(key.protocol),
            ],
        };
        let seed = mix(start as u64 ^ 0x9e37_79b9_7f4a_7c15);
        FlowId(
            words
                .into_iter()
                .fold(seed, |state, word| mix(state ^ word)),
        )
    }
}

/// The finaliser of `SplitMix64`: every bit of the result depends on every bit of the word.
pub(crate) const fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Where each living flow is in the table.
#[derive(Default)]
pub(crate) struct KeyMap {
    v4: FxHashMap<KeyV4, u32>,
    v6: FxHashMap<KeyV6, u32>,
}

impl KeyMap {
    pub(crate) fn get(&self, key: &Key) -> Option<u32> {
        match key {
            Key::V4(key) => self.v4.get(key).copied(),
            Key::V6(key) => self.v6.get(key).copied(),
        }
    }

    pub(crate) fn insert(&mut self, key: Key, index: u32) {
        match key {
            Key::V4(key) => self.v4.insert(key, index),
            Key::V6(key) => self.v6.insert(key, index),
        };
    }

    pub(crate) fn remove(&mut self, key: &Key) {
        match key {
            Key::V4(key) => self.v4.remove(key),
            Key::V6(key) => self.v6.remove(key),
        };
    }

    pub(crate) fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }
}
