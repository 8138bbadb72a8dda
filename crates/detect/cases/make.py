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

    def add(self, at, kind, client=None, to=None, port=0, sport=None, transport="tcp", flow=None, **body):
        event = {"kind": kind}
        if client:
            conn = {
                "client": {"addr": client, "port": sport or self.random.randrange(32768, 60999)},
                "server": {"addr": to, "port": port},
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

    def window(self, at, addr, packets_in, packets_out, syn_in, peers):
        self.add(at, "traffic", addr=addr, secs=10.0, packets_in=packets_in, packets_out=packets_out,
                 bytes_in=60 * packets_in, bytes_out=60 * packets_out, size_mean=60.0, size_std=0.0,
                 gap_mean=0.001, gap_std=0.001, peers=peers, ports_out=1, syn_in=syn_in, syn_out=0, rst=0,
                 udp=0, icmp=0, group_out=0)

    def dhcp(self, at, server, routers, name_servers, mac="02:00:00:00:02:01"):
        self.add(at, "dhcp", server, "255.255.255.255", 68, 67, "udp", message="ack", mac=mac, assigned="10.0.0.150",
                 server=server, routers=routers, name_servers=name_servers, lease_secs=86400)

    def ask(self, at, client, name, responder=None):
        answers = [{"rtype": 1, "data": responder, "ttl": 30}] if responder else []
        self.add(at, "dns", client, "224.0.0.252", 5355, transport="udp", flavor="llmnr", query=name, qtype=1,
                 rcode=0 if responder else None, answers=answers, responder=responder)

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


@case("scan_vertical", "bare_segments_refused", "device:10.0.0.66 score>=4 reconnaissance")
def _(c):
    for k in range(300):
        c.flow(0.02 * k, "10.0.0.66", "10.0.0.5", k + 1, state="RSTRH", sport=53_073, up=0, down=0, client_packets=1,
               server_packets=1)


@case("scan_vertical", "old_conversations_are_reset")
def _(c):
    for n in range(8):
        for k, port in enumerate([22, 80, 443, 445, 993]):
            c.flow(n + 40 * k, f"10.0.0.{100 + n}", "10.0.0.5", port, state="RSTRH", up=0, down=0, client_packets=1,
                   server_packets=1)


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


# ---------------------------------------------------------------- DNS tunnel

@case("dns_tunnel", "upload_in_long_names", "device:10.0.0.66 score>=3 control")
def _(c):
    for k in range(350):
        name = f"{c.label(low=55, high=60)}.{c.label(low=50, high=60)}.t.lake.example"
        c.dns(2 * k, "10.0.0.66", name, c.label(low=30, high=40) + ".t.lake.example", qtype=5, query_len=140)


@case("dns_tunnel", "orders_in_text_records", "device:10.0.0.66 score>=2.5 control")
def _(c):
    for k in range(300):
        c.dns(5 * k, "10.0.0.66", f"{c.label(low=16, high=20)}.hill.example", c.label(low=160, high=180), qtype=16)


@case("dns_tunnel", "content_network_names")
def _(c):
    for k in range(600):
        c.dns(5 * k, "10.0.0.104", f"r{c.random.randrange(9)}---sn-{c.label(low=8, high=8)}.video.example",
              f"198.51.100.{k % 200}") if k % 12 == 0 else c.dns(5 * k, "10.0.0.104", "www.example.org", "198.51.100.4")


@case("dns_tunnel", "reputation_lookups_of_a_scanner")
def _(c):
    for k in range(120):
        digest = c.label("0123456789abcdef", 40, 40)
        c.dns(20 * k, "10.0.0.25", f"{digest}.rep.vendor.example", "127.0.0.4" if k % 9 == 0 else None, rcode=0 if k % 9 == 0 else 3)


@case("dns_tunnel", "block_list_and_mail_keys")
def _(c):
    for k in range(300):
        ip = ".".join(str(c.random.randrange(256)) for _ in range(4))
        c.dns(10 * k, "10.0.0.25", f"{ip}.bl.mailguard.example", None, rcode=3)
        if k % 5 == 0:
            c.dns(10 * k + 1, "10.0.0.25", f"s{k}._domainkey.sender{k}.example", "v=DKIM1; k=rsa; p=" + c.label(low=220, high=220), qtype=16)


# ---------------------------------------------------------------- exfiltration

@case("exfiltration", "large_upload_to_a_bare_address", "device:10.0.0.104 score>=3 exfiltration")
def _(c):
    c.office(6)
    for k in range(60):
        c.flow(7200 + 40 * k, "10.0.0.104", "203.0.113.44", 22, 6_000_000, 20_000, secs=30.0)


def reporting(c, up):
    """Sensors and panels that report each hour for a day."""
    for device in range(10):
        for hour in range(24):
            c.https(3600 * hour + 60 * device, f"10.0.0.{110 + device}", "198.51.100.1", "report.vendor.example",
                    up=int(up * c.random.uniform(0.3, 1.0)))


@case("exfiltration", "modest_upload_where_nobody_sends_much", "device:10.0.0.104 score>=2.5 exfiltration")
def _(c):
    reporting(c, 6_000)
    c.flow(80_000, "10.0.0.104", "203.0.113.44", 8443, 6_000_000, 20_000, secs=30.0)


@case("exfiltration", "modest_upload_where_others_send_as_much")
def _(c):
    reporting(c, 6_000_000)
    c.flow(80_000, "10.0.0.104", "203.0.113.44", 8443, 6_000_000, 20_000, secs=30.0)


@case("exfiltration", "data_in_pings", "device:10.0.0.104 score>=3 exfiltration")
def _(c):
    c.office(2)
    c.flow(900, "10.0.0.104", "203.0.113.44", 0, 400_000, 20_000, transport="icmp", sport=8, secs=500.0,
           client_packets=400, server_packets=400)


@case("exfiltration", "downloads_and_a_call")
def _(c):
    c.office(6)
    for k in range(30):
        c.flow(100 * k, "10.0.0.104", "198.51.100.4", 443, 900_000, 80_000_000, secs=50.0)
    c.flow(4000, "10.0.0.105", "198.51.100.5", 3478, 300_000_000, 330_000_000, transport="udp", secs=3000.0,
           client_packets=300_000, server_packets=310_000)


@case("exfiltration", "backup_every_night")
def _(c):
    for day in range(12):
        c.dns(day * 86400 + 50_300, "10.0.0.5", "backup.vendor.example", "198.51.100.60")
        for k in range(10):
            c.flow(day * 86400 + 50_400 + 300 * k, "10.0.0.5", "198.51.100.60", 443,
                   (3_000_000 if day == 0 else 9_000_000) * (1 + k % 3), 200_000, secs=200.0)


# ---------------------------------------------------------------- floods

@case("flood", "connection_flood_from_forged_sources", "device:10.0.0.5 score>=2.5 impact")
def _(c):
    c.flow(-9, "10.0.0.104", "10.0.0.5", 443)
    for k in range(12):
        c.window(10 * k, "10.0.0.5", packets_in=40_000, packets_out=100, syn_in=39_500, peers=4_000)


@case("flood", "server_answers_and_is_left_waiting", "device:10.0.0.66 score>=2 impact")
def _(c):
    for k in range(4000):
        c.flow(0.002 * k, "10.0.0.66", "10.0.0.5", 80, 0, 0, state="RSTO", secs=0.001)


@case("flood", "health_checks_hang_up")
def _(c):
    for k in range(1200):
        c.flow(0.5 * k, "10.0.0.9", f"10.0.0.{5 + k % 2}", 443, 0, 0, state="RSTO", secs=0.001)


@case("flood", "our_device_floods_someone", "device:10.0.0.108 score>=2.5 impact")
def _(c):
    for k in range(6):
        c.flow(20 * k, "10.0.0.108", "203.0.113.9", 53, 900_000_000, 0, transport="udp", secs=19.0,
               client_packets=900_000, server_packets=0)


@case("flood", "page_requested_in_a_storm", "device:10.0.0.108 score>=1.5 impact")
def _(c):
    for k in range(2400):
        c.http(k / 48, "10.0.0.108", "203.0.113.9", "shop.example", down=0, status=0)


@case("flood", "busy_web_server")
def _(c):
    for k in range(12):
        c.window(10 * k, "10.0.0.5", packets_in=9_000, packets_out=14_000, syn_in=600, peers=300)
    for k in range(400):
        c.flow(0.3 * k, f"198.51.100.{k % 200}", "10.0.0.5", 443, 900, 20_000)


@case("flood", "camera_streams_one_way")
def _(c):
    for k in range(6):
        c.flow(60 * k, "10.0.0.40", "10.0.0.8", 5004, 40_000_000, 0, transport="udp", secs=59.0,
               client_packets=36_000, server_packets=0)


@case("flood", "port_scan_is_not_a_flood")
def _(c):
    for k in range(1000):
        c.flow(0.02 * k, "10.0.0.66", "10.0.0.5", k + 1, state="REJ")


@case("amplification", "answers_nobody_asked_for", "device:10.0.0.5 score>=3 impact")
def _(c):
    for k in range(200):
        c.flow(0.2 * k, f"203.0.113.{k % 100 + 1}", "10.0.0.5", 40_000 + k, 30_000, 0, transport="udp",
               sport=123, client_packets=70, server_packets=0)


@case("amplification", "many_reflectors_send_little", "device:10.0.0.5 score>=2.5 impact")
def _(c):
    for k in range(1500):
        c.flow(0.03 * k, f"203.0.{k // 250}.{k % 250 + 1}", "10.0.0.5", 40_000 + k, 60, 0, transport="udp",
               sport=161, client_packets=1, server_packets=0)


@case("amplification", "resolver_answers_seen_one_way")
def _(c):
    for k in range(1200):
        c.flow(0.3 * k, f"198.51.100.{k % 200 + 1}", "10.0.0.2", 40_000 + k, 90, 0, transport="udp", sport=53,
               client_packets=1, server_packets=0)


@case("amplification", "our_server_is_misused", "device:10.0.0.2 score>=2.5 impact")
def _(c):
    for k in range(300):
        c.flow(0.15 * k, "203.0.113.77", "10.0.0.2", 53, 900, 48_000, transport="udp", client_packets=15, server_packets=45)


@case("amplification", "name_server_answers_its_clients")
def _(c):
    for k in range(300):
        c.flow(0.15 * k, f"10.0.0.{100 + k % 20}", "10.0.0.2", 53, 40, 1200, transport="udp")


@case("amplification", "late_answers_of_the_resolver")
def _(c):
    for k in range(40):
        c.flow(3 * k, "198.51.100.53", "10.0.0.2", 40_000 + k, 300, 0, transport="udp", sport=53,
               client_packets=1, server_packets=0)


# ---------------------------------------------------------------- spoofing

GATEWAY_MAC = "02:00:0a:00:00:01"


def honest_arp(c, until=1200):
    for k in range(until // 20):
        who = f"10.0.0.{100 + k % 8}"
        c.arp(20 * k, who, "10.0.0.1")
        c.arp(20 * k + 0.01, "10.0.0.1", who, reply=True)


@case("spoof_arp", "between_gateway_and_victim", "device:10.0.0.66 score>=4 credentials")
def _(c):
    honest_arp(c)
    c.arp(590, "10.0.0.66", "10.0.0.1")
    bad = mac_of("10.0.0.66")
    for k in range(150):
        c.arp(600 + 2 * k, "10.0.0.1", "10.0.0.104", reply=True, mac=bad)
        c.arp(600.1 + 2 * k, "10.0.0.104", "10.0.0.1", reply=True, mac=bad)


@case("spoof_arp", "gives_the_addresses_back_at_its_end", "device:10.0.0.66 score>=4 credentials")
def _(c):
    honest_arp(c, until=560)
    c.arp(590, "10.0.0.66", "10.0.0.1")
    c.arp(590.01, "10.0.0.1", "10.0.0.66", reply=True)
    bad = mac_of("10.0.0.66")
    for k in range(4):
        c.arp(600 + 2 * k, "10.0.0.1", "10.0.0.104", reply=True, mac=bad)
        c.arp(600.1 + 2 * k, "10.0.0.104", "10.0.0.1", reply=True, mac=bad)
    for k in range(5):
        c.arp(609 + k, "10.0.0.1", "10.0.0.104", reply=True, frame=bad)
        c.arp(609.1 + k, "10.0.0.104", "10.0.0.1", reply=True, frame=bad)


@case("spoof_arp", "lease_goes_to_another_device")
def _(c):
    honest_arp(c)
    c.arp(100, "10.0.0.150", "10.0.0.1")
    c.arp(900, "10.0.0.150", "10.0.0.150", mac="02:aa:00:00:00:07")
    c.arp(905, "10.0.0.150", "10.0.0.1", mac="02:aa:00:00:00:07")


@case("spoof_arp", "virtual_router_fails_over")
def _(c):
    for k in range(60):
        c.arp(20 * k, f"10.0.0.{100 + k % 8}", "10.0.0.254")
        c.arp(20 * k + 0.01, "10.0.0.254", f"10.0.0.{100 + k % 8}", reply=True, mac="00:00:5e:00:01:0a",
              frame="02:00:0a:00:00:02" if k < 30 else "02:00:0a:00:00:03")
    for k in range(20):
        c.arp(700 + k, "10.0.0.254", "10.0.0.254", reply=True, mac="00:00:5e:00:01:0a")


@case("spoof_dhcp", "second_server_with_its_own_router", "device:10.0.0.66 score>=3 credentials")
def _(c):
    for k in range(40):
        c.dhcp(600 * k, "10.0.0.2", ["10.0.0.1"], ["10.0.0.2"])
    for k in range(6):
        c.dhcp(24_100 + 30 * k, "10.0.0.66", ["10.0.0.66"], ["10.0.0.66"])


@case("spoof_dhcp", "fail_over_pair")
def _(c):
    for k in range(60):
        c.dhcp(600 * k, "10.0.0.2" if k % 2 == 0 or k < 9 else "10.0.0.3", ["10.0.0.1"], ["10.0.0.2", "10.0.0.3"])


@case("spoof_dhcp", "set_up_network_of_a_new_device")
def _(c):
    for k in range(40):
        c.dhcp(600 * k, "10.0.0.2", ["10.0.0.1"], ["10.0.0.2"])
    for k in range(3):
        c.dhcp(24_100 + 30 * k, "192.168.7.1", ["192.168.7.1"], ["192.168.7.1"])


@case("spoof_dhcp", "people_arrive")
def _(c):
    for k in range(25):
        mac = f"02:00:00:00:01:{k:02x}"
        c.add(8 * k, "dhcp", "0.0.0.0", "255.255.255.255", 67, 68, "udp", message="discover", mac=mac)
        c.dhcp(8 * k + 0.1, "10.0.0.2", ["10.0.0.1"], ["10.0.0.2"], mac=mac)


@case("spoof_name", "one_host_answers_everything", "device:10.0.0.66 score>=3 credentials")
def _(c):
    c.flow(1, "10.0.0.66", "10.0.0.5", 445)
    for k, name in enumerate(["fileshare1", "printsrv", "wpad", "intranet", "sqlprod", "hr-portal"]):
        c.ask(100 * k, f"10.0.0.{100 + k}", name)
        c.ask(100 * k + 30, f"10.0.0.{100 + k}", name)
        c.ask(100 * k + 60, f"10.0.0.{100 + k}", name, "10.0.0.66")


@case("spoof_name", "hosts_answer_for_themselves")
def _(c):
    for k in range(60):
        c.ask(60 * k, f"10.0.0.{100 + k % 9}", f"desk-{k % 12}", f"10.0.0.{140 + k % 12}")


@case("spoof_name", "nobody_answers")
def _(c):
    for k in range(60):
        c.ask(60 * k, f"10.0.0.{100 + k % 9}", f"old-server-{k % 5}")


# ---------------------------------------------------------------- machine-made names

@case("dga", "list_of_dead_names")
def _(c):
    words = ["river", "stone", "garden", "market", "travel", "music", "sport", "photo", "north", "green", "smart"]
    for k in range(36):
        word = words[k % 11] + words[k * 3 % 11 if k % 11 else 4] + words[k // 11]
        c.dns(60 * k, "10.0.0.108", f"{word}.example", rcode=3)
    for k, name in enumerate(["1d798fvv1t", "xk2qz7wpl", "qwzvxkjh"]):
        c.dns(500 * k + 7, "10.0.0.108", f"{name}.example", rcode=3)


@case("dga", "burst_of_random_domains", "device:10.0.0.107 score>=3 control")
def _(c):
    for k in range(40):
        c.dns(3 * k, "10.0.0.107", f"{c.label('abcdefghijklmnopqrstuvwxyz', 12, 18)}.{c.random.choice(['com', 'net', 'biz'])}", rcode=3)


@case("dga", "typing_mistakes_and_expired_names")
def _(c):
    names = ["gooogle.com", "faceboook.com", "old-bakery-shop.net", "summerfestival.org", "wetherchannel.com",
             "my-printer-driver.com", "cityhall-news.net"]
    for k in range(35):
        c.dns(90 * k, "10.0.0.104", f"www.{names[k % 7]}", rcode=3)


@case("dga", "probes_for_interception")
def _(c):
    for k in range(9):
        c.dns(400 * k, "10.0.0.104", c.label("abcdefghijklmnopqrstuvwxyz", 7, 15), rcode=3)
        c.dns(400 * k + 1, "10.0.0.104", c.label("abcdefghijklmnopqrstuvwxyz", 7, 15) + ".office.example", rcode=3)


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
