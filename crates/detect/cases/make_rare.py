#!/usr/bin/env python3
"""Makes the cases of joint_anomaly and of the rare_* detectors: days of habit, then something new (loud) or more of the
same, or novelty from someone who is always new (quiet). Run in this folder; no arguments."""

import json
import pathlib

HERE = pathlib.Path(__file__).parent
DAY, HOUR = 86_400, 3_600
START = 1_700_000_000 // HOUR * HOUR


def stamp(second):
    import datetime

    return datetime.datetime.fromtimestamp(START + second, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Case:
    def __init__(self, detector, name):
        self.folder = HERE / detector / name
        self.events = []

    def add(self, second, client, server, port, kind, **body):
        self.events.append((second, client, server, port, kind, body))

    def add_traffic(self, second, addr, busy, **odd):
        body = {"addr": addr, "secs": 10.0, "packets_out": 10 * busy, "packets_in": 8 * busy,
                "bytes_out": 9_000 * busy, "bytes_in": 700 * busy, "size_mean": 540.0,
                "size_std": 300.0, "gap_mean": 0.5 / busy, "gap_std": 0.2 / busy, "peers": 3,
                "ports_out": 2, "syn_out": 1, "syn_in": 0, "rst": 0, "udp": 4, "icmp": 0,
                "group_out": 1}
        self.add(second, None, None, 0, "traffic", **(body | odd))

    def write(self, expect):
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = []
        ordered = sorted(self.events, key=lambda event: event[0])
        for index, (second, client, server, port, kind, body) in enumerate(ordered):
            conn = {"client": {"addr": client, "port": 40_000 + index % 20_000},
                    "server": {"addr": server, "port": port}}
            event = {"id": f"{1:016x}-{index}", "ts": stamp(second), "conn": conn, "kind": kind}
            if client is None:
                del event["conn"]
            lines.append(json.dumps(event | body, separators=(",", ":")))
        (self.folder / "events.jsonl").write_text("\n".join(lines) + "\n")
        (self.folder / "expect.txt").write_text(expect)


def tls(case, second, client, host, ja4="t13d1516h2_8daaf6152771_e5627efa2ab1"):
    number = sum(host.encode()) % 200 + 1
    case.add(second, client, f"93.184.{number}.10", 443, "tls", sni=host, ja4=ja4)


def http(case, second, client, agent):
    case.add(second, client, "93.184.5.10", 80, "http", host="www.example.org", user_agent=agent)


def flow(case, second, client, server, port, service):
    case.add(second, client, server, port, "flow", state="SF", service=service,
             server_packets=5, client_packets=5)


CAMERA, LAPTOP = "10.0.0.40", "10.0.0.7"
THREE = ["time.vendor.com", "cloud.vendor.net", "update.vendor.org"]


def habit(case, days, do):
    for hour in range(days * 24):
        for turn, what in enumerate(THREE):
            do(case, hour * HOUR + 60 + turn * 300, CAMERA, what)


def destination():
    loud = Case("rare_destination", "camera_calls_somewhere_new")
    habit(loud, 14, tls)
    for turn in range(4):
        tls(loud, 14 * DAY + 600 + turn * 120, CAMERA, f"host{turn}.drop{turn}.xyz")
    loud.write(f"device:{CAMERA} score>=4 unusual\n")
    quiet = Case("rare_destination", "camera_keeps_its_habits")
    habit(quiet, 14, tls)
    quiet.write("")
    quiet = Case("rare_destination", "person_browses")
    for visit in range(14 * 40):
        tls(quiet, visit * 2_100, LAPTOP, f"www.site{visit}.com")
    quiet.write("")


def fingerprint():
    loud = Case("rare_ja4", "camera_gets_new_software")
    habit(loud, 14, tls)
    for turn in range(3):
        tls(loud, 14 * DAY + 600 + turn, CAMERA, THREE[0], f"t12d0509h1_{turn:012x}_000000000000")
    loud.write(f"device:{CAMERA} score>=4 unusual\n")
    quiet = Case("rare_ja4", "camera_keeps_its_software")
    habit(quiet, 14, tls)
    quiet.write("")


def agent():
    def ask(case, second, client, host):
        http(case, second, client, f"vendor-{host[:4]}/1.0")

    loud = Case("rare_user_agent", "camera_runs_unknown_programs")
    habit(loud, 14, ask)
    for turn, name in enumerate(["loader", "fetcher", "runner"]):
        http(loud, 14 * DAY + 600 + turn, CAMERA, f"{name}/2.1")
    loud.write(f"device:{CAMERA} score>=4 unusual\n")
    quiet = Case("rare_user_agent", "a_new_version_is_not_a_new_program")
    habit(quiet, 14, ask)
    for turn in range(20):
        http(quiet, 14 * DAY + 600 + turn * 30, CAMERA, f"vendor-time/1.{turn}")
    quiet.write("")


def service():
    servers = {"time.vendor.com": ("10.0.0.2", "smb", 445), "cloud.vendor.net": ("10.0.0.3", "dns", 53),
               "update.vendor.org": ("10.0.0.4", "http", 80)}

    def use(case, second, client, host):
        server, name, port = servers[host]
        flow(case, second, client, server, port, name)

    loud = Case("rare_service", "workstation_opens_desktops_of_others")
    habit(loud, 14, use)
    for turn in range(5):
        flow(loud, 14 * DAY + 600 + turn * 60, CAMERA, f"10.0.0.{60 + turn}", 3389, "rdp")
    loud.write(f"device:{CAMERA} score>=4 lateral\n")
    quiet = Case("rare_service", "workstation_uses_its_servers")
    habit(quiet, 14, use)
    quiet.write("")


def joint():
    def minutes(case, hours):
        for minute in range(hours * 60):
            busy = 1 + (minute * 7) % 11
            case.add_traffic(minute * 60, CAMERA, busy)

    loud = Case("joint_anomaly", "camera_sends_much_and_gets_little")
    minutes(loud, 8)
    for minute in range(3):
        loud.add_traffic((8 * 60 + minute) * 60, CAMERA, 6, bytes_out=9_000_000, packets_in=2,
                         bytes_in=120, peers=90, syn_out=400, rst=380)
    loud.add_traffic((8 * 60 + 5) * 60, CAMERA, 5)
    loud.write(f"device:{CAMERA} score>=2 unusual\n")
    quiet = Case("joint_anomaly", "camera_is_busier_and_calmer_in_proportion")
    minutes(quiet, 9)
    quiet.write("")


for make in (destination, fingerprint, agent, service, joint):
    make()
