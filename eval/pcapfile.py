"""Reads captures well enough to derive truth from them: link type, times, addresses.

Only what the evaluation scripts need, in the standard library: classic pcap (micro- and
nanoseconds, both byte orders) and pcapng; Ethernet with VLAN tags, raw IP, Linux cooked v1/v2,
loopback. It judges nothing. Also: where a path lies on a memory filesystem.
"""

import ipaddress
import struct
from pathlib import Path

ETHERNET, RAW, RAW_BSD, COOKED, COOKED2, NULL = 1, 101, 12, 113, 276, 0


def memory_filesystem(path):
    """True when `path` (or its nearest existing parent) lies on tmpfs or ramfs."""
    path = Path(path).resolve()
    while not path.exists():
        path = path.parent
    best, kind = "", ""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        mount = fields[4]
        if (str(path) + "/").startswith(mount.rstrip("/") + "/") and len(mount) >= len(best):
            best, kind = mount, fields[fields.index("-") + 1]
    return kind in ("tmpfs", "ramfs")


def linktype(data):
    """Link type of a classic capture or of the first interface of a pcapng one; None if neither."""
    magic = data[:4]
    if magic in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"):
        return struct.unpack_from("<I", data, 20)[0] & 0xFFFF
    if magic in (b"\xa1\xb2\xc3\xd4", b"\xa1\xb2\x3c\x4d"):
        return struct.unpack_from(">I", data, 20)[0] & 0xFFFF
    if magic == b"\x0a\x0d\x0d\x0a":
        order = "<" if data[8:12] == b"\x4d\x3c\x2b\x1a" else ">"
        at = struct.unpack_from(order + "I", data, 4)[0]
        return struct.unpack_from(order + "H", data, at + 8)[0]
    return None


def packets(data):
    """(seconds since 1970, link type, bytes) of each packet; stops where the file is cut off."""
    magic = data[:4]
    if magic == b"\x0a\x0d\x0d\x0a":
        yield from _packets_ng(data)
        return
    orders = {b"\xd4\xc3\xb2\xa1": ("<", 1e6), b"\x4d\x3c\xb2\xa1": ("<", 1e9),
              b"\xa1\xb2\xc3\xd4": (">", 1e6), b"\xa1\xb2\x3c\x4d": (">", 1e9)}
    if magic not in orders:
        raise ValueError("not a capture")
    order, unit = orders[magic]
    link = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF
    at = 24
    while at + 16 <= len(data):
        seconds, fraction, kept, _ = struct.unpack_from(order + "IIII", data, at)
        at += 16
        if at + kept > len(data):
            return
        yield seconds + fraction / unit, link, data[at:at + kept]
        at += kept


def _packets_ng(data):
    order, interfaces, at = "<", [], 0
    while at + 12 <= len(data):
        kind = struct.unpack_from(order + "I", data, at)[0]
        if data[at:at + 4] == b"\x0a\x0d\x0d\x0a":
            order = "<" if data[at + 8:at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            interfaces = []
        length = struct.unpack_from(order + "I", data, at + 4)[0]
        if length < 12 or at + length > len(data):
            return
        body = data[at + 8:at + length - 4]
        if kind == 1:
            interfaces.append((struct.unpack_from(order + "H", body, 0)[0], _resolution(order, body)))
        elif kind == 6 and len(body) >= 20:
            index, high, low, kept, _ = struct.unpack_from(order + "IIIII", body, 0)
            link, unit = interfaces[index] if index < len(interfaces) else (ETHERNET, 1e6)
            yield ((high << 32) | low) / unit, link, body[20:20 + kept]
        elif kind == 3 and interfaces:
            yield 0.0, interfaces[0][0], body[4:]
        at += length


def _resolution(order, body):
    """Ticks per second of an interface block (option 9), 10^6 by default."""
    at = 8
    while at + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, at)
        if code == 0:
            break
        if code == 9 and length >= 1:
            value = body[at + 4]
            return float(2 ** (value & 0x7F)) if value & 0x80 else float(10 ** value)
        at += 4 + (length + 3) // 4 * 4
    return 1e6


def network(link, frame):
    """(EtherType, bytes of the network layer), tags removed; (None, b"") where there is none."""
    if link == ETHERNET:
        at, kind = 14, int.from_bytes(frame[12:14], "big")
        while kind in (0x8100, 0x88A8, 0x9100) and at + 4 <= len(frame):
            kind = int.from_bytes(frame[at + 2:at + 4], "big")
            at += 4
        return kind, frame[at:]
    if link == COOKED:
        return int.from_bytes(frame[14:16], "big"), frame[16:]
    if link == COOKED2:
        return int.from_bytes(frame[0:2], "big"), frame[20:]
    if link in (RAW, RAW_BSD, 228, 229):
        return (0x0800 if frame[:1] and frame[0] >> 4 == 4 else 0x86DD), frame
    if link == NULL:
        rest = frame[4:]
        return (0x0800 if rest[:1] and rest[0] >> 4 == 4 else 0x86DD), rest
    return None, b""


def addresses(link, frame):
    """(source, destination, protocol, transport bytes) of an IP packet, or None."""
    kind, data = network(link, frame)
    if kind == 0x0800 and len(data) >= 20:
        header = (data[0] & 15) * 4
        return (str(ipaddress.IPv4Address(data[12:16])), str(ipaddress.IPv4Address(data[16:20])), data[9],
                data[header:])
    if kind == 0x86DD and len(data) >= 40:
        return (str(ipaddress.IPv6Address(data[8:24])), str(ipaddress.IPv6Address(data[24:40])), data[6], data[40:])
    return None
