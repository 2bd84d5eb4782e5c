"""The record of a run, for people."""

from collections.abc import Iterator
from typing import Any

_SERVERS = {
    "fast": "candled",
    "plain": "candled, plain fallback",
    "grpc-aio": "grpc.aio",
    "grpc-js": "@grpc/grpc-js",
    "bare": "bare sockets, no server",
}
_ABOUT = {
    "capacity": "Each server as fast as its clients take it, at most 8 ticks ahead: what a busy server costs.",
    "steady": "5,000 messages a second whatever the shape: servers idle in between, and caches grow cold.",
}


def as_text(record: dict[str, Any]) -> str:
    """Markdown."""
    return "\n".join(_lines(record)) + "\n"


def _lines(record: dict[str, Any]) -> Iterator[str]:
    yield "# Fan-out"
    yield ""
    yield "Made by `python -m benchmarks.fanout`. All servers send the same bytes and take turns. Ratios mean more"
    yield "than absolute figures, which the other work of a shared machine moves by half."
    for part, result in record.items():
        run, figures = result["run"], result["figures"]
        yield ""
        yield f"## {part.capitalize()}"
        yield ""
        versions = " ".join(f"{name} {number}" for name, number in run["versions"].items())
        yield f"{run['date']}; {run['machine']}; load {run['load_before']} before the run; {versions}."
        yield f"Seed 1 of the trades, nothing else is random. `{run['command']}`"
        yield ""
        yield from _throughput(part, figures) if part in _ABOUT else _CROWD_OR_LATENCY[part](figures)


def _throughput(part: str, figures: dict[str, Any]) -> Iterator[str]:
    yield _ABOUT[part]
    yield ""
    yield "| connections x streams | server | thousands per CPU second | x grpc.aio | latency p50 / p99, ms |"
    yield "|---|---|---|---|---|"
    for shape, by_kind in figures.items():
        base = by_kind["grpc-aio"]["messages_per_cpu_second"]
        for kind, each in by_kind.items():
            rate = each["messages_per_cpu_second"]
            yield (
                f"| {shape} | {_SERVERS[kind]} | {rate / 1000:.1f} | {rate / base:.2f} "
                f"| {each['latency_p50_ms']:.2f} / {each['latency_p99_ms']:.2f} |"
            )


def _latency(figures: dict[str, float]) -> Iterator[str]:
    yield (
        f"Trade sent to update received, {figures['trades_per_second']:.0f} trades/s x {figures['clients']:.0f}"
        f" clients: p50 {figures['p50_ms']:.2f} ms, p99 {figures['p99_ms']:.2f} ms, max {figures['max_ms']:.1f} ms"
    )


def _crowd(figures: dict[str, Any]) -> Iterator[str]:
    yield "100 healthy clients, alone and with 10 slow and 1 frozen ones; all but the frozen got every closed bar."
    yield ""
    yield "| | p50, ms | p99, ms | memory grew, MB |"
    yield "|---|---|---|---|"
    for name in ("alone", "with_slow_and_frozen"):
        each = figures[name]
        yield (
            f"| {name.replace('_', ' ')} | {each['p50_ms']:.2f} | {each['p99_ms']:.2f} | {each['grown_mb']:.2f} |"
        )
    yield ""
    yield "p99 with them / without, each round: " + " ".join(f"{ratio:.2f}" for ratio in figures["p99_ratios"])


_CROWD_OR_LATENCY = {"latency": _latency, "crowd": _crowd}
