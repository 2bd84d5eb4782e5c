"""The table of metrics: documented, all there, and each moved by what it counts."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import trio

from candled.daemon.metrics import TABLES, document
from candled.daemon.metrics.bus import EDGE_METRICS, INGEST_METRICS
from candled.daemon.metrics.outputs import LAG_METRICS, UPLOAD_METRICS
from candled.history.objects.statistics import UploadStatistics
from candled.telemetry.histogram import Histogram
from candled.telemetry.latency import LatencyHistograms
from candled.telemetry.table import Metric, TableCollector
from tests.cli.demo import CANDLED, running, until
from tests.metrics.causes import CAUSES, shown

ROOT = Path(__file__).parents[2]
METRICS = [metric for table in TABLES.values() for metric in table]
ELSEWHERE = ("candled_upload_", "candled_bus_", "candled_edge_")
"""Of an object store and of other roles, which a daemon on its own has not."""


def test_the_document_is_the_table() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text() == document(), "run: make metrics-doc"


def test_names_follow_the_rules_of_the_ecosystem() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert metric.name.startswith("candled_")
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        if metric.kind == "histogram":
            assert metric.name.endswith("_seconds"), metric.name
        assert metric.help.endswith(".")


def test_histogram_is_cumulative() -> None:
    """A duration counts under every bound that it does not exceed."""
    latency = LatencyHistograms()
    for seconds in (0.00005, 0.003, 100.0):
        latency.published.observe(seconds)
    (family,) = TableCollector(LAG_METRICS, lambda: latency).collect()
    found = {
        (sample.name.removeprefix("candled_lag_seconds_"), sample.labels.get("le")): sample.value
        for sample in family.samples
        if sample.labels["stage"] == "published"
    }
    assert found["bucket", "0.0001"] == found["bucket", "0.0025"] == 1
    assert found["bucket", "0.005"] == found["bucket", "30.0"] == 2
    assert found["bucket", "+Inf"] == found["count", None] == 3
    assert found["sum", None] == pytest.approx(100.00305)


def test_each_figure_of_the_upload_is_shown() -> None:
    """By the name that says what it is."""
    upload = UploadStatistics(
        behind_seconds=1.5, files_waiting=2, files_put=3, bytes_put=4, objects_deleted=5, errors=6, fenced=True
    )
    assert shown(UPLOAD_METRICS, upload) == {
        "candled_upload_behind_seconds": 1.5,
        "candled_upload_files_waiting": 2,
        "candled_upload_files_total": 3,
        "candled_upload_bytes_total": 4,
        "candled_upload_deleted_total": 5,
        "candled_upload_errors_total": 6,
        "candled_upload_stopped": 1,
    }


def test_each_figure_of_the_bus_is_shown() -> None:
    """At an ingester and at an edge."""
    appends = SimpleNamespace(counts={"stored": 3, "lost": 1}, waiting=5, contradictions=6, too_old=7)
    taken = Histogram()
    taken.observe(0.25)
    ingester = SimpleNamespace(
        connections=1, updates_published=2, appends=appends, refused_payloads=8, append_seconds=taken, rank=9
    )
    assert shown(INGEST_METRICS, ingester) == {
        "candled_bus_connections_total": 1,
        "candled_bus_updates_published_total": 2,
        "candled_bus_appends_total": 4,
        "candled_bus_append_seconds_bucket": 8,  # of 0.25 s and longer
        "candled_bus_append_seconds_count": 1,
        "candled_bus_append_seconds_sum": 0.25,
        "candled_bus_rank": 9,
        "candled_bus_waiting_bars": 5,
        "candled_bus_contradictions_total": 6,
        "candled_bus_too_old_total": 7,
        "candled_bus_payloads_refused_total": 8,
    }
    order = SimpleNamespace(dropped=3, sequence=4)
    edge = SimpleNamespace(
        connections=1, updates=2, order=order, refused_payloads=5, live_ingesters={"BTCUSDT": 2, "ETHUSDT": 1}
    )
    assert shown(EDGE_METRICS, edge) == {
        "candled_edge_bus_connections_total": 1,
        "candled_edge_updates_total": 2,
        "candled_edge_updates_dropped_total": 3,
        "candled_edge_log_sequence": 4,
        "candled_edge_symbol_ingesters": 3,
        "candled_edge_payloads_refused_total": 5,
    }


@pytest.mark.parametrize("name", CAUSES)
async def test_cause_at_a_part_moves_its_metric(name: str, tmp_path: Path) -> None:
    """Each of these metrics moves when its cause happens to its part."""
    with trio.fail_after(30):
        found = await CAUSES[name](tmp_path)
    assert found[name] > 0


def read(client: httpx.Client) -> dict[str, float]:
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
def test_cause_at_a_daemon_moves_its_metric(tmp_path: Path) -> None:
    """Each of the others moves when its cause happens to a whole daemon."""
    here = [metric for metric in METRICS if metric.name not in CAUSES and not metric.name.startswith(ELSEWHERE)]
    awaited = {name for metric in here for name in names_shown(metric)}
    most: dict[str, float] = {}
    market = running(
        *("exchange", "--address", "127.0.0.1:0", "--speed", "60", "--weight-limit", "60000"),
        directory=tmp_path,
        says=r"REST at http://([^;]+);",
    )
    with market as exchange:
        urls = (
            *("--stream-urls", f"ws://{exchange}", "--rest-urls", f"http://{exchange}"),
            *("--rest-weight-per-minute", "40000"),  # a fast market with many faults
        )
        ports = ("--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0")
        daemon = running("run", *urls, *ports, directory=tmp_path, says=r'"grpc": "([^"]+)", "http": "([^"]+)"')
        with (
            daemon as (grpc, http),
            httpx.Client(base_url=f"http://{http}") as client,
            client.stream("GET", "/api/stream?symbol=BTCUSDT"),
            watching(grpc, tmp_path),
        ):

            def commit(faults: str, *moves: str) -> None:
                """Let these faults happen until those have been seen to be more than 0."""
                httpx.post(f"http://{exchange}/faults", content=faults).raise_for_status()

                def moved() -> bool:
                    for name, value in read(client).items():
                        most[name] = max(most.get(name, 0), value)
                    return not {name for name in moves if not most.get(name)}

                try:
                    until(moved, 40)
                except AssertionError:
                    still = {name for name in moves if not most.get(name)}
                    raise AssertionError(f"with {faults}, these did not move: {sorted(still)}") from None

            commit("shutdown", "candled_feed_roll_overs_total")
            commit("malformed=0.05,double=0.05", "candled_feed_malformed_total", "candled_duplicate_trades_total")
            commit("malformed=0,double=0,refuse,cut", "candled_feed_connect_failures_total")
            commit("rest_weight=many", "candled_rest_refused_total")
            commit("rest_weight=off", "candled_feed_refused_total")
            commit("refuse=off", "candled_feed_disconnects_total", "candled_reconnects_total")
            commit("lose=0.05,rest_500=0.5", "candled_repair_failures_total", "candled_rest_failures_total")
            commit("rest_500=0,unfillable=0.5", "candled_repair_unfillable_total", "candled_gaps_unfillable")
            commit("lose=0,stall:BTCUSDT", "candled_feed_stalls_total")
            commit("stall:BTCUSDT=off", *awaited)
            stages = {
                stage: count
                for stage, count in re.findall(
                    r'candled_lag_seconds_count\{stage="(\w+)"\} (\S+)', client.get("/metrics").text
                )
                if float(count) > 0
            }
    assert stages.keys() == {"received", "published", "stored"}
    assert most["candled_build_info"] == 1
    assert most["process_resident_memory_bytes"] > 10_000_000


def names_shown(metric: Metric[Any]) -> list[str]:
    """The samples of a metric that must be more than 0 once its cause has happened."""
    return [f"{metric.name}_count", f"{metric.name}_sum"] if metric.kind == "histogram" else [metric.name]


@contextmanager
def watching(address: str, directory: Path) -> Iterator[None]:
    """A gRPC client that reads every trade."""
    with subprocess.Popen(
        [*CANDLED, "watch", "--plain", "--address", address], cwd=directory, stdout=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.kill()
