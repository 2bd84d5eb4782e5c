"""Fan-out: what a message to many clients costs, how long it takes, and what slow clients do to others.

usage: python -m benchmarks.fanout [throughput] [latency] [crowd] [--quick] [--output FOLDER]

Each part compares in one run and prints ratios beside absolute figures, which need a quiet machine. The clients
are one process that is not counted. Without a part named, all of them: under three minutes.
"""

import argparse
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.fanout.crowd import measure_crowd
from benchmarks.fanout.latency import measure_latency
from benchmarks.fanout.plot import bar_chart
from benchmarks.fanout.throughput import SHAPES, measure_throughput
from benchmarks.fanout.tick import SHARED

PARTS = ("throughput", "latency", "crowd")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=" ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="one short round of each, to see that it works")
    parser.add_argument("--output", type=Path, help="folder for fanout.json and fanout.svg")
    options = parser.parse_args()
    parts = options.parts or PARTS
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no such part: {' '.join(unknown)}; choose from {' '.join(PARTS)}")
    results: dict[str, Any] = {}
    if "throughput" in parts:
        results["throughput"] = (
            measure_throughput(SHAPES[1:3], 1.0, 1) if options.quick else measure_throughput(SHAPES, 2.0, 3)
        )
    if "latency" in parts:
        results["latency"] = measure_latency(2.0 if options.quick else 10.0)
    if "crowd" in parts:
        results["crowd"] = measure_crowd(2.0, 1) if options.quick else measure_crowd(4.0, 3)
    if options.output:
        save(options.output, results)


def save(folder: Path, results: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    header = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load": round(os.getloadavg()[0], 1),
        "command": "python -m benchmarks.fanout --output benchmarks/results",
        "message_bytes": len(SHARED),
    }
    (folder / "fanout.json").write_text(json.dumps(header | results, indent=1) + "\n")
    if "throughput" in results:
        chart = {
            shape: {kind: figures["messages_per_cpu_second"] / 1000 for kind, figures in result.items()}
            for shape, result in results["throughput"].items()
        }
        title = "Fan-out: thousand messages per second of server CPU (connections x streams)"
        (folder / "fanout.svg").write_text(bar_chart(title, chart))


if __name__ == "__main__":
    main()
