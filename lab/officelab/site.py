"""The office as data: devices, people, addresses and names, all drawn from a seed.

Nothing here touches the network. Two calls with one seed give equal sites.
"""

import datetime as dt
import random
from dataclasses import dataclass, field

UTC = dt.timezone.utc

FIRST = """anna bela carla daniel elif frank greta hugo ines jonas karim lena marek nadia oskar
petra rosa simon tomas ulla viktor wanda yusuf zoe erik mira david sofia""".split()
LAST = """adler baros conti dvorak engel ferrer groen hansen ivanov jensen kowal lindqvist moreau
novak okafor peters quist rossi santos toth usman vargas weber yilmaz zeman""".split()
WORDS = """north bridge river stone harbor field cedar maple signal paper metro union prime atlas
vector lumen craft garden market cargo travel sport kitchen daily city news score pixel cloud forge
anchor summit delta orbit coral amber nova pilot quill tandem vista willow zenith copper bright
meadow canvas ledger beacon hill rapid green silver""".split()
TLDS = ["com", "com", "com", "net", "org", "io", "eu", "de", "fr", "co.uk", "nl", "it"]

# Names any office machine asks for; inside the namespaces they lead to the lab's own servers.
KNOWN_WEB = ["www.google.com", "www.bing.com", "en.wikipedia.org", "github.com", "www.youtube.com",
             "www.linkedin.com", "stackoverflow.com", "www.bbc.co.uk", "www.booking.com"]
KNOWN_CDN = ["fonts.gstatic.com", "upload.wikimedia.org", "cdn.jsdelivr.net", "i.ytimg.com"]
KNOWN_CLOUD = ["login.microsoftonline.com", "outlook.office365.com", "teams.microsoft.com",
               "settings-win.data.microsoft.com", "www.msftconnecttest.com", "ocsp.digicert.com",
               "ctldl.windowsupdate.com", "deb.debian.org", "captive.apple.com", "pypi.org",
               "gateway.icloud.com", "api.dropboxapi.com", "update.googleapis.com"]
HTTP_ONLY = {"www.msftconnecttest.com", "ocsp.digicert.com", "ctldl.windowsupdate.com",
             "deb.debian.org", "captive.apple.com"}

OUI = {"dell": "f8:bc:12", "lenovo": "54:ee:75", "hp": "3c:52:82", "apple": "a4:83:e7",
       "vm": "00:50:56", "printer": "00:1b:a9", "cam": "44:19:b6", "plc": "00:1b:1b",
       "hmi": "00:0c:29", "router": "e4:8d:8c", "phone": "8c:f5:a3"}


@dataclass
class Device:
    """One office device. `role` decides what lives on it, `system` how its stack looks."""
    name: str
    role: str
    system: str
    mac: str
    ip: str
    hostname: str
    user: str = ""
    proxied: bool = False
    browser: str = "chrome"
    habits: list = field(default_factory=list)
    hours: tuple = (9.0, 17.0)


@dataclass
class Host:
    """One machine on the internet side (a namespace) and its addresses."""
    name: str
    ips: list
    ips6: list


class Site:
    """Everything that varies by seed."""

    def __init__(self, seed):
        self.seed = seed
        r = self.rng("site")
        self.prefix = r.choice([f"10.{r.randint(1, 250)}.{r.randint(0, 250)}",
                                f"192.168.{r.randint(2, 250)}",
                                f"172.{r.randint(16, 31)}.{r.randint(0, 250)}"])
        self.prefix6 = f"2a0{r.choice('1234679')}:{r.randint(0x100, 0xfff):x}:{r.randint(0x1000, 0xffff):x}:1"
        self.company = r.choice(WORDS) + r.choice(WORDS)
        self.domain = f"{self.company}.{r.choice(['office', 'lan', 'intra'])}"
        self.realm = f"ad.{self.domain}".upper()
        self.workgroup = self.company.upper()[:12]
        self.mail_domain = f"{self.company}.{r.choice(['com', 'eu', 'net'])}"
        # The Monday the lab's calendar starts on.
        monday = dt.datetime(2024, 1, 8, tzinfo=UTC) + dt.timedelta(weeks=r.randint(0, 90))
        self.epoch = monday.timestamp()
        self._people(r)
        self._devices(r)
        self._internet(r)
        self._names(r)
        self._habits(r)

    def rng(self, purpose):
        """An independent generator for one purpose; the same seed gives the same draws."""
        return random.Random(f"thymus-lab:{self.seed}:{purpose}")

    def _people(self, r):
        firsts, lasts = r.sample(FIRST, 14), r.sample(LAST, 14)
        self.users = [f"{f}.{last}" for f, last in zip(firsts, lasts)]
        self.passwords = {u: f"{r.choice(WORDS).title()}-{r.choice(WORDS)}{r.randint(10, 99)}!"
                          for u in self.users}
        # A service account with a name (Kerberoasting) and one without pre-authentication.
        self.svc_sql, self.svc_scan = "svc_sql", "svc_scan"
        self.passwords[self.svc_sql] = "Sommer2019!"
        self.passwords[self.svc_scan] = "Scanner-1234"
        self.admin_password = f"{r.choice(WORDS).title()}#{r.randint(1000, 9999)}x"
        self.spns = [f"MSSQLSvc/sql1.{self.domain}:1433", f"HTTP/intranet.{self.domain}", f"HTTP/wiki.{self.domain}",
                     f"CIFS/nas.{self.domain}", f"backup/vault.{self.domain}"]
        # The account that guessing finds; its password is in the guess list.
        self.weak_user = self.users[r.randint(2, 5)]
        self.passwords[self.weak_user] = r.choice(["Welcome2024!", "Spring2024!", "Password1!"])

    def _devices(self, r):
        free = r.sample(range(20, 240), 40)
        mac = lambda kind: f"{OUI[kind]}:{r.randint(0, 255):02x}:{r.randint(0, 255):02x}:{r.randint(0, 255):02x}"
        low = r.sample(range(2, 19), 6)
        ip = lambda n: f"{self.prefix}.{n}"
        dept = r.sample(["FIN", "HR", "SALES", "ENG", "OPS", "MKT", "LEGAL"], 4)
        self.gw = Device("gw", "router", "linux", mac("router"), ip(r.choice([1, 254])), "gateway")
        d = self.devices = [
            Device("dc", "dc", "windows", mac("vm"), ip(low[0]), f"srv-{r.choice(['dc', 'files', 'ad'])}1"),
            Device("app", "app", "linux", mac("vm"), ip(low[1]), r.choice(["intranet", "srv-app", "web1"])),
            Device("mail", "mail", "linux", mac("vm"), ip(low[2]), r.choice(["mail", "mx1", "post"])),
            Device("mon", "mon", "linux", mac("vm"), ip(low[3]), r.choice(["nagios", "monitor", "backup1"])),
            Device("printer", "printer", "embedded", mac("printer"), ip(free.pop()), f"BRN{r.randint(0, 0xffffff):06X}"),
            Device("cam", "cam", "embedded", mac("cam"), ip(free.pop()), f"ipcam-{r.choice(['lobby', 'door', 'yard'])}"),
            Device("plc", "plc", "embedded", mac("plc"), ip(free.pop()), f"plc-{r.choice(['hvac', 'pump', 'line1'])}"),
            Device("hmi", "hmi", "windows", mac("hmi"), ip(free.pop()), f"HMI-{r.randint(1, 9):02d}"),
        ]
        kinds = ["dell", "dell", "lenovo", "hp", "apple", "lenovo"] + (["hp"] if r.random() < .5 else [])
        for i, kind in enumerate(kinds):
            system = "mac" if kind == "apple" else "windows"
            name = (f"{self.users[i].split('.')[0].title()}s-MBP" if kind == "apple" else
                    r.choice([f"{r.choice(dept)}-{r.choice(['LT', 'PC', 'WS'])}{r.randint(1, 60):02d}",
                              f"DESKTOP-{''.join(r.choice('ABCDEFGHJKLMNPQRSTUVWXYZ0123456789') for _ in range(7))}"]))
            browser = "safari" if kind == "apple" else r.choice(["chrome", "chrome", "edge", "firefox"])
            hours = (r.uniform(7.6, 9.3), r.uniform(16.4, 18.4))
            d.append(Device(f"ws{i + 1}", "ws", system, mac(kind), ip(free.pop()), name, self.users[i],
                            r.random() < .3, browser, hours=hours))
        # The administrator's own Linux machine.
        d.append(Device("adm", "ws", "linux", mac("dell"), ip(free.pop()), f"{r.choice(['thinkpad', 'it', 'devbox'])}-{r.choice(WORDS)}",
                        self.users[len(kinds)], False, "firefox", hours=(r.uniform(7.5, 9), r.uniform(16.5, 18))))
        self.admin_user = self.users[len(kinds)]
        # A spare address for an intruder's own box (rogue DHCP server, rogue host).
        self.rogue = Device("rogue", "rogue", "linux", mac("phone"), ip(free.pop()), "android-" + "".join(r.choice("0123456789abcdef") for _ in range(8)))
        self.unused_ips = [ip(n) for n in free]
        self.by_name = {x.name: x for x in d + [self.gw, self.rogue]}
        self.workstations = [x for x in d if x.role == "ws"]

    def _internet(self, r):
        nets = [f"{a}.{r.randint(1, 254)}.{r.randint(0, 254)}" for a in
                r.sample([23, 31, 34, 45, 52, 62, 77, 81, 84, 91, 93, 95, 104, 138, 142, 146, 151, 162,
                          176, 185, 188, 193, 195, 199, 204, 212, 213, 216], 24)]
        take = lambda n: [f"{nets.pop()}.{r.randint(2, 253)}" for _ in range(n)]
        six = lambda n: [f"2a{r.randint(0, 15):02x}:{r.randint(0x100, 0xffff):x}:{r.randint(1, 0xffff):x}::{r.randint(1, 0xffff):x}" for _ in range(n)]
        self.hosts = {"isp": Host("isp", take(1), six(1)), "web": Host("web", take(7), six(3)),
                      "cdn": Host("cdn", take(3), six(2)), "cloud": Host("cloud", take(6), six(2)),
                      "evil": Host("evil", take(6), [])}
        self.resolver = self.hosts["isp"].ips[0]
        # One-way delay in ms by server address: near CDN, far C2.
        self.delay = {}
        for h, (lo, hi) in {"isp": (1, 2), "web": (4, 14), "cdn": (1, 4), "cloud": (3, 9), "evil": (6, 20)}.items():
            for a in self.hosts[h].ips + self.hosts[h].ips6:
                self.delay[a] = r.uniform(lo, hi)

    def _names(self, r):
        def invent(n):
            names = set()
            while len(names) < n:
                sep = r.choice(["", "", "-"])
                names.add(f"{r.choice(WORDS)}{sep}{r.choice(WORDS)}.{r.choice(TLDS)}")
            return sorted(names)
        pool = invent(130)
        r.shuffle(pool)
        self.dns = {}      # name -> (host, ipv4, ipv6 or None)
        self.tls = {}      # name -> issuing CA: public | corp | self
        self.rtype = {}    # extra records: (name, type) -> text

        def put(name, host, six=.3, tls="public"):
            h = self.hosts[host]
            self.dns[name] = (host, r.choice(h.ips), r.choice(h.ips6) if h.ips6 and r.random() < six else None)
            if tls and name not in HTTP_ONLY:
                self.tls[name] = tls
        self.web = KNOWN_WEB + ["www." + pool.pop() for _ in range(46)]
        self.cdn = KNOWN_CDN + [f"{r.choice(['cdn', 'static', 'img', 'assets'])}.{pool.pop()}" for _ in range(8)]
        for n in self.web:
            put(n, "web")
        for n in self.cdn:
            put(n, "cdn")
        for n in KNOWN_CLOUD:
            put(n, "cloud", .2)
        self.http_sites = ["www." + pool.pop() for _ in range(4)]
        for n in self.http_sites:
            put(n, "web", .2, None)
        cloud = lambda *p: f"{r.choice(p)}.{pool.pop()}"
        self.saas = {"telemetry": cloud("telemetry", "events", "metrics"), "av": cloud("defs", "update", "sig"),
                     "sync": cloud("sync", "drive", "files"), "backup": cloud("vault", "s3", "backup"),
                     "chat": cloud("chat", "rt", "ws"), "call": cloud("meet", "call", "video"),
                     "camcloud": cloud("p2p", "device"), "crm": cloud("app", "crm"), "erp": cloud("erp", "my"),
                     "mx": cloud("mx", "mail")}
        for n in self.saas.values():
            put(n, "cloud", .1)
        self.partner = pool.pop()                      # mail partner domain
        self.put_evil(r, put, pool)

    def put_evil(self, r, put, pool):
        """The attacker's names; some look harmless, some are random, none is in a user's habits."""
        soup = lambda n: "".join(r.choice("bcdfghjklmnpqrstvwxzaeiou0123456789") for _ in range(n))
        self.evil = {"c2a": f"{r.choice(['cdn', 'api', 'static'])}-{pool.pop()}", "c2b": pool.pop(),
                     "c2c": f"{soup(9)}.{r.choice(['top', 'xyz', 'info'])}", "drop": f"{r.choice(['files', 'up', 'x'])}.{pool.pop()}",
                     "pool": f"{r.choice(['xmr', 'pool', 'mine'])}.{pool.pop()}", "socks": pool.pop()}
        for n in self.evil.values():
            put(n, "evil", 0, r.choice(["self", "public"]))
        self.tunnel_domain = f"{r.choice(['t', 'ns', 'd'])}.{soup(6)}.{r.choice(['net', 'xyz', 'site'])}"
        self.exfil_domain = f"{soup(5)}.{r.choice(['info', 'top', 'com'])}"
        self.tor_names = [f"www.{soup(r.randint(9, 20))}.com" for _ in range(24)]

    def _habits(self, r):
        for d in self.devices:
            if d.role == "ws":
                own = r.sample(self.web, 12)
                d.habits = [(n, 1 / (i + 1)) for i, n in enumerate(own)]

    def entity(self, name):
        return self.by_name[name].ip
