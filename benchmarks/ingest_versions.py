"""Websocket frame to encoded update, CPU per trade, beside another version of candled in the same run.

usage: python -m benchmarks.ingest_versions TREE [--trades N] [--rounds N] [--rate N] [--instructions]
       [--output FILE]

TREE is a checkout of the other version, such as a ``git worktree``; its own ``benchmarks.ingest.candled`` is run,
with this version's Python and packages. The versions alternate, each in a process of its own that reads the same
frames twice and counts the second time. With ``--rate`` each frame comes alone.

With ``--instructions`` each process runs under valgrind, which counts the instructions that it executes outside of
the kernel. They hardly vary from run to run, whatever else the machine does, but one instruction is not worth
another: a task switch costs more time than its instructions say. It slows the process about fifty times, so choose
a rate, such as 30, at which each frame still comes alone.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.header import header, publish

_HERE: Final = Path(__file__).parents[1]
_PROGRAM: Final = """
import os, sys, trio
os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
from benchmarks import ingest
ingest.configure_logging("error", "console")
{library}
trio.run(ingest.candled, sys.argv[1], int(sys.argv[2]))
{counting}
print(trio.run(ingest.candled, sys.argv[1], int(sys.argv[2])).cpu)
"""
_LIBRARY: Final = """
from candled.feed.transport import websocket
websocket.READERS = {{websocket.DEFAULT_LIBRARY: websocket.READERS[{name!r}]}}
"""
_COUNTING: Final = """
import subprocess
def switch(state):
    command = ["callgrind_control", "--instr=" + state, str(os.getpid())]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
class Counting(ingest.Clock):
    def begin(self):
        if self.begun is None:
            super().begin()
            switch("on")
    def end(self):
        switch("off")
        super().end()
ingest.Clock = Counting
"""
_VALGRIND: Final = ("valgrind", "--tool=callgrind", "--instr-atstart=no", "--callgrind-out-file=/dev/null")


def measure(tree: Path, library: str | None, url: str, trades: int, *, instructions: bool = False) -> float:
    """CPU microseconds, or thousands of instructions, a trade of one version."""
    program = _PROGRAM.format(
        library="" if library is None else _LIBRARY.format(name=library),
        counting=_COUNTING if instructions else "",
    )
    command = [*(_VALGRIND if instructions else ()), sys.executable, "-c", program, url, str(trades)]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONHASHSEED": "0"}
    ended = subprocess.run(command, cwd=tree, env=environment, check=True, capture_output=True, text=True)
    if not instructions:
        return float(ended.stdout) / trades * 1e6
    counted = re.search(r"Collected : (\d+)", ended.stderr)
    assert counted is not None, ended.stderr
    return int(counted[1]) / trades / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tree", type=Path)
    parser.add_argument("--trades", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--rate", type=float, default=0.0, help="frames a second, each alone; 0: as fast as they are taken"
    )
    parser.add_argument("--instructions", action="store_true", help="count instructions, under valgrind")
    parser.add_argument("--output", type=Path, help="also append the result to this file")
    options = parser.parse_args()
    core = str(max(os.sched_getaffinity(0)))
    feeder_command = [
        sys.executable,
        "-m",
        "benchmarks.canned_stream",
        str(options.trades),
        "1",
        core,
        str(options.rate),
    ]
    versions = {
        "other": (options.tree.resolve(), None),
        "trio-websocket": (_HERE, "trio-websocket"),
        "websockets": (_HERE, "websockets"),
    }
    figures: dict[str, list[float]] = {name: [] for name in versions}
    with subprocess.Popen(feeder_command, stdout=subprocess.PIPE, text=True, cwd=_HERE) as feeder:
        assert feeder.stdout is not None
        url = f"ws://127.0.0.1:{int(feeder.stdout.readline())}"
        try:
            for _ in range(options.rounds):
                for name, (tree, library) in versions.items():
                    figures[name].append(
                        measure(tree, library, url, options.trades, instructions=options.instructions)
                    )
        finally:
            feeder.kill()
    other = statistics.median(figures["other"])
    unit = "k instr./trade" if options.instructions else "CPU us/trade"
    lines = [*header("ingest_versions"), "", f"{'':16}{unit:>16}{'other / this':>14}"]
    for name, values in figures.items():
        lines.append(f"{name:16}{statistics.median(values):>16.1f}{other / statistics.median(values):>14.2f}")
    publish("\n".join([*lines, "", ""]), options.output)


if __name__ == "__main__":
    main()
