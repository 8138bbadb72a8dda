"""The wire to the internet: a tun device at each end and a wait by remote address in between.

Usage: delay.py GW_NETNS ISP_NETNS JSON, where JSON is {"delay": {address: one-way ms}, ...}.
Packets to and from one address keep their order.
"""

import ctypes
import fcntl
import heapq
import ipaddress
import json
import os
import select
import struct
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
QUEUE_MAX = 20000


def open_tun(netns, name):
    fd = os.open(f"/run/netns/{netns}", os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(fd, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns failed")
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    os.system(f"ip link set {name} up mtu 1500 txqueuelen 4000")
    return tun


def remote(packet, outward):
    if packet[0] >> 4 == 4:
        return packet[16:20] if outward else packet[12:16]
    return packet[24:40] if outward else packet[8:24]


def main():
    gw, isp, text = sys.argv[1:4]
    delay = {ipaddress.ip_address(a).packed: ms / 1000 for a, ms in json.loads(text)["delay"].items()}
    a, b = open_tun(gw, "wan0"), open_tun(isp, "wan0")
    print("ready", flush=True)
    queue, n = [], 0
    poll = select.poll()
    poll.register(a, select.POLLIN)
    poll.register(b, select.POLLIN)
    while True:
        wait = max(0, queue[0][0] - time.monotonic()) * 1000 if queue else 1000
        ready = poll.poll(wait)
        now = time.monotonic()
        for fd, _ in ready:
            for _ in range(64):
                try:
                    packet = os.read(fd, 65536)
                except BlockingIOError:
                    break
                if len(queue) < QUEUE_MAX:
                    n += 1
                    wait_s = delay.get(remote(packet, fd == a), 0.004)
                    heapq.heappush(queue, (now + wait_s, n, b if fd == a else a, packet))
        now = time.monotonic()
        while queue and queue[0][0] <= now:
            _, _, out, packet = heapq.heappop(queue)
            try:
                os.write(out, packet)
            except OSError:
                pass  # the device's queue is full: a lost packet, as on a real wire


main()
