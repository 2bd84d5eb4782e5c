"""The table of metrics: documented, all there, and each moved by what it counts."""

import re
import subprocess
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trio

from candled.lags import Lags
from candled.metrics import LAG_METRICS, TABLES, TableCollector, document
from tests.cli.demo import CANDLED, running, until
from tests.metrics.causes import CAUSES

ROOT = Path(__file__).parents[2]
METRICS = [metric for table in TABLES.values() for metric in table]


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
        assert metric.meaning.endswith(".")


def test_a_histogram_counts_each_duration_under_every_bound_that_it_does_not_exceed() -> None:
    lags = Lags()
    for seconds in (0.00005, 0.003, 100.0):
        lags.published.observe(seconds)
    (family,) = TableCollector(LAG_METRICS, lambda: lags).collect()
    found = {
        (sample.name.removeprefix("candled_lag_seconds_"), sample.labels.get("le")): sample.value
        for sample in family.samples
        if sample.labels["stage"] == "published"
    }
    assert found["bucket", "0.0001"] == found["bucket", "0.0025"] == 1
    assert found["bucket", "0.005"] == found["bucket", "30.0"] == 2
    assert found["bucket", "+Inf"] == found["count", None] == 3
    assert found["sum", None] == pytest.approx(100.00305)


def test_what_waits_longest_for_the_disk_is_measured_once_it_is_stored() -> None:
    lags = Lags()
    lags.told(5, 10.0)
    lags.told(7, 11.0)
    lags.kept(6, 12.0)
    assert (lags.stored.count, lags.stored.sum) == (1, 2.0)
    lags.kept(7, 12.5)
    assert (lags.stored.count, lags.stored.sum) == (2, 3.5)


@pytest.mark.parametrize("name", CAUSES)
async def test_it_moves_when_its_cause_happens_to_its_part(name: str, tmp_path: Path) -> None:
    with trio.fail_after(30):
        found = await CAUSES[name](tmp_path)
    assert found[name] > 0


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
def test_every_other_metric_of_a_daemon_moves_when_its_cause_happens(tmp_path) -> None:
    awaited = {name for metric in METRICS if metric.name not in CAUSES for name in names_shown(metric)}
    most: dict[str, float] = {}
    market = running(
        *("exchange", "--address", "127.0.0.1:0", "--speed", "60"),
        directory=tmp_path,
        says=r"REST at http://([^;]+);",
    )
    with market as exchange:
        urls = ("--stream-urls", f"ws://{exchange}", "--rest-urls", f"http://{exchange}")
        ports = ("--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0")
        daemon = running("run", *urls, *ports, directory=tmp_path, says=r'"grpc": "([^"]+)", "http": "([^"]+)"')
        with (
            daemon as (grpc, http),
            httpx.Client(base_url=f"http://{http}") as client,
            client.stream("GET", "/api/stream?symbol=BTCUSDT"),
            watching(grpc, tmp_path),
        ):

            def commit(faults, *moves):
                """Let these faults happen until those have been seen to be more than 0."""
                httpx.post(f"http://{exchange}/faults", content=faults).raise_for_status()

                def moved():
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


def names_shown(metric):
    """The samples of a metric that must be more than 0 once its cause has happened."""
    return [f"{metric.name}_count", f"{metric.name}_sum"] if metric.kind == "histogram" else [metric.name]


@contextmanager
def watching(address, directory):
    """A gRPC client that reads every trade."""
    with subprocess.Popen(
        [*CANDLED, "watch", "--plain", "--address", address], cwd=directory, stdout=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.kill()
