"""Who speaks in a capture: the only thing truth is derived from where a set has no labels.

Counts packets and connections, never looks at contents, knows no detector.
"""

import ipaddress
from collections import Counter, defaultdict
from datetime import datetime, timezone

from pcapfile import addresses, network, packets

TCP, ARP = 6, 0x0806


def internal(address):
    """True for a private unicast address (RFC 1918, ULA); link-local, loopback and 0.0.0.0 do not count."""
    ip = ipaddress.ip_address(address)
    if ip.version == 4:
        return any(ip in net for net in map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
                   ) and not address.endswith(".255")
    return ip in ipaddress.ip_network("fc00::/7")


def stamp(seconds):
    """RFC 3339 in UTC, whole seconds."""
    return datetime.fromtimestamp(int(seconds), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def survey(data):
    """Counts of one capture: times, and per address packets, SYNs, peers, conversations begun, ARP messages."""
    sent, received, opened, asked, begun = Counter(), Counter(), Counter(), Counter(), Counter()
    met = set()
    peers = defaultdict(set)
    first, last, count = None, None, 0
    for when, link, frame in packets(data):
        count += 1
        first = when if first is None else min(first, when)
        last = when if last is None else max(last, when)
        found = addresses(link, frame)
        if not found:
            kind, body = network(link, frame)
            if kind == ARP and len(body) >= 28:
                asked[str(ipaddress.IPv4Address(body[14:18]))] += 1
            continue
        source, destination, protocol, rest = found
        sent[source] += 1
        received[destination] += 1
        peers[source].add(destination)
        if frozenset((source, destination)) not in met:
            met.add(frozenset((source, destination)))
            begun[source] += 1
        if protocol == TCP and len(rest) >= 14 and rest[13] & 0x12 == 0x02:
            opened[source] += 1
    hosts = {a: {"sent": sent[a], "received": received[a], "opened": opened[a], "begun": begun[a],
                 "peers": len(peers[a])} for a in sorted(sent)}
    return {"packets": count, "first": first or 0.0, "last": last or 0.0, "hosts": hosts, "arp": dict(asked),
            "targets": received.most_common(8)}


def busiest_internal(found):
    """The internal host that opened most connections (then: exchanged most packets); None if there is none."""
    candidates = [(h["opened"], h["sent"] + h["received"], a) for a, h in found["hosts"].items() if internal(a)]
    return max(candidates)[2] if candidates else None


def unicast(address):
    """False for multicast, the limited broadcast and addresses that look like a /24's broadcast."""
    ip = ipaddress.ip_address(address)
    return not ip.is_multicast and not address.endswith(".255")


def initiator(found):
    """The host that opened most TCP connections, else the one that began most conversations."""
    hosts = found["hosts"]
    return max(hosts, key=lambda a: (hosts[a]["opened"], hosts[a]["begun"], hosts[a]["sent"])) if hosts else None


def pair(found):
    """The initiator and the host it exchanged the attack with: the one that got most packets, itself excluded."""
    first = initiator(found)
    other = [a for a, _ in found["targets"] if a != first and unicast(a)]
    return [first, *other[:1]]
