//! Finds which addresses are local when the user has not said so.
//!
//! The rule, in this order, over the first packets and records of an import:
//!
//! 1. The private ranges are always local: that is what they are for.
//! 2. A public address that a Zeek log itself calls local is local: that sensor was told.
//! 3. A public address is local when its hardware address speaks for hardly any other, while another
//!    hardware address speaks for many: the first is a host on the segment, the other its router.
//!    Without a router in sight nothing follows, because a router that was seen forwarding for one
//!    peer looks like a host. IPv6 counts by /64, which is what a segment is given.
//! 4. If nothing private and nothing by the rules above was seen at all, the watched hosts are those
//!    that nearly all conversations have in common: the smallest set of addresses, else /24 (/64),
//!    else /16 (/48) networks, that is one end of at least nine in ten. If a few cannot be named
//!    (traffic of a backbone), nothing beside the private ranges is local and the user must declare.
//!
//! Local public hosts that share a /24 become that network when there are several, so that their
//! silent neighbours count too.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use thymus_schema::{LocalNetworks, Mac};

/// Conversations or packets looked at.
const SEEN_MAX: u64 = 50_000;
/// Distinct pairs, hardware addresses and named addresses remembered.
const PAIRS_MAX: usize = 20_000;
const MACS_MAX: usize = 4_096;
const NAMED_MAX: usize = 4_096;
/// Addresses remembered per hardware address.
const PER_MAC_MAX: usize = 16;
/// A hardware address that speaks for so many public addresses is a router.
const ROUTER_MIN: usize = 4;
/// A host may have this many public addresses.
const HOST_MAX: usize = 2;
/// So many hosts of one /24 make the network local.
const NETWORK_HOSTS_MIN: usize = 4;
/// Most networks found beside the private ranges.
const NETWORKS_MAX: usize = 64;
/// Most members of the common set of rule 4.
const COMMON_MAX: usize = 8;

/// What the first packets and records of an import say about which addresses are local.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    seen: u64,
    pairs: BTreeMap<(IpAddr, IpAddr), u64>,
    macs: BTreeMap<Mac, BTreeSet<IpAddr>>,
    named: BTreeSet<IpAddr>,
}

impl Evidence {
    /// Whether more would still be taken into account.
    pub fn wants_more(&self) -> bool {
        self.seen < SEEN_MAX
    }

    /// A conversation or packet between two addresses, from the first.
    pub fn pair(&mut self, client: IpAddr, server: IpAddr) {
        self.seen += 1;
        let key = (client.to_canonical(), server.to_canonical());
        let is_host_pair = is_host(key.0) && is_host(key.1) && self.wants_more();
        if is_host_pair && (self.pairs.len() < PAIRS_MAX || self.pairs.contains_key(&key)) {
            *self.pairs.entry(key).or_default() += 1;
        }
    }

    /// A hardware address sent something from `addr`.
    pub fn mac(&mut self, mac: Mac, addr: IpAddr) {
        let addr = addr.to_canonical();
        let full = self.macs.len() >= MACS_MAX && !self.macs.contains_key(&mac);
        if mac.is_multicast() || mac.is_zero() || !is_host(addr) || full {
            return;
        }
        let addresses = self.macs.entry(mac).or_default();
        if addresses.len() < PER_MAC_MAX {
            addresses.insert(segment(addr));
        }
    }

    /// The log's own sensor calls `addr` local.
    pub fn named_local(&mut self, addr: IpAddr) {
        let addr = addr.to_canonical();
        if is_host(addr) && self.named.len() < NAMED_MAX {
            self.named.insert(segment(addr));
        }
    }

    /// The networks all this speaks for.
    pub fn decide(&self) -> LocalNetworks {
        let private = LocalNetworks::default();
        let mut hosts: BTreeSet<IpAddr> = self.named.clone();
        hosts.extend(self.hosts_by_mac(&private));
        hosts.retain(|addr| !private.contains(*addr));
        let ends = self
            .pairs
            .keys()
            .flat_map(|(client, server)| [*client, *server]);
        let private_seen = ends.clone().any(|addr| private.contains(addr));
        if hosts.is_empty() && !private_seen {
            return LocalNetworks::found(self.common());
        }
        LocalNetworks::found(networks(&hosts))
    }

    /// Rule 3.
    fn hosts_by_mac(&self, private: &LocalNetworks) -> BTreeSet<IpAddr> {
        let public = |addresses: &BTreeSet<IpAddr>| -> Vec<IpAddr> {
            addresses
                .iter()
                .copied()
                .filter(|addr| !private.contains(*addr))
                .collect()
        };
        let by_mac: Vec<Vec<IpAddr>> = self.macs.values().map(public).collect();
        let routed: BTreeSet<IpAddr> = by_mac
            .iter()
            .filter(|addresses| addresses.len() >= ROUTER_MIN)
            .flatten()
            .copied()
            .collect();
        if routed.is_empty() {
            return BTreeSet::new();
        }
        let of_hosts = by_mac
            .into_iter()
            .filter(|addresses| addresses.len() <= HOST_MAX);
        of_hosts
            .flatten()
            .filter(|addr| !routed.contains(addr))
            .collect()
    }

    /// Rule 4.
    fn common(&self) -> Vec<IpNet> {
        if let [(client, server)] = self.pairs.keys().collect::<Vec<_>>().as_slice() {
            return vec![net(*client, 32, 128), net(*server, 32, 128)];
        }
        for (v4_bits, v6_bits) in [(32, 128), (24, 64), (16, 48)] {
            if let Some(networks) = self.cover(v4_bits, v6_bits) {
                return networks;
            }
        }
        Vec::new()
    }

    /// A small set of networks of this size that is one end of nine conversations in ten.
    fn cover(&self, v4_bits: u8, v6_bits: u8) -> Option<Vec<IpNet>> {
        let net = |addr| net(addr, v4_bits, v6_bits);
        let mut left: Vec<(IpNet, IpNet, u64)> = self
            .pairs
            .iter()
            .map(|((a, b), n)| (net(*a), net(*b), *n))
            .collect();
        let total: u64 = left.iter().map(|(_, _, n)| n).sum();
        let mut chosen = Vec::new();
        while left.iter().map(|(_, _, n)| n).sum::<u64>() * 10 > total {
            if chosen.len() >= COMMON_MAX {
                return None;
            }
            // Weight, then how often it began, so that of two equal ends the client is chosen.
            let mut weights: BTreeMap<IpNet, (u64, u64)> = BTreeMap::new();
            for (client, server, n) in &left {
                let entry = weights.entry(*client).or_default();
                entry.0 += n;
                entry.1 += n;
                if server != client {
                    weights.entry(*server).or_default().0 += n;
                }
            }
            let best = weights
                .into_iter()
                .max_by_key(|(net, weight)| (*weight, Reverse(*net)))?
                .0;
            chosen.push(best);
            left.retain(|(client, server, _)| *client != best && *server != best);
        }
        Some(chosen)
    }
}

fn is_host(addr: IpAddr) -> bool {
    let routable = match addr {
        IpAddr::V4(v4) => !v4.is_broadcast() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local(),
    };
    routable && !addr.is_multicast() && !addr.is_unspecified() && !addr.is_loopback()
}

/// The address, or the /64 it is in.
fn segment(addr: IpAddr) -> IpAddr {
    match addr {
        IpAddr::V4(_) => addr,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
    }
}

fn net(addr: IpAddr, v4_bits: u8, v6_bits: u8) -> IpNet {
    let bits = if addr.is_ipv4() { v4_bits } else { v6_bits };
    IpNet::new_assert(addr, bits).trunc()
}

/// Few networks that hold all `hosts`.
fn networks(hosts: &BTreeSet<IpAddr>) -> Vec<IpNet> {
    let mut by_net: BTreeMap<IpNet, Vec<IpAddr>> = BTreeMap::new();
    for addr in hosts {
        by_net.entry(net(*addr, 24, 64)).or_default().push(*addr);
    }
    let mut networks: Vec<IpNet> = Vec::new();
    for (network, members) in by_net {
        let whole = members.len() >= NETWORK_HOSTS_MIN || network.addr().is_ipv6();
        if whole {
            networks.push(network);
        } else {
            networks.extend(members.into_iter().map(|addr| net(addr, 32, 128)));
        }
    }
    if networks.len() > NETWORKS_MAX {
        let wider = |network: &IpNet| net(network.addr(), 16, 48);
        networks = networks
            .iter()
            .map(wider)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        networks.truncate(NETWORKS_MAX);
    }
    networks
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn external(n: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(203, n, 113, 7))
    }

    #[test]
    fn private_networks_need_no_evidence() {
        let mut evidence = Evidence::default();
        evidence.pair(ip("10.0.0.7"), ip("198.51.100.1"));
        let local = evidence.decide();
        assert!(local.contains(ip("10.0.0.7")));
        assert!(!local.contains(ip("198.51.100.1")));
    }

    #[test]
    fn a_host_beside_its_router_is_local_and_what_is_routed_is_not() {
        let (host, router) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        let mut evidence = Evidence::default();
        evidence.pair(ip("10.0.0.9"), ip("10.0.0.8"));
        evidence.mac(host, ip("198.51.100.9"));
        evidence.mac(host, ip("2001:db8:1:2::9"));
        for n in 0..8 {
            evidence.pair(ip("198.51.100.9"), external(n));
            evidence.mac(router, external(n));
        }
        let local = evidence.decide();
        assert!(local.contains(ip("198.51.100.9")));
        assert!(local.contains(ip("2001:db8:1:2::77")), "the whole segment");
        assert!(!local.contains(external(3)));
    }

    #[test]
    fn without_a_router_a_hardware_address_proves_nothing() {
        let mut evidence = Evidence::default();
        evidence.pair(ip("10.0.0.7"), external(1));
        evidence.mac(Mac([2, 0, 0, 0, 0, 2]), external(1));
        assert!(!evidence.decide().contains(external(1)));
    }

    #[test]
    fn the_end_that_all_conversations_share_is_watched() {
        let mut evidence = Evidence::default();
        for n in 0..50 {
            evidence.pair(external(n), ip("198.51.100.9"));
        }
        let local = evidence.decide();
        assert!(local.contains(ip("198.51.100.9")));
        assert!(!local.contains(external(3)));
    }

    #[test]
    fn a_watched_network_is_found_when_no_single_host_is_shared() {
        let mut evidence = Evidence::default();
        for n in 0..60 {
            let inside = IpAddr::V4(Ipv4Addr::new(198, 51, 100, n));
            evidence.pair(inside, external(n));
            evidence.pair(inside, external(n + 60));
        }
        let local = evidence.decide();
        assert!(local.contains(ip("198.51.100.200")));
        assert!(!local.contains(external(3)));
    }

    #[test]
    fn a_backbone_has_no_local_side() {
        let mut evidence = Evidence::default();
        for n in 0..200 {
            evidence.pair(IpAddr::V4(Ipv4Addr::new(n, 1, 1, 1)), external(n));
        }
        assert_eq!(evidence.decide(), LocalNetworks::default());
    }

    #[test]
    fn what_zeek_calls_local_is_local() {
        let mut evidence = Evidence::default();
        evidence.named_local(ip("198.51.100.9"));
        assert!(evidence.decide().contains(ip("198.51.100.9")));
    }
}
