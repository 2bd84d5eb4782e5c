"""What ``/metrics`` shows: a table of metrics, each read at scrape time from the frozen statistics of a part."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Generic, Literal, TypeVar

import attrs
import trio
from prometheus_client import PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as MetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from candled.domain.durations import BOUNDS, Durations
from candled.domain.status import DaemonStatus, GapState, SymbolStatus
from candled.engine.engine import Engine
from candled.engine.symbol import Counts
from candled.feed.binance.feed import BinanceFeed
from candled.feed.binance.rest import BinanceRest
from candled.feed.interface import TRADING
from candled.feed.repair import RepairCounts, Repairer
from candled.history import History, HistoryStatistics
from candled.lags import Lags
from candled.logs import LogCounts
from candled.stream.grpc.connections import ServerStatistics
from candled.stream.grpc.server import GrpcServer
from candled.stream.hub import Hub, HubStatistics
from candled.stream.web.application import HttpCounts

T = TypeVar("T")
_BOUNDS: Final = (*map(floatToGoString, BOUNDS), "+Inf")
Sample = tuple[tuple[str, ...], float | Durations]
"""Values of the labels, in their order, and the number, or what a histogram shows."""


@attrs.frozen
class Metric(Generic[T]):
    """One metric: how it is called, what it means, and where in ``T`` its samples are."""

    name: str
    """With its unit last; a counter's ends in ``_total``."""
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...]
    read: Callable[[T], Iterable[Sample]]


@attrs.frozen
class TableCollector(Collector, Generic[T]):
    """Shows the metrics of one table; ``source`` gives the statistics at the moment of a scrape."""

    table: Sequence[Metric[T]]
    source: Callable[[], T | None]
    """None while that part is not there: its metrics then have no samples."""

    def collect(self) -> Iterable[MetricFamily]:
        """One family for each row of the table."""
        statistics = self.source()
        for metric in self.table:
            yield _family(metric, () if statistics is None else metric.read(statistics))

    def describe(self) -> Iterable[MetricFamily]:
        """Nothing, so that registering does not read the statistics of a part that is still starting."""
        return ()


def _family(metric: Metric[T], samples: Iterable[Sample]) -> MetricFamily:
    family: CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
    match metric.kind:
        case "counter":
            family = CounterMetricFamily(metric.name, metric.meaning, labels=metric.labels)
        case "gauge":
            family = GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
        case "histogram":
            family = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    for labels, value in samples:
        if isinstance(family, HistogramMetricFamily):
            assert isinstance(value, Durations)
            family.add_metric(labels, list(zip(_BOUNDS, value.cumulative(), strict=True)), value.sum)
        else:
            assert not isinstance(value, Durations)
            family.add_metric(labels, value)
    return family


def _each(read: Callable[[SymbolStatus], float | None]) -> Callable[[DaemonStatus], Iterable[Sample]]:
    def samples(status: DaemonStatus) -> Iterable[Sample]:
        for symbol in status.symbols:
            value = read(symbol)
            if value is not None:
                yield (symbol.symbol,), value

    return samples


def _gaps(state: GapState) -> Callable[[SymbolStatus], float]:
    return lambda symbol: sum(gap.state is state for gap in symbol.gaps)


def _missing(symbol: SymbolStatus) -> float:
    return sum(gap.last_id - gap.first_id + 1 for gap in symbol.gaps)


STATUS_METRICS: Final[Sequence[Metric[DaemonStatus]]] = (
    Metric(
        "candled_build_info", "gauge", "Always 1; the label says which version runs.", ("version",),
        lambda status: [((status.version,), 1)],
    ),
    Metric(
        "candled_start_time_seconds", "gauge", "When the daemon started, seconds since the epoch.", (),
        lambda status: [((), status.start_time / 1_000_000)],
    ),
    Metric(
        "candled_ready", "gauge", "1 while /readyz says ready.", (),
        lambda status: [((), not status.not_ready_reasons)],
    ),
    Metric(
        "candled_exchange_time_seconds", "gauge", "Estimate of the exchange's present time.", (),
        lambda status: [((), status.exchange_time / 1_000_000)],
    ),
    Metric(
        "candled_trades_total", "counter", "Trades counted into bars.", ("symbol",),
        _each(lambda symbol: symbol.trades),
    ),
    Metric(
        "candled_duplicate_trades_total", "counter", "Trades that came again and were not counted.", ("symbol",),
        _each(lambda symbol: symbol.duplicates),
    ),
    Metric(
        "candled_symbol_live", "gauge", "1 while the symbol's stream is connected and fresh.", ("symbol",),
        _each(lambda symbol: symbol.live),
    ),
    Metric(
        "candled_symbol_trading", "gauge", "1 while the exchange says that the symbol is traded.", ("symbol",),
        _each(lambda symbol: symbol.trading_status == TRADING),
    ),
    Metric(
        "candled_feed_lag_seconds", "gauge", "Arrival of the newest trade after its exchange time.", ("symbol",),
        _each(lambda symbol: symbol.lag_ms / 1000),
    ),
    Metric(
        "candled_last_trade_time_seconds", "gauge", "Exchange time of the newest trade.", ("symbol",),
        _each(lambda symbol: None if symbol.last_trade_time is None else symbol.last_trade_time / 1_000_000),
    ),
    Metric(
        "candled_reconnects_total", "counter", "Times the symbol's stream was connected again.", ("symbol",),
        _each(lambda symbol: symbol.reconnects),
    ),
    Metric(
        "candled_gaps_open", "gauge", "Ranges of trade ids that are missing and under repair.", ("symbol",),
        _each(_gaps(GapState.OPEN)),
    ),
    Metric(
        "candled_gaps_unfillable", "gauge", "Ranges of trade ids that the exchange does not have.", ("symbol",),
        _each(_gaps(GapState.UNFILLABLE)),
    ),
    Metric(
        "candled_trades_missing", "gauge", "Trade ids in open and unfillable gaps.", ("symbol",),
        _each(_missing),
    ),
    Metric(
        "candled_gaps_filled_total", "counter", "Ranges of trade ids that were missing and have been repaired.",
        ("symbol",),
        _each(lambda symbol: symbol.gaps_filled),
    ),
)  # fmt: skip
"""Read from ``DaemonStatus``."""


def _one(read: Callable[[T], float | Durations]) -> Callable[[T], Iterable[Sample]]:
    return lambda statistics: [((), read(statistics))]


def _each_symbol(read: Callable[[Counts], float]) -> Callable[[Engine], Iterable[Sample]]:
    return lambda engine: [((name,), read(symbol.counts)) for name, symbol in engine.symbols.items()]


ENGINE_METRICS: Final[Sequence[Metric[Engine]]] = (
    Metric(
        "candled_gaps_total", "counter", "Jumps in trade ids.", ("symbol",),
        _each_symbol(lambda counts: counts.gaps),
    ),
    Metric(
        "candled_overlapping_aggregates_total", "counter",
        "Aggregates not applied because part of their trades had been seen; their missing ids are fetched.",
        ("symbol",),
        _each_symbol(lambda counts: counts.overlaps),
    ),
    Metric(
        "candled_closed_bars_total", "counter", "1-minute bars closed.", ("symbol",),
        _each_symbol(lambda counts: counts.closes),
    ),
    Metric(
        "candled_incomplete_closes_total", "counter", "1-minute bars not proven complete at their close.",
        ("symbol",),
        _each_symbol(lambda counts: counts.incomplete_closes),
    ),
    Metric(
        "candled_revisions_total", "counter", "Closed 1-minute bars that changed.", ("symbol",),
        _each_symbol(lambda counts: counts.revisions),
    ),
    Metric(
        "candled_misdated_trades_total", "counter",
        "Trades of the stream dated so far ahead that REST was asked for them instead.", (),
        _one(lambda engine: engine.absurd_trades),
    ),
    Metric(
        "candled_unknown_trades_total", "counter", "Trades of symbols that nobody asked for, let go.", (),
        _one(lambda engine: engine.unknown_trades),
    ),
)  # fmt: skip
"""Read from the engine."""

FEED_METRICS: Final[Sequence[Metric[BinanceFeed]]] = (
    Metric(
        "candled_feed_frames_total", "counter", "Websocket frames read from the exchange.", (),
        _one(lambda feed: feed.counts.frames),
    ),
    Metric(
        "candled_feed_received_bytes_total", "counter", "Bytes of those frames' texts.", (),
        _one(lambda feed: feed.counts.bytes),
    ),
    Metric(
        "candled_feed_connections", "gauge", "Stream connections that are open.", (),
        _one(lambda feed: feed.connected),
    ),
    Metric(
        "candled_feed_malformed_total", "counter", "Frames skipped: no message of the exchange.", (),
        _one(lambda feed: feed.counts.malformed),
    ),
    Metric(
        "candled_feed_dropped_batches_total", "counter",
        "Batches of trades that found the engine's queue full; their trades are fetched later.", (),
        _one(lambda feed: feed.counts.dropped_batches),
    ),
    Metric(
        "candled_feed_connects_total", "counter", "Stream connections opened.", (),
        _one(lambda feed: feed.counts.connects),
    ),
    Metric(
        "candled_feed_connect_failures_total", "counter", "Attempts to connect that failed.", (),
        _one(lambda feed: feed.counts.connect_failures),
    ),
    Metric(
        "candled_feed_disconnects_total", "counter", "Stream connections that were lost.", (),
        _one(lambda feed: feed.counts.disconnects),
    ),
    Metric(
        "candled_feed_roll_overs_total", "counter", "Connections replaced before the exchange ended them.",
        (),
        _one(lambda feed: feed.counts.roll_overs),
    ),
    Metric(
        "candled_feed_stalls_total", "counter", "Streams replaced: silent while trades took place.",
        (),
        _one(lambda feed: feed.counts.stalls),
    ),
)  # fmt: skip
"""Read from the feed."""

REPAIR_METRICS: Final[Sequence[Metric[RepairCounts]]] = (
    Metric(
        "candled_repair_pages_total", "counter", "Pages of trades or klines fetched to fill gaps.", (),
        _one(lambda repair: repair.pages),
    ),
    Metric(
        "candled_repair_trades_total", "counter", "Trades that the repair fetched.", (),
        _one(lambda repair: repair.trades),
    ),
    Metric(
        "candled_repair_klines_total", "counter", "Minutes that the repair took from the exchange's klines.", (),
        _one(lambda repair: repair.klines),
    ),
    Metric(
        "candled_repair_failures_total", "counter", "Repairs that the exchange did not answer or refused.", (),
        _one(lambda repair: repair.failures),
    ),
    Metric(
        "candled_repair_unfillable_total", "counter", "Ranges found that the exchange does not have.", (),
        _one(lambda repair: repair.unfillable),
    ),
)  # fmt: skip
"""Read from the repair."""

REST_METRICS: Final[Sequence[Metric[BinanceRest]]] = (
    Metric(
        "candled_rest_requests_total", "counter", "Requests to the exchange's REST side.", (),
        _one(lambda rest: rest.requests),
    ),
    Metric(
        "candled_rest_failures_total", "counter", "Requests that failed.", (),
        _one(lambda rest: rest.failures),
    ),
    Metric(
        "candled_rest_received_bytes_total", "counter", "Bytes of the answers' bodies.", (),
        _one(lambda rest: rest.bytes),
    ),
    Metric(
        "candled_rest_weight_used", "gauge", "Request weight used in the last minute.", (),
        _one(lambda rest: rest.weight_used),
    ),
    Metric(
        "candled_rest_weight_limit", "gauge", "Request weight that may be used in a minute.", (),
        _one(lambda rest: rest.weight_limit),
    ),
)  # fmt: skip
"""Read from the REST client."""

STREAM_METRICS: Final[Sequence[Metric[HubStatistics]]] = (
    Metric(
        "candled_subscribers", "gauge", "Streams open now, of gRPC clients and charts.", (),
        _one(lambda hub: hub.subscribers),
    ),
    Metric(
        "candled_stream_messages_total", "counter",
        "Messages published to streams, counted once however many streams took them.", (),
        _one(lambda hub: hub.messages),
    ),
    Metric(
        "candled_stream_conflated_total", "counter",
        "Forming bars that a newer one replaced before a slow stream took them.", (),
        _one(lambda hub: hub.conflated),
    ),
    Metric(
        "candled_stream_fell_behind_total", "counter", "Streams ended: too many closed bars waited for them.",
        (),
        _one(lambda hub: hub.fell_behind),
    ),
    Metric(
        "candled_stream_unstored_bars", "gauge", "Closed bars told to streams and not stored yet.", (),
        _one(lambda hub: hub.unstored),
    ),
)  # fmt: skip
"""Read from the hub."""

HISTORY_METRICS: Final[Sequence[Metric[HistoryStatistics]]] = (
    Metric(
        "candled_stored_rows_total", "counter", "Bars and revisions stored.", (),
        _one(lambda history: history.rows_stored),
    ),
    Metric(
        "candled_commit_seconds", "histogram", "What commits to the journal took.", (),
        _one(lambda history: history.commits),
    ),
    Metric(
        "candled_unpublished_rows", "gauge", "Rows in the journal that no published file holds yet.", (),
        _one(lambda history: history.rows_unpublished),
    ),
    Metric(
        "candled_journal_rows", "gauge", "Rows in the journal.", (),
        _one(lambda history: history.journal_rows),
    ),
    Metric(
        "candled_journal_bytes", "gauge", "Size of the journal.", (),
        _one(lambda history: history.journal_bytes),
    ),
    Metric(
        "candled_publications_total", "counter", "Times that recent bars were published as files.", (),
        _one(lambda history: history.publications),
    ),
    Metric(
        "candled_parquet_files", "gauge", "Parquet files in the data directory.", ("kind",),
        lambda history: [
            (("recent",), history.recent_files),
            (("sealed",), history.sealed_files),
            (("superseded",), history.superseded_files),
        ],
    ),
    Metric(
        "candled_parquet_bytes", "gauge", "Size of those files, as of the last time they were put in order.",
        ("kind",),
        lambda history: [
            (("recent",), history.recent_bytes),
            (("sealed",), history.sealed_bytes),
            (("superseded",), history.superseded_bytes),
        ],
    ),
    Metric(
        "candled_history_write_errors_total", "counter", "Writes that the disk refused; they are tried again.", (),
        _one(lambda history: history.write_errors),
    ),
)  # fmt: skip
"""Read from the history."""

LAG_METRICS: Final[Sequence[Metric[Lags]]] = (
    Metric(
        "candled_lag_seconds", "histogram",
        "What each stage of the way takes, once a batch: received (from the exchange's time, as estimated, to "
        "arrival), published (from there to every stream), stored (closed bars, from there to the disk).",
        ("stage",),
        lambda lags: [
            (("received",), lags.received),
            (("published",), lags.published),
            (("stored",), lags.stored),
        ],
    ),
)  # fmt: skip
"""Read from the lags that the pipeline and the history note."""

GRPC_METRICS: Final[Sequence[Metric[ServerStatistics]]] = (
    Metric(
        "candled_grpc_connections", "gauge", "Connections of gRPC clients.", (),
        _one(lambda server: server.connections),
    ),
    Metric(
        "candled_grpc_sent_bytes_total", "counter", "Bytes that gRPC clients have taken (on Linux).", (),
        lambda server: [] if server.bytes_sent is None else [((), server.bytes_sent)],
    ),
)  # fmt: skip
"""Read from the gRPC server."""

HTTP_METRICS: Final[Sequence[Metric[HttpCounts]]] = (
    Metric(
        "candled_http_requests_total", "counter", "Requests to the HTTP port, by the status of the answer.",
        ("status",),
        lambda http: [((str(status),), count) for status, count in http.requests.items()],
    ),
    Metric(
        "candled_http_sent_bytes_total", "counter", "Bytes of the answers' bodies, charts' events included.",
        (),
        _one(lambda http: http.bytes_sent),
    ),
)  # fmt: skip
"""Read from the HTTP port."""

QUEUE_METRICS: Final[Sequence[Metric[Mapping[str, trio.MemoryChannelStatistics]]]] = (
    Metric(
        "candled_queue_items", "gauge", "Batches that wait in a queue.", ("queue",),
        lambda queues: [((name,), queue.current_buffer_used) for name, queue in queues.items()],
    ),
    Metric(
        "candled_queue_limit_items", "gauge", "Batches that a queue holds at most.", ("queue",),
        lambda queues: [((name,), queue.max_buffer_size) for name, queue in queues.items()],
    ),
)  # fmt: skip
"""Read from the channels between the parts."""

RUN_METRICS: Final[Sequence[Metric[trio.lowlevel.RunStatistics]]] = (
    Metric(
        "candled_tasks", "gauge", "Trio tasks of the process: they come and go with clients.",
        (),
        _one(lambda run: run.tasks_living),
    ),
)  # fmt: skip
"""Read from Trio's own statistics."""

LOG_METRICS: Final[Sequence[Metric[Mapping[str, int]]]] = (
    Metric(
        "candled_log_lines_total", "counter", "Lines logged.", ("level",),
        lambda lines: [((level,), count) for level, count in lines.items()],
    ),
)  # fmt: skip
"""Read from ``LogCounts.statistics``."""

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
    "Lag by stage": LAG_METRICS,
    "Queues": QUEUE_METRICS,
    "Tasks": RUN_METRICS,
    "Logs": LOG_METRICS,
}
"""Every table by its heading in docs/metrics.md."""


@attrs.frozen
class Parts:
    """The parts of a daemon that serves bars, for their statistics."""

    engine: Engine
    feed: BinanceFeed
    repairer: Repairer
    hub: Hub
    history: History
    grpc: GrpcServer
    lags: Lags
    queues: Mapping[str, Callable[[], trio.MemoryChannelStatistics]]


def make_collectors(
    *,
    status: Callable[[], DaemonStatus],
    rest: BinanceRest,
    http: HttpCounts,
    logs: LogCounts | None,
    parts: Callable[[], Parts | None],
) -> list[Collector]:
    """What ``/metrics`` shows; ``parts`` gives None until bars are served."""

    def of(read: Callable[[Parts], T]) -> Callable[[], T | None]:
        return lambda: None if (found := parts()) is None else read(found)

    return [
        TableCollector(STATUS_METRICS, status),
        TableCollector(ENGINE_METRICS, of(lambda found: found.engine)),
        TableCollector(FEED_METRICS, of(lambda found: found.feed)),
        TableCollector(REPAIR_METRICS, of(lambda found: found.repairer.counts)),
        TableCollector(REST_METRICS, lambda: rest),
        TableCollector(STREAM_METRICS, of(lambda found: found.hub.statistics())),
        TableCollector(GRPC_METRICS, of(lambda found: found.grpc.statistics())),
        TableCollector(HTTP_METRICS, lambda: http),
        TableCollector(LAG_METRICS, of(lambda found: found.lags)),
        TableCollector(HISTORY_METRICS, of(lambda found: found.history.statistics())),
        TableCollector(QUEUE_METRICS, of(lambda found: {name: read() for name, read in found.queues.items()})),
        TableCollector(RUN_METRICS, trio.lowlevel.current_statistics),
        TableCollector(LOG_METRICS, lambda: logs.statistics() if logs else None),
        ProcessCollector(registry=None),
        PlatformCollector(registry=None),
    ]


def document() -> str:
    """The text of docs/metrics.md; ``make metrics-doc`` writes it."""
    lines = [
        "# Metrics",
        "",
        "What `/metrics` on the HTTP port shows, in the Prometheus text form (or OpenMetrics where that is asked",
        "for). Every number is read from its part at the moment of the scrape. Beside these there are the usual",
        "`process_*` and `python_info` of the Prometheus client. Made from `candled/metrics.py` by",
        "`make metrics-doc`; a test holds the two together.",
    ]
    for heading, table in TABLES.items():
        lines += ["", f"## {heading}", "", "| metric | kind | labels | meaning |", "|---|---|---|---|"]
        for metric in table:
            labels = ", ".join(f"`{label}`" for label in metric.labels)
            lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(document(), end="")
