"""The table of metrics: documented, all there, and each moved by what it counts."""

from pathlib import Path

import httpx
import pytest

from candled.metrics import TABLES, document
from tests.cli.demo import running, until

ROOT = Path(__file__).parents[2]
METRICS = [metric for table in TABLES.values() for metric in table]

ELSEWHERE = {
    "candled_overlapping_aggregates_total": "tests/engine, where aggregates come that overlap",
    "candled_feed_dropped_batches_total": "tests/feed, where the engine stands still",
    "candled_repair_klines_total": "tests/simulation, where the daemon was away for long",
    "candled_stream_conflated_total": "tests/web/test_chart_data.py, with a slow chart",
    "candled_stream_fell_behind_total": "tests/stream, with a frozen client",
    "candled_history_write_errors_total": "tests/history, on a full disk",
}
"""Counters that this test cannot move, and where their cause is made to happen."""


def test_the_document_is_the_table() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text() == document(), "run: make metrics-doc"


def test_names_follow_the_rules_of_the_ecosystem() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert metric.name.startswith("candled_")
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert metric.meaning.endswith(".")


def read(client):
    """Sum of the samples of each metric, over its labels."""
    sums: dict[str, float] = {}
    for line in client.get("/metrics").text.splitlines():
        if not line.startswith("#"):
            sample, value = line.rsplit(" ", 1)
            name = sample.partition("{")[0]
            sums[name] = sums.get(name, 0) + float(value)
    return sums


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_every_metric_is_there_and_moves_when_its_cause_happens(tmp_path) -> None:
    counters = {metric.name for metric in METRICS if metric.kind == "counter"} - ELSEWHERE.keys()
    market = running(
        *("exchange", "--address", "127.0.0.1:0", "--speed", "60"),
        directory=tmp_path,
        says=r"REST at http://([^;]+);",
    )
    with market as exchange:
        urls = ("--stream-urls", f"ws://{exchange}", "--rest-urls", f"http://{exchange}")
        ports = ("--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0")
        daemon = running("run", *urls, *ports, directory=tmp_path, says=r'"http": "([^"]+)"')
        with (
            daemon as http,
            httpx.Client(base_url=f"http://{http}") as client,
            client.stream("GET", "/api/stream?symbol=BTCUSDT"),
        ):

            def commit(faults, *moves):
                """Let these faults happen until those counters have moved."""
                httpx.post(f"http://{exchange}/faults", content=faults).raise_for_status()
                until(lambda: not {name for name in moves if not read(client).get(name)}, 40)

            commit("shutdown", "candled_feed_roll_overs_total")
            commit("malformed=0.05,double=0.05", "candled_feed_malformed_total", "candled_duplicate_trades_total")
            commit("malformed=0,double=0,refuse,cut", "candled_feed_connect_failures_total")
            commit("refuse=off", "candled_feed_disconnects_total", "candled_reconnects_total")
            commit("lose=0.05,rest_500=0.5", "candled_repair_failures_total", "candled_rest_failures_total")
            commit("rest_500=0,unfillable=0.5", "candled_repair_unfillable_total")
            commit("lose=0,stall:BTCUSDT", "candled_feed_stalls_total")
            commit("stall:BTCUSDT=off", *counters)
            sums = read(client)
    assert {metric.name for metric in METRICS} - sums.keys() == set()
    assert sums["candled_subscribers"] >= 1
    assert sums["candled_build_info"] == 1
    assert sums["process_resident_memory_bytes"] > 10_000_000
