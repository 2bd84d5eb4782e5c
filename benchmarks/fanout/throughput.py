"""Messages per second of server CPU, against the servers that others would use, on the same bytes."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.fanout.client import Connection, Latencies, quantile_ms, read_all
from benchmarks.fanout.running import PATIENCE, own_server, run_server

FOLDER = Path(__file__).parent
SHAPES = ((1, 1), (50, 1), (500, 1), (5, 100))
"""Connections, and streams on each."""
MESSAGES_PER_SECOND = 5_000
"""Few enough for every server to keep up: one that falls behind sends in bulk, and looks cheaper than it is."""
Figures = dict[str, float]


def measure_throughput(
    shapes: Sequence[tuple[int, int]], seconds: float, rounds: int
) -> dict[str, dict[str, Figures]]:
    """Figures by shape and server: medians of rounds in which all servers take turns."""
    kinds = {kind: start for kind in ("fast", "plain", "grpc-aio", "grpc-js") if (start := command(kind))}
    results = {}
    for connections, streams in shapes:
        taken: dict[str, list[Figures]] = {kind: [] for kind in kinds}
        for _ in range(rounds):  # all in turn, so that what else the machine does hits all alike
            for kind, start in kinds.items():
                taken[kind].append(measure(start, connections, streams, seconds))
        shape = f"{connections} x {streams}"
        results[shape] = {
            kind: {name: median(each[name] for each in figures) for name in figures[0]}
            for kind, figures in taken.items()
        }
        report(shape, results[shape])
    return results


def command(kind: str) -> list[str] | None:
    """How to start a server; None if it cannot be had here."""
    if kind != "grpc-js":
        return own_server(kind)
    if not (FOLDER / "node_modules").is_dir():
        try:
            npm = ["npm", "ci", "--omit-lockfile-registry-resolved", "--silent", "--no-audit", "--no-fund"]
            subprocess.run(npm, cwd=FOLDER, check=True, timeout=300)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"skipped grpc-js: npm ci did not work here ({error})", file=sys.stderr)
            return None
    return ["node", str(FOLDER / "server.js")]


def measure(start: Sequence[str], connections: int, streams: int, seconds: float) -> Figures:
    """One server under one shape of load."""
    count = connections * streams
    rate = min(2_000.0, MESSAGES_PER_SECOND / count)
    ticks = max(20, round(rate * seconds))
    latencies = Latencies(sample=16)
    with run_server([*start, str(count), str(ticks), str(rate)]) as server:
        clients = [Connection(server.port, streams, latencies.take) for _ in range(connections)]

        def received() -> int:
            return sum(client.messages for client in clients)

        read_all(clients, lambda: received() >= ticks * count, seconds + PATIENCE)
        cpu = server.tell_received()["cpu_seconds"]
        for client in clients:
            client.sock.close()
    if received() != ticks * count:
        raise RuntimeError(f"{received()} of {ticks * count} messages arrived from {start}")
    return {
        "messages_per_cpu_second": received() / cpu,
        "latency_p50_ms": quantile_ms(latencies.values, 0.5),
        "latency_p99_ms": quantile_ms(latencies.values, 0.99),
    }


def report(shape: str, result: dict[str, Figures]) -> None:
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
