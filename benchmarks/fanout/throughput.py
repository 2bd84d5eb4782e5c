"""Messages per second of server CPU, against the servers that others would use, on the same bytes."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from benchmarks.fanout.client import Connection, Latencies, quantile_ms, read_all
from benchmarks.fanout.running import PATIENCE, own_server, run_server

FOLDER = Path(__file__).parent
KINDS = ("fast", "plain", "grpc-aio", "grpc-js", "bare")
SHAPES = ((1, 1), (50, 1), (500, 1), (5, 100))
"""Connections, and streams on each."""
STEADY_PER_SECOND = 5_000
"""Messages: few enough for every server to keep up, so that latencies mean something."""
CAPACITY_MESSAGES, CAPACITY_TICKS_MAX = 40_000, 4_000
Figures = dict[str, float]
Result = dict[str, dict[str, Figures]]


def measure_capacity(shapes: Sequence[tuple[int, int]], rounds: int) -> Result:
    """Each server as fast as the clients take it, with a few ticks on their way: what a busy server costs."""

    def run(start: Sequence[str], connections: int, streams: int) -> Figures:
        ticks = max(20, min(CAPACITY_TICKS_MAX, CAPACITY_MESSAGES // (connections * streams)))
        return measure(start, connections, streams, 0.0, ticks)

    return take_turns("as fast as the clients take it", shapes, rounds, run)


def measure_steady(shapes: Sequence[tuple[int, int]], seconds: float, rounds: int) -> Result:
    """All servers at one pace that leaves them idle most of the time: caches grow cold between two ticks."""

    def run(start: Sequence[str], connections: int, streams: int) -> Figures:
        rate = min(2_000.0, STEADY_PER_SECOND / (connections * streams))
        return measure(start, connections, streams, rate, max(20, round(rate * seconds)))

    return take_turns("at a steady pace", shapes, rounds, run)


def take_turns(
    how: str,
    shapes: Sequence[tuple[int, int]],
    rounds: int,
    run: Callable[[Sequence[str], int, int], Figures],
) -> Result:
    """Figures by shape and server: medians of rounds in which all servers take turns."""
    kinds = {kind: start for kind in KINDS if (start := command(kind))}
    results: Result = {}
    for connections, streams in shapes:
        taken: dict[str, list[Figures]] = {kind: [] for kind in kinds}
        for _ in range(rounds):  # all in turn, so that what else the machine does hits all alike
            for kind, start in kinds.items():
                taken[kind].append(run(start, connections, streams))
        shape = f"{connections} x {streams}"
        results[shape] = {
            kind: {name: median(each[name] for each in figures) for name in figures[0]}
            for kind, figures in taken.items()
        }
        report(f"{shape} (connections x streams), {how}", results[shape])
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


def measure(start: Sequence[str], connections: int, streams: int, rate: float, ticks: int) -> Figures:
    """One server under one shape of load; a rate of 0 is as fast as the clients take it."""
    count = connections * streams
    wanted = ticks * count
    latencies = Latencies(sample=16)
    reported = 0

    with run_server([*start, str(count), str(ticks), str(rate)]) as server:

        def report() -> None:
            nonlocal reported
            if arrived := latencies.count // count - reported:
                reported += arrived
                server.report_arrived(arrived)

        clients = [Connection(server.port, streams, latencies.take) for _ in range(connections)]
        read_all(clients, lambda: latencies.count >= wanted, PATIENCE + (ticks / rate if rate else 0), report)
        cpu = server.report_received()["cpu_seconds"]
        for client in clients:
            client.sock.close()
    if latencies.count != wanted:
        raise RuntimeError(f"{latencies.count} of {wanted} messages arrived from {start}")
    return {
        "messages_per_cpu_second": wanted / cpu,
        "latency_p50_ms": quantile_ms(latencies.values, 0.5),
        "latency_p99_ms": quantile_ms(latencies.values, 0.99),
    }


def report(title: str, result: dict[str, Figures]) -> None:
    base = result["grpc-aio"]["messages_per_cpu_second"]
    print(title)
    for kind, figures in result.items():
        per_second = figures["messages_per_cpu_second"]
        print(
            f"  {kind:9} {per_second / 1000:8.1f} thousand messages per CPU second"
            f"  {per_second / base:5.2f} x grpc.aio   latency p50 {figures['latency_p50_ms']:6.2f} ms"
            f"  p99 {figures['latency_p99_ms']:6.2f} ms",
            flush=True,
        )
