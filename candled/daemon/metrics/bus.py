"""The tables of metrics of the bus, at an ingester and at an edge."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from candled.telemetry.table import Metric, by_label, one

if TYPE_CHECKING:
    from candled.bus.edge_bus import EdgeBus
    from candled.bus.ingest_bus import IngestBus

INGEST_METRICS: Final[Sequence["Metric[IngestBus]"]] = (
    Metric(
        "candled_bus_connections_total", "counter", "Connections made to the bus, the first included.", (),
        one(lambda bus: bus.connections),
    ),
    Metric(
        "candled_bus_updates_published_total", "counter",
        "Updates of forming bars put on the bus; an ingester of a higher rank puts only what the others did not.",
        (), one(lambda bus: bus.updates_published),
    ),
    Metric(
        "candled_bus_appends_total", "counter",
        "Appends to the log by outcome: stored; refused, as another ingester was first; lost, without an answer.",
        ("outcome",), by_label(lambda bus: dict(bus.appends.counts)),
    ),
    Metric(
        "candled_bus_append_seconds", "histogram",
        "From an append to the answer of the log, on the disks of a quorum.", (),
        one(lambda bus: bus.append_seconds),
    ),
    Metric(
        "candled_bus_rank", "gauge",
        "Rank of this ingester: each publishes what those of lower rank did not.", (),
        one(lambda bus: bus.rank),
    ),
    Metric(
        "candled_bus_waiting_bars", "gauge", "Closed bars that are not in the log yet.", (),
        one(lambda bus: bus.appends.waiting),
    ),
    Metric(
        "candled_bus_contradictions_total", "counter",
        "Proven bars that differ from proven ones of the log: a fault, of candled or of the exchange.", (),
        one(lambda bus: bus.appends.contradictions),
    ),
    Metric(
        "candled_bus_too_old_total", "counter",
        "Closed bars that were not put in the log, as they are older than what it judges.", (),
        one(lambda bus: bus.appends.too_old),
    ),
    Metric(
        "candled_bus_payloads_refused_total", "counter", "Messages that are malformed or of another version.",
        (), one(lambda bus: bus.refused_payloads),
    ),
)  # fmt: skip
"""Read from ``IngestBus``."""


EDGE_METRICS: Final[Sequence["Metric[EdgeBus]"]] = (
    Metric(
        "candled_edge_bus_connections_total", "counter", "Connections made to the bus, the first included.", (),
        one(lambda bus: bus.connections),
    ),
    Metric(
        "candled_edge_updates_total", "counter", "Updates of forming bars received, of all ingesters.", (),
        one(lambda bus: bus.updates),
    ),
    Metric(
        "candled_edge_updates_dropped_total", "counter", "Of those, the ones that said nothing new.", (),
        one(lambda bus: bus.order.dropped),
    ),
    Metric(
        "candled_edge_log_sequence", "gauge", "Sequence of the newest entry of the log that was read.", (),
        one(lambda bus: bus.order.sequence),
    ),
    Metric(
        "candled_edge_symbol_ingesters", "gauge", "Ingesters that read a symbol live, as they report.",
        ("symbol",), by_label(lambda bus: bus.live_ingesters),
    ),
    Metric(
        "candled_edge_payloads_refused_total", "counter", "Messages that are malformed or of another version.", (),
        one(lambda bus: bus.refused_payloads),
    ),
)  # fmt: skip
"""Read from ``EdgeBus``."""
