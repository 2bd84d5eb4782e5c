"""The metrics that ``/metrics`` shows: a table for each part, read from its statistics at each scrape."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio
from prometheus_client import PlatformCollector, ProcessCollector
from prometheus_client.registry import Collector

from candled.daemon.lifecycle import Lifecycle, ServingParts
from candled.daemon.metrics.bars import ENGINE_METRICS, STATUS_METRICS
from candled.daemon.metrics.bus import EDGE_METRICS, INGEST_METRICS
from candled.daemon.metrics.exchange import FEED_METRICS, REPAIR_METRICS, REST_METRICS
from candled.daemon.metrics.outputs import (
    GRPC_METRICS,
    HISTORY_METRICS,
    HTTP_METRICS,
    LAG_METRICS,
    STREAM_METRICS,
    UPLOAD_METRICS,
)
from candled.daemon.metrics.process import LOG_METRICS, LOOP_METRICS, QUEUE_METRICS, RUN_METRICS
from candled.daemon.pipeline import Pipeline
from candled.domain.status import DaemonStatus
from candled.feed.adapter import RestClient
from candled.stream.web.application import HttpCounts
from candled.telemetry.latency import LatencyHistograms
from candled.telemetry.logging import LogCounts
from candled.telemetry.table import Metric, TableCollector
from candled.telemetry.watchdog import LoopWatch

if TYPE_CHECKING:
    from candled.daemon.edge_status import EdgeStatus

T = TypeVar("T")
Collectors = list[Collector]

TABLES: Final[Mapping[str, Sequence[Metric[Any]]]] = {
    "The daemon and its symbols": STATUS_METRICS,
    "Bars": ENGINE_METRICS,
    "Feed": FEED_METRICS,
    "Repair": REPAIR_METRICS,
    "REST": REST_METRICS,
    "Streams": STREAM_METRICS,
    "gRPC": GRPC_METRICS,
    "HTTP": HTTP_METRICS,
    "History": HISTORY_METRICS,
    "Object store": UPLOAD_METRICS,
    "Lag by stage": LAG_METRICS,
    "Bus, at an ingester": INGEST_METRICS,
    "Bus, at an edge": EDGE_METRICS,
    "Queues": QUEUE_METRICS,
    "Event loop": LOOP_METRICS,
    "Tasks": RUN_METRICS,
    "Logs": LOG_METRICS,
}
"""Every table by its heading in docs/metrics.md."""


def make_collectors(
    *,
    lifecycle: Lifecycle,
    status: Callable[[], DaemonStatus],
    rest: RestClient,
    http: HttpCounts,
    latency: LatencyHistograms,
    loop: LoopWatch,
    logs: LogCounts | None,
) -> Collectors:
    """Make the collectors of ``/metrics``; parts that do not exist in the present phase have no samples.

    Args:
        lifecycle: gives the parts that exist.
        status: the daemon's state.
        rest: client of the exchange's REST side.
        http: counts of the HTTP port.
        latency: how long the stages of a trade's way take.
        loop: how long the event loop is held.
        logs: counts of log lines.
    """

    def serving(read: Callable[[ServingParts], T | None]) -> Callable[[], T | None]:
        return lambda: None if lifecycle.serving is None else read(lifecycle.serving)

    def live(read: Callable[[Pipeline], T]) -> Callable[[], T | None]:
        return lambda: None if lifecycle.pipeline is None else read(lifecycle.pipeline)

    return [
        TableCollector(STATUS_METRICS, status),
        TableCollector(ENGINE_METRICS, serving(lambda parts: parts.engine.statistics())),
        TableCollector(FEED_METRICS, live(lambda pipeline: pipeline.feed)),
        TableCollector(REPAIR_METRICS, live(lambda pipeline: pipeline.repairer.counts)),
        TableCollector(REST_METRICS, lambda: rest),
        TableCollector(STREAM_METRICS, serving(lambda parts: parts.hub.statistics() if parts.hub else None)),
        TableCollector(GRPC_METRICS, serving(lambda parts: parts.grpc_statistics and parts.grpc_statistics())),
        TableCollector(HTTP_METRICS, lambda: http),
        TableCollector(LAG_METRICS, lambda: latency),
        TableCollector(
            HISTORY_METRICS, serving(lambda parts: parts.store_statistics and parts.store_statistics())
        ),
        TableCollector(INGEST_METRICS, serving(lambda parts: parts.bus)),
        TableCollector(
            UPLOAD_METRICS, serving(lambda parts: parts.upload_statistics and parts.upload_statistics())
        ),
        TableCollector(QUEUE_METRICS, lifecycle.queues),
        *_process_collectors(loop, logs),
    ]


def make_edge_collectors(
    status: "EdgeStatus", *, http: HttpCounts, loop: LoopWatch, logs: LogCounts | None
) -> Collectors:
    """Make the collectors of an edge's ``/metrics``.

    Args:
        status: gives the edge's parts.
        http: counts of the HTTP port.
        loop: how long the event loop is held.
        logs: counts of log lines.
    """
    return [
        TableCollector(STATUS_METRICS, status.status),
        TableCollector(STREAM_METRICS, lambda: status.bars.hub.statistics() if status.bars else None),
        TableCollector(GRPC_METRICS, lambda: status.grpc_statistics and status.grpc_statistics()),
        TableCollector(HTTP_METRICS, lambda: http),
        TableCollector(EDGE_METRICS, lambda: status.bars.bus if status.bars else None),
        *_process_collectors(loop, logs),
    ]


def _process_collectors(loop: LoopWatch, logs: LogCounts | None) -> Collectors:
    return [
        TableCollector(LOOP_METRICS, lambda: loop),
        TableCollector(RUN_METRICS, trio.lowlevel.current_statistics),
        TableCollector(LOG_METRICS, lambda: logs.statistics() if logs else None),
        ProcessCollector(registry=None),
        PlatformCollector(registry=None),
    ]


def document() -> str:
    """Return the text of docs/metrics.md; ``make metrics-doc`` writes it."""
    lines = [
        "# Metrics",
        "",
        "What `/metrics` on the HTTP port shows, in the Prometheus text format (or OpenMetrics on request). Every",
        "number is read from its part at the moment of the scrape. The usual `process_*` and `python_info` of the",
        "Prometheus client come with them. Generated from `candled/daemon/metrics/` by `make metrics-doc`; a",
        "test compares the two.",
    ]
    for heading, table in TABLES.items():
        lines += ["", f"## {heading}", "", "| metric | kind | labels | meaning |", "|---|---|---|---|"]
        for metric in table:
            labels = ", ".join(f"`{label}`" for label in metric.labels)
            lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join(lines) + "\n"
