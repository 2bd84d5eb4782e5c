"""What ``/metrics`` shows: a table of metrics, each read at scrape time from the frozen statistics of a part."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Generic, Literal, TypeVar

import attrs
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as MetricFamily
from prometheus_client.registry import Collector

from candled.domain.status import DaemonStatus, GapState, SymbolStatus

T = TypeVar("T")
Sample = tuple[tuple[str, ...], float]
"""Values of the labels, in their order, and the number."""


@attrs.frozen
class Metric(Generic[T]):
    """One metric: how it is called, what it means, and where in ``T`` its samples are."""

    name: str
    """With its unit last; a counter's ends in ``_total``."""
    kind: Literal["counter", "gauge"]
    meaning: str
    labels: tuple[str, ...]
    read: Callable[[T], Iterable[Sample]]


@attrs.frozen
class TableCollector(Collector, Generic[T]):
    """Shows the metrics of one table; ``source`` gives the statistics as they are at the moment of a scrape."""

    table: Sequence[Metric[T]]
    source: Callable[[], T]

    def collect(self) -> Iterable[MetricFamily]:
        """One family for each row of the table."""
        statistics = self.source()
        for metric in self.table:
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = kind(metric.name, metric.meaning, labels=metric.labels)
            for labels, value in metric.read(statistics):
                family.add_metric(labels, value)
            yield family

    def describe(self) -> Iterable[MetricFamily]:
        """Nothing, so that registering does not read the statistics of a part that is still starting."""
        return ()


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

LOG_METRICS: Final[Sequence[Metric[Mapping[str, int]]]] = (
    Metric(
        "candled_log_lines_total", "counter", "Lines logged.", ("level",),
        lambda lines: [((level,), count) for level, count in lines.items()],
    ),
)  # fmt: skip
"""Read from ``LogCounts.statistics``."""

TABLES: Final[Sequence[Sequence[Metric[object]]]] = (STATUS_METRICS, LOG_METRICS)  # type: ignore[assignment]
"""Every table, for the documentation."""
