#!/usr/bin/env python3
"""Makes the event files of cases of field buses, bare segments, tunnels and mail with the generator of
`make.py`: `python3 make_field.py [DETECTOR]`."""

import make
from make import case, main, mac_of

make.CASES.clear()

DAY = 86_400.0


def cip(c, at, client, server, name, function, write=False, address=0, **more):
    c.add(at, "ics", client, server, 44818, protocol="enip", function=function, name=name, write=write,
          address=address, quantity=1, **more)


# ---------------------------------------------------------------- ics_command

@case("ics_command", "engineer_changes_the_mode_over_cip", "device:10.0.0.108 score>=4.3 impact")
def _(c):
    for k in range(40):
        cip(c, k, "10.0.0.60", "10.0.0.70", "read_tag", 0x4c)
    cip(c, 41, "10.0.0.108", "10.0.0.70", "identity", 1, address=1)
    cip(c, 42, "10.0.0.108", "10.0.0.70", "stop", 7, True, 0x8e)


@case("ics_command", "address_of_a_controller_is_set", "device:10.0.0.108 score>=4.3 impact")
def _(c):
    cip(c, 5, "10.0.0.108", "10.0.0.70", "get_attribute_single", 0x0e, address=0xf5)
    cip(c, 9, "10.0.0.108", "10.0.0.70", "set_network_address", 0x10, True, 0xf5)


@case("ics_command", "outstation_is_reset", "device:10.0.0.108 score>=4.3 impact")
def _(c):
    for kind, name in ((100, "interrogation"), (105, "reset_process")):
        c.add(kind, "ics", "10.0.0.108", "10.0.0.70", 2404, protocol="iec104", unit=10, function=kind, name=name,
              write=kind == 105)


@case("ics_command", "panel_reads_and_writes_tags")
def _(c):
    cip(c, 0, "10.0.0.60", "10.0.0.70", "identity", 1, address=1)
    cip(c, 1, "10.0.0.60", "10.0.0.70", "forward_open", 0x54, address=6)
    for k in range(300):
        cip(c, 2 + 2 * k, "10.0.0.60", "10.0.0.70", "read_tag", 0x4c)
        if k % 20 == 0:
            cip(c, 3 + 2 * k, "10.0.0.60", "10.0.0.70", "write_tag", 0x4d, True)


@case("ics_command", "control_centre_asks_and_sets_clocks")
def _(c):
    for k in range(60):
        for unit in (1, 2):
            for kind, name in ((100, "interrogation"), (103, "clock_synchronisation"), (45, "single_command")):
                if kind != 45 or k % 15 == 14:
                    c.add(60 * k + unit, "ics", "10.0.0.60", f"10.0.0.7{unit}", 2404, protocol="iec104", unit=unit,
                          function=kind, name=name, write=kind != 100)


def bacnet(c, at, client, server, name, function, write=False):
    c.add(at, "ics", client, server, 47808, transport="udp", protocol="bacnet", function=function, name=name,
          write=write)


@case("ics_command", "building_controller_is_restarted", "device:10.0.0.108 score>=4.3 impact")
def _(c):
    bacnet(c, 3, "10.0.0.108", "10.0.0.70", "read_property", 12)
    bacnet(c, 5, "10.0.0.108", "10.0.0.70", "reinitialize_device", 20, True)


@case("ics_command", "building_station_reads_and_sets")
def _(c):
    for k in range(200):
        bacnet(c, 3 * k, "10.0.0.60", f"10.0.0.7{k % 3}", "read_property_multiple", 14)
        if k % 25 == 0:
            bacnet(c, 3 * k + 1, "10.0.0.60", f"10.0.0.7{k % 3}", "write_property", 15, True)


@case("ics_command", "panel_polls_memory")
def _(c):
    for k in range(200):
        c.add(k, "ics", "10.0.0.60", "10.0.0.70", 9600, transport="udp", protocol="fins", unit=1,
              function=0x0101 + (k % 40 == 39), name="memory_write" if k % 40 == 39 else "memory_read",
              write=k % 40 == 39)


# ---------------------------------------------------------------- scans

@case("scan_vertical", "bare_segments_to_high_ports_ignored", "device:10.0.0.66 score>=4 reconnaissance")
def _(c):
    for k in range(300):
        c.flow(0.01 * k, "10.0.0.66", "10.0.0.20", 1024 + 31 * k, 0, 0, "OTH", 0.0, sport=43_211,
               client_packets=1 + k % 2, server_packets=0)


@case("scan_vertical", "protocols_above_ip", "device:10.0.0.66 score>=4 reconnaissance")
def _(c):
    for k in range(120):
        c.flow(0.05 * k, "10.0.0.66", "10.0.0.20", k + 18, 0, 0, transport="other", sport=0, secs=0.0,
               client_packets=2, server_packets=0)


@case("scan_vertical", "idle_clients_probe_their_server")
def _(c):
    for k in range(80):
        c.flow(40 * k, f"10.0.0.{100 + k % 20}", "10.0.0.20", (8530, 445)[k % 2], 0, 0, "OTH", 0.0,
               client_packets=1, server_packets=k % 3 // 2)


@case("scan_vertical", "tunnel_of_one_protocol")
def _(c):
    for k in range(50):
        c.flow(70 * k, "10.0.0.1", "203.0.113.9", 50, 9000, 0, transport="other", sport=0, secs=5.0,
               client_packets=30, server_packets=0)


@case("scan_icmp", "sweep_of_a_busy_network", "device:10.0.0.66 score>=1.8 reconnaissance")
def _(c):
    for k in range(1, 25):
        c.ping(60 + 0.1 * k, "10.0.0.66", f"10.0.0.{k}", k % 5 < 3)


# ---------------------------------------------------------------- icmp_tunnel

def pings(c, at, client, server, asked, answered, up, down, secs=60.0):
    c.flow(at, client, server, 0, up, down, transport="icmp", sport=8, secs=secs, client_packets=asked,
           server_packets=answered)


@case("icmp_tunnel", "answers_carry_other_data", "device:10.0.0.66 score>=3 control")
def _(c):
    for k in range(5):
        pings(c, 70 * k, "10.0.0.66", "203.0.113.8", 80, 80, 80 * 64, 80 * 400)


@case("icmp_tunnel", "more_answers_than_questions", "device:10.0.0.66 score>=3 control")
def _(c):
    pings(c, 5, "10.0.0.66", "10.0.0.20", 100, 205, 6_800, 18_600, 123.0)


@case("icmp_tunnel", "line_is_watched_with_losses")
def _(c):
    for k in range(40):
        pings(c, 80 * k, "10.0.0.9", "203.0.113.8", 60, 60 - k % 5, 60 * 56, (60 - k % 5) * 56)
    pings(c, 3300, "10.0.0.9", "203.0.113.8", 10, 11, 560, 616)


@case("icmp_tunnel", "large_pings_test_the_line")
def _(c):
    pings(c, 5, "10.0.0.104", "10.0.0.1", 50, 50, 50 * 1472, 50 * 1472, 50.0)
    pings(c, 70, "10.0.0.104", "10.0.0.1", 4, 0, 4 * 56, 0, 4.0)


# ---------------------------------------------------------------- dns_tunnel

@case("dns_tunnel", "short_burst_of_text_questions", "device:10.0.0.66 score>=0.6 control")
def _(c):
    for k in range(90):
        c.dns(0.02 * k, "10.0.0.66", f"{c.label(low=16, high=24)}.pond.example", c.label(low=20, high=30), qtype=16)


# ---------------------------------------------------------------- mail_sender

@case("mail_sender", "infected_desktop_sends_spam", "device:10.0.0.104 score>=2.5 impact")
def _(c):
    for k in range(60):
        c.flow(20 * k, "10.0.0.104", f"203.0.113.{k % 30 + 1}", 25, 900, 400, ("SF", "S0", "RSTR")[k % 3])


@case("mail_sender", "mail_server_at_work")
def _(c):
    for k in range(60):
        c.flow(20 * k, f"198.51.100.{k % 40 + 1}", "10.0.0.25", 25, 9000, 600, service="smtp")
        if k > 5:
            c.flow(20 * k + 5, "10.0.0.25", f"203.0.113.{k % 30 + 1}", 25, 9000, 600, service="smtp")


@case("mail_sender", "printer_sends_scans")
def _(c):
    for k in range(30):
        c.flow(100 * k, "10.0.0.40", f"203.0.113.{k % 3 + 1}", 25, 90_000, 600, service="smtp")


# ---------------------------------------------------------------- spoofing

@case("spoof_dhcp", "one_device_takes_many_addresses", "device:10.0.0.66 score>=3 reconnaissance")
def _(c):
    for k in range(12):
        c.add(0.2 * k, "dhcp", "10.0.0.66", "10.0.0.2", 67, 68, "udp", message="request", mac=mac_of("10.0.0.66"),
              requested=f"10.0.0.{150 + k}")


@case("spoof_dhcp", "laptop_changes_networks")
def _(c):
    for k, addr in enumerate(("192.168.1.20", "10.0.0.104", "10.0.0.104")):
        c.add(60 * k, "dhcp", "0.0.0.0", "255.255.255.255", 67, 68, "udp", message="request",
              mac="02:00:00:00:01:07", requested=addr)


@case("spoof_name", "camera_probes_for_its_names")
def _(c):
    names = ["cam-5b0e", "cam", "cam5b0e", "lobby-cam", "lobbycam"]
    for k, name in enumerate(names):
        for n in range(3):
            c.add(10 * k + 0.25 * n, "dns", "10.0.0.44", "224.0.0.251", 5353, transport="udp", flavor="mdns",
                  query=f"{name}.local", qtype=255)
        c.add(10 * k + 2, "dns", "10.0.0.44", "224.0.0.251", 5353, transport="udp", flavor="mdns",
              query=f"{name}.local", qtype=1, rcode=0, responder="10.0.0.44",
              answers=[{"rtype": 1, "data": "10.0.0.44", "ttl": 120}])


# ---------------------------------------------------------------- flood

@case("flood", "bare_acknowledgements_without_end", "device:10.0.0.66 score>=2 impact")
def _(c):
    for k in range(3000):
        c.flow(0.019 * k, "10.0.0.66", "10.0.0.20", 80, 0, 0, "OTH", 0.0, sport=1024 + k, client_packets=1,
               server_packets=0)


@case("flood", "old_conversations_end_unheard")
def _(c):
    for k in range(200):
        c.flow(0.2 * k, "10.0.0.66", "10.0.0.20", 80, 0, 0, "OTH", 0.0, client_packets=1, server_packets=0)


# ---------------------------------------------------------------- amplification

@case("amplification", "answers_taken_for_the_servers_side", "device:10.0.0.5 score>=1.5 impact")
def _(c):
    for k in range(400):
        c.flow(0.01 * k, "10.0.0.5", f"203.0.113.{k % 250}", 161, 0, 900, transport="udp", sport=12_294,
               secs=0.0, client_packets=0, server_packets=1)


@case("amplification", "answers_of_ones_own_monitoring")
def _(c):
    for k in range(300):
        c.flow(0.2 * k, "10.0.0.5", f"203.0.113.{k % 12}", 161, 80, 0 if k % 9 else 900, transport="udp",
               sport=40_000 + k, secs=0.1)
    c.flow(90, "10.0.0.5", "203.0.113.4", 161, 0, 900, transport="udp", sport=40_000, secs=0.0, client_packets=0,
           server_packets=1)


# ---------------------------------------------------------------- end of cases

if __name__ == "__main__":
    main()
