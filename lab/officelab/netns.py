"""Namespaces, the office bridge with its monitor port, and the wire to the internet side.

Runs inside private mount, pid and network namespaces (see `run`), so whatever is built here is
gone when the process ends.
"""

import os
import subprocess


def sh(line, check=True):
    p = subprocess.run(line, shell=True, capture_output=True, text=True)
    if check and p.returncode != 0:
        raise RuntimeError(f"{line!r}: {p.stderr.strip() or p.stdout.strip()}")
    return p.stdout


def private_mounts():
    """Overlays over what services write to, so the machine's own files stay untouched."""
    sh("mount --make-rprivate /")
    for d in ("/etc", "/var", "/home", "/root", "/srv", "/opt"):
        os.makedirs("/mnt", exist_ok=True)
    sh("mount -t tmpfs -o size=6g tmpfs /mnt")
    for d in ("etc", "var", "home", "root", "srv"):
        sh(f"mkdir -p /mnt/over/{d}/u /mnt/over/{d}/w")
        sh(f"mount -t overlay overlay -o lowerdir=/{d},upperdir=/mnt/over/{d}/u,workdir=/mnt/over/{d}/w /{d}")
    sh("mount -t tmpfs tmpfs /run")
    sh("mkdir -p /run/netns /run/lock /run/lab /run/sshd /run/samba/ncalrpc && mount -t tmpfs tmpfs /dev/shm && chmod 755 /run/sshd /run/lab")
    if os.path.islink("/etc/resolv.conf"):
        os.unlink("/etc/resolv.conf")


class Network:
    """All namespaces of one site; `fds` maps a name to an open namespace file."""

    def __init__(self, site):
        self.site = site
        self.fds = {}

    def build(self):
        s = self.site
        self._add("wire")
        sh("ip netns exec wire ip link add br0 type bridge stp_state 0 ageing_time 0 mcast_snooping 0 && "
           "ip netns exec wire sysctl -qw net.ipv6.conf.all.disable_ipv6=1 && ip netns exec wire ip link set br0 up")
        sh("ip netns exec wire ip link add mon0 type veth peer name mon1 && ip netns exec wire ip link set mon1 master br0 && "
           "ip netns exec wire ip link set mon0 up promisc on && ip netns exec wire ip link set mon1 up")
        self._port(s.gw)
        for d in s.devices + [s.rogue]:
            self._port(d)
        for h in s.hosts.values():
            self._internet_host(h)
        sh("ip netns exec gw sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.lan0.send_redirects=0")
        sh(f"ip netns exec gw ip addr add {s.gw.ip}/24 dev lan0 && ip netns exec gw ip -6 addr add {s.prefix6}::1/64 dev lan0 nodad")
        for d in s.devices:
            self.address(d)
        return self

    def _add(self, name):
        sh(f"ip netns add {name} && ip netns exec {name} ip link set lo up")
        self.fds[name] = os.open(f"/run/netns/{name}", os.O_RDONLY)

    def _port(self, d):
        """A device's namespace with one cable to the bridge, offloads off so frames look like frames."""
        self._add(d.name)
        dev = "lan0" if d.role == "router" else "eth0"
        sh(f"ip link add {dev} netns {d.name} address {d.mac} type veth peer name p-{d.name} netns wire")
        sh(f"ip netns exec {d.name} ethtool -K {dev} tx off rx off tso off gso off gro off sg off 2>/dev/null; "
           f"ip netns exec wire ethtool -K p-{d.name} tx off tso off gso off gro off 2>/dev/null; true")
        windows = d.system == "windows"
        sh(f"ip netns exec {d.name} sysctl -eqw net.ipv4.ip_default_ttl={128 if windows else 64} "
           f"net.ipv4.tcp_timestamps={0 if windows else 1} "
           f"net.ipv4.neigh.{dev}.base_reachable_time_ms=2500 net.ipv4.neigh.{dev}.delay_first_probe_time=0 "
           f"net.ipv6.conf.{dev}.router_solicitations=1 net.ipv4.ping_group_range='0 2147483647' "
           f"net.ipv6.conf.{dev}.use_tempaddr=0 net.ipv6.conf.{dev}.dad_transmits=1")
        if d.role in ("plc", "printer", "cam", "rogue"):
            sh(f"ip netns exec {d.name} sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
        sh(f"ip netns exec wire ip link set p-{d.name} master br0 up; ip netns exec {d.name} ip link set {dev} up")

    def address(self, d):
        """Sets a device's leased address by hand (for devices that were on before the capture begins)."""
        sh(f"ip netns exec {d.name} ip addr replace {d.ip}/24 brd + dev eth0 && "
           f"ip netns exec {d.name} ip route replace default via {self.site.gw.ip}")

    def _internet_host(self, h):
        """An internet machine: a cable to `isp`, which routes its addresses; `isp` meets `gw` by tun."""
        self._add(h.name)
        if h.name == "isp":
            sh("ip netns exec isp sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
            for a in h.ips:
                sh(f"ip netns exec isp ip addr add {a}/32 dev lo")
            for a in h.ips6:
                sh(f"ip netns exec isp ip -6 addr add {a}/128 dev lo")
            return
        sh(f"ip link add eth0 netns {h.name} type veth peer name v-{h.name} netns isp")
        sh(f"ip netns exec isp ip link set v-{h.name} up && ip netns exec {h.name} ip link set eth0 up")
        sh(f"ip netns exec isp ip addr add 169.254.7.1/32 dev v-{h.name} && ip netns exec isp ip -6 addr add fe80::7/64 dev v-{h.name} nodad")
        for a in h.ips:
            sh(f"ip netns exec {h.name} ip addr add {a}/32 dev eth0 && ip netns exec isp ip route add {a}/32 dev v-{h.name}")
        for a in h.ips6:
            sh(f"ip netns exec {h.name} ip -6 addr add {a}/128 dev eth0 nodad && ip netns exec isp ip -6 route add {a}/128 dev v-{h.name}")
        sh(f"ip netns exec {h.name} ip route add default via 169.254.7.1 dev eth0 onlink src {h.ips[0]}; "
           f"ip netns exec {h.name} ip -6 route add default via fe80::7 dev eth0")
