"""One frozen and ten slow clients among a hundred healthy ones: what those notice, and the memory it takes."""

import time
from statistics import median
from typing import Any

from benchmarks.fanout.client import Connection, quantile_ms, read_all
from benchmarks.fanout.running import PATIENCE, own_server, run_server
from candled.api import candles_pb2 as pb

HEALTHY, SLOW, FROZEN = 100, 10, 1
TICKS_PER_SECOND = 50
SLOW_READ_BYTES, SLOW_READS_PER_SECOND = 1_024, 10
"""A slow client takes 10 kB a second of the 15 kB that are sent."""


class Watcher:
    """What one client got: latencies, and the sequence of closed bars."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.closed: list[int] = []

    def take(self, data: bytes, now: float) -> None:
        message = pb.StreamBarsResponse.FromString(data)
        self.latencies.append(now - message.send_time.seconds - message.send_time.nanos / 1e9)
        if message.kind == pb.BAR_KIND_CLOSE:
            self.closed.append(message.bar.open_time.seconds)


def measure_crowd(seconds: float, rounds: int) -> dict[str, Any]:
    """Both crowds in turn, so that what else the machine does hits both alike."""
    alone, crowded = [], []
    for _ in range(rounds):
        alone.append(measure(seconds, with_others=False))
        crowded.append(measure(seconds, with_others=True))
    result: dict[str, Any] = {
        "alone": {name: median(each[name] for each in alone) for name in alone[0]},
        "with_slow_and_frozen": {name: median(each[name] for each in crowded) for name in crowded[0]},
    }
    result["p99_ratios"] = [b["p99_ms"] / a["p99_ms"] for a, b in zip(alone, crowded, strict=True)]
    for name, figures in list(result.items())[:2]:
        print(
            f"{HEALTHY} healthy clients, {name.replace('_', ' ')}: p50 {figures['p50_ms']:.2f} ms"
            f"  p99 {figures['p99_ms']:.2f} ms  memory grew by {figures['grown_mb']:.1f} MB"
        )
    shown = " ".join(f"{ratio:.2f}" for ratio in result["p99_ratios"])
    print(f"  p99 with {SLOW} slow and {FROZEN} frozen ones / without, each round: {shown}", flush=True)
    return result


def measure(seconds: float, *, with_others: bool) -> dict[str, float]:
    """One run; fails if a closed bar is missing anywhere."""
    ticks = round(TICKS_PER_SECOND * seconds)
    others = SLOW + FROZEN if with_others else 0
    with run_server(own_server("crowd", HEALTHY + others, ticks, TICKS_PER_SECOND)) as server:
        watchers = [Watcher() for _ in range(HEALTHY + SLOW)]
        small = {"receive_buffer": 4_096}
        healthy = [Connection(server.port, 1, watcher.take) for watcher in watchers[:HEALTHY]]
        slow = [
            Connection(server.port, 1, watcher.take, read=SLOW_READ_BYTES, **small)
            for watcher in (watchers[HEALTHY:] if with_others else [])
        ]
        frozen = [Connection(server.port, 1, _nothing, **small) for _ in range(others - len(slow))]
        due = time.monotonic()

        def read_slowly() -> None:
            nonlocal due
            if time.monotonic() >= due:
                due = time.monotonic() + 1 / SLOW_READS_PER_SECOND
                for client in slow:
                    client.read()

        def healthy_have_all() -> bool:
            return min(len(watcher.closed) for watcher in watchers[:HEALTHY]) >= ticks // 10

        read_all(healthy, healthy_have_all, seconds + PATIENCE, read_slowly)
        received = server.report_received()
        deadline = time.monotonic() + PATIENCE
        while (
            slow
            and min(len(w.closed) for w in watchers[HEALTHY:]) < received["closed"]
            and time.monotonic() < deadline
        ):
            read_slowly()
            time.sleep(0.02)
        for client in [*healthy, *slow, *frozen]:
            client.sock.close()
    for watcher in watchers[: HEALTHY + len(slow)]:
        if len(watcher.closed) != received["closed"] or watcher.closed != sorted(watcher.closed):
            raise RuntimeError(f"{len(watcher.closed)} of {received['closed']} closed bars arrived")
    latencies = [latency for watcher in watchers[:HEALTHY] for latency in watcher.latencies]
    return {
        "p50_ms": quantile_ms(latencies, 0.5),
        "p99_ms": quantile_ms(latencies, 0.99),
        "grown_mb": received["grown_mb"],
        "slow_got_messages": float(sum(client.messages for client in slow)) / max(1, len(slow)),
    }


def _nothing(_data: bytes, _now: float) -> None:
    pass
