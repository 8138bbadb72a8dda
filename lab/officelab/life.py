"""What people and machines of the office do on a normal day: one function per habit.

Every function takes the activity (its device and clock) and runs real clients against the lab's
real servers; what no client exists for is spoken with plain sockets (marked "own").
"""

import ftplib
import imaplib
import os
import random
import smtplib
import socket
import ssl
import struct
import time

R = "/run/lab"
AGENTS = {
    "chrome": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0.0.0 Safari/537.36",
    "edge": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/121.0.0.0 Safari/537.36 Edg/121.0.0.0",
    "firefox": "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:123.0) Gecko/20100101 Firefox/123.0",
    "safari": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.3 Safari/605.1.15",
}
# curl is the browser; its offered ciphers and curves differ by browser, so each has its own JA3/JA4.
TLS = {
    "chrome": ["--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:AES128-GCM-SHA256:AES256-GCM-SHA384", "--curves", "X25519:P-256:P-384"],
    "edge": ["--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-CHACHA20-POLY1305:AES128-SHA:AES256-SHA", "--curves", "X25519:P-256:P-384"],
    "firefox": ["--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES256-SHA", "--curves", "X25519:P-256:P-384:P-521"],
    "safari": ["--ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256", "--curves", "X25519:P-256:P-384:P-521"],
}


def curl(act, *args, agent=None, proxied=None, tls=None, timeout=25, check=False):
    d, s = act.device, act.world.site
    argv = ["curl", "-sSk", "-o", "/dev/null", "--connect-timeout", "6", "--max-time", str(timeout - 3), "-A", agent or AGENTS[d.browser]]
    argv += TLS[tls or d.browser] if (tls or agent is None) else []
    if d.proxied if proxied is None else proxied:
        argv += ["-x", f"http://{s.by_name['app'].ip}:3128"]
    return act.sh(*argv, *args, timeout=timeout, check=check)


def trust():
    """A client context that asks for no proof: the certificates live in virtual time, the clock does not."""
    c = ssl.create_default_context()
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE
    return c


def size(act, value):
    return max(200, int(value * act.world.scale))


# -- people ------------------------------------------------------------------------------------
def boot(act):
    """Cable up, a real DHCP client, name announcements, the system's connectivity check."""
    d, s = act.device, act.world.site
    act.sh("ip", "link", "set", "eth0", "down")
    act.sh("ip", "link", "set", "eth0", "up")
    time.sleep(1.1)  # IPv6 duplicate address detection and router solicitation take real time
    dhcp(act)
    announce(act)
    if d.system == "windows":
        curl(act, "http://www.msftconnecttest.com/connecttest.22.txt", agent="Microsoft NCSI", proxied=False)
        lookup(act, f"wpad.{s.domain}")
        lookup(act, f"_ldap._tcp.dc._msdcs.{s.realm.lower()}", "SRV")
    elif d.system == "mac":
        curl(act, "http://captive.apple.com/hotspot-detect.69.html", agent="CaptiveNetworkSupport-464 wispr", proxied=False)
    ntp(act)


def dhcp(act):
    d = act.device
    conf, pid, lease = f"{R}/dh-{d.name}.conf", f"{R}/dh-{d.name}.pid", f"{R}/dh-{d.name}.lease"
    vendor = {"windows": "MSFT 5.0", "mac": "", "linux": "", "embedded": "udhcp 1.30.1"}[d.system]
    with open(conf, "w", encoding="utf-8") as f:
        f.write(f'send host-name "{d.hostname}";\ninitial-interval 1;\nbackoff-cutoff 2;\ntimeout 12;\n'
                + (f'send vendor-class-identifier "{vendor}";\n' if vendor else "")
                + "request subnet-mask, routers, domain-name-servers, domain-name" + ";\n")
    script = f"{R}/dhclient-script"
    if not os.path.exists(script):
        with open(script + ".new", "w", encoding="utf-8") as f:
            f.write('#!/bin/sh\ncase "$reason" in BOUND|REBOOT|RENEW) ip addr replace $new_ip_address/24 brd + dev $interface; '
                    'ip route replace default via $new_routers dev $interface;; esac\nexit 0\n')
        os.chmod(script + ".new", 0o755)
        os.replace(script + ".new", script)
    rc, text = act.sh("dhclient", "-1", "-4", "-sf", script, "-cf", conf, "-lf", lease, "-pf", pid, "eth0", timeout=20)
    try:
        os.kill(int(open(pid, encoding="ascii").read()), 9)
    except (OSError, ValueError):
        pass
    if rc != 0:
        act.sh("ip", "addr", "replace", f"{d.ip}/24", "dev", "eth0")
        act.sh("ip", "route", "replace", "default", "via", act.world.site.gw.ip)
        raise RuntimeError(f"dhclient rc={rc} {text[-120:]}")


def shutdown(act):
    act.sh("ip", "addr", "flush", "dev", "eth0", "scope", "global")
    act.sh("ip", "link", "set", "eth0", "down")


def browse(act, sites, seed):
    """A page and what it pulls in, over one or two more hosts; HTTP/2 where the site offers it."""
    r, s = random.Random(seed), act.world.site
    urls = []
    for n in sites:
        scheme = "https" if n in s.tls else "http"
        urls.append(f"{scheme}://{n}/" + r.choice(["", "", f"news/{r.randint(100, 9999)}", f"p/{r.choice('abcdefg')}{r.randint(10, 99)}", "search?q=" + r.choice(["rates", "hotel", "train", "invoice", "python", "weather"])]))
        for _ in range(r.choice([1, 2, 3]) if act.world.density >= .25 else 1):
            host = r.choice([n, r.choice(s.cdn)])
            sch = "https" if host in s.tls else "http"
            ext, big = r.choice([("js", 30000), ("css", 9000), ("jpg", 45000), ("png", 12000)])
            urls.append(f"{sch}://{host}/{r.choice(['assets', 'static', 'media'])}/{r.choice(['main', 'app', 'img', 'hero', 'vendor'])}.{size(act, r.lognormvariate(0, .7) * big)}.{ext}")
    argv = []
    for u in urls:
        argv += ["-o", "/dev/null", u]
    curl(act, *argv, "--http2", "--compressed")
    return sites


def download(act, name, nbytes):
    curl(act, f"https://{name}/files/setup.{size(act, nbytes)}.bin", timeout=60)
    return nbytes


def lookup(act, name, kind="A"):
    """A single lookup by the C library's way or by dig."""
    if kind == "A":
        try:
            socket.getaddrinfo(name, 443, proto=socket.IPPROTO_TCP)
        except OSError:
            pass
    else:
        act.sh("dig", "+tries=1", "+time=2", "-t", kind, name, timeout=6)
    return name


def mail_poll(act):
    """IMAP over TLS: log in, look, fetch what is new, log out."""
    s, d = act.world.site, act.device
    c = trust()
    m = imaplib.IMAP4_SSL(s.by_name["mail"].ip, 993, ssl_context=c, timeout=10)
    m.login(d.user, s.passwords[d.user])
    m.select("INBOX")
    _, found = m.search(None, "UNSEEN")
    for n in found[0].split()[-3:]:
        m.fetch(n, "(RFC822)")
    m.logout()


def mail_send(act, to, nbytes, seed):
    s, d = act.world.site, act.device
    r = random.Random(seed)
    text = " ".join(r.choice(["please", "find", "the", "report", "attached", "regards", "meeting", "tomorrow", "offer", "thanks"]) for _ in range(60))
    attachment = ""
    if nbytes:
        import base64
        attachment = "\r\n" + base64.encodebytes(r.randbytes(size(act, nbytes))).decode().replace("\n", "\r\n")
    c = smtplib.SMTP(s.by_name["mail"].ip, 25, local_hostname=d.hostname.lower(), timeout=15)
    c.ehlo()
    if r.random() < .6:
        c.starttls(context=trust())
        c.ehlo()
    c.sendmail(f"{d.user}@{s.mail_domain}", to, f"From: {d.user}@{s.mail_domain}\r\nTo: {to}\r\nSubject: {text[:30]}\r\n\r\n{text}{attachment}\r\n")
    c.quit()
    time.sleep(0.15)  # the mail server's own delivery follows at once
    return {"to": to, "bytes": nbytes}


def smb(act, commands, user=None, share="office", kerberos=None):
    """smbclient with the domain account; Kerberos on most devices, NTLM on the rest."""
    s, d = act.world.site, act.device
    dc = s.by_name["dc"]
    u = user or d.user
    password = s.admin_password if u == "Administrator" else s.passwords[u]
    k = kerberos if kerberos is not None else d.system == "windows"
    host = f"{dc.hostname}.{s.realm.lower()}"
    argv = ["smbclient", f"//{host}/{share}", "-I", dc.ip, "-U", f"{s.workgroup if not k else s.realm}\\{u}%{password}", "--netbiosname", d.hostname[:15],
            "--use-kerberos=" + ("required" if k else "off"), "-c", commands]
    return act.sh(*argv, timeout=40, check=True, env={"KRB5CCNAME": f"MEMORY:{d.name}"})


def file_work(act, seed):
    """Opens, reads and now and then writes a few documents on the office share."""
    r = random.Random(seed)
    folder = r.choice(["Finance", "HR", "Projects", "Sales"])
    files = sorted(os.listdir(f"/srv/office/{folder}"))
    commands, got = [f"cd {folder}", "ls"], f"{R}/got-{act.device.name}"
    for f in r.sample(files, min(len(files), r.choice([1, 1, 2, 4]))):
        commands.append(f"get {f} {got}")
    if r.random() < .4:
        local = f"{R}/doc-{act.device.name}-{seed % 7}.docx"
        with open(local, "wb") as out:
            out.write(b"PK\x03\x04" + r.randbytes(size(act, min(r.lognormvariate(9.5, 1), 400000))))
        commands.append(f"put {local} {r.choice(['draft', 'notes', 'offer'])}-{seed % 997}.docx")
    smb(act, "; ".join(commands))
    return {"folder": folder, "commands": len(commands)}


def intranet(act, seed):
    r, s = random.Random(seed), act.world.site
    scheme = r.choice(["http", "http", "https"])
    base = f"{scheme}://intranet.{s.domain}"
    urls = [f"{base}/{r.choice(['wiki', 'news', 'forms', 'phonebook'])}/{r.randint(1, 40)}", f"{base}/static/style.{size(act, 8000)}.css"]
    if r.random() < .3:
        u = act.device.user
        curl(act, "-k", "-u", f"{u}:{s.passwords[u]}", f"{base}/private/{r.randint(1, 9)}", proxied=False)
    if r.random() < .3:
        u = act.device.user
        curl(act, "-k", "-d", f"user={u}&password={s.passwords[u]}", f"{base}/login", proxied=False)
    argv = []
    for u in urls:
        argv += ["-o", "/dev/null", u]
    curl(act, "-k", *argv, proxied=False)


def post(act, name, nbytes, agent, path="/v1/events"):
    """A telemetry-like upload."""
    f = blob(act, nbytes)
    curl(act, "--data-binary", f"@{f}", f"https://{name}{path}", agent=agent)
    return {"host": name, "bytes": nbytes}


def blob(act, nbytes):
    """A file of fresh random bytes to send (removed when the run ends)."""
    n = size(act, nbytes)
    path = f"{R}/blob-{act.device.name}-{n}"
    if not os.path.exists(path):
        with open(path, "wb") as f:
            f.write(os.urandom(n))
    return path


def cloud_sync(act, nbytes):
    s = act.world.site
    f = blob(act, nbytes)
    curl(act, "-T", f, f"https://{s.saas['sync']}/upload/{os.path.basename(f)}", agent="SyncClient/14.2", timeout=60)
    return {"host": s.saas["sync"], "bytes": nbytes}


def check_update(act, name, agent, nbytes=900):
    curl(act, f"https://{name}/manifest.{max(200, nbytes)}.json", agent=agent)
    return name


def windows_update(act, nbytes):
    curl(act, f"http://ctldl.windowsupdate.com/d/msdownload/update/patch.{size(act, nbytes)}.cab", agent="Microsoft-Delivery-Optimization/10.0", timeout=60)


def ocsp(act):
    curl(act, "-H", "Accept: application/ocsp-response", "http://ocsp.digicert.com/MFEwTzBNMEswSTAJ.471.ocsp", agent="Microsoft-CryptoAPI/10.0", proxied=False)


def print_job(act, nbytes):
    p = act.world.site.by_name["printer"].ip
    with socket.create_connection((p, 9100), 8) as c:
        c.sendall(b"\x1b%-12345X@PJL JOB\r\n" + os.urandom(size(act, nbytes)))
    return nbytes


def chat(act, seed, minutes):
    """One TLS connection kept open, a small message now and then (own client; idle time is virtual)."""
    s, r = act.world.site, random.Random(seed)
    name = s.saas["chat"]
    c = trust()
    raw = socket.create_connection((s.dns[name][1], 443), 8)
    t = c.wrap_socket(raw, server_hostname=name)
    end, n = act.now() + minutes * 60, 0
    while act.now() < end and n < 60:
        body = b'{"t":"' + b"x" * r.randint(20, 300) + b'"}'
        t.sendall(b"POST /rt/%d HTTP/1.1\r\nHost: %s\r\nUser-Agent: ChatDesktop/5.1\r\nContent-Length: %d\r\n\r\n" % (n, name.encode(), len(body)) + body)
        t.recv(8192)
        n += 1
        if n % 40:
            act.vsleep(min(15, r.expovariate(1 / 9)))  # below the server's keep-alive time even in real seconds
        time.sleep(0.003)
    t.close()
    return n


def call(act, seconds):
    """A video call shape: UDP at 40 packets a second each way (own client, real seconds)."""
    s = act.world.site
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.settimeout(0.01)
    lookup(act, s.saas["call"])
    peer = (s.dns[s.saas["call"]][1], 3478)
    u.sendto(struct.pack(">HHI", 1, 0, 0x2112A442) + os.urandom(12), peer)
    seq, end = 0, time.time() + seconds
    ssrc = os.urandom(4)
    while time.time() < end:
        head = struct.pack(">BBHI", 0x80, 0x60, seq & 0xffff, seq * 3000) + ssrc
        u.sendto(head + os.urandom(random.randint(300, 1000) if seq % 3 else 120), peer)
        seq += 1
        try:
            while True:
                u.recv(2000)
        except OSError:
            pass
        time.sleep(0.012)
    return seq


def logon(act):
    """The domain log-on shape: a ticket, the directory, the netlogon share."""
    s, d = act.world.site, act.device
    dc = s.by_name["dc"]
    act.sh("kinit", f"{d.user}@{s.realm}", stdin=s.passwords[d.user] + "\n", env={"KRB5CCNAME": f"FILE:{R}/cc-{d.name}"}, timeout=8)
    act.sh("ldapsearch", "-x", "-LLL", "-H", f"ldap://{dc.ip}", "-D", f"{d.user}@{s.realm.lower()}", "-w", s.passwords[d.user],
           "-b", ",".join(f"DC={p}" for p in s.realm.lower().split(".")), f"(sAMAccountName={d.user})", "displayName", "memberOf", timeout=8)
    smb(act, "ls", share="netlogon")


# -- machines ----------------------------------------------------------------------------------
def ntp(act):
    """An SNTP question (own, 48 bytes) to the pool."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
        u.settimeout(3)
        name = "time.windows.com" if act.device.system == "windows" else "pool.ntp.org"
        address = socket.getaddrinfo(name, 123, socket.AF_INET, socket.SOCK_DGRAM)[0][4]
        u.sendto(b"\x23" + b"\0" * 39 + os.urandom(8), address)
        u.recv(100)


def mqtt(act, topic, payload):
    act.sh("mosquitto_pub", "-h", act.world.site.by_name["app"].ip, "-t", topic, "-m", payload, "-i", act.device.hostname, timeout=8, check=True)


def camera_cloud(act):
    post(act, act.world.site.saas["camcloud"], 1200, "IPC-HFW/2.8", "/device/heartbeat")


def monitor(act):
    """The monitoring server's round: ping all, a few ports, SNMP, a page, DNS."""
    s = act.world.site
    hosts = [d.ip for d in s.devices if d.role != "ws"] + [s.gw.ip]
    act.sh("fping", "-q", "-c1", "-t300", *hosts, timeout=10)
    for name, port in (("dc", 445), ("dc", 389), ("app", 80), ("app", 443), ("app", 22), ("mail", 25), ("mail", 993), ("printer", 9100), ("plc", 502)):
        try:
            socket.create_connection((s.by_name[name].ip, port), 2).close()
        except OSError:
            pass
    act.sh("snmpget", "-v2c", "-c", "public", "-t", "1", "-r", "0", s.by_name["printer"].ip, "1.3.6.1.2.1.1.3.0", timeout=5)
    curl(act, f"http://{s.by_name['app'].ip}/health.120.txt", agent="check_http/v2.3.3 (monitoring-plugins 2.3.3)", proxied=False)


def inventory(act):
    """The nightly look of the vulnerability scanner: real nmap, every host, a few ports."""
    s = act.world.site
    act.sh("nmap", "-n", "-Pn", "-T4", "-sT", "-p", "22,80,443,445", "--max-retries", "1", "--host-timeout", "20s",
           *[d.ip for d in s.devices], timeout=120)


def backup(act, nbytes):
    """Nightly: pull from the servers by rsync over SSH, then send the set off site."""
    s = act.world.site
    key = ["-i", f"{R}/ssh-client", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    os.makedirs("/srv/backup", exist_ok=True)
    for n in ("app", "dc"):
        src = "/srv/office/" if n == "dc" else "/etc/ssl/"
        act.sh("rsync", "-a", "--ignore-times", "-e", " ".join(["ssh", *key]), f"backup@{s.by_name[n].ip}:{src}", f"/srv/backup/{n}/", timeout=90)
    f = blob(act, nbytes)
    curl(act, "-T", f, f"https://{s.saas['backup']}/vault/set-{int(act.now())}", agent="restic/0.16.4", timeout=120)
    return nbytes


def admin_ssh(act, host, seed):
    """The administrator at work: a few commands by key, sometimes a file copied."""
    s, r = act.world.site, random.Random(seed)
    opt = ["-i", f"{R}/ssh-client", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    to = f"{s.admin_user}@{s.by_name[host].ip}"
    script = "; ".join(r.choice(["uptime", "df -h", "ls -la /etc", "ps aux | head -40", "sleep 0.4", "cat /etc/passwd", "sleep 0.8; ss -tn"]) for _ in range(r.randint(2, 6)))
    act.sh("ssh", *opt, to, script, timeout=30, check=True)
    if r.random() < .35:
        act.sh("scp", "-q", *opt, blob(act, r.randint(5000, 250000)), f"{to}:/tmp/", timeout=30)
    return host


def admin_files(act, seed):
    """Administrator's own SMB copy to the server, as when software is rolled out."""
    r = random.Random(seed)
    smb(act, f"put {blob(act, r.randint(50000, 600000))} pkg-{seed % 1000}.msi", user="Administrator", share="C$", kerberos=False)


def scan_to_ftp(act, nbytes):
    """The printer puts a scanned page on the FTP server."""
    s = act.world.site
    f = ftplib.FTP()
    f.connect(s.by_name["app"].ip, 21, 8)
    f.login("scan", "k3ys-only-scan")
    with open(blob(act, nbytes), "rb") as data:
        f.storbinary(f"STOR scan{int(act.now())}.pdf", data)
    f.quit()


def modbus_poll(act, write=False):
    """The HMI reads its PLC; now and then the operator changes a set point."""
    from pymodbus.client import ModbusTcpClient
    s = act.world.site
    c = ModbusTcpClient(s.by_name["plc"].ip, port=502, timeout=3)
    c.connect()
    c.read_holding_registers(0, count=20)
    c.read_coils(0, count=16)
    if write:
        c.write_register(10, random.randint(180, 240))
    c.close()


# -- name announcements (own; no client for them runs here) ---------------------------------------
def announce(act):
    """NetBIOS and LLMNR on Windows, mDNS on the rest: the broadcasts a device makes at start."""
    d, s = act.device, act.world.site
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    u.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(d.ip))
    if d.system == "windows":
        query(act, "llmnr", d.hostname)
        for name, kind in ((d.hostname, 0), (s.workgroup, 0)):
            body = os.urandom(2) + b"\x29\x10\0\1\0\0\0\0\0\1" + nb_name(name, kind) + b"\0\x20\0\1\xc0\x0c\0\x20\0\1\0\4\x93\xe0\0\6\0\0" + socket.inet_aton(d.ip)
            u.sendto(body, (f"{s.prefix}.255", 137))
    else:
        query(act, "mdns", f"{d.hostname}.local")
    u.close()


def nb_name(name, kind):
    raw = name.upper()[:15].ljust(15).encode() + bytes([kind])
    return b"\x20" + bytes(x for b in raw for x in (0x41 + (b >> 4), 0x41 + (b & 15))) + b"\0"


def dns_name(name):
    return b"".join(bytes([len(p)]) + p.encode() for p in name.split(".") if p) + b"\0"


def query(act, proto, name, wait=0.0):
    """One LLMNR, mDNS, NBNS or SSDP question; returns the answers that came within `wait` s."""
    d, s = act.device, act.world.site
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(d.ip))
    u.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    head = os.urandom(2) + b"\0\0\0\1\0\0\0\0\0\0"
    if proto == "llmnr":
        u.sendto(head + dns_name(name) + b"\0\1\0\1", ("224.0.0.252", 5355))
    elif proto == "mdns":
        u.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        u.bind(("", 5353))
        u.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
        u.sendto(b"\0\0" + head[2:] + dns_name(name) + b"\0\x0c\0\1", ("224.0.0.251", 5353))
    elif proto == "nbns":
        u.sendto(os.urandom(2) + b"\1\x10\0\1\0\0\0\0\0\0" + nb_name(name, 0x20) + b"\0\x20\0\1", (f"{s.prefix}.255", 137))
    else:
        u.sendto(b'M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: ' + name.encode() + b"\r\n\r\n", ("239.255.255.250", 1900))
    answers, end = [], time.time() + wait
    u.settimeout(0.02)
    while time.time() < end:
        try:
            answers.append(u.recvfrom(1500))
        except OSError:
            pass
    u.close()
    return [a[1][0] for a in answers]
