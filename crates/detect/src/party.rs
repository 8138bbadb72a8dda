//! One side of a conversation as detectors know it: an address, its network, and the device behind it
//! when it is one of ours.

use std::net::{IpAddr, Ipv6Addr};

use thymus_schema::Scope;

/// A device, by its index in the order of first sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceIdx(pub u32);

/// One side of a conversation, resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Party {
    /// The address.
    pub addr: IpAddr,
    /// Its network.
    pub scope: Scope,
    /// The device, when it is one of ours.
    pub device: Option<DeviceIdx>,
}

impl Party {
    /// Whether it is one of ours.
    pub fn is_local(&self) -> bool {
        self.device.is_some()
    }

    /// A number that stands for the entity, stable within a run: for keys of bounded tables.
    pub fn key(&self) -> u64 {
        if let Some(DeviceIdx(idx)) = self.device {
            return u64::from(idx);
        }
        let bits = match external_unit(self.addr) {
            IpAddr::V4(v4) => u64::from(u32::from(v4)),
            IpAddr::V6(v6) => (u128::from(v6) >> 64) as u64 ^ 0x5bd1_e995,
        };
        bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 << 63
    }
}

/// What counts as one outsider: an IPv4 address or an IPv6 /64.
pub(crate) fn external_unit(addr: IpAddr) -> IpAddr {
    match addr {
        IpAddr::V4(_) => addr,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
    }
}
