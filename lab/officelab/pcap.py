"""Rewrites a capture's timestamps from real to virtual time, streaming, and compresses it.

Reads the classic pcap format as tcpdump writes it (little endian, microseconds or nanoseconds).
"""

import bisect
import gzip
import struct

MAGIC_US, MAGIC_NS = 0xA1B2C3D4, 0xA1B23C4D
RECORD_MAX = 1 << 20


def rewrite(source, target, time_map, end=None):
    """Maps every record's time by the piecewise linear `time_map` [(real, virtual)…].

    Records before the first point or after the virtual time `end` are left out. Returns
    {"packets", "bytes", "first", "last", "left_out"}; raises ValueError on a file it cannot read.
    """
    reals = [p[0] for p in time_map]
    stats = {"packets": 0, "bytes": 0, "first": None, "last": None, "left_out": 0}
    with open(source, "rb") as src, open(target, "wb") as raw, \
            gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=9, mtime=0) as out:
        header = src.read(24)
        magic = struct.unpack("<I", header[:4])[0] if len(header) == 24 else None
        if magic not in (MAGIC_US, MAGIC_NS):
            raise ValueError(f"{source}: not a little-endian pcap file")
        unit = 1e6 if magic == MAGIC_US else 1e9
        out.write(header)
        last = 0.0
        while True:
            head = src.read(16)
            if len(head) < 16:
                break
            sec, frac, caplen, wirelen = struct.unpack("<IIII", head)
            if caplen > RECORD_MAX:
                raise ValueError(f"{source}: record of {caplen} bytes at offset {src.tell() - 16}")
            data = src.read(caplen)
            if len(data) < caplen:
                break
            real = sec + frac / unit
            i = bisect.bisect_right(reals, real) - 1
            virtual = time_map[i][1] + (real - time_map[i][0]) if i >= 0 else None
            if virtual is None or (end is not None and virtual > end):
                stats["left_out"] += 1
                continue
            # tcpdump's order is arrival order; a record is never put before its predecessor.
            virtual = last = max(virtual, last)
            ticks = round(virtual * unit)
            out.write(struct.pack("<IIII", int(ticks // unit), int(ticks % unit), caplen, wirelen) + data)
            stats["packets"] += 1
            stats["bytes"] += wirelen
            stats["first"] = stats["first"] or virtual
            stats["last"] = virtual
    return stats
