//! Which addresses are ours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// The local networks: declared by the user, or found by `ingest` from the first packets. Addresses
/// inside are devices, addresses outside are external.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalNetworks {
    /// The networks, sorted, without duplicates.
    networks: Vec<IpNet>,
    /// Whether the user said so (declared) rather than the traffic (found).
    declared: bool,
}

impl Default for LocalNetworks {
    fn default() -> Self {
        Self::found(Vec::new())
    }
}

impl LocalNetworks {
    /// Exactly the networks the user named.
    pub fn declared(networks: Vec<IpNet>) -> Self {
        Self::new(networks, true)
    }

    /// The private ranges (RFC 1918, RFC 4193, RFC 6598, link-local) plus what the traffic showed.
    pub fn found(extra: Vec<IpNet>) -> Self {
        let v4 = |a, b, c, d, bits| Ipv4Net::new(Ipv4Addr::new(a, b, c, d), bits).map(IpNet::V4);
        let v6 = |head: u16, bits| {
            Ipv6Net::new(Ipv6Addr::new(head, 0, 0, 0, 0, 0, 0, 0), bits).map(IpNet::V6)
        };
        let private = [
            v4(10, 0, 0, 0, 8),
            v4(172, 16, 0, 0, 12),
            v4(192, 168, 0, 0, 16),
            v4(169, 254, 0, 0, 16),
            v4(100, 64, 0, 0, 10),
            v6(0xfc00, 7),
            v6(0xfe80, 10),
        ];
        Self::new(private.into_iter().flatten().chain(extra).collect(), false)
    }

    fn new(mut networks: Vec<IpNet>, declared: bool) -> Self {
        networks.sort();
        networks.dedup();
        Self { networks, declared }
    }

    /// The networks, sorted.
    pub fn networks(&self) -> &[IpNet] {
        &self.networks
    }

    /// Whether the user declared them.
    pub fn is_declared(&self) -> bool {
        self.declared
    }

    /// Whether `address` is one of ours: a host, not a multicast, broadcast or unspecified address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let is_host = match address {
            IpAddr::V4(v4) => !v4.is_broadcast() && !v4.is_multicast() && !v4.is_unspecified(),
            IpAddr::V6(v6) => !v6.is_multicast() && !v6.is_unspecified(),
        };
        is_host && (address.is_loopback() || self.networks.iter().any(|net| covers(net, address)))
    }
}

/// Whether `net` contains `address`, by one comparison of the bits that matter: this is asked for
/// both sides of every event.
fn covers(net: &IpNet, address: IpAddr) -> bool {
    match (net, address) {
        (IpNet::V4(net), IpAddr::V4(address)) => {
            let differ = net.addr().to_bits() ^ address.to_bits();
            differ
                .checked_shr(32 - u32::from(net.prefix_len()))
                .unwrap_or(0)
                == 0
        }
        (IpNet::V6(net), IpAddr::V6(address)) => {
            let differ = net.addr().to_bits() ^ address.to_bits();
            differ
                .checked_shr(128 - u32::from(net.prefix_len()))
                .unwrap_or(0)
                == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_hosts_are_local_and_groups_are_not() {
        let local = LocalNetworks::default();
        assert!(local.contains("10.1.2.3".parse().unwrap()));
        assert!(
            local.contains("::ffff:192.168.0.1".parse().unwrap()),
            "mapped v4 is v4"
        );
        assert!(!local.contains("8.8.8.8".parse().unwrap()));
        assert!(!local.contains("ff02::1".parse().unwrap()));
    }

    #[test]
    fn networks_of_every_length_cover_what_they_say() {
        for text in [
            "0.0.0.0/0",
            "10.0.0.0/7",
            "192.0.2.4/31",
            "192.0.2.4/32",
            "::/0",
            "2001:db8::/33",
        ] {
            let net: IpNet = text.parse().unwrap();
            for address in [
                "192.0.2.4",
                "192.0.2.5",
                "192.0.2.6",
                "11.0.0.1",
                "2001:db8:7fff::1",
                "2001:db8:8000::1",
            ] {
                let address: IpAddr = address.parse().unwrap();
                assert_eq!(
                    covers(&net, address),
                    net.contains(&address),
                    "{net} {address}"
                );
            }
        }
    }

    #[test]
    fn declared_means_only_those() {
        let local = LocalNetworks::declared(vec!["198.51.100.0/24".parse().unwrap()]);
        assert!(local.contains("198.51.100.9".parse().unwrap()));
        assert!(!local.contains("10.1.2.3".parse().unwrap()));
    }
}
