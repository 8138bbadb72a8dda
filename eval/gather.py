"""The cases of each public set, by the rules in eval/README.md. Used by make-manifests.

A case is a dict: name, kind ("attack" or "benign"), input (paths below the set's folder), entities,
window (two RFC 3339 stamps), techniques, device_days (benign). Nothing here comes from a detector.
"""

import csv
import gzip
import hashlib
import json
import re
from collections import Counter, defaultdict
from datetime import datetime, timezone
from pathlib import Path

from pcapfile import packets
from prepare import AIT_QUIET, AIT_SCENARIOS
from survey import busiest_internal, initiator, internal, pair, stamp, survey

DAY = 86400.0
# A source of attacks from the Internet is an entity when the set labels at least this many of its flows.
LABELLED_FLOWS_MIN = 20


def attack(name, inputs, entities, techniques=(), window=None):
    """An attack case."""
    return {"name": name, "kind": "attack", "input": inputs, "entities": entities,
            "techniques": list(techniques), "window": window}


def benign(name, inputs, device_days):
    """A benign case and the device-days it gives."""
    return {"name": name, "kind": "benign", "input": inputs, "device_days": device_days}


def zeek(path):
    """Records of a Zeek log, TSV or JSON."""
    fields = None
    for line in Path(path).read_text(errors="replace").splitlines():
        line = line.lstrip("\t")
        if line.startswith("#fields"):
            fields = line.split("\t")[1:]
        elif line.startswith("{"):
            yield json.loads(line)
        elif fields and line and not line.startswith("#"):
            yield dict(zip(fields, line.split("\t")))


def look(path):
    """Survey of one capture."""
    return survey(Path(path).read_bytes())


def slug(text):
    """A case name from a file name."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def gather_rita(root):
    """DATA.md: one proxy client with a beacon; rolling logs with nothing to find."""
    spans = defaultdict(list)

    for path in sorted((root / "proxy_rolling").glob("conn.*.log.gz")):
        fields = []
        for line in gzip.decompress(path.read_bytes()).decode().splitlines():
            cells = line.split("\t")
            if cells[0] == "#fields":
                fields = cells[1:]
            elif not line.startswith("#"):
                row = dict(zip(fields, cells))
                source = row["id.orig_h"]
                if row["local_orig"] == "T" and not source.startswith(("0.", "255.", "fe80", "::", "169.254.")):
                    spans[source].append(float(row["ts"]))
    days = sum(max(times) - min(times) for times in spans.values()) / DAY
    return [
        attack("rita-proxy-beacon", ["proxy"], ["10.136.0.18"], ["T1071.001", "T1090"]),
        benign("rita-proxy-rolling", ["proxy_rolling"], days),
    ]


def gather_ares(root):
    """cs* are Cobalt Strike; implant and team server are alone in each capture."""
    cases = []
    for path in sorted(root.glob("*/cs*.pcap*")):
        profile = path.parent.name
        technique = "T1071.004" if "dns" in path.name else "T1071.001"
        cases.append(attack(f"ares-{slug(profile)}-{slug(path.stem)}", [f"{profile}/{path.name}"],
                            pair(look(path)), [technique]))
    return cases


def gather_stratosphere(root):
    """Labels of the set; see eval/README.md for 004, 006 (none) and 007 (README: infected)."""
    rows = [line.split("\t") for line in (root / "001-zeek-scenario-malicious/labeled-conn.log").read_text().splitlines()
            if line and not line.startswith("#")]
    infected = Counter(row[2] for row in rows if "Malicious" in row[-3:])
    cases = [
        attack("stratosphere-001-njrat", ["001-zeek-scenario-malicious/conn.log"], [infected.most_common(1)[0][0]],
               ["T1571"]),
        attack("stratosphere-002-nmap", ["002-zeek-scenario-port-scanning/conn.log"], ["172.16.1.11"], ["T1046"]),
        attack("stratosphere-003-android-rat",
               ["003-zeek-scenario-malicious/conn.log", "003-zeek-scenario-malicious/dns.log"],
               sorted({r["id.orig_h"] for r in zeek(root / "003-zeek-scenario-malicious/conn.log")
                       if r["id.resp_p"] == "1337"}), ["T1571"]),
        attack("stratosphere-007-ssh-infected",
               [f"007-zeek-scenario-ssh-infected/{n}.log" for n in ("http", "notice", "software", "ssh")],
               ["192.168.1.194"], ["T1110"]),
    ]
    for name, device in (("008-zeek-mixed", "147.32.81.167"), ("010-zeek-mixed", "147.32.83.234")):
        flows = list(zeek(root / name / "data/conn.log.labeled"))
        sources = Counter(r["id.orig_h"] for r in flows if r["label"] == "Malicious" and r["id.resp_h"] == device)
        wanted = {r["id.resp_h"] for r in flows if r["label"] == "Benign" and r["id.orig_h"] == device}
        loud = sorted(a for a, n in sources.items() if n >= LABELLED_FLOWS_MIN and a not in wanted)
        times = [float(r["ts"]) for r in flows]
        cases.append(attack(f"stratosphere-{name[:3]}-internet-scans", [f"{name}-all"], loud, ["T1595", "T1110"]))
        cases.append(benign(f"stratosphere-{name[:3]}-without-attacks", [f"{name}-benign"],
                            (max(times) - min(times)) / DAY))
    return cases


def gather_slips(root):
    """Folder names; test18 by its labels."""
    def logs(folder):
        return [f"{folder}/{p.name}" for p in sorted((root / folder).glob("*.log")) if p.name != "loaded_scripts.log"]

    labelled = zeek(root / "test18-malicious-ctu-sme-11-win/zeek-labeled/conn.log.labeled")
    rat = Counter(r["id.orig_h"] for r in labelled if r["label"] == "Malicious").most_common(1)[0][0]
    test8 = look(root / "test8-malicious.pcap")
    eve = Counter()
    for line in (root / "test6-malicious.suricata.json").read_text().splitlines():
        record = json.loads(line)
        eve.update(a for a in (record.get("src_ip"), record.get("dest_ip")) if a and ":" not in a and internal(a))
    return [
        attack("slips-horizontal-scan", ["port-scans/horizontal/conn.log"], ["10.0.2.112"], ["T1046"]),
        attack("slips-vertical-scan", ["port-scans/vertical/conn.log"], ["192.168.1.9"], ["T1046"]),
        attack("slips-c2-1", ["test-cc/test-cc-capture-1.pcap"],
               [initiator(look(root / "test-cc/test-cc-capture-1.pcap"))], ["T1071"]),
        attack("slips-c2-2", ["test-cc/test-cc-capture-2.pcap"],
               [initiator(look(root / "test-cc/test-cc-capture-2.pcap"))], ["T1071"]),
        attack("slips-test6-suricata", ["test6-malicious.suricata.json"], [eve.most_common(1)[0][0]]),
        attack("slips-test7", ["test7-malicious.pcap"], [busiest_internal(look(root / "test7-malicious.pcap"))]),
        attack("slips-test8", ["test8-malicious.pcap"], [max(test8["arp"], key=test8["arp"].get)]),
        attack("slips-test9-mixed", logs("test9-mixed-zeek-dir"), ["10.0.2.15"]),
        attack("slips-test12-icmp-scan", ["test12-icmp-portscan.pcap"],
               [initiator(look(root / "test12-icmp-portscan.pcap"))], ["T1018"]),
        attack("slips-test13-dhcp-scan", logs("test13-malicious-dhcpscan-zeek-dir"), ["192.168.1.30"]),
        attack("slips-test14", logs("test14-malicious-zeek-dir"), ["10.0.2.15"]),
        attack("slips-test15", logs("test15-malicious-zeek-dir"), ["10.0.2.15"]),
        attack("slips-test18-remcos", ["test18-malicious-ctu-sme-11-win-all"], [rat], ["T1041", "T1071"]),
        attack("slips-test19-ssh-brute-force", ["test19-malicious-ssh/malicious-ssh-bruteforce.pcap"],
               pair(look(root / "test19-malicious-ssh/malicious-ssh-bruteforce.pcap")), ["T1110.001"]),
    ]


def gather_dns_tunnel(root):
    """Folder names. One benign case of all normal captures: one client and its resolver, cut by size.

    Single packets of a file lie hours off, so the device-days count the five minutes that hold packets.
    """
    normal = sorted((root / "normal").glob("*.pcap"))
    busy = {int(when // 300) for path in normal for when, _, _ in packets(path.read_bytes())}
    cases = [benign("dns-tunnel-normal", [f"normal/{p.name}" for p in normal], len(busy) * 300 / DAY)]
    for path in [root / "iodine-cname.pcap", *sorted((root / "dnscat2-cname").glob("*.pcap"))]:
        found = look(path)
        cases.append(attack(f"dns-tunnel-{slug(path.stem.split('_')[0])}", [str(path.relative_to(root))],
                            [initiator(found)], ["T1071.004", "T1572"]))
    return cases


def metadata(root):
    """Archive stem -> (techniques, text) of the OTRF metadata, and machine name -> address where they pair them."""
    out, machines = {}, {}
    for path in sorted((root / "_metadata").glob("*.yaml")):
        text = path.read_text(errors="replace")
        techniques = []
        for match in re.finditer(r"technique:\s*(T\d{4})\s*\n\s*sub-technique:\s*([^\n]*)", text):
            sub = re.search(r"\d{3}", match[2])
            if match[1] != "T0000":
                techniques.append(match[1] + (f".{sub[0]}" if sub else ""))
        for link in re.findall(r"/network/([A-Za-z0-9_.-]+?)\.(?:zip|tar\.gz|cap)\b", text):
            out[link] = (list(dict.fromkeys(techniques)), text)
        for address, machine in re.findall(r"(\d+\.\d+\.\d+\.\d+) +([A-Z][A-Z0-9-]{5,14})\b", text):
            machines.setdefault(machine, address)
    return out, machines


def gather_otrf(root):
    """One case per archive: the hosts that the metadata name (address or machine name), and the initiators."""
    groups = defaultdict(list)
    for path in sorted([*root.glob("*/network/**/*.cap"), *root.glob("*/network/**/*.pcapng")]):
        relative = path.relative_to(root)
        groups[relative.parts[0], relative.parts[2] if len(relative.parts) > 3 else path.stem].append(path)
    (known, machines), cases = metadata(root), []
    for (tactic, name), paths in sorted(groups.items()):
        techniques, text = known.get(name) or known.get(name.removesuffix("_pcap"), ([], ""))
        text += " ".join(path.stem.replace("_", " ") for path in paths)
        named = set(re.findall(r"\d+\.\d+\.\d+\.\d+", text))
        named.update(a for machine, a in machines.items() if re.search(rf"\b{machine}\b", text, re.IGNORECASE))
        entities = set()
        for path in paths:
            found = look(path)
            entities.update(a for a in found["hosts"] if internal(a) and a in named)
            entities.add(initiator(found))
        cases.append(attack(f"otrf-{slug(tactic)}-{slug(name)}", [str(p.relative_to(root)) for p in paths],
                            sorted(entities), techniques))
    return cases


def gather_apt29(root):
    """The two hosts whose sensors recorded the emulated intrusion; addresses from their own flows."""
    del root
    return [attack("apt29-day1", ["SCRANTON", "NASHUA"], ["10.0.1.4", "10.0.1.6"],
                   ["T1071.001", "T1021.002", "T1021.006", "T1570"])]


def gather_zerologon(root):
    """Exploit and test tool against two domain controllers: the attacker begins, the other is the victim."""
    return [attack(f"zerologon-{slug(p.stem.removeprefix('CVE-2020-1472_'))}", [f"Traces/{p.name}"], pair(look(p)),
                   ["T1210"]) for p in sorted((root / "Traces").glob("*.pcap"))]


def gather_mta(root):
    """The victim is the one internal host that opens connections; pages of telephone scams infect nobody."""
    cases = []
    for path in sorted(root.glob("*.pcap")):
        if re.search(r"tech-(support-)?scam", path.name):
            continue
        victim = busiest_internal(look(path))
        if victim:
            cases.append(attack(f"mta-{slug(path.stem)}", [path.name], [victim]))
    return cases


def gather_ait(root):
    """time_label and event_label of the set; windows from the labelled alerts themselves."""
    cases = []
    for scenario in AIT_SCENARIOS:
        with open(next((root / "alerts_csv").rglob(f"{scenario}_alerts.txt")), newline="") as stream:
            rows = list(csv.DictReader(stream))
        hosts = Counter(r["ip"] for r in rows if r["event_label"] != "-")
        intrusion = [float(r["time"]) for r in rows if r["time_label"] not in ("false_positive", "dnsteal", "service_stop")]
        cases.append(attack(f"ait-{scenario}", [f"{scenario}/all/eve.json"], sorted(hosts),
                            ["T1046", "T1595.003", "T1505.003", "T1110", "T1068", "T1048"],
                            [stamp(min(intrusion)), stamp(max(intrusion) + 1)]))
        if scenario in AIT_QUIET:
            start, end = (datetime.strptime(t, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp()
                          for t in AIT_QUIET[scenario])
            devices = len({r["ip"] for r in rows})
            cases.append(benign(f"ait-{scenario}-quiet", [f"{scenario}/quiet/eve.json"], (end - start) / DAY * devices))
    return cases


MARKOFU_OTHER = {
    "EvilFingers/XScan/xscan_capture.pcap": ("xscan", ["T1595.002", "T1046"]),
    "EvilFingers/xprobe_pcaps/xprobe icmp tcp scan/xprobe tcp scan filter.pcap": ("xprobe-tcp-scan", ["T1046"]),
    "EvilFingers/xprobe_pcaps/xprobe icmp udp scan/xprobe icmp udp scan.pcap": ("xprobe-udp-scan", ["T1046"]),
    "EvilFingers/ie_aurora/ie_aurora/ie_aurora_WinXP_successfulExploitation.pcap": ("aurora-exploitation", ["T1203"]),
    "HoneyNet/0110/attack-trace.pcap": ("honeynet-attack-trace", ["T1210"]),
    "PracticalPacketAnalysis/ppa-capture-files/ftp-crack.pcap": ("ftp-crack", ["T1110.001"]),
    "PracticalPacketAnalysis/ppa-capture-files/portscan.pcap": ("portscan", ["T1046"]),
    "PracticalPacketAnalysis/ppa-capture-files/dosattack.pcap": ("dosattack", ["T1498"]),
}


def gather_markofu(root):
    """File names: scans, guessing, floods. A flood has forged sources: its entity is the target."""
    cases = []
    scans = root / "EvilFingers/NMAP_PCAPS/NMAP SCAN ANALYSIS"
    for path in sorted(scans.glob("*/*.pcap")):
        cases.append(attack(f"markofu-nmap-{slug(path.stem.replace('_', '-'))}", [str(path.relative_to(root))],
                            pair(look(path)), ["T1046"]))
    for relative, (name, techniques) in MARKOFU_OTHER.items():
        found = look(root / relative)
        entities = [found["targets"][0][0]] if name == "dosattack" else pair(found)
        cases.append(attack(f"markofu-{name}", [relative], entities, techniques))
    return cases


def gather_stopddos(root):
    """One-way captures of real floods: the entity is the address that gets most packets."""
    return [attack(f"stopddos-{slug(p.stem)}", [p.name], [look(p)["targets"][0][0]],
                   ["T1498.002" if p.name.startswith("amp.") else "T1498.001"])
            for p in sorted([*root.glob("*.pcap"), *root.glob("*.pcapng")])]


ACANDEIAS = {
    # file: (who, techniques); victim = busiest internal host, pair = initiator and its peer.
    "angler-java.pcap": ("victim", ["T1189"]),
    "blackhole.pcap": ("victim", ["T1189"]),
    "blackholev2.pcap": ("victim", ["T1189"]),
    "dns-tunnel.pcap": ("pair", ["T1572", "T1071.004"]),
    "icmp-tunnel.pcap": ("pair", ["T1095"]),
    "ircdAttack.pcapng": ("pair", ["T1210"]),
    "metasploit-psexec.pcap": ("pair", ["T1569.002", "T1021.002"]),
    "ms08-067.pcap": ("pair", ["T1210"]),
    "ms10-002-aurora.pcap": ("pair", ["T1203"]),
    "mswab-yayih.pcap": ("victim", ["T1071"]),
    "spambot.pcap": ("victim", ["T1496"]),
    "tesla.pcap": ("victim", ["T1486"]),
    "tijcont.pcap": ("victim", ["T1071"]),
    "zeus-gameover-loader.pcap": ("victim", ["T1105"]),
}


def gather_acandeias(root):
    """File names, where the name says what happened and the capture is whole; normal/ is benign."""
    cases = []
    for name, (who, techniques) in ACANDEIAS.items():
        found = look(root / name)
        entities = [busiest_internal(found)] if who == "victim" else pair(found)
        cases.append(attack(f"acandeias-{slug(Path(name).stem)}", [name], entities, techniques))
    quiet = sorted((root / "normal").rglob("*.pcap"))
    seconds = 0.0
    for path in quiet:
        found = look(path)
        seconds += found["last"] - found["first"]
    cases.append(benign("acandeias-normal", [str(p.relative_to(root)) for p in quiet], seconds / DAY))
    return cases


def gather_ics_iti(root):
    """quickdraw: traffic made to fire the sensor's signatures. A production control room is benign."""
    cases, seen = [], set()
    for path in sorted((root / "quickdraw").glob("*.pcap")):
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        if digest in seen or "View Device Status" in path.name:
            continue
        seen.add(digest)
        hosts = pair(survey(data))
        if len(hosts) < 2:  # no conversation between two hosts in it
            continue
        cases.append(attack(f"ics-quickdraw-{slug(path.stem)}", [f"quickdraw/{path.name}"], hosts,
                            ["T0855" if "test_data" in path.stem else "T0836"]))
    for name in ("s7/wincc_s400_production.pcapng", "s7/s7-1200-hmi.pcap"):
        found = look(root / name)
        cases.append(benign(f"ics-{slug(Path(name).stem)}", [name],
                            (found["last"] - found["first"]) / DAY * len(found["hosts"])))
    return cases


def gather_iot(root):
    """One benign case a device folder: the captures of its repeated set-up, one after the other."""
    cases = []
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        timed = []
        for path in folder.glob("*.pcap"):
            found = look(path)
            if found["packets"]:
                timed.append((found["first"], found["last"], path.name))
        timed.sort()
        cases.append(benign(f"iot-{slug(folder.name)}", [f"{folder.name}/{name}" for _, _, name in timed],
                            sum(last - first for first, last, _ in timed) / DAY))
    return cases


GATHER = {
    "rita": gather_rita,
    "ares2025": gather_ares,
    "stratosphere": gather_stratosphere,
    "slips": gather_slips,
    "dns-tunnel": gather_dns_tunnel,
    "otrf": gather_otrf,
    "apt29-day1": gather_apt29,
    "zerologon": gather_zerologon,
    "mta": gather_mta,
    "ait": gather_ait,
    "markofu": gather_markofu,
    "stopddos": gather_stopddos,
    "acandeias": gather_acandeias,
    "ics-iti": gather_ics_iti,
    "iot-sentinel": gather_iot,
}
