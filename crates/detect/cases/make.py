#!/usr/bin/env python3
"""Makes the event files of the cases: `python3 make.py [DETECTOR]` writes `<detector>/<case>/events.jsonl`
and `expect.txt` beside this script. The numbers are drawn from a fixed seed, so a second run changes
nothing. Addresses and names are those set aside for documentation (RFC 5737, RFC 2606)."""

import json
import random
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

HERE = Path(__file__).parent
START = datetime(2024, 3, 4, 8, 0, tzinfo=timezone.utc)  # a Monday
CASES = []


def case(detector, name, expect=""):
    """Registers a function that fills a `Case`."""

    def register(fill):
        CASES.append((detector, name, expect, fill))
        return fill

    return register


class Case:
    """Events with times in seconds from the start, sorted when written."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.events = []
        self.flows = 0

    def add(self, at, kind, client=None, server=None, port=0, sport=None, transport="tcp", flow=None, **body):
        event = {"kind": kind}
        if client:
            conn = {
                "client": {"addr": client, "port": sport or self.random.randrange(32768, 60999)},
                "server": {"addr": server, "port": port},
            }
            if transport != "tcp":
                conn["transport"] = transport
            if flow:
                conn["flow"] = f"{flow:016x}"
            event["conn"] = conn
        event.update({key: value for key, value in body.items() if value is not None})
        self.events.append((at, len(self.events), event))

    def flow(self, at, client, server, port, up=500, down=2000, state="SF", secs=1.0, transport="tcp", **more):
        """A flow that starts at `at`; it is complete `secs` later."""
        whole, rest = int(secs), int(secs % 1 * 1e9)
        packets = {"client_packets": 1 + up // 1000, "server_packets": 1 + down // 1000}
        if state in ("S0", "REJ") and "client_packets" not in more:
            up = down = 0
            packets = {"client_packets": 1, "server_packets": 0 if state == "S0" else 1}
        packets.update({key: more.pop(key) for key in list(more) if key.endswith("_packets")})
        self.add(at + secs, "flow", client, server, port, transport=transport, start=stamp(at),
                 duration={"secs": whole, "nanos": rest}, client_bytes=up, server_bytes=down,
                 state=state if transport == "tcp" else ("S0" if down == 0 else "SF"), **packets, **more)

    def https(self, at, client, server, name, up=800, down=4000, port=443):
        self.flows += 1
        self.add(at, "tls", client, server, port, flow=self.flows, sni=name, version=771, established=True)
        self.flow(at, client, server, port, up, down, service="ssl", flow=self.flows)

    def http(self, at, client, server, host, uri="/", port=80, up=0, down=3000, method="GET", status=200, **more):
        self.add(at, "http", client, server, port, method=method, host=host, uri=uri, status=status,
                 request_len=up, response_len=down, **more)

    def dns(self, at, client, name, answer=None, server="10.0.0.2", qtype=1, rcode=0, query_len=None,
            response_len=None, rtype=None, ttl=300):
        answers = [] if answer is None else [{"rtype": rtype or qtype, "data": answer, "ttl": ttl}]
        self.add(at, "dns", client, server, 53, transport="udp", query=name, qtype=qtype, rcode=rcode,
                 answers=answers, query_len=query_len or 18 + len(name),
                 response_len=response_len or 18 + len(name) + (16 + len(answer) if answer else 0))

    def arp(self, at, sender, target, reply=False, mac=None, target_mac=None, frame=None):
        mac = mac or mac_of(sender)
        self.add(at, "arp", reply=reply, sender_mac=mac, sender=sender, target=target,
                 target_mac=target_mac or (mac_of(target) if reply else "00:00:00:00:00:00"),
                 frame_mac=frame or mac)

    def ping(self, at, client, server, answered=True):
        self.flow(at, client, server, 0, 56, 56 if answered else 0, transport="icmp", sport=8,
                  client_packets=1, server_packets=int(answered))

    def label(self, letters="abcdefghijklmnopqrstuvwxyz0123456789", low=8, high=8):
        return "".join(self.random.choice(letters) for _ in range(self.random.randint(low, high)))

    def office(self, hours, devices=12):
        """A few ordinary calls of a few devices, so that the site has a size."""
        for n in range(devices):
            for _ in range(3):
                at = self.random.uniform(0, hours * 3600)
                self.https(at, f"10.0.0.{100 + n}", f"198.51.100.{self.random.randrange(1, 9)}",
                           f"site{self.random.randrange(1, 9)}.example.com")

    def write(self, folder, expect):
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "events.jsonl", "w", encoding="ascii") as out:
            for index, (at, _, event) in enumerate(sorted(self.events, key=lambda row: row[:2])):
                line = {"id": f"1-{index}", "ts": stamp(at), **event}
                out.write(json.dumps(line, separators=(",", ":")) + "\n")
        (folder / "expect.txt").write_text(expect.strip() + "\n" if expect.strip() else "", encoding="ascii")


def mac_of(address):
    return "02:00:" + ":".join(f"{int(part):02x}" for part in address.split("."))


def stamp(at):
    return (START + timedelta(seconds=at)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# ---------------------------------------------------------------- beacon

@case("beacon", "https_half_jitter", "device:10.0.0.107 score>=3 control")
def _(c):
    c.office(10)
    at = 900.0
    while at < 36000:
        c.https(at, "10.0.0.107", "203.0.113.40", "cdn.rare-name.example", up=610, down=240)
        at += 240 * c.random.uniform(0.5, 1.0)


@case("beacon", "through_proxy_in_working_hours", "device:10.0.0.103 score>=3 control")
def _(c):
    c.office(60)
    at = 600.0
    while at < 57 * 3600:
        if at % 86400 < 9 * 3600 and c.random.random() > 0.1:
            c.http(at, "10.0.0.103", "10.0.0.3", "updates.odd-shop.example:443", uri="", port=3128,
                   method="CONNECT", proxied=True, down=0)
        at += 400 * c.random.uniform(0.9, 1.1)


@case("beacon", "dns_questions", "device:10.0.0.105 score>=2.5 control")
def _(c):
    c.office(9)
    at = 100.0
    while at < 9 * 3600:
        c.dns(at, "10.0.0.105", f"{c.label(low=6, high=6)}.ns.quiet-lake.example", "203.0.113.9")
        at += 180 * c.random.uniform(0.8, 1.0)


@case("beacon", "update_check_of_the_whole_office")
def _(c):
    c.office(10)
    for n in range(12):
        at = c.random.uniform(0, 600)
        while at < 36000:
            c.https(at, f"10.0.0.{100 + n}", "198.51.100.77", "update.vendor.example", up=400, down=900)
            at += 1800


@case("beacon", "time_service_and_mailbox")
def _(c):
    c.office(10)
    for k in range(560):
        c.flow(64.0 * k, "10.0.0.104", "198.51.100.123", 123, 48, 48, service="ntp", transport="udp")
    for k in range(120):
        c.flow(300.0 * k + 3, "10.0.0.104", "198.51.100.25", 993, 900, 2500, service="ssl")


@case("beacon", "person_reads_the_news")
def _(c):
    c.office(10)
    at = 0.0
    while at < 36000:
        at += min(c.random.expovariate(1 / 700), 7000)
        for _ in range(c.random.randrange(2, 9)):
            c.https(at + c.random.uniform(0, 9), "10.0.0.106", "198.51.100.80", "news.example.net",
                    up=1200, down=c.random.randrange(2000, 200000))


@case("beacon", "video_in_segments")
def _(c):
    c.office(3)
    for k in range(500):
        c.https(6.0 * k + c.random.uniform(0, 0.5), "10.0.0.108", "198.51.100.90", "video.example.org",
                up=500, down=c.random.randrange(400000, 900000))


@case("beacon", "open_page_polls_for_half_an_hour")
def _(c):
    c.office(3)
    for k in range(60):
        c.http(30.0 * k, "10.0.0.109", "198.51.100.91", "scores.example.org", "/live.json", down=1500)


# ---------------------------------------------------------------- scans

@case("scan_arp", "sweep_of_the_segment", "device:10.0.0.66 score>=5 reconnaissance")
def _(c):
    ordinary_arp(c)
    for k in range(1, 200):
        c.arp(600 + 0.02 * k, "10.0.0.66", f"10.0.0.{k}")
        if k % 20 == 0:
            c.arp(600.01 + 0.02 * k, f"10.0.0.{k}", "10.0.0.66", reply=True)


@case("scan_arp", "ordinary_day")
def _(c):
    ordinary_arp(c)


@case("scan_arp", "router_asks_for_strangers")
def _(c):
    ordinary_arp(c)
    for k in range(2, 60):
        c.arp(400 + 7 * k, "10.0.0.1", f"10.0.0.{k}", mac="02:00:00:00:00:01")


def ordinary_arp(c):
    for k in range(40):
        who = f"10.0.0.{100 + k % 10}"
        c.arp(5 + 90 * k, who, "10.0.0.1")
        c.arp(5.01 + 90 * k, "10.0.0.1", who, reply=True, mac="02:00:00:00:00:01")
    for k in range(4):
        c.arp(900 + 5 * k, "10.0.0.103", f"10.0.0.{180 + k}")


@case("scan_horizontal", "worm_tries_smb", "device:10.0.0.66 score>=5 reconnaissance")
def _(c):
    c.office(1)
    for k in range(1, 120):
        state = "SF" if k % 25 == 0 else ("REJ" if k % 3 == 0 else "S0")
        c.flow(900 + 0.5 * k, "10.0.0.66", f"10.0.1.{k}", 445, 300, 500, state)


@case("scan_horizontal", "bot_tries_telnet_outside", "device:10.0.0.107 score>=3 reconnaissance")
def _(c):
    c.office(1)
    for k in range(90):
        c.flow(300 + 2 * k, "10.0.0.107", f"203.0.113.{k + 1}", 23, state="S0")


@case("scan_horizontal", "monitoring_of_the_site")
def _(c):
    for round_ in range(5):
        for k in range(1, 60):
            down = k in (7, 21, 40)
            c.flow(300 * round_ + k, "10.0.0.9", f"10.0.0.{100 + k}", 22, 300, 900, "S0" if down else "SF")


@case("scan_horizontal", "background_noise_from_outside", "local 198.51.100.0/24")
def _(c):
    for k in range(1, 250):
        c.flow(0.1 * k, "203.0.113.99", f"198.51.100.{k}", 3389, state="S0")


@case("scan_horizontal", "browsing_while_the_uplink_flaps")
def _(c):
    c.office(1)
    for k in range(60):
        bad = 20 <= k < 35
        c.flow(30 * k, "10.0.0.104", f"203.0.113.{k + 1}", 443, 900, 9000, "S0" if bad else "SF")


@case("scan_icmp", "sweep_by_ping", "device:10.0.0.66 score>=4 reconnaissance")
def _(c):
    for k in range(1, 120):
        c.ping(60 + 0.1 * k, "10.0.0.66", f"10.0.0.{k}", k % 15 == 0)


@case("scan_icmp", "monitoring_pings_its_list")
def _(c):
    for round_ in range(10):
        for k in range(1, 25):
            c.ping(300 * round_ + k, "10.0.0.9", f"10.0.0.{100 + k}", k != 13)


@case("scan_icmp", "someone_outside_pings", "local 198.51.100.0/24")
def _(c):
    for k in range(1, 200):
        c.ping(k, "203.0.113.50", f"198.51.100.{k}", False)


@case("scan_slow", "one_try_every_ten_minutes", "device:10.0.0.66 score>=3 reconnaissance")
def _(c):
    for k in range(60):
        c.flow(600 * k, "10.0.0.66", f"10.0.{k % 4}.{20 + k}", (22, 445, 3389)[k % 3], state="S0" if k % 4 else "REJ")


@case("scan_slow", "stale_drives_and_printers")
def _(c):
    for k in range(50):
        c.flow(700 * k, "10.0.0.104", f"10.0.0.{20 + k % 4}", (445, 9100)[k % 2], state="S0")
        c.flow(700 * k + 9, "10.0.0.104", "10.0.0.5", 445)


@case("scan_slow", "sweep_in_one_minute_is_not_slow")
def _(c):
    for k in range(1, 100):
        c.flow(0.3 * k, "10.0.0.66", f"10.0.0.{k}", 22, state="S0")


@case("scan_vertical", "inside_scan_of_a_server", "device:10.0.0.66 score>=5 reconnaissance")
def _(c):
    for k in range(150):
        good = k in (22, 80, 139)
        c.flow(30 + 0.05 * k, "10.0.0.66", "10.0.0.5", k + 1, 100, 100, "SF" if good else "REJ")


@case("scan_vertical", "browser_and_printer_ports")
def _(c):
    for k in range(60):
        c.flow(60 * k, "10.0.0.104", "198.51.100.7", 443, 900, 9000)
    for port in (9100, 515, 631, 80):
        c.flow(4000 + port / 100, "10.0.0.104", "10.0.0.30", port, state="S0" if port == 515 else "SF")


@case("scan_vertical", "route_traced_by_udp")
def _(c):
    for k in range(40):
        c.flow(0.5 * k, "10.0.0.104", "198.51.100.7", 33434 + k, 60, 0, transport="udp", server_packets=0)


@case("scan_vertical", "file_transfer_on_passive_ports")
def _(c):
    for k in range(40):
        c.flow(10 * k, "10.0.0.104", "198.51.100.21", 50000 + 7 * k, 100, 90000, "SF" if k % 9 else "S0")


# ---------------------------------------------------------------- end of cases


def main():
    wanted = sys.argv[1:]
    for detector, name, expect, fill in CASES:
        if wanted and detector not in wanted:
            continue
        made = Case(f"{detector}/{name}")
        fill(made)
        made.write(HERE / detector / name, expect)


if __name__ == "__main__":
    main()
