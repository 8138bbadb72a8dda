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
