"""The public development sets: repository, where the unpacked files go, and which paths are taken.

`place` is "out" for logs and captures without payloads, "samples" for captures that carry live
malware, exploit or attack-tool payloads: those are only ever written to a memory filesystem.
`take` is a list of regular expressions on the path; group "keep" (or the whole path) names the
file below the set's folder. Archives (.zip, .tgz, .tar.gz, and .gz of captures) are opened in memory.
Only what docs call the development part is named here; the rest of these repositories stays untouched.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Set:
    """One development set."""

    repo: str
    place: str
    take: list = field(default_factory=list)
    # Members of archives are taken only when their path matches (None: all).
    members: str | None = None


SETS = {
    "rita": Set("activecm/rita", "out", [
        r"^test_data/(?P<keep>proxy/.+\.log(\.gz)?)$",
        r"^test_data/(?P<keep>proxy_rolling/.+\.log(\.gz)?)$",
    ]),
    "ares2025": Set("cp-tsp/ares2025-artifacts", "samples", [
        r"^data/pcap/(?P<keep>(amazon|default)_[^/]+/.+\.pcap(ng)?)$",
    ]),
    "stratosphere": Set("stratosphereips/security-datasets-for-testing", "out", [
        r"^(?P<keep>(001|002|003|004|006|007|008|010)-[^/]+/.+)$",
    ]),
    "slips": Set("stratosphereips/StratosphereLinuxIPS", "samples", [
        r"^dataset/(?P<keep>.+)$",
    ]),
    "dns-tunnel": Set("ggyggy666/DNS-Tunnel-Datasets", "out", [
        r"^normal/(?P<keep>normal/normal_000([0-3][0-9]|40)_.+\.pcap)$",
        r"^tunnel/(?P<keep>iodine-cname\.pcap)$",
        r"^tunnel/(?P<keep>dnscat2-cname/.+\.pcap)$",
        r"^tunnel/(?P<keep>dnscat2-cname\.pcap)$",
    ]),
    "otrf": Set("OTRF/Security-Datasets", "samples", [
        r"^datasets/atomic/windows/(?P<keep>[^/]+/network/.+)$",
        r"^datasets/atomic/(?P<keep>_metadata/.+\.yaml)$",
    ]),
    "apt29-day1": Set("OTRF/Security-Datasets", "out", [
        r"^datasets/compound/apt29/day1/(?P<keep>zeek/individual_zeek_logs/.+\.log)$",
        r"^datasets/compound/apt29/day1/(?P<keep>README\.md)$",
    ]),
    "zerologon": Set("corelight/zerologon", "out", [
        r"^testing/(?P<keep>Traces/.+\.pcap)$",
    ]),
    "mta": Set("tatsui-geek/malware-traffic-analysis.net", "samples", [
        r"^(?P<keep>(2016-12|2017-0[1-6])-.+\.pcap)$",
    ]),
    "ait": Set("ait-aecid/alert-data-set", "out", [
        r"^(?P<keep>alerts_csv/.+)$",
        r"^(?P<keep>README\.md)$",
        r"^(?P<keep>server_configs/(fox|russellmitchell|santos|shaw|wheeler)\.yaml)$",
    ], members=r"(^|/)(fox|russellmitchell|santos|shaw|wheeler)_alerts\.txt$|\.(md|yaml)$"),
    "markofu": Set("markofu/pcaps", "samples", [
        r"^(?P<keep>(EvilFingers|HoneyNet|NetworkForensics|PracticalPacketAnalysis|jackcr|CounterHack)/.+"
        r"\.(zip|pcap|pcap_\.gz|cap|dmp|pcap\.tgz|md|MD|txt))$",
    ]),
    "stopddos": Set("StopDDoS/packet-captures", "out", [r"^(?P<keep>.+\.pcap(ng)?)$", r"^(?P<keep>README\.md)$"]),
    "acandeias": Set("ACandeias/IntrusionDetection", "samples", [r"^PCAP/(?P<keep>.+\.pcap(ng|2)?)$"]),
    "ics-iti": Set("ITI/ICS-Security-Tools", "out", [r"^pcaps/(?P<keep>.+\.(pcap|pcapng|cap|md))$"]),
    "ics-zeek": Set("automayt/ICS-pcap", "out", [r"^(?P<keep>.+\.log)$", r"^(?P<keep>README\.md)$"]),
    "iot-sentinel": Set("andypitcher/IoT_Sentinel", "out", [
        r"^captures_IoT_Sentinel/captures_IoT-Sentinel/(?P<keep>(Aria|D-LinkCam|D-LinkDayCam|D-LinkDoorSensor|"
        r"D-LinkHomeHub|D-LinkSensor|D-LinkSiren|D-LinkSwitch|D-LinkWaterSensor|EdimaxCam1|EdimaxCam2|"
        r"EdimaxPlug1101W|EdimaxPlug2101W|EdnetCam1|EdnetCam2|EdnetGateway)/.+)$",
        r"^(?P<keep>README\.md)$",
    ]),
}
