"""Fan-out: what a message to many clients costs, how long it takes, and what slow clients do to others.

usage: python -m benchmarks.fanout [capacity] [steady] [latency] [crowd] [--quick] [--output FOLDER]

Each part compares in one run and prints ratios beside absolute figures, which need a quiet machine. The clients
are one process that is not counted. Without a part named, all of them: some ten minutes. ``--output`` replaces the
parts that were run in fanout.json, and makes fanout.md and fanout.svg of it.
"""

import argparse
import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.fanout.crowd import measure_crowd
from benchmarks.fanout.latency import measure_latency
from benchmarks.fanout.plot import bar_chart
from benchmarks.fanout.text import as_text
from benchmarks.fanout.throughput import SHAPES, measure_capacity, measure_steady
from benchmarks.fanout.tick import SHARED

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS = ("capacity", "steady", "latency", "crowd")
PACKAGES = ("grpclib", "h2", "trio", "trio-asyncio", "protobuf", "grpcio")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=" ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="one short round of each, to see that it works")
    parser.add_argument("--output", type=Path, help="folder for fanout.json, fanout.md and fanout.svg")
    options = parser.parse_args()
    parts = options.parts or PARTS
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no such part: {' '.join(unknown)}; choose from {' '.join(PARTS)}")
    quick = options.quick
    measures: dict[str, Callable[[], Any]] = {
        "capacity": lambda: measure_capacity(SHAPES[1:3], 1) if quick else measure_capacity(SHAPES, 3),
        "steady": lambda: measure_steady(SHAPES[1:3], 1.0, 1) if quick else measure_steady(SHAPES, 2.0, 3),
        "latency": lambda: measure_latency(2.0 if quick else 10.0),
        "crowd": lambda: measure_crowd(2.0, 1) if quick else measure_crowd(4.0, 3),
    }
    for part in parts:
        result = {"run": circumstances(part, "--quick " if quick else ""), "figures": measures[part]()}
        if options.output:
            save(options.output, part, result)


def circumstances(part: str, options: str) -> dict[str, Any]:
    """What a figure cannot be read without."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load_before": round(os.getloadavg()[0], 1),
        "command": f"python -m benchmarks.fanout {part} {options}--output benchmarks/results",
        "versions": {name: version(name) for name in PACKAGES},
        "message_bytes": len(SHARED),
    }


def save(folder: Path, part: str, result: dict[str, Any]) -> None:
    """Put one part in the record, beside the others."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "fanout.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    record = {name: each for name in PARTS if (each := result if name == part else before.get(name))}
    path.write_text(json.dumps(record, indent=1) + "\n")
    (folder / "fanout.md").write_text(as_text(record))
    if "capacity" in record:
        chart = {
            shape: {kind: figures["messages_per_cpu_second"] / 1000 for kind, figures in by_kind.items()}
            for shape, by_kind in record["capacity"]["figures"].items()
        }
        title = "Fan-out: thousand messages per second of server CPU (connections x streams)"
        (folder / "fanout.svg").write_text(bar_chart(title, chart))


if __name__ == "__main__":
    main()
