"""A table of metrics: name, kind, help text, and how each row's samples are read from a part's statistics."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Generic, Literal, TypeVar

import attrs
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as MetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from candled.telemetry.histogram import BOUNDS, Histogram

T = TypeVar("T")
_BOUNDS: Final = (*map(floatToGoString, BOUNDS), "+Inf")
Sample = tuple[tuple[str, ...], float | Histogram]
"""Values of the labels in their order, and the number or the histogram."""


@attrs.frozen
class Metric(Generic[T]):
    """One metric, and how its samples are read from the statistics ``T``."""

    name: str
    """With its unit last; a counter's ends in ``_total``."""
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    """One sentence, shown by ``/metrics`` and in docs/metrics.md."""
    labels: tuple[str, ...]
    read: Callable[[T], Iterable[Sample]]


@attrs.frozen
class TableCollector(Collector, Generic[T]):
    """Collects the metrics of one table."""

    table: Sequence[Metric[T]]
    source: Callable[[], T | None]
    """Returns the statistics at the moment of a scrape; None, and so no samples, while the part does not exist."""

    def collect(self) -> Iterable[MetricFamily]:
        """Yield one family for each row of the table."""
        statistics = self.source()
        for metric in self.table:
            yield _family(metric, () if statistics is None else metric.read(statistics))

    def describe(self) -> Iterable[MetricFamily]:
        """Return nothing, so that registering reads no statistics."""
        return ()


def one(read: Callable[[T], float | Histogram]) -> Callable[[T], Iterable[Sample]]:
    """Make a ``Metric.read`` of a single sample without labels."""
    return lambda statistics: [((), read(statistics))]


def by_label(read: Callable[[T], Mapping[str, float | Histogram]]) -> Callable[[T], Iterable[Sample]]:
    """Make a ``Metric.read`` of a sample for each value of its only label."""
    return lambda statistics: [((value,), sample) for value, sample in read(statistics).items()]


def _family(metric: Metric[T], samples: Iterable[Sample]) -> MetricFamily:
    family: CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
    match metric.kind:
        case "counter":
            family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
        case "gauge":
            family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
        case "histogram":
            family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in samples:
        if isinstance(family, HistogramMetricFamily):
            assert isinstance(value, Histogram)
            family.add_metric(labels, list(zip(_BOUNDS, value.cumulative(), strict=True)), value.sum)
        else:
            assert not isinstance(value, Histogram)
            family.add_metric(labels, value)
    return family
