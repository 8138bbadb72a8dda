"""Turns sets whose files no source reads as they are into files that one does. Called by unpack.

Nothing is judged here and no label reaches a detector:
- labelled Zeek logs: the label columns are cut off and the files get their usual names; a second
  folder holds the same day without the rows that the set labels Malicious;
- Zeek records as an Elastic pipeline wrote them (id_orig_h): the usual Zeek field names;
- alert lists of other tools (CSV): Suricata EVE alert records.
"""

import csv
import json
import re
from datetime import datetime, timezone
from pathlib import Path

LABELS = ("label", "detailedlabel")
AIT_SCENARIOS = ("fox", "russellmitchell", "santos", "shaw", "wheeler")
# The authors' window for false positives (attacktimes.py, "false_positive_test"), where their DNS
# exfiltration had already been stopped; in russellmitchell and shaw it was still running.
AIT_QUIET = {
    "fox": ("2022-01-17T11:00:00Z", "2022-01-17T16:00:00Z"),
    "santos": ("2022-01-16T10:00:00Z", "2022-01-16T15:00:00Z"),
    "wheeler": ("2022-01-29T07:30:00Z", "2022-01-29T18:00:00Z"),
}


def strip_labels(source, every, benign):
    """Writes X.log.labeled of `source` as X.log to `every`, and without Malicious rows to `benign`."""
    for path in sorted(Path(source).glob("*.log.labeled")):
        kept, quiet, drop = [], [], []
        fields = []
        for line in path.read_text(errors="replace").splitlines():
            cells = line.split("\t")
            if line.startswith("#"):
                if cells[0] == "#fields":
                    fields = cells[1:]
                    drop = [i for i, name in enumerate(fields) if name in LABELS]
                if cells[0] in ("#fields", "#types"):
                    cells = [cells[0], *(c for i, c in enumerate(cells[1:]) if i not in drop)]
                kept.append("\t".join(cells))
                quiet.append("\t".join(cells))
                continue
            row = "\t".join(c for i, c in enumerate(cells) if i not in drop)
            label = cells[fields.index("label")] if "label" in fields and len(cells) == len(fields) else ""
            kept.append(row)
            if label != "Malicious":
                quiet.append(row)
        name = path.name.removesuffix(".labeled")
        for folder, lines in ((every, kept), (benign, quiet)):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("\n".join(lines) + "\n")


def prepare_stratosphere(folder):
    """008 and 010: day-all and day-benign."""
    for name in ("008-zeek-mixed", "010-zeek-mixed"):
        strip_labels(folder / name / "data", folder / f"{name}-all", folder / f"{name}-benign")


def prepare_slips(folder):
    """test18: the labelled logs without labels."""
    name = "test18-malicious-ctu-sme-11-win"
    strip_labels(folder / name / "zeek-labeled", folder / f"{name}-all", folder / f"{name}-benign")


def prepare_apt29(folder):
    """One folder per host with the usual Zeek names: id.orig_h and _path."""
    for path in sorted((folder / "zeek" / "individual_zeek_logs").glob("*.log")):
        host, _, log = path.name.partition("_")
        lines = []
        for line in path.read_text(errors="replace").splitlines():
            record = json.loads(line)
            record = {re.sub(r"^id_(orig|resp)_(h|p)$", r"id.\1_\2", k): v for k, v in record.items()
                      if k not in ("@system", "@proc")}
            record["_path"] = record.pop("@stream", log.removesuffix(".log"))
            lines.append(json.dumps(record))
        target = folder / host / log
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("\n".join(lines) + "\n")


def ait_rows(path):
    """Rows of one scenario's alert list, in order of time."""
    with open(path, newline="", encoding="utf-8", errors="replace") as stream:
        rows = list(csv.DictReader(stream))
    return sorted(rows, key=lambda row: float(row["time"]))


def prepare_ait(folder):
    """SCENARIO/all: the whole alert list; SCENARIO/quiet: the authors' attack-free window of it."""
    for scenario in AIT_SCENARIOS:
        source = next(folder.rglob(f"{scenario}_alerts.txt"))
        out = {"all": [], "quiet": []}
        for row in ait_rows(source):
            when = datetime.fromtimestamp(float(row["time"]), timezone.utc)
            tool, _, text = row["name"].partition(": ")
            line = json.dumps({
                "timestamp": when.strftime("%Y-%m-%dT%H:%M:%S.%f+0000"), "event_type": "alert",
                "src_ip": row["ip"], "host": row["host"],
                "alert": {"signature": text or row["name"], "category": tool, "severity": 3},
            })
            out["all"].append(line)
            start, end = AIT_QUIET.get(scenario, ("9", "9"))
            if start <= when.strftime("%Y-%m-%dT%H:%M:%SZ") < end:
                out["quiet"].append(line)
        for part, lines in out.items():
            if lines:
                target = folder / scenario / part / "eve.json"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text("\n".join(lines) + "\n")


PREPARE = {
    "stratosphere": prepare_stratosphere,
    "slips": prepare_slips,
    "apt29-day1": prepare_apt29,
    "ait": prepare_ait,
}
