"""Command line: `week`, `small`, `one`, `list`, `check` and the inner `segment` that lives one segment."""

import argparse
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time

from . import plans
from .site import Site

NEEDED = """ip ethtool tcpdump dnsmasq dhclient nginx sshd samba smbclient kinit postfix dovecot vsftpd mosquitto
mosquitto_pub squid chronyd snmpd snmpget curl wget swaks dig fping lftp sshpass nmap hydra iodine iodined arpspoof
hping3 unshare rsync""".split()


def missing_tools():
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/sbin"
    os.environ["PATH"] = path
    return [t for t in NEEDED if not shutil.which(t)]


def private(argv):
    """The command line that runs `argv` in its own mount, pid and network namespaces.

    The pid namespace's first process dies with us and takes every server and client along, which
    is the whole clean-up; the mounts and network namespaces go with their last process.
    """
    flags = ["-nmpu", "--fork", "--kill-child=KILL", "--mount-proc"]
    if os.geteuid() != 0:
        flags = ["-Urnmpu", "--map-auto", "--fork", "--kill-child=KILL", "--mount-proc"]
    return ["unshare", *flags, sys.executable, os.path.abspath(sys.argv[0]), *argv]


def run_segment(plan_args, name, out, limit):
    """Runs one segment in a child; -> its result, or None with a message on stderr."""
    argv = private(["segment", name, "--out", out, "--limit", str(limit), *plan_args])
    log = f"{out}/{name}.log"
    os.makedirs(out, exist_ok=True)
    with open(log, "wb") as f:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=f, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            rc = child.wait(timeout=limit + 240)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            rc = 124
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            raise
    path = f"{out}/{name}.json"
    if rc != 0 or not os.path.exists(path):
        tail = open(log, encoding="utf-8", errors="replace").read()[-1500:]
        print(f"lab: segment {name} failed (exit {rc}): {tail}", file=sys.stderr)
        return None
    return json.load(open(path, encoding="utf-8"))


def inner(args):
    """Inside the private namespaces: live one segment."""
    from . import segment
    site = Site(args.seed)
    plan = {s.name: s for s in plans.PLANS[args.plan](site, args)}
    result = segment.live(plan[args.name], args.out, args.site, args.limit)
    print(json.dumps(result, indent=1))
    sys.stdout.flush()
    os._exit(0)


def generate(args):
    site = Site(args.seed)
    args.out = os.path.abspath(args.out)
    args.site = os.path.abspath(args.site or f"{args.out}/site")
    os.makedirs(args.site, exist_ok=True)
    wanted = [s for s in plans.PLANS[args.plan](site, args) if not args.scenario or s.name in args.scenario]
    if not wanted:
        sys.exit(f"lab: no scenario named {args.scenario}; see `lab/run list`")
    plan_args = ["--seed", str(args.seed), "--days", str(args.days), "--plan", args.plan, "--density", str(args.density),
                 "--scale", str(args.scale), "--site", args.site]
    bad = 0
    for s in wanted:
        if os.path.exists(f"{args.out}/{s.name}.json") and not args.again:
            continue
        claim = open(f"{args.out}/{s.name}.lock", "w", encoding="ascii")
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # another run works on it
        t = time.time()
        r = run_segment(plan_args, s.name, args.out, args.limit)
        bad += r is None
        if r:
            print(f"{s.name}: {r['capture']['packets']} packets, {r['done']} activities, failed {sum(v[0] for v in r['failed'].values())}, "
                  f"{os.path.getsize(f'{args.out}/{s.name}.pcap.gz')} bytes gz, {time.time() - t:.0f} s", flush=True)
            if not r["complete"]:
                print(f"  cut off at the real limit of {args.limit} s", flush=True)
    plans.write_manifest(site, plans.PLANS[args.plan](site, args), args.out)
    print(f"manifest: {args.out}/manifest.toml")
    return 1 if bad else 0


def main(argv):
    p = argparse.ArgumentParser(prog="lab/run", description="A small office in namespaces: captures with known truth.")
    sub = p.add_subparsers(dest="command", required=True)
    for command in ("week", "small", "segment", "list", "manifest"):
        q = sub.add_parser(command)
        if command == "segment":
            q.add_argument("name")
        q.add_argument("--out", default="lab-out")
        q.add_argument("--site", help="folder of the site's keys (default OUT/site)")
        q.add_argument("--seed", type=int, default=1)
        q.add_argument("--days", type=int, default=5, help="quiet working days before the attack day")
        q.add_argument("--plan", default="small" if command == "small" else "week")
        q.add_argument("--density", type=float, default=0.1 if command == "small" else 1.0, help="how busy people are")
        q.add_argument("--scale", type=float, default=0.02 if command == "small" else 1.0, help="factor on transfer sizes")
        q.add_argument("--scenario", action="append", help="only this one (again for more)")
        q.add_argument("--limit", type=int, default=1500, help="real seconds a segment may take")
        q.add_argument("--again", action="store_true", help="make segments anew that exist already")
    args = p.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the child is ended on the way out
    if args.command in ("week", "small"):
        absent = missing_tools()
        if absent:
            sys.exit(f"lab: missing programs: {', '.join(absent)}; run lab/setup")
        return generate(args)
    missing_tools()
    if args.command == "segment":
        return inner(args)
    site = Site(args.seed)
    if args.command == "manifest":
        plans.write_manifest(site, plans.PLANS[args.plan](site, args), args.out)
        return 0
    for s in plans.PLANS[args.plan](site, args):
        print(f"{s.name:18} {s.title}")
    return 0
