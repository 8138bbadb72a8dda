//! What DHCP servers say when they give an address: dnsmasq and ISC's dhcpd.

use std::net::IpAddr;

/// An address that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease<'a> {
    /// The address.
    pub addr: IpAddr,
    /// To which hardware address, as text.
    pub mac: &'a str,
    /// The name of the host; empty when not said.
    pub host: &'a str,
}

/// Reads a line of a DHCP server; `None` when it gives no address.
pub fn lease<'a>(program: &str, text: &'a str) -> Option<Lease<'a>> {
    match program {
        // DHCPACK(eth0) 192.168.1.7 aa:bb:cc:dd:ee:ff name; a number may stand in front.
        "dnsmasq-dhcp" | "dnsmasq" => {
            let (_, rest) = text.split_once("DHCPACK(")?;
            let mut words = rest.split_once(')')?.1.split_ascii_whitespace();
            Some(Lease {
                addr: words.next()?.parse().ok()?,
                mac: words.next()?,
                host: words.next().unwrap_or_default(),
            })
        }
        // DHCPACK on 192.168.1.7 to aa:bb:cc:dd:ee:ff (name) via eth0
        "dhcpd" => {
            let mut words = text.strip_prefix("DHCPACK on ")?.split_ascii_whitespace();
            let addr = words.next()?.parse().ok()?;
            let mac = words.by_ref().nth(1)?;
            let named = words
                .next()
                .and_then(|word| word.strip_prefix('(')?.strip_suffix(')'));
            Some(Lease {
                addr,
                mac,
                host: named.unwrap_or_default(),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_servers_are_understood() {
        let wanted = Lease {
            addr: "192.168.1.7".parse().unwrap(),
            mac: "aa:bb:cc:dd:ee:ff",
            host: "printer",
        };
        let dnsmasq = "DHCPACK(eth0) 192.168.1.7 aa:bb:cc:dd:ee:ff printer";
        assert_eq!(lease("dnsmasq-dhcp", dnsmasq), Some(wanted));
        let dhcpd = "DHCPACK on 192.168.1.7 to aa:bb:cc:dd:ee:ff (printer) via eth0";
        assert_eq!(lease("dhcpd", dhcpd), Some(wanted));
        let unnamed = "DHCPACK on 192.168.1.7 to aa:bb:cc:dd:ee:ff via eth0";
        assert_eq!(lease("dhcpd", unnamed), Some(Lease { host: "", ..wanted }));
        assert_eq!(
            lease("dhcpd", "DHCPDISCOVER from aa:bb:cc:dd:ee:ff via eth0"),
            None
        );
    }
}
