"""The virtual clock and the scheduler of activities.

Activities that fall together in virtual time run together, at real speed. When none runs, the
clock waits until the wire is silent and then jumps to the next activity. Every jump is one point
(real, virtual) of the map that `pcap.rewrite` applies to the capture afterwards.
"""

import ctypes
import datetime as dt
import heapq
import itertools
import json
import os
import signal
import subprocess
import threading
import time
import traceback

_libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


def enter_netns(fd):
    """Moves the calling thread (and what it starts) into the network namespace behind `fd`."""
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns failed")


def iso(t):
    return dt.datetime.fromtimestamp(t, dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


class World:
    """Runs activities on a virtual clock and writes the event log."""

    def __init__(self, start, log_path, netns_fds, wire_bytes, settle=0.025):
        self.offset = start - time.time()
        self.map = [(time.time(), start)]
        self.lock = threading.Condition()
        self.heap, self.count = [], itertools.count()
        self.running = 0
        self.log_file = open(log_path, "w", encoding="utf-8")
        self.log_lock = threading.Lock()
        self.netns_fds = netns_fds
        self.wire_bytes = wire_bytes
        self.settle_s = settle
        self.failed = {}
        self.done = 0
        self.cases = {}
        self.stop = False

    def now(self):
        return time.time() + self.offset

    def log(self, what, **more):
        line = {"time": iso(self.now()), "real": round(time.time(), 6), "what": what, **more}
        with self.log_lock:
            self.log_file.write(json.dumps(line, ensure_ascii=True) + "\n")

    def at(self, when, device, fn, *args, case=None):
        """Schedules `fn(act, *args)` on `device` at virtual time `when`."""
        with self.lock:
            heapq.heappush(self.heap, (when, next(self.count), ("start", device, fn, args, case)))
            self.lock.notify_all()

    def _launch(self, device, fn, args, case):
        self.running += 1
        threading.Thread(target=self._run, args=(device, fn, args, case), daemon=True).start()

    def _run(self, device, fn, args, case):
        act = Activity(self, device, case)
        name = fn.__name__
        begin = self.now()
        try:
            enter_netns(self.netns_fds[device.name])
            act.detail = fn(act, *args)
            outcome = "ok"
        except Exception as error:  # an activity that fails must not end the day
            outcome = f"{type(error).__name__}: {error}"[:200]
            with self.lock:
                self.failed.setdefault(name, [0, outcome, traceback.format_exc()])[0] += 1
        end = self.now()
        detail = act.detail if isinstance(act.detail, (str, int, float, list, tuple, dict)) else None
        self.log(name, device=device.name, ip=device.ip, begin=iso(begin), case=case, outcome=outcome, detail=detail)
        with self.lock:
            if case:
                c = self.cases.setdefault(case, {"begin": begin, "end": end, "devices": []})
                c["begin"], c["end"] = min(c["begin"], begin), max(c["end"], end)
                if device.ip not in c["devices"]:
                    c["devices"].append(device.ip)
            self.running -= 1
            self.done += 1
            self.lock.notify_all()

    def _settle(self):
        """Waits until the capture has not grown for a moment (at most half a second)."""
        deadline, last, quiet = time.time() + 0.5, self.wire_bytes(), time.time()
        while time.time() < deadline:
            time.sleep(0.006)
            size = self.wire_bytes()
            if size != last:
                last, quiet = size, time.time()
            elif time.time() - quiet >= self.settle_s:
                return

    def run(self, end, real_limit):
        """Runs until the virtual time `end` or until `real_limit` seconds have passed."""
        started = time.time()
        while not self.stop and time.time() - started < real_limit:
            with self.lock:
                while self.heap and self.heap[0][0] <= self.now():
                    _, _, item = heapq.heappop(self.heap)
                    if item[0] == "wake":
                        self.running += 1
                        item[1].set()
                    else:
                        self._launch(*item[1:])
                busy, upcoming = self.running, (self.heap[0][0] if self.heap else end)
                if busy:
                    self.lock.wait(min(max(upcoming - self.now(), 0.001), 0.1))
                    continue
                if not self.heap and self.now() >= end:
                    return True
            gap = upcoming - self.now()
            if gap <= 0.1:
                time.sleep(max(gap, 0))
                continue
            self._settle()
            with self.lock:
                gap = (self.heap[0][0] if self.heap else end) - self.now()
                if gap > 0 and not self.running:
                    self.offset += gap
                    self.map.append((time.time(), time.time() + self.offset))
        return not self.stop


class Activity:
    """What an activity sees of the world: its device, the clock and a bounded way to run programs."""

    def __init__(self, world, device, case):
        self.world, self.device, self.case, self.detail = world, device, case, None

    def now(self):
        return self.world.now()

    def note(self, what, **more):
        self.world.log(what, device=self.device.name, ip=self.device.ip, case=self.case, **more)

    def vsleep(self, seconds):
        """Sleeps in virtual time. Only where nothing of this activity is waiting for the network."""
        w = self.world
        wake = threading.Event()
        with w.lock:
            heapq.heappush(w.heap, (w.now() + seconds, next(w.count), ("wake", wake)))
            w.running -= 1
            w.lock.notify_all()
        wake.wait()

    def sh(self, *argv, timeout=20, stdin=None, env=None, check=False, keep=400):
        """Runs a program on this device; ends its whole process group after `timeout` s. -> (rc, tail)."""
        p = subprocess.Popen([str(a) for a in argv], stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, cwd="/run/lab",
                             env={**os.environ, **(env or {})})
        try:
            out, _ = p.communicate(stdin.encode() if isinstance(stdin, str) else stdin, timeout=timeout)
            rc = p.returncode
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)
            out, _ = p.communicate()
            rc = 124
        text = out.decode("utf-8", "replace")[-keep:]
        if check and rc != 0:
            raise RuntimeError(f"{argv[0]} rc={rc}: {text[-160:]}")
        return rc, text

    def start(self, *argv, env=None, stdin=None):
        """Starts a program that the activity itself must end with `end`."""
        return subprocess.Popen([str(a) for a in argv], stdin=stdin or subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, start_new_session=True, cwd="/run/lab", env={**os.environ, **(env or {})})

    @staticmethod
    def end(process):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(3)
