"""One segment: build the site, live a stretch of virtual time, write capture and event log."""

import json
import os
import shutil
import subprocess
import time

from . import benign, netns, pcap, services
from .clock import World


class Segment:
    """`start` and `end` are virtual times; `attacks` is a list of (start time, function, arguments)."""

    def __init__(self, site, name, start, end, density=1.0, scale=1.0, attacks=(), techniques=(), entities=None, title=""):
        self.site, self.name, self.start, self.end = site, name, start, end
        self.density, self.scale, self.attacks = density, scale, list(attacks)
        self.techniques, self.entities, self.title = list(techniques), entities, title


def capture_start(path):
    p = subprocess.Popen(["ip", "netns", "exec", "wire", "tcpdump", "-i", "mon0", "-s", "0", "-n", "-U", "-B", "65536", "--immediate-mode",
                          "-w", path], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.time() + 10
    while not os.path.exists(path) and time.time() < deadline:
        time.sleep(0.05)
    return p


def live(segment, out, site_dir, real_limit):
    """Runs one segment inside private namespaces. Writes OUT/NAME.pcap.gz, NAME.events.jsonl, NAME.json."""
    site, name = segment.site, segment.name
    os.makedirs(out, exist_ok=True)
    os.makedirs(site_dir, exist_ok=True)
    netns.private_mounts()
    net = netns.Network(site).build()
    srv = services.Services(site, site_dir, segment.scale)
    began = time.time()
    srv.up()
    up_s = time.time() - began
    raw = "/run/lab/raw.pcap"
    dump = capture_start(raw)
    time.sleep(0.3)
    world = World(segment.start, f"{out}/{name}.events.jsonl", net.fds, lambda: os.stat(raw).st_size)
    world.log("segment", name=name, seed=site.seed)
    world.site, world.scale, world.density = site, segment.scale, segment.density
    planned = benign.plan(world, segment.start, segment.end)
    for d in benign.asleep(site, segment.start, segment.end, segment.density, {x[2] for x in segment.attacks}):
        netns.sh(f"ip netns exec {d.name} ip link set eth0 down")
    for when, fn, device, args in segment.attacks:
        world.at(when, site.by_name[device], fn, *args, case=name)
    complete = world.run(segment.end, real_limit)
    time.sleep(0.3)
    dump.terminate()
    message = dump.communicate(timeout=10)[1].decode()
    dropped = [x for x in message.splitlines() if "dropped by kernel" in x]
    stats = pcap.rewrite(raw, f"{out}/{name}.pcap.gz.part", world.map, segment.end + 3600)
    os.replace(f"{out}/{name}.pcap.gz.part", f"{out}/{name}.pcap.gz")
    result = {"name": name, "title": segment.title, "seed": site.seed, "start": segment.start, "end": segment.end, "complete": complete, "planned": planned,
              "done": world.done, "failed": {k: v[:2] for k, v in world.failed.items()}, "cases": world.cases, "techniques": segment.techniques,
              "entities": segment.entities, "ended_services": srv.check(), "capture": stats, "tcpdump": dropped, "jumps": len(world.map),
              "up_s": round(up_s, 1), "real_s": round(time.time() - began, 1), "devices": len(site.devices)}
    with open(f"{out}/{name}.json", "w", encoding="utf-8") as f:
        json.dump(result, f, indent=1)
    for k, v in world.failed.items():
        with open(f"{out}/{name}.failures.txt", "a", encoding="utf-8") as f:
            f.write(f"== {k} x{v[0]}: {v[1]}\n{v[2]}\n")
    if os.environ.get("THYMUS_LAB_KEEP_LOGS"):
        shutil.copytree("/run/lab", f"{out}/{name}.logs", ignore=shutil.ignore_patterns("*.pcap", "dovecot", "*.sock"), ignore_dangling_symlinks=True, dirs_exist_ok=True)
    return result
