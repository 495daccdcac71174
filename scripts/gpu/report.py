"""report.py WORK OUT: what scripts/gpu/check.sh has gathered so far, as OUT/summary.txt and OUT/check.json."""

import json
import sys
from pathlib import Path


def json_of(file: Path):
    """None for one that is not there, or not whole."""
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return None


def main() -> None:
    work, out = Path(sys.argv[1]), Path(sys.argv[2])
    names = ("name", "status", "seconds", "remark")
    parts = [dict(zip(names, line.split("\t"))) for line in (work / "parts").read_text().splitlines()]
    versions = (work / "versions").read_text().splitlines() if (work / "versions").exists() else []
    facts = json_of(work / "facts.json") or {}
    report = {"facts": facts, "versions": versions, "parts": parts}
    report.update({name: json_of(work / f"{name}.json") for name in ("bench", "kernels", "peers")})
    (out / "check.json").write_text(json.dumps(report, indent=1) + "\n")
    rows = [f"{part['name']:<16} {part['status']:<5} {part['seconds']:>5} s  {part['remark']}" for part in parts]
    counts = [f"{sum(part['status'] == status for part in parts)} {status}" for status in ("pass", "fail", "skip")]
    head = [f"{name}: {value}" for name, value in facts.items()] + versions
    (out / "summary.txt").write_text("\n".join([*head, "", *rows, "", ", ".join(counts)]) + "\n")


if __name__ == "__main__":
    main()
