//! What this machine itself depends on, which is never acted upon: its gateways, its resolvers, and who manages it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thymus_respond::{NeverAct, Port, sockets};
use thymus_schema::Transport;

const SSH: u16 = 22;

/// Adds what the system says about itself; `managed` are ports at which it is managed, beside SSH.
pub(super) fn add(never: &mut NeverAct, managed: &[u16]) {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    for gateway in gateways_v4(&read("/proc/net/route")) {
        never.address(gateway.into(), "it is the gateway of this machine");
    }
    for gateway in gateways_v6(&read("/proc/net/ipv6_route")) {
        never.address(gateway.into(), "it is the gateway of this machine");
    }
    for resolver in resolvers(&read("/etc/resolv.conf")) {
        for transport in [Transport::Udp, Transport::Tcp] {
            let port = Port {
                transport,
                port: 53,
            };
            never.service(resolver, port, "this machine resolves names there");
        }
    }
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for client in clients(&read(table), managed) {
            if !client.is_loopback() {
                never.address(client, "this machine is managed from there");
            }
        }
    }
}

/// Default gateways in `/proc/net/route` (proc_net(5)): fields in hex, addresses as the machine has them in memory.
fn gateways_v4(table: &str) -> Vec<Ipv4Addr> {
    let lines = table.lines().skip(1);
    let gateways = lines.filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (destination, gateway) = (fields.next()?, fields.next()?);
        let gateway = u32::from_str_radix(gateway, 16).ok()?;
        (destination == "00000000" && gateway != 0).then(|| Ipv4Addr::from(gateway.to_ne_bytes()))
    });
    gateways.collect()
}

fn gateways_v6(table: &str) -> Vec<Ipv6Addr> {
    let gateways = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_default =
            fields.get(1) == Some(&"00") && fields.first()?.bytes().all(|byte| byte == b'0');
        let next = u128::from_str_radix(fields.get(4)?, 16).ok()?;
        (is_default && next != 0).then(|| Ipv6Addr::from(next))
    });
    gateways.collect()
}

fn resolvers(conf: &str) -> Vec<IpAddr> {
    let lines = conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"));
    lines
        .filter_map(|rest| rest.trim().split('%').next()?.parse().ok())
        .collect()
}

/// Who has a connection to a port at which this machine is managed.
fn clients(table: &str, managed: &[u16]) -> Vec<IpAddr> {
    const ESTABLISHED: u8 = 1;
    let is_managed = |port: u16| port == SSH || managed.contains(&port);
    sockets(table, Transport::Tcp)
        .into_iter()
        .filter(|one| one.state == ESTABLISHED && is_managed(one.local.1))
        .map(|one| one.remote.0)
        .collect()
}

/// The addresses of this machine that others know.
pub(super) fn own() -> Vec<IpAddr> {
    let all = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let addrs = all.filter_map(|one| {
        let addr = one.address?;
        let v4 = addr.as_sockaddr_in().map(|addr| IpAddr::from(addr.ip()));
        v4.or_else(|| addr.as_sockaddr_in6().map(|addr| IpAddr::from(addr.ip())))
    });
    let mut addrs: Vec<IpAddr> = addrs.filter(|addr| !addr.is_loopback()).collect();
    addrs.sort();
    addrs.dedup();
    addrs
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn tables_of_the_kernel_are_read() {
        let routes = "Iface\tDestination\tGateway\neth0\t00000000\t0101A8C0\t0003\neth0\t0000A8C0\t00000000\t0001\n";
        assert_eq!(gateways_v4(routes), [Ipv4Addr::new(192, 168, 1, 1)]);
        let routes = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n";
        assert_eq!(
            gateways_v6(routes),
            ["fe80::1".parse::<Ipv6Addr>().unwrap()]
        );
        assert_eq!(
            resolvers("# mine\nnameserver 10.0.0.53\nnameserver fe80::1%eth0\nsearch corp\n"),
            [
                "10.0.0.53".parse::<IpAddr>().unwrap(),
                "fe80::1".parse().unwrap()
            ]
        );
        let table = "  sl  local_address rem_address   st\n   0: 0101A8C0:0016 0901A8C0:C350 01 0:0 0:0 0 0 0 7 1\n   1: 0101A8C0:0016 0A01A8C0:C350 06 0:0 0:0 0 0 0 0 1\n   2: 0101A8C0:0050 0B01A8C0:C350 01 0:0 0:0 0 0 0 9 1\n";
        assert_eq!(
            clients(table, &[]),
            ["192.168.1.9".parse::<IpAddr>().unwrap()]
        );
        let table = "  sl  local rem st\n   0: 0000000000000000FFFF00000101A8C0:21C2 0000000000000000FFFF00000901A8C0:C350 01 0:0 0:0 0 0 0 7 1\n";
        assert_eq!(
            clients(table, &[8642]),
            ["192.168.1.9".parse::<IpAddr>().unwrap()]
        );
    }
}
