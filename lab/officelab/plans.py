"""Which segments a run consists of, and the manifest that tells the truth about them.

A segment is one capture: a whole quiet day, or a few hours of normal life with one attack laid
over it. Attack segments are alternatives of the days after the quiet ones, so they share devices,
habits and history but not their attacks.
"""

import json
import os

from . import attacks as a
from . import attacks_lan as lan
from .clock import iso
from .segment import Segment

H, DAY = 3600, 86400


class Builder:
    """Collects attack segments; start hour, actors and parameters come from the site's seed."""

    def __init__(self, site, args, first_day):
        self.site, self.args, self.first_day = site, args, first_day
        self.segments = []

    def add(self, name, title, hours, techniques, script, entities=("ws",), begin=None, day=None):
        """`script(r, t, who)` gives [(time, function, device, arguments)]; `who` maps role letters to devices."""
        r = self.site.rng(f"plan:{name}")
        day = self.first_day + (day if day is not None else r.randint(0, 2))
        while day % 7 > 4:
            day += 1
        begin = begin if begin is not None else r.uniform(9.8, 16.0 - hours)
        start = self.site.epoch + day * DAY + round(begin * 12) / 12 * H
        stations = [d.name for d in self.site.workstations if d.role == "ws" and d.name != "adm"]
        windows = [d.name for d in self.site.workstations if d.system == "windows"]
        r.shuffle(stations)
        patient = r.choice(windows)
        others = [n for n in stations if n != patient]
        who = {"ws": patient, "v1": others[0], "v2": others[1]}
        items = script(r, start + r.uniform(.2, .35) * H, who)
        named = [self.site.by_name[who.get(e, e)].ip for e in entities]
        self.segments.append(Segment(self.site, name, start, start + hours * H, self.args.density, self.args.scale, [x[:1] + x[1:2] + (x[2], x[3:]) for x in items],
                                     techniques, named, title))


def attack_segments(site, args, first_day):
    b = Builder(site, args, first_day)
    one = lambda fn, *p: (lambda r, t, w: [(t, fn, w["ws"], *p)])
    b.add("scan-wide", "half-open scan of the office net on a few ports", 1, ["T1046"], one(a.scan_wide))
    b.add("scan-deep", "many ports of two servers, then versions", 1, ["T1046"], one(a.scan_deep))
    b.add("scan-slow", "one probe every few minutes over hours", 5, ["T1046"], one(a.scan_slow, 4.3))
    b.add("sweep", "ARP sweep, then ICMP sweep", 1, ["T1018"], lambda r, t, w: [(t, a.sweep_arp, w["ws"]), (t + r.uniform(200, 900), a.sweep_icmp, w["ws"])])
    b.add("brute-ssh", "password guessing over SSH", 1, ["T1110.001"], one(a.brute_ssh))
    b.add("brute-ftp", "password guessing over FTP", 1, ["T1110.001"], one(a.brute_ftp))
    b.add("brute-imap", "password guessing over IMAP", 1, ["T1110.001"], one(a.brute_imap))
    b.add("brute-smb", "password guessing over SMB", 1, ["T1110.001"], one(a.brute_smb))
    b.add("brute-http", "password guessing at a web form and basic authentication", 1, ["T1110.001"], one(a.brute_http))
    b.add("spray-kerberos", "one password over many accounts, Kerberos", 1.5, ["T1110.003"], one(a.spray_kerberos))
    b.add("spray-smb", "one password over many accounts, SMB", 1, ["T1110.003"], one(a.spray_smb))
    b.add("dns-tunnel", "iodine through the office resolver", 1, ["T1071.004", "T1572"], lambda r, t, w: [(t, a.dns_tunnel, w["ws"], r.randint(150000, 400000))])
    b.add("dns-exfil", "a file in the labels of lookups", 1, ["T1048.003", "T1071.004"], lambda r, t, w: [(t, a.dns_exfil, w["ws"], r.randint(150, 350))])
    b.add("dns-beacon", "tasks asked for by TXT lookups", 3, ["T1071.004"], lambda r, t, w: [(t, a.beacon_dns, w["ws"], r.uniform(60, 150), 2.5)])
    beacon = lambda key, scheme, lo, hi, jitter, hours, **k: (lambda r, t, w: [(t, named(a.beacon, key, scheme, r.uniform(lo, hi), jitter, hours, **k), w["ws"])])
    b.add("beacon-http", "HTTP beacon, low jitter", 2.5, ["T1071.001"], beacon("c2b", "http", 45, 75, .08, 2.1))
    b.add("beacon-https", "HTTPS beacon, a browser's agent and handshake", 4, ["T1071.001", "T1573"], beacon("c2a", "https", 120, 260, .3, 3.5, agent=None))
    b.add("beacon-slow", "HTTPS beacon every quarter of an hour, strong jitter", 7, ["T1071.001"], beacon("c2c", "https", 700, 1000, .45, 6.4), begin=9.2)
    b.add("beacon-proxy", "HTTPS beacon through the office proxy", 3, ["T1071.001", "T1090"], beacon("c2b", "https", 60, 120, .2, 2.6, proxied=True))
    b.add("beacon-bare", "HTTP beacon to a bare address on an odd port, after a program download", 2, ["T1071.001", "T1571", "T1105"],
          lambda r, t, w: [(t, a.drop_program, w["ws"]), (t + 120, named(a.beacon, "c2a", "http", r.uniform(30, 90), .15, 1.5, bare=True, port=8080, agent="Go-http-client/1.1"), w["ws"])])
    b.add("exfil-fast", "one large upload to a place never seen", 1, ["T1567", "T1048.002"], lambda r, t, w: [(t, a.exfil_fast, w["ws"], r.randint(9_000_000, 20_000_000))])
    b.add("exfil-slow", "many small uploads over hours", 4.5, ["T1041", "T1030"], lambda r, t, w: [(t, a.exfil_slow, w["ws"], r.randint(60, 90), r.randint(40000, 90000), 2.7)])
    b.add("exfil-night", "a large upload at night", 1.5, ["T1567"], lambda r, t, w: [(t, a.exfil_fast, "app", r.randint(6_000_000, 12_000_000))], entities=("app",), begin=22.5)
    b.add("roast", "Kerberoasting and AS-REP roasting", 1, ["T1558.003", "T1558.004"], one(a.roast))
    b.add("dcsync", "directory replication asked for by a workstation", 1, ["T1003.006"], lambda r, t, w: [(t, a.enumerate_domain, w["ws"]), (t + r.uniform(300, 900), a.dcsync, w["ws"])])
    b.add("lateral-exec", "psexec, smbexec, atexec, wmiexec against the server", 1, ["T1021.002", "T1569.002", "T1053.005", "T1047"], one(a.remote_exec))
    b.add("lateral-share", "a program copied to ADMIN$, then a log-on by SSH elsewhere", 1, ["T1021.002", "T1570", "T1021.004"],
          lambda r, t, w: [(t, a.admin_share, w["ws"]), (t + r.uniform(200, 700), a.ssh_with_password, w["ws"], "app", site.weak_user, "id; uname -a; cat /etc/passwd; sleep 1; ls -R /srv | head")])
    b.add("ransom", "every document of the share overwritten and renamed", 1, ["T1486"], one(a.ransom, ["Finance", "HR", "Projects", "Sales", "Scans"]))
    b.add("arp-spoof", "arpspoof between a workstation and the gateway", 1, ["T1557.002"], lambda r, t, w: [(t, lan.arp_spoof, w["ws"], w["v1"])])
    b.add("name-poison", "LLMNR and NetBIOS answers for every name", 2, ["T1557.001"], one(lan.name_poison, 1.5))
    b.add("rogue-dhcp", "a second DHCP server", 1.5, ["T1557.003"], lambda r, t, w: [(t, lan.rogue_dhcp, "rogue", [w["v1"], w["v2"]], 1.0)], entities=("rogue",))
    b.add("flood-syn", "SYN flood at a server", 1, ["T1499.001"], lambda r, t, w: [(t, lan.flood, w["ws"], "syn", "app", r.randint(3000, 5000))])
    b.add("flood-udp", "UDP flood at a server", 1, ["T1498.001"], lambda r, t, w: [(t, lan.flood, w["ws"], "udp", "mail", r.randint(3000, 5000))])
    b.add("dga", "lookups of generated names", 1, ["T1568.002"], lambda r, t, w: [(t, a.dga, w["ws"], r.randint(120, 260))])
    b.add("mining", "Stratum to a pool", 2.5, ["T1496"], one(a.mining, 2.1))
    b.add("socks", "web through a foreign SOCKS server", 1.5, ["T1090.002"], lambda r, t, w: [(t, a.socks, w["ws"], r.randint(18, 30))])
    b.add("tor-like", "TLS to many rare addresses with random names", 1.5, ["T1090.003"], lambda r, t, w: [(t, a.tor_like, w["ws"], r.randint(22, 36))])
    b.add("ics-write", "a workstation maps the controller and writes to it", 1, ["T0855", "T0836"], lambda r, t, w: [(t, lan.modbus_writes, w["ws"], r.randint(50, 120))])
    b.add("story", "download, beacon, inner scan, lateral movement, second beacon, theft", 6, ["T1105", "T1071.001", "T1046", "T1110.003", "T1021.002", "T1021.004", "T1041"],
          story, entities=("ws", "app"), begin=11.5)
    return b.segments


def named(fn, *args, **kwargs):
    """A function with fixed arguments that keeps its name for the event log."""
    def call(act):
        return fn(act, *args, **kwargs)
    call.__name__ = fn.__name__
    return call


def story(r, t, w):
    """The incident over several devices: patient zero, the application server, the way out."""
    ws, period = w["ws"], r.uniform(75, 120)
    pace = r.uniform(.9, 1.1)   # one factor for all steps, so that their order stands
    later = lambda minutes: t + (minutes + r.uniform(-2, 2)) * 60 * pace
    return [(t, a.drop_program, ws),
            (t + 70, named(a.beacon, "c2a", "https", period, .2, 4.6), ws),
            (later(55), a.sweep_arp, ws),
            (later(62), a.scan_wide, ws),
            (later(95), a.spray_smb, ws),
            (later(125), a.admin_share, ws),
            (later(132), a.psexec, ws),
            (later(150), hop, ws),
            (later(157), named(a.beacon, "c2b", "https", period * 1.7, .3, 2.0, agent="Wget/1.21.3"), "app"),
            (later(185), collect, "app"),
            (later(200), a.exfil_fast, "app", r.randint(7_000_000, 11_000_000))]


def hop(act):
    return a.ssh_with_password(act, "app", act.world.site.weak_user, "id; uname -a; cat /etc/passwd; sleep 1.5; ls -la /home; sleep .7; ss -tn")


def collect(act):
    """The second device reads the share with the guessed account."""
    files = [f"cd {d}; prompt off; mget *; cd .." for d in ("Finance", "HR")]
    act.sh("mkdir", "-p", f"{a.R}/loot")
    s = act.world.site
    dc = s.by_name["dc"]
    return act.sh("smbclient", f"//{dc.ip}/office", "-U", f"{s.workgroup}\\{s.weak_user}%{s.passwords[s.weak_user]}", "--use-kerberos=off", "-c", f"lcd {a.R}/loot; " + "; ".join(files), timeout=60)[0]


def quiet_days(site, args, days):
    out, day = [], 0
    while len(out) < days:
        if day % 7 < 5:
            start = site.epoch + day * DAY
            out.append(Segment(site, f"quiet-{len(out) + 1}", start, start + DAY, args.density, args.scale, title="a normal working day"))
        elif day % 7 == 5 and days >= 5:
            start = site.epoch + day * DAY
            out.append(Segment(site, f"quiet-{len(out) + 1}", start, start + DAY, args.density, args.scale, title="a normal Saturday"))
        day += 1
    return out


def week(site, args):
    quiet = quiet_days(site, args, args.days)
    last = int((quiet[-1].end - site.epoch) // DAY) if quiet else 0
    return quiet + attack_segments(site, args, last)


def small(site, args):
    """The captures shipped with the repository: one quiet day and four short attack segments."""
    day = Segment(site, "office-day", site.epoch, site.epoch + DAY, args.density, args.scale, title="a normal working day")
    b = Builder(site, args, 1)
    b.add("story", "download, beacon, inner scan, lateral movement, second beacon, theft", 6, ["T1105", "T1071.001", "T1046", "T1110.003", "T1021.002", "T1021.004", "T1041"],
          story, entities=("ws", "app"), begin=11.5, day=0)
    b.add("scan-bruteforce", "ARP sweep, port scan, then password guessing over SSH", 1.5, ["T1018", "T1046", "T1110.001"],
          lambda r, t, w: [(t, a.sweep_arp, w["ws"]), (t + 300, a.scan_wide, w["ws"]), (t + 1500, a.brute_ssh, w["ws"])], day=1)
    b.add("dns-tunnel", "iodine through the office resolver", 1.5, ["T1071.004", "T1572"], lambda r, t, w: [(t, a.dns_tunnel, w["ws"], r.randint(300000, 500000))], day=1)
    b.add("smb-ransom", "a program copied to ADMIN$, remote execution, then the share's documents overwritten and renamed", 1.5, ["T1021.002", "T1570", "T1569.002", "T1486"],
          lambda r, t, w: [(t, a.admin_share, w["ws"]), (t + 400, a.psexec, w["ws"]), (t + 1500, a.ransom, w["ws"], ["Finance", "HR", "Projects", "Sales"])], day=2)
    return [day] + b.segments


def check(site, args):
    start = site.epoch + 9 * H
    b = Builder(site, args, 0)
    b.add("check", "one hour with a scan", 1, ["T1046"], lambda r, t, w: [(t, a.scan_wide, w["ws"])], begin=9, day=0)
    assert b.segments[0].start == start
    return b.segments


PLANS = {"week": week, "small": small, "check": check}


def write_manifest(site, segments, out):
    """manifest.toml beside the captures, from what really ran; segments that did not run are left out."""
    results = {}
    for s in segments:
        path = f"{out}/{s.name}.json"
        if os.path.exists(path) and os.path.exists(f"{out}/{s.name}.pcap.gz"):
            results[s.name] = json.load(open(path, encoding="utf-8"))
    quiet = [s for s in segments if not s.attacks and s.name in results]
    text = [f"# Written by lab/run from its event logs. Seed {site.seed}; office net {site.prefix}.0/24, {len(site.devices)} devices and the gateway {site.gw.ip}.\n"]
    stray = lambda names: "[" + ", ".join(f'"{n}.pcap.gz"' for n in names) + "]"
    for s in segments:
        if s.name not in results:
            continue
        learn = [q.name for q in quiet if q.start < s.start]
        lines = ["[[case]]", f'name = "{s.name}"', f'kind = "{"attack" if s.attacks else "benign"}"', f"input = {stray([s.name])}"]
        if s.attacks:
            case = results[s.name]["cases"].get(s.name)
            if not case:
                continue
            lines.append("entities = [" + ", ".join(f'"{e}"' for e in s.entities) + "]")
            lines.append(f'window = ["{iso(case["begin"] // 60 * 60)[:19]}Z", "{iso(case["end"] // 60 * 60 + 60)[:19]}Z"]')
            lines.append("techniques = [" + ", ".join(f'"{x}"' for x in s.techniques) + "]")
        if learn:
            lines.append(f"learn = {stray(learn)}")
        lines.insert(1, f"# {s.title}")
        text.append("\n".join(lines) + "\n")
    with open(f"{out}/manifest.toml", "w", encoding="utf-8") as f:
        f.write("\n".join(text))
