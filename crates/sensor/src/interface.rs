//! The interfaces of this machine, or of the network namespace that the process is in.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;
use serde::{Deserialize, Serialize};

use crate::error::SensorError;

/// Kernel numbers of hardware types (ARPHRD in `if_arp.h`), with the link types of a capture that their
/// packets are of (<https://www.tcpdump.org/linktypes.html>).
const LINK_TYPES: &[(u16, u32)] = &[
    // Ethernet
    (1, 1),
    // PPP: what the kernel hands over begins with the IP header.
    (512, 101),
    // Tunnels of IP in IP, of IPv6, and GRE
    (768, 101),
    (769, 101),
    (776, 101),
    (778, 101),
    // Loopback: Ethernet headers with addresses of zero
    (772, 1),
    // Without any link layer: tun, WireGuard
    (65534, 101),
    // Cellular modems
    (519, 101),
];

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Link type of its packets, as capture files number them.
    pub link_type: u32,
    /// Whether it is the machine's talk with itself, where each packet is seen twice.
    pub is_loopback: bool,
    /// Whether it is switched on.
    pub is_up: bool,
    /// Networks of its addresses.
    pub networks: Vec<IpNet>,
}

impl Interface {
    /// Finds the interface of this name.
    ///
    /// # Errors
    /// When there is none, or none whose packets can be read.
    pub fn find(name: &str) -> Result<Self, SensorError> {
        let all: Vec<InterfaceAddress> = getifaddrs()
            .map_err(|errno| SensorError::System {
                name: name.to_owned(),
                step: "list interfaces",
                source: errno.into(),
            })?
            .collect();
        let mut hardware = None;
        let mut flags = InterfaceFlags::empty();
        let mut networks = BTreeSet::new();
        for one in all.iter().filter(|one| one.interface_name == name) {
            flags |= one.flags;
            let link = one.address.as_ref().and_then(SockaddrStorage::as_link_addr);
            if let Some(link) = link {
                hardware = Some(link.hatype());
            }
            networks.extend(network(one));
        }
        let Some(hardware) = hardware else {
            let known: BTreeSet<String> = all.into_iter().map(|one| one.interface_name).collect();
            return Err(SensorError::NoSuchInterface {
                name: name.to_owned(),
                known: known.into_iter().collect(),
            });
        };
        let link_type = LINK_TYPES
            .iter()
            .find(|(known, _)| *known == hardware)
            .map(|(_, link_type)| *link_type)
            .ok_or_else(|| SensorError::LinkType {
                name: name.to_owned(),
                hardware,
            })?;
        Ok(Self {
            name: name.to_owned(),
            link_type,
            is_loopback: flags.contains(InterfaceFlags::IFF_LOOPBACK),
            is_up: flags.contains(InterfaceFlags::IFF_UP),
            networks: networks.into_iter().collect(),
        })
    }
}

/// The network of an address, where it has one.
fn network(one: &InterfaceAddress) -> Option<IpNet> {
    let ip = |storage: &SockaddrStorage| -> Option<IpAddr> {
        let v4 = storage.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| storage.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    let address = ip(one.address.as_ref()?)?;
    let mask = ip(one.netmask.as_ref()?)?;
    let net = IpNet::with_netmask(address, mask).ok()?.trunc();
    (!address.is_loopback()).then_some(net)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_there_and_known_for_what_it_is() {
        let found = Interface::find("lo").unwrap();
        assert!(found.is_loopback);
        assert_eq!((found.link_type, found.networks), (1, vec![]));
    }

    #[test]
    fn a_name_that_is_not_there_is_answered_with_those_that_are() {
        let error = Interface::find("nothing0").unwrap_err().to_string();
        assert!(
            error.contains("nothing0") && error.contains("lo"),
            "{error}"
        );
    }
}
