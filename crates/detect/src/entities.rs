//! Who is who. Addresses are resolved to devices that stay the same across address changes where
//! DHCP and ARP allow it; names seen in DNS answers are remembered for the addresses they gave.

use std::net::IpAddr;

use rustc_hash::FxHashMap;
use thymus_schema::{EntityId, Event, EventBody, LocalNetworks, Peer, PeerRole, Scope, Timestamp};

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
}

#[derive(Clone, Debug)]
struct Device {
    id: EntityId,
    aliases: Vec<Box<str>>,
    first_seen: Timestamp,
}

/// The table of entities.
#[derive(Debug, Default)]
pub struct Entities {
    local: LocalNetworks,
    devices: Vec<Device>,
    by_addr: FxHashMap<(Scope, IpAddr), DeviceIdx>,
    names: FxHashMap<IpAddr, Box<str>>,
}

impl Entities {
    /// Most devices kept; later ones are treated as external and counted.
    pub const DEVICES_MAX: usize = 100_000;
    /// Most external names kept.
    pub const NAMES_MAX: usize = 200_000;

    /// An empty table for these local networks.
    pub fn new(local: LocalNetworks) -> Self {
        Self { local, ..Self::default() }
    }

    /// The local networks.
    pub fn local(&self) -> &LocalNetworks {
        &self.local
    }

    /// How many devices are known.
    pub fn devices(&self) -> usize {
        self.devices.len()
    }

    /// Learns from an event who is who; called before any detector sees it.
    pub fn learn(&mut self, event: &Event) {
        if let Some(conn) = &event.conn {
            for addr in [conn.client.addr, conn.server.addr] {
                self.admit(addr, conn.scope, event.ts);
            }
        }
        if let EventBody::Dns(dns) = &event.body {
            for answer in &dns.answers {
                if let Ok(addr) = answer.data.parse::<IpAddr>()
                    && (self.names.len() < Self::NAMES_MAX || self.names.contains_key(&addr))
                {
                    self.names.insert(addr, dns.query.clone());
                }
            }
        }
    }

    fn admit(&mut self, addr: IpAddr, scope: Scope, ts: Timestamp) {
        if self.by_addr.contains_key(&(scope, addr))
            || !self.local.contains(addr)
            || self.devices.len() >= Self::DEVICES_MAX
        {
            return;
        }
        let idx = DeviceIdx(self.devices.len() as u32);
        let key: Box<str> =
            if scope.is_none() { addr.to_string() } else { format!("{addr}%{}", scope.0) }.into();
        let aliases = vec![addr.to_string().into()];
        self.devices.push(Device { id: EntityId::device(key), aliases, first_seen: ts });
        self.by_addr.insert((scope, addr), idx);
    }

    /// Resolves an address.
    pub fn party(&self, addr: IpAddr, scope: Scope) -> Party {
        let addr = addr.to_canonical();
        Party { addr, scope, device: self.by_addr.get(&(scope, addr)).copied() }
    }

    /// The stable identity of a party: a device, or an external name or address.
    pub fn id(&self, party: Party) -> EntityId {
        match party.device.and_then(|idx| self.devices.get(idx.0 as usize)) {
            Some(device) => device.id.clone(),
            None => EntityId::external(party.addr),
        }
    }

    /// A party as a peer of a finding; an outsider is named by its DNS name where one is known.
    pub fn peer(&self, role: PeerRole, party: Party) -> Peer {
        Peer { role, entity: self.id(party) }
    }

    /// Addresses and names the party has held.
    pub fn aliases(&self, party: Party) -> Vec<Box<str>> {
        match party.device.and_then(|idx| self.devices.get(idx.0 as usize)) {
            Some(device) => device.aliases.clone(),
            None => {
                let mut aliases: Vec<Box<str>> = vec![party.addr.to_string().into()];
                aliases.extend(self.name_of(party.addr).map(Box::from));
                aliases
            }
        }
    }

    /// The last DNS name that resolved to `addr`.
    pub fn name_of(&self, addr: IpAddr) -> Option<&str> {
        self.names.get(&addr).map(AsRef::as_ref)
    }

    /// When the device was first seen.
    pub fn first_seen(&self, device: DeviceIdx) -> Timestamp {
        self.devices.get(device.0 as usize).map_or(Timestamp::MAX, |device| device.first_seen)
    }
}
