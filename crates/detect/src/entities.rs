//! Who is who. Addresses are resolved to devices that stay the same across address changes where
//! DHCP, ARP, neighbour discovery and frame addresses allow it; outsiders are named by what DNS said.
//!
//! A device is known by its hardware address once that is certain, before that by the address under
//! which it was first seen. DHCP may move an address from one device to another; ARP, neighbour
//! discovery and frames may only *complete* a device (they are easily forged, and a router's frame
//! address speaks for everyone behind it). Outsiders on IPv6 are known by their /64.

mod card;
mod memory;

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::net::IpAddr;

use compact_str::CompactString;
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};
use thymus_schema::{
    DhcpMessage, DnsFlavor, DnsTransaction, EntityId, Event, EventBody, LocalNetworks, Mac, Peer,
    PeerRole, Scope, Timestamp,
};

use crate::memory::{Ages, DAYS_KEPT};
use crate::party::{DeviceIdx, Party, external_unit};
use crate::prepared::Prepared;
use crate::roles::Roles;

pub use card::DeviceCard;

/// An address as a number, IPv4 as the mapped one: one address has one number, and it hashes fast.
pub(crate) type Bits = u128;

/// The number of an address.
pub(crate) fn bits(addr: IpAddr) -> Bits {
    match addr {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[derive(Clone, Debug)]
struct Device {
    id: EntityId,
    aliases: Vec<Box<str>>,
    first_seen: Timestamp,
    mac: Option<Mac>,
    roles: Roles,
    /// When it was active last.
    touched: u64,
}

impl Device {
    /// What is left of one.
    fn forgotten() -> Self {
        Self {
            id: EntityId::device(""),
            aliases: Vec::new(),
            first_seen: Timestamp::MAX,
            mac: None,
            roles: Roles::default(),
            touched: 0,
        }
    }

    fn is_forgotten(&self) -> bool {
        self.id.key.is_empty()
    }
}

/// The table of entities.
#[derive(Debug, Default)]
pub struct Entities {
    local: LocalNetworks,
    /// A season after a device was forgotten, when nothing speaks of its number any more, another may
    /// have it.
    devices: Vec<Device>,
    /// Numbers of forgotten devices, with the day of that.
    free: VecDeque<(i64, DeviceIdx)>,
    ages: Ages,
    by_addr: FxHashMap<(Scope, Bits), DeviceIdx>,
    by_mac: FxHashMap<(Scope, Mac), DeviceIdx>,
    /// Addresses each frame address spoke for, to tell routers.
    spoke_for: FxHashMap<Mac, FxHashSet<IpAddr>>,
    /// Frames and addresses that have told what they can, by hash; a lease starts it afresh.
    complete: Vec<Option<(Scope, Bits, Mac)>>,
    names: FxHashMap<Bits, CompactString>,
    /// Digests of what `names` was told last of an address, so that what it knows is not looked up.
    told: Vec<u32>,
    /// Names of the half season before.
    names_before: FxHashMap<Bits, CompactString>,
    /// Days since it ended.
    names_days: i64,
    /// Keys in use: DHCP can give a second device the address another is named after.
    keys: FxHashSet<Box<str>>,
    dropped: u64,
}

impl Entities {
    /// Most devices kept; addresses beyond are treated as outsiders and counted.
    pub const DEVICES_MAX: usize = 100_000;
    /// Most outside names kept; when half as many are new, those before them go.
    pub const NAMES_MAX: usize = 200_000;
    /// Most aliases kept of a device.
    const ALIASES_MAX: usize = 32;
    /// Places of the memory of what names were told.
    const TOLD_PLACES: usize = 16_384;
    /// Places of the memory of completed devices.
    const COMPLETE_PLACES: usize = 1024;
    /// A frame address that speaks for more local addresses than this is a router.
    const ROUTER_ADDRS: usize = 6;

    /// An empty table for these local networks.
    pub fn new(local: LocalNetworks) -> Self {
        Self {
            local,
            ..Self::default()
        }
    }

    /// The local networks.
    pub fn local(&self) -> &LocalNetworks {
        &self.local
    }

    /// Goes by these local networks from now on.
    pub fn set_local(&mut self, local: LocalNetworks) {
        self.local = local;
    }

    /// How many devices are known.
    pub fn devices(&self) -> usize {
        self.devices.len() - self.free.len()
    }

    /// All devices in order of first sight.
    pub fn indices(&self) -> impl Iterator<Item = DeviceIdx> {
        let known = self.devices.iter().zip(0..);
        let known = known.filter(|(device, _)| !device.is_forgotten());
        known.map(|(_, index)| DeviceIdx(index))
    }

    /// Notes that a device did something today.
    pub(crate) fn note_active(&mut self, party: Party) {
        let device = party.device.map(|idx| idx.0 as usize);
        if let Some(device) = device.and_then(|index| self.devices.get_mut(index)) {
            device.touched = self.ages.touch();
        }
    }

    fn turn_names(&mut self) {
        self.names_before = std::mem::take(&mut self.names);
        self.names_days = 0;
        self.told.fill(0);
    }

    /// Learns from an event who is who, and gives client and server of its conversation; called
    /// before any detector sees it.
    pub(crate) fn learn(&mut self, event: &Event, prepared: &Prepared) -> Option<(Party, Party)> {
        let Some(conn) = &event.conn else {
            self.learn_body(event, Scope::NONE, prepared);
            return None;
        };
        let (client, server) = (conn.client.addr, conn.server.addr);
        let devices = [client, server].map(|addr| self.admit(addr, conn.scope, event.ts));
        self.learn_body(event, conn.scope, prepared);
        let moves_addresses = matches!(
            event.body,
            EventBody::Dhcp(_) | EventBody::Arp(_) | EventBody::Ndp(_)
        );
        // A frame can only give a device to an address that had none.
        let completes = matches!(event.body, EventBody::Flow(_))
            && [(client, devices[0]), (server, devices[1])]
                .iter()
                .any(|(addr, device)| addr.is_ipv6() && device.is_none());
        let party = |addr: IpAddr, device| Party {
            addr: addr.to_canonical(),
            scope: conn.scope,
            device,
        };
        let parties = if moves_addresses || completes {
            (
                self.party(client, conn.scope),
                self.party(server, conn.scope),
            )
        } else {
            (party(client, devices[0]), party(server, devices[1]))
        };
        if let EventBody::Flow(flow) = &event.body
            && flow.part == 0
        {
            self.learn_role(parties.0, parties.1, event);
        }
        Some(parties)
    }

    fn learn_body(&mut self, event: &Event, scope: Scope, prepared: &Prepared) {
        match &event.body {
            EventBody::Flow(flow) => {
                let Some(conn) = &event.conn else { return };
                if let Some(mac) = flow.client_mac {
                    self.complete(scope, conn.client.addr, mac, event.ts);
                }
                if let Some(mac) = flow.server_mac {
                    self.complete(scope, conn.server.addr, mac, event.ts);
                }
            }
            EventBody::Dns(dns) => self.learn_names(dns, prepared),
            EventBody::Traffic(traffic) => {
                if let Some(addr) = traffic.addr {
                    self.admit(addr, traffic.scope, event.ts);
                    self.note_active(self.party(addr, traffic.scope));
                }
            }
            EventBody::Dhcp(dhcp) => self.learn_lease(dhcp, scope, event.ts),
            EventBody::Arp(arp) => {
                self.complete(scope, arp.sender, arp.sender_mac, event.ts);
                self.note_active(self.party(arp.sender, scope));
            }
            EventBody::Ndp(ndp) => {
                self.complete(scope, ndp.sender, ndp.mac, event.ts);
                self.note_active(self.party(ndp.sender, scope));
            }
            _ => {}
        }
    }

    fn admit(&mut self, addr: IpAddr, scope: Scope, ts: Timestamp) -> Option<DeviceIdx> {
        let at = (scope, bits(addr));
        if let Some(idx) = self.by_addr.get(&at) {
            return Some(*idx);
        }
        if !self.local.contains(addr) {
            return None;
        }
        let idx = self.create(addr, scope, ts)?;
        self.by_addr.insert(at, idx);
        Some(idx)
    }

    fn create(&mut self, addr: IpAddr, scope: Scope, ts: Timestamp) -> Option<DeviceIdx> {
        let reused = self
            .free
            .front()
            .filter(|(day, _)| self.ages.day - day > DAYS_KEPT);
        let idx = match reused {
            Some((_, idx)) => *idx,
            None if self.devices.len() >= Self::DEVICES_MAX => {
                self.dropped += 1;
                return None;
            }
            None => DeviceIdx(self.devices.len() as u32),
        };
        let mut key = if scope.is_none() {
            addr.to_string()
        } else {
            format!("{addr}%{}", scope.0)
        };
        while self.keys.contains(key.as_str()) {
            key.push('\'');
        }
        self.keys.insert(key.as_str().into());
        let device = Device {
            id: EntityId::device(key),
            aliases: vec![addr.to_string().into()],
            first_seen: ts,
            mac: None,
            roles: Roles::default(),
            touched: self.ages.touch(),
        };
        if let Some(place) = self.devices.get_mut(idx.0 as usize) {
            *place = device;
            self.free.pop_front();
        } else {
            self.devices.push(device);
        }
        Some(idx)
    }

    /// Completes a device's hardware address from a frame that carried its address.
    fn complete(&mut self, scope: Scope, addr: IpAddr, mac: Mac, ts: Timestamp) {
        let told = (scope, bits(addr), mac);
        let place = FxBuildHasher.hash_one(told) as usize % Self::COMPLETE_PLACES;
        if self.complete.get(place) == Some(&Some(told)) {
            return;
        }
        if mac.is_zero() || mac.is_multicast() || !self.local.contains(addr) {
            return;
        }
        if self.spoke_for.len() >= Self::DEVICES_MAX && !self.spoke_for.contains_key(&mac) {
            return;
        }
        let spoke = self.spoke_for.entry(mac).or_default();
        if spoke.len() <= Self::ROUTER_ADDRS {
            spoke.insert(addr);
        }
        let is_router = spoke.len() > Self::ROUTER_ADDRS;
        if is_router {
            return;
        }
        let known = self.by_addr.get(&(scope, bits(addr))).copied();
        let holder = self.by_mac.get(&(scope, mac)).copied();
        match (known, holder) {
            (None, Some(holder)) if addr.is_ipv6() => {
                self.by_addr.insert((scope, bits(addr)), holder);
                self.alias(holder, &addr.to_string());
            }
            (None, _) => {
                let admitted = self.admit(addr, scope, ts);
                self.give_mac(admitted, scope, mac);
            }
            (Some(known), None) => self.give_mac(Some(known), scope, mac),
            // Nothing more to learn, until a lease moves an address.
            (Some(_), Some(_)) => {
                self.complete.resize(Self::COMPLETE_PLACES, None);
                if let Some(known) = self.complete.get_mut(place) {
                    *known = Some(told);
                }
            }
        }
    }

    fn give_mac(&mut self, device: Option<DeviceIdx>, scope: Scope, mac: Mac) {
        let Some(idx) = device else { return };
        if let Some(device) = self.devices.get_mut(idx.0 as usize)
            && device.mac.is_none()
            && !self.by_mac.contains_key(&(scope, mac))
        {
            device.mac = Some(mac);
            self.by_mac.insert((scope, mac), idx);
        }
    }

    /// A lease is the one message that may move an address to another device.
    fn learn_lease(&mut self, dhcp: &DhcpMessage, scope: Scope, ts: Timestamp) {
        if !matches!(&*dhcp.message, "ack" | "reply") || dhcp.mac.is_zero() {
            return;
        }
        let Some(addr) = dhcp.assigned.filter(|addr| self.local.contains(*addr)) else {
            return;
        };
        self.complete.clear();
        let at_addr = self.by_addr.get(&(scope, bits(addr))).copied();
        let holder = self.by_mac.get(&(scope, dhcp.mac)).copied().or_else(|| {
            let mac_of = |idx: DeviceIdx| self.devices.get(idx.0 as usize).and_then(|d| d.mac);
            at_addr.filter(|idx| mac_of(*idx).is_none_or(|mac| mac == dhcp.mac))
        });
        let Some(idx) = holder.or_else(|| self.create(addr, scope, ts)) else {
            return;
        };
        self.by_addr.insert((scope, bits(addr)), idx);
        self.by_mac.insert((scope, dhcp.mac), idx);
        if let Some(device) = self.devices.get_mut(idx.0 as usize) {
            device.mac = Some(dhcp.mac);
            device.touched = self.ages.touch();
        }
        self.alias(idx, &addr.to_string());
        self.alias(idx, &dhcp.hostname);
    }

    fn alias(&mut self, idx: DeviceIdx, name: &str) {
        if let Some(device) = self.devices.get_mut(idx.0 as usize)
            && !name.is_empty()
            && device.aliases.len() < Self::ALIASES_MAX
            && !device.aliases.iter().any(|alias| **alias == *name)
        {
            device.aliases.push(name.into());
        }
    }

    fn learn_names(&mut self, dns: &DnsTransaction, prepared: &Prepared) {
        if dns.flavor != DnsFlavor::Dns {
            return;
        }
        if self.told.is_empty() {
            self.told.resize(Self::TOLD_PLACES, 0);
        }
        for addr in &prepared.addresses {
            let place = FxBuildHasher.hash_one(addr) as usize % Self::TOLD_PLACES;
            let digest = (FxBuildHasher.hash_one((addr, prepared.name)) >> 32) as u32 | 1;
            if let Some(told) = self.told.get_mut(place) {
                if *told == digest {
                    continue;
                }
                *told = digest;
            }
            if self.names.len() >= Self::NAMES_MAX / 2 && !self.names.contains_key(addr) {
                self.turn_names();
            }
            let name = self.names.entry(*addr).or_default();
            if *name != dns.query {
                name.clone_from(&dns.query);
            }
        }
    }

    fn learn_role(&mut self, client: Party, server: Party, event: &Event) {
        if let Some(device) = client
            .device
            .and_then(|idx| self.devices.get_mut(idx.0 as usize))
        {
            device.roles.initiated(server, event);
        }
        if let Some(device) = server
            .device
            .and_then(|idx| self.devices.get_mut(idx.0 as usize))
        {
            device.roles.accepted(client, event);
        }
    }

    /// Resolves an address.
    pub fn party(&self, addr: IpAddr, scope: Scope) -> Party {
        let addr = addr.to_canonical();
        Party {
            addr,
            scope,
            device: self.by_addr.get(&(scope, bits(addr))).copied(),
        }
    }

    fn device(&self, party: Party) -> Option<&Device> {
        party
            .device
            .and_then(|idx| self.devices.get(idx.0 as usize))
            .filter(|device| !device.is_forgotten())
    }

    /// The stable identity of a party: a device, or an external address (IPv6: its /64).
    pub fn id(&self, party: Party) -> EntityId {
        match (self.device(party), external_unit(party.addr)) {
            (Some(device), _) => device.id.clone(),
            (None, IpAddr::V4(v4)) => EntityId::external(v4),
            (None, IpAddr::V6(v6)) => EntityId::external(format_args!("{v6}/64")),
        }
    }

    /// A party as a peer of a finding.
    pub fn peer(&self, role: PeerRole, party: Party) -> Peer {
        Peer {
            role,
            entity: self.id(party),
        }
    }

    /// Addresses and names the party has held.
    pub fn aliases(&self, party: Party) -> Vec<Box<str>> {
        if let Some(device) = self.device(party) {
            let mut aliases = device.aliases.clone();
            aliases.extend(device.mac.map(|mac| mac.to_string().into()));
            return aliases;
        }
        let mut aliases: Vec<Box<str>> = vec![party.addr.to_string().into()];
        aliases.extend(self.name_of(party.addr).map(Box::from));
        aliases
    }

    /// The last DNS name that resolved to `addr`.
    pub fn name_of(&self, addr: IpAddr) -> Option<&str> {
        let addr = bits(addr);
        let name = self.names.get(&addr);
        name.or_else(|| self.names_before.get(&addr))
            .map(AsRef::as_ref)
    }

    /// When the device was first seen; [`Timestamp::MAX`] for an unknown index.
    pub fn first_seen(&self, device: DeviceIdx) -> Timestamp {
        self.devices
            .get(device.0 as usize)
            .map_or(Timestamp::MAX, |device| device.first_seen)
    }

    /// What the device does on the network, learned.
    pub fn roles(&self, device: DeviceIdx) -> Option<&Roles> {
        self.devices
            .get(device.0 as usize)
            .map(|device| &device.roles)
    }

    /// The learned peer group of a party; all outsiders are one group.
    pub fn group(&self, party: Party) -> u64 {
        self.device(party)
            .map_or(u64::MAX, |device| device.roles.group())
    }

    /// Whether the frame address speaks for so many local addresses that it must be a router.
    pub fn is_router(&self, mac: Mac) -> bool {
        self.spoke_for
            .get(&mac)
            .is_some_and(|addrs| addrs.len() > Self::ROUTER_ADDRS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepared::Preparer;
    use thymus_schema::{DnsAnswer, EventId, SnapshotReader, SnapshotWriter};

    fn lease(mac: &str, addr: &str, hostname: &str) -> Event {
        let dhcp = DhcpMessage {
            message: "ack".into(),
            mac: mac.parse().unwrap(),
            hostname: hostname.into(),
            assigned: Some(addr.parse().unwrap()),
            ..DhcpMessage::default()
        };
        Event {
            id: EventId::default(),
            ts: Timestamp::from_secs(0),
            conn: None,
            body: EventBody::Dhcp(Box::new(dhcp)),
        }
    }

    fn learn(entities: &mut Entities, event: &Event) {
        entities.learn(event, &Preparer::default().prepare(event));
    }

    #[test]
    fn a_device_keeps_its_identity_across_leases() {
        let mut entities = Entities::new(LocalNetworks::default());
        learn(
            &mut entities,
            &lease("02:00:00:00:00:01", "10.0.0.5", "anna"),
        );
        learn(
            &mut entities,
            &lease("02:00:00:00:00:01", "10.0.0.9", "anna"),
        );
        let old = entities.party("10.0.0.5".parse().unwrap(), Scope::NONE);
        let new = entities.party("10.0.0.9".parse().unwrap(), Scope::NONE);
        assert_eq!(old.device, new.device);
        assert!(entities.aliases(new).iter().any(|alias| &**alias == "anna"));
    }

    #[test]
    fn an_outsider_goes_by_the_name_that_was_told_last() {
        let mut entities = Entities::new(LocalNetworks::default());
        let addr: IpAddr = "192.0.2.7".parse().unwrap();
        for name in ["one.example", "two.example", "one.example", "one.example"] {
            let answer = DnsAnswer::of_text(1, addr.to_string().into(), 60);
            let dns = DnsTransaction {
                query: name.into(),
                answers: [answer].into_iter().collect(),
                ..DnsTransaction::default()
            };
            let event = Event {
                id: EventId::default(),
                ts: Timestamp::from_secs(0),
                conn: None,
                body: EventBody::Dns(Box::new(dns)),
            };
            learn(&mut entities, &event);
            assert_eq!(entities.name_of(addr), Some(name));
        }
    }

    #[test]
    fn an_address_given_to_another_device_changes_hands() {
        let mut entities = Entities::new(LocalNetworks::default());
        learn(
            &mut entities,
            &lease("02:00:00:00:00:01", "10.0.0.5", "anna"),
        );
        let anna = entities.party("10.0.0.5".parse().unwrap(), Scope::NONE);
        learn(
            &mut entities,
            &lease("02:00:00:00:00:02", "10.0.0.5", "bert"),
        );
        let bert = entities.party("10.0.0.5".parse().unwrap(), Scope::NONE);
        assert_ne!(anna.device, bert.device);
        assert_ne!(entities.id(anna), entities.id(bert));
    }

    #[test]
    fn the_same_address_in_two_vlans_is_two_devices() {
        let mut entities = Entities::new(LocalNetworks::default());
        let addr: IpAddr = "10.0.0.5".parse().unwrap();
        let one = entities.admit(addr, Scope(10), Timestamp::from_secs(0));
        let two = entities.admit(addr, Scope(20), Timestamp::from_secs(0));
        assert_ne!(one, two);
    }

    #[test]
    fn who_is_who_survives_a_snapshot() {
        let mut entities = Entities::new(LocalNetworks::default());
        learn(
            &mut entities,
            &lease("02:00:00:00:00:01", "10.0.0.5", "anna"),
        );
        let mut out = SnapshotWriter::new();
        out.section("entities", 1);
        entities.snapshot(&mut out);
        let sections = out.finish();
        let mut again = Entities::new(LocalNetworks::default());
        again
            .restore(&mut SnapshotReader::open("entities", &sections["entities"], 1).unwrap())
            .unwrap();
        learn(&mut again, &lease("02:00:00:00:00:01", "10.0.0.7", "anna"));
        assert_eq!(again.devices(), 1);
    }
}
