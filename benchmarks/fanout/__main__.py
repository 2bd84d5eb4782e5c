"""Fan-out: messages per second of server CPU and latency, against the servers that others would use.

usage: python -m benchmarks.fanout [--quick] [--output FOLDER]

All in one run and on the same bytes: candled's fast path, its plain path, grpc.aio, and @grpc/grpc-js where Node
is there. The clients are one process that is not counted.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.fanout.client import receive
from benchmarks.fanout.plot import bar_chart
from benchmarks.fanout.tick import SHARED

FOLDER = Path(__file__).parent
SHAPES = ((1, 1), (50, 1), (500, 1), (5, 100))
"""Connections, and streams on each."""
MESSAGES_PER_SECOND = 8_000
ROUNDS = 3
PATIENCE = 60.0
"""Seconds that a server on a busy machine may take longer than planned."""


def command(kind: str) -> list[str] | None:
    """How to start a server; None if it cannot be had here."""
    if kind != "grpc-js":
        return [sys.executable, "-m", "benchmarks.fanout.servers", kind]
    if not (FOLDER / "node_modules").is_dir():
        try:
            subprocess.run(
                ["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=FOLDER, check=True, timeout=300
            )
        except (OSError, subprocess.SubprocessError) as error:
            print(f"skipped grpc-js: npm ci did not work here ({error})", file=sys.stderr)
            return None
    return ["node", str(FOLDER / "server.js")]


def measure(start: list[str], connections: int, streams: int, seconds: float) -> dict[str, float]:
    """One server under one shape of load."""
    count = connections * streams
    rate = min(2_000.0, MESSAGES_PER_SECOND / count)
    ticks = max(20, round(rate * seconds))
    arguments = [*start, str(count), str(ticks), str(rate)]
    environment = os.environ | {"FANOUT_SHARED": SHARED.hex()}
    streams_of = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(arguments, env=environment, **streams_of) as server:
        assert server.stdout is not None
        try:
            port = json.loads(server.stdout.readline())["port"]
            cpus: list[float] = []

            def ask_for_cpu(server: "subprocess.Popen[str]" = server) -> None:
                print("received", file=server.stdin, flush=True)
                cpus.append(json.loads(server.stdout.readline())["cpu_seconds"])

            received, latencies = receive(
                port, connections, streams, ticks * count, seconds + PATIENCE, ask_for_cpu
            )
        finally:
            server.terminate()
    if received != ticks * count:
        raise RuntimeError(f"{received} of {ticks * count} messages arrived from {start}")
    latencies.sort()
    return {
        "messages_per_cpu_second": received / cpus[0],
        "latency_p50_ms": latencies[len(latencies) // 2] * 1000,
        "latency_p99_ms": latencies[len(latencies) * 99 // 100] * 1000,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round, two shapes")
    parser.add_argument("--output", type=Path, help="folder for fanout.json and fanout.svg")
    options = parser.parse_args()
    shapes = SHAPES[1:3] if options.quick else SHAPES
    seconds, rounds = (2.0, 1) if options.quick else (5.0, ROUNDS)
    kinds = {kind: start for kind in ("fast", "plain", "grpc-aio", "grpc-js") if (start := command(kind))}
    results: dict[str, dict[str, Any]] = {}
    for connections, streams in shapes:
        shape = f"{connections} x {streams}"
        taken: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
        for _ in range(rounds):  # all in turn, so that what else the machine does hits all alike
            for kind, start in kinds.items():
                taken[kind].append(measure(start, connections, streams, seconds))
        results[shape] = {
            kind: {name: median(each[name] for each in all_rounds) for name in all_rounds[0]}
            for kind, all_rounds in taken.items()
        }
        report(shape, results[shape])
    if options.output:
        save(options.output, results)


def report(shape: str, result: dict[str, dict[str, float]]) -> None:
    base = result["grpc-aio"]["messages_per_cpu_second"]
    print(f"{shape} (connections x streams)")
    for kind, figures in result.items():
        per_second = figures["messages_per_cpu_second"]
        print(
            f"  {kind:9} {per_second / 1000:8.1f} thousand messages per CPU second"
            f"  {per_second / base:5.2f} x grpc.aio   latency p50 {figures['latency_p50_ms']:6.2f} ms"
            f"  p99 {figures['latency_p99_ms']:6.2f} ms",
            flush=True,
        )


def save(folder: Path, results: dict[str, dict[str, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    header = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "command": "python -m benchmarks.fanout --output benchmarks/results",
        "message_bytes": len(SHARED),
    }
    (folder / "fanout.json").write_text(json.dumps(header | {"results": results}, indent=1) + "\n")
    chart = {
        shape: {kind: figures["messages_per_cpu_second"] / 1000 for kind, figures in result.items()}
        for shape, result in results.items()
    }
    title = "Fan-out: thousand messages per second of server CPU (connections x streams)"
    (folder / "fanout.svg").write_text(bar_chart(title, chart))


if __name__ == "__main__":
    main()
