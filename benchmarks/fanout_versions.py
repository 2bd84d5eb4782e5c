"""Fan-out as fast as the clients take it, beside another version of candled in the same run.

usage: python -m benchmarks.fanout_versions TREE [--rounds N] [--output FILE]

TREE is a checkout of the other version, such as a ``git worktree``; its own ``benchmarks.fanout capacity --quick``
is run, with this version's Python and packages. The versions alternate. Each is compared with grpc.aio, whose
server sends the same messages in the same round, so that what else the machine does counts for both.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.header import header, publish

_HERE: Final = Path(__file__).parents[1]
_SERVERS: Final = {"candled": "fast", "bare sockets": "bare"}
"""What is shown, by its name in the figures."""
_PEER: Final = "grpc-aio"


def measure(tree: Path) -> dict[str, Any]:
    """Return messages for a CPU second in one round of a version, by shape and server."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "benchmarks.fanout", "capacity", "--quick", "--output", folder],
            cwd=tree,
            env=os.environ | {"PYTHONPATH": str(tree)},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        figures: dict[str, Any] = json.loads((Path(folder) / "fanout.json").read_text())["capacity"]["figures"]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tree", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="also append the result to this file")
    options = parser.parse_args()
    trees = {"other": options.tree.absolute(), "this": _HERE}
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in trees}
    for _ in range(options.rounds):
        for name, tree in trees.items():
            rounds[name].append(measure(tree))
    lines = [
        *header("fanout_versions"),
        "",
        f"{'x grpc.aio, median':<32}{'other':>8}{'this':>8}{'this / other':>14}",
    ]
    for shape in rounds["this"][0]:
        for server, key in _SERVERS.items():
            ratios = [statistics.median(_ratio(figures[shape], key) for figures in rounds[name]) for name in trees]
            columns = f"{ratios[0]:>8.2f}{ratios[1]:>8.2f}{ratios[1] / ratios[0]:>14.2f}"
            lines.append(f"{f'{shape} streams, {server}':<32}{columns}")
    publish("\n".join([*lines, "", ""]), options.output)


def _ratio(servers: dict[str, Any], key: str) -> float:
    return float(servers[key]["messages_per_cpu_second"] / servers[_PEER]["messages_per_cpu_second"])


if __name__ == "__main__":
    main()
